using System.Diagnostics;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>How fast VPP begins connections: its table is emptied, and fills again, over and over.</summary>
internal static class VppConnections
{
    /// <summary>One window for each time.</summary>
    /// <param name="vpp">It, with traffic of which one packet after the other is of another connection.</param>
    /// <param name="ports">Its ports.</param>
    /// <param name="empty">The command that empties its table.</param>
    /// <param name="all">Connections that the traffic has.</param>
    /// <param name="time">How long it is done.</param>
    /// <param name="cancel">The user has enough.</param>
    public static List<Window> Measure(VppProcess vpp, IReadOnlyList<string> ports, string empty, int all, TimeSpan time, CancellationToken cancel)
    {
        ulong full = (ulong)all * 9 / 10;
        var windows = new List<Window>();
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < time || windows.Count == 0;)
        {
            cancel.ThrowIfCancellationRequested();
            vpp.Ask(empty);
            VppReading first = VppReading.Of(vpp, ports), last = first;
            for (VppReading now = first; now.Received - first.Received < full; now = VppReading.Of(vpp, ports))
            {
                cancel.ThrowIfCancellationRequested();
                last = now;
            }
            if (last.Received > first.Received)
            {
                windows.Add(new Window { PacketsPerSecond = VppReading.Rate(vpp, first, last) });
            }
            else if (Stopwatch.GetElapsedTime(start) > 10 * time)
            {
                throw vpp.Failure("fills its table too fast to be watched");
            }
        }
        return windows;
    }
}
