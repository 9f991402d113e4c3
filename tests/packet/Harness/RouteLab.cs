using System.Net;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// A router made of records: interfaces with their addresses, neighbours that are known beforehand, routes. Everything a worker sees
/// is made here as the control plane makes it; the switch itself is a <see cref="TestSwitch"/>.
/// </summary>
public sealed unsafe partial class RouteLab : IDisposable
{
    private readonly List<int> _routed = [];
    private uint _lastHop;

    public RouteLab(int workers = 1, int smallBuffers = 4096, int largeBuffers = 64, Func<BridgeRecord, BridgeRecord>? bridge = null,
        SegmentOptions? options = null, EngineClock? clock = null, ulong seed = 0) =>
        Switch = new TestSwitch(workers, options, bridge, smallBuffers, largeBuffers, clock, seed: seed);

    public TestSwitch Switch { get; }
    private SegmentWriter Writer => Switch.Writer;

    /// <summary>The address of an interface.</summary>
    public static string MacOf(int port) => Frame.Mac(0x5000 + port);

    /// <summary>The address of a neighbour of an interface.</summary>
    public static string PeerMac(int port, int number = 2) => Frame.Mac((port << 8) + number);

    /// <summary>A routed port with addresses like "10.0.1.1/24".</summary>
    public RouteLab Routed(int port, params string[] addresses) => Routed(port, record => record, addresses);

    public RouteLab Routed(int port, Func<InterfaceRecord, InterfaceRecord> change, params string[] addresses)
    {
        Switch.Port(port, takesOffloads: TakesOffloads);
        Writer.Begin();
        BridgeRecord bridge = Writer.Bridge(TestSwitch.Bridge);
        PortSet.Remove(ref bridge.Members, port);
        Writer.SetBridge(TestSwitch.Bridge, bridge);
        Writer.SetPort(port, Writer.Port(port) with { Bridge = 0, Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Routed, Mtu = ushort.MaxValue });
        Writer.Commit();
        _routed.Add(port);
        return Interface(port, change, addresses);
    }

    /// <summary>Whether the ports that come are such as TAPs are: they do what a sender left undone.</summary>
    public bool TakesOffloads { get; set; }

    /// <summary>The router port of the bridge, with the given host's port among its members or none.</summary>
    public RouteLab Router(int port, int hostPort, Func<InterfaceRecord, InterfaceRecord> change, params string[] addresses)
    {
        Writer.Begin();
        int vlan = Writer.Bridge(TestSwitch.Bridge).FidMask != 0 ? 1 : 0;
        Writer.SetPort(port, TestSwitch.Vlan(new PortRecord
        {
            Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Router | PortFlags.FloodBroadcast | PortFlags.FloodMulticast,
            Bridge = TestSwitch.Bridge,
            Mtu = 1500,
        }, [], vlan));
        BridgeRecord bridge = Writer.Bridge(TestSwitch.Bridge) with { RouterPort = (ushort)port, HostPort = (ushort)hostPort, Mac = Value(MacOf(port)) };
        PortSet.Add(ref bridge.Members, port);
        Writer.SetBridge(TestSwitch.Bridge, bridge);
        Writer.Commit();
        Switch.AlsoCheck(port);
        Switch.SetStatic(MacOf(port), port, vlan: vlan);
        return Interface(port, record => change(record with { HostPort = (ushort)hostPort }), addresses);
    }

    /// <summary>The layer-3 side of a port, with routes to its subnets and for its addresses.</summary>
    public RouteLab Interface(int port, Func<InterfaceRecord, InterfaceRecord> change, params string[] addresses)
    {
        var record = new InterfaceRecord { Flags = InterfaceFlags.Exists, Mac = Value(MacOf(port)), Vrf = 1, Mtu = 1500 };
        foreach (string text in addresses)
        {
            (IPv6Number address, int length, bool v6) = Parse(text);
            if (v6)
            {
                record.Addresses6[record.Count6++] = new InterfaceAddress6(address, Mask(length));
            }
            else
            {
                record.Addresses4[record.Count4++] = new InterfaceAddress4((uint)address.Low, (uint)(ulong.MaxValue << (32 - length)));
            }
        }
        record = change(record);
        Writer.Begin();
        Writer.SetInterface(port, record);
        Writer.Commit();
        foreach (string text in addresses.Where(a => !a.StartsWith("fe80", StringComparison.Ordinal)))
        {
            string address = text[..text.IndexOf('/', StringComparison.Ordinal)];
            Route(record.Vrf, text, new NextHopRecord { Kind = NextHopKind.Connected, Port = (ushort)port });
            Route(record.Vrf, address, new NextHopRecord { Kind = NextHopKind.Local, Port = (ushort)port });
        }
        return this;
    }

