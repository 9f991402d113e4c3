using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Traffic;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// One direction of a network that two nodes share: so many containers on this one, all of them in conversation with one on the
/// other. <see cref="EncapsulationScenario">Encapsulation</see> receives their frames on the first port and sends outer packets by the
/// second; <see cref="DecapsulationScenario">decapsulation</see> receives outer packets on the first and sends frames by the second.
/// </summary>
/// <param name="name">For tables.</param>
/// <param name="addresses">Containers on each side.</param>
/// <param name="packets">Sizes of their frames, to which the outer headers come.</param>
public abstract unsafe class VxlanScenario(string name, int addresses, PacketSizes packets) : Scenario(name, addresses), IOvsWorkload, IVppWorkload
{
    protected const int Here = 0, There = 1;
    protected const uint Vni = 0x1001;
    protected const ushort UdpPort = 4789;

    private const int Bridge = 1, Tunnel = FirstPort + 2, ToSelf = 1, OnLink = 2;
    private const ushort Vrf = 1;
    private const int DefaultMacCapacity = 16_384;
    private const int AgeingSeconds = 300;
    private const string Integration = "br-int", Physical = "br-phy";
    private const uint Subnet = 0xC000_0200; // 192.0.2.0/24
    private const uint Mask = 0xFFFF_FF00;

    /// <summary>Addresses of the nodes' end points, and of their interfaces in the underlay.</summary>
    protected static uint EndPoint(int side) => Subnet + 1 + (uint)side;
    protected static MacAddress Interface(int side) => MacAddress.Parse(side == Here ? "02:00:0e:00:00:01" : "02:00:0e:00:00:02");

    public override int SendOnlyPorts => 1;
    public override IReadOnlyList<int> InnerPorts => [Tunnel];
    public override PacketSizes Packets => packets;
    public override ushort Mtu => (ushort)(packets.Mtu + 100);
    public override int PacketsPerPort => Math.Max(Size, packets.Lengths.Count);
    public override SegmentOptions SegmentOptions => new() { MacCapacity = Math.Max(DefaultMacCapacity, 4 * Size) };

    /// <summary>The containers' port, and the underlay's.</summary>
    protected abstract int Container { get; }
    protected abstract int Underlay { get; }

