using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;
using static Dataplane.PacketTests.Harness.ServiceNet;

namespace Dataplane.PacketTests;

/// <summary>
/// What a backend sends when its service's connection is gone does not come to the client under the backend's own address. What others send
/// by the backend's own address, and what it answers them, goes its way.
/// </summary>
public sealed class LateAnswerTests
{
    private const byte Syn = Inet.Syn, Ack = Inet.Ack, Fin = Inet.Fin, Rst = 4;

    public static TheoryData<byte, bool> Protocols => new() { { 6, false }, { 6, true }, { 17, false }, { 17, true }, { 132, false }, { 132, true } };

    [Theory, MemberData(nameof(Protocols))]
    public void A_late_answer_ends_here(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, protocol);
        lab.Send(2, Answer(protocol, net.Backend, net.Client));
        Assert.Empty(lab.Take(1));
        List<byte[]> told = lab.Take(2);
        if (protocol == 17)
        {
            Assert.Empty(told);
        }
        else
        {
            Ip end = Ip.Of(Assert.Single(told));
            Assert.Equal((net.Client, net.Backend, protocol == 6 ? Rst : 6), (end.Source, end.Destination, end.Payload[protocol == 6 ? 13 : 12] & (protocol == 6 ? Rst : 0xFF)));
        }
        Assert.Equal("2 NoConnection 1", lab.Switch.Drops());
    }

    /// <summary>Data, and the end of a connection, cannot be anything else, however late they are.</summary>
    [Theory, InlineData(Ack, false), InlineData(Ack, true), InlineData(Fin | Ack, false), InlineData(Fin | Ack, true), InlineData(Rst, false), InlineData(Rst, true)]
    public void However_late_it_is(byte flags, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, Ip.Tcp);
        lab.Switch.Clock.Advance(TimeSpan.FromHours(1));
        lab.Send(2, Ip.OfTcp(net.Backend, net.Client, 8080, 40000, flags, payload: flags == Ack ? 100 : 0));
        Assert.Empty(lab.Take(1));
        Assert.Equal(flags == Rst ? 0 : 1, lab.Take(2).Count);
        Assert.Equal("2 NoConnection 1", lab.Switch.Drops());
    }

    /// <summary>After a while the client may use its port for a connection to the backend's own address.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void Another_connection_between_the_same_ports_goes_its_way(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, protocol);
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(ConnectionTimes.Late));
        (int From, Ip Packet)[] packets =
        [
            (1, First(protocol, net.Client, net.Backend, 40000, 8080)), (2, Answer(protocol, net.Backend, net.Client)),
            (1, Next(protocol, net.Client, net.Backend, 40000, 8080)), (2, Next(protocol, net.Backend, net.Client, 8080, 40000)),
        ];
        foreach ((int from, Ip packet) in packets)
        {
            lab.Send(from, packet);
            Assert.Equal(packet with { Ttl = 63 }, lab.TakeOne(3 - from));
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>So may the backend, at once.</summary>
    [Theory, InlineData(6, false), InlineData(6, true), InlineData(132, false), InlineData(132, true)]
    public void A_backend_may_call_its_client(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, protocol);
        foreach (Ip packet in (Ip[])[First(protocol, net.Backend, net.Client, 8080, 40000), Next(protocol, net.Backend, net.Client, 8080, 40000)])
        {
            lab.Send(2, packet);
            Assert.Equal(packet with { Ttl = 63 }, lab.TakeOne(1));
        }
    }

    /// <summary>Whose connection the switch has never known is nobody's but the backend's.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void What_never_was_a_services_goes_its_way(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, protocol);
        foreach (Ip packet in (Ip[])[Next(protocol, net.Backend, net.Client, 8080, 40001), Next(protocol, net.Backend, net.Client, 8081, 40000), Next(protocol, net.Second, net.Client, 8080, 40000)])
        {
            lab.Send(2, packet);
            Assert.Equal(packet with { Ttl = 63 }, lab.TakeOne(1));
        }
    }

    /// <summary>The client's next connection from this port is another one.</summary>
    [Theory, MemberData(nameof(Protocols))]
    public void The_client_may_begin_anew(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, protocol);
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80));
        Assert.Equal(First(protocol, net.Client, net.Backend, 40000, 8080) with { Ttl = 63 }, lab.TakeOne(2));
        lab.Send(2, Answer(protocol, net.Backend, net.Client));
        Assert.Equal(net.Vip, lab.TakeOne(1).Source);
    }

    /// <summary>An error that a backend sends about such a connection speaks of addresses that the client does not know.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void So_does_an_error_about_it(bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Forgotten(net, Ip.Udp);
        Ip error = Ip.OfIcmp(net.Backend, net.Client, v6 ? (byte)1 : (byte)3, v6 ? (byte)4 : (byte)3, [0, 0, 0, 0, .. First(Ip.Udp, net.Client, net.Backend, 40000, 8080).ToBytes()]);
        lab.Send(2, error);
        Assert.Empty(lab.Take(1));
        Assert.Equal("2 NoConnection 1", lab.Switch.Drops());
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(ConnectionTimes.Late));
        lab.Send(2, error);
        Assert.Equal(error with { Ttl = 63 }, lab.TakeOne(1));
    }

    /// <summary>A client whose first packet nobody has answered gets another backend when its own is gone; one that has been answered keeps it.</summary>
    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void A_client_that_tries_again_gets_another_backend(bool v6, bool isAnswered)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Lab().Service(Ip.Tcp, At(net.Vip, 80), At(net.Backend, 8080));
        Ip first = First(Ip.Tcp, net.Client, net.Vip, 40000, 80);
        lab.Send(1, first);
        Assert.Equal(net.Backend, lab.TakeOne(2).Destination);
        if (isAnswered)
        {
            lab.Send(2, Answer(Ip.Tcp, net.Backend, net.Client)).Send(1, Next(Ip.Tcp, net.Client, net.Vip, 40000, 80));
            Assert.Equal((1, 1), (lab.Take(1).Count, lab.Take(2).Count));
        }
        lab.Service(Ip.Tcp, At(net.Vip, 80), At(net.Second, 8080)).RemoveBackend(Ip.Tcp, At(net.Vip, 80), At(net.Backend, 8080));
        lab.Send(1, first);
        Assert.Equal(isAnswered ? net.Backend : net.Second, lab.TakeOne(2).Destination);
    }

    /// <summary>A service that the client has begun a connection to, which is gone.</summary>
    private static RouteLab Forgotten(ServiceNet net, byte protocol)
    {
        RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        lab.Send(1, First(protocol, net.Client, net.Vip, 40000, 80));
        Assert.Equal(net.Backend, lab.TakeOne(2).Destination);
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(ConnectionTimes.SynSent));
        for (int turn = 0; turn < 1000 && lab.Switch.Segment.Connections.Statistics().Connections > 0; turn++)
        {
            lab.Switch.Engine.Housekeeping.RunOnce();
        }
        Assert.Equal(0, lab.Switch.Segment.Connections.Statistics().Connections);
        return lab;
    }

    /// <summary>What the backend answers to the first packet.</summary>
    private static Ip Answer(byte protocol, string backend, string client) => ServiceNet.Answer(protocol, backend, client, 40000);
}
