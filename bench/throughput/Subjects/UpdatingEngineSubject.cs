using System.Diagnostics;
using Dataplane.Memory;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// Our engine while its MAC table is written to without a pause: static addresses that no packet has, moved from port to port, so
/// many in each commit.
/// </summary>
/// <param name="name">For tables.</param>
/// <param name="program">The engine.</param>
/// <param name="batch">Entries in a commit; 0: nothing is written.</param>
public sealed class UpdatingEngineSubject(string name, string program, int batch) : EngineSubject(name, program)
{
    /// <summary>Addresses that are written.</summary>
    public const int Entries = 100_000;

    private const int Fid = 1, FirstAddress = 0x7000_0000;

    protected override Dictionary<string, object> Measure(RunningEngine engine, Func<Dictionary<string, object>> measure)
    {
        if (batch == 0)
        {
            return measure();
        }
        bool stop = false;
        long written = 0;
        var writer = new Thread(() => Write(engine.Writer, ref stop, ref written)) { Name = "writer" };
        writer.Start();
        long start = Stopwatch.GetTimestamp();
        Dictionary<string, object> facts;
        try
        {
            facts = measure();
            facts["updatesPerSecond"] = Volatile.Read(ref written) / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        finally
        {
            Volatile.Write(ref stop, true);
            writer.Join();
        }
        return facts;
    }

    private void Write(SegmentWriter writer, ref bool stop, ref long written)
    {
        for (long i = 0; !Volatile.Read(ref stop);)
        {
            writer.Begin();
            for (int n = 0; n < batch; n++, i++)
            {
                ulong mac = 0x02 | ((ulong)(FirstAddress + (i % Entries)) << 16);
                writer.SetStaticMac(MacTable.Key(Fid, mac), (ushort)(Scenario.FirstPort + (int)(i / Entries % 2)), MacFlags.Static);
            }
            writer.Commit();
            Volatile.Write(ref written, i);
        }
    }
}
