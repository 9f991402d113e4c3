using System.Globalization;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Kernel;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Traffic;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>Of which connections the packets of <see cref="ServiceScenario"/> are.</summary>
public enum ServiceTraffic
{
    /// <summary>Of known ones, both ways.</summary>
    Known,
    /// <summary>Of known ones, and as many between the same hosts of none.</summary>
    Mixed,
    /// <summary>Nobody answers, and there is room for few: each packet begins a connection, in the place of another one that was not answered.</summary>
    Evicting,
    /// <summary>Nobody answers, and there is room for all: each packet begins a connection until all are there; then the table is emptied.</summary>
    Filling,
}

/// <summary>
/// Services between two networks: clients on one port send to virtual addresses, backends on the other port answer. Every packet has its
/// addresses and ports rewritten and its checksums corrected, both ways. Each service has one backend, so that it is known beforehand who
/// answers.
/// </summary>
/// <param name="flows">UDP flows.</param>
/// <param name="packets">Their sizes.</param>
/// <param name="traffic">Of which connections the packets are.</param>
/// <param name="name">See <see cref="Scenario.Name"/>; null for what the traffic is called.</param>
public class ServiceScenario(int flows, PacketSizes packets, ServiceTraffic traffic = ServiceTraffic.Known, string? name = null) : Scenario(name ?? NameOf(traffic), flows), IOvsWorkload, IVppServiceWorkload, IKernelWorkload
{
    /// <summary>The two ports.</summary>
    protected const int Clients = FirstPort, Backends = FirstPort + 1;

    protected const int Vrf = 1, ClientGateway = 1, BackendGateway = 2;

    /// <summary>Of Open vSwitch: the bridge with the flows, and the numbers of its ports.</summary>
    protected const string OvsBridge = "bench";

    private const int Services = 10;
    private const ushort ServicePort = 80, BackendPort = 8080;
    private const int LeastConnections = 16_384;

    /// <summary>10.64.0.0/10 are clients, 10.128.0.0/16 backends, 10.96.0.0/16 services.</summary>
    private const uint ClientNet = 0x0A40_0000, ServiceNet = 0x0A60_0000;
    protected const uint BackendNet = 0x0A80_0000;
    protected const uint ClientSide = 0xC0A8_0102;

    /// <summary>The neighbour behind which the backends are; the address before it is the switch's.</summary>
    protected const uint BackendSide = 0xC0A8_0202;

    /// <summary>Backends answer.</summary>
    private bool IsAnswered => traffic is ServiceTraffic.Known or ServiceTraffic.Mixed;

    public override PacketSizes Packets => packets;

    public override int PacketsPerPort => (traffic == ServiceTraffic.Mixed ? 2 : 1) * PacketsOfServices;

    /// <summary>One flow takes part with packets of every length of a mix.</summary>
    private int PacketsOfServices => Math.Max(Size, packets.Lengths.Count);

    public override Goal? Goal => traffic != ServiceTraffic.Known ? null : Size switch
    {
        <= 1 => new Goal(60, 40),
        <= 1_000 => new Goal(70, 45),
        <= 100_000 => new Goal(130, 90),
        _ => null,
    };

    public override SegmentOptions SegmentOptions => new()
    {
        ConnectionCapacity = traffic switch
        {
            ServiceTraffic.Evicting => LeastConnections,
            ServiceTraffic.Filling => Size + LeastConnections,
            _ => Math.Max(LeastConnections, Size),
        },
    };

    public override bool FillsConnections => traffic == ServiceTraffic.Filling;

    public string? OvsObstacle => MakesNoRoom ?? ((IsAnswered ? 2 : 1) * PacketsPerPort > OvsDpdkSubject.MostPackets ? "has no buffers for so many packets" : null);

    /// <summary>Of those of none they would have connections, too.</summary>
    private string? MakesNoRoom => traffic switch
    {
        ServiceTraffic.Evicting => "makes no room in a full table",
        ServiceTraffic.Mixed => "tracks what is for no service, too",
        _ => null,
    };

    IReadOnlyList<KernelLink> IKernelWorkload.Links =>
    [
        new($"{Mac(Clients)}", $"{Text(ClientSide - 1)}/24", Text(ClientSide), $"{Peer(Clients)}", $"{Text(ClientNet)}/10"),
        new($"{Mac(Backends)}", $"{Text(BackendSide - 1)}/24", Text(BackendSide), $"{Peer(Backends)}", $"{Text(BackendNet)}/16"),
    ];

    /// <summary>As kube-proxy has it: a map from what a packet is addressed to, to a chain for each backend.</summary>
    string IKernelWorkload.Rules => string.Create(CultureInfo.InvariantCulture, $$"""
        table ip bench {
          {{string.Join("\n  ", Numbers.Select(i => $"chain backend{i} {{ meta l4proto udp dnat to {Text(BackendNet + i)}:{BackendPort}; }}"))}}
          map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = { {{string.Join(", ", Numbers.Select(i => $"{Text(ServiceNet + i)} . udp . {ServicePort} : goto backend{i}"))}} } }
          chain prerouting { type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @services; }
        }
        """);

