using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// One node of a VXLAN network on a <see cref="TestSwitch"/>: containers on ports 1 and 2, the underlay on <see cref="Underlay"/>, and
/// the other nodes as tunnels from <see cref="FirstTunnel"/> on. The underlay's next hop is one router with a known address.
/// </summary>
public static class Overlay
{
    public const int Underlay = 9, FirstTunnel = 20;
    public const ushort Vrf = 1, UdpPort = 4789, Mtu = 1600;
    public const uint Vni = 0x12_3456;
    public const byte Ttl = 64;

    /// <summary>MAC addresses of the node's interface in the underlay, and of the router there.</summary>
    public const string Own = "02:00:00:00:0e:01", Router = "02:00:00:00:0e:02";

    private const int ToRouter = 1, ToSelf = 2;

    /// <summary>The address of a node's tunnel end point. Node 0 is the switch itself.</summary>
    public static IPAddress Vtep(bool v6, int node) => IPAddress.Parse(v6 ? $"2001:db8:1::{node + 1:x}" : $"192.0.2.{node + 1}");

    public static IPv6Number Number(IPAddress address)
    {
        byte[] bytes = address.GetAddressBytes();
        return bytes.Length == 4 ? new IPv6Number(0, BinaryPrimitives.ReadUInt32BigEndian(bytes))
            : new IPv6Number(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(8)));
    }

    /// <summary>A node with some others.</summary>
    public static TestSwitch Node(bool v6 = false, int others = 1, bool zeroChecksum = false, int workers = 1, ushort mtu = Mtu,
        bool takesOffloads = false, int depth = 1024, SegmentOptions? options = null, int largeBuffers = 64)
    {
        TestSwitch sw = new TestSwitch(workers, options, largeBuffers: largeBuffers)
            .Port(1, change: Jumbo, takesOffloads: takesOffloads, depth: depth).Port(2, change: Jumbo, depth: depth);
        sw.AddUnderlay(Underlay, mtu, depth);
        for (int i = 0; i < others; i++)
        {
            sw.Tunnel(FirstTunnel + i, Record(v6, 1 + i, zeroChecksum));
        }
        return sw;
    }

    /// <summary>The tunnel to another node.</summary>
    public static TunnelRecord Record(bool v6, int node, bool zeroChecksum = false) => new()
    {
        Flags = TunnelFlags.Exists | (v6 ? TunnelFlags.IPv6 : 0) | (zeroChecksum ? TunnelFlags.ZeroChecksum6 : 0),
        Vni = Vni, Vrf = Vrf, UdpPort = UdpPort, Ttl = Ttl, Local = Number(Vtep(v6, 0)), Remote = Number(Vtep(v6, node)),
    };

    /// <summary>Adds a routed port with the addresses of node 0, and routes for everything else by it.</summary>
    public static TestSwitch AddUnderlay(this TestSwitch sw, int index, ushort mtu = Mtu, int depth = 1024)
    {
        sw.Port(index, PortFlags.Default | PortFlags.Routed, record => record with { Bridge = 0, Mtu = mtu }, depth: depth);
        sw.Writer.Begin();
        BridgeRecord bridge = sw.Writer.Bridge(TestSwitch.Bridge);
        PortSet.Remove(ref bridge.Members, index);
        sw.Writer.SetBridge(TestSwitch.Bridge, bridge);
        var itf = new InterfaceRecord
        {
            Flags = InterfaceFlags.Exists, Vrf = Vrf, Mtu = mtu, Mac = MacAddress.Parse(Own).Value, Count4 = 1, Count6 = 1,
        };
        itf.Addresses4[0] = new InterfaceAddress4((uint)Number(Vtep(false, 0)).Low, 0xFFFF_FF00);
        itf.Addresses6[0] = new InterfaceAddress6(Number(Vtep(true, 0)), new IPv6Number(ulong.MaxValue, 0));
        sw.Writer.SetInterface(index, itf);
        sw.Writer.SetNextHop(ToSelf, new NextHopRecord { Kind = NextHopKind.Local, Port = (ushort)index });
        sw.Writer.SetNextHop(ToRouter, Adjacency(index));
        foreach ((IPAddress address, int length, int nextHop) in new[]
        {
            (IPAddress.Any, 0, ToRouter), (Vtep(false, 0), 32, ToSelf), (IPAddress.IPv6Any, 0, ToRouter), (Vtep(true, 0), 128, ToSelf),
        })
        {
            IPv6Number number = Number(address);
            if (address.AddressFamily == AddressFamily.InterNetwork)
            {
                sw.Writer.SetRoute4(Vrf, RoutePrefix.Of4((uint)number.Low, length), nextHop);
            }
            else
            {
                sw.Writer.SetRoute6(Vrf, RoutePrefix.Of6(number.High, number.Low, length), nextHop);
            }
        }
        sw.Writer.Commit();
        return sw;
    }

    /// <summary>Gives a switch the addresses of another node.</summary>
    public static void Readdress(this TestSwitch sw, int index, int node, string mac)
    {
        sw.Writer.Begin();
        InterfaceRecord itf = sw.Writer.Interface(index);
        itf.Mac = MacAddress.Parse(mac).Value;
        (IPv6Number v4, IPv6Number v6) = (Number(Vtep(false, node)), Number(Vtep(true, node)));
        itf.Addresses4[0].Address = (uint)v4.Low;
        itf.Addresses6[0].Address = v6;
        sw.Writer.SetInterface(index, itf);
        sw.Writer.RemoveRoute4(Vrf, RoutePrefix.Of4((uint)Number(Vtep(false, 0)).Low, 32));
        sw.Writer.RemoveRoute6(Vrf, RoutePrefix.Of6(Number(Vtep(true, 0)).High, Number(Vtep(true, 0)).Low, 128));
        sw.Writer.SetRoute4(Vrf, RoutePrefix.Of4((uint)v4.Low, 32), ToSelf);
        sw.Writer.SetRoute6(Vrf, RoutePrefix.Of6(v6.High, v6.Low, 128), ToSelf);
        sw.Writer.Commit();
    }

    /// <summary>To the router in the underlay.</summary>
    public static NextHopRecord Adjacency(int port) => new()
    {
        Kind = NextHopKind.Adjacency, Port = (ushort)port, Mac = MacAddress.Parse(Router).Value, SourceMac = MacAddress.Parse(Own).Value,
    };

    /// <summary>Changes where everything that is not the node's own goes.</summary>
    public static void RouteBy(this TestSwitch sw, NextHopRecord hop)
    {
        sw.Writer.Begin();
        sw.Writer.SetNextHop(ToRouter, hop);
        sw.Writer.Commit();
    }

    /// <summary>Adds a tunnel port to the bridge, or changes it.</summary>
    public static TestSwitch Tunnel(this TestSwitch sw, int index, TunnelRecord tunnel)
    {
        sw.Deviceless(index, PortFlags.Default | PortFlags.Tunnel);
        sw.Writer.Begin();
        sw.Writer.SetTunnel(index, tunnel);
        sw.Writer.Commit();
        return sw;
    }

    private static PortRecord Jumbo(PortRecord record) => record with { Mtu = 9000 };

    /// <summary>An outer packet from another node to this one.</summary>
    public static byte[] From(byte[] inner, bool v6 = false, int node = 1, int ecn = 0, bool checksum = false, int sourcePort = 0xC123, uint vni = Vni) =>
        Outer(inner, v6, Own, Router, Vtep(v6, node), Vtep(v6, 0), ecn, checksum, sourcePort, 0, vni);

    /// <summary>
    /// The outer packet that must come from a frame sent to another node, with the UDP source port and the flow label of the packet
    /// that did come, which are the switch's to choose.
    /// </summary>
    public static byte[] Expected(byte[] inner, byte[] came, bool v6 = false, int node = 1, int ecn = 0, bool checksum = false, uint vni = Vni) =>
        Outer(inner, v6, Router, Own, Vtep(v6, 0), Vtep(v6, node), ecn, checksum, SourcePort(came, v6), FlowLabel(came, v6), vni);

    public static int SourcePort(byte[] outer, bool v6) => BinaryPrimitives.ReadUInt16BigEndian(outer.AsSpan(v6 ? 54 : 34));

    public static int FlowLabel(byte[] outer, bool v6) => v6 ? BinaryPrimitives.ReadInt32BigEndian(outer.AsSpan(14)) & 0xF_FFFF : 0;

    /// <summary>The frame in an outer packet.</summary>
    public static byte[] Inner(byte[] outer, bool v6 = false) => outer[(v6 ? 70 : 50)..];

    /// <summary>An outer packet field by field as RFC 7348, 5 shows it. It shares no code with the switch.</summary>
    private static byte[] Outer(byte[] inner, bool v6, string destinationMac, string sourceMac, IPAddress source, IPAddress destination, int ecn, bool checksum,
        int sourcePort, int flowLabel, uint vni)
    {
        byte[] udp = new byte[16 + inner.Length];
        BinaryPrimitives.WriteUInt16BigEndian(udp, (ushort)sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(2), UdpPort);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(4), (ushort)udp.Length);
        udp[8] = 0x08;
        BinaryPrimitives.WriteUInt32BigEndian(udp.AsSpan(12), vni << 8);
        inner.CopyTo(udp, 16);
        byte[] addresses = [.. source.GetAddressBytes(), .. destination.GetAddressBytes()];
        if (checksum)
        {
            byte[] pseudo = [.. addresses, 0, 17, (byte)(udp.Length >> 8), (byte)udp.Length, .. udp];
            ushort sum = Reference.Checksum(pseudo);
            BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(6), sum == 0 ? (ushort)0xFFFF : sum);
        }
        byte[] ip;
        if (v6)
        {
            ip = new byte[8];
            BinaryPrimitives.WriteInt32BigEndian(ip, (6 << 28) | (ecn << 20) | flowLabel);
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)udp.Length);
            (ip[6], ip[7]) = (17, Ttl);
            ip = [.. ip, .. addresses];
        }
        else
        {
            ip = [0x45, (byte)ecn, 0, 0, 0, 0, 0x40, 0, Ttl, 17, 0, 0, .. addresses];
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(2), (ushort)(ip.Length + udp.Length));
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), Reference.Checksum(ip));
        }
        return Raw(destinationMac, sourceMac, v6 ? Wire.EtherTypeIPv6 : Wire.EtherTypeIPv4, [.. ip, .. udp]);
    }
}
