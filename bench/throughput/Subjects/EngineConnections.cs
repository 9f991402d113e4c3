using System.Diagnostics;
using Dataplane.Memory;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// How fast our engine begins connections in a table with room: it is emptied, and fills again, over and over, as Open vSwitch's and VPP's. What
/// empties it is what removes the connections of backends that are gone.
/// </summary>
internal static class EngineConnections
{
    /// <summary>Most of the time may go by while the table is emptied.</summary>
    private const int LeastWindows = 4;

    /// <summary>Fillings that may not count.</summary>
    private const int MostMissed = 16;

    /// <summary>Packets before the first reading: the worker's clock is read in one poll of eight, and then tells of those before it, too.</summary>
    private const ulong PacketsAhead = 16 * RunSettings.FullBurst;

    /// <summary>Readings that follow one another without a pause would take the counters' lines from the workers.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(1), s_patience = TimeSpan.FromSeconds(60);

    /// <summary>One window for each time.</summary>
    /// <param name="engine">The engine, with traffic on the first port.</param>
    /// <param name="full">With so many connections the table is taken for full. As many packets, one after the other, are of different ones.</param>
    /// <param name="time">How long it is done.</param>
    /// <param name="cancel">The user has enough.</param>
    public static List<Window> Measure(RunningEngine engine, int full, TimeSpan time, CancellationToken cancel)
    {
        EngineMeter meter = engine.Meter;
        var windows = new List<Window>();
        int missed = 0;
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < time || windows.Count < LeastWindows;)
        {
            SetEnabled(engine, false);
            Empty(engine, cancel);
            ulong empty = meter.Read().Sent, inserted = engine.Segment.Connections.Statistics().Inserted;
            SetEnabled(engine, true);
            EngineReading? first = null, last = null;
            for (EngineReading now = meter.Read(); now.Sent - empty < (ulong)full; now = meter.Read())
            {
                if (first is null && now.Sent - empty >= PacketsAhead)
                {
                    first = now;
                }
                last = now;
                engine.Check();
                Sleep(s_pause, cancel);
            }
            // Of a million a few find no slot near their home; and of several workers one may have been so much slower that another one began anew with its flows.
            ulong begun = engine.Segment.Connections.Statistics().Inserted - inserted;
            bool isWhole = begun >= (ulong)(full - (full / 1000));
            if (isWhole && first is { } from && last is { } to && to.Sent > from.Sent)
            {
                windows.Add(EngineMeter.Between(from, to));
            }
            else if (++missed > MostMissed)
            {
                throw engine.Failure(isWhole ? "fills its table too fast to be watched" : $"began {begun} connections with {full} packets");
            }
        }
        return windows;
    }

    /// <summary>Lets packets in by the first port, or not.</summary>
    private static void SetEnabled(RunningEngine engine, bool enabled)
    {
        SegmentWriter writer = engine.Writer;
        writer.Begin();
        PortRecord port = writer.Port(Scenario.FirstPort);
        port.Flags = enabled ? port.Flags | PortFlags.Enabled : port.Flags & ~PortFlags.Enabled;
        writer.SetPort(Scenario.FirstPort, in port);
        writer.Commit();
    }

    /// <summary>Removes the connections of all backends, while nothing begins any.</summary>
    private static void Empty(RunningEngine engine, CancellationToken cancel)
    {
        SegmentWriter writer = engine.Writer;
        int[] backends = [.. Enumerable.Range(1, engine.Segment.MaxBackends - 1).Where(i => writer.Backend(i).Has(BackendFlags.Exists))];
        ulong? pass = null;
        Await(() => (pass ??= writer.TrySweep([.. backends.Select(i => (i, BackendRemoval.Drain))])) is not null);
        Await(() => writer.IsSwept(pass!.Value));
        foreach (int i in backends)
        {
            engine.Segment.ConnectionSweep.Clear((uint)i);
        }
        if (engine.Segment.Connections.Statistics().Connections is > 0 and long left)
        {
            throw engine.Failure($"keeps {left} connections");
        }

        void Await(Func<bool> condition)
        {
            for (long end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds; !condition(); Sleep(s_pause, cancel))
            {
                engine.Check();
                if (Environment.TickCount64 > end)
                {
                    throw engine.Failure("does not empty its table");
                }
            }
        }
    }

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }
}
