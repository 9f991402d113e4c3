using Dataplane.PacketTests.Harness;

namespace Dataplane.SystemTests.Nat;

/// <summary>What a packet is for.</summary>
public enum NatTraffic
{
    /// <summary>From a client to a service or to the world.</summary>
    FromClient,
    /// <summary>The answer.</summary>
    FromServer,
    /// <summary>An ICMP error about a client's packet.</summary>
    ErrorToClient,
    /// <summary>An ICMP error about a server's packet.</summary>
    ErrorToServer,
    /// <summary>To a port of the router that belongs to nobody.</summary>
    Unsolicited,
    /// <summary>From the world to a host by its own address, and back.</summary>
    Direct,
}

/// <summary>Makes up traffic, gives it to two routers, and compares what they pass on.</summary>
public sealed class NatOracle
{
    private readonly NatNet _net;
    private readonly INatRouter[] _routers;
    private readonly Random _random;
    private readonly Dictionary<(byte, End, End), NatFlow> _flows = [];
    // By router: what it has made of a flow's client, and whose an outer end is towards a server.
    private readonly Dictionary<NatFlow, End>[] _outer = [[], []];
    private readonly Dictionary<(byte, End, End), NatFlow>[] _owners = [[], []];
    private readonly int[] _passed = new int[Enum.GetValues<NatTraffic>().Length];

    public NatOracle(NatNet net, INatRouter oracle, INatRouter router, Random random)
    {
        _net = net;
        _routers = [oracle, router];
        _random = random;
    }

    /// <summary>Clients whose port a router replaced, though not necessarily both.</summary>
    public int OtherPorts { get; private set; }

    public int Passed(NatTraffic kind) => _passed[(int)kind];

    /// <summary>One packet, of whatever kind.</summary>
    public void Step()
    {
        NatFlow flow = Pick();
        switch (_random.Next(20))
        {
            case < 9:
                SendFromClient(flow);
                break;
            case < 15:
                SendFromServer(flow);
                break;
            case 15 or 16:
                SendErrorToClient(flow);
                break;
            case 17:
                SendErrorToServer(flow);
                break;
            case 18:
                SendUnsolicited();
                break;
            default:
                SendDirect();
                break;
        }
    }

    /// <summary>A flow; few ports, so that it was there before, or meets others outside.</summary>
    private NatFlow Pick()
    {
        byte protocol = _random.Next(5) switch { 0 => _net.IsV6 ? Ip.Icmp6 : Ip.Icmp4, 1 or 2 => Ip.Tcp, _ => Ip.Udp };
        int port = 5000 + _random.Next(20);
        bool toService = protocol is Ip.Tcp or Ip.Udp && _random.Next(2) == 0;
        string[] clients = toService ? [.. _net.Hosts, .. _net.Servers, .. _net.World[..2]] : _net.Hosts;
        var client = new End(clients[_random.Next(clients.Length)], port);
        End to, server;
        if (toService)
        {
            to = new End(_net.Vip, protocol == Ip.Tcp ? 80 : 53);
            server = protocol == Ip.Tcp ? new End(_net.Servers[1], 8080) : new End(_net.Servers[0], 5353);
        }
        else
        {
            to = server = new End(_net.World[_random.Next(2)], protocol is Ip.Tcp or Ip.Udp ? 80 : 0);
        }
        var key = (protocol, client, to);
        if (!_flows.TryGetValue(key, out NatFlow? flow))
        {
            _flows[key] = flow = new NatFlow(protocol, client, to, server);
        }
        return flow;
    }

    private void SendFromClient(NatFlow flow)
    {
        bool begins = flow.Phase is TcpPhase.Closed or TcpPhase.TimeWait;
        Ip packet = flow.FromClient(_random);
        (int Link, Ip Packet)[] passed = Exchange(NatTraffic.FromClient, flow.Client.Address, _ => packet);
        (End From, End To, Ip Others)[] read = [.. passed.Select(p => flow.Read(p.Packet, isReply: false))];
        AssertSame(passed[0].Link, passed[1].Link, flow);
        Assert.Equal((passed[0].Link, flow.Server), (_net.StationOf(flow.Server.Address).Link, read[0].To));
        Assert.Equal(read[0].To, read[1].To);
        Assert.Equal(read[0].From.Address, read[1].From.Address);
        AssertSame(read[0].Others, read[1].Others, flow);
        for (int router = 0; router < 2; router++)
        {
            Note(router, flow, read[router].From, begins);
        }
        OtherPorts += begins && read.Any(r => r.From.Port != flow.Client.Port) ? 1 : 0;
    }

    /// <summary>A client stays who it is while its connection lasts, and no two are one.</summary>
    private void Note(int router, NatFlow flow, End outer, bool begins)
    {
        if (_outer[router].TryGetValue(flow, out End before) && before != outer)
        {
            Assert.True(begins && flow.Protocol == Ip.Tcp, $"{flow} was {before} and is {outer}");
            _owners[router].Remove((flow.Protocol, before, flow.Server));
        }
        _outer[router][flow] = outer;
        var key = (flow.Protocol, outer, flow.Server);
        if (_owners[router].TryGetValue(key, out NatFlow? other) && other != flow)
        {
            Assert.True(other.Phase is TcpPhase.Closed or TcpPhase.TimeWait && other.Protocol == Ip.Tcp, $"{outer} is {flow} and {other}");
            _outer[router].Remove(other);
        }
        _owners[router][key] = flow;
    }

