using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// ARP requests and neighbour solicitations on their way through a bridge: what its router answers is not flooded, and everything
/// else is.
/// </summary>
public sealed class NeighbourInterceptTests
{
    private const int RouterPort = 5, HostPort = 3, Elsewhere = 4;
    private const string A4 = "10.0.5.10", B4 = "10.0.5.11", Own4 = "10.0.5.1", Far4 = "10.0.4.9";
    private const string A6 = "fd00:5::10", B6 = "fd00:5::11", Own6 = "fd00:5::1", Far6 = "fd00:4::9";
    private static readonly string s_own = MacOf(RouterPort);

    /// <param name="Description">Who asks whom.</param>
    /// <param name="Question">Into port 1; A is behind it, B behind port 2, the host behind port 3.</param>
    /// <param name="Answer">What comes back to port 1; null when the question goes to ports 2 and 3.</param>
    /// <param name="Flags">Of the interface.</param>
    /// <param name="Before">Done before.</param>
    private sealed record Row(string Description, Func<byte[]> Question, Func<byte[]>? Answer, InterfaceFlags Flags = InterfaceFlags.None,
        Action<RouteLab>? Before = null);

    private static byte[] Ask4(string target, string mac = Frame.A, string sender = A4) => Arp.Request(mac, sender, target).ToAll();
    private static byte[] Tell4(string mac, string target, string sender = A4) => Arp.Reply(mac, target, Frame.A, sender).In(Frame.A);
    private static byte[] Ask6(string target, string mac = Frame.A, string source = A6) => Nd.Ask(mac, source, target).ToGroup(mac);
    private static byte[] Tell6(string mac, string target, byte flags = Nd.R | Nd.S | Nd.O, string? source = null) =>
        (Nd.Tell(mac, target, A6, flags) with { Source = source ?? target }).In(Frame.A, mac);

