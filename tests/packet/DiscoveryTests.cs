using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Neighbour discovery messages to the router (RFC 4861): which are valid, what is answered, and what is learned.</summary>
public sealed class DiscoveryTests
{
    private const string Own = "fd00:1::1", Peer = "fd00:1::2", Other = "fd00:1::3", AllNodes = "ff02::1";
    private static readonly string s_peer = PeerMac(1), s_own = MacOf(1), s_old = Frame.Mac(0x99);
    private static readonly string s_linkLocal = Nd.LinkLocal(s_own), s_peerLinkLocal = Nd.LinkLocal(s_peer);

    /// <param name="Description">The message.</param>
    /// <param name="Frame">Into port 1, which has fd00:1::1/64.</param>
    /// <param name="Answer">The advertisement that comes back, to the peer's address unless it is to a group; null for none.</param>
    /// <param name="Learned">What is known of fd00:1::2 afterwards, at the peer's address.</param>
    /// <param name="Known">What was known before, at another address.</param>
    private sealed record Row(string Description, Func<byte[]> Frame, Nd? Answer = null, NeighbourState Learned = NeighbourState.None,
        NeighbourState Known = NeighbourState.None);

    private static Nd Told(string target, string to, byte flags = Nd.R | Nd.S | Nd.O) => Nd.Tell(s_own, target, to, flags);

    private static readonly Row[] s_valid =
    [
        new("a solicitation for an address of the interface", () => Nd.Ask(s_peer, Peer, Own).ToGroup(s_peer), Told(Own, Peer), NeighbourState.Stale),
        new("to the router alone", () => Nd.Ask(s_peer, Peer, Own).In(s_own, s_peer), Told(Own, Peer), NeighbourState.Stale),
        new("to the address itself", () => (Nd.Ask(s_peer, Peer, Own) with { Destination = Own }).In(s_own, s_peer), Told(Own, Peer), NeighbourState.Stale),
        new("without an option", () => (Nd.Ask(s_peer, Peer, Own) with { Mac = null }).In(s_own, s_peer), Told(Own, Peer)),
        new("with other options around", () => (Nd.Ask(s_peer, Peer, Own) with { Before = [14, 1, 1, 2, 3, 4, 5, 6], After = [200, 2, .. new byte[14]] }).ToGroup(s_peer), Told(Own, Peer), NeighbourState.Stale),
        new("with the wrong option, which is not looked at", () => (Nd.Ask(s_peer, Peer, Own) with { Mac = null, Before = [2, 1, 2, 0, 0, 0, 0, 9] }).ToGroup(s_peer), Told(Own, Peer)),
        new("in a frame with padding", () => [.. Nd.Ask(s_peer, Peer, Own).ToGroup(s_peer), 1, 2, 3], Told(Own, Peer), NeighbourState.Stale),
        new("for the link-local address", () => Nd.Ask(s_peer, Peer, s_linkLocal).ToGroup(s_peer), Told(s_linkLocal, Peer), NeighbourState.Stale),
        new("from a link-local address", () => Nd.Ask(s_peer, s_peerLinkLocal, Own).ToGroup(s_peer), Told(Own, s_peerLinkLocal), NeighbourState.Stale),
        new("from another subnet", () => Nd.Ask(s_peer, "2001:db8::7", Own).ToGroup(s_peer), Told(Own, "2001:db8::7")),
        new("a probe for an address of the interface", () => Nd.Probe(Own).ToGroup(s_peer), Told(Own, AllNodes, Nd.R | Nd.O)),
        new("a probe for the link-local address", () => Nd.Probe(s_linkLocal).ToGroup(s_peer), Told(s_linkLocal, AllNodes, Nd.R | Nd.O)),
        new("a probe for another address", () => Nd.Probe(Other).ToGroup(s_peer)),
        new("for another address", () => Nd.Ask(s_peer, Peer, Other).ToGroup(s_peer)),
        new("for another address, of one who is known", () => Nd.Ask(s_peer, Peer, Other).ToGroup(s_peer), Learned: NeighbourState.Stale, Known: NeighbourState.Reachable),
        new("of one who is asked for", () => Nd.Ask(s_peer, Peer, Own).ToGroup(s_peer), Told(Own, Peer), NeighbourState.Stale, NeighbourState.Incomplete),
        new("of one who claims our address", () => Nd.Ask(s_peer, Own, Own).ToGroup(s_peer), Told(Own, Own)),
        new("our own", () => Nd.Ask(s_own, Own, Peer).ToGroup(s_own)),
        new("an advertisement, nobody asked", () => Nd.Tell(s_peer, Peer, Own).In(s_own, s_peer)),
        new("an advertisement for our address", () => Nd.Tell(s_peer, Own, AllNodes, Nd.O).ToGroup(s_peer)),
        new("a router solicitation", () => Router(133).In(s_own, s_peer)),
        new("a router advertisement", () => Router(134).In(s_own, s_peer)),
        new("a redirect", () => Router(137).In(s_own, s_peer)),
    ];

