using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.Interop.Dpdk;

/// <summary>
/// DPDK's environment (its "environment abstraction layer", EAL): memory, devices and threads. One per process, started
/// once; DPDK offers no second start, not even after a clean-up.
/// </summary>
public static unsafe class Eal
{
    private static readonly Lock Gate = new();

    /// <summary>Whether <see cref="Init"/> has succeeded and <see cref="Cleanup"/> was not called.</summary>
    public static bool IsInitialised { get; private set; }

    /// <summary>The DPDK release in use, for example "DPDK 22.11.11".</summary>
    public static string Version
    {
        get
        {
            DpdkLibrary.Load();
            return NativeText.From(Shim.dps_dpdk_version());
        }
    }

    /// <summary>The frequency of the time-stamp counter that <see cref="Shim.dps_rdtsc"/> reads, in Hz.</summary>
    public static ulong TimestampFrequency => Shim.dps_tsc_hz();

    /// <summary>
    /// Arguments for a machine with nothing prepared: ordinary pages, no PCI devices, no root, no files left behind, and
    /// silence unless something is wrong. Memory is fixed: all pools and rings together must fit
    /// <paramref name="memoryMegabytes"/>, which become resident as they are used. Ports are virtual devices.
    /// </summary>
    /// <param name="memoryMegabytes">Memory of all pools and rings, in MiB; 64 holds about 25,000 buffers of 2 KiB.</param>
    /// <param name="filePrefix">A name that no other DPDK process of this machine uses.</param>
    public static string[] LaptopArguments(int memoryMegabytes, string filePrefix) =>
    [
        "--no-huge", "-m", $"{memoryMegabytes}",
        "--no-pci",
        // Without physical addresses no other mode works; asking for it spares a probe and a message.
        "--iova-mode=va",
        "--no-shconf",
        .. CommonArguments(filePrefix),
    ];

    /// <summary>
    /// Arguments for a machine with huge pages (<c>vm.nr_hugepages</c>) and DPDK ports. Memory grows from
    /// <paramref name="memoryMegabytes"/> as long as there are free huge pages; all of it is given back when the process
    /// ends, however it ends, and no file is left in hugetlbfs. No PCI device is taken until a port asks for it.
    /// </summary>
    /// <param name="memoryMegabytes">Memory reserved at the start, in MiB.</param>
    /// <param name="filePrefix">A name that no other DPDK process of this machine uses.</param>
    public static string[] HugePageArguments(int memoryMegabytes, string filePrefix) =>
    [
        "--in-memory", "-m", $"{memoryMegabytes}",
        // An allow list with a device that cannot be a NIC: EAL would otherwise take every NIC bound to a user-space driver.
        "--allow", "0000:00:00.0",
        .. CommonArguments(filePrefix),
    ];

    /// <summary>Starts DPDK. Loads the shim and checks its layout first.</summary>
    /// <param name="args">EAL's arguments, without a program name.</param>
    /// <exception cref="DpdkUnavailableException">DPDK or the shim is missing or does not fit.</exception>
    /// <exception cref="DpdkException">EAL refused; its own messages are on standard error.</exception>
    public static void Init(params string[] args)
    {
        lock (Gate)
        {
            if (IsInitialised) throw new InvalidOperationException("DPDK's environment is initialised once per process.");
            LayoutCheck.Require();

            // EAL keeps pointers into its arguments: they are never freed.
            var argv = (byte**)NativeMemory.AllocZeroed((nuint)args.Length + 2, (nuint)sizeof(byte*));
            argv[0] = (byte*)Marshal.StringToCoTaskMemUTF8("dataplane");
            for (var i = 0; i < args.Length; i++) argv[i + 1] = (byte*)Marshal.StringToCoTaskMemUTF8(args[i]);
            var result = Shim.dps_eal_init(args.Length + 1, argv);
            if (result != 0)
            {
                throw new DpdkException($"DPDK's environment did not start with '{string.Join(' ', args)}'", result,
                    args.Contains("--no-huge") || HasFreeHugePages()
                        ? "its messages on standard error say more"
                        : "this machine has no free huge pages: reserve some with 'sysctl vm.nr_hugepages=512', or run without");
            }
            IsInitialised = true;
        }
    }

    /// <summary>Ends DPDK: closes what is open and gives its memory back. Pools, rings and ports must not be used after.</summary>
    public static void Cleanup()
    {
        lock (Gate)
        {
            if (!IsInitialised) return;
            IsInitialised = false;
            Shim.dps_eal_cleanup();
        }
    }

    /// <summary>The text of an errno or DPDK error number, positive or negative.</summary>
    public static string ErrorText(int error) => NativeText.From(Shim.dps_strerror(error));

    /// <summary>
    /// Gives the calling thread an lcore id and with it a cache in every pool, without which each allocation goes to the
    /// pool's shared ring. Registering twice does nothing.
    /// </summary>
    /// <exception cref="DpdkException">All lcore ids are taken.</exception>
    public static void RegisterThread()
    {
        var result = Shim.dps_thread_register();
        if (result != 0) throw new DpdkException("the thread cannot be registered with DPDK", result);
    }

    /// <summary>Undoes <see cref="RegisterThread"/>; to be called on the same thread, before it ends.</summary>
    public static void UnregisterThread() => Shim.dps_thread_unregister();

    private static string[] CommonArguments(string filePrefix) =>
    [
        "--no-telemetry",
        "--log-level=warning",
        $"--file-prefix={filePrefix}",
        // One EAL thread, the caller, free to run where it may run now. By default EAL starts and pins a thread per CPU;
        // workers are threads of ours, which register themselves and need the other lcore ids.
        $"--lcores=0@({string.Join(',', CpuAffinity.Get())})",
    ];

    private static bool HasFreeHugePages()
    {
        const string directory = "/sys/kernel/mm/hugepages";
        return Directory.Exists(directory) && Directory.EnumerateDirectories(directory).Any(
            size => File.ReadAllText(Path.Combine(size, "free_hugepages")).Trim() != "0");
    }
}