    private static readonly Row[] s_table =
    [
        new("the router's own address", () => Ask4(Own4), () => Tell4(s_own, Own4)),
        new("the router's own address, IPv6", () => Ask6(Own6), () => Tell6(s_own, Own6)),
        new("the router's link-local address", () => Ask6(Nd.LinkLocal(s_own)), () => Tell6(s_own, Nd.LinkLocal(s_own))),
        new("a probe for the router's address", () => Ask4(Own4, sender: "0.0.0.0"), () => Tell4(s_own, Own4, "0.0.0.0")),
        new("a probe for the router's address, IPv6", () => Nd.Probe(Own6).ToGroup(Frame.A), () => Nd.Tell(s_own, Own6, "ff02::1", Nd.R | Nd.O).ToGroup(s_own)),
        new("another address", () => Ask4(B4), null),
        new("another address, IPv6", () => Ask6(B6), null),
        new("another address that is known", () => Ask4(B4), null, Before: KnowB),
        new("another address that is known, IPv6", () => Ask6(B6), null, Before: KnowB),

        new("with suppression, one that is known", () => Ask4(B4), () => Tell4(Frame.B, B4), InterfaceFlags.Suppress, KnowB),
        new("with suppression, one that is known, IPv6", () => Ask6(B6), () => Tell6(Frame.B, B6, Nd.S | Nd.O), InterfaceFlags.Suppress, KnowB),
        new("with suppression, one that is stale", () => Ask4(B4), () => Tell4(Frame.B, B4), InterfaceFlags.Suppress, lab => Know(lab, NeighbourState.Stale)),
        new("with suppression, one that is being asked for", () => Ask4(B4), null, InterfaceFlags.Suppress, lab => Know(lab, NeighbourState.Incomplete)),
        new("with suppression, one that failed", () => Ask4(B4), null, InterfaceFlags.Suppress, lab => Know(lab, NeighbourState.Failed)),
        new("with suppression, one that is not known", () => Ask4(B4), null, InterfaceFlags.Suppress),
        new("with suppression, one that is not known, IPv6", () => Ask6(B6), null, InterfaceFlags.Suppress),
        new("with suppression, a probe", () => Ask4(B4, sender: "0.0.0.0"), null, InterfaceFlags.Suppress, KnowB),
        new("with suppression, a probe, IPv6", () => Nd.Probe(B6).ToGroup(Frame.A), null, InterfaceFlags.Suppress, KnowB),
        new("with suppression, an announcement", () => Ask4(B4, sender: B4), null, InterfaceFlags.Suppress, KnowB),
        new("with suppression, an announcement, IPv6", () => Ask6(B6, source: B6), null, InterfaceFlags.Suppress, KnowB),
        new("with suppression, a station that asks for itself by another address", () => Arp.Request(Frame.B, A4, B4).In(Frame.Broadcast, Frame.A), null, InterfaceFlags.Suppress, KnowB),
        new("with suppression, one behind the port that asks", () => Ask4(B4), null, InterfaceFlags.Suppress, lab =>
        {
            KnowB(lab);
            lab.Switch.SetStatic(Frame.B, 1);
        }),
        new("with suppression, one that the bridge does not know", () => Ask4(B4), null, InterfaceFlags.Suppress, lab =>
        {
            KnowB(lab);
            lab.Switch.Remove(Frame.B);
        }),
        new("with suppression, one that is isolated as the asker is", () => Ask4(B4), null, InterfaceFlags.Suppress, lab =>
        {
            KnowB(lab);
            lab.Switch.Flags(1, PortFlags.Isolated);
            lab.Switch.Flags(2, PortFlags.Isolated);
        }),
        new("with suppression, the router's own address", () => Ask4(Own4), () => Tell4(s_own, Own4), InterfaceFlags.Suppress),

        new("with proxy, one behind another interface", () => Ask4(Far4), () => Tell4(s_own, Far4), InterfaceFlags.Proxy),
        new("with proxy, one behind another interface, IPv6", () => Ask6(Far6), () => Tell6(s_own, Far6, Nd.R | Nd.S, Nd.LinkLocal(s_own)), InterfaceFlags.Proxy),
        new("with proxy, the router's address there", () => Ask4("10.0.4.1"), () => Tell4(s_own, "10.0.4.1"), InterfaceFlags.Proxy),
        new("with proxy, one behind a gateway there", () => Ask4("192.0.2.1"), () => Tell4(s_own, "192.0.2.1"), InterfaceFlags.Proxy,
            lab => lab.Via("192.0.2.0/24", Elsewhere, "10.0.4.2")),
        new("with proxy, one behind several gateways there", () => Ask4("192.0.2.1"), () => Tell4(s_own, "192.0.2.1"), InterfaceFlags.Proxy,
            lab => lab.Route(1, "192.0.2.0/24", lab.Group(1, lab.NextHop(Gateway(Elsewhere, "10.0.4.2")), lab.NextHop(Gateway(Elsewhere, "10.0.4.3"))))),
        new("with proxy, one behind a gateway on this side", () => Ask4("192.0.2.1"), null, InterfaceFlags.Proxy,
            lab => lab.Via("192.0.2.0/24", RouterPort, "10.0.5.99")),
        new("with proxy, one on the link", () => Ask4(B4), null, InterfaceFlags.Proxy),
        new("with proxy, one on the link, IPv6", () => Ask6(B6), null, InterfaceFlags.Proxy),
        new("with proxy, one to which there is no route", () => Ask4("198.51.100.1"), null, InterfaceFlags.Proxy),
        new("with proxy, one in a black hole", () => Ask4("198.51.100.1"), null, InterfaceFlags.Proxy, lab => lab.Route("198.51.100.0/24", NextHopKind.Blackhole)),
        new("with proxy, a probe", () => Ask4(Far4, sender: "0.0.0.0"), null, InterfaceFlags.Proxy),
        new("with proxy, a probe, IPv6", () => Nd.Probe(Far6).ToGroup(Frame.A), null, InterfaceFlags.Proxy),
        new("with proxy, an announcement", () => Ask4(Far4, sender: Far4), null, InterfaceFlags.Proxy),
        new("with proxy, the broadcast address", () => Ask4("10.0.5.255"), null, InterfaceFlags.Proxy),
        new("without proxy, one behind another interface", () => Ask4(Far4), null),

        new("a reply", () => Arp.Reply(Frame.A, A4, Frame.Broadcast, A4).ToAll(), null, InterfaceFlags.Suppress | InterfaceFlags.Proxy),
        new("an advertisement", () => Nd.Tell(Frame.A, A6, "ff02::1", Nd.O).ToGroup(Frame.A), null, InterfaceFlags.Suppress | InterfaceFlags.Proxy),
        new("a request with a tag, which is payload here", () => Frame.WithTags(Ask4(Own4), 10), null),
        new("half a request", () => Ask4(Own4)[..30], null),
        new("an invalid solicitation", () => (Nd.Ask(Frame.A, A6, Own6) with { HopLimit = 64 }).ToGroup(Frame.A), null),
    ];

