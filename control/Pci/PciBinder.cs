using System.Globalization;
using Dataplane.Control.Ports;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>
/// Takes PCI functions from the kernel's network drivers for DPDK, makes virtual functions, and gives everything back as it was.
/// The kernel does all of it by way of sysfs: <c>driver_override</c> names the one driver that may have a function, <c>unbind</c>
/// takes it from its present one, <c>drivers_probe</c> has the kernel look for a driver again. Each call is idempotent.
/// </summary>
internal sealed class PciBinder(SystemFiles files, IHostNetwork network, IKernelModules modules, InstancePaths paths)
{
    /// <summary>The driver that DPDK's documentation recommends; the IOMMU keeps the card to the program's memory.</summary>
    public const string DefaultDriver = "vfio-pci";

    private const string NoIommu = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(30);

    /// <summary>On this machine.</summary>
    public static PciBinder Of(InstancePaths paths) => new(SystemFiles.Machine, new HostNetwork(), new KernelModules(SystemFiles.Machine), paths);

    /// <summary>What this instance has to give back, oldest first.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public IReadOnlyList<BindingEntry> Entries => BindingLedger.Open(paths.Devices, files).Entries;

    /// <summary>
    /// Loads the driver, with the one for an IOMMU, which nothing asks for by itself. DPDK looks for both when it starts, and
    /// never again: this is for before that.
    /// </summary>
    /// <returns>Why that failed, or null.</returns>
    public string? LoadDriver() => files.List("/sys/bus/pci/devices").Count == 0 ? null : modules.Load(DefaultDriver) ?? modules.Load("vfio_iommu_type1");

    /// <summary>Why <see cref="Bind"/> would refuse, as far as one can see without trying; null when it would not.</summary>
    public DeviceProblem? WhyNot(string address, string driver, bool force)
    {
        if (PciFunction.Find(files, address) is not { } function)
        {
            return NoSuch(address);
        }
        return function.Driver == driver ? null : BindingGuard.WhyNotBind(function, network, force) ?? WhyDriverCannot(function, driver, mayLoad: false);
    }

    /// <summary>Gives a function to a driver for programs.</summary>
    /// <param name="address">The function.</param>
    /// <param name="driver">vfio-pci, uio_pci_generic or igb_uio.</param>
    /// <param name="force">Also when the host uses it; never when it carries the default route.</param>
    /// <param name="port">The port it is for, or null for the operator.</param>
    /// <returns>Whether anything was changed.</returns>
    /// <exception cref="DeviceException">It is refused, or the kernel refuses; nothing was changed.</exception>
    public bool Bind(string address, string driver, bool force, string? port = null)
    {
        using FileLock only = Lock();
        PciFunction function = PciFunction.Find(files, address) ?? throw new DeviceException(NoSuch(address));
        if (function.Driver == driver)
        {
            return false;
        }
        if ((BindingGuard.WhyNotBind(function, network, force) ?? WhyDriverCannot(function, driver, mayLoad: true)) is { } problem)
        {
            throw new DeviceException(problem);
        }
        RequireUnused(function);
        var ledger = BindingLedger.Open(paths.Devices, files);
        BindingEntry? known = ledger.Find(address, virtualFunctions: false);
        BindingEntry entry = known ?? new BindingEntry(address, function.Driver, function.DriverOverride, null, port);
        if (known is null)
        {
            ledger.Add(entry);
        }
        try
        {
            Move(function, driver, driver);
        }
        catch (DeviceException)
        {
            Restore(entry);
            if (known is null)
            {
                ledger.Remove(entry);
            }
            throw;
        }
        return true;
    }

    /// <summary>Gives a function back to the driver that it had before, or else to the one that the kernel finds for it.</summary>
    /// <returns>Whether anything was changed.</returns>
    /// <exception cref="DeviceException">It is in use, or the kernel refuses.</exception>
    public bool Unbind(string address)
    {
        using FileLock only = Lock();
        var ledger = BindingLedger.Open(paths.Devices, files);
        if (ledger.Find(address, virtualFunctions: false) is { } entry)
        {
            GiveBack(ledger, entry);
            return true;
        }
        PciFunction function = PciFunction.Find(files, address) ?? throw new DeviceException(NoSuch(address));
        if (!function.IsForPrograms)
        {
            return false;
        }
        Restore(new BindingEntry(address, null, null, null, null), anyDriver: true);
        return true;
    }

