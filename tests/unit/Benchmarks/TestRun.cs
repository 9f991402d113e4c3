using System.Runtime.Versioning;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>Settings of a benchmark that nothing is started by.</summary>
[SupportedOSPlatform("linux")]
internal static class TestRun
{
    /// <summary>On a machine with so many CPUs, all of which forward if there are workers for them, from the last one down.</summary>
    public static RunSettings Settings(int cpus) => new()
    {
        Runs = 1, Seconds = 1, Window = TimeSpan.FromSeconds(1), Hugepages = false,
        Cpus = [.. Enumerable.Range(0, cpus)], Cores = [.. Enumerable.Range(0, cpus).Reverse()],
    };
}
