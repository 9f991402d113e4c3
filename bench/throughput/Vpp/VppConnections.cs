using System.Diagnostics;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>How fast VPP begins connections: its table is emptied, and fills again, over and over.</summary>
internal static class VppConnections
{
    /// <summary>Most of the time may go by while the table is emptied.</summary>
    private const int LeastWindows = 4;

    /// <summary>One window for each time. The first port is down, and is again afterwards; the others are up.</summary>
    /// <param name="vpp">VPP, set up for the workload.</param>
    /// <param name="translator">What has the table.</param>
    /// <param name="workload">The services. As many packets as it has connections, one after the other, are of different ones.</param>
    /// <param name="ports">Its ports.</param>
    /// <param name="all">Connections that the traffic has.</param>
    /// <param name="full">With so many connections its table is taken for full.</param>
    /// <param name="time">How long it is done.</param>
    /// <param name="cancel">The user has enough.</param>
    public static List<Window> Measure(
        VppProcess vpp, VppTranslator translator, IVppServiceWorkload workload, IReadOnlyList<string> ports, int all, int full, TimeSpan time, CancellationToken cancel)
    {
        var windows = new List<Window>();
        int missed = 0;
        VppCheck.Translated(vpp, workload, ports, VppSubject.Up(ports[0]), cancel);
        vpp.Do([VppSubject.Down(ports[0])]);
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < time || windows.Count < LeastWindows;)
        {
            translator.Empty(vpp, workload, cancel);
            if (translator.Connections(vpp) is > 0 and int left)
            {
                throw vpp.Failure($"keeps {left} connections");
            }
            VppReading empty = VppReading.Of(vpp, ports);
            vpp.Do([VppSubject.Up(ports[0])]);
            // Whatever is received before its table is full begins a connection. It is not asked for these meanwhile, which would hold up the worker.
            VppReading first = VppReading.Of(vpp, ports), last = first;
            for (VppReading now = first; now.Received - empty.Received < (ulong)full; now = VppReading.Of(vpp, ports))
            {
                cancel.ThrowIfCancellationRequested();
                last = now;
            }
            vpp.Do([VppSubject.Down(ports[0])]);
            VppReading end = VppReading.Of(vpp, ports);
            VppReading.Rate(vpp, empty, end);
            ulong begun = Math.Min(end.Received - empty.Received, (ulong)all);
            int connections = translator.Connections(vpp);
            if (connections < (long)begun)
            {
                throw vpp.Failure($"made {connections} connections of {begun}: {VppReading.Errors(vpp)}");
            }
            if (last.Received > first.Received)
            {
                windows.Add(new Window { PacketsPerSecond = (last.Received - first.Received) / Stopwatch.GetElapsedTime(first.Time, last.Time).TotalSeconds });
            }
            else if (++missed > LeastWindows)
            {
                throw vpp.Failure("fills its table too fast to be watched");
            }
        }
        return windows;
    }
}
