using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// What the router passes on, and what it does not, packet by packet: each row goes through the loops for whole bursts and, traced,
/// through the steps for one packet, which must agree.
/// </summary>
public sealed class RouteTests
{
    private const string A4 = "10.0.1.2", B4 = "10.0.2.2", A6 = "fd00:1::2", B6 = "fd00:2::2";

    /// <param name="Description">What is special about the packet.</param>
    /// <param name="Frame">The frame, into port 1.</param>
    /// <param name="Reason">Why it ends there; none when it comes out of port 2.</param>
    /// <param name="Lab">Where; two ports when not given.</param>
    private sealed record Row(string Description, Func<byte[]> Frame, DropReason? Reason, Func<RouteLab>? Lab = null);

    private static readonly Row[] Table =
    [
        new("IPv4", () => ToRouter(1, Udp4()), null),
        new("IPv4 in a frame of 60 bytes", () => Ip.OfUdp(A4, B4, 1, 2, 0).In(MacOf(1), PeerMac(1), padded: true), null),
        new("IPv4 with options", () => ToRouter(1, Udp4() with { Options = [148, 4, 0, 0] }), null),
        new("IPv4, the first fragment", () => ToRouter(1, Udp4() with { Fragment = 0x2000 }), null),
        new("IPv4, a later fragment", () => ToRouter(1, Udp4() with { Fragment = 0x0010 }), null),
        new("IPv4, a last fragment of one byte", () => ToRouter(1, new Ip(A4, B4, Ip.Udp, [1]) { Fragment = 0x00B0 }), null),
        new("IPv4, a last fragment of eight bytes", () => ToRouter(1, new Ip(A4, B4, Ip.Udp, new byte[8]) { Fragment = 0x00B0 }), null),
        new("IPv4, a last fragment of one byte of TCP", () => ToRouter(1, new Ip(A4, B4, Ip.Tcp, [1]) { Fragment = 0x00B0 }), null,
            () => Two().Change(2, record => record with { Flags = record.Flags | InterfaceFlags.ClampMss })),
        new("IPv4 with time to live 2", () => ToRouter(1, Udp4() with { Ttl = 2 }), null),
        new("IPv4 with time to live 1", () => ToRouter(1, Udp4() with { Ttl = 1 }), DropReason.TtlExceeded),
        new("IPv4 with time to live 0", () => ToRouter(1, Udp4() with { Ttl = 0 }), DropReason.TtlExceeded),
        new("IPv4 without payload", () => ToRouter(1, new Ip(A4, B4, 99, [])), null),
        new("IPv4 and 100 bytes behind it", () => [.. ToRouter(1, Udp4()), .. new byte[100]], null),
        new("IPv4 of 1,500 bytes", () => ToRouter(1, Ip.OfUdp(A4, B4, 1, 2, 1472)), null),
        new("IPv6", () => ToRouter(1, Udp6()), null),
        new("IPv6 with hop-by-hop options", () => ToRouter(1, Udp6() with { Protocol = 0, Options = [17, 0, 1, 4, 0, 0, 0, 0] }), null),
        new("IPv6 and 100 bytes behind it", () => [.. ToRouter(1, Udp6()), .. new byte[100]], null),
        new("IPv6 with hop limit 2", () => ToRouter(1, Udp6() with { Ttl = 2 }), null),
        new("IPv6 with hop limit 1", () => ToRouter(1, Udp6() with { Ttl = 1 }), DropReason.TtlExceeded),
        new("IPv6 with hop limit 0", () => ToRouter(1, Udp6() with { Ttl = 0 }), DropReason.TtlExceeded),
        new("IPv6 without payload", () => ToRouter(1, new Ip(A6, B6, 59, [])), null),
        new("IPv6 of 1,500 bytes", () => ToRouter(1, Ip.OfUdp(A6, B6, 1, 2, 1452)), null),

        new("a frame of 13 bytes", () => ToRouter(1, Udp4())[..13], DropReason.Truncated),
        new("a frame of 14 bytes", () => ToRouter(1, Udp4())[..14], DropReason.Truncated),
        new("19 bytes of IPv4", () => ToRouter(1, Udp4())[..33], DropReason.Truncated),
        new("39 bytes of IPv6", () => ToRouter(1, Udp6())[..53], DropReason.Truncated),
        new("to another station", () => Udp4().In(Frame.A, PeerMac(1)), DropReason.NotForRouter),
        new("from a group", () => Udp4().In(MacOf(1), "01:00:5e:00:00:01"), DropReason.SourceMulticast),
        new("neither IP nor ARP", () => Frame.Of(MacOf(1), PeerMac(1)), DropReason.NotIp),
        new("a VLAN tag", () => Frame.WithTags(ToRouter(1, Udp4()), 10), DropReason.NotIp),
        new("IPv4 of version 5", () => Spoilt4(14, 0x55), DropReason.BadIpHeader),
        new("IPv4 with a header of 16 bytes", () => Spoilt4(14, 0x44), DropReason.BadIpHeader),
        new("IPv4 with a header longer than the packet", () => Ip.OfUdp(A4, B4, 1, 2, 0).In(MacOf(1), PeerMac(1)) is var f ? Fixed(f, 14, 0x4F) : [], DropReason.BadIpHeader),
        new("IPv4 whose total length is less than its header", () => Fixed(ToRouter(1, Udp4()), 17, 19, 16, 0), DropReason.BadIpHeader),
        new("IPv4 one byte short", () => ToRouter(1, Udp4())[..^1], DropReason.BadIpHeader),
        new("IPv4 with a wrong checksum", () => Spoilt4(24, 0xFF), DropReason.BadIpChecksum),
        new("IPv4 with options and a wrong checksum", () => Spoilt(ToRouter(1, Udp4() with { Options = [148, 4, 0, 0] }), 35, 5), DropReason.BadIpChecksum),
        new("IPv6 of version 4", () => Spoilt(ToRouter(1, Udp6()), 14, 0x40), DropReason.BadIpHeader),
        new("IPv6 one byte short", () => ToRouter(1, Udp6())[..^1], DropReason.BadIpHeader),
        new("an IPv6 jumbogram", () => Spoilt(Spoilt(ToRouter(1, Udp6() with { Protocol = 0, Options = [17, 0, 0xC2, 4, 0, 1, 0, 0] }), 18, 0), 19, 0), DropReason.BadIpHeader),

        new("from network 0", () => ToRouter(1, Ip.OfUdp("0.0.0.1", B4, 1, 2)), DropReason.Martian),
        new("from loopback", () => ToRouter(1, Ip.OfUdp("127.0.0.1", B4, 1, 2)), DropReason.Martian),
        new("from a multicast group", () => ToRouter(1, Ip.OfUdp("224.0.0.1", B4, 1, 2)), DropReason.Martian),
        new("from class E", () => ToRouter(1, Ip.OfUdp("240.0.0.1", B4, 1, 2)), DropReason.Martian),
        new("from everybody", () => ToRouter(1, Ip.OfUdp("255.255.255.255", B4, 1, 2)), DropReason.Martian),
        new("from the subnet's broadcast address", () => ToRouter(1, Ip.OfUdp("10.0.1.255", B4, 1, 2)), DropReason.Martian, CheckedLab),
        new("from the router's own address", () => ToRouter(1, Ip.OfUdp("10.0.1.1", B4, 1, 2)), DropReason.Martian),
        new("to network 0", () => ToRouter(1, Ip.OfUdp(A4, "0.0.0.1", 1, 2)), DropReason.Martian),
        new("to loopback", () => ToRouter(1, Ip.OfUdp(A4, "127.0.0.1", 1, 2)), DropReason.Martian),
        new("to class E", () => ToRouter(1, Ip.OfUdp(A4, "240.0.0.1", 1, 2)), DropReason.Martian),
        new("from ::", () => ToRouter(1, Ip.OfUdp("::", B6, 1, 2)), DropReason.Martian),
        new("from ::1", () => ToRouter(1, Ip.OfUdp("::1", B6, 1, 2)), DropReason.Martian),
        new("from an IPv4-mapped address", () => ToRouter(1, Ip.OfUdp("::ffff:10.0.1.2", B6, 1, 2)), DropReason.Martian),
        new("from an IPv6 group", () => ToRouter(1, Ip.OfUdp("ff02::1", B6, 1, 2)), DropReason.Martian),
        new("from the router's own IPv6 address", () => ToRouter(1, Ip.OfUdp("fd00:1::1", B6, 1, 2)), DropReason.Martian),
        new("to ::1", () => ToRouter(1, Ip.OfUdp(A6, "::1", 1, 2)), DropReason.Martian),
        new("from a link-local address", () => ToRouter(1, Ip.OfUdp("fe80::2", B6, 1, 2)), DropReason.Martian),
        new("to another's link-local address", () => ToRouter(1, Ip.OfUdp(A6, "fe80::2", 1, 2)), DropReason.Martian),

        new("to a multicast group", () => ToRouter(1, Ip.OfUdp(A4, "224.0.0.5", 1, 2)), DropReason.MulticastNotRouted),
        new("to a multicast group, in a frame to it", () => Ip.OfUdp(A4, "224.0.0.5", 1, 2).In("01:00:5e:00:00:05", PeerMac(1)), DropReason.MulticastNotRouted),
        new("to everybody", () => Ip.OfUdp(A4, "255.255.255.255", 1, 2).In(Frame.Broadcast, PeerMac(1)), DropReason.MulticastNotRouted),
        new("to the subnet's broadcast address", () => ToRouter(1, Ip.OfUdp(A4, "10.0.1.255", 1, 2)), DropReason.MulticastNotRouted),
        new("to another subnet's broadcast address", () => ToRouter(1, Ip.OfUdp(A4, "10.0.2.255", 1, 2)), DropReason.MulticastNotRouted),
        new("to one host in a frame to all", () => Udp4().In(Frame.Broadcast, PeerMac(1)), DropReason.MulticastNotRouted),
        new("to an IPv6 group", () => ToRouter(1, Ip.OfUdp(A6, "ff02::fb", 1, 2)), DropReason.MulticastNotRouted),
        new("to one IPv6 host in a frame to a group", () => Udp6().In("33:33:00:00:00:01", PeerMac(1)), DropReason.MulticastNotRouted),

        new("from elsewhere, where that is looked at", () => ToRouter(1, Ip.OfUdp("10.9.9.9", B4, 1, 2)), DropReason.SpoofedSource, CheckedLab),
        new("from elsewhere, where that is not looked at", () => ToRouter(1, Ip.OfUdp("10.9.9.9", B4, 1, 2)), null),
        new("from IPv6 elsewhere, where that is looked at", () => ToRouter(1, Ip.OfUdp("fd00:9::9", B6, 1, 2)), DropReason.SpoofedSource, CheckedLab),
        new("from IPv6 elsewhere, where that is not looked at", () => ToRouter(1, Ip.OfUdp("fd00:9::9", B6, 1, 2)), null),
        new("from the second subnet of the interface", () => ToRouter(1, Ip.OfUdp("10.0.4.9", B4, 1, 2)), null, CheckedLab),
        new("from the second IPv6 subnet of the interface", () => ToRouter(1, Ip.OfUdp("fd00:4::9", B6, 1, 2)), null, CheckedLab),

        new("from the first address of a subnet of two", () => ToRouter(1, Udp4()), null, () => new RouteLab().Routed(1, "10.0.1.3/31").Routed(2, "10.0.2.1/24").Neighbour(2, B4)),
        new("from the router's own address in a subnet of two", () => ToRouter(1, Udp4()), DropReason.Martian,
            () => new RouteLab().Routed(1, "10.0.1.2/31").Routed(2, "10.0.2.1/24").Neighbour(2, B4)),

        new("without a route", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), DropReason.NoRoute),
        new("without an IPv6 route", () => ToRouter(1, Ip.OfUdp(A6, "2001:db8::1", 1, 2)), DropReason.NoRoute),
        new("by a gateway", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), null, () => Two().Via("192.0.2.0/24", 2, B4)),
        new("by an IPv6 gateway", () => ToRouter(1, Ip.OfUdp(A6, "2001:db8::1", 1, 2)), null, () => Two().Via("2001:db8::/32", 2, B6)),
        new("IPv4 by an IPv6 gateway", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), null, () => Two().Via("192.0.2.0/24", 2, B6)),
        new("the longest prefix wins", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), null,
            () => Two().Route("192.0.0.0/16", NextHopKind.Blackhole).Via("192.0.2.0/24", 2, B4).Route("192.0.2.128/25", NextHopKind.Blackhole)),
        new("a black hole", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), DropReason.RouteBlackHole, () => Two().Route("192.0.2.0/24", NextHopKind.Blackhole)),
        new("an unreachable route", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), DropReason.RouteUnreachable, () => Two().Route("192.0.2.0/24", NextHopKind.Unreachable)),
        new("a prohibited IPv6 route", () => ToRouter(1, Ip.OfUdp(A6, "2001:db8::1", 1, 2)), DropReason.RouteProhibited, () => Two().Route("2001:db8::/32", NextHopKind.Prohibited)),
        new("an adjacency", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), null,
            () => Two().Route(1, "192.0.2.0/24", new NextHopRecord { Kind = NextHopKind.Adjacency, Port = 2, Mac = Value(PeerMac(2)), SourceMac = Value(MacOf(2)) })),
        new("another VRF's route", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2)), DropReason.NoRoute, () => Two(vrf2: true)),
        new("larger than the MTU, under \"do not fragment\"", () => ToRouter(1, Ip.OfUdp(A4, B4, 1, 2, 1473) with { Fragment = 0x4000 }), DropReason.NeedsFragmentation),
        new("IPv6 larger than the MTU", () => ToRouter(1, Ip.OfUdp(A6, B6, 1, 2, 1453)), DropReason.NeedsFragmentation),
        new("larger than the next hop's MTU", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2, 973) with { Fragment = 0x4000 }), DropReason.NeedsFragmentation,
            () => Two().Via("192.0.2.0/24", 2, B4, mtu: 1000)),
        new("just the next hop's MTU", () => ToRouter(1, Ip.OfUdp(A4, "192.0.2.1", 1, 2, 972) with { Fragment = 0x4000 }), null,
            () => Two().Via("192.0.2.0/24", 2, B4, mtu: 1000)),
        new("a disabled port", () => ToRouter(1, Udp4()), DropReason.OutputDisabled, () => Changed(2, PortFlags.Exists | PortFlags.Routed)),
        new("a port that is gone", () => ToRouter(1, Udp4()), DropReason.OutputGone, () => Changed(2, PortFlags.None)),
        new("from a disabled port", () => ToRouter(1, Udp4()), DropReason.PortDisabled, () => Changed(1, PortFlags.Exists | PortFlags.Routed)),
        new("an interface without VRF", () => ToRouter(1, Udp4()), DropReason.NotForRouter, () => Two().Change(1, record => record with { Vrf = 0 })),
    ];

    public static TheoryData<string, bool> Rows
    {
        get
        {
            var rows = new TheoryData<string, bool>();
            foreach (Row row in Table)
            {
                rows.Add(row.Description, false);
                rows.Add(row.Description, true);
            }
            return rows;
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void GoesOrDoesNot(string description, bool traced)
    {
        Row row = Table.Single(r => r.Description == description);
        using RouteLab lab = row.Lab?.Invoke() ?? Two();
        using Watcher? watcher = traced ? new Watcher(lab.Switch, new CaptureWish { Kinds = CaptureKinds.Trace }) : null;
        byte[] frame = row.Frame();
        lab.Switch.Send(1, frame);

        if (row.Reason is { } reason)
        {
            Assert.Empty(lab.Take(2));
            Assert.Equal($"1 {reason} 1", lab.Switch.Drops());
            return;
        }
        byte[] sent = Assert.Single(lab.Take(2));
        Assert.Equal("", lab.Switch.Drops());
        Assert.Equal((PeerMac(2), MacOf(2)), (Mac(sent, 0), Mac(sent, 6)));
        Ip before = Ip.Of(frame);
        Assert.Equal(before with { Ttl = (byte)(before.Ttl - 1) }, Ip.Of(sent));
        Assert.True(sent.Length <= Math.Max(60, before.ToBytes().Length + 14), "padding was not cut off");
    }

    /// <summary>Bursts of all lengths, of packets of all kinds, stay in order.</summary>
    [Fact]
    public void OrderIsKept()
    {
        using RouteLab lab = Two();
        var random = new Random(1);
        for (int burst = 1; burst <= 128; burst++)
        {
            Ip[] packets = [.. Enumerable.Range(0, burst).Select(i => random.Next(4) switch
            {
                0 => Ip.OfUdp(A6, B6, 1, i),
                1 => Ip.OfUdp(A4, B4, 1, i) with { Options = [1, 1, 1, 0] },
                _ => Ip.OfUdp(A4, B4, 1, i),
            })];
            lab.Send(1, packets);
            Assert.Equal(Enumerable.Range(0, burst), lab.Take(2).Select(frame => (int)Ip.Of(frame).Word(2)));
        }
    }

    /// <summary>The incremental checksum is right for every time to live and every checksum it may meet.</summary>
    [Fact]
    public void ChecksumsStayRight()
    {
        using RouteLab lab = Two();
        var random = new Random(2);
        for (int ttl = 2; ttl < 256; ttl++)
        {
            lab.Send(1, [.. Enumerable.Range(0, 100).Select(i => Udp4() with { Ttl = (byte)ttl, Id = (ushort)random.Next(65536) })]);
            Assert.All(lab.Take(2), frame => Assert.Equal(ttl - 1, Ip.Of(frame).Ttl));
        }
        // Around the turn of the sum.
        for (int id = 0; id < 65536; id += 64)
        {
            lab.Send(1, [.. Enumerable.Range(id, 64).Select(i => Udp4() with { Id = (ushort)i })]);
            Assert.All(lab.Take(2), frame => Ip.Of(frame));
        }
    }

    /// <summary>Next hops that share a place among those that a worker has worked out, in one burst.</summary>
    [Fact]
    public void NextHopsOfOnePlaceDoNotMix()
    {
        using RouteLab lab = Two();
        lab.Routed(3, "10.0.3.1/24").Neighbour(3, "10.0.3.2");
        uint one = lab.NextHop(Gateway(2, B4)), other;
        do
        {
            other = lab.NextHop(Gateway(3, "10.0.3.2"));
        }
        while (other % RouteHop.CacheSize != one % RouteHop.CacheSize);
        lab.Route(1, "192.0.2.0/24", one).Route(1, "198.51.100.0/24", other);
        for (int round = 0; round < 3; round++)
        {
            lab.Send(1, [.. Enumerable.Range(0, 64).Select(i => Ip.OfUdp(A4, i % 2 == 0 ? "192.0.2.1" : "198.51.100.1", 1, i))]);
            foreach ((int port, string to, int first) in ((int, string, int)[])[(2, "192.0.2.1", 0), (3, "198.51.100.1", 1)])
            {
                List<byte[]> frames = lab.Take(port);
                Assert.All(frames, frame => Assert.Equal((PeerMac(port), MacOf(port)), (Mac(frame, 0), Mac(frame, 6))));
                Assert.Equal(Enumerable.Range(0, 32).Select(i => (to, (2 * i) + first)), frames.Select(frame => (Ip.Of(frame).Destination, (int)Ip.Of(frame).Word(2))));
            }
        }
    }

    /// <summary>A gateway's new address counts from the next burst on, and so does that it is gone.</summary>
    [Theory]
    [InlineData("192.0.2.1", B4, "192.0.2.0/24")]
    [InlineData("2001:db8::1", B6, "2001:db8::/32")]
    public void AGatewayMayChange(string to, string gateway, string prefix)
    {
        using RouteLab lab = Two();
        lab.Via(prefix, 2, gateway);
        Ip packet = Ip.OfUdp(to.Contains(':') ? A6 : A4, to, 1, 2);
        foreach (int number in (int[])[2, 3, 4])
        {
            lab.Neighbour(2, gateway, PeerMac(2, number)).Send(1, packet, packet);
            Assert.All(lab.Take(2), frame => Assert.Equal(PeerMac(2, number), Mac(frame, 0)));
        }
    }

    /// <summary>Two VRFs with the same addresses do not see each other.</summary>
    [Fact]
    public void VrfsAreSeparate()
    {
        using RouteLab lab = Two();
        lab.Routed(3, record => record with { Vrf = 2 }, "10.0.1.1/24").Routed(4, record => record with { Vrf = 2 }, "10.0.2.1/24").Neighbour(4, B4);
        lab.Send(1, Udp4()).Send(3, Udp4(), Udp4());
        Assert.Equal((1, 2), (lab.Take(2).Count, lab.Take(4).Count));
    }

    private static Ip Udp4() => Ip.OfUdp(A4, B4, 1000, 2000);
    private static Ip Udp6() => Ip.OfUdp(A6, B6, 1000, 2000);

    private static RouteLab Two() => Two(vrf2: false);

    private static RouteLab Two(bool vrf2)
    {
        RouteLab lab = new();
        lab.Routed(1, "10.0.1.1/24", "10.0.4.1/24", "fd00:1::1/64", "fd00:4::1/64", "fe80::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64");
        lab.Neighbour(2, B4).Neighbour(2, B6);
        if (vrf2)
        {
            lab.Route(2, "192.0.2.0/24", Gateway(2, B4));
        }
        return lab;
    }

    private static RouteLab CheckedLab() => Two().Change(1, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck });

    private static RouteLab Changed(int port, PortFlags flags)
    {
        RouteLab lab = Two();
        lab.Switch.Change(port, record => record with { Flags = flags });
        return lab;
    }

    private static string Mac(byte[] frame, int at) => MacAddress.FromBytes(frame.AsSpan(at, 6)).ToString();

    private static byte[] Spoilt4(int at, byte value) => Spoilt(ToRouter(1, Udp4()), at, value);

    private static byte[] Spoilt(byte[] frame, int at, byte value)
    {
        frame[at] = value;
        return frame;
    }

    /// <summary>With other bytes in the IPv4 header, and the checksum for them.</summary>
    private static byte[] Fixed(byte[] frame, params int[] changes)
    {
        for (int i = 0; i < changes.Length; i += 2)
        {
            frame[changes[i]] = (byte)changes[i + 1];
        }
        int header = Math.Min((frame[14] & 15) * 4, frame.Length - 14);
        (frame[24], frame[25]) = (0, 0);
        Ip.Big16(Reference.Checksum(frame.AsSpan(14, header))).CopyTo(frame, 24);
        return frame;
    }
}