    public static TheoryData<string> Valid => [.. s_valid.Select(row => row.Description)];

    [Theory, MemberData(nameof(Valid))]
    public void What_is_valid_is_taken(string description)
    {
        Row row = s_valid.Single(r => r.Description == description);
        using RouteLab lab = Lab();
        Know(lab, row.Known, s_old);
        lab.Switch.Send(1, row.Frame());
        List<byte[]> answers = lab.Take(1);
        if (row.Answer is { } answer)
        {
            Assert.Equal(answer.Destination == AllNodes ? answer.ToGroup(s_own) : answer.In(s_peer, s_own), Assert.Single(answers));
        }
        else
        {
            Assert.Empty(answers);
        }
        NeighbourEntry[] all = [.. lab.Switch.Segment.Neighbours.List()];
        Assert.Equal(row.Learned == NeighbourState.None ? [] : [(row.Learned, Value(s_peer))], all.Select(e => (e.State, e.Mac)));
        PortCounters counters = lab.Switch.Counters(1);
        Assert.Equal((1ul, row.Answer is null ? 0ul : 1), (counters.Consumed, counters.Originated));
        Assert.Empty(lab.Switch.Drops());
    }

    private static readonly (string Description, Func<byte[]> Frame)[] s_invalid =
    [
        ("a solicitation with hop limit 254", () => (Nd.Ask(s_peer, Peer, Own) with { HopLimit = 254 }).ToGroup(s_peer)),
        ("an advertisement with hop limit 64", () => (Nd.Tell(s_peer, Peer, Own) with { HopLimit = 64 }).In(s_own, s_peer)),
        ("a router solicitation with hop limit 1", () => (Router(133) with { Ttl = 1 }).In(s_own, s_peer)),
        ("a solicitation with a wrong checksum", () => Spoilt(Nd.Ask(s_peer, Peer, Own).ToGroup(s_peer), 56)),
        ("an advertisement with a wrong checksum", () => Spoilt(Nd.Tell(s_peer, Peer, Own).In(s_own, s_peer), 75)),
        ("a solicitation with a code", () => (Nd.Ask(s_peer, Peer, Own) with { Code = 1 }).ToGroup(s_peer)),
        ("an advertisement with a code", () => (Nd.Tell(s_peer, Peer, Own) with { Code = 1 }).In(s_own, s_peer)),
        ("a solicitation of 20 bytes", () => Ip.OfIcmp(Peer, Own, 135, 0, new byte[16]) with { Ttl = 255 } is var ip ? ip.In(s_own, s_peer) : []),
        ("a solicitation of 4 bytes", () => Ip.OfIcmp(Peer, Own, 135, 0, []) with { Ttl = 255 } is var ip ? ip.In(s_own, s_peer) : []),
        ("a solicitation for a group", () => (Nd.Ask(s_peer, Peer, "ff02::5") with { Destination = Own }).In(s_own, s_peer)),
        ("a solicitation for ::", () => (Nd.Ask(s_peer, Peer, "::") with { Destination = Own }).In(s_own, s_peer)),
        ("an advertisement of a group", () => (Nd.Tell(s_peer, "ff02::5", Own) with { Source = Peer }).In(s_own, s_peer)),
        ("an option without length", () => (Nd.Ask(s_peer, Peer, Own) with { After = [14, 0, 0, 0, 0, 0, 0, 0] }).ToGroup(s_peer)),
        ("an option behind the end", () => (Nd.Ask(s_peer, Peer, Own) with { After = [14, 2, 0, 0, 0, 0, 0, 0] }).ToGroup(s_peer)),
        ("half an option", () => (Nd.Ask(s_peer, Peer, Own) with { After = [14] }).ToGroup(s_peer)),
        ("an address of 16 bytes", () => (Nd.Ask(s_peer, Peer, Own) with { Mac = null, After = [1, 2, .. new byte[14]] }).ToGroup(s_peer)),
        ("a group's address", () => Nd.Ask("33:33:00:00:00:01", Peer, Own).ToGroup(s_peer)),
        ("nobody's address", () => Nd.Ask("00:00:00:00:00:00", Peer, Own).ToGroup(s_peer)),
        ("a probe with an address", () => (Nd.Probe(Own) with { Mac = s_peer }).ToGroup(s_peer)),
        ("a probe to another group than the address's", () => (Nd.Probe(Own) with { Destination = "ff02::2" }).ToGroup(s_peer)),
        ("a probe to all", () => (Nd.Probe(Own) with { Destination = AllNodes }).ToGroup(s_peer)),
        ("a solicited advertisement to all", () => Nd.Tell(s_peer, Peer, AllNodes, Nd.S).ToGroup(s_peer)),
    ];

