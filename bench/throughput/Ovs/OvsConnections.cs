using System.Diagnostics;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>How fast Open vSwitch begins connections: its table is emptied, and fills again, over and over.</summary>
internal static class OvsConnections
{
    /// <summary>Connections in its table.</summary>
    public static long Count(OvsProcess ovs) => long.Parse(ovs.Ask("dpctl/ct-get-nconns"), CultureInfo.InvariantCulture);

    /// <summary>One window for each time.</summary>
    /// <param name="ovs">The switch, with traffic.</param>
    /// <param name="full">With so many connections its table is taken for full.</param>
    /// <param name="time">How long it is done.</param>
    /// <param name="cancel">The user has enough.</param>
    public static List<Window> Measure(OvsProcess ovs, int full, TimeSpan time, CancellationToken cancel)
    {
        var windows = new List<Window>();
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < time || windows.Count == 0;)
        {
            cancel.ThrowIfCancellationRequested();
            ovs.Ask("dpctl/flush-conntrack");
            (long Time, long Count) first = Read(ovs), last = first;
            for ((long Time, long Count) now = first; now.Count < full; now = Read(ovs))
            {
                cancel.ThrowIfCancellationRequested();
                last = now;
            }
            if (last.Count > first.Count)
            {
                windows.Add(new Window { PacketsPerSecond = (last.Count - first.Count) / Stopwatch.GetElapsedTime(first.Time, last.Time).TotalSeconds });
            }
            else if (Stopwatch.GetElapsedTime(start) > 10 * time)
            {
                throw ovs.Switch.Failure("fills its table too fast to be watched");
            }
        }
        return windows;
    }

    private static (long Time, long Count) Read(OvsProcess ovs)
    {
        long before = Stopwatch.GetTimestamp(), count = Count(ovs);
        // Of some moment in between.
        return ((before + Stopwatch.GetTimestamp()) / 2, count);
    }
}
