using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// Services whose backends are on another node: what clients send is translated, routed into a VXLAN network and encapsulated; answers come in outer
/// packets, are decapsulated, routed and translated back.
/// </summary>
/// <param name="flows">UDP flows, all of them known connections.</param>
/// <param name="packets">Sizes of the inner packets.</param>
public sealed class ServiceOverVxlanScenario(int flows, PacketSizes packets) : ServiceScenario(flows, packets, name: "service over VXLAN")
{
    private const int Tunnel = FirstPort + 2, Router = FirstPort + 3, Bridge = 1, ToSelf = 3, Underlay = 4;
    private const uint Vni = 0x1001;

    /// <summary>The other node's router in the overlay, where a router needs its address: 192.168.3.2.</summary>
    private const uint OverlaySide = 0xC0A8_0302;

    private const ushort UdpPort = 4789;
    private const string OvsPhysical = "br-phy", VppRouter = "loop0";

    /// <summary>Router of the overlay here, and on the other node.</summary>
    private static readonly MacAddress s_here = MacAddress.Parse("02:de:00:00:00:01"), s_there = MacAddress.Parse("02:de:00:00:00:02");

    public override IReadOnlyList<int> InnerPorts => [Tunnel, Router];

    public override string? KernelObstacle(int connections) => "is not set up for it";

    public override ushort Mtu => LinkMtu;

    public override Harness.Goal? Goal => Size switch
    {
        <= 1 => new(80, 50),
        <= 1_000 => new(90, 60),
        <= 100_000 => new(160, 110),
        _ => null,
    };

    protected override MacAddress AnswerTo => s_here;
    protected override MacAddress AnswerFrom => s_there;

    protected override byte[] FromBackend(byte[] frame, int flow) =>
        UdpFrame.InVxlan(frame, Mac(Backends), Peer(Backends), BackendSide, BackendSide - 1, (ushort)(0xC000 | (flow & 0x3FFF)), UdpPort, Vni);

    protected override void ConfigureBackends(SegmentWriter writer)
    {
        ConfigureLink(writer, Backends, Underlay, BackendSide);
        writer.SetNextHop(ToSelf, new NextHopRecord { Kind = NextHopKind.Local, Port = Backends });
        writer.SetRoute4(Vrf, RoutePrefix.Of4(BackendSide - 1, 32), ToSelf);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(BackendSide, 32), Underlay);

        var bridge = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = Bridge, AgeingSeconds = 300, RouterPort = Router, Mac = s_here.Value };
        writer.SetPort(Tunnel, new PortRecord { Flags = PortFlags.Default | PortFlags.Tunnel, Bridge = Bridge, Mtu = Mtu });
        writer.SetPort(Router, new PortRecord { Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Router | PortFlags.AcceptUntagged, Bridge = Bridge, Mtu = Mtu });
        PortSet.Add(ref bridge.Members, Tunnel);
        PortSet.Add(ref bridge.Members, Router);
        writer.SetBridge(Bridge, in bridge);
        writer.SetStaticMac(MacTable.Key(Bridge, s_here.Value), Router, MacFlags.Static);
        writer.SetInterface(Router, new InterfaceRecord { Flags = InterfaceFlags.Exists, Mac = s_here.Value, Vrf = Vrf, Mtu = Packets.Mtu });
        writer.SetTunnel(Tunnel, new TunnelRecord
        {
            Flags = TunnelFlags.Exists, Vni = Vni, Vrf = Vrf, UdpPort = UdpPort, Ttl = 64,
            Local = new IPv6Number(0, BackendSide - 1), Remote = new IPv6Number(0, BackendSide),
        });
        writer.SetNextHop(BackendGateway, new NextHopRecord { Kind = NextHopKind.Adjacency, Port = Tunnel, Mac = s_there.Value, SourceMac = s_here.Value, Mtu = Packets.Mtu });
    }

    public override void Configure(OvsProcess ovs, IReadOnlyList<OvsDevice> devices)
    {
        ovs.Configure("add-br", OvsPhysical, "--", "set", "bridge", OvsPhysical, "datapath_type=netdev", $"other_config:hwaddr={Mac(Backends)}",
            "--", "add-br", OvsBridge, "--", "set", "bridge", OvsBridge, "datapath_type=netdev");
        ovs.Inside("ip", "address", "add", $"{Text(BackendSide - 1)}/24", "dev", OvsPhysical);
        ovs.Inside("ip", "link", "set", OvsPhysical, "up");
        ovs.Configure([
            .. devices[1].AddTo(OvsPhysical, "underlay")[1..],
            .. devices[0].AddTo(OvsBridge, "clients"), $"ofport_request={Clients}",
            "--", "add-port", OvsBridge, "tunnel", "--", "set", "interface", "tunnel", "type=vxlan", $"options:remote_ip={Text(BackendSide)}",
            $"options:local_ip={Text(BackendSide - 1)}", $"options:key={Vni}", $"options:dst_port={UdpPort}", $"ofport_request={Backends}",
        ]);
        ovs.Ask("tnl/neigh/set", OvsPhysical, Text(BackendSide), $"{Peer(Backends)}");
        Translate(ovs);
    }

    public override (string Clients, string Backends) VppSides(IReadOnlyList<string> ports) => (ports[0], VppRouter);

    public override IEnumerable<string> VppCommands(IReadOnlyList<string> ports)
    {
        const string VppTunnel = "vxlan_tunnel0";
        return
        [
            .. Link(ports[0], ClientSide, Peer(Clients)), .. Link(ports[1], BackendSide, Peer(Backends)),
            $"create vxlan tunnel src {Text(BackendSide - 1)} dst {Text(BackendSide)} vni {Vni} instance 0 decap-next l2",
            $"set interface ip vxlan-bypass {ports[1]}",
            $"create bridge-domain {Bridge}",
            $"create loopback interface mac {s_here} instance 0",
            $"set interface l2 bridge {VppRouter} {Bridge} bvi",
            $"set interface l2 bridge {VppTunnel} {Bridge}",
            $"set interface state {VppRouter} up",
            $"l2fib add {s_there} {Bridge} {VppTunnel} static",
            .. Link(VppRouter, OverlaySide, s_there),
            $"ip route add {Text(BackendNet)}/16 via {Text(OverlaySide)} {VppRouter}",
            VppRouteToClients(ports[0]),
        ];
    }
}
