using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>ARP packets to the router (RFC 826, RFC 5227): which make sense, what is answered, and what is learned.</summary>
public sealed class ArpTests
{
    private const string Own = "10.0.1.1", Own2 = "10.0.9.1", Peer = "10.0.1.2", Other = "10.0.1.3";
    private static readonly string s_peer = PeerMac(1), s_own = MacOf(1);

    /// <param name="Description">The packet.</param>
    /// <param name="Frame">Into port 1, which has 10.0.1.1/24 and 10.0.9.1/24.</param>
    /// <param name="Answer">The reply that comes back, to whom it is; null for none.</param>
    /// <param name="Learned">The state of 10.0.1.2 afterwards; it is at its usual address then.</param>
    /// <param name="Known">The state of 10.0.1.2 before, at another address.</param>
    private sealed record Row(string Description, Func<byte[]> Frame, Arp? Answer = null, NeighbourState Learned = NeighbourState.None,
        NeighbourState Known = NeighbourState.None);

    private static readonly Row[] s_valid =
    [
        new("a request for an address of the interface", () => Arp.Request(s_peer, Peer, Own).ToAll(), Arp.Reply(s_own, Own, s_peer, Peer), NeighbourState.Stale),
        new("a request for its second address", () => Arp.Request(s_peer, Peer, Own2).ToAll(), Arp.Reply(s_own, Own2, s_peer, Peer), NeighbourState.Stale),
        new("a request to the router alone", () => Arp.Request(s_peer, Peer, Own).In(s_own), Arp.Reply(s_own, Own, s_peer, Peer), NeighbourState.Stale),
        new("a request in a frame of 60 bytes", () => [.. Arp.Request(s_peer, Peer, Own).ToAll(), .. new byte[18]], Arp.Reply(s_own, Own, s_peer, Peer), NeighbourState.Stale),
        new("a probe for an address of the interface", () => Arp.Request(s_peer, "0.0.0.0", Own).ToAll(), Arp.Reply(s_own, Own, s_peer, "0.0.0.0")),
        new("a probe for another address", () => Arp.Request(s_peer, "0.0.0.0", Other).ToAll()),
        new("a request for another address", () => Arp.Request(s_peer, Peer, Other).ToAll()),
        new("a request from another subnet", () => Arp.Request(s_peer, "10.7.7.7", Own).ToAll(), Arp.Reply(s_own, Own, s_peer, "10.7.7.7")),
        new("an address that is announced, unknown", () => Arp.Request(s_peer, Peer, Peer).ToAll()),
        new("an address that is announced, known", () => Arp.Request(s_peer, Peer, Peer).ToAll(), Learned: NeighbourState.Stale, Known: NeighbourState.Reachable),
        new("an address that is announced by a reply", () => Arp.Reply(s_peer, Peer, Frame.Broadcast, Peer).ToAll(), Learned: NeighbourState.Stale, Known: NeighbourState.Reachable),
        new("a request for another, of one who is known", () => Arp.Request(s_peer, Peer, Other).ToAll(), Learned: NeighbourState.Stale, Known: NeighbourState.Probe),
        new("a request for us, of one who is known", () => Arp.Request(s_peer, Peer, Own).ToAll(), Arp.Reply(s_own, Own, s_peer, Peer), NeighbourState.Stale, NeighbourState.Reachable),
        new("a request for us, of one who is asked for", () => Arp.Request(s_peer, Peer, Own).ToAll(), Arp.Reply(s_own, Own, s_peer, Peer), NeighbourState.Stale, NeighbourState.Incomplete),
        new("a reply, nobody asked", () => Arp.Reply(s_peer, Peer, s_own, Own).In(s_own)),
        new("a reply to a question", () => Arp.Reply(s_peer, Peer, s_own, Own).In(s_own), Learned: NeighbourState.Reachable, Known: NeighbourState.Incomplete),
        new("a reply to a probe", () => Arp.Reply(s_peer, Peer, s_own, Own).In(s_own), Learned: NeighbourState.Reachable, Known: NeighbourState.Probe),
        new("a reply of one who failed", () => Arp.Reply(s_peer, Peer, s_own, Own).In(s_own), Learned: NeighbourState.Reachable, Known: NeighbourState.Failed),
        new("a reply to all is no proof", () => Arp.Reply(s_peer, Peer, s_own, Own).ToAll(), Learned: NeighbourState.Stale, Known: NeighbourState.Incomplete),
        new("a reply to somebody else", () => Arp.Reply(s_peer, Peer, s_own, Other).In(s_own), Learned: NeighbourState.Stale, Known: NeighbourState.Incomplete),
        new("an address of ours, announced by another", () => Arp.Request(s_peer, Own, Own).ToAll(), Arp.Reply(s_own, Own, s_peer, Own)),
        new("a reply that claims an address of ours", () => Arp.Reply(s_peer, Own, s_own, Own2).In(s_own)),
        new("a request of the subnet's broadcast address", () => Arp.Request(s_peer, "10.0.1.255", Own).ToAll(), Arp.Reply(s_own, Own, s_peer, "10.0.1.255")),
        new("our own address as sender", () => Arp.Request(s_own, Peer, Own).In(Frame.Broadcast, s_own)),
    ];