    private void SendFromServer(NatFlow flow)
    {
        if (!IsKnown(flow) || flow.FromServer(_random) is not { } answer)
        {
            return;
        }
        (int Link, Ip Packet)[] passed = Exchange(NatTraffic.FromServer, flow.Server.Address, router => answer(_outer[router][flow]));
        AssertSame(passed[0], passed[1], flow);
        (End from, End to, _) = flow.Read(passed[1].Packet, isReply: true);
        Assert.Equal((flow.To, flow.Client), (from, to));
    }

    /// <summary>From the server, or from a router on the way to it.</summary>
    private void SendErrorToClient(NatFlow flow)
    {
        if (!IsKnown(flow))
        {
            return;
        }
        string speaker = _net.StationOf(flow.Server.Address).Link == NatNet.Outside ? _net.World[2] : flow.Server.Address;
        (byte type, byte code) = Error();
        (int Link, Ip Packet)[] passed = Exchange(NatTraffic.ErrorToClient, speaker, router =>
            Error(speaker, _outer[router][flow].Address, type, code, flow.Quoted(_outer[router][flow], flow.Server, isReply: false)));
        AssertSame(passed[0], passed[1], flow);
        Assert.Equal(flow.Client.Address, passed[1].Packet.Destination);
    }

    private void SendErrorToServer(NatFlow flow)
    {
        if (!IsKnown(flow))
        {
            return;
        }
        (byte type, byte code) = Error();
        Ip error = Error(flow.Client.Address, flow.To.Address, type, code, flow.Quoted(flow.To, flow.Client, isReply: true));
        (int Link, Ip Packet)[] passed = Exchange(NatTraffic.ErrorToServer, flow.Client.Address, _ => error);
        AssertSame(passed[0].Link, passed[1].Link, flow);
        Assert.Equal(flow.Server.Address, passed[1].Packet.Destination);
        if (_outer[0][flow] == _outer[1][flow])
        {
            AssertSame(passed[0], passed[1], flow);
        }
    }

    /// <summary>Whatever the router itself says to it, it is for nobody inside.</summary>
    private void SendUnsolicited()
    {
        // From whom nobody has called.
        Ip packet = Ip.OfUdp(_net.World[2], _net.Masqueraded, 80, 5000 + _random.Next(100));
        foreach (INatRouter router in _routers)
        {
            Assert.DoesNotContain(router.Exchange(NatNet.Outside, 2, packet), passed => passed.Link != NatNet.Outside);
        }
        _passed[(int)NatTraffic.Unsolicited]++;
    }

    /// <summary>Who is called by its own address answers by it, masqueraded or not.</summary>
    private void SendDirect()
    {
        string world = _net.World[_random.Next(2)], host = _net.Hosts[_random.Next(_net.Hosts.Length)];
        int from = 9000 + _random.Next(10), to = 7777;
        Ip call = Ip.OfUdp(world, host, from, to), answer = Ip.OfUdp(host, world, to, from);
        foreach (Ip packet in (Ip[])[call, answer, call])
        {
            (int Link, Ip Packet)[] passed = Exchange(NatTraffic.Direct, packet.Source, _ => packet);
            Assert.Equal(passed[0], passed[1]);
            Assert.Equal(packet with { Ttl = 63 }, passed[1].Packet);
        }
    }

    /// <summary>Both routers pass one packet on.</summary>
    private (int Link, Ip Packet)[] Exchange(NatTraffic kind, string source, Func<int, Ip> packet)
    {
        (int link, int station) = _net.StationOf(source);
        var passed = new List<(int, Ip)>[2];
        for (int router = 0; router < 2; router++)
        {
            passed[router] = _routers[router].Exchange(link, station, packet(router));
        }
        Assert.True(passed[0].Count == 1 && passed[1].Count == 1,
            $"{kind}: of {packet(0)}\nthe kernel makes {string.Join(", ", passed[0])}\nthe switch {string.Join(", ", passed[1])}; dropped: {(_routers[1] as SwitchRouter)?.Drops}");
        _passed[(int)kind]++;
        return [passed[0][0], passed[1][0]];
    }

    private bool IsKnown(NatFlow flow) => flow.HasBegun && _outer[0].ContainsKey(flow) && _outer[1].ContainsKey(flow)
        && (flow.Protocol != Ip.Tcp || flow.Phase is not (TcpPhase.Closed or TcpPhase.TimeWait));

    private static void AssertSame<T>(T kernel, T own, NatFlow flow) =>
        Assert.True(EqualityComparer<T>.Default.Equals(kernel, own), $"{flow}\nthe kernel: {kernel}\nthe switch: {own}");

    /// <summary>Unreachable port, or time exceeded.</summary>
    private (byte Type, byte Code) Error() => (_net.IsV6, _random.Next(2)) switch
    {
        (false, 0) => (3, 3),
        (false, _) => (11, 0),
        (true, 0) => (1, 4),
        _ => (3, 0),
    };

    private static Ip Error(string source, string destination, byte type, byte code, Ip quoted) =>
        Ip.OfIcmp(source, destination, type, code, [0, 0, 0, 0, .. quoted.ToBytes()]);
}
