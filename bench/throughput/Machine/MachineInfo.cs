using System.Diagnostics;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>What a figure depends on beside the program: without it a figure means little.</summary>
public sealed record MachineInfo
{
    public required string Cpu { get; init; }
    /// <summary>Frequency of the time-stamp counter in Hz.</summary>
    public required ulong TscHz { get; init; }
    public required int Cpus { get; init; }
    public required bool Hypervisor { get; init; }
    public required string Kernel { get; init; }
    public required string Distribution { get; init; }
    /// <summary>Null where the kernel does not scale frequencies itself.</summary>
    public string? Governor { get; init; }
    public required string TransparentHugepages { get; init; }
    public required string IsolatedCpus { get; init; }
    /// <summary>The repository's commit, with "+" when files differ from it; null outside of a clone.</summary>
    public string? Commit { get; init; }

    public static MachineInfo Read(int core, ulong tscHz) => new()
    {
        Cpu = CpuInfo("model name") ?? RuntimeInformation.ProcessArchitecture.ToString(),
        TscHz = tscHz,
        Cpus = Environment.ProcessorCount,
        Hypervisor = (CpuInfo("flags") ?? "").Split(' ').Contains("hypervisor"),
        Kernel = Text("/proc/sys/kernel/osrelease") ?? Environment.OSVersion.VersionString,
        Distribution = RuntimeInformation.OSDescription,
        Governor = Text($"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"),
        TransparentHugepages = Text("/sys/kernel/mm/transparent_hugepage/enabled") ?? "none",
        IsolatedCpus = Text("/sys/devices/system/cpu/isolated") ?? "",
        Commit = Repository.Commit(),
    };

    /// <summary>Counts the time-stamp counter for a moment, against the system's clock.</summary>
    public static ulong MeasureTsc()
    {
        const int Milliseconds = 100;
        long start = Stopwatch.GetTimestamp();
        ulong first = Shim.dps_rdtsc();
        Thread.Sleep(Milliseconds);
        TimeSpan time = Stopwatch.GetElapsedTime(start);
        return (ulong)((Shim.dps_rdtsc() - first) / time.TotalSeconds);
    }

    private static string? CpuInfo(string key) =>
        File.ReadLines("/proc/cpuinfo").Select(line => line.Split(':', 2))
            .FirstOrDefault(parts => parts.Length == 2 && parts[0].Trim() == key)?[1].Trim();

    private static string? Text(string path) => File.Exists(path) ? File.ReadAllText(path).Trim() : null;
}