    public static TheoryData<string> Invalid => [.. s_invalid.Select(row => row.Description)];

    [Theory, MemberData(nameof(Invalid))]
    public void What_is_not_is_dropped(string description)
    {
        byte[] frame = s_invalid.Single(r => r.Description == description).Frame();
        using RouteLab lab = Lab();
        Know(lab, NeighbourState.Reachable, s_old);
        lab.Switch.Send(1, frame);
        Assert.Empty(lab.Take(1));
        Assert.Equal("1 BadNeighbourDiscovery 1", lab.Switch.Drops());
        Assert.Equal((NeighbourState.Reachable, Value(s_old)), lab.Switch.Segment.Neighbours.List().Select(e => (e.State, e.Mac)).Single());

        if ((frame[0] & 1) != 0)
        {
            // Behind a bridge it is flooded, and the router's copy is dropped.
            using RouteLab bridged = new();
            bridged.Switch.Port(1).Port(2);
            bridged.Router(3, 0, record => record, "fd00:1::1/64");
            bridged.Switch.Send(1, frame);
            Assert.Equal("3 BadNeighbourDiscovery 1", bridged.Switch.Drops());
            Assert.Equal("2", bridged.Switch.Outputs());
        }
    }

    /// <summary>All of RFC 4861, 7.2.5: the state before, the address that is told, and the flags.</summary>
    [Fact]
    public void An_advertisement_changes_what_is_known_as_the_standard_says()
    {
        foreach (NeighbourState state in Enum.GetValues<NeighbourState>().Except([NeighbourState.None]))
        {
            foreach (string? told in (string?[])[null, s_old, s_peer])
            {
                foreach (byte flags in (byte[])[0, Nd.S, Nd.O, Nd.S | Nd.O, Nd.R | Nd.S | Nd.O, Nd.R])
                {
                    using RouteLab lab = Lab();
                    Know(lab, state, s_old);
                    lab.Switch.Send(1, Nd.Tell(told, Peer, Own, flags).In(s_own, s_peer));
                    (NeighbourState State, string? Mac, bool IsRouter) expected = Standard(state, told, flags);
                    NeighbourEntry entry = lab.Switch.Segment.Neighbours.List().Single();
                    Assert.Equal(
                        ($"{state}, {told ?? "no address"}, {flags:x}", expected.State, expected.Mac is null ? 0 : Value(expected.Mac), expected.IsRouter),
                        ($"{state}, {told ?? "no address"}, {flags:x}", entry.State, entry.Mac, entry.Flags == NeighbourFlags.Router));
                }
            }
        }
    }

    /// <summary>The text of the standard, with FAILED as INCOMPLETE: nothing is known in either.</summary>
    private static (NeighbourState State, string? Mac, bool IsRouter) Standard(NeighbourState state, string? told, byte flags)
    {
        bool solicited = (flags & Nd.S) != 0, overrides = (flags & Nd.O) != 0, router = (flags & Nd.R) != 0;
        switch (state)
        {
            case NeighbourState.Permanent:
                return (state, s_old, false);
            case NeighbourState.Incomplete or NeighbourState.Failed:
                return told is null ? (state, null, false) : (solicited ? NeighbourState.Reachable : NeighbourState.Stale, told, router);
        }
        bool differs = told != null && told != s_old;
        if (!overrides && differs)
        {
            return (state == NeighbourState.Reachable ? NeighbourState.Stale : state, s_old, false);
        }
        return (solicited ? NeighbourState.Reachable : differs ? NeighbourState.Stale : state, told ?? s_old, router);
    }

    private static RouteLab Lab() => new RouteLab().Routed(1, "fd00:1::1/64");

    private static Ip Router(byte type) => Ip.OfIcmp(s_peerLinkLocal, Own, type, 0, new byte[36]) with { Ttl = 255 };

    private static void Know(RouteLab lab, NeighbourState state, string mac)
    {
        if (state != NeighbourState.None)
        {
            NeighbourTable table = lab.Switch.Segment.Neighbours;
            Assert.Equal(NeighbourResult.Inserted, table.Insert(table.Key6(1, 0xFD00_0001_0000_0000, 2),
                NeighbourValue.Make(state, state >= NeighbourState.Stale ? Value(mac) : 0), lab.Switch.Clock.Seconds, out _));
        }
    }

    private static byte[] Spoilt(byte[] frame, int at)
    {
        frame[at] ^= 0x40;
        return frame;
    }
}
