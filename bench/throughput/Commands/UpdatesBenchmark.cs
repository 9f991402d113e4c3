using System.CommandLine;
using Dataplane.Memory;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Subjects;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench updates</c>: the bridge while its table is written to, beside itself when nobody writes.</summary>
internal sealed class UpdatesBenchmark : Benchmark
{
    private readonly Option<int[]> _batches;

    public UpdatesBenchmark()
        : base("updates", "Packets per second of the bridge while static addresses are committed as fast as can be, and the longest time between two polls.")
    {
        _batches = Add(new Option<int[]>("--batches")
        {
            Description = "Entries in a commit",
            CustomParser = NumberList.Parser(1, UpdatingEngineSubject.Entries),
            DefaultValueFactory = _ => [1, 1_000],
        });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        EngineSubject engine = run.Engines()[0];
        run.Forward("Forwarding while the MAC table is written to",
            [
                .. options.GetValue(_batches)!.Select(batch => new UpdatingEngineSubject($"commits of {batch:N0}", engine.Program, batch)),
                new UpdatingEngineSubject("quiet", engine.Program, 0),
            ],
            [new Point("1,000 MACs", new RoomyBridge(), run.Settings)]);
    }

    /// <summary>The bridge, with room for what is written.</summary>
    private sealed class RoomyBridge() : BridgeScenario(1_000, PacketSizes.Smallest)
    {
        public override SegmentOptions SegmentOptions => new() { MacCapacity = 4 * UpdatingEngineSubject.Entries };
    }
}
