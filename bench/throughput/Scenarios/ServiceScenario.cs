using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// Services between two networks: clients on one port send to virtual addresses, backends on the other port answer. Every packet has its
/// addresses and ports rewritten and its checksums corrected, both ways. Each service has one backend, so that it is known beforehand who
/// answers.
/// </summary>
/// <param name="flows">UDP flows.</param>
/// <param name="known">
/// All flows are known connections. Else there is room for few of them, and nobody answers: each packet begins a new connection, in the
/// place of another one that was not answered.
/// </param>
public sealed unsafe class ServiceScenario(int flows, bool known = true) : Scenario(known ? "service" : "service, new connections", flows)
{
    private const int Vrf = 1, Clients = FirstPort, Backends = FirstPort + 1, ClientGateway = 1, BackendGateway = 2;
    private const int Services = 10;
    private const ushort ServicePort = 80, BackendPort = 8080;
    private const int LeastConnections = 16_384;

    /// <summary>10.64.0.0/10 are clients, 10.128.0.0/16 backends, 10.96.0.0/16 services.</summary>
    private const uint ClientNet = 0x0A40_0000, BackendNet = 0x0A80_0000, ServiceNet = 0x0A60_0000;
    private const uint ClientSide = 0xC0A8_0102, BackendSide = 0xC0A8_0202;

    public override int PacketsPerPort => Size;

    public override Goal? Goal => !known ? null : Size switch
    {
        <= 1 => new Goal(60, 40),
        <= 1_000 => new Goal(70, 45),
        <= 100_000 => new Goal(130, 90),
        _ => null,
    };

    public override SegmentOptions SegmentOptions => new() { ConnectionCapacity = known ? Math.Max(LeastConnections, Size) : LeastConnections };

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string[] paths = [Path.Combine(directory, "clients.pcap"), Path.Combine(directory, "backends.pcap")];
        Write(paths[0], i => UdpFrame.Of4(Mac(Clients), Peer(Clients), Client(i), ServiceNet + Service(i), ClientPort(i), ServicePort));
        if (known)
        {
            Write(paths[1], i => UdpFrame.Of4(Mac(Backends), Peer(Backends), BackendNet + Service(i), Client(i), BackendPort, ClientPort(i)));
        }
        return known ? paths : paths[..1];
    }

    public override int SendOnlyPorts => known ? 0 : 1;

    public override void Configure(SegmentWriter writer)
    {
        foreach ((int port, int gateway, uint address, uint peer) in ((int, int, uint, uint)[])
            [(Clients, ClientGateway, ClientSide - 1, ClientSide), (Backends, BackendGateway, BackendSide - 1, BackendSide)])
        {
            writer.SetPort(port, new PortRecord { Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Routed, Mtu = Mtu });
            var itf = new InterfaceRecord { Flags = InterfaceFlags.Exists, Mac = Mac(port).Value, Vrf = Vrf, Mtu = Mtu, Count4 = 1 };
            itf.Addresses4[0] = new InterfaceAddress4(address, 0xFFFF_FF00);
            writer.SetInterface(port, in itf);
            writer.SetNextHop(gateway, new NextHopRecord { Kind = NextHopKind.Gateway4, Port = (ushort)port, Gateway = new IPv6Number(0, peer) });
            writer.SetNeighbour(NeighbourTable.Key4(port, peer), Peer(port).Value);
        }
        writer.SetRoute4(Vrf, RoutePrefix.Of4(ClientNet, 10), ClientGateway);
        writer.SetRoute4(Vrf, RoutePrefix.Of4(BackendNet, 16), BackendGateway);
        for (int i = 1; i <= Services; i++)
        {
            writer.SetBackend(i, new BackendRecord { Flags = BackendFlags.Exists, Address = new IPv6Number(0, BackendNet + (uint)i), Port = BackendPort, Service = (uint)i });
            writer.SetFrontend(i, new FrontendRecord
            {
                Key = FrontendKey.Of4(Vrf, Wire.ProtocolUdp, ServiceNet + (uint)i, ServicePort), Flags = FrontendFlags.Exists, Service = (uint)i,
                Set = writer.AddBackendSet([new BackendMember((uint)i, 1, (ulong)i)], maglev: false),
            });
        }
        writer.SetVrfFlags(Vrf, VrfFlags.Tracks);
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        ConnectionStatistics table = segment.Connections.Statistics();
        progress = $"{table.Connections} of {Size} connections, {table.HalfOpen} not answered, {table.Refused} refused";
        // A few of a million find no slot near their home.
        return known ? table.Connections >= Size - (Size / 1000) && table.HalfOpen <= Size / 1000 : table.Evicted > 0;
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
            file.Write(UdpFrame.Summed4(frame(i)));
        }
    }

    private static uint Service(int i) => (uint)(i % Services) + 1;
    private static uint Client(int i) => ClientNet + 2 + (uint)(i / 100);
    private static ushort ClientPort(int i) => (ushort)(10_000 + (i % 100));
    private static MacAddress Mac(int port) => new(0x02 | ((ulong)port << 40));
    private static MacAddress Peer(int port) => new(0x0A | ((ulong)port << 40));
}
