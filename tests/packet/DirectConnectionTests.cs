using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;
using static Dataplane.PacketTests.Harness.ServiceNet;

namespace Dataplane.PacketTests;

/// <summary>
/// A client speaks to a backend by a service, and from the same port by the backend's own address. For the backend these would be one connection; each
/// has its answers all the same, and the address of the client stays.
/// </summary>
public sealed class DirectConnectionTests
{
    public static TheoryData<byte, bool, bool> Orders => new()
    {
        { 6, false, false }, { 6, true, false }, { 17, false, false }, { 17, true, false }, { 132, false, false }, { 132, true, false },
        { 6, false, true }, { 6, true, true }, { 17, false, true }, { 17, true, true }, { 132, false, true }, { 132, true, true },
    };

    [Theory, MemberData(nameof(Orders))]
    public void Each_connection_has_its_own_answers(byte protocol, bool v6, bool directFirst)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Lab();
        AssertAnswers(lab, net, protocol, directFirst);
    }

    /// <summary>Where the backend's own calls would have other addresses, those from outside keep theirs.</summary>
    [Theory, MemberData(nameof(Orders))]
    public void So_it_has_at_a_backend_that_is_masqueraded(byte protocol, bool v6, bool directFirst)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Lab().Masquerade(2, 1, v6 ? ["fd00:1::1"] : ["10.0.1.1"]);
        AssertAnswers(lab, net, protocol, directFirst);
    }

    private static void AssertAnswers(RouteLab lab, ServiceNet net, byte protocol, bool directFirst)
    {
        lab.Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        (string To, int Port) service = (net.Vip, 80), direct = (net.Backend, 8080);
        (string To, int Port)[] order = directFirst ? [direct, service] : [service, direct];
        var seen = new List<ushort>();
        foreach ((string to, int port) in order)
        {
            lab.Send(1, First(protocol, net.Client, to, 40000, port));
            Ip first = lab.TakeOne(2);
            Assert.Equal((net.Client, net.Backend, 8080), (first.Source, first.Destination, first.Word(2)));
            seen.Add(first.Word(0));
        }
        Assert.Equal(40000, seen[0]);
        Assert.NotEqual(seen[0], seen[1]);
        for (int turn = 0; turn < 3; turn++)
        {
            for (int i = 0; i < 2; i++)
            {
                lab.Send(2, Answer(protocol, net.Backend, net.Client, seen[i]));
                Ip answer = lab.TakeOne(1);
                Assert.Equal((order[i].To, net.Client), (answer.Source, answer.Destination));
                Assert.Equal((order[i].Port, 40000), (answer.Word(0), answer.Word(2)));
                lab.Send(1, Next(protocol, net.Client, order[i].To, 40000, order[i].Port));
                Ip next = lab.TakeOne(2);
                Assert.Equal((net.Client, net.Backend), (next.Source, next.Destination));
                Assert.Equal((seen[i], 8080), (next.Word(0), next.Word(2)));
            }
        }
        Assert.Equal("", lab.Switch.Drops());
        Assert.Equal(2, lab.Switch.Segment.Connections.Statistics().Connections);
    }

    /// <summary>A connection that began before anybody listened to it is not given another port in its midst.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void What_goes_on_already_keeps_its_port(bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Lab();
        foreach (bool isService in new[] { false, true })
        {
            if (isService)
            {
                lab.Service(Ip.Tcp, At(net.Vip, 80), At(net.Backend, 8080));
            }
            Ip out1 = Next(Ip.Tcp, net.Client, net.Backend, 40000, 8080), back = Next(Ip.Tcp, net.Backend, net.Client, 8080, 40000);
            lab.Send(1, out1).Send(2, back).Send(1, out1);
            Assert.Equal([out1 with { Ttl = 63 }, out1 with { Ttl = 63 }], lab.Take(2).Select(p => Ip.Of(p)));
            Assert.Equal(back with { Ttl = 63 }, lab.TakeOne(1));
        }
        // It is known by now, and so the service's connection has another port.
        lab.Send(1, First(Ip.Tcp, net.Client, net.Vip, 40000, 80));
        Assert.NotEqual(40000, lab.TakeOne(2).Word(0));
    }

    /// <summary>Other ports and hosts are no backends, nor is one that was removed.</summary>
    [Theory, InlineData(Ip.Tcp, false), InlineData(Ip.Tcp, true), InlineData(Ip.Udp, false), InlineData(Ip.Udp, true)]
    public void What_is_for_no_backend_is_not_known(byte protocol, bool v6)
    {
        ServiceNet net = Of(v6);
        using RouteLab lab = Lab().Service(protocol, At(net.Vip, 80), At(net.Backend, 8080));
        byte other = protocol == Ip.Tcp ? Ip.Udp : Ip.Tcp;
        Pass(lab, First(protocol, net.Client, net.Backend, 40000, 8081));
        Pass(lab, First(other, net.Client, net.Backend, 40000, 8080));
        Pass(lab, First(protocol, net.Client, net.Second, 40000, 8080));
        Assert.Equal(0, Connections(lab));
        Pass(lab, First(protocol, net.Client, net.Backend, 40001, 8080));
        Assert.Equal(1, Connections(lab));
        lab.RemoveBackend(protocol, At(net.Vip, 80), At(net.Backend, 8080)).Tracks();
        Pass(lab, First(protocol, net.Client, net.Backend, 40002, 8080));
        Assert.Equal(1, Connections(lab));
    }

    /// <summary>Nobody is refused a backend's own address because there is no room to know of the connection.</summary>
    [Fact]
    public void A_full_table_stops_none_of_them()
    {
        ServiceNet net = Of(false);
        using RouteLab lab = Lab(new SegmentOptions { MaxWorkers = 1, MaxPorts = 16, MacCapacity = 64, ConnectionCapacity = 1024 }).Service(Ip.Tcp, At(net.Vip, 80), At(net.Backend, 8080));
        for (int port = 2000; port < 4000; port++)
        {
            lab.Send(1, First(Ip.Tcp, net.Client, net.Vip, port, 80));
            if (lab.Take(2).Count == 0)
            {
                break;
            }
            lab.Send(2, Answer(Ip.Tcp, net.Backend, net.Client, (ushort)port)).Send(1, Next(Ip.Tcp, net.Client, net.Vip, port, 80));
            lab.Take(1);
            lab.Take(2);
        }
        int full = Connections(lab);
        Assert.Contains(nameof(DropReason.ConnectionTableFull), lab.Switch.Drops(), StringComparison.Ordinal);
        Pass(lab, First(Ip.Tcp, net.Client, net.Backend, 40000, 8080));
        Pass(lab, Next(Ip.Tcp, net.Client, net.Backend, 40000, 8080));
        Assert.Equal(full, Connections(lab));
    }

    private static void Pass(RouteLab lab, Ip packet)
    {
        lab.Send(1, packet);
        Assert.Equal(packet with { Ttl = 63 }, lab.TakeOne(2));
    }

    private static int Connections(RouteLab lab) => (int)lab.Switch.Segment.Connections.Statistics().Connections;
}