    public static TheoryData<string> Valid => [.. s_valid.Select(row => row.Description)];

    [Theory, MemberData(nameof(Valid))]
    public void What_makes_sense_is_taken(string description)
    {
        Row row = s_valid.Single(r => r.Description == description);
        using RouteLab lab = Lab();
        Know(lab, row.Known);
        lab.Switch.Send(1, row.Frame());
        Assert.Equal(row.Answer is null ? [] : [row.Answer.In(s_peer)], lab.Take(1));
        NeighbourEntry[] all = [.. lab.Switch.Segment.Neighbours.List()];
        if (row.Learned == NeighbourState.None)
        {
            Assert.Empty(all);
        }
        else
        {
            Assert.Equal((NeighbourTable.Key4(1, Number(Peer)), Value(s_peer), row.Learned), (all.Single().Key, all[0].Mac, all[0].State));
        }
        PortCounters counters = lab.Switch.Counters(1);
        Assert.Equal((1ul, row.Answer is null ? 0ul : 1), (counters.Consumed, counters.Originated));
        Assert.Empty(lab.Switch.Drops());
    }

    private static readonly (string Description, Func<byte[]> Frame)[] s_invalid =
    [
        ("an empty frame", () => Arp.Request(s_peer, Peer, Own).ToAll()[..14]),
        ("one byte short", () => Arp.Request(s_peer, Peer, Own).ToAll()[..^1]),
        ("of token ring", () => Spoilt(15, 6)),
        ("for IPv6", () => Spoilt(17, 1)),
        ("with hardware addresses of 8 bytes", () => Spoilt(18, 8)),
        ("with protocol addresses of 16 bytes", () => Spoilt(19, 16)),
        ("no operation", () => Spoilt(21, 0)),
        ("a reverse request", () => Spoilt(21, 3)),
        ("an operation of two bytes", () => Spoilt(20, 1)),
        ("from a group", () => Arp.Request("01:00:5e:00:00:01", Peer, Own).In(Frame.Broadcast, s_peer)),
        ("from all", () => Arp.Request(Frame.Broadcast, Peer, Own).In(Frame.Broadcast, s_peer)),
        ("from nobody", () => Arp.Request(Arp.NoMac, Peer, Own).In(Frame.Broadcast, s_peer)),
        ("sender in a multicast group", () => Arp.Request(s_peer, "224.0.0.1", Own).ToAll()),
        ("sender 255.255.255.255", () => Arp.Request(s_peer, "255.255.255.255", Own).ToAll()),
        ("sender on loopback", () => Arp.Request(s_peer, "127.0.0.1", Own).ToAll()),
        ("a reply without sender", () => Arp.Reply(s_peer, "0.0.0.0", s_own, Own).In(s_own)),
    ];