    /// <summary>The side whose packets arrive; their sources are learned.</summary>
    protected abstract int Sender { get; }

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string path = Path.Combine(directory, "a.pcap");
        int[] order = [.. Enumerable.Range(0, Size)];
        new Random(Sender).Shuffle(order);
        using var file = new PcapWriter(path);
        for (int n = 0; n < PacketsPerPort; n++)
        {
            int i = order[n % Size];
            // 10.0.0.0/9 has the one side's containers, 10.128.0.0/9 the other's.
            uint from = 0x0A00_0000u | ((uint)Sender << 23) | (uint)i, to = 0x0A00_0000u | ((uint)(1 - Sender) << 23) | (uint)i;
            file.Write(OnTheWire(UdpFrame.Of4(MacPairs.Address(1 - Sender, i), MacPairs.Address(Sender, i), from, to, (ushort)(1024 + (i % 60_000)), 53, packets.Length(n)), i));
        }
        return [path];
    }

    public override void Configure(SegmentWriter writer)
    {
        var bridge = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = Bridge, AgeingSeconds = AgeingSeconds };
        foreach ((int port, PortFlags flags) in new[] { (Container, PortFlags.Default), (Tunnel, PortFlags.Default | PortFlags.Tunnel) })
        {
            writer.SetPort(port, new PortRecord { Flags = flags, Bridge = Bridge, Mtu = Mtu });
            PortSet.Add(ref bridge.Members, port);
        }
        writer.SetBridge(Bridge, in bridge);
        writer.SetPort(Underlay, new PortRecord { Flags = PortFlags.Default | PortFlags.Routed, Mtu = Mtu });
        var itf = new InterfaceRecord { Flags = InterfaceFlags.Exists, Vrf = Vrf, Mtu = Mtu, Mac = Interface(Here).Value, Count4 = 1 };
        itf.Addresses4[0] = new InterfaceAddress4(EndPoint(Here), Mask);
        writer.SetInterface(Underlay, itf);
        writer.SetNextHop(ToSelf, new NextHopRecord { Kind = NextHopKind.Local, Port = (ushort)Underlay });
        writer.SetNextHop(OnLink, new NextHopRecord { Kind = NextHopKind.Connected, Port = (ushort)Underlay });
        writer.SetRoute4(Vrf, RoutePrefix.Of4(EndPoint(Here), 32), ToSelf);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(Subnet, 24), OnLink);
        writer.SetNeighbour(NeighbourTable.Key4(Underlay, EndPoint(There)), Interface(There).Value);
        writer.SetTunnel(Tunnel, new TunnelRecord
        {
            Flags = TunnelFlags.Exists, Vni = Vni, Vrf = Vrf, UdpPort = UdpPort, Ttl = 64,
            Local = new IPv6Number(0, EndPoint(Here)), Remote = new IPv6Number(0, EndPoint(There)),
        });
        // Where the packets go must be known; where they come from is learned.
        for (int i = 0; i < Size; i++)
        {
            writer.SetStaticMac(MacTable.Key(Bridge, MacPairs.Address(1 - Sender, i).Value), (ushort)(Sender == Here ? Tunnel : Container), MacFlags.Static);
        }
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        int known = segment.BridgeRuntime[Bridge].Learned;
        progress = $"{known} of {Size} addresses learned";
        return known >= Size - 8; // some may have found no slot near their bucket
    }

    public void Configure(OvsProcess ovs, IReadOnlyList<OvsDevice> devices)
    {
        ovs.Configure("add-br", Physical, "--", "set", "bridge", Physical, "datapath_type=netdev", $"other_config:hwaddr={Interface(Here)}",
            "--", "add-br", Integration, "--", "set", "bridge", Integration, "datapath_type=netdev", "other_config:mac-table-size=1000000");
        // A packet to an address that it has not learned goes by the one other port, and not to the bridge's own as well.
        ovs.Do("ovs-ofctl", "mod-port", $"unix:{ovs.FileOf($"{Integration}.mgmt")}", Integration, "no-flood"); // "LOCAL" is not known by every version
        ovs.Inside("ip", "address", "add", $"{Text(EndPoint(Here))}/24", "dev", Physical);
        ovs.Inside("ip", "link", "set", Physical, "up");
        ovs.Configure([
            .. devices[Underlay - FirstPort].AddTo(Physical, "underlay")[1..],
            .. devices[Container - FirstPort].AddTo(Integration, "container"),
            "--", "add-port", Integration, "tunnel", "--", "set", "interface", "tunnel", "type=vxlan", $"options:remote_ip={Text(EndPoint(There))}",
            $"options:local_ip={Text(EndPoint(Here))}", $"options:key={Vni}", $"options:dst_port={UdpPort}",
        ]);
        ovs.Ask("tnl/neigh/set", Physical, Text(EndPoint(There)), $"{Interface(There)}");
    }

    IEnumerable<string> IVppWorkload.VppCommands(IReadOnlyList<string> ports)
    {
        const string VppTunnel = "vxlan_tunnel0";
        string container = ports[Container - FirstPort], underlay = ports[Underlay - FirstPort];
        return
        [
            $"set interface ip address {underlay} {Text(EndPoint(Here))}/24",
            $"set ip neighbor {underlay} {Text(EndPoint(There))} {Interface(There)} static",
            $"create vxlan tunnel src {Text(EndPoint(Here))} dst {Text(EndPoint(There))} vni {Vni} instance 0 decap-next l2",
            $"set interface ip vxlan-bypass {underlay}",
            $"create bridge-domain {Bridge} mac-age {AgeingSeconds / 60}",
            $"set interface l2 bridge {container} {Bridge}",
            $"set interface l2 bridge {VppTunnel} {Bridge}",
            .. Enumerable.Range(0, Size).Select(i => $"l2fib add {MacPairs.Address(1 - Sender, i)} {Bridge} {(Sender == Here ? VppTunnel : container)} static"),
        ];
    }

    bool IVppWorkload.IsSettled(VppProcess vpp) => VppOutput.Learned(vpp.Ask("show l2fib")) >= Size;

    /// <summary>A frame of a container as it arrives.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="flow">Its number.</param>
    protected abstract byte[] OnTheWire(byte[] frame, int flow);

    private static string Text(uint address) => $"{address >> 24}.{(byte)(address >> 16)}.{(byte)(address >> 8)}.{(byte)address}";
}

/// <summary>Bridge to tunnel.</summary>
public sealed class EncapsulationScenario(int addresses, PacketSizes packets) : VxlanScenario("encapsulation", addresses, packets)
{
    public override Goal? Goal => Size switch { < 1000 => new Goal(60, 40), < 100_000 => new Goal(70, 50), _ => new Goal(130, 90) };
    protected override int Container => FirstPort;
    protected override int Underlay => FirstPort + 1;
    protected override int Sender => Here;

    protected override byte[] OnTheWire(byte[] frame, int flow) => frame;
}

/// <summary>Tunnel to bridge.</summary>
public sealed class DecapsulationScenario(int addresses, PacketSizes packets) : VxlanScenario("decapsulation", addresses, packets)
{
    public override Goal? Goal => Size switch { < 1000 => new Goal(70, 45), < 100_000 => new Goal(80, 55), _ => new Goal(140, 100) };
    protected override int Container => FirstPort + 1;
    protected override int Underlay => FirstPort;
    protected override int Sender => There;

    protected override byte[] OnTheWire(byte[] frame, int flow) =>
        UdpFrame.InVxlan(frame, Interface(Here), Interface(There), EndPoint(There), EndPoint(Here), (ushort)(0xC000 | (flow & 0x3FFF)), UdpPort, Vni);
}
