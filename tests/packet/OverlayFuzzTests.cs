using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// A node of a cluster as flannel has it: containers' packets are routed into tunnels, and what comes out of tunnels is routed to
/// containers. Hundreds of thousands of packets with damage at both levels, outer headers and inner ones, with checksums made right again or not. What
/// comes out must be sound at both levels, and every packet accounted for.
/// </summary>
public sealed unsafe class OverlayFuzzTests
{
    private const int InputsPerRun = 100_000;
    private const int Underlay = 1, Station = 3, Router = 10, OverlayRouter = 11, FirstTunnel = 20, OverlayBridge = 2;
    private const uint Vni = 0x1234;
    private const ushort UdpPort = 8472;
    private const int InnerOf4 = 50, InnerOf6 = 70;
    private const string PeerVtep = "02:bb:00:00:00:02";

    /// <summary>Packets of a container, to another node and to this one.</summary>
    private static readonly Ip[] FromContainer =
    [
        Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2), Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2, 1400), Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2, 1472) with { Fragment = 0x4000 },
        Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2, 1472), Ip.OfUdp("10.0.5.3", "10.1.2.5", 1, 2), Ip.OfUdp("10.0.5.3", "10.1.2.5", 1, 2, 1000) with { Fragment = 0x2000 },
        Ip.OfTcp("10.0.5.3", "10.1.1.5", 1, 2, Inet.Syn, [2, 4, 5, 180]), Ip.OfEcho("10.0.5.3", "10.1.1.5"), Ip.OfEcho("10.0.5.3", "192.0.2.1"),
        Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2) with { Ttl = 1 }, Ip.OfUdp("10.0.5.3", "10.1.1.5", 1, 2) with { Options = [148, 4, 0, 0], Tos = 3 }, Ip.OfUdp("10.0.5.3", "10.1.3.5", 1, 2),
        Ip.OfUdp("fd00:5::3", "fd00:11::5", 1, 2), Ip.OfUdp("fd00:5::3", "fd00:11::5", 1, 2, 1452), Ip.OfTcp("fd00:5::3", "fd00:12::5", 1, 2, Inet.Syn, [2, 4, 5, 160]),
        Ip.OfUdp("fd00:5::3", "fd00:12::5", 1, 2) with { Protocol = 60, Options = [17, 0, 1, 4, 0, 0, 0, 0] }, Ip.OfUdp("fd00:5::3", "fd00:12::5", 1, 2) with { Ttl = 1 },
    ];

    /// <summary>Packets of containers on other nodes, to one here and to the node itself.</summary>
    private static readonly Ip[] FromOtherNode =
    [
        Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2), Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2, 1400), Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2) with { Ttl = 1 },
        Ip.OfEcho("10.1.1.5", "10.0.5.1"), Ip.OfUdp("10.1.1.5", "10.0.5.77", 1, 2), Ip.OfUdp("10.1.1.5", "10.1.2.5", 1, 2), Ip.OfUdp("10.1.1.5", "203.0.113.1", 1, 2),
        Ip.OfTcp("10.1.1.5", "10.0.5.3", 1, 2, Inet.Syn, [2, 4, 5, 180]), Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2) with { Options = [7, 7, 4, 0, 0, 0, 0, 0] },
        Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2) with { Fragment = 0x2000 }, Ip.OfUdp("10.1.1.5", "10.0.5.3", 1, 2) with { Fragment = 0x0010 },
        Ip.OfIcmp("10.1.1.5", "10.0.5.3", 3, 4, new byte[40]), Ip.OfUdp("10.1.1.5", "192.0.2.1", 1, UdpPort), Ip.OfUdp("fd00:11::5", "fd00:5::3", 1, 2),
        Ip.OfUdp("fd00:11::5", "fd00:5::3", 1, 2, 1400), Ip.OfEcho("fd00:11::5", "fd00:5::1"), Ip.OfUdp("fd00:11::5", "fd00:5::3", 1, 2) with { Ttl = 1 },
        Ip.OfUdp("fd00:11::5", "fd00:5::3", 1, 2) with { Protocol = 44, Options = [17, 0, 0, 1, 0, 0, 0, 1] }, Ip.OfIcmp("fd00:11::5", "fd00:5::3", 2, 0, new byte[44]),
    ];

    /// <summary>What arrives, and where its inner frame begins, 0 when it has none.</summary>
    private static readonly (int Port, byte[] Frame, int Inner, virtio_net_hdr Vnet)[] Corpus =
    [
        .. FromContainer.Select(packet => (Station, packet.In(MacOf(Router), PeerMac(Station)), 0, default(virtio_net_hdr))),
        .. FromOtherNode.SelectMany(packet => new[] { false, true }.Select(v6 => OverTheWire(packet.In(MacOf(OverlayRouter), PeerVtep), v6))),
        .. new[] { Frame.Of(Frame.Broadcast, PeerVtep), Arp.Request(PeerVtep, "10.1.1.0", "10.0.5.1").ToAll(), Frame.Tagged(MacOf(OverlayRouter), PeerVtep, 10) }
            .Select(frame => OverTheWire(frame, v6: false)),
        // A tunnel in a tunnel, for the node's own end point.
        OverTheWire(Ip.OfUdp("192.0.2.2", "192.0.2.1", 5, UdpPort, Vxlan(Frame.Of(Frame.Broadcast, PeerVtep))).In(MacOf(OverlayRouter), PeerVtep), v6: false),
        (Underlay, ToRouter(Underlay, Ip.OfEcho("192.0.2.2", "192.0.2.1")), 0, default),
        (Underlay, ToRouter(Underlay, Ip.OfUdp("192.0.2.2", "10.0.5.3", 1, 2)), 0, default),
        (Underlay, Arp.Request(PeerMac(Underlay), "192.0.2.2", "192.0.2.1").ToAll(), 0, default),
        .. new[] { Inet.Tcp(9000, 1200, options: 12), Inet.Tcp(3000, 1348, v6: true), Inet.Tcp(100) }.Select(large => (Station, FromStation(large.Frame), 0, large.Vnet)),
    ];

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 3)]
    public void NothingBreaks(int seed, int workers)
    {
        var random = new Random(seed);
        using RouteLab lab = Lab(workers);
        TestSwitch sw = lab.Switch;
        RouteFuzzTests.Feed(sw, packet => Spoilt(random, packet), input => CheckOutputs(sw, seed, input), random, InputsPerRun, 50, () => Reconfigure(lab, random));
        // The damage was not such that nothing came through, or nothing went wrong.
        Assert.True(sw.Counters(Router).Forwarded > InputsPerRun / 50, $"into tunnels {sw.Counters(Router).Forwarded}");
        Assert.True(sw.Counters(OverlayRouter).Forwarded > InputsPerRun / 50, $"out of tunnels {sw.Counters(OverlayRouter).Forwarded}");
        Assert.True(sw.Counters(OverlayRouter).Originated + sw.Counters(Router).Originated > InputsPerRun / 200, "told and answered");
        foreach ((int port, DropReason reason) in new[]
        {
            (Underlay, DropReason.VxlanFlags), (Underlay, DropReason.VxlanVni), (Underlay, DropReason.VxlanVtep), (Underlay, DropReason.VxlanTruncated), (Underlay, DropReason.VxlanChecksum),
            (OverlayRouter, DropReason.BadIpChecksum), (OverlayRouter, DropReason.BadIpHeader), (OverlayRouter, DropReason.TtlExceeded), (OverlayRouter, DropReason.NoRoute),
            (OverlayRouter, DropReason.NotIp), (Router, DropReason.NeedsFragmentation), (Router, DropReason.TtlExceeded), (Router, DropReason.BadIpHeader),
            (FirstTunnel + 2, DropReason.EgressNoTunnelRoute),
        })
        {
            Assert.True(sw.Drops(port, reason) != 0, $"{reason} never happened on port {port}");
        }
    }

    private static RouteLab Lab(int workers)
    {
        RouteLab lab = new(workers) { TakesOffloads = true };
        TestSwitch sw = lab.Switch;
        sw.Port(Station, takesOffloads: true);
        lab.Router(Router, 0, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck }, "10.0.5.1/24", "fd00:5::1/64", "172.18.0.1/24", "fd00::1/64")
            .Routed(Underlay, record => record with { Mtu = 1500 }, "192.0.2.1/24", "2001:db8:1::1/64")
            .Neighbour(Router, "10.0.5.3", PeerMac(Station)).Neighbour(Router, "fd00:5::3", PeerMac(Station))
            .Neighbour(Underlay, "192.0.2.2").Neighbour(Underlay, "2001:db8:1::2");
        sw.SetStatic(PeerMac(Station), Station);

        sw.Writer.Begin();
        var bridge = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = OverlayBridge, AgeingSeconds = 300, RouterPort = OverlayRouter, Mac = Value(MacOf(OverlayRouter)) };
        foreach (int port in new[] { OverlayRouter, FirstTunnel, FirstTunnel + 1, FirstTunnel + 2 })
        {
            PortFlags kind = port == OverlayRouter ? PortFlags.Router : PortFlags.Tunnel;
            sw.Writer.SetPort(port, new PortRecord { Flags = PortFlags.Exists | PortFlags.Enabled | kind, Bridge = OverlayBridge, Mtu = 1450 });
            PortSet.Add(ref bridge.Members, port);
            sw.AlsoCheck(port);
        }
        sw.Writer.SetBridge(OverlayBridge, in bridge);
        sw.Writer.SetInterface(OverlayRouter, new InterfaceRecord { Flags = InterfaceFlags.Exists, Mac = Value(MacOf(OverlayRouter)), Vrf = 1, Mtu = 1450 });
        sw.Writer.Commit();
        Assert.True(sw.Writer.SetStaticMac(MacTable.Key(OverlayBridge, Value(MacOf(OverlayRouter))), OverlayRouter, MacFlags.Static));
        Assert.True(sw.Writer.SetStaticMac(MacTable.Key(OverlayBridge, Value(PeerVtep)), FirstTunnel, MacFlags.Static));
        Tunnels(sw);
        for (int i = 0; i < 3; i++)
        {
            uint hop = lab.NextHop(new NextHopRecord
            {
                Kind = NextHopKind.Adjacency, Port = (ushort)(FirstTunnel + i), Mac = Value(PeerVtep), SourceMac = Value(MacOf(OverlayRouter)), Mtu = (ushort)(i == 1 ? 1430 : 1450),
            });
            lab.Route(1, $"10.1.{i + 1}.0/24", hop).Route(1, $"fd00:1{i + 1}::/64", hop);
            if (i < 2)
            {
                // What large segments of a container are for.
                lab.Route(1, i == 0 ? "172.18.0.3" : "fd00::3", hop);
            }
        }
        return lab;
    }

    /// <summary>To a node over IPv4, one over IPv6, and one whose address nobody answers for.</summary>
    private static void Tunnels(TestSwitch sw)
    {
        sw.Writer.Begin();
        for (int i = 0; i < 3; i++)
        {
            sw.Writer.SetTunnel(FirstTunnel + i, new TunnelRecord
            {
                Flags = TunnelFlags.Exists | (i == 1 ? TunnelFlags.IPv6 : 0), Vni = Vni, Vrf = 1, UdpPort = UdpPort, Ttl = 64,
                Local = Overlay.Number(Own(i == 1)), Remote = Overlay.Number(Peer(i == 1, i == 2 ? 99 : 2)),
            });
        }
        sw.Writer.Commit();
    }

    private static System.Net.IPAddress Own(bool v6) => Peer(v6, 1);

    private static System.Net.IPAddress Peer(bool v6, int number) => System.Net.IPAddress.Parse(v6 ? $"2001:db8:1::{number}" : $"192.0.2.{number}");

    private static byte[] Vxlan(byte[] frame) => [8, 0, 0, 0, (byte)(Vni >> 16), (byte)(Vni >> 8 & 0xFF), (byte)(Vni & 0xFF), 0, .. frame];

    private static (int Port, byte[] Frame, int Inner, virtio_net_hdr Vnet) OverTheWire(byte[] frame, bool v6)
    {
        Ip outer = Ip.OfUdp(Peer(v6, 2).ToString(), Own(v6).ToString(), 0xC123, UdpPort, Vxlan(frame));
        byte[] packet = ToRouter(Underlay, outer);
        if (!v6)
        {
            packet.AsSpan(40, 2).Clear(); // no checksum, so that damage to the frame goes unseen
        }
        return (Underlay, packet, v6 ? InnerOf6 : InnerOf4, default);
    }

    /// <summary>To the router, from the station; to an address behind a tunnel.</summary>
    private static byte[] FromStation(byte[] frame)
    {
        byte[] copy = [.. frame];
        MacAddress.Parse(MacOf(Router)).CopyTo(copy);
        MacAddress.Parse(PeerMac(Station)).CopyTo(copy.AsSpan(6));
        return copy;
    }

    /// <summary>Copies a packet and damages it. Gives the port, its new length and what its sender left undone.</summary>
    private static (int Port, int Length, virtio_net_hdr Vnet) Spoilt(Random random, byte[] packet)
    {
        (int port, byte[] original, int inner, virtio_net_hdr vnet) = Corpus[random.Next(Corpus.Length)];
        original.CopyTo(packet, 0);
        int length = original.Length;
        for (int damage = random.Next(3); damage > 0; damage--)
        {
            // Half of the damage to what is in a tunnel is done to the frame in it.
            int at = inner != 0 && random.Next(2) == 0 ? inner : 0;
            int headers = Math.Clamp(length - at - 14, 1, 60);
            switch (random.Next(8))
            {
                case 0: // cut
                    length = random.Next(length + 1);
                    break;
                case 1: // cut, and the lengths of the outer headers are those of what is left
                    length = Math.Min(length, inner + random.Next(100));
                    Shorten(packet, length, inner);
                    break;
                case 2: // bytes behind it
                    int more = random.Next(60);
                    random.NextBytes(packet.AsSpan(length, more));
                    length += more;
                    break;
                case 3: // a bit of the headers
                    packet[at + random.Next(14 + headers)] ^= (byte)(1 << random.Next(8));
                    break;
                case 4: // a byte of them
                    packet[at + 14 + random.Next(headers)] = (byte)random.Next(256);
                    break;
                case 5: // another length, type or fragment
                    packet[at + 14 + random.Next(Math.Min(headers, 10))] = (byte)random.Next(256);
                    break;
                case 6: // the offload request
                    vnet.csum_start = (ushort)random.Next(160);
                    vnet.gso_size = (ushort)(random.Next(2) == 0 ? random.Next(1, 2000) : vnet.gso_size);
                    break;
                default: // a bit anywhere
                    packet[random.Next(Math.Max(1, length))] ^= (byte)(1 << random.Next(8));
                    break;
            }
            if (random.Next(4) != 0)
            {
                // So that more is looked at than checksums.
                RepairIPv4(packet, at, length);
                RepairUdp6(packet, length, inner);
            }
        }
        return (port, length, vnet);
    }

    private static void Shorten(byte[] packet, int length, int inner)
    {
        if (inner == 0 || length < inner)
        {
            return;
        }
        bool v6 = inner == InnerOf6;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(v6 ? 18 : 16), (ushort)(length - (v6 ? 54 : 14)));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(v6 ? 58 : 38), (ushort)(length - (v6 ? 54 : 34)));
        packet.AsSpan(v6 ? 60 : 40, 2).Clear(); // over IPv4 without a checksum
        RepairIPv4(packet, 0, length);
        RepairUdp6(packet, length, inner);
    }

    private static void RepairIPv4(byte[] packet, int at, int length)
    {
        int header = (packet[at + 14] & 15) * 4;
        if (packet[at + 14] >> 4 == 4 && header >= 20 && length >= at + 14 + header)
        {
            packet.AsSpan(at + 24, 2).Clear();
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(at + 24), Reference.Checksum(packet.AsSpan(at + 14, header)));
        }
    }

    /// <summary>The UDP checksum of an outer IPv6 packet, over as much of it as its length says.</summary>
    private static void RepairUdp6(byte[] packet, int length, int inner)
    {
        int udp = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(58));
        if (inner == InnerOf6 && udp >= 8 && 54 + udp <= length)
        {
            packet.AsSpan(60, 2).Clear();
            ushort sum = Reference.Checksum([.. packet[22..54], 0, 17, (byte)(udp >> 8), (byte)udp, .. packet[54..(54 + udp)]]);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(60), sum == 0 ? (ushort)0xFFFF : sum);
        }
    }

    private static void CheckOutputs(TestSwitch sw, int seed, int input)
    {
        foreach (int port in (int[])[Underlay, Station])
        {
            rte_mbuf* mbuf;
            while ((mbuf = sw.TakeMbuf(port)) != null)
            {
                byte* reason;
                bool sound = Shim.dps_mbuf_check(mbuf, &reason) == 0 && mbuf->data_len >= 14;
                byte[] bytes = MbufCopy.ToBytes(mbuf);
                bool finished = port != Underlay || !IsVxlan(bytes) || !Offload.IsPending(mbuf);
                string? fault = sound && finished ? port == Underlay ? FaultOfOuter(bytes) : null : $"sound {sound}, finished {finished}";
                if (fault is not null)
                {
                    Assert.Fail($"seed {seed}, up to input {input}: port {port} was sent {bytes.Length} bytes, {fault}: {Convert.ToHexString(bytes)}");
                }
                Shim.dps_mbuf_free(mbuf);
            }
        }
    }

    private static bool IsVxlan(byte[] frame) => frame.Length >= 14 && frame[12] switch
    {
        0x08 => frame.Length >= InnerOf4 && frame[13] == 0 && frame[23] == 17 && (frame[20] & 0x1F) == 0 && frame[21] == 0 && frame[14] == 0x45 && Is(frame, 36, UdpPort) && Is(frame, 26, 0xC000) && Is(frame, 28, 0x0201),
        0x86 => frame.Length >= InnerOf6 && frame[20] == 17 && Is(frame, 56, UdpPort) && Is(frame, 22, 0x2001) && Is(frame, 36, 1),
        _ => false,
    };

    private static bool Is(byte[] frame, int at, ushort value) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(at)) == value;

    /// <summary>What is wrong with an outer packet of the switch; null when nothing is, or it is none.</summary>
    private static string? FaultOfOuter(byte[] frame)
    {
        if (!IsVxlan(frame))
        {
            return null;
        }
        bool v6 = frame[12] == 0x86;
        int ip = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(v6 ? 18 : 16)), udp = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(v6 ? 58 : 38));
        int udpAt = v6 ? 54 : 34;
        byte[] vxlan = frame[(udpAt + 8)..(udpAt + 16)];
        bool checksum = v6
            ? Reference.Checksum([.. frame[22..54], 0, 17, (byte)(udp >> 8), (byte)udp, .. frame[54..]]) == 0
            : Reference.Checksum(frame.AsSpan(14, 20)) == 0 && frame[40] == 0 && frame[41] == 0;
        return ip != frame.Length - (v6 ? 54 : 14) || udp != frame.Length - udpAt ? "a length is wrong"
            : !checksum ? "a checksum is wrong"
            : !vxlan.AsSpan().SequenceEqual(Vxlan([])) ? "the VXLAN header is wrong"
            : frame.Length < (v6 ? InnerOf6 : InnerOf4) + 14 ? "there is no frame in it"
            : frame.Length - 14 > 1500 ? "it is larger than the underlay takes"
            : !FrameOf(frame, v6).AsSpan(0, 12).SequenceEqual((byte[])[.. MacAddress.Parse(PeerVtep).ToBytes(), .. MacAddress.Parse(MacOf(OverlayRouter)).ToBytes()]) ? "the frame's addresses are not the nodes'"
            : FaultOfInner(FrameOf(frame, v6));
    }

    private static byte[] FrameOf(byte[] outer, bool v6) => outer[(v6 ? InnerOf6 : InnerOf4)..];

    private static string? FaultOfInner(byte[] frame)
    {
        ReadOnlySpan<byte> ip = frame.AsSpan(14);
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
        if (type == Wire.EtherTypeArp)
        {
            return null;
        }
        if (ip.Length < 20)
        {
            return "there is no packet in its frame";
        }
        if (type == Wire.EtherTypeIPv6)
        {
            return ip.Length >= 40 && ip[7] != 0 && BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + 40 == ip.Length ? null : "the IPv6 packet in it is wrong";
        }
        int header = (ip[0] & 15) * 4;
        return type == Wire.EtherTypeIPv4 && header >= 20 && header <= ip.Length && Reference.Checksum(ip[..header]) == 0 && ip[8] != 0
            && BinaryPrimitives.ReadUInt16BigEndian(ip[2..]) is var total && total <= ip.Length ? null : "the IPv4 packet in it is wrong";
    }

    /// <summary>Whatever an administrator might do, and time.</summary>
    private static void Reconfigure(RouteLab lab, Random random)
    {
        TestSwitch sw = lab.Switch;
        switch (random.Next(8))
        {
            case 0:
                lab.Change(Underlay, record => record with { Mtu = (ushort)random.Next(200, 1501) });
                break;
            case 1:
                lab.Change(random.Next(2) == 0 ? Router : OverlayRouter, record => record with { Flags = record.Flags ^ (InterfaceFlags)(1 << random.Next(1, 5)) });
                break;
            case 2:
                sw.Writer.Begin();
                sw.Writer.SetTunnel(FirstTunnel + random.Next(3), default);
                sw.Writer.Commit();
                break;
            case 3:
                sw.Flags(FirstTunnel + random.Next(2), clear: PortFlags.Enabled);
                break;
            case 4:
                sw.Flags(random.Next(2) == 0 ? Underlay : OverlayRouter, clear: PortFlags.Enabled);
                break;
            case 5:
                sw.Clock.Advance(TimeSpan.FromSeconds(random.Next(60)));
                break;
            default: // back to normal
                Tunnels(sw);
                foreach (int port in new[] { Underlay, OverlayRouter, FirstTunnel, FirstTunnel + 1, FirstTunnel + 2 })
                {
                    sw.Flags(port, set: PortFlags.Enabled);
                }
                lab.Change(Underlay, record => record with { Mtu = 1500 });
                lab.Change(Router, record => record with { Flags = InterfaceFlags.Exists | InterfaceFlags.SourceCheck });
                lab.Change(OverlayRouter, record => record with { Flags = InterfaceFlags.Exists });
                break;
        }
    }
}