    private static IEnumerable<uint> Numbers => Enumerable.Range(1, Services).Select(i => (uint)i);

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string[] paths = [Path.Combine(directory, "clients.pcap"), Path.Combine(directory, "backends.pcap")];
        Write(paths[0], (i, length) => UdpFrame.Of4(Mac(Clients), Peer(Clients), Client(i), ServiceNet + Service(i), ClientPort(i), ServicePort, length),
            (i, length) => UdpFrame.Of4(Mac(Clients), Peer(Clients), Client(i), Other(i), ClientPort(i), BackendPort, length), (frame, _) => frame);
        if (IsAnswered)
        {
            Write(paths[1], (i, length) => UdpFrame.Of4(AnswerTo, AnswerFrom, BackendNet + Service(i), Client(i), BackendPort, ClientPort(i), length),
                (i, length) => UdpFrame.Of4(AnswerTo, AnswerFrom, Other(i), Client(i), BackendPort, ClientPort(i), length), FromBackend);
        }
        return IsAnswered ? paths : paths[..1];
    }

    public override int SendOnlyPorts => IsAnswered ? 0 : 1;

    public override void Configure(SegmentWriter writer)
    {
        ConfigureLink(writer, Clients, ClientGateway, ClientSide);
        ConfigureBackends(writer);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(ClientNet, 10), ClientGateway);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(BackendNet, 16), BackendGateway);
        foreach (uint i in Numbers)
        {
            writer.SetBackend((int)i, new BackendRecord { Flags = BackendFlags.Exists, Address = new IPv6Number(0, BackendNet + i), Port = BackendPort, Protocol = Wire.ProtocolUdp, Service = i });
            writer.SetFrontend((int)i, new FrontendRecord
            {
                Key = FrontendKey.Of4(Vrf, Wire.ProtocolUdp, ServiceNet + i, ServicePort), Flags = FrontendFlags.Exists, Service = i,
                Set = writer.AddBackendSet([new BackendMember(i, 1, i)], maglev: false),
            });
        }
        writer.SetVrfFlags(Vrf, VrfFlags.Tracks);
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        ConnectionStatistics table = segment.Connections.Statistics();
        progress = $"{table.Connections} of {Size} connections, {table.HalfOpen} not answered, {table.Refused} refused";
        // A few of a million find no slot near their home.
        return traffic == ServiceTraffic.Evicting
            ? table.Evicted > 0
            : table.Connections >= Size - (Size / 1000) && (!IsAnswered || table.HalfOpen <= Size / 1000);
    }

    public bool IsSettled(OvsProcess ovs) => OvsConnections.Count(ovs) >= Size;

    public string? VppObstacle => MakesNoRoom;

    IReadOnlyList<VppService> IVppServiceWorkload.VppServices =>
        [.. Numbers.Select(i => new VppService(Text(ServiceNet + i), ServicePort, Text(BackendNet + i), BackendPort))];

    int IVppServiceWorkload.VppConnections => Size + LeastConnections;

    public virtual (string Clients, string Backends) VppSides(IReadOnlyList<string> ports) => (ports[0], ports[1]);

    public virtual string? KernelObstacle(int connections) => traffic switch
    {
        ServiceTraffic.Known when Size > connections / 2 => "has no room for so many connections",
        ServiceTraffic.Evicting when Size < 2 * connections => "has room for all of these connections, or most",
        ServiceTraffic.Filling => "has a table that is not emptied here",
        ServiceTraffic.Mixed => MakesNoRoom,
        _ => null,
    };

    public virtual void Configure(OvsProcess ovs, IReadOnlyList<OvsDevice> devices)
    {
        ovs.Configure([
            "add-br", OvsBridge, "--", "set", "bridge", OvsBridge, "datapath_type=netdev",
            .. devices[0].AddTo(OvsBridge, "clients"), $"ofport_request={Clients}",
            .. devices[1].AddTo(OvsBridge, "backends"), $"ofport_request={Backends}",
        ]);
        Translate(ovs);
    }

    /// <summary>
    /// What the packets meet: a look-up among the connections with translation, then the way out, as a router has it. What begins a connection is committed
    /// with its backend first.
    /// </summary>
    protected void Translate(OvsProcess ovs)
    {
        string toBackends = $"mod_dl_src:{AnswerTo},mod_dl_dst:{AnswerFrom},dec_ttl,output:{Backends}";
        string flows = ovs.FileOf("flows");
        File.WriteAllLines(flows,
        [
            "table=0,priority=1,udp,actions=ct(nat,table=1)",
            $"table=1,priority=2,in_port={Clients},udp,ct_state=+trk+est,actions={toBackends}",
            .. Numbers.Select(i => $"table=1,priority=1,in_port={Clients},udp,nw_dst={Text(ServiceNet + i)},tp_dst={ServicePort},ct_state=+trk+new,"
                + $"actions=ct(commit,nat(dst={Text(BackendNet + i)}:{BackendPort}),table=2)"),
            $"table=1,priority=1,in_port={Backends},udp,ct_state=+trk+est,actions=mod_dl_src:{Mac(Clients)},mod_dl_dst:{Peer(Clients)},dec_ttl,output:{Clients}",
            $"table=2,actions={toBackends}",
        ]);
        ovs.Do("ovs-ofctl", "add-flows", $"unix:{ovs.FileOf($"{OvsBridge}.mgmt")}", flows);
    }

    public virtual IEnumerable<string> VppCommands(IReadOnlyList<string> ports) =>
    [
        .. Link(ports[0], ClientSide, Peer(Clients)), .. Link(ports[1], BackendSide, Peer(Backends)),
        $"ip route add {Text(BackendNet)}/16 via {Text(BackendSide)} {ports[1]}",
        VppRouteToClients(ports[0]),
    ];

    /// <summary>A link of VPP with its neighbour.</summary>
    protected static string[] Link(string port, uint peer, MacAddress mac) =>
        [$"set interface ip address {port} {Text(peer - 1)}/24", $"set ip neighbor {port} {Text(peer)} {mac} static"];

    protected static string VppRouteToClients(string port) => $"ip route add {Text(ClientNet)}/10 via {Text(ClientSide)} {port}";

    /// <summary>What a frame of a backend is addressed to, and by whom it is sent.</summary>
    protected virtual MacAddress AnswerTo => Mac(Backends);
    protected virtual MacAddress AnswerFrom => Peer(Backends);

    /// <summary>A backend's frame as it arrives.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="flow">Its number.</param>
    protected virtual byte[] FromBackend(byte[] frame, int flow) => frame;

    /// <summary>The side of the backends: their port, and next hop <see cref="BackendGateway"/>.</summary>
    protected virtual void ConfigureBackends(SegmentWriter writer) => ConfigureLink(writer, Backends, BackendGateway, BackendSide);

    /// <summary>A routed port with a neighbour, and a next hop by way of it.</summary>
    protected void ConfigureLink(SegmentWriter writer, int port, int gateway, uint peer)
    {
        writer.SetPort(port, new PortRecord { Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Routed, Mtu = LinkMtu });
        var itf = new InterfaceRecord { Flags = InterfaceFlags.Exists, Mac = Mac(port).Value, Vrf = Vrf, Mtu = LinkMtu, Count4 = 1 };
        itf.Addresses4[0] = new InterfaceAddress4(peer - 1, 0xFFFF_FF00);
        writer.SetInterface(port, in itf);
        writer.SetNextHop(gateway, new NextHopRecord { Kind = NextHopKind.Gateway4, Port = (ushort)port, Gateway = new IPv6Number(0, peer) });
        writer.SetNeighbour(NeighbourTable.Key4(port, peer), Peer(port).Value);
    }

    /// <summary>Of the links: outer headers come on top.</summary>
    protected ushort LinkMtu => (ushort)(packets.Mtu + 100);

    /// <summary>MAC addresses of the switch and of its neighbour on a link.</summary>
    protected static MacAddress Mac(int port) => new(0x02 | ((ulong)port << 40));
    protected static MacAddress Peer(int port) => new(0x0A | ((ulong)port << 40));

    protected static string Text(uint address) => $"{address >> 24}.{(byte)(address >> 16)}.{(byte)(address >> 8)}.{(byte)address}";

    /// <summary>A packet of each flow, or as many as the lengths need, in an order that says nothing about where a table keeps it, the same each time.</summary>
    private void Write(string path, Func<int, int, byte[]> frame, Func<int, int, byte[]> other, Func<byte[], int, byte[]> arriving)
    {
        const int Seed = 768;
        int[] order = [.. Enumerable.Range(0, Size)];
        new Random(Seed).Shuffle(order);
        using var file = new PcapWriter(path);
        for (int n = 0; n < PacketsOfServices; n++)
        {
            int i = order[n % Size];
            file.Write(arriving(UdpFrame.Summed4(frame(i, packets.Length(n))), i));
            if (traffic == ServiceTraffic.Mixed)
            {
                file.Write(arriving(UdpFrame.Summed4(other(i, packets.Length(n))), i));
            }
        }
    }

    private static string NameOf(ServiceTraffic traffic) => traffic switch
    {
        ServiceTraffic.Known => "service",
        ServiceTraffic.Mixed => "service, mixed",
        ServiceTraffic.Evicting => "service, new connections in a full table",
        _ => "service, new connections in an emptied table",
    };

    /// <summary>A host beside the backends.</summary>
    private static uint Other(int i) => BackendNet + 0x1000 + (uint)(i % 1000);
    private static uint Service(int i) => (uint)(i % Services) + 1;
    private static uint Client(int i) => ClientNet + 2 + (uint)(i / 100);
    private static ushort ClientPort(int i) => (ushort)(10_000 + (i % 100));
}