    public static TheoryData<string> Rows => [.. s_table.Select(row => row.Description)];

    [Theory, MemberData(nameof(Rows))]
    public void A_question_is_answered_or_flooded(string description)
    {
        Row row = s_table.Single(r => r.Description == description);
        using RouteLab lab = Lab(row.Flags);
        row.Before?.Invoke(lab);
        byte[] question = row.Question();
        lab.Switch.Send(1, question);
        string[] reached = [.. new[] { 2, HostPort }.Select(port => (port, frames: lab.Take(port))).Where(p => p.frames.Any(f => f.SequenceEqual(question)))
            .Select(p => p.port.ToString(System.Globalization.CultureInfo.InvariantCulture))];
        PortCounters counters = lab.Switch.Counters(1), router = lab.Switch.Counters(RouterPort);
        if (row.Answer != null)
        {
            Assert.Equal(row.Answer(), Assert.Single(lab.Take(1)));
            Assert.Empty(reached);
            Assert.Equal((1ul, 0ul, 1ul, 1ul, 0ul), (counters.Consumed, counters.Forwarded, counters.RxMulticast, router.Originated, router.RxPackets));
        }
        else
        {
            Assert.Empty(lab.Take(1));
            string[] isolated = description.Contains("isolated", StringComparison.Ordinal) ? ["3"] : ["2", "3"];
            Assert.Equal(isolated, reached);
            Assert.Equal((0ul, 1ul, 0ul, 1ul), (counters.Consumed, counters.Forwarded, router.Originated, router.RxPackets));
        }
    }

