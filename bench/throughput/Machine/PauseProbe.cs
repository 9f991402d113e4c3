using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.ThroughputBench.Generator;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>
/// What the machine takes away from programs that never sleep: a loop on each of some CPUs, all at once, that does nothing but read the clock. Something that comes
/// each microsecond waits until the loop looks again. No switch can be better than that.
/// </summary>
public static class PauseProbe
{
    /// <summary>How long something that came at any moment would have waited, for each CPU.</summary>
    /// <param name="cpus">One loop on each.</param>
    /// <param name="time">How long.</param>
    /// <param name="tscHz">Frequency of the time-stamp counter.</param>
    public static IReadOnlyList<Latencies> Run(IReadOnlyList<int> cpus, TimeSpan time, ulong tscHz)
    {
        var waits = new Latencies[cpus.Count];
        Parallel.For(0, cpus.Count, new ParallelOptions { MaxDegreeOfParallelism = cpus.Count }, i =>
            waits[i] = PinnedThread.Run(cpus[i], () => Loop(time, tscHz)).InMicroseconds(tscHz));
        return waits;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static LatencyHistogram Loop(TimeSpan time, ulong tscHz)
    {
        var waits = new LatencyHistogram();
        ulong microsecond = tscHz / 1_000_000, start = Shim.dps_rdtsc(), end = start + (ulong)(time.TotalSeconds * tscHz);
        for (ulong comes = start, now = start; now < end; now = Shim.dps_rdtsc())
        {
            for (; comes < now; comes += microsecond)
            {
                waits.Record(now - comes);
            }
        }
        return waits;
    }
}