    /// <summary>Changes the layer-3 side of a port by a commit.</summary>
    public RouteLab Change(int port, Func<InterfaceRecord, InterfaceRecord> change)
    {
        Writer.Begin();
        Writer.SetInterface(port, change(Writer.Interface(port)));
        Writer.Commit();
        return this;
    }

    /// <summary>Changes a neighbour that nobody has to ask for.</summary>
    public RouteLab Neighbour(int port, string address, string? mac = null)
    {
        (IPv6Number number, _, bool v6) = Parse(address);
        NeighbourTable table = Switch.Segment.Neighbours;
        NeighbourKey key = v6 ? table.Key6(port, number.High, number.Low) : NeighbourTable.Key4(port, (uint)number.Low);
        Assert.True(Writer.SetNeighbour(in key, Value(mac ?? PeerMac(port))));
        return this;
    }

    /// <summary>A route by a gateway that is a neighbour of an interface.</summary>
    public RouteLab Via(string prefix, int port, string gateway, ushort mtu = 0) => Route(1, prefix, Gateway(port, gateway, mtu));

    public static NextHopRecord Gateway(int port, string gateway, ushort mtu = 0)
    {
        (IPv6Number number, _, bool v6) = Parse(gateway);
        return new NextHopRecord { Kind = v6 ? NextHopKind.Gateway6 : NextHopKind.Gateway4, Port = (ushort)port, Gateway = number, Mtu = mtu };
    }

    public RouteLab Route(string prefix, NextHopKind kind) => Route(1, prefix, new NextHopRecord { Kind = kind });

    public RouteLab Route(int vrf, string prefix, NextHopRecord hop) => Route(vrf, prefix, NextHop(hop));

    /// <summary>Adds a route or changes its next hop.</summary>
    public RouteLab Route(int vrf, string prefix, uint hop)
    {
        (IPv6Number address, int length, bool v6) = Parse(prefix);
        Writer.Begin();
        if (v6)
        {
            Writer.SetRoute6(vrf, RoutePrefix.Of6(address.High, address.Low, length), (int)hop);
        }
        else
        {
            Writer.SetRoute4(vrf, RoutePrefix.Of4((uint)address.Low, length), (int)hop);
        }
        Writer.Commit();
        return this;
    }

    /// <summary>A next hop's index.</summary>
    public uint NextHop(NextHopRecord hop)
    {
        Writer.Begin();
        Writer.SetNextHop((int)++_lastHop, hop);
        Writer.Commit();
        return _lastHop;
    }

    /// <summary>Several next hops, in turn in the buckets of a group. Its index.</summary>
    public uint Group(int group, params uint[] hops)
    {
        var record = new NextHopGroup();
        for (int i = 0; i < NextHopGroup.Buckets; i++)
        {
            record.Members[i] = hops[i % hops.Length];
        }
        Writer.Begin();
        Writer.SetNextHopGroup(group, record);
        Writer.Commit();
        return NextHop(new NextHopRecord { Kind = NextHopKind.Group, Group = (ushort)group });
    }

    /// <summary>A packet from a neighbour to the router, by way of an interface.</summary>
    public static byte[] ToRouter(int port, Ip packet, int neighbour = 2) => packet.In(MacOf(port), PeerMac(port, neighbour));

    /// <summary>Sends packets to the router.</summary>
    public RouteLab Send(int port, params Ip[] packets)
    {
        Switch.Send(port, [.. packets.Select(packet => ToRouter(port, packet))]);
        return this;
    }

    /// <summary>What came out of a port since the last call.</summary>
    public List<byte[]> Take(int port) => Switch.Take(port);

    /// <summary>The one packet that came out of a port since the last call.</summary>
    public Ip TakeOne(int port) => Ip.Of(Assert.Single(Take(port)));

    public static ulong Value(string mac) => MacAddress.Parse(mac).Value;

    public void Dispose() => Switch.Dispose();

    private static IPv6Number Mask(int length) => new(length == 0 ? 0 : ulong.MaxValue << (64 - Math.Min(64, length)),
        length <= 64 ? 0 : ulong.MaxValue << (128 - length));

    /// <summary>An address with or without the length of its prefix; IPv4 in the lower half.</summary>
    internal static (IPv6Number Address, int Length, bool V6) Parse(string text)
    {
        string[] parts = text.Split('/');
        byte[] bytes = IPAddress.Parse(parts[0]).GetAddressBytes();
        ulong high = 0, low = 0;
        foreach (byte b in bytes)
        {
            high = (high << 8) | (low >> 56);
            low = (low << 8) | b;
        }
        bool v6 = bytes.Length == 16;
        return (new IPv6Number(high, low), parts.Length > 1 ? int.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture) : v6 ? 128 : 32, v6);
    }
}
