using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// All there is on one flow: clients in containers of a bridge send to a virtual address by way of their router; the backend that
/// is chosen is behind a VXLAN tunnel of the same network. So a packet is bridged, rewritten, routed and encapsulated, and an answer
/// decapsulated, bridged, rewritten, routed and bridged again. Packets and answers come in equal numbers.
/// </summary>
/// <param name="flows">UDP flows.</param>
public sealed unsafe class ServiceOverTunnelScenario(int flows) : Scenario("service + route + VXLAN", flows)
{
    private const int Bridge = 1, Vrf = 1, UnderlayVrf = 2;
    private const int Container = FirstPort, Underlay = FirstPort + 1, Tunnel = FirstPort + 2, Router = FirstPort + 3;
    private const int ToClients = 1, ToBackend = 2, ToSelf = 3, OnLink = 4;
    private const int FlowsOfClient = 100;
    private const int LeastConnections = 16_384;
    private const ushort ServicePort = 80, BackendPort = 8080, VxlanPort = 4789;
    private const uint Vni = 0x1001;

    /// <summary>10.64.0.0/16 are clients, 10.65.0.2 is the backend, 10.96.0.1 the service; the underlay is 192.0.2.0/24.</summary>
    private const uint RouterAddress = 0x0A40_0001, BackendNet = 0x0A41_0000, Backend = 0x0A41_0002, Service = 0x0A60_0001;
    private const uint UnderlayNet = 0xC000_0200, Here = UnderlayNet + 1, There = UnderlayNet + 2;

    private static readonly MacAddress s_router = MacAddress.Parse("02:00:0a:00:00:01"), s_peer = MacAddress.Parse("02:00:0a:00:00:02");
    private static readonly MacAddress s_here = MacAddress.Parse("02:00:0e:00:00:01"), s_there = MacAddress.Parse("02:00:0e:00:00:02");

    public override int PacketsPerPort => Size;
    public override ushort Mtu => 1600;
    public override IReadOnlyList<int> InnerPorts => [Tunnel, Router];
    public override SegmentOptions SegmentOptions => new() { ConnectionCapacity = Math.Max(LeastConnections, Size) };

