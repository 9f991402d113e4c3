using System.Buffers.Binary;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>What the router tells senders, and of what it tells nobody (RFC 792, 1122, 1812; RFC 4443).</summary>
public sealed class IcmpErrorTests
{
    private const string A4 = "10.0.1.2", B4 = "10.0.2.2", A6 = "fd00:1::2", B6 = "fd00:2::2";
    private const string None4 = "192.0.2.1", Unreachable4 = "198.51.100.1", Prohibited4 = "203.0.113.1", BlackHole4 = "192.0.3.1";
    private const string None6 = "2001:db8::1", Unreachable6 = "2001:db8:1::1", Prohibited6 = "2001:db8:2::1";

    /// <param name="Description">What happens.</param>
    /// <param name="Packet">From 10.0.1.2 or fd00:1::2, into port 1.</param>
    /// <param name="Type">Of the error; -1 when none may be sent.</param>
    /// <param name="Code">Of the error.</param>
    /// <param name="Rest">The four bytes behind the checksum.</param>
    /// <param name="From">The source of the error.</param>
    private sealed record Row(string Description, Func<Ip> Packet, int Type, int Code = 0, uint Rest = 0, string? From = null);

    private static readonly Row[] Table =
    [
        new("time to live exceeded", () => Udp(B4) with { Ttl = 1 }, 11),
        new("no route", () => Udp(None4), 3, 0),
        new("an unreachable route", () => Udp(Unreachable4), 3, 1),
        new("a prohibited route", () => Udp(Prohibited4), 3, 13),
        new("a black hole", () => Udp(BlackHole4), -1),
        new("must be fragmented, and must not", () => Udp(B4, 1400) with { Fragment = 0x4000 }, 3, 4, 1280),
        new("a UDP port of the router", () => Udp("10.0.1.1"), 3, 3, From: "10.0.1.1"),
        new("a TCP port of the router", () => Ip.OfTcp(A4, "10.0.1.1", 1, 2, Inet.Syn), 3, 3, From: "10.0.1.1"),
        new("a UDP port of another address of the router", () => Udp("10.0.2.1"), 3, 3, From: "10.0.2.1"),
        new("a protocol of the router", () => new Ip(A4, "10.0.1.1", 99, new byte[20]), 3, 2, From: "10.0.1.1"),
        new("about an echo request", () => Ip.OfEcho(A4, B4) with { Ttl = 1 }, 11),
        new("about an echo reply", () => Ip.OfEcho(A4, B4, type: 0) with { Ttl = 1 }, 11),
        new("about options", () => Udp(B4) with { Ttl = 1, Options = [7, 7, 4, 0, 0, 0, 0, 0] }, 11),
        new("about the first fragment", () => Udp(B4) with { Ttl = 1, Fragment = 0x2000 }, 11),
        new("about a long packet", () => Udp(B4, 1200) with { Ttl = 1 }, 11),
        new("about a later fragment", () => Udp(B4) with { Ttl = 1, Fragment = 0x2005 }, -1),
        new("about a destination unreachable", () => Ip.OfIcmp(A4, B4, 3, 3, new byte[40]) with { Ttl = 1 }, -1),
        new("about a source quench", () => Ip.OfIcmp(A4, B4, 4, 0, new byte[40]) with { Ttl = 1 }, -1),
        new("about a redirect", () => Ip.OfIcmp(A4, B4, 5, 1, new byte[40]) with { Ttl = 1 }, -1),
        new("about a time exceeded", () => Ip.OfIcmp(A4, B4, 11, 0, new byte[40]) with { Ttl = 1 }, -1),
        new("about a parameter problem", () => Ip.OfIcmp(A4, B4, 12, 0, new byte[40]) with { Ttl = 1 }, -1),
        new("about ICMP without a type", () => new Ip(A4, B4, Ip.Icmp4, []) with { Ttl = 1 }, -1),
        new("about a directed broadcast", () => Udp("10.0.2.255"), -1),
        new("about a source that is no host", () => Ip.OfUdp("10.0.1.255", B4, 1, 2) with { Ttl = 1 }, -1),
        new("about a source on loopback", () => Ip.OfUdp("127.0.0.1", B4, 1, 2) with { Ttl = 1 }, -1),
        new("about a source that is a group", () => Ip.OfUdp("224.0.0.9", B4, 1, 2) with { Ttl = 1 }, -1),
        new("about a source of class E", () => Ip.OfUdp("240.0.0.1", B4, 1, 2) with { Ttl = 1 }, -1),
        new("about a source of no address", () => Ip.OfUdp("0.0.0.0", B4, 1, 2) with { Ttl = 1 }, -1),
        new("about a packet to a group", () => Udp("224.0.0.5") with { Ttl = 1 }, -1),
        new("about a packet to everybody", () => Udp("255.255.255.255") with { Ttl = 1 }, -1),
        new("about a packet to loopback", () => Udp("127.0.0.1") with { Ttl = 1 }, -1),
        new("time to live 0", () => Udp(B4) with { Ttl = 0 }, 11),
        new("about a checksum that is wrong", () => Udp(B4) with { Ttl = 1, Payload = [.. Udp(B4).Payload[..^1], 99] }, 11),

        new("hop limit exceeded", () => Udp(B6) with { Ttl = 1 }, 3),
        new("no IPv6 route", () => Udp(None6), 1, 0),
        new("an unreachable IPv6 route", () => Udp(Unreachable6), 1, 0),
        new("a prohibited IPv6 route", () => Udp(Prohibited6), 1, 1),
        new("IPv6 packet too big", () => Udp(B6, 1400), 2, 0, 1280),
        new("a UDP port of the router, IPv6", () => Udp("fd00:1::1"), 1, 4, From: "fd00:1::1"),
        new("a UDP port of another address of the router, IPv6", () => Udp("fd00:2::1"), 1, 4, From: "fd00:2::1"),
        new("a protocol of the router, IPv6", () => new Ip(A6, "fd00:1::1", 99, new byte[20]), 4, 1, 6, From: "fd00:1::1"),
        new("a protocol of the router behind options, IPv6", () => new Ip(A6, "fd00:1::1", 60, new byte[20]) with { Options = [99, 0, 1, 4, 0, 0, 0, 0] }, 4, 1, 40, From: "fd00:1::1"),
        new("beyond the scope of the source", () => Ip.OfUdp("fe80::2", B6, 1, 2), 1, 2, From: "fe80::1"),
        new("about an IPv6 echo request", () => Ip.OfEcho(A6, B6) with { Ttl = 1 }, 3),
        new("about a long IPv6 packet", () => Udp(B6, 1230) with { Ttl = 1 }, 3),
        new("about an IPv6 packet with options", () => Udp(B6) with { Ttl = 1, Protocol = 60, Options = [17, 0, 1, 4, 0, 0, 0, 0] }, 3),
        new("hop limit 0", () => Udp(B6) with { Ttl = 0 }, 3),
        new("about the first fragment, IPv6", () => Udp(B6) with { Ttl = 1, Protocol = 44, Options = [17, 0, 0, 1, 0, 0, 0, 1] }, 3),
        new("about a later fragment, IPv6", () => Udp(B6) with { Ttl = 1, Protocol = 44, Options = [17, 0, 0, 9, 0, 0, 0, 1] }, 3),
        new("about a later fragment of ICMPv6", () => Ip.OfEcho(A6, B6) with { Ttl = 1, Protocol = 44, Options = [58, 0, 0, 9, 0, 0, 0, 1] }, -1),
        new("about an IPv6 source of no address", () => Ip.OfUdp("::", B6, 1, 2) with { Ttl = 1 }, -1),
        new("about an IPv6 source on loopback", () => Ip.OfUdp("::1", B6, 1, 2) with { Ttl = 1 }, -1),
        new("about an IPv6 source that is a group", () => Ip.OfUdp("ff02::1", B6, 1, 2) with { Ttl = 1 }, -1),
        new("about an IPv6 packet to a group", () => Udp("ff05::2") with { Ttl = 1 }, -1),
        new("about an ICMPv6 error", () => Ip.OfIcmp(A6, B6, 1, 4, new byte[44]) with { Ttl = 1 }, -1),
        new("about an ICMPv6 error of no known type", () => Ip.OfIcmp(A6, B6, 100, 0, new byte[44]) with { Ttl = 1 }, -1),
        new("about an ICMPv6 redirect", () => Ip.OfIcmp(A6, B6, 137, 0, new byte[44]) with { Ttl = 1 }, -1),
        new("about an ICMPv6 error behind options", () => Ip.OfIcmp(A6, B6, 1, 4, new byte[44]) with { Ttl = 1, Protocol = 60, Options = [58, 0, 1, 4, 0, 0, 0, 0] }, -1),
        new("about options that never end", () => new Ip(A6, B6, 60, [60, 200, 0, 0, 0, 0, 0, 0]) with { Ttl = 1 }, -1),
        new("about a packet that asks for no answer", () => new Ip(A6, "fd00:1::1", 59, new byte[20]), -1),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void IsToldOrNot(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using RouteLab lab = Lab();
        Ip packet = row.Packet();
        lab.Send(1, packet);
        Assert.Empty(lab.Take(2));
        Assert.Equal(1ul, lab.Switch.Counters(1).IngressDrops);
        if (row.Type < 0)
        {
            Assert.Empty(lab.Take(1));
            return;
        }
        Ip error = lab.TakeOne(1);
        Assert.Equal(row.From ?? (packet.IsV6 ? "fd00:1::1" : "10.0.1.1"), error.Source);
        Check(packet, error, row.Type, row.Code, row.Rest);
        Assert.Equal((1ul, 0ul, 0ul), (lab.Switch.Counters(1).Originated, lab.Switch.Counters(1).Forwarded, lab.Switch.Counters(1).Consumed));
    }

    /// <summary>tshark finds no fault with any of them.</summary>
    [TsharkFact]
    public void TsharkAgrees()
    {
        var errors = new List<byte[]>();
        foreach (Row row in Table.Where(row => row.Type >= 0))
        {
            using RouteLab lab = Lab();
            lab.Send(1, row.Packet());
            errors.Add(Assert.Single(lab.Take(1)));
        }
        Assert.All(Tshark.Complaints(errors), complaint => Assert.Equal("", complaint));
    }

    /// <summary>What comes in a frame to many would be told by all of them (RFC 1122, 3.2.2; RFC 4443, 2.4(e.4)).</summary>
    [Theory]
    [InlineData(Frame.Broadcast)]
    [InlineData("01:00:5e:00:00:05")]
    [InlineData("33:33:00:00:00:01")]
    public void NothingIsToldOfAFrameToMany(string destination)
    {
        using RouteLab lab = Lab();
        lab.Switch.Send(1, (Udp(None4) with { Ttl = 1 }).In(destination, PeerMac(1)), Udp(None6).In(destination, PeerMac(1)), Udp("10.0.1.1").In(destination, PeerMac(1)));
        Assert.Empty(lab.Take(1));
        Assert.Equal(3ul, lab.Switch.Counters(1).IngressDrops);
    }

    [Fact]
    public void NoMoreThanTheLimitAreSent()
    {
        using RouteLab lab = Lab();
        Ip[] packets = [.. Enumerable.Repeat(Udp(None4), 50)];
        for (int i = 0; i < 10; i++)
        {
            lab.Send(1, packets);
        }
        Assert.Equal((int)IcmpErrors.Burst, lab.Take(1).Count);
        lab.Switch.Clock.Advance(TimeSpan.FromMilliseconds(10));
        lab.Send(1, packets);
        Assert.Equal((int)IcmpErrors.PerSecond / 100, lab.Take(1).Count);
        // Another interface has its own.
        lab.Send(2, Ip.OfUdp(B4, None4, 1, 2));
        Assert.Single(lab.Take(2));
        Assert.Equal(551ul, lab.Switch.Drops(1, DropReason.NoRoute) + lab.Switch.Drops(2, DropReason.NoRoute));
    }

    [Fact]
    public void NothingIsToldWithoutBuffersOrAddresses()
    {
        using RouteLab lab = Lab();
        lab.Switch.Inject(1, ToRouter(1, Udp(None4)));
        using (Hoard.All(lab.Switch.Engine.Small))
        {
            lab.Switch.Poll();
        }
        lab.Change(1, record => record with { Count4 = 0, Count6 = 0 }).Change(2, record => record with { Count4 = 0, Count6 = 0 });
        lab.Send(1, Udp(None4), Udp(None6));
        Assert.Empty(lab.Take(1));
        Assert.Equal("1 NoRoute 3", lab.Switch.Drops());
    }

    /// <summary>Such an interface leads to other nodes, say: what is told must get to them all the same (RFC 1812, 2.2.7).</summary>
    [Fact]
    public void AnInterfaceWithoutAddressSpeaksByThatOfAnother()
    {
        using RouteLab lab = Lab();
        lab.Change(1, record => record with { Count4 = 0, Count6 = 0 });
        Assert.Equal(["10.0.2.1", "fd00:2::1"], Speakers());
        // Others of other VRFs do not count, and this one has none of its own.
        lab.Routed(3, record => record with { Vrf = 3, Count4 = 0, Count6 = 0 }, "10.0.3.1/24").Routed(4, record => record with { Vrf = 3 }, "10.0.4.1/24", "fd00:4::1/64");
        lab.Send(3, Udp(None4), Udp(None6)).Send(1, Udp(None4));
        Assert.Equal(["10.0.4.1", "fd00:4::1"], lab.Take(3).Select(frame => Ip.Of(frame).Source));
        Assert.Equal("10.0.2.1", lab.TakeOne(1).Source);
        // What it is told by changes with the configuration.
        lab.Change(2, record => record with { Vrf = 3 });
        Assert.Empty(Speakers());
        lab.Change(4, record => record with { Vrf = 1 });
        Assert.Equal(["10.0.4.1", "fd00:4::1"], Speakers());
        lab.Change(4, record => record with { Flags = InterfaceFlags.None });
        Assert.Empty(Speakers());

        IEnumerable<string> Speakers() => lab.Send(1, Udp(None4), Udp(None6)).Take(1).Select(frame => Ip.Of(frame).Source).ToList();
    }

    /// <summary>A link-local address is not known where the sender may be, but better than none.</summary>
    [Fact]
    public void ALinkLocalAddressSpeaksToItsLink()
    {
        using RouteLab lab = Lab();
        lab.Change(1, record =>
        {
            record.Count6 = 1;
            record.Addresses6[0] = new InterfaceAddress6(new IPv6Number(0xFE80_0000_0000_0000, 1), new IPv6Number(ulong.MaxValue, 0));
            return record;
        });
        Assert.Equal("fd00:2::1", lab.Send(1, Udp(None6)).TakeOne(1).Source);
        Assert.Equal("fe80::1", lab.Send(1, Udp(None6) with { Source = "fe80::2" }).TakeOne(1).Source);
        lab.Change(2, record => record with { Count6 = 0 });
        Assert.Equal("fe80::1", lab.Send(1, Udp(None6)).TakeOne(1).Source);
    }

    /// <summary>A large segment that a kernel left to be cut: the next hop's MTU is told once, for all of it.</summary>
    [Fact]
    public void ALargeSegmentIsToldOf()
    {
        using RouteLab lab = new() { TakesOffloads = true };
        lab.Routed(1, "172.18.0.1/31", "fd00::1/126").Routed(2, record => record with { Mtu = 1280 });
        lab.Via("172.18.0.3", 2, "172.18.0.3").Neighbour(2, "172.18.0.3").Via("fd00::3", 2, "fd00::3").Neighbour(2, "fd00::3");
        lab.Switch.Send(1, Inet.Tcp(9000, 1448, options: 12, destination: MacOf(1), source: PeerMac(1)));
        lab.Switch.Send(1, Inet.Tcp(9000, 1428, v6: true, options: 12, destination: MacOf(1), source: PeerMac(1)));
        List<byte[]> errors = lab.Take(1);
        Assert.Equal([(3, 4, 1280), (2, 0, 1280)],
            errors.Select(e => Ip.Of(e)).Select(e => ((int)e.Payload[0], (int)e.Payload[1], (int)BinaryPrimitives.ReadUInt32BigEndian(e.Payload.AsSpan(4)))));
        Assert.Equal("1 NeedsFragmentation 2", lab.Switch.Drops());
    }

    /// <summary>The error itself, and what it quotes.</summary>
    private static void Check(Ip packet, Ip error, int type, int code, uint rest)
    {
        Assert.True(error.IsPayloadGood);
        Assert.Equal(packet.Source, error.Destination);
        Assert.Equal((byte)64, error.Ttl);
        Assert.Equal(packet.IsV6 ? Ip.Icmp6 : Ip.Icmp4, error.Protocol);
        Assert.Equal((type, code, rest), ((int)error.Payload[0], (int)error.Payload[1], BinaryPrimitives.ReadUInt32BigEndian(error.Payload.AsSpan(4))));
        byte[] original = packet.ToBytes();
        int most = packet.IsV6 ? 1280 - 48 : 576 - 28;
        Assert.Equal(original[..Math.Min(original.Length, most)], error.Payload[8..]);
        // Internetwork control, and the packet's own type of service (RFC 1812, 4.3.2.5).
        Assert.Equal(packet.IsV6 ? 0 : 0xC0, error.Tos);
        Assert.Equal(0, error.Fragment);
    }

    private static Ip Udp(string destination, int payload = 32) =>
        Ip.OfUdp(destination.Contains(':', StringComparison.Ordinal) ? A6 : A4, destination, 1000, 2000, payload);

    private static RouteLab Lab() => new RouteLab()
        .Routed(1, "10.0.1.1/24", "fe80::1/64", "fd00:1::1/64").Routed(2, record => record with { Mtu = 1280 }, "10.0.2.1/24", "fd00:2::1/64")
        .Neighbour(2, B4).Neighbour(2, B6)
        .Route("198.51.100.0/24", NextHopKind.Unreachable).Route("203.0.113.0/24", NextHopKind.Prohibited).Route("192.0.3.0/24", NextHopKind.Blackhole)
        .Route("2001:db8:1::/48", NextHopKind.Unreachable).Route("2001:db8:2::/48", NextHopKind.Prohibited);
}