    public static TheoryData<string> Invalid => [.. s_invalid.Select(row => row.Description)];

    [Theory, MemberData(nameof(Invalid))]
    public void What_makes_none_is_dropped(string description)
    {
        byte[] frame = s_invalid.Single(r => r.Description == description).Frame();
        // Once where the router has a port of its own, and once behind a bridge, which floods the packet to it.
        using RouteLab lab = Lab();
        Know(lab, NeighbourState.Reachable);
        lab.Switch.Send(1, frame);
        Assert.Empty(lab.Take(1));
        Assert.Equal("1 BadArp 1", lab.Switch.Drops());
        Assert.Equal(Value(Frame.Mac(0x99)), lab.Switch.Segment.Neighbours.List().Single().Mac);

        if ((frame[0] & 1) != 0)
        {
            using RouteLab bridged = new();
            bridged.Switch.Port(1).Port(2);
            bridged.Router(3, 0, record => record, "10.0.1.1/24");
            bridged.Switch.Send(1, frame);
            Assert.Equal("3 BadArp 1", bridged.Switch.Drops());
            Assert.Equal("2", bridged.Switch.Outputs());
        }
    }

    [Fact]
    public void A_packet_in_pieces_is_read_too()
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(1, Arp.Request(s_peer, Peer, Own).ToAll(), firstBuffer: 20);
        lab.Switch.Poll();
        Assert.Single(lab.Take(1));
    }

    [Fact]
    public void Without_a_buffer_for_the_answer_there_is_none()
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(1, Arp.Request(s_peer, Peer, Own).ToAll());
        using (Hoard.All(lab.Switch.Engine.Small))
        {
            lab.Switch.Poll();
        }
        Assert.Empty(lab.Take(1));
        Assert.Equal((1ul, 0ul), (lab.Switch.Counters(1).Consumed, lab.Switch.Counters(1).Originated));
    }

    [Fact]
    public void A_full_table_forgets_what_it_can_spare()
    {
        using RouteLab lab = new(options: new SegmentOptions { MacCapacity = 1024, MaxPorts = 64, MaxWorkers = 4, NeighbourCapacity = 16 });
        lab.Routed(1, "10.0.0.1/16");
        const int Slots = 64; // the smallest table
        for (int i = 0; i < 200; i++)
        {
            string mac = Frame.Mac(i), address = $"10.0.1.{i}";
            // The first attempt may find no room, and makes it.
            for (int attempt = 0; attempt < 2; attempt++)
            {
                lab.Switch.Send(1, Arp.Request(mac, address, "10.0.0.1").ToAll());
                lab.Switch.Clock.Advance(TimeSpan.FromSeconds(1));
            }
            Assert.Equal(Value(mac), NeighbourValue.Mac(lab.Switch.Segment.Neighbours.Find4(1, Number(address))));
        }
        Assert.InRange(lab.Switch.Segment.Neighbours.List().Count, Slots - 2, Slots);
        Assert.Equal(400, lab.Take(1).Count);
    }

    private static RouteLab Lab() => new RouteLab().Routed(1, "10.0.1.1/24", "10.0.9.1/24");

    private static uint Number(string address) => System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(System.Net.IPAddress.Parse(address).GetAddressBytes());

    /// <summary>What is known of 10.0.1.2: another address, where one is known.</summary>
    private static void Know(RouteLab lab, NeighbourState state)
    {
        if (state != NeighbourState.None)
        {
            ulong mac = state >= NeighbourState.Stale ? Value(Frame.Mac(0x99)) : 0;
            Assert.Equal(NeighbourResult.Inserted, lab.Switch.Segment.Neighbours.Insert(NeighbourTable.Key4(1, Number(Peer)),
                NeighbourValue.Make(state, mac), lab.Switch.Clock.Seconds, out _));
        }
    }

    private static byte[] Spoilt(int at, byte value)
    {
        byte[] frame = Arp.Request(s_peer, Peer, Own).ToAll();
        frame[at] = value;
        return frame;
    }
}