    /// <summary>Makes a physical function have so many virtual ones.</summary>
    /// <returns>Whether anything was changed.</returns>
    /// <exception cref="DeviceException">It is refused, or the kernel refuses.</exception>
    public bool SetVirtualFunctions(string address, int count, bool force)
    {
        using FileLock only = Lock();
        PciFunction function = PciFunction.Find(files, address) ?? throw new DeviceException(NoSuch(address));
        int now = function.VirtualFunctions.Count;
        if (count == now)
        {
            return false;
        }
        if (function.MaxVirtualFunctions < count)
        {
            throw Refused(function.MaxVirtualFunctions == 0
                ? $"{address} has no virtual functions (SR-IOV is missing, or switched off in the firmware)"
                : $"{address} can have {function.MaxVirtualFunctions} virtual functions, not {count}");
        }
        if (BindingGuard.WhyInUse(function, network, force) is { } problem)
        {
            throw new DeviceException(problem);
        }
        RequireNoUserOfVirtual(function, force);
        var ledger = BindingLedger.Open(paths.Devices, files);
        BindingEntry? known = ledger.Find(address, virtualFunctions: true);
        BindingEntry entry = known ?? new BindingEntry(address, null, null, now, null);
        if (known is null)
        {
            ledger.Add(entry);
        }
        try
        {
            WriteCount(address, now, count);
        }
        catch (DeviceException)
        {
            if (known is null && PciFunction.Find(files, address)?.VirtualFunctions.Count == now)
            {
                ledger.Remove(entry);
            }
            throw;
        }
        if (entry.VirtualFunctions == count)
        {
            ledger.Remove(entry); // as it was before
        }
        return true;
    }

