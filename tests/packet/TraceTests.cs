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
        new("routed", Routers, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2)), "Received 1, Routed 2 Connected, Output 2"),
        new("routed by one of several", Routers, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "198.51.100.1", 1, 2)), "Received 1, Routed 2 Gateway4 by its flow, Output 2"),
        new("without a route", Routers, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "203.0.113.1", 1, 2)), "Received 1, Routed 0 None, ErrorSent 1 3/0, Dropped 1 NoRoute"),
        new("no more hops", Routers, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2) with { Ttl = 1 }),
            "Received 1, Routed 2 Connected, ErrorSent 1 11/0, Dropped 1 TtlExceeded"),
        new("a source of another network", Routers, _ => { }, ToRouter(Ip.OfUdp("10.9.9.9", "10.0.2.2", 1, 2)), "Received 1, Dropped 1 SpoofedSource"),
        new("cut into fragments", Routers, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2, 1600)), "Received 1, Routed 2 Connected, Fragmented 2 in 2 for 1500"),
        new("a SYN that is clamped", Routers, _ => { }, ToRouter(Ip.OfTcp("10.0.1.2", "10.0.2.2", 1, 2, Inet.Syn, [2, 4, 0x22, 0xB4])),
            "Received 1, Routed 2 Connected, MssClamped 2 1460, Output 2"),
        new("an echo request to the router", Routers, _ => { }, ToRouter(Ip.OfEcho("10.0.1.2", "10.0.1.1")), "Received 1, Routed 1 Local, Delivered 1 0, Answered 1, Output 1"),
        new("a first packet to a service", Services, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53)),
            "Received 1, BackendChosen 0 1>1 of 1, Routed 2 Connected, DestinationTranslated 5353 0A000202, Output 2"),
        new("the next packet to a service", Services, lan => lan.Send(1, ToRouter(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53))), ToRouter(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53)),
            "Received 1, ConnectionFound 0 1>1, Routed 2 Connected, DestinationTranslated 5353 0A000202, Output 2"),
        new("a service without backends", Services, _ => { }, ToRouter(Ip.OfTcp("10.0.1.2", "10.96.0.1", 5000, 80, Inet.Syn)),
            "Received 1, Refused 1 6, Dropped 1 ServiceNoBackend"),
        new("a late answer of a service", Backend, lan =>
            {
                lan.Send(2, RouteLab.ToRouter(2, Ip.OfUdp("10.0.2.2", "10.96.0.1", 5000, 53)));
                lan.Clock.Advance(TimeSpan.FromSeconds(ConnectionTimes.Udp));
                for (int turn = 0; turn < 1000 && lan.Segment.Connections.Statistics().Connections > 0; turn++)
                {
                    lan.Engine.Housekeeping.RunOnce();
                }
            }, ToRouter(Ip.OfUdp("10.0.1.2", "10.0.2.2", 5353, 5000)), "Received 1, ConnectionGone 0, Dropped 1 NoConnection"),
        new("masqueraded", Services, _ => { }, ToRouter(Ip.OfUdp("10.0.1.2", "198.51.100.1", 5000, 53)),
            "Received 1, Routed 3 Gateway4, SourceTranslated 5000 0A000301, Output 3"),
        new("for the host", HostRouter, _ => { }, ToRouter(Ip.OfEcho("10.0.1.2", "10.0.5.1")), "Received 1, Routed 10 Local, Delivered 10 4, Output 4"),
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

    private static byte[] ToRouter(Ip packet) => RouteLab.ToRouter(1, packet);

    private static TestSwitch Routers()
    {
        RouteLab lab = new();
        lab.Routed(1, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck }, "10.0.1.1/24")
            .Routed(2, record => record with { Flags = record.Flags | InterfaceFlags.ClampMss }, "10.0.2.1/24").Neighbour(2, "10.0.2.2");
        return lab.Route(1, "198.51.100.0/24", lab.Group(0, lab.NextHop(RouteLab.Gateway(2, "10.0.2.2")))).Switch;
    }

    private static TestSwitch HostRouter()
    {
        RouteLab lab = new RouteLab().Routed(1, "10.0.1.1/24").Router(10, 4, record => record, "10.0.5.1/24");
        return lab.Switch.Port(4, PortFlags.Default | PortFlags.Host);
    }

    /// <summary>A router with a service, whose backend is on port 1.</summary>
    private static TestSwitch Backend() => new RouteLab().Routed(1, "10.0.1.1/24").Routed(2, "10.0.2.1/24").Neighbour(1, "10.0.1.2").Neighbour(2, "10.0.2.2")
        .Service(Ip.Udp, "10.96.0.1:53", "10.0.1.2:5353").Tracks().Switch;

    /// <summary>A router with a service, and a port on which sources are replaced.</summary>
    private static TestSwitch Services() => new RouteLab().Routed(1, "10.0.1.1/24").Routed(2, "10.0.2.1/24").Routed(3, "10.0.3.1/24")
        .Neighbour(2, "10.0.2.2").Neighbour(3, "10.0.3.2").Via("198.51.100.0/24", 3, "10.0.3.2")
        .Service(Ip.Udp, "10.96.0.1:53", "10.0.2.2:5353").Service(Ip.Tcp, "10.96.0.1:80").Masquerade(1, 3, ["10.0.3.1"]).Tracks().Switch;

    private static string Text(Seen seen) => $"{seen.Step} {seen.Port}" + seen.Step switch
    {
        TraceStep.Routed => $" {(NextHopKind)(seen.Record.A >> 32)}{(seen.Record.B != 0 ? " by its flow" : "")}",
        TraceStep.Delivered or TraceStep.MssClamped => $" {seen.Record.A}",
        TraceStep.ErrorSent => $" {seen.Record.A}/{seen.Record.B}",
        TraceStep.BackendChosen => $" {seen.Record.A >> 32}>{(uint)seen.Record.A} of {seen.Record.B}",
        TraceStep.ConnectionFound => $" {seen.Record.A >> 32}>{(uint)seen.Record.A}",
        TraceStep.SourceTranslated or TraceStep.DestinationTranslated => $" {seen.Record.B:X8}",
        TraceStep.Refused => $" {seen.Record.A}",
        TraceStep.Fragmented => $" in {seen.Record.A} for {seen.Record.B}",
        TraceStep.Dropped => $" {(DropReason)seen.Record.A}",
        TraceStep.FloodSkipped => seen.Record.A < (ulong)DropReason.Count ? $" {(DropReason)seen.Record.A}" : $" {(FloodSkip)seen.Record.A}",
        _ => "",
    };
}
