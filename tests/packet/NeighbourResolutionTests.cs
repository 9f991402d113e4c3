using System.Globalization;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using Dataplane.Tables;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// Packets to neighbours whose address is not known, or not known to hold: they wait, the link is asked, time passes. Each for both
/// families, which differ in the frames only.
/// </summary>
public sealed class NeighbourResolutionTests
{
    private const int In = 1, Out = 2;

    /// <summary>The frames of a family.</summary>
    public sealed class Family(bool v6)
    {
        public bool IsV6 { get; } = v6;
        public string Own => IsV6 ? "fd00:2::1" : "10.0.2.1";
        public string Source => IsV6 ? "fd00:1::2" : "10.0.1.2";

        /// <summary>A neighbour on the link of the output port.</summary>
        public string Peer(int number = 2) => string.Create(CultureInfo.InvariantCulture, $"{(IsV6 ? "fd00:2::" : "10.0.2.")}{number}");

        public Ip Packet(int neighbour = 2, int id = 1) => Ip.OfUdp(Source, Peer(neighbour), id, 2000);

        /// <summary>A question of the router for a neighbour: to all, or to a station.</summary>
        public byte[] Question(int neighbour = 2, string? to = null) => IsV6
            ? Nd.Ask(MacOf(Out), Own, Peer(neighbour)) is var ask && to != null
                ? (ask with { Destination = Peer(neighbour) }).In(to, MacOf(Out))
                : ask.ToGroup(MacOf(Out))
            : Arp.Request(MacOf(Out), Own, Peer(neighbour)).In(to ?? Frame.Broadcast);

        public byte[] Answer(int neighbour = 2, string? mac = null)
        {
            mac ??= PeerMac(Out, neighbour);
            return IsV6
                ? Nd.Tell(mac, Peer(neighbour), Own).In(MacOf(Out), mac)
                : Arp.Reply(mac, Peer(neighbour), MacOf(Out), Own).In(MacOf(Out));
        }

        /// <summary>Says something of itself that nobody asked for.</summary>
        public byte[] Announcement(int neighbour, string mac) => IsV6
            ? Nd.Tell(mac, Peer(neighbour), "ff02::1", Nd.O).ToGroup(mac)
            : Arp.Request(mac, Peer(neighbour), Peer(neighbour)).ToAll();

        public override string ToString() => IsV6 ? "IPv6" : "IPv4";
    }

    public static TheoryData<Family> Families => [new Family(false), new Family(true)];

    private static RouteLab Lab(int workers = 1) => new RouteLab(workers).Routed(In, "10.0.1.1/24", "fd00:1::1/64").Routed(Out, "10.0.2.1/24", "fd00:2::1/64")
        .Neighbour(In, "10.0.1.2").Neighbour(In, "fd00:1::2");

    private static NeighbourEntry? Entry(RouteLab lab, Family f, int neighbour = 2) => lab.Switch.Segment.Neighbours.List()
        .Where(e => e.Key.Port == Out && e.Key.IsIPv6 == f.IsV6 && (e.Key.Low & 0xFF) == HostPart(f, neighbour)).Cast<NeighbourEntry?>().SingleOrDefault();

    private static ulong HostPart(Family f, int neighbour) => f.IsV6
        ? ulong.Parse(neighbour.ToString(CultureInfo.InvariantCulture), NumberStyles.HexNumber, CultureInfo.InvariantCulture) : (ulong)neighbour;

    private static NeighbourState State(RouteLab lab, Family f, int neighbour = 2) => Entry(lab, f, neighbour)?.State ?? NeighbourState.None;

