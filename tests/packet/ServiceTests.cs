using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// Services: what a client sends to their address arrives at a backend as if it had been sent there, and what the backend sends comes to
/// the client as if the service had. Both are compared byte for byte with the packet that somebody there would have made.
/// </summary>
public sealed class ServiceTests
{
    /// <summary>Clients are on port 1, backends on port 2, and the world is on port 3.</summary>
    private sealed record Net(string Client, string Other, string Vip, string Backend, string Second, string Far, string Router2)
    {
        public static readonly Net V4 = new("10.0.1.2", "10.0.1.3", "10.96.0.1", "10.0.2.10", "10.0.2.11", "198.51.100.7", "10.0.2.1");
        public static readonly Net V6 = new("fd00:1::2", "fd00:1::3", "fd96::1", "fd00:2::10", "fd00:2::11", "2001:db8:1::7", "fd00:2::1");
    }

    private const byte Syn = Inet.Syn, Ack = Inet.Ack, SynAck = Syn | Ack, Rst = 4;

    public static TheoryData<byte, bool> Protocols => new() { { 6, false }, { 6, true }, { 17, false }, { 17, true }, { 132, false }, { 132, true } };

    [Theory, MemberData(nameof(Protocols))]
    public void A_connection_goes_to_a_backend_and_back(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        (Ip, Ip)[] packets =
        [
            (First(protocol, net.Client, net.Vip, 40000, 80), First(protocol, net.Client, net.Backend, 40000, 8080)),
            (Next(protocol, net.Client, net.Vip, 40000, 80), Next(protocol, net.Client, net.Backend, 40000, 8080)),
            (Next(protocol, net.Client, net.Vip, 40000, 80, 1000), Next(protocol, net.Client, net.Backend, 40000, 8080, 1000)),
        ];
        foreach ((Ip sent, Ip expected) in packets)
        {
            lab.Send(1, sent);
            Assert.Equal(expected with { Ttl = 63 }, lab.TakeOne(2));
            lab.Send(2, Answer(protocol, net.Backend, net.Client, 8080, 40000));
            Assert.Equal(Answer(protocol, net.Vip, net.Client, 80, 40000) with { Ttl = 63 }, lab.TakeOne(1));
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>They begin together, know their way without a second packet, and leave in the order in which they came, with what else came in between.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void All_connections_of_a_burst_begin(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080)).Service(protocol, At(net.Vip, 81));
        int[] ports = [.. Enumerable.Range(40_000, 20), 40_003, .. Enumerable.Range(40_020, 20), 40_039];
        List<Ip> sent = [.. ports.Select(port => First(protocol, net.Client, net.Vip, port, 80))];
        sent.Insert(10, First(protocol, net.Client, net.Vip, 50_000, 81));
        sent.Insert(30, First(protocol, net.Client, net.Far, 50_000, 80));
        lab.Send(1, [.. sent]);

        Assert.Equal(ports.Select(port => First(protocol, net.Client, net.Backend, port, 8080) with { Ttl = 63 }), lab.Take(2).Select(Ip.Of));
        Assert.Equal(net.Far, lab.TakeOne(3).Destination);
        Assert.Equal(net.Client, lab.TakeOne(1).Destination); // a refusal
        Assert.Equal("1 ServiceNoBackend 1", lab.Switch.Drops());
        List<ConnectionEntry> made = lab.Switch.Segment.Connections.List();
        Assert.Equal(ports.Distinct(), made.Select(entry => (int)entry.Key.SourcePort).Order());
        uint verdicts = lab.Switch.Engine.Workers[0].Vrf(1).Verdicts;
        Assert.All(made, entry => Assert.True(entry.Route != 0 && entry.VerdictGeneration == verdicts && (entry.Flags & ConnectionFlags.HalfOpen) != 0));
        lab.Send(2, Answer(protocol, net.Backend, net.Client, 8080, 40_003));
        Assert.Equal(Answer(protocol, net.Vip, net.Client, 80, 40_003) with { Ttl = 63 }, lab.TakeOne(1));
    }