    /// <summary>Gives back what is chosen, latest first: bound virtual functions before they are removed.</summary>
    /// <returns>What was done, and what could not be, for people.</returns>
    public (IReadOnlyList<string> Done, IReadOnlyList<string> Problems) GiveBack(Func<BindingEntry, bool> which)
    {
        var done = new List<string>();
        var problems = new List<string>();
        if (!File.Exists(paths.Devices))
        {
            return (done, problems);
        }
        try
        {
            using FileLock only = Lock();
            var ledger = BindingLedger.Open(paths.Devices, files);
            foreach (BindingEntry entry in ledger.Entries.Where(which).Reverse().ToList())
            {
                try
                {
                    GiveBack(ledger, entry);
                    done.Add(entry.VirtualFunctions is { } count
                        ? $"{entry.Address} has {count} virtual functions again"
                        : $"{entry.Address} is given back to {entry.Driver ?? "no driver"}");
                }
                catch (DeviceException e)
                {
                    problems.Add($"{e.Problem.Message}{(e.Problem.Fix.Length > 0 ? $"; {e.Problem.Fix}" : "")}");
                }
            }
            if (ledger.Entries.Count == 0)
            {
                File.Delete(paths.Devices);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LinuxException)
        {
            problems.Add(e.Message);
        }
        return (done, problems);
    }

    private void GiveBack(BindingLedger ledger, BindingEntry entry)
    {
        if (entry.VirtualFunctions is { } count)
        {
            if (PciFunction.Find(files, entry.Address) is { } function && function.VirtualFunctions.Count != count)
            {
                RequireNoUserOfVirtual(function, force: true);
                WriteCount(entry.Address, function.VirtualFunctions.Count, count);
            }
        }
        else
        {
            Restore(entry);
        }
        ledger.Remove(entry);
    }

    /// <summary>Lets the function have the driver of before. One that is gone, or that somebody gave back already, needs nothing.</summary>
    private void Restore(BindingEntry entry, bool anyDriver = false)
    {
        if (PciFunction.Find(files, entry.Address) is not { } function)
        {
            return;
        }
        if (function.Driver == entry.Driver && function.DriverOverride == entry.DriverOverride)
        {
            return;
        }
        if (function.Driver != entry.Driver && function.Driver is not null && !function.IsForPrograms)
        {
            return; // another driver of the kernel has it: that was somebody's wish
        }
        RequireUnused(function);
        Move(function, entry.DriverOverride, entry.Driver, anyDriver);
    }

    /// <summary>From its driver to another one.</summary>
    /// <param name="function">As it is now.</param>
    /// <param name="chosen">The one driver that may have it from now on; null for any.</param>
    /// <param name="wanted">The driver that it must have in the end; null for none.</param>
    /// <param name="any">Whether the kernel may also find one.</param>
    private void Move(PciFunction function, string? chosen, string? wanted, bool any = false)
    {
        string directory = PciFunction.DirectoryOf(function.Address);
        Write($"{directory}/driver_override", (chosen ?? "") + "\n");
        if (function.Driver is not null && function.Driver != wanted)
        {
            Write($"{directory}/driver/unbind", function.Address);
        }
        if (wanted is null && !any)
        {
            return;
        }
        if (files.LinkName($"{directory}/driver") is null)
        {
            Write("/sys/bus/pci/drivers_probe", function.Address);
        }
        string? has = files.LinkName($"{directory}/driver");
        if (has is null && wanted is not null && files.Exists($"/sys/bus/pci/drivers/{wanted}/bind"))
        {
            // A driver that had it by an identifier that somebody added by hand.
            Write($"/sys/bus/pci/drivers/{wanted}/bind", function.Address);
            has = files.LinkName($"{directory}/driver");
        }
        if (wanted is not null && has != wanted)
        {
            throw Refused($"{function.Address} is with {has ?? "no driver"} now, not with {wanted}", "`dmesg | tail` may say why");
        }
    }

    private void WriteCount(string address, int now, int count)
    {
        string file = $"{PciFunction.DirectoryOf(address)}/sriov_numvfs";
        if (now != 0 && count != 0)
        {
            Write(file, "0"); // the kernel changes one number to another only by way of none
        }
        Write(file, count.ToString(CultureInfo.InvariantCulture));
        int has = PciFunction.Find(files, address)?.VirtualFunctions.Count ?? 0;
        if (has != count)
        {
            throw Refused($"{address} has {has} virtual functions, not {count}", "`dmesg | tail` may say why");
        }
    }

    private void RequireUnused(PciFunction function)
    {
        if (PciUsers.Of(files, function) is { } user)
        {
            throw Refused($"{function.Address} is in use by {user}", "delete its port, or end that process");
        }
    }

    private void RequireNoUserOfVirtual(PciFunction function, bool force)
    {
        foreach (PciFunction part in function.VirtualFunctions.Select(v => PciFunction.Find(files, v)).OfType<PciFunction>())
        {
            RequireUnused(part);
            if (BindingGuard.WhyInUse(part, network, force) is { } problem)
            {
                throw new DeviceException(problem);
            }
        }
    }

    /// <summary>What the driver lacks.</summary>
    private DeviceProblem? WhyDriverCannot(PciFunction function, string driver, bool mayLoad)
    {
        if (mayLoad)
        {
            string? failed = driver == DefaultDriver ? LoadDriver() : modules.Load(driver);
            if (!files.Exists($"/sys/bus/pci/drivers/{driver}"))
            {
                return Problem($"the kernel has no driver {driver}{(failed is null ? "" : $" ({failed})")}", $"`modprobe {driver}`; some distributions have it in a package of extra modules");
            }
        }
        return driver == DefaultDriver && function.IommuGroup is null && files.Read(NoIommu) is not "Y"
            ? Problem(
                $"{function.Address} is behind no IOMMU, which {driver} needs",
                "switch it on in the firmware (VT-d, AMD-Vi) and with intel_iommu=on on the kernel's command line; on a machine without one, such as a virtual machine: "
                + $"{(HasNoIommuMode ? $"`modprobe vfio enable_unsafe_noiommu_mode=1; echo 1 > {NoIommu}`, or " : "")}`dataplane device bind --driver uio_pci_generic {function.Address}`")
            : null;
    }

    /// <summary>Debian's kernels are made without it. What is not loaded does not say.</summary>
    private bool HasNoIommuMode => files.Exists(NoIommu) || !files.Exists("/sys/module/vfio");

    private void Write(string path, string text)
    {
        try
        {
            files.Write(path, text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused($"{path}: {e.Message}", e is UnauthorizedAccessException ? "run it as root" : "");
        }
    }

    /// <summary>One change at a time per instance, by whichever process.</summary>
    private FileLock Lock()
    {
        try
        {
            Directory.CreateDirectory(paths.Directory);
            for (var waited = System.Diagnostics.Stopwatch.StartNew(); ; Thread.Sleep(20))
            {
                if (!FileLock.TryAcquire(paths.DevicesLock, out FileLock? taken, out int holder))
                {
                    if (waited.Elapsed > LockPatience)
                    {
                        throw Refused($"process {holder} has been changing devices of this instance for {LockPatience.TotalSeconds:0} s");
                    }
                    continue;
                }
                if (FileLock.ReadPid(paths.DevicesLock) == Environment.ProcessId)
                {
                    return taken;
                }
                taken.Dispose(); // the file was removed meanwhile
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LinuxException)
        {
            throw Refused($"{paths.Directory}: {e.Message}", e is UnauthorizedAccessException || LinuxProcess.EffectiveUserId != 0 ? "run it as root" : "");
        }
    }

    private static DeviceProblem NoSuch(string address) => Problem($"there is no PCI device {address}", "`dataplane device list` shows those that there are");

    private static DeviceException Refused(string message, string fix = "") => new(Problem(message, fix));

    private static DeviceProblem Problem(string message, string fix) => new("dpdk.devargs", message, fix);
}