    [Fact]
    public void Who_asks_for_the_router_is_known_to_it_afterwards()
    {
        using RouteLab lab = Lab();
        lab.Switch.Send(1, Ask4(Own4), Ask6(Own6), Ask4(Own4, Frame.C, "10.99.0.1"));
        lab.Switch.Outputs();
        Assert.Equal([(A4, NeighbourState.Stale), (A6, NeighbourState.Stale)], lab.Switch.Segment.Neighbours.List().OrderBy(e => e.Key.IsIPv6).Select(e => (e.Key.IsIPv6 ? A6 : A4, e.State)));
        Assert.All(lab.Switch.Segment.Neighbours.List(), e => Assert.Equal(Value(Frame.A), e.Mac));
        // So a packet to it is sent at once.
        lab.Switch.Send(Elsewhere, ToRouter(Elsewhere, Ip.OfUdp(Far4, A4, 1, 2)));
        Assert.Equal(Ip.OfUdp(Far4, A4, 1, 2).Payload, lab.TakeOne(1).Payload);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_host_is_not_answered_about_itself(bool v6)
    {
        using RouteLab lab = Lab(InterfaceFlags.Suppress);
        KnowB(lab);
        // It has the router's MAC and IP addresses: it announces, probes, and asks for a station.
        lab.Switch.Send(HostPort, v6 ? Ask6(Own6, s_own, Own6) : Ask4(Own4, s_own, Own4));
        lab.Switch.Send(HostPort, v6 ? Nd.Probe(Own6).ToGroup(s_own) : Ask4(Own4, s_own, "0.0.0.0"));
        Assert.Empty(lab.Take(HostPort));
        Assert.Equal(2, lab.Take(2).Count);
        Assert.DoesNotContain(lab.Switch.Segment.Neighbours.List(), e => e.Mac == Value(s_own));
        // For others it is one who asks.
        lab.Switch.Send(HostPort, v6 ? Ask6(B6, s_own, Own6) : Ask4(B4, s_own, Own4));
        byte[] answer = Assert.Single(lab.Take(HostPort));
        Assert.Equal(Frame.B, v6 ? Nd.Of(answer).Mac : Arp.Of(answer).SenderMac);
        Assert.Empty(lab.Take(2));
        lab.Switch.Outputs();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_answer_to_the_router_goes_on_to_the_host(bool v6)
    {
        using RouteLab lab = Lab();
        byte[] answer = v6 ? Nd.Tell(Frame.A, A6, Own6).In(s_own, Frame.A) : Arp.Reply(Frame.A, A4, s_own, Own4).In(s_own);
        lab.Switch.Send(1, answer);
        Assert.Equal(answer, Assert.Single(lab.Take(HostPort)));
        PortCounters router = lab.Switch.Counters(RouterPort);
        Assert.Equal((1ul, 1ul, 0ul), (router.RxPackets, router.Forwarded, router.Consumed));
        // What goes to all it has by the bridge, and a question is the router's to answer.
        byte[] announcement = v6 ? Nd.Tell(Frame.A, A6, "ff02::1", Nd.O).ToGroup(Frame.A) : Arp.Reply(Frame.A, A4, Frame.Broadcast, A4).ToAll();
        lab.Switch.Send(1, announcement);
        Assert.Equal(announcement, Assert.Single(lab.Take(HostPort)));
        lab.Switch.Send(1, v6 ? Nd.Ask(Frame.A, A6, Own6).In(s_own, Frame.A) : Arp.Request(Frame.A, A4, Own4).In(s_own));
        Assert.Empty(lab.Take(HostPort));
        Assert.Single(lab.Take(1));
        lab.Switch.Outputs();
    }

    [Fact]
    public void An_answer_goes_to_the_router_and_the_host_at_once()
    {
        using RouteLab lab = Lab();
        lab.Switch.Send(Elsewhere, ToRouter(Elsewhere, Ip.OfUdp(Far4, A4, 1, 2)));
        Assert.Equal(Arp.Request(s_own, Own4, A4), Arp.Of(Assert.Single(lab.Take(1))));
        Assert.Equal("2 3", lab.Switch.Outputs());
        byte[] answer = Arp.Reply(Frame.A, A4, s_own, Own4).In(s_own);
        lab.Switch.Send(1, answer);
        Assert.Equal(answer, Assert.Single(lab.Take(HostPort)));
        Assert.Equal(Ip.OfUdp(Far4, A4, 1, 2).Payload, lab.TakeOne(1).Payload);
    }

    /// <summary>On a bridge that looks at VLANs the router is in one of them.</summary>
    [Fact]
    public void A_question_of_another_VLAN_is_flooded()
    {
        using RouteLab lab = new(bridge: TestSwitch.VlanAware);
        lab.Switch.Access(1, 1).Access(2, 2).Trunk(3, [1, 2]).Access(6, 2);
        lab.Router(RouterPort, 0, record => record, "10.0.5.1/24", "fd00:5::1/64");
        lab.Switch.Change(RouterPort, record => TestSwitch.Vlan(record, [1], 1));
        lab.Switch.SetStatic(s_own, RouterPort, vlan: 1);
        lab.Switch.Send(1, Ask4(Own4));
        Assert.Equal(Tell4(s_own, Own4), Assert.Single(lab.Take(1)));
        lab.Switch.Send(3, Frame.WithTags(Ask4(Own4), 1), Frame.WithTags(Ask6(Own6), 1));
        Assert.Equal([Frame.WithTags(Tell4(s_own, Own4), 1), Frame.WithTags(Tell6(s_own, Own6), 1)], lab.Take(3));
        Assert.Equal("", lab.Switch.Outputs());
        lab.Switch.Send(2, Ask4(Own4));
        Assert.Equal("3 6", lab.Switch.Outputs());
        lab.Switch.Send(3, Frame.WithTags(Ask4(Own4), 2));
        Assert.Equal("2 6", lab.Switch.Outputs());
    }

    [Fact]
    public void Without_a_buffer_for_the_answer_the_question_is_flooded()
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(1, Ask4(Own4));
        using (Hoard.All(lab.Switch.Engine.Small))
        {
            lab.Switch.Poll();
        }
        Assert.Equal("2 3", lab.Switch.Outputs());
    }

    [Fact]
    public void A_question_in_pieces_is_flooded_and_answered_all_the_same()
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(1, Ask4(Own4), firstBuffer: 20);
        lab.Switch.Poll();
        Assert.Equal(Tell4(s_own, Own4), Assert.Single(lab.Take(1)));
        Assert.Equal("2 3", lab.Switch.Outputs());
    }

