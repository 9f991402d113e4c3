using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>The switch at its own addresses, and the host that has them.</summary>
public sealed class ResponderTests
{
    private const string A4 = "10.0.1.2", A6 = "fd00:1::2";

    /// <param name="Description">What is asked.</param>
    /// <param name="Request">The frame, into port 1.</param>
    /// <param name="From">Who answers; null when nobody does.</param>
    /// <param name="Reason">Why not.</param>
    private sealed record Row(string Description, Func<byte[]> Request, string? From, DropReason Reason = DropReason.Count);

    private static readonly Row[] Table =
    [
        new("echo", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1")), "10.0.1.1"),
        new("echo with a time to live of 1", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1") with { Ttl = 1 }), "10.0.1.1"),
        new("echo of nothing, in a short frame", () => Ip.OfEcho(A4, "10.0.1.1", 0).In(MacOf(1), PeerMac(1), padded: true), "10.0.1.1"),
        new("echo of 1,472 bytes", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1", 1472)), "10.0.1.1"),
        new("echo of an odd number of bytes", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1", 33)), "10.0.1.1"),
        new("echo of 9,000 bytes in two buffers", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1", 9000)), "10.0.1.1"),
        new("echo with options", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1") with { Options = [1, 1, 1, 0] }), "10.0.1.1"),
        new("echo to another address of the router", () => ToRouter(1, Ip.OfEcho(A4, "10.0.2.1")), "10.0.2.1"),
        new("echo with a wrong checksum", () => Spoilt(ToRouter(1, Ip.OfEcho(A4, "10.0.1.1")), 50), null, DropReason.BadIcmp),
        new("half an ICMP header", () => ToRouter(1, new Ip(A4, "10.0.1.1", Ip.Icmp4, [8, 0, 0xF7, 0xFF])), null, DropReason.BadIcmp),
        new("a fragment of an echo", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1") with { Fragment = 0x2000 }), null, DropReason.NotServed),
        new("an echo reply", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1", type: 0)), null, DropReason.NotServed),
        new("a timestamp request", () => ToRouter(1, Ip.OfEcho(A4, "10.0.1.1", 12, type: 13)), null, DropReason.NotServed),
        new("IPv6 echo", () => ToRouter(1, Ip.OfEcho(A6, "fd00:1::1")), "fd00:1::1"),
        new("IPv6 echo of an odd number of bytes", () => ToRouter(1, Ip.OfEcho(A6, "fd00:1::1", 33)), "fd00:1::1"),
        new("IPv6 echo from and to a link-local address", () => ToRouter(1, Ip.OfEcho("fe80::2", "fe80::1")), "fe80::1"),
        new("IPv6 echo to another address of the router", () => ToRouter(1, Ip.OfEcho(A6, "fd00:2::1")), "fd00:2::1"),
        new("IPv6 echo to all nodes", () => Ip.OfEcho("fe80::2", "ff02::1").In("33:33:00:00:00:01", PeerMac(1)), "fe80::1"),
        new("IPv6 echo to all routers", () => Ip.OfEcho(A6, "ff02::2").In("33:33:00:00:00:02", PeerMac(1)), "fd00:1::1"),
        new("IPv6 echo to another group", () => Ip.OfEcho(A6, "ff02::3").In("33:33:00:00:00:03", PeerMac(1)), null, DropReason.MulticastNotRouted),
        new("IPv6 echo with a wrong checksum", () => Spoilt(ToRouter(1, Ip.OfEcho(A6, "fd00:1::1")), 70), null, DropReason.BadIcmp),
        new("IPv6 echo behind options", () => ToRouter(1, Ip.OfEcho(A6, "fd00:1::1") with { Protocol = 60, Options = [58, 0, 1, 4, 0, 0, 0, 0] }), null, DropReason.NotServed),
        new("a fragment of an IPv6 echo", () => ToRouter(1, Ip.OfEcho(A6, "fd00:1::1") with { Protocol = 44, Options = [58, 0, 0, 1, 0, 0, 0, 1] }), null, DropReason.NotServed),
        new("an ICMPv6 error", () => ToRouter(1, Ip.OfIcmp(A6, "fd00:1::1", 1, 4, new byte[44])), null, DropReason.NotServed),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Answers(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using RouteLab lab = Lab();
        byte[] frame = row.Request();
        lab.Switch.Send(1, frame);
        if (row.From is null)
        {
            Assert.Empty(lab.Take(1));
            Assert.Equal($"1 {row.Reason} 1", lab.Switch.Drops());
            return;
        }
        Ip request = Ip.Of(frame), reply = lab.TakeOne(1);
        Assert.Equal("", lab.Switch.Drops());
        Assert.Equal((row.From, request.Source), (reply.Source, reply.Destination));
        Assert.True(reply.IsPayloadGood);
        Assert.Equal((request.IsV6 ? (byte)129 : (byte)0, (byte)64), (reply.Payload[0], reply.Ttl));
        Assert.Equal(request.Payload[4..], reply.Payload[4..]);
        Assert.Equal((1ul, 1ul), (lab.Switch.Counters(1).Consumed, lab.Switch.Counters(1).Originated));
    }

    [TsharkFact]
    public void TsharkAgrees()
    {
        using RouteLab lab = Lab();
        lab.Switch.Send(1, [.. Table.Where(row => row.From != null).Select(row => row.Request())]);
        Assert.All(Tshark.Complaints(lab.Take(1)), complaint => Assert.Equal("", complaint));
    }

    /// <summary>Packets for the router's addresses go to the host's port as they are, whatever they are.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TheHostGetsWhatIsForIt(bool vlanAware)
    {
        using RouteLab lab = Bridged(vlanAware);
        Ip[] packets =
        [
            Ip.OfEcho("10.0.5.2", "10.0.5.1"), Ip.OfTcp("10.0.5.2", "10.0.5.1", 1, 22, Inet.Syn) with { Ttl = 1 }, Ip.OfUdp("fd00:5::2", "fd00:5::1", 1, 2),
            Ip.OfUdp("10.0.5.2", "10.0.5.1", 1, 2) with { Fragment = 0x2000 }, Ip.OfEcho("fe80::9", "fe80::5"),
        ];
        lab.Switch.Send(3, [.. packets.Select(packet => packet.In(MacOf(10), PeerMac(3)))]);
        Assert.Equal(packets.Select(packet => packet.In(MacOf(10), PeerMac(3))), lab.Take(4));
        Assert.Equal((5ul, 5ul), (lab.Switch.Counters(10).RxPackets, lab.Switch.Counters(10).Forwarded));
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>By another interface: the host's port is that of the interface which has the address.</summary>
    [Fact]
    public void TheHostGetsWhatComesByAnotherInterface()
    {
        using RouteLab lab = Bridged(vlanAware: false);
        lab.Routed(1, "10.0.1.1/24").Send(1, Ip.OfUdp(A4, "10.0.5.1", 1, 2));
        Assert.Equal(Ip.OfUdp(A4, "10.0.5.1", 1, 2).In(MacOf(10), PeerMac(1)), Assert.Single(lab.Take(4)));
    }

    /// <summary>The host has the router's addresses, so its packets are known by its MAC address alone.</summary>
    [Fact]
    public void TheHostSendsByTheAlias()
    {
        using RouteLab lab = Bridged(vlanAware: false);
        lab.Routed(1, "10.0.1.1/24", "fd00:1::1/64").Neighbour(1, A4).Neighbour(1, A6);
        lab.Switch.SetStatic(Alias, 10);
        lab.Switch.Send(4, Ip.OfUdp("10.0.5.1", A4, 1, 2).In(Alias, MacOf(10)), Ip.OfUdp("fd00:5::1", A6, 1, 2).In(Alias, MacOf(10)),
            Ip.OfUdp("192.0.2.9", A4, 1, 2).In(Alias, MacOf(10)));
        Assert.Equal(["10.0.5.1", "fd00:5::1", "192.0.2.9"], lab.Take(1).Select(frame => Ip.Of(frame).Source));
        // From anybody else those are lies.
        lab.Switch.Send(3, Ip.OfUdp("10.0.5.1", A4, 1, 2).In(Alias, PeerMac(3)), Ip.OfUdp("192.0.2.9", A4, 1, 2).In(Alias, PeerMac(3)));
        Assert.Equal("10 Martian 1, 10 SpoofedSource 1", lab.Switch.Drops());
    }

    /// <summary>Errors about the host's packets go to it, not to a station that its address would be looked for at.</summary>
    [Fact]
    public void TheHostIsToldOfErrors()
    {
        using RouteLab lab = Bridged(vlanAware: false);
        lab.Switch.SetStatic(Alias, 10);
        lab.Switch.Send(4, Ip.OfUdp("10.0.5.1", "192.0.2.1", 1, 2).In(Alias, MacOf(10)));
        byte[] error = Assert.Single(lab.Take(4));
        Assert.Equal((byte)3, Ip.Of(error).Payload[0]);
        Assert.Equal((MacOf(10), Alias), (MacAddress.FromBytes(error).ToString(), MacAddress.FromBytes(error.AsSpan(6)).ToString()));
    }

    [Fact]
    public void AHostPortThatIsGoneIsSaid()
    {
        using RouteLab lab = Bridged(vlanAware: false);
        lab.Switch.Flags(4, clear: PortFlags.Enabled);
        lab.Switch.Send(3, Ip.OfUdp("10.0.5.2", "10.0.5.1", 1, 2).In(MacOf(10), PeerMac(3)));
        Assert.Equal("10 OutputDisabled 1", lab.Switch.Drops());
    }

    private const string Alias = "02:00:00:00:aa:aa";

    private static RouteLab Lab() =>
        new RouteLab().Routed(1, "10.0.1.1/24", "fd00:1::1/64", "fe80::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64");

    /// <summary>A bridge with stations at port 3, the host at port 4 and the router as port 10.</summary>
    private static RouteLab Bridged(bool vlanAware)
    {
        RouteLab lab = new(bridge: vlanAware ? TestSwitch.VlanAware : null);
        if (vlanAware)
        {
            lab.Switch.Access(3, 1).Access(4, 1, PortFlags.Default | PortFlags.Host);
        }
        else
        {
            lab.Switch.Port(3).Port(4, PortFlags.Default | PortFlags.Host);
        }
        return lab.Router(10, 4, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck, AliasMac = Value(Alias) },
            "10.0.5.1/24", "fd00:5::1/64", "fe80::5/64");
    }

    private static byte[] Spoilt(byte[] frame, int at)
    {
        frame[at] ^= 1;
        return frame;
    }
}