    public override Goal? Goal => Size switch
    {
        <= 1 => new Goal(80, 50),
        <= 1_000 => new Goal(90, 60),
        <= 100_000 => new Goal(160, 110),
        _ => null,
    };

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string[] paths = [Path.Combine(directory, "clients.pcap"), Path.Combine(directory, "answers.pcap")];
        Write(paths[0], i => UdpFrame.Summed4(UdpFrame.Of4(s_router, ClientMac(i), Client(i), Service, ClientPort(i), ServicePort)));
        Write(paths[1], i => UdpFrame.InVxlan(
            UdpFrame.Summed4(UdpFrame.Of4(s_router, s_peer, Backend, Client(i), BackendPort, ClientPort(i))),
            s_here, s_there, There, Here, (ushort)(0xC000 | (i & 0x3FFF)), VxlanPort, Vni));
        return paths;
    }

    public override void Configure(SegmentWriter writer)
    {
        var bridge = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = Bridge, AgeingSeconds = 300, RouterPort = Router, Mac = s_router.Value };
        foreach ((int port, PortFlags flags) in ((int, PortFlags)[])
            [(Container, PortFlags.Default), (Tunnel, PortFlags.Default | PortFlags.Tunnel), (Router, PortFlags.Exists | PortFlags.Enabled | PortFlags.Router)])
        {
            writer.SetPort(port, new PortRecord { Flags = flags, Bridge = Bridge, Mtu = Mtu });
            PortSet.Add(ref bridge.Members, port);
        }
        writer.SetBridge(Bridge, in bridge);
        writer.SetStaticMac(MacTable.Key(Bridge, s_router.Value), Router, MacFlags.Static);
        SetInterface(writer, Router, Vrf, s_router, RouterAddress, 0xFFFF_0000);
        writer.SetNextHop(ToClients, new NextHopRecord { Kind = NextHopKind.Connected, Port = Router });
        writer.SetNextHop(ToBackend, new NextHopRecord { Kind = NextHopKind.Adjacency, Port = Tunnel, Mtu = 1450, Mac = s_peer.Value, SourceMac = s_router.Value });
        writer.SetRoute4(Vrf, RoutePrefix.Of4(RouterAddress & 0xFFFF_0000, 16), ToClients);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(BackendNet, 16), ToBackend);
        for (int i = 0; i < Size; i += FlowsOfClient)
        {
            writer.SetNeighbour(NeighbourTable.Key4(Router, Client(i)), ClientMac(i).Value);
        }
        writer.SetBackend(1, new BackendRecord { Flags = BackendFlags.Exists, Address = new IPv6Number(0, Backend), Port = BackendPort, Service = 1 });
        writer.SetFrontend(1, new FrontendRecord
        {
            Key = FrontendKey.Of4(Vrf, Wire.ProtocolUdp, Service, ServicePort), Flags = FrontendFlags.Exists, Service = 1,
            Set = writer.AddBackendSet([new BackendMember(1, 1, 1)], maglev: false),
        });
        writer.SetVrfFlags(Vrf, VrfFlags.Tracks);

        writer.SetPort(Underlay, new PortRecord { Flags = PortFlags.Default | PortFlags.Routed, Mtu = Mtu });
        SetInterface(writer, Underlay, UnderlayVrf, s_here, Here, 0xFFFF_FF00);
        writer.SetNextHop(ToSelf, new NextHopRecord { Kind = NextHopKind.Local, Port = Underlay });
        writer.SetNextHop(OnLink, new NextHopRecord { Kind = NextHopKind.Connected, Port = Underlay });
        writer.SetRoute4(UnderlayVrf, RoutePrefix.Of4(Here, 32), ToSelf);
        writer.SetRoute4(UnderlayVrf, RoutePrefix.Of4(UnderlayNet, 24), OnLink);
        writer.SetNeighbour(NeighbourTable.Key4(Underlay, There), s_there.Value);
        writer.SetTunnel(Tunnel, new TunnelRecord
        {
            Flags = TunnelFlags.Exists, Vni = Vni, Vrf = UnderlayVrf, UdpPort = VxlanPort, Ttl = 64,
            Local = new IPv6Number(0, Here), Remote = new IPv6Number(0, There),
        });
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        ConnectionStatistics table = segment.Connections.Statistics();
        progress = $"{table.Connections} of {Size} connections, {table.HalfOpen} not answered, {table.Refused} refused";
        // A few of a million find no slot near their home.
        return table.Connections >= Size - (Size / 1000) && table.HalfOpen <= Size / 1000;
    }

    private static void SetInterface(SegmentWriter writer, int port, ushort vrf, MacAddress mac, uint address, uint mask)
    {
        var itf = new InterfaceRecord { Flags = InterfaceFlags.Exists, Vrf = vrf, Mtu = 1600, Mac = mac.Value, Count4 = 1 };
        itf.Addresses4[0] = new InterfaceAddress4(address, mask);
        writer.SetInterface(port, in itf);
    }

    /// <summary>A packet of each flow, in an order that says nothing about where a table keeps it, the same each time.</summary>
    private void Write(string path, Func<int, byte[]> frame)
    {
        const int Seed = 768;
        int[] order = [.. Enumerable.Range(0, Size)];
        new Random(Seed).Shuffle(order);
        using var file = new PcapWriter(path);
        foreach (int i in order)
        {
            file.Write(frame(i));
        }
    }

    private static uint Client(int i) => RouterAddress + 1 + (uint)(i / FlowsOfClient);
    private static ushort ClientPort(int i) => (ushort)(10_000 + (i % FlowsOfClient));
    private static MacAddress ClientMac(int i) => new(0x02 | ((ulong)(1 + (i / FlowsOfClient)) << 24));
}