    [Fact]
    public void A_trace_tells_in_whose_name_a_question_is_answered()
    {
        using RouteLab lab = Lab(InterfaceFlags.Suppress | InterfaceFlags.Proxy);
        KnowB(lab);
        using var watcher = new Watcher(lab.Switch, new CaptureWish { Kinds = CaptureKinds.Trace });
        lab.Switch.Send(1, Ask4(Own4), Ask4(Far4), Ask4(B4));
        Assert.Equal([(s_own, AnswerKind.Own), (s_own, AnswerKind.Proxy), (Frame.B, AnswerKind.Neighbour)],
            watcher.Take().Where(s => s.Step == TraceStep.NeighbourAnswered).Select(s => (new MacAddress(s.Record.A).ToString(), (AnswerKind)s.Record.B)));
        lab.Switch.Send(1, Arp.Reply(Frame.A, A4, s_own, Own4).In(s_own));
        Assert.Equal(HostPort, watcher.Take().Single(s => s.Step == TraceStep.NeighbourForHost).Port);
        lab.Switch.Outputs();
    }

    private static RouteLab Lab(InterfaceFlags flags = InterfaceFlags.None)
    {
        var lab = new RouteLab();
        lab.Switch.Port(1).Port(2).Port(HostPort, PortFlags.Default | PortFlags.Host);
        lab.Router(RouterPort, HostPort, record => record with { Flags = record.Flags | flags }, "10.0.5.1/24", "fd00:5::1/64");
        return lab.Routed(Elsewhere, "10.0.4.1/24", "fd00:4::1/64");
    }

    private static void KnowB(RouteLab lab) => Know(lab, NeighbourState.Reachable);

    /// <summary>B is known to the bridge, behind port 2, and in some state to the router.</summary>
    private static void Know(RouteLab lab, NeighbourState state)
    {
        lab.Switch.SetStatic(Frame.B, 2);
        NeighbourTable table = lab.Switch.Segment.Neighbours;
        ulong value = NeighbourValue.Make(state, state >= NeighbourState.Stale ? Value(Frame.B) : 0);
        Assert.Equal(NeighbourResult.Inserted, table.Insert(NeighbourTable.Key4(RouterPort, 0x0A00_050B), value, lab.Switch.Clock.Seconds, out _));
        Assert.Equal(NeighbourResult.Inserted, table.Insert(table.Key6(RouterPort, 0xFD00_0005_0000_0000, 0x11), value, lab.Switch.Clock.Seconds, out _));
    }
}
