using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Masquerade: hosts behind the router have the addresses of a pool for the world, and nobody can tell.</summary>
public sealed class MasqueradeTests
{
    private sealed record Net(string Host, string Other, string Pool, string Far, string Farther)
    {
        public static readonly Net V4 = new("10.0.1.2", "10.0.1.3", "192.0.2.1", "198.51.100.7", "198.51.100.8");
        public static readonly Net V6 = new("fd00:1::2", "fd00:1::3", "2001:db8::1", "2001:db8:1::7", "2001:db8:1::8");
    }

    private const byte Syn = Inet.Syn, Ack = Inet.Ack, Rst = 4;

    public static TheoryData<byte, bool> Protocols => new() { { 6, false }, { 6, true }, { 17, false }, { 17, true }, { 132, false }, { 132, true } };

    [Theory, MemberData(nameof(Protocols))]
    public void A_connection_keeps_its_port_where_it_can(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net);
        for (int i = 0; i < 3; i++)
        {
            lab.Send(1, Packet(protocol, net.Host, net.Far, 40000, 80, i));
            Assert.Equal(Packet(protocol, net.Pool, net.Far, 40000, 80, i) with { Ttl = 63 }, lab.TakeOne(3));
            lab.Send(3, Packet(protocol, net.Far, net.Pool, 80, 40000, 5));
            Assert.Equal(Packet(protocol, net.Far, net.Host, 80, 40000, 5) with { Ttl = 63 }, lab.TakeOne(1));
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>A port serves as many destinations as there are; another connection to the same one gets another port.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void Ports_are_reused_towards_other_destinations(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net);
        lab.Send(1, Packet(protocol, net.Host, net.Far, 40000, 80), Packet(protocol, net.Other, net.Farther, 40000, 80), Packet(protocol, net.Other, net.Far, 40000, 80));
        Ip[] sent = [.. lab.Take(3).Select(Ip.Of)];
        Assert.Equal([40000, 40000], sent[..2].Select(p => (int)p.Word(0)));
        Assert.NotEqual(40000, sent[2].Word(0));
        Assert.InRange(sent[2].Word(0), 1024, 65535);
        lab.Send(3, Packet(protocol, net.Far, net.Pool, 80, sent[2].Word(0)), Packet(protocol, net.Farther, net.Pool, 80, 40000), Packet(protocol, net.Far, net.Pool, 80, 40000));
        Assert.Equal([net.Other, net.Other, net.Host], lab.Take(1).Select(f => Ip.Of(f).Destination));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void An_echo_keeps_its_identifier_where_it_can(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net, first: 1);
        byte reply = v6 ? (byte)129 : (byte)0;
        lab.Send(1, Ip.OfEcho(net.Host, net.Far), Ip.OfEcho(net.Other, net.Far));
        Ip[] sent = [.. lab.Take(3).Select(Ip.Of)];
        Assert.Equal(Ip.OfEcho(net.Pool, net.Far) with { Ttl = 63 }, sent[0]);
        Assert.True(sent[1].IsPayloadGood);
        int identifier = sent[1].Word(4);
        Assert.NotEqual(77, identifier);
        Ip answer = Ip.OfIcmp(net.Far, net.Pool, reply, 0, [.. Ip.Big16(identifier), 0, 1, 9, 9]);
        lab.Send(3, answer, Ip.OfEcho(net.Far, net.Pool, type: reply));
        Assert.Equal([Ip.OfIcmp(net.Far, net.Other, reply, 0, [.. Ip.Big16(77), 0, 1, 9, 9]) with { Ttl = 63 }, Ip.OfEcho(net.Far, net.Host, type: reply) with { Ttl = 63 }],
            lab.Take(1).Select(Ip.Of));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_protocol_without_ports_has_one_host_for_each_destination(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net);
        lab.Send(1, new Ip(net.Host, net.Far, 47, new byte[8]), new Ip(net.Other, net.Farther, 47, new byte[8]));
        Assert.All(lab.Take(3), f => Assert.Equal(net.Pool, Ip.Of(f).Source));
        lab.Send(3, new Ip(net.Far, net.Pool, 47, new byte[8]), new Ip(net.Farther, net.Pool, 47, new byte[8]));
        Assert.Equal([net.Host, net.Other], lab.Take(1).Select(f => Ip.Of(f).Destination));
        lab.Send(1, new Ip(net.Other, net.Far, 47, new byte[8]));
        Assert.Empty(lab.Take(3));
        Assert.Equal("1 NatPoolExhausted 1", lab.Switch.Drops());
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_pool_that_is_used_up_is_told(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net, first: 2000, last: 2009);
        for (int i = 0; i < 10; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Host, net.Far, 5000 + i, 53));
        }
        int[] ports = [.. lab.Take(3).Select(f => (int)Ip.Of(f).Word(0))];
        Assert.Equal(Enumerable.Range(2000, 10), ports.Order());
        Ip packet = Ip.OfUdp(net.Host, net.Far, 6000, 53);
        lab.Send(1, packet);
        Ip error = lab.TakeOne(1);
        Assert.Equal(v6 ? (1, 1) : (3, 13), (error.Payload[0], error.Payload[1])); // RFC 5508, 4.5
        Assert.Equal(packet, Ip.OfBytes(error.Payload[8..]));
        Assert.Equal("1 NatPoolExhausted 1", lab.Switch.Drops());
        lab.Send(1, Ip.OfUdp(net.Host, net.Farther, 6000, 53));
        Assert.InRange(lab.TakeOne(3).Word(0), 2000, 2009);
    }

    /// <summary>A port is free again as soon as somebody needs it and its connection is over, though that is still remembered.</summary>
    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void A_port_whose_connection_is_over_is_used_again(bool v6, bool isReset)
    {
        const byte Fin = Inet.Fin;
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net, first: 2000, last: 2000);
        lab.Send(1, ToFar(net.Host, Syn)).Send(3, FromFar(Syn | Ack)).Send(1, ToFar(net.Host, Ack));
        Assert.Equal(2, lab.Take(3).Count);
        lab.Take(1);
        lab.Send(1, ToFar(net.Other, Syn));
        Assert.Empty(lab.Take(3));
        Assert.Equal("1 NatPoolExhausted 1", lab.Switch.Drops());
        if (isReset)
        {
            lab.Send(3, FromFar(Rst));
        }
        else
        {
            lab.Send(1, ToFar(net.Host, Fin | Ack)).Send(3, FromFar(Fin | Ack)).Send(1, ToFar(net.Host, Ack));
        }
        Assert.Equal(isReset ? 0 : 2, lab.Take(3).Count);
        lab.Take(1);
        lab.Send(1, ToFar(net.Other, Syn));
        Assert.Equal((net.Pool, 2000), (lab.Take(3).Select(Ip.Of).Select(p => (p.Source, (int)p.Word(0))).Single()));
        lab.Send(3, FromFar(Syn | Ack));
        Assert.Equal(net.Other, lab.TakeOne(1).Destination);

        Ip ToFar(string host, byte flags) => Ip.OfTcp(host, net.Far, 5000, 80, flags);
        Ip FromFar(byte flags) => Ip.OfTcp(net.Far, net.Pool, 80, 2000, flags);
    }

    /// <summary>Endpoint-independent: a host's port is the same one towards everybody, and nobody else's (RFC 4787, 4.1).</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_port_can_be_the_same_towards_everybody(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Build(new RouteLab(), net, [net.Pool], 5000, 5003, NatPoolFlags.EndpointIndependent);
        var ports = new Dictionary<(string, int), int>();
        foreach ((string host, int port) in ((string, int)[])[(net.Host, 5000), (net.Other, 5000), (net.Host, 7000), (net.Other, 7000)])
        {
            for (int i = 0; i < 6; i++)
            {
                lab.Send(1, Ip.OfUdp(host, i % 2 == 0 ? net.Far : net.Farther, port, 50 + i));
                Ip sent = lab.TakeOne(3);
                int outer = ports.TryGetValue((host, port), out int known) ? known : ports[(host, port)] = sent.Word(0);
                Assert.Equal((net.Pool, outer), (sent.Source, sent.Word(0)));
                lab.Send(3, Ip.OfUdp(i % 2 == 0 ? net.Far : net.Farther, net.Pool, 50 + i, outer));
                Assert.Equal((host, port), (Ip.Of(lab.Take(1)[^1]).Destination, port));
            }
        }
        Assert.Equal([5000, 5001, 5002, 5003], ports.Values.Order());
        Assert.Equal(5000, ports[(net.Host, 5000)]);
        lab.Send(1, Ip.OfUdp(net.Host, net.Far, 8000, 53));
        Assert.Equal("1 NatPoolExhausted 1", lab.Switch.Drops());
    }

    /// <summary>Several addresses: a host has one of them for all of its connections, as long as that has ports.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_host_has_one_address_of_several(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        string[] pool = v6 ? ["2001:db8::1", "2001:db8::2", "2001:db8::3"] : ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        using RouteLab lab = Lab(net, pool, first: 1024, last: 1033);
        var used = new HashSet<string>();
        for (int host = 2; host < 22; host++)
        {
            string address = v6 ? $"fd00:1::{host:x}" : $"10.0.1.{host}";
            for (int i = 0; i < 3; i++)
            {
                lab.Send(1, Ip.OfUdp(address, v6 ? $"2001:db8:1::{host:x}:{i}" : $"198.{host}.100.{i}", 1024, 53));
            }
            used.Add(Assert.Single(lab.Take(3).Select(f => Ip.Of(f).Source).Distinct()));
        }
        Assert.Equal(pool.Order(), used.Order());
        for (int i = 0; i < 31; i++)
        {
            lab.Send(1, Ip.OfUdp(net.Host, net.Far, 2000 + i, 53));
        }
        Assert.Equal(30, lab.Take(3).Select(f => (Ip.Of(f).Source, Ip.Of(f).Word(0))).Distinct().Count());
        Assert.Equal("1 NatPoolExhausted 1", lab.Switch.Drops());
        lab.Take(1);
    }

    [Theory, MemberData(nameof(Protocols))]
    public void Errors_find_their_way_in(byte protocol, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net);
        Ip packet = Packet(protocol, net.Host, net.Far, 40000, 80);
        lab.Send(1, packet);
        byte[] quoted = lab.TakeOne(3).ToBytes();
        byte type = v6 ? (byte)3 : (byte)11;
        string router = v6 ? "2001:db8:9::9" : "203.0.113.9";
        lab.Send(3, Ip.OfIcmp(router, net.Pool, type, 0, [0, 0, 0, 0, .. quoted[..(v6 ? 48 : 28)]]));
        byte[] original = (packet with { Ttl = 63 }).ToBytes();
        Assert.Equal(Ip.OfIcmp(router, net.Host, type, 0, [0, 0, 0, 0, .. original[..(v6 ? 48 : 28)]]) with { Ttl = 63 }, lab.TakeOne(1));
    }

    /// <summary>Nothing leaves under an inner address: not an error about nothing known, an answer to nothing, or what cannot be translated.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Nothing_leaks(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab(net);
        byte[] about = Ip.OfUdp(net.Far, net.Host, 53, 5000).ToBytes();
        lab.Send(1,
            Ip.OfIcmp(net.Host, net.Far, v6 ? (byte)1 : (byte)3, v6 ? (byte)4 : (byte)3, [0, 0, 0, 0, .. about]),
            Ip.OfTcp(net.Host, net.Far, 5000, 80, Rst),
            Ip.OfEcho(net.Host, net.Far, type: v6 ? (byte)129 : (byte)0),
            Ip.OfIcmp(net.Host, net.Far, v6 ? (byte)139 : (byte)13, 0, new byte[16]),
            new Ip(net.Host, net.Far, 17, [1, 2, 3, 4]));
        Assert.Empty(lab.Take(3));
        Assert.Equal("1 NoConnection 3, 1 NatUnreadable 2", lab.Switch.Drops());
    }

    /// <summary>A connection whose beginning was not seen goes on: the switch may have been started in the midst of it.</summary>
    [Fact]
    public void The_middle_of_a_connection_is_taken_up()
    {
        using RouteLab lab = Lab(Net.V4);
        lab.Send(1, Ip.OfTcp(Net.V4.Host, Net.V4.Far, 40000, 80, Ack, payload: 10));
        Assert.Equal(Net.V4.Pool, lab.TakeOne(3).Source);
    }

    [Fact]
    public void Only_from_where_it_is_wanted_and_only_out_there()
    {
        using RouteLab lab = Lab(Net.V4);
        lab.Send(2, Ip.OfUdp("10.0.2.10", Net.V4.Far, 5000, 53));
        Assert.Equal("10.0.2.10", lab.TakeOne(3).Source);
        lab.Send(1, Ip.OfUdp(Net.V4.Host, "10.0.2.10", 5000, 53));
        Assert.Equal(Net.V4.Host, lab.TakeOne(2).Source);
    }

    /// <summary>
    /// The host, which has the router's address inside, is masqueraded as others are when it asks, and answers who asked for it under the
    /// address that he asked for.
    /// </summary>
    [Fact]
    public void The_host_asks_as_others_and_answers_as_itself()
    {
        const int Host = 4, Router = 10;
        using var lab = new RouteLab();
        lab.Switch.Port(Host, PortFlags.Default | PortFlags.Host);
        lab.Router(Router, Host, r => r with { AliasMac = Value(RouteFuzzTests.Alias) }, "10.0.5.1/24").Routed(3, "192.0.2.1/24").Neighbour(3, "192.0.2.254").Via("0.0.0.0/0", 3, "192.0.2.254")
            .Masquerade(Router, 3, ["192.0.2.1"]).Tracks();
        lab.Switch.SetStatic(RouteFuzzTests.Alias, Router);
        (Ip Sent, string Source)[] rows =
        [
            (Ip.OfTcp("10.0.5.1", "198.51.100.7", 40000, 80, Syn), "192.0.2.1"),
            (Ip.OfUdp("10.0.5.1", "198.51.100.7", 40000, 53), "192.0.2.1"),
            (Ip.OfTcp("10.0.5.1", "198.51.100.7", 22, 40000, Syn | Ack), "10.0.5.1"),
            (Ip.OfEcho("10.0.5.1", "198.51.100.7", type: 0), "10.0.5.1"),
            (Ip.OfTcp("192.0.2.1", "198.51.100.7", 22, 40000, Syn | Ack), "192.0.2.1"),
            (Ip.OfTcp("192.0.2.1", "198.51.100.7", 2222, 40000, Syn | Ack), "192.0.2.1"),
        ];
        foreach ((Ip sent, string source) in rows)
        {
            lab.Switch.Send(Host, sent.In(RouteFuzzTests.Alias, MacOf(Router)));
            Ip arrived = lab.TakeOne(3);
            Assert.Equal((source, sent.Word(0), sent.Word(2)), (arrived.Source, arrived.Word(0), arrived.Word(2)));
        }
        // What it has begun by itself under an address of the pool, nobody else gets.
        lab.Switch.Send(Host, Ip.OfUdp("192.0.2.1", "198.51.100.7", 50000, 53).In(RouteFuzzTests.Alias, MacOf(Router)));
        lab.Switch.Send(Host, Ip.OfUdp("10.0.5.1", "198.51.100.7", 50000, 53).In(RouteFuzzTests.Alias, MacOf(Router)));
        Ip[] two = [.. lab.Take(3).Select(Ip.Of)];
        Assert.Equal(50000, two[0].Word(0));
        Assert.NotEqual(50000, two[1].Word(0));
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>A service whose backend is out there: both ends are replaced.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Both_ends_can_be_replaced(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        string vip = v6 ? "fd96::1" : "10.96.0.1";
        using RouteLab lab = Lab(net).Service(6, At(vip, 80), At(net.Far, 8080));
        lab.Send(1, Ip.OfTcp(net.Host, vip, 40000, 80, Syn));
        Assert.Equal(Ip.OfTcp(net.Pool, net.Far, 40000, 8080, Syn) with { Ttl = 63 }, lab.TakeOne(3));
        lab.Send(3, Ip.OfTcp(net.Far, net.Pool, 8080, 40000, Syn | Ack));
        Assert.Equal(Ip.OfTcp(vip, net.Host, 80, 40000, Syn | Ack) with { Ttl = 63 }, lab.TakeOne(1));
    }

    /// <summary>The table is full of connections that were answered: nothing makes room for a new one, and its sender is told.</summary>
    [Fact]
    public void A_full_table_refuses()
    {
        using var lab = new RouteLab(options: new SegmentOptions { MacCapacity = 1024, MaxPorts = 64, MaxWorkers = 4, ConnectionCapacity = 1024 });
        Build(lab, Net.V4, [Net.V4.Pool], 1024, 65535);
        int refused = 0;
        for (int i = 0; i < 1100; i++)
        {
            lab.Send(1, Ip.OfUdp(Net.V4.Host, Net.V4.Far, 2000 + i, 53));
            List<byte[]> sent = lab.Take(3);
            refused += sent.Count == 0 ? 1 : 0;
            if (sent.Count != 0)
            {
                lab.Send(3, Ip.OfUdp(Net.V4.Far, Net.V4.Pool, 53, 2000 + i));
            }
            lab.Take(1);
        }
        Assert.InRange(refused, 1, 200);
        Assert.Equal($"1 ConnectionTableFull {refused}", lab.Switch.Drops());
        lab.Send(1, Ip.OfUdp(Net.V4.Host, Net.V4.Far, 2000, 53));
        Assert.Single(lab.Take(3));
    }

    private static RouteLab Lab(Net net, string[]? pool = null, ushort first = 1024, ushort last = 65535) => Build(new RouteLab(), net, pool ?? [net.Pool], first, last);

    private static RouteLab Build(RouteLab lab, Net net, string[] pool, ushort first, ushort last, NatPoolFlags flags = NatPoolFlags.None)
    {
        lab.Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64").Routed(3, "192.0.2.1/24", "2001:db8::1/64")
            .Neighbour(1, net.Host).Neighbour(1, net.Other, PeerMac(1, 3)).Neighbour(2, "10.0.2.10", PeerMac(2, 10))
            .Neighbour(3, "192.0.2.254").Neighbour(3, "2001:db8::fe").Via("0.0.0.0/0", 3, "192.0.2.254").Via("::/0", 3, "2001:db8::fe");
        return lab.Masquerade(1, 3, pool, first, last, flags).Tracks();
    }

    private static Ip Packet(byte protocol, string source, string destination, int from, int to, int number = 0) => protocol switch
    {
        6 => Ip.OfTcp(source, destination, from, to, number == 0 ? Syn : Ack, payload: number),
        17 => Ip.OfUdp(source, destination, from, to, number),
        _ => Ip.OfSctp(source, destination, from, to, number == 0 ? (byte)1 : (byte)0, number * 4),
    };
}