    /// <summary>Backends that come and go change nothing for a connection that has one.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_connection_keeps_its_backend(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(net.Backend, 53));
        lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53));
        Assert.Equal(net.Backend, lab.TakeOne(2).Destination);
        lab.Service(17, At(net.Vip, 53), At(net.Second, 5353));
        for (int i = 0; i < 3; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53));
            Assert.Equal(Ip.OfUdp(net.Client, net.Backend, 5000, 53) with { Ttl = 63 }, lab.TakeOne(2));
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5001 + i, 53));
            Assert.Equal(Ip.OfUdp(net.Client, net.Second, 5001 + i, 5353) with { Ttl = 63 }, lab.TakeOne(2));
        }
    }

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Connections_are_shared_out_by_weight(bool v6, bool maglev)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), r => r, maglev, (At(net.Backend, 53), 3), (At(net.Second, 53), 1));
        const int Flows = 4000;
        var counts = new Dictionary<string, int> { [net.Backend] = 0, [net.Second] = 0 };
        for (int i = 0; i < Flows; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 10000 + i, 53));
            counts[lab.TakeOne(2).Destination]++;
        }
        // 4.5 standard deviations of a binomial distribution.
        Assert.InRange(counts[net.Backend], (Flows * 3 / 4) - 124, (Flows * 3 / 4) + 124);
    }

    /// <summary>A client keeps its backend for some time, whatever port it has, and whatever becomes of the service.</summary>
    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true)]
    public void A_client_keeps_its_backend(bool v6, bool maglev)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        (string, int)[] both = [(At(net.Backend, 53), 1), (At(net.Second, 53), 1)];
        Func<FrontendRecord, FrontendRecord> affinity = r => r with { Flags = r.Flags | FrontendFlags.Affinity, AffinitySeconds = 100 };
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), affinity, maglev, both);
        string? first = null;
        for (int port = 5000; port < 5050; port++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, port, 53));
            string backend = lab.TakeOne(2).Destination;
            Assert.Equal(first ??= backend, backend);
        }
        lab.Service(17, At(net.Vip, 53), affinity, maglev, (At(first == net.Backend ? net.Second : net.Backend, 53), 1));
        for (int i = 0; i < 4; i++)
        {
            lab.Switch.Clock.Advance(TimeSpan.FromSeconds(60));
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 6000 + i, 53));
            Assert.Equal(first, lab.TakeOne(2).Destination);
        }
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(101));
        lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 7000, 53));
        Assert.NotEqual(first, lab.TakeOne(2).Destination);
    }

    /// <summary>A backend is gone and its connections are to end: both sides are told, and a client that begins anew gets another one.</summary>
    [Theory, InlineData(6, false), InlineData(6, true), InlineData(132, false), InlineData(132, true)]
    public void Connections_end_with_their_backend_where_that_is_wanted(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80)).Send(2, Answer(protocol, net.Backend, net.Client, 8080, 40000))
            .Send(1, Next(protocol, net.Client, net.Vip, 40000, 80));
        Assert.Equal((2, 1), (lab.Take(2).Count, lab.Take(1).Count));
        lab.Service(protocol, At(net.Vip, 80), At(net.Second, 8080));
        ConnectionSweep sweep = lab.Switch.Segment.ConnectionSweep;
        sweep.Add(1, BackendRemoval.Reset);
        ulong request = sweep.Request();
        for (int turn = 0; turn < 1000 && !sweep.IsDone(request); turn++)
        {
            lab.Switch.Engine.Housekeeping.RunOnce();
        }
        Assert.True(sweep.IsDone(request));

        Ip packet = Next(protocol, net.Client, net.Vip, 40000, 80);
        lab.Send(1, packet);
        CheckRefusal(lab.TakeOne(1), packet, protocol, net);
        lab.Send(2, Next(protocol, net.Backend, net.Client, 8080, 40000));
        Assert.Equal((net.Client, net.Backend, protocol == 6 ? Rst : 6), Ending(lab.TakeOne(2), protocol));
        Assert.Empty(lab.Take(1));
        Assert.Equal("1 ConnectionReset 1, 2 ConnectionReset 1", lab.Switch.Drops());

        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80));
        Assert.Equal(net.Second, lab.TakeOne(2).Destination);
    }

    /// <summary>Who ends a connection, towards whom, and by what TCP flags or chunk.</summary>
    private static (string, string, int) Ending(Ip packet, byte protocol) => (packet.Source, packet.Destination, packet.Payload[protocol == 6 ? 13 : 12]);

    /// <summary>What is refused is answered in the service's name, to the station that sent it, and makes no connection.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void A_service_without_backends_says_so(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80));
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80));
        CheckRefusal(lab.TakeOne(1), First(protocol, net.Client, net.Vip, 40000, 80), protocol, net);
        Assert.Equal("1 ServiceNoBackend 1", lab.Switch.Drops());
        Assert.Equal(0, lab.Switch.Segment.Connections.Statistics().Connections);
    }

    /// <summary>Nobody else has this address: what is sent to another port of it gets an answer, too.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void Another_port_of_a_service_says_so(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080)).ServiceAddress(net.Vip);
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 81));
        CheckRefusal(lab.TakeOne(1), First(protocol, net.Client, net.Vip, 40000, 81), protocol, net);
        Assert.Equal("1 ServiceNotServed 1", lab.Switch.Drops());
    }

    /// <summary>A client whose connection nobody knows (any more) is told, so that it begins anew.</summary>
    [Theory, InlineData(6, false), InlineData(6, true), InlineData(132, false), InlineData(132, true)]
    public void The_middle_of_an_unknown_connection_is_refused(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        Ip packet = Next(protocol, net.Client, net.Vip, 40000, 80);
        lab.Send(1, packet);
        CheckRefusal(lab.TakeOne(1), packet, protocol, net);
        Assert.Equal("1 NoConnection 1", lab.Switch.Drops());
    }

    [Theory, InlineData(false), InlineData(true)]
    public void No_reset_is_answered_by_another(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(6, At(net.Vip, 80)).Service(132, At(net.Vip, 80));
        lab.Send(1, Ip.OfTcp(net.Client, net.Vip, 40000, 80, Rst), Ip.OfTcp(net.Client, net.Vip, 40000, 80, Rst | Ack),
            Ip.OfSctp(net.Client, net.Vip, 40000, 80, 6), Ip.OfSctp(net.Client, net.Vip, 40000, 80, 14));
        Assert.Empty(lab.Take(1));
        Assert.Equal("1 NoConnection 4", lab.Switch.Drops());
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_damaged_SYN_is_not_answered(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(6, At(net.Vip, 80));
        Ip packet = Ip.OfTcp(net.Client, net.Vip, 40000, 80, Syn);
        packet.Payload[7] ^= 1;
        lab.Send(1, packet);
        Assert.Empty(lab.Take(1));
    }

    [Theory, InlineData(false, true), InlineData(true, true), InlineData(false, false), InlineData(true, false)]
    public void A_ping_is_answered_where_that_is_wanted(bool v6, bool wanted)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(6, At(net.Vip, 80), At(net.Backend, 8080)).ServiceAddress(net.Vip, wanted);
        lab.Send(1, Ip.OfEcho(net.Client, net.Vip));
        Ip answer = lab.TakeOne(1);
        Assert.True(answer.IsPayloadGood);
        Assert.Equal(wanted ? v6 ? 129 : 0 : v6 ? 1 : 3, answer.Payload[0]);
        Assert.Equal(net.Client, answer.Destination);
        Assert.Equal(wanted ? "" : "1 ServiceNotServed 1", lab.Switch.Drops());
        Assert.Equal(wanted, answer.Source == net.Vip);
    }

    /// <summary>A backend that speaks to itself by way of the service must answer the router, or it would answer itself.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void A_backend_reaches_itself(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        lab.Send(2, First(protocol, net.Backend, net.Vip, 40000, 80));
        Assert.Equal(First(protocol, net.Router2, net.Backend, 40000, 8080) with { Ttl = 63 }, lab.TakeOne(2));
        lab.Send(2, Answer(protocol, net.Backend, net.Router2, 8080, 40000));
        Assert.Equal(Answer(protocol, net.Vip, net.Backend, 80, 40000) with { Ttl = 63 }, lab.TakeOne(2));
    }

    /// <summary>So must a backend that would answer its client on their common link.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_client_on_the_backends_link_is_answered_by_the_service(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(net.Backend, 53));
        lab.Send(2, Ip.OfUdp(net.Second, net.Vip, 5000, 53));
        Ip asked = lab.TakeOne(2);
        Assert.Equal(Ip.OfUdp(net.Router2, net.Backend, 5000, 53) with { Ttl = 63 }, asked);
        lab.Send(2, Ip.OfUdp(net.Backend, net.Router2, 53, 5000));
        Assert.Equal(Ip.OfUdp(net.Vip, net.Second, 53, 5000) with { Ttl = 63 }, lab.TakeOne(2));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_client_gets_the_routers_address_where_the_service_says_so(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), r => r with { Flags = r.Flags | FrontendFlags.SourceNat }, At(net.Backend, 53));
        lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53), Ip.OfUdp(net.Other, net.Vip, 5000, 53));
        List<byte[]> asked = lab.Take(2);
        Assert.Equal(2, asked.Count);
        Assert.All(asked, frame => Assert.Equal(net.Router2, Ip.Of(frame).Source));
        // Two clients with one port: the second one gets another.
        int[] ports = [.. asked.Select(frame => (int)Ip.Of(frame).Word(0))];
        Assert.Equal(5000, ports[0]);
        Assert.InRange(ports[1], 1024, 65535);
        lab.Send(2, Ip.OfUdp(net.Backend, net.Router2, 53, ports[1]), Ip.OfUdp(net.Backend, net.Router2, 53, ports[0]));
        Assert.Equal([Ip.OfUdp(net.Vip, net.Other, 53, 5000) with { Ttl = 63 }, Ip.OfUdp(net.Vip, net.Client, 53, 5000) with { Ttl = 63 }],
            lab.Take(1).Select(Ip.Of));
    }

    /// <summary>One port of a client, two services, one backend: its answers must be told apart.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Two_services_of_one_backend_are_told_apart(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(net.Backend, 53)).Service(17, At(net.Vip, 54), At(net.Backend, 53));
        lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53), Ip.OfUdp(net.Client, net.Vip, 5000, 54));
        Ip[] asked = [.. lab.Take(2).Select(Ip.Of)];
        Assert.Equal(2, asked.Length);
        Assert.Equal(5000, asked[0].Word(0));
        Assert.NotEqual(5000, asked[1].Word(0));
        Assert.All(asked, packet => Assert.Equal((net.Client, true), (packet.Source, packet.IsPayloadGood)));
        lab.Send(2, Ip.OfUdp(net.Backend, net.Client, 53, asked[1].Word(0)));
        Assert.Equal(Ip.OfUdp(net.Vip, net.Client, 54, 5000) with { Ttl = 63 }, lab.TakeOne(1));
    }

    /// <summary>Direct server return: the packet goes the backend's way as it is.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void With_direct_server_return_the_packet_stays_as_it_is(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), r => r with { Flags = r.Flags | FrontendFlags.Dsr }, At(net.Backend, 53));
        for (int i = 0; i < 3; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53));
            byte[] frame = Assert.Single(lab.Take(2));
            Assert.Equal(Ip.OfUdp(net.Client, net.Vip, 5000, 53) with { Ttl = 63 }, Ip.Of(frame));
            Assert.Equal(PeerMac(2, 10), new MacAddress(System.Runtime.InteropServices.MemoryMarshal.Read<ulong>(frame) & MacAddress.Mask).ToString());
        }
    }

    /// <summary>And goes on doing so when its backend is removed.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void With_direct_server_return_a_connection_keeps_its_backend(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        Func<FrontendRecord, FrontendRecord> dsr = r => r with { Flags = r.Flags | FrontendFlags.Dsr };
        using RouteLab lab = Lab().Service(6, At(net.Vip, 80), dsr, At(net.Backend, 80));
        lab.Send(1, First(6, net.Client, net.Vip, 40000, 80)).Send(1, Next(6, net.Client, net.Vip, 40000, 80));
        Assert.Equal(2, lab.Take(2).Count);
        lab.Service(6, At(net.Vip, 80), dsr, At(net.Second, 80)).RemoveBackend(6, At(net.Vip, 80), At(net.Backend, 80));
        lab.Send(1, Next(6, net.Client, net.Vip, 40000, 80));
        Assert.Equal(PeerMac(2, 10), new MacAddress(System.Runtime.InteropServices.MemoryMarshal.Read<ulong>(Assert.Single(lab.Take(2))) & MacAddress.Mask).ToString());
    }

    /// <summary>An error about a packet that was translated speaks of the packet that its sender sent.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void Errors_are_translated_both_ways(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80));
        Ip atBackend = lab.TakeOne(2);
        lab.Send(2, Answer(protocol, net.Backend, net.Client, 8080, 40000));
        Ip atClient = lab.TakeOne(1);

        lab.Send(2, Error(net.Backend, net.Client, atBackend));
        Ip told = lab.TakeOne(1);
        Assert.Equal(Error(net.Vip, net.Client, First(protocol, net.Client, net.Vip, 40000, 80) with { Ttl = 63 }, sctp: atBackend) with { Ttl = 63 }, told);

        lab.Send(1, Error(net.Client, net.Vip, atClient));
        Assert.Equal(Error(net.Client, net.Backend, Answer(protocol, net.Backend, net.Client, 8080, 40000) with { Ttl = 63 }, sctp: atClient) with { Ttl = 63 },
            lab.TakeOne(2));
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>The router's own errors quote what was sent, for it is the sender who reads them.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Errors_of_the_router_quote_the_packet_as_it_came(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(net.Backend, 53));
        Ip packet = Ip.OfUdp(net.Client, net.Vip, 5000, 53) with { Ttl = 1 };
        lab.Send(1, packet);
        Ip error = lab.TakeOne(1);
        Assert.Equal(v6 ? 3 : 11, error.Payload[0]);
        Assert.Equal(packet, Ip.OfBytes(error.Payload[8..]));
    }

    /// <summary>A packet that waits for the backend's address is held as it came, and translated when it goes on.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_packet_that_waited_is_translated(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        string unknown = v6 ? "fd00:2::99" : "10.0.2.99";
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(unknown, 53));
        lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53));
        lab.Switch.Poll();
        Assert.NotEmpty(lab.Take(2)); // the question
        lab.Neighbour(2, unknown, PeerMac(2, 99));
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(1));
        lab.Switch.Poll();
        Ip[] sent = [.. lab.Take(2).Where(f => f[12] == (v6 ? 0x86 : 0x08) && f[13] != 6).Select(Ip.Of).Where(p => p.Protocol == 17)];
        Assert.Equal([Ip.OfUdp(net.Client, unknown, 5000, 53) with { Ttl = 63 }], sent);
    }

    /// <summary>A connection that has gone the fast way follows its route when that changes, and keeps its backend.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_route_that_changes_is_followed(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(17, At(net.Vip, 53), At(net.Backend, 5353));
        for (int i = 0; i < 3; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53)).Send(2, Ip.OfUdp(net.Backend, net.Client, 5353, 5000));
        }
        Assert.Equal((3, 3), (lab.Take(2).Count, lab.Take(1).Count));
        lab.Service(17, At(net.Vip, 53), At(net.Second, 53)).Via(net.Backend, 3, v6 ? "2001:db8::fe" : "192.0.2.254");
        for (int i = 0; i < 3; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Client, net.Vip, 5000, 53));
            Assert.Equal(Ip.OfUdp(net.Client, net.Backend, 5000, 5353) with { Ttl = 63 }, lab.TakeOne(3));
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>What decides where packets go makes connections look for their way again; all else leaves them alone.</summary>
    [Fact]
    public void Only_ways_make_verdicts_old()
    {
        using RouteLab lab = Lab();
        uint Verdicts() => lab.Switch.Segment.Vrf(1, lab.Switch.Segment.Generation).Verdicts;
        uint before = Verdicts();
        lab.Service(17, "10.96.0.1:53", "10.0.2.10:53").ServiceAddress("10.96.0.1").Neighbour(2, "10.0.2.12").Service(17, "10.96.0.1:53");
        uint hop = lab.NextHop(Gateway(3, "192.0.2.253"));
        Assert.Equal(before, Verdicts());
        foreach (Action change in (Action[])[() => lab.Route(1, "203.0.113.0/24", hop), () => lab.Change(2, r => r with { Mtu = 1400 }), () => lab.Group(1, hop), () => lab.Tracks()])
        {
            change();
            Assert.NotEqual(before, before = Verdicts());
        }
    }

    /// <summary>What is for no service is routed as ever, with no connection.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void Other_packets_are_routed_as_they_are(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        Ip packet = Next(protocol, net.Client, net.Backend, 40000, 80);
        lab.Send(1, packet);
        Assert.Equal(packet with { Ttl = 63 }, lab.TakeOne(2));
        Assert.Equal(0, lab.Switch.Segment.Connections.Statistics().Connections);
    }

    private static RouteLab Lab()
    {
        RouteLab lab = new RouteLab().Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64").Routed(3, "192.0.2.1/24", "2001:db8::1/64");
        return lab.Neighbour(1, "10.0.1.2").Neighbour(1, "10.0.1.3", PeerMac(1, 3)).Neighbour(1, "fd00:1::2").Neighbour(1, "fd00:1::3", PeerMac(1, 3))
            .Neighbour(2, "10.0.2.10", PeerMac(2, 10)).Neighbour(2, "10.0.2.11", PeerMac(2, 11))
            .Neighbour(2, "fd00:2::10", PeerMac(2, 10)).Neighbour(2, "fd00:2::11", PeerMac(2, 11))
            .Neighbour(3, "192.0.2.254").Neighbour(3, "2001:db8::fe").Via("0.0.0.0/0", 3, "192.0.2.254").Via("::/0", 3, "2001:db8::fe")
            .Tracks();
    }

    /// <summary>What begins a connection.</summary>
    private static Ip First(byte protocol, string source, string destination, int from, int to) => protocol switch
    {
        6 => Ip.OfTcp(source, destination, from, to, Syn, [2, 4, 5, 180]),
        17 => Ip.OfUdp(source, destination, from, to),
        _ => Ip.OfSctp(source, destination, from, to, 1, 16),
    };

    /// <summary>What goes on.</summary>
    private static Ip Next(byte protocol, string source, string destination, int from, int to, int payload = 30) => protocol switch
    {
        6 => Ip.OfTcp(source, destination, from, to, Ack, payload: payload),
        17 => Ip.OfUdp(source, destination, from, to, payload),
        _ => Ip.OfSctp(source, destination, from, to, 0, payload & ~3),
    };

    /// <summary>What comes back.</summary>
    private static Ip Answer(byte protocol, string source, string destination, int from, int to) => protocol switch
    {
        6 => Ip.OfTcp(source, destination, from, to, SynAck, [2, 4, 5, 180]),
        17 => Ip.OfUdp(source, destination, from, to, 77),
        _ => Ip.OfSctp(source, destination, from, to, 2, 20),
    };

    /// <summary>That a port is unreachable, or with IPv6 that a packet was too big.</summary>
    private static Ip Error(string source, string destination, Ip quoted, Ip? sctp = null)
    {
        byte[] bytes = quoted.ToBytes();
        if (sctp is { Protocol: 132 })
        {
            // The checksum of what an error quotes of SCTP stays as it was.
            sctp.Payload.AsSpan(8, 4).CopyTo(bytes.AsSpan((quoted.IsV6 ? 40 : 20) + 8));
        }
        return Ip.OfIcmp(source, destination, quoted.IsV6 ? (byte)2 : (byte)3, quoted.IsV6 ? (byte)0 : (byte)3, [0, 0, 5, 0, .. bytes]);
    }

    private static void CheckRefusal(Ip answer, Ip packet, byte protocol, Net net)
    {
        Assert.Equal((net.Vip, net.Client), (answer.Source, answer.Destination));
        switch (protocol)
        {
            case 6:
                // RFC 9293, 3.10.7.1: acknowledges what was sent, or is in the sequence that was acknowledged.
                bool acknowledges = (packet.Payload[13] & Ack) == 0;
                Assert.True(answer.IsPayloadGood);
                Assert.Equal((packet.Word(2), packet.Word(0)), (answer.Word(0), answer.Word(2)));
                Assert.Equal(acknowledges ? Rst | Ack : Rst, answer.Payload[13]);
                Assert.Equal(acknowledges ? "0000000000000002" : "0000000000000000", Convert.ToHexString(answer.Payload, 4, 8));
                Assert.Equal(20, answer.Payload.Length);
                break;
            case 132:
                bool isInit = packet.Payload[12] == 1;
                byte[] tag = isInit ? packet.Payload[16..20] : packet.Payload[4..8];
                Assert.Equal(Ip.OfSctp(net.Vip, net.Client, packet.Word(2), packet.Word(0), 6, 0, isInit ? (byte)0 : (byte)1, tag).Payload, answer.Payload);
                break;
            default:
                Assert.True(answer.IsPayloadGood);
                Assert.Equal(packet.IsV6 ? (1, 4) : (3, 3), (answer.Payload[0], answer.Payload[1]));
                Assert.Equal(packet, Ip.OfBytes(answer.Payload[8..]));
                break;
        }
    }
}