    private static void Pass(RouteLab lab, double seconds)
    {
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(seconds));
        lab.Switch.Poll();
    }

    /// <summary>Lets so much time pass, and housekeeping look at all entries.</summary>
    private static void Age(RouteLab lab, double seconds)
    {
        Pass(lab, seconds);
        lab.Switch.Engine.Housekeeping.RunOnce();
        lab.Switch.Engine.Housekeeping.RunOnce();
    }

    /// <summary>Makes a neighbour reachable.</summary>
    private static void Resolve(RouteLab lab, Family f, int neighbour = 2)
    {
        lab.Send(In, f.Packet(neighbour));
        lab.Switch.Send(Out, f.Answer(neighbour));
        Assert.Equal(2, lab.Take(Out).Count);
    }

    /// <summary>Makes a neighbour stale that was reachable.</summary>
    private static void MakeStale(RouteLab lab, Family f, int neighbour = 2)
    {
        Resolve(lab, f, neighbour);
        Age(lab, 46);
        Assert.Equal(NeighbourState.Stale, State(lab, f, neighbour));
    }

    [Theory, MemberData(nameof(Families))]
    public void A_packet_waits_until_its_neighbour_answers(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
        Assert.Equal((1ul, 0ul), (lab.Switch.Counters(In).Held, lab.Switch.Counters(In).Forwarded));
        Assert.Equal(1ul, lab.Switch.Counters(Out).Originated);
        Assert.Equal(NeighbourState.Incomplete, State(lab, f));
        lab.Switch.CheckAccounting();

        lab.Switch.Send(Out, f.Answer());
        byte[] sent = Assert.Single(lab.Take(Out));
        Assert.Equal((PeerMac(Out), MacOf(Out)), (Arp.Mac(sent, 0), Arp.Mac(sent, 6)));
        Assert.Equal(f.Packet().Payload, Ip.Of(sent).Payload);
        Assert.Equal(63, Ip.Of(sent).Ttl);
        Assert.Equal((0ul, 1ul), (lab.Switch.Counters(In).Held, lab.Switch.Counters(In).Forwarded));
        Assert.Equal((NeighbourState.Reachable, MacAddress.Parse(PeerMac(Out)).Value), (State(lab, f), Entry(lab, f)!.Value.Mac));

        lab.Send(In, f.Packet());
        Assert.Single(lab.Take(Out));
        Assert.Empty(lab.Switch.Drops());
    }

    [Theory, MemberData(nameof(Families))]
    public void Packets_go_in_the_order_in_which_they_came(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, [.. Enumerable.Range(0, Resolutions.PacketsPerNeighbour).Select(i => f.Packet(2, i))]);
        Assert.Single(lab.Take(Out)); // one question for all
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(Enumerable.Range(0, Resolutions.PacketsPerNeighbour), lab.Take(Out).Select(frame => (int)Ip.Of(frame).Word(0)));
    }

    [Theory, MemberData(nameof(Families))]
    public void Of_too_many_the_latest_wait(Family f)
    {
        const int Count = Resolutions.PacketsPerNeighbour + 3;
        using RouteLab lab = Lab();
        lab.Send(In, [.. Enumerable.Range(0, Count).Select(i => f.Packet(2, i))]);
        Assert.Equal("1 NeighbourQueueFull 3", lab.Switch.Drops());
        Assert.Equal((ulong)Resolutions.PacketsPerNeighbour, lab.Switch.Counters(In).Held);
        lab.Switch.CheckAccounting();
        lab.Take(Out);
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(Enumerable.Range(3, Resolutions.PacketsPerNeighbour), lab.Take(Out).Select(frame => (int)Ip.Of(frame).Word(0)));
    }

    [Theory, MemberData(nameof(Families))]
    public void The_link_is_asked_three_times_with_back_off_and_then_the_sender_is_told(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        // What comes out in the second after each whole one: questions at 0, 1 and 3, and the end after 7.
        var asked = new List<int>();
        for (int second = 0; second < 7; second++)
        {
            asked.AddRange(lab.Take(Out).Select(frame =>
            {
                Assert.Equal(f.Question(), frame);
                return second;
            }));
            Assert.Empty(lab.Take(In));
            Assert.Equal(1ul, lab.Switch.Counters(In).Held);
            Pass(lab, 1);
        }
        Assert.Equal([0, 1, 3], asked);
        Assert.Equal("1 NeighbourUnresolved 1", lab.Switch.Drops());
        Assert.Equal(0ul, lab.Switch.Counters(In).Held);
        Assert.Equal(NeighbourState.Failed, State(lab, f));
        Ip told = lab.TakeOne(In);
        Assert.Equal(f.IsV6 ? (1, 3) : (3, 1), (told.Payload[0], told.Payload[1]));
        Assert.Equal(f.Source, told.Destination);

        // For a while nobody is asked again, and senders are told at once.
        Pass(lab, 2);
        lab.Send(In, f.Packet());
        Assert.Empty(lab.Take(Out));
        Assert.Single(lab.Take(In));
        Assert.Equal("1 NeighbourUnresolved 2", lab.Switch.Drops());
        Pass(lab, 1);
        lab.Send(In, f.Packet());
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
        lab.Switch.Send(Out, f.Answer());
        Assert.Single(lab.Take(Out));
    }

    [Theory, MemberData(nameof(Families))]
    public void An_answer_that_comes_late_is_good_for_the_next_packet(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        Pass(lab, 1);
        Pass(lab, 2);
        Pass(lab, 4);
        Assert.Equal(NeighbourState.Failed, State(lab, f));
        lab.Take(Out);
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(NeighbourState.Reachable, State(lab, f));
        lab.Send(In, f.Packet());
        Assert.Single(lab.Take(Out));
    }

    [Theory, MemberData(nameof(Families))]
    public void What_failed_is_forgotten(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        foreach (int seconds in (int[])[1, 2, 4])
        {
            Pass(lab, seconds);
        }
        Age(lab, 9);
        Assert.Equal(NeighbourState.Failed, State(lab, f));
        Age(lab, 1);
        Assert.Equal(NeighbourState.None, State(lab, f));
        lab.Take(Out);
    }

    [Theory, MemberData(nameof(Families))]
    public void A_neighbour_that_is_not_asked_again_goes_stale_and_is_used_on_while_it_is_probed(Family f)
    {
        using RouteLab lab = Lab();
        Resolve(lab, f);
        Age(lab, 14);
        Assert.Equal(NeighbourState.Reachable, State(lab, f));
        Age(lab, 32);
        Assert.Equal(NeighbourState.Stale, State(lab, f));
        Pass(lab, 100);
        Assert.Empty(lab.Take(Out)); // nothing is sent there, so nobody wants to know

        // A packet goes, and begins the delay.
        lab.Send(In, f.Packet());
        Assert.Equal(f.Packet().Payload, lab.TakeOne(Out).Payload);
        Assert.Equal(NeighbourState.Delay, State(lab, f));
        Pass(lab, 4.9);
        lab.Send(In, f.Packet());
        Assert.Equal(f.Packet().Payload, lab.TakeOne(Out).Payload);
        Pass(lab, 0.2);
        Assert.Equal(f.Question(2, PeerMac(Out)), Assert.Single(lab.Take(Out)));
        Assert.Equal(NeighbourState.Probe, State(lab, f));
        lab.Send(In, f.Packet());
        Assert.Equal(f.Packet().Payload, lab.TakeOne(Out).Payload);
        Pass(lab, 1.1);
        Assert.Equal(f.Question(2, PeerMac(Out)), Assert.Single(lab.Take(Out)));
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(NeighbourState.Reachable, State(lab, f));
        Pass(lab, 10);
        Assert.Empty(lab.Take(Out));
        Assert.Empty(lab.Switch.Drops());
    }

    [Theory, MemberData(nameof(Families))]
    public void An_answer_in_the_delay_spares_the_probe(Family f)
    {
        using RouteLab lab = Lab();
        MakeStale(lab, f);
        lab.Send(In, f.Packet());
        lab.Switch.Send(Out, f.Answer());
        Assert.Single(lab.Take(Out));
        Assert.Equal(NeighbourState.Reachable, State(lab, f));
        Pass(lab, 10);
        Assert.Empty(lab.Take(Out));
    }

    [Theory, MemberData(nameof(Families))]
    public void A_neighbour_that_does_not_answer_a_probe_is_asked_for_on_the_link(Family f)
    {
        using RouteLab lab = Lab();
        MakeStale(lab, f);
        lab.Send(In, f.Packet());
        lab.Take(Out);
        Pass(lab, 5);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(f.Question(2, PeerMac(Out)), Assert.Single(lab.Take(Out)));
            Assert.Equal(NeighbourState.Probe, State(lab, f));
            Pass(lab, 1);
        }
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
        Assert.Equal(NeighbourState.Incomplete, State(lab, f));
        // Another station has the address now.
        lab.Send(In, f.Packet());
        Assert.Empty(lab.Take(Out));
        lab.Switch.Send(Out, f.Answer(2, PeerMac(Out, 77)));
        Assert.Equal(PeerMac(Out, 77), Arp.Mac(Assert.Single(lab.Take(Out)), 0));
        Assert.Empty(lab.Switch.Drops());
    }

    [Theory, MemberData(nameof(Families))]
    public void An_announcement_changes_what_is_known_and_makes_nothing_new(Family f)
    {
        using RouteLab lab = Lab();
        lab.Switch.Send(Out, f.Announcement(3, PeerMac(Out, 3)));
        Assert.Equal(NeighbourState.None, State(lab, f, 3));
        Resolve(lab, f);
        lab.Switch.Send(Out, f.Announcement(2, PeerMac(Out)));
        Assert.Equal(NeighbourState.Reachable, State(lab, f)); // nothing new
        lab.Switch.Send(Out, f.Announcement(2, PeerMac(Out, 99)));
        Assert.Equal(NeighbourState.Stale, State(lab, f));
        lab.Send(In, f.Packet());
        Assert.Equal(PeerMac(Out, 99), Arp.Mac(Assert.Single(lab.Take(Out)), 0));
        Assert.Empty(lab.Switch.Drops());
    }

    [Theory, MemberData(nameof(Families))]
    public void An_announcement_sets_a_waiting_packet_going(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        lab.Take(Out);
        lab.Switch.Send(Out, f.Announcement(2, PeerMac(Out)));
        Assert.Equal(PeerMac(Out), Arp.Mac(Assert.Single(lab.Take(Out)), 0));
        Assert.Equal(NeighbourState.Delay, State(lab, f));
    }

    [Theory, MemberData(nameof(Families))]
    public void A_permanent_neighbour_is_never_asked_for_nor_changed(Family f)
    {
        using RouteLab lab = Lab();
        lab.Neighbour(Out, f.Peer());
        lab.Send(In, f.Packet());
        Assert.Equal(PeerMac(Out), Arp.Mac(Assert.Single(lab.Take(Out)), 0));
        lab.Switch.Send(Out, f.Answer(2, PeerMac(Out, 99)), f.Announcement(2, PeerMac(Out, 99)));
        Age(lab, 3600);
        lab.Send(In, f.Packet());
        Assert.Equal(PeerMac(Out), Arp.Mac(Assert.Single(lab.Take(Out)), 0));
        Assert.Equal(NeighbourState.Permanent, State(lab, f));
    }

    [Theory, MemberData(nameof(Families))]
    public void A_permanent_neighbour_that_control_makes_sets_waiting_packets_going(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, f.Packet());
        lab.Take(Out);
        lab.Neighbour(Out, f.Peer());
        Pass(lab, 0.2);
        Assert.Equal(f.Packet().Payload, lab.TakeOne(Out).Payload);
    }

    [Theory, MemberData(nameof(Families))]
    public void A_neighbour_that_control_removes_is_asked_for_again(Family f)
    {
        using RouteLab lab = Lab();
        Resolve(lab, f);
        NeighbourKey key = Entry(lab, f)!.Value.Key;
        Assert.True(lab.Switch.Writer.RemoveNeighbour(in key));
        lab.Send(In, f.Packet());
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
        Assert.True(lab.Switch.Writer.RemoveNeighbour(in key));
        Assert.False(lab.Switch.Writer.RemoveNeighbour(in key));
        Pass(lab, 0.2);
        Assert.Equal("1 NeighbourUnresolved 1", lab.Switch.Drops());
        lab.Switch.Writer.Synchronize();
    }

    [Theory, MemberData(nameof(Families))]
    public void A_gateway_is_resolved_for_what_goes_by_it(Family f)
    {
        using RouteLab lab = Lab().Via(f.IsV6 ? "2001:db8::/32" : "192.0.2.0/24", Out, f.Peer());
        string[] destinations = f.IsV6 ? ["2001:db8::1", "2001:db8:1::1"] : ["192.0.2.1", "192.0.2.2"];
        lab.Send(In, [.. destinations.Select(d => Ip.OfUdp(f.Source, d, 1, 2))]);
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(destinations, lab.Take(Out).Select(frame => Ip.Of(frame).Destination));
    }

    [Theory, MemberData(nameof(Families))]
    public void Who_scans_a_network_does_not_keep_others_from_being_resolved(Family f)
    {
        using RouteLab lab = Lab();
        int asked = 0;
        for (int round = 0; round < 40; round++)
        {
            string[] many = [.. Enumerable.Range(0, 60).Select(i => f.IsV6
                ? string.Create(CultureInfo.InvariantCulture, $"fd00:2::1:{(round * 60) + i:x}")
                : string.Create(CultureInfo.InvariantCulture, $"10.0.{3 + round}.{i + 1}"))];
            if (!f.IsV6)
            {
                lab.Route(1, string.Create(CultureInfo.InvariantCulture, $"10.0.{3 + round}.0/24"), new NextHopRecord { Kind = NextHopKind.Connected, Port = Out });
            }
            lab.Send(In, [.. many.Select(d => Ip.OfUdp(f.Source, d, 1, 2))]);
            asked += lab.Take(Out).Count;
        }
        Assert.Equal(2400, asked);
        Assert.Equal((ulong)Resolutions.Capacity, lab.Switch.Counters(In).Held);
        Assert.Equal($"1 NeighbourQueueFull {2400 - Resolutions.Capacity}", lab.Switch.Drops());
        // The table is not full of them either.
        Assert.InRange(lab.Switch.Segment.Neighbours.List().Count, Resolutions.Capacity, Resolutions.Capacity + 70);

        lab.Send(In, f.Packet());
        lab.Take(Out);
        lab.Switch.Send(Out, f.Answer());
        Assert.Equal(f.Packet().Payload, lab.TakeOne(Out).Payload);
    }

    [Theory, MemberData(nameof(Families))]
    public void All_packets_that_wait_are_given_back_at_the_end(Family f)
    {
        using RouteLab lab = Lab();
        lab.Send(In, [.. Enumerable.Range(2, 50).Select(i => f.Packet(i))]);
        Assert.Equal(50ul, lab.Switch.Counters(In).Held);
        lab.Switch.Stop();
        Assert.Equal(0ul, lab.Switch.Counters(In).Held);
        Assert.Equal("1 NeighbourUnresolved 50", lab.Switch.Drops());
        // And disposing of the switch counts the buffers.
    }

    [Theory, MemberData(nameof(Families))]
    public void Without_a_buffer_for_the_question_the_next_one_has_to_do(Family f)
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(In, ToRouter(In, f.Packet()));
        using (Hoard.All(lab.Switch.Engine.Small))
        {
            lab.Switch.Poll();
        }
        Assert.Empty(lab.Take(Out));
        Pass(lab, 1);
        Assert.Equal(f.Question(), Assert.Single(lab.Take(Out)));
    }

    [Theory, MemberData(nameof(Families))]
    public void An_interface_that_goes_away_takes_its_neighbours_and_what_waits_with_it(Family f)
    {
        using RouteLab lab = Lab();
        Resolve(lab, f);
        lab.Send(In, f.Packet(3));
        lab.Take(Out);
        lab.Change(Out, record => record with { Flags = InterfaceFlags.None });
        Age(lab, 1);
        Pass(lab, 0.2);
        Assert.DoesNotContain(lab.Switch.Segment.Neighbours.List(), e => e.Key.Port == Out);
        Assert.Equal("1 NeighbourUnresolved 1", lab.Switch.Drops());
        Assert.Empty(lab.Take(Out));
    }

    [Theory, MemberData(nameof(Families))]
    public void A_trace_tells_of_the_wait(Family f)
    {
        using RouteLab lab = Lab();
        using var watcher = new Watcher(lab.Switch, new CaptureWish { Kinds = CaptureKinds.Trace });
        lab.Send(In, f.Packet());
        lab.Switch.Send(Out, f.Answer());
        List<Seen> seen = watcher.Take();
        Seen[] packet = [.. seen.Where(s => s.Record.Trace == seen[0].Record.Trace)];
        Assert.Equal([TraceStep.Received, TraceStep.Routed, TraceStep.NeighbourAwaited, TraceStep.NeighbourFound, TraceStep.Routed, TraceStep.Output],
            packet.Select(s => s.Step));
        Assert.Equal(packet[2].Record.B, packet[3].Record.B);
        Assert.Contains(seen, s => s.Step == TraceStep.NeighbourLearned && s.Port == Out && s.Record.A == MacAddress.Parse(PeerMac(Out)).Value);
    }
}
