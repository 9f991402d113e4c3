using Dataplane.Observation;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>Tracing: every stage says what it decided about a packet, and the packet goes the way it would have gone.</summary>
public sealed class TraceTests
{
    private sealed record Row(string Description, Func<TestSwitch> Switch, Action<TestSwitch> Before, byte[] Packet, string Steps);

    private static readonly Row[] Table =
    [
        new("unknown source and destination", Three, _ => { }, Of(B, A), "Received 1, SourceLearned 1, Flooded 1, FloodSkipped 1 SamePort, Output 2, Output 3"),
        new("broadcast", Three, _ => { }, Of(Broadcast, A), "Received 1, SourceLearned 1, Flooded 1, FloodSkipped 1 SamePort, Output 2, Output 3"),
        new("known both", Three, Both, Of(B, A), "Received 1, SourceKnown 1, DestinationKnown 2, Output 2"),
        new("source moved here", Three, lan => lan.Send(3, Of(Broadcast, A)), Of(Broadcast, A), "Received 1, SourceMoved 1, Flooded 1, FloodSkipped 1 SamePort, Output 2, Output 3"),
        new("destination on the same port", Three, lan => lan.Send(1, Of(Broadcast, B)), Of(B, A), "Received 1, SourceLearned 1, DestinationKnown 1, Dropped 1 SamePort"),
        new("isolated", () => new TestSwitch().Port(1, PortFlags.Default | PortFlags.Isolated).Port(2, PortFlags.Default | PortFlags.Isolated).Port(3), Both, Of(B, A),
            "Received 1, SourceKnown 1, DestinationKnown 2, Dropped 1 Isolated"),
        new("isolated, flooded", () => new TestSwitch().Port(1, PortFlags.Default | PortFlags.Isolated).Port(2, PortFlags.Default | PortFlags.Isolated).Port(3), _ => { }, Of(B, A),
            "Received 1, SourceLearned 1, Flooded 1, FloodSkipped 1 SamePort, FloodSkipped 2 Isolated, Output 3"),
        new("a port that takes no broadcast", () => new TestSwitch().Port(1).Port(2, PortFlags.Default & ~PortFlags.FloodBroadcast).Port(3), _ => { }, Of(Broadcast, A),
            "Received 1, SourceLearned 1, Flooded 1, FloodSkipped 1 SamePort, FloodSkipped 2 NotWanted, Output 3"),
        new("a port that learns nothing", () => new TestSwitch().Port(1, PortFlags.Default & ~PortFlags.Learning).Port(2), _ => { }, Of(Broadcast, A),
            "Received 1, SourceIgnored 1, Flooded 1, FloodSkipped 1 SamePort, Output 2"),
        new("a learn limit", () => new TestSwitch().Port(1, change: r => r with { LearnLimit = 1 }).Port(2), lan => lan.Send(1, Of(Broadcast, C)), Of(Broadcast, A),
            "Received 1, SourceLimited 1, Flooded 1, FloodSkipped 1 SamePort, Output 2"),
        new("a static source elsewhere", Three, lan => Assert.True(lan.Writer.SetStaticMac(MacTable.Key(TestSwitch.Bridge, MacAddress.Parse(A).Value), 2, MacFlags.Static)), Of(Broadcast, A),
            "Received 1, Dropped 1 SourceStatic"),
        new("a runt", Three, _ => { }, Of(B, A)[..13], "Received 1, Dropped 1 Truncated"),
        new("a disabled port", () => new TestSwitch().Port(1, PortFlags.Default & ~PortFlags.Enabled).Port(2), _ => { }, Of(B, A), "Received 1, Dropped 1 PortDisabled"),
        new("larger than the MTU", Three, Both, Of(B, A, payload: 1600), "Received 1, SourceKnown 1, DestinationKnown 2, Dropped 2 EgressMtu"),
        new("from an access port to a trunk", () => new TestSwitch(bridge: TestSwitch.VlanAware).Access(1, 10).Trunk(2, [10]).Access(3, 20), _ => { }, Of(Broadcast, A),
            "Received 1, Classified 1, SourceLearned 1, Flooded 1, FloodSkipped 1 SamePort, FloodSkipped 3 OtherVlan, Retagged 0, Output 2"),
        new("a VLAN that the port does not carry", () => new TestSwitch(bridge: TestSwitch.VlanAware).Trunk(1, [10]).Trunk(2, [10]), _ => { }, Tagged(Broadcast, A, 11),
            "Received 1, Dropped 1 VlanNotAllowed"),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory, MemberData(nameof(Rows))]
    public void Each_stage_says_what_it_decided(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using TestSwitch lan = row.Switch();
        row.Before(lan);
        lan.Outputs();
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Trace });
        lan.Send(1, row.Packet);

        List<Seen> seen = watcher.Take();
        Assert.Equal(row.Steps, string.Join(", ", seen.Select(Text)));
        Assert.Single(seen.Select(s => s.Record.Trace).Distinct());
        Assert.Equal(row.Packet.Take(128), seen[0].Bytes);
        lan.Outputs();
    }

    [Theory, MemberData(nameof(Rows))]
    public void A_traced_packet_goes_where_it_would_have_gone(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        string[] outcomes = [.. new[] { false, true }.Select(traced =>
        {
            using TestSwitch lan = row.Switch();
            row.Before(lan);
            lan.Outputs();
            using Watcher? watcher = traced ? new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Trace }) : null;
            lan.Send(1, row.Packet);
            return lan.Outputs() + "; " + lan.Drops();
        })];
        Assert.Equal(outcomes[0], outcomes[1]);
    }

    [Fact]
    public void A_segment_that_is_cut_is_told()
    {
        using TestSwitch lan = new TestSwitch().Port(1, takesOffloads: true).Port(2);
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Trace });
        lan.Send(1, Inet.Tcp(300, 100, destination: Broadcast));
        Seen last = watcher.Take()[^1];
        Assert.Equal((TraceStep.Segmented, 2, 3ul), (last.Step, last.Port, last.Record.A));
        lan.Outputs();
    }

    [Fact]
    public void Only_so_many_packets_are_traced_as_asked_for()
    {
        using TestSwitch lan = Three();
        Both(lan);
        lan.Outputs();
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Trace, TraceCount = 3, Ports = [1] });
        lan.Send(2, Of(A, B)).Send(1, [.. Enumerable.Repeat(Of(B, A), 10)]);
        List<Seen> seen = watcher.Take();
        Assert.Equal(3, seen.Count(s => s.Step == TraceStep.Received));
        Assert.Equal(3, seen.Count(s => s.Step == TraceStep.Output));
        Assert.Equal(3, seen.Select(s => s.Record.Trace).Distinct().Count());
        lan.Outputs();
    }

    [Fact]
    public void A_packet_that_changes_hands_is_traced_to_its_end()
    {
        // Steps of two workers are put in order by their time, so it must go on by itself here.
        using var lan = new TestSwitch(workers: 2, clock: new MonotonicClock());
        lan.Port(1).Port(2);
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Trace });
        lan.Send(1, Of(Broadcast, A));
        lan.Send(2, Of(Broadcast, B));
        List<Seen> seen = watcher.Take();
        Assert.Contains(seen, s => s.Step == TraceStep.HandedOver);
        foreach (IGrouping<uint, Seen> packet in seen.GroupBy(s => s.Record.Trace))
        {
            Assert.Equal(TraceStep.Received, packet.First().Step);
            Assert.Equal(TraceStep.Output, packet.Last().Step);
        }
        lan.Outputs();
    }

    private static TestSwitch Three() => new TestSwitch().Port(1).Port(2).Port(3);

    private static void Both(TestSwitch lan) => lan.Send(1, Of(Broadcast, A)).Send(2, Of(Broadcast, B));

    private static string Text(Seen seen) => $"{seen.Step} {seen.Port}" + seen.Step switch
    {
        TraceStep.Dropped => $" {(DropReason)seen.Record.A}",
        TraceStep.FloodSkipped => seen.Record.A < (ulong)DropReason.Count ? $" {(DropReason)seen.Record.A}" : $" {(FloodSkip)seen.Record.A}",
        _ => "",
    };
}
