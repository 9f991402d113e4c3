using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Stages;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// Packets that are told from those of connections by their addresses alone: none of a connection is among them, however long it has been idle,
/// whatever was removed meanwhile, and when nothing but its memory is left.
/// </summary>
public sealed class SiftTests
{
    private const int Clients = 1, Backends = 2, World = 3, Station = 5, Host = 6, Router = 10;
    private const byte Syn = Inet.Syn, Ack = Inet.Ack, Fin = Inet.Fin, Rst = 4;

    /// <summary>Prefixes of addresses, and how a number is put behind them.</summary>
    private sealed record Net(bool V6)
    {
        public string Client(int n) => V6 ? $"fd00:1::{n + 2:x}" : $"10.0.1.{n + 2}";
        public string Backend(int n) => V6 ? $"fd00:2::{n + 10:x}" : $"10.0.2.{n + 10}";
        public string Far(int n) => V6 ? $"2001:db8:1::{n + 1:x}" : $"198.51.100.{n + 1}";
        public string Inside(int n) => V6 ? $"fd00:5::{n + 3:x}" : $"10.0.5.{n + 3}";
        public string Vip(int n) => V6 ? $"fd96::{n + 1:x}" : $"10.96.0.{n + 1}";
        public string Gateway => V6 ? "2001:db8::fe" : "192.0.2.254";
        public string Pool => V6 ? "2001:db8::1" : "192.0.2.1";
        public string RouterOfBackends => V6 ? "fd00:2::1" : "10.0.2.1";
        public string HostAddress => V6 ? "fd00:5::1" : "10.0.5.1";
    }

    private static readonly Net s_v4 = new(false), s_v6 = new(true);

    /// <summary>Random traffic through two switches, one of which has every packet go step by step, and so looks each of them up.</summary>
    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(4)]
    public void Sifted_or_looked_up_a_packet_becomes_the_same(int seed)
    {
        const int Bursts = 2500;
        // What is remembered of connections that are gone depends on where in the table others come to lie.
        using RouteLab loops = Lab(seed: (ulong)seed), steps = Lab(seed: (ulong)seed);
        RouteLab[] labs = [loops, steps];
        foreach (RouteLab lab in labs)
        {
            lab.Switch.Engine.Workers[0].Nat = new NatState(1, 2);
        }
        using var watcher = new Watcher(steps.Switch, new CaptureWish { Kinds = CaptureKinds.Trace, Ports = [60] });
        var random = new Random(seed);
        int plain = 0;
        for (int burst = 0; burst < Bursts; burst++)
        {
            // For a while all packets are of connections, or none, or both are mixed.
            int share = (burst / 50 % 4) switch { 0 => 0, 1 => 90, 2 => 50, _ => 100 };
            for (int i = random.Next(1, 64); i > 0; i--)
            {
                bool isPlain = random.Next(100) < share;
                (int port, byte[] frame) = isPlain ? Plain(random) : OfConnection(random);
                Array.ForEach(labs, lab => lab.Switch.Inject(port, frame));
                plain += isPlain && !loops.Switch.Segment.Connections.Marks.MayHave(KeyOf(frame)) ? 1 : 0;
            }
            Array.ForEach(labs, lab => lab.Switch.Poll());
            foreach (int port in (int[])[Clients, Backends, World, Station, Host])
            {
                List<byte[]> a = loops.Take(port), b = steps.Take(port);
                Assert.True(a.Count == b.Count, $"burst {burst}, port {port}: {a.Count} and {b.Count} packets");
                for (int i = 0; i < a.Count; i++)
                {
                    Assert.True(Comparable(a[i]).AsSpan().SequenceEqual(Comparable(b[i])), $"burst {burst}, port {port}: {Convert.ToHexString(a[i])} and {Convert.ToHexString(b[i])}");
                }
            }
            Assert.Equal(loops.Switch.Drops(), steps.Switch.Drops());
            Assert.Equal(loops.Switch.Segment.Connections.Statistics().Connections, steps.Switch.Segment.Connections.Statistics().Connections);
            if (burst % 7 == 0)
            {
                int seconds = random.Next(8) == 0 ? random.Next(150) : random.Next(4), rounds = random.Next(4) == 0 ? 0 : 1, change = random.Next();
                foreach (RouteLab lab in labs)
                {
                    lab.Switch.Clock.Advance(TimeSpan.FromSeconds(seconds));
                    Rounds(lab, rounds);
                    if (burst % 35 == 0)
                    {
                        Reconfigure(lab, new Random(change));
                    }
                }
            }
        }
        ConnectionStatistics statistics = loops.Switch.Segment.Connections.Statistics();
        Assert.True(statistics.Inserted > 2000 && statistics.Expired > 1000, $"{statistics}");
        Assert.True(plain > Bursts, $"only {plain} packets had no mark");
    }

    /// <summary>What one side has begun, and what the other one answers, with what arrives of it.</summary>
    private sealed record Talk(int From, Ip First, Ip FirstArrives, int To, Ip Answer, Ip AnswerArrives);

    private static Talk TalkOf(string kind, Net net)
    {
        string vip = net.Vip(0), client = net.Client(0), backend = net.Backend(0), inside = net.Inside(0), far = net.Far(0);
        return kind switch
        {
            "service" => new(Clients, Ip.OfUdp(client, vip, 5000, 53), Ip.OfUdp(client, backend, 5000, 5353), Backends, Ip.OfUdp(backend, client, 5353, 5000), Ip.OfUdp(vip, client, 53, 5000)),
            "of a neighbour of the backend" => new(Backends, Ip.OfUdp(net.Backend(5), vip, 5000, 53), Ip.OfUdp(net.RouterOfBackends, backend, 5000, 5353),
                Backends, Ip.OfUdp(backend, net.RouterOfBackends, 5353, 5000), Ip.OfUdp(vip, net.Backend(5), 53, 5000)),
            "of the backend itself" => new(Backends, Ip.OfUdp(backend, vip, 5000, 53), Ip.OfUdp(net.RouterOfBackends, backend, 5000, 5353),
                Backends, Ip.OfUdp(backend, net.RouterOfBackends, 5353, 5000), Ip.OfUdp(vip, backend, 53, 5000)),
            "masqueraded" => new(Router, Ip.OfUdp(inside, far, 5000, 53), Ip.OfUdp(net.Pool, far, 5000, 53), World, Ip.OfUdp(far, net.Pool, 53, 5000), Ip.OfUdp(far, inside, 53, 5000)),
            "called from outside" => new(World, Ip.OfUdp(far, inside, 5000, 53), Ip.OfUdp(far, inside, 5000, 53), Router, Ip.OfUdp(inside, far, 53, 5000), Ip.OfUdp(inside, far, 53, 5000)),
            _ => throw new ArgumentOutOfRangeException(nameof(kind)),
        };
    }

    public static TheoryData<string, bool> Kinds()
    {
        var kinds = new TheoryData<string, bool>();
        foreach (string kind in (string[])["service", "of a neighbour of the backend", "of the backend itself", "masqueraded", "called from outside"])
        {
            kinds.Add(kind, false);
            kinds.Add(kind, true);
        }
        return kinds;
    }

    /// <summary>A connection is known among packets of none, when many rounds of housekeeping have passed over it, and when its service is gone.</summary>
    [Theory, MemberData(nameof(Kinds))]
    public void A_connection_stays_told(string kind, bool v6)
    {
        Net net = v6 ? s_v6 : s_v4;
        Talk talk = TalkOf(kind, net);
        using RouteLab lab = Lab();
        lab.Service(Ip.Udp, At(net.Vip(0), 53), At(net.Backend(0), 5353));
        Check(lab, talk.From, talk.First, talk.FirstArrives, net);
        Check(lab, talk.To, talk.Answer, talk.AnswerArrives, net);
        Rounds(lab, 6);
        Check(lab, talk.From, talk.First, talk.FirstArrives, net);
        lab.Service(Ip.Udp, At(net.Vip(0), 53));
        Rounds(lab, 6);
        for (int i = 0; i < 3; i++)
        {
            Check(lab, talk.To, talk.Answer, talk.AnswerArrives, net);
            Check(lab, talk.From, talk.First, talk.FirstArrives, net);
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>When it is gone its addresses are nobody's any more, but that from which an answer to a service may still come.</summary>
    [Theory, MemberData(nameof(Kinds))]
    public void What_is_gone_leaves_no_mark(string kind, bool v6)
    {
        Net net = v6 ? s_v6 : s_v4;
        Talk talk = TalkOf(kind, net);
        using RouteLab lab = Lab();
        lab.Service(Ip.Udp, At(net.Vip(0), 53), At(net.Backend(0), 5353));
        Check(lab, talk.From, talk.First, talk.FirstArrives, net);
        ConnectionTable table = lab.Switch.Segment.Connections;
        ConnectionKey first = KeyOf(Sent(talk.From, talk.First)), answer = KeyOf(Sent(talk.To, talk.Answer));
        Assert.True(table.Marks.MayHave(in first) && table.Marks.MayHave(in answer));
        Assert.Equal(2, Marks(table, v6, false) + Marks(table, v6, true));
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(ConnectionTimes.UdpAnswered));
        Rounds(lab, 6);
        Assert.Equal(0, table.Statistics().Connections);
        bool isOfService = talk.First.Destination == net.Vip(0);
        Assert.Equal((isOfService ? 1 : 0, 0), (Marks(table, v6, true), Marks(table, v6, false)));
        if (isOfService)
        {
            Assert.True(table.Marks.MayHave(in answer));
            Send(lab, talk.To, talk.Answer, net);
            Assert.Equal($"{talk.To} NoConnection 1", lab.Switch.Drops());
        }
    }

    /// <summary>What begins or ends a connection to nobody's service goes the way of all packets; what a SYN says of its segments is lowered there, too.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_plain_SYN_is_clamped(bool v6)
    {
        Net net = v6 ? s_v6 : s_v4;
        using RouteLab lab = Lab();
        lab.Change(Backends, r => r with { Mtu = 1300, Flags = r.Flags | InterfaceFlags.ClampMss });
        foreach (byte flags in (byte[])[Syn, Syn | Ack, Fin | Ack, Rst, Ack])
        {
            Ip packet = Ip.OfTcp(net.Client(3), net.Backend(3), 1000, 80, flags, [2, 4, 5, 180]);
            lab.Send(Clients, packet);
            int segment = v6 ? 1300 - 60 : 1300 - 40;
            byte[] options = (flags & Syn) != 0 ? [2, 4, (byte)(segment >> 8), (byte)segment] : [2, 4, 5, 180];
            Assert.Equal(Ip.OfTcp(net.Client(3), net.Backend(3), 1000, 80, flags, options) with { Ttl = 63 }, lab.TakeOne(Backends));
        }
        Assert.Equal(0, lab.Switch.Segment.Connections.Statistics().Connections);
    }

    /// <summary>Sends a packet in the midst of others of no connection, from the same side, and looks at what arrives of it.</summary>
    private static void Check(RouteLab lab, int from, Ip packet, Ip arrives, Net net)
    {
        Ip[] arrived = Send(lab, from, packet, net);
        Assert.Equal(arrives with { Ttl = 63 }, Assert.Single(arrived, p => p.Word(0) != 9));
        Assert.Equal(14, arrived.Count(p => p.Word(0) == 9));
    }

    private static Ip[] Send(RouteLab lab, int from, Ip packet, Net net)
    {
        string to = from == Clients ? net.Backend(4) : net.Client(4);
        string source = from switch { Clients => net.Client(7), Backends => net.Backend(7), World => net.Far(7), _ => net.Inside(1) };
        Ip other = Ip.OfUdp(source, to, 9, 9);
        for (int i = 0; i < 15; i++)
        {
            lab.Switch.Inject(from == Router ? Station : from, Sent(from, i == 7 ? packet : other));
        }
        lab.Switch.Poll();
        return [.. ((int[])[Clients, Backends, World, Station]).SelectMany(lab.Take).Select(Ip.Of)];
    }

    /// <summary>How many addresses of a family are marked as sources, or as destinations.</summary>
    private static unsafe int Marks(ConnectionTable table, bool v6, bool sources)
    {
        ConnectionMarks marks = table.Marks;
        var places = new ReadOnlySpan<byte>(sources ? marks.Sources(v6) : marks.Destinations(v6), (int)marks.Mask + 1);
        return places.Length - places.Count((byte)0);
    }

    private static byte[] Sent(int from, Ip packet) => from == Router ? packet.In(MacOf(Router), PeerMac(Station)) : ToRouter(from, packet);

    /// <summary>Passes of housekeeping over the whole table, with the workers quiescent in between.</summary>
    private static void Rounds(RouteLab lab, int rounds)
    {
        for (int turn = 0; turn < 25 * rounds; turn++)
        {
            lab.Switch.Engine.Housekeeping.RunOnce();
        }
    }

    private static ConnectionKey KeyOf(byte[] frame)
    {
        Ip packet = Ip.Of(frame);
        return new ConnectionKey(1, packet.Protocol, packet.IsV6, Parse(packet.Source).Address, Parse(packet.Destination).Address, packet.Word(0), packet.Word(2));
    }

    private static byte[] Comparable(byte[] frame) => RouteFuzzTests.Comparable(frame);

    private static RouteLab Lab(ulong seed = 0)
    {
        RouteLab lab = new(seed: seed);
        lab.Switch.Port(Station).Port(Host, PortFlags.Default | PortFlags.Host);
        lab.Router(Router, Host, r => r with { AliasMac = Value(RouteFuzzTests.Alias) }, "10.0.5.1/24", "fd00:5::1/64")
            .Routed(Clients, "10.0.1.1/24", "fd00:1::1/64").Routed(Backends, "10.0.2.1/24", "fd00:2::1/64").Routed(World, "192.0.2.1/24", "2001:db8::1/64");
        lab.Switch.SetStatic(RouteFuzzTests.Alias, Router);
        lab.Switch.SetStatic(PeerMac(Station), Station);
        foreach (Net net in (Net[])[s_v4, s_v6])
        {
            lab.Neighbour(World, net.Gateway).Via(net.V6 ? "::/0" : "0.0.0.0/0", World, net.Gateway);
            for (int i = 0; i < 40; i++)
            {
                lab.Neighbour(Clients, net.Client(i)).Neighbour(Backends, net.Backend(i)).Neighbour(Router, net.Inside(i), PeerMac(Station));
            }
            for (int i = 0; i < 6; i++)
            {
                Configure(lab, net, i, [2 * i, (2 * i) + 1]);
            }
        }
        return lab.Masquerade(Router, World, [s_v4.Pool, s_v6.Pool]).Tracks();
    }

    /// <summary>The services of a VIP, with backends on their link and one among the stations.</summary>
    private static void Configure(RouteLab lab, Net net, int n, int[] backends)
    {
        FrontendFlags more = n switch { 2 => FrontendFlags.SourceNat, 3 => FrontendFlags.Affinity, 4 => FrontendFlags.Dsr, _ => 0 };
        Func<FrontendRecord, FrontendRecord> change = r => r with { Flags = r.Flags | more, AffinitySeconds = more == FrontendFlags.Affinity ? 100u : 0 };
        int port(int own) => n == 4 ? own : own + 8000;
        string[] addresses = [.. backends.Select(net.Backend), .. n == 5 ? (string[])[net.Inside(2)] : []];
        lab.Service(Ip.Udp, At(net.Vip(n), 53), change, [.. addresses.Select(a => At(a, port(53)))])
            .Service(Ip.Tcp, At(net.Vip(n), 80), change, [.. addresses.Select(a => At(a, port(80)))])
            .ServiceAddress(net.Vip(n), answersPing: true);
    }

    private static void Reconfigure(RouteLab lab, Random random)
    {
        Net net = random.Next(2) == 0 ? s_v4 : s_v6;
        int n = random.Next(6);
        switch (random.Next(4))
        {
            case 0: // other backends; the old ones have connections
                Configure(lab, net, n, [random.Next(30), 30 + random.Next(8)]);
                break;
            case 1: // none
                Configure(lab, net, n, []);
                break;
            case 2:
                lab.Tracks(random.Next(4) == 0 ? VrfFlags.None : VrfFlags.Tracks);
                break;
            default:
                lab.Tracks();
                Configure(lab, net, n, [2 * n, (2 * n) + 1]);
                break;
        }
    }

    /// <summary>A packet between hosts that mostly have no connections: from few, and to few, so that some have.</summary>
    private static (int Port, byte[] Frame) Plain(Random random)
    {
        Net net = random.Next(3) == 0 ? s_v6 : s_v4;
        int n = random.Next(40), m = random.Next(40);
        (int from, string source, string destination) = random.Next(6) switch
        {
            0 or 1 => (Clients, net.Client(n), net.Backend(m)),
            2 => (Clients, net.Client(n), net.Far(m)),
            3 => (Backends, net.Backend(n), net.Client(m)),
            4 => (World, net.Far(n), net.Client(m)),
            _ => (Backends, net.Backend(n), net.Far(m)),
        };
        return (from, ToRouter(from, Any(random, source, destination, 8000 + (random.Next(2) == 0 ? 80 : 53), 5000 + random.Next(4))));
    }

    /// <summary>A packet of one of a few connections, either way, as far as they are known.</summary>
    private static (int Port, byte[] Frame) OfConnection(Random random)
    {
        Net net = random.Next(3) == 0 ? s_v6 : s_v4;
        int n = random.Next(6), at = random.Next(2) == 0 ? 80 : 53, own = 5000 + random.Next(4);
        string client = net.Client(random.Next(6)), inside = net.Inside(random.Next(3)), backend = net.Backend(random.Next(12)), far = net.Far(random.Next(3));
        switch (random.Next(12))
        {
            case 0 or 1 or 2:
                return (Clients, ToRouter(Clients, Any(random, client, net.Vip(n), own, at)));
            case 3 or 4:
                return (Backends, ToRouter(Backends, Any(random, backend, client, at + 8000, own)));
            case 5: // itself, or its neighbour
                return (Backends, ToRouter(Backends, Any(random, backend, net.Vip(n), own, at)));
            case 6: // where the router stands for the client
                return (Backends, ToRouter(Backends, Any(random, backend, net.RouterOfBackends, at + 8000, own)));
            case 7:
                return (Station, Any(random, inside, random.Next(2) == 0 ? net.Vip(n) : far, own, at).In(MacOf(Router), PeerMac(Station)));
            case 8:
                return (World, ToRouter(World, Any(random, far, net.Pool, at, own)));
            case 9:
                return (World, ToRouter(World, Any(random, far, inside, at, own)));
            case 10:
                return (Station, Any(random, inside, random.Next(2) == 0 ? far : client, at, own).In(MacOf(Router), PeerMac(Station)));
            default:
                string to = random.Next(3) switch { 0 => net.Vip(n), 1 => far, _ => client };
                return (Host, Any(random, net.HostAddress, to, random.Next(2) == 0 ? own : own + 57_000, at).In(RouteFuzzTests.Alias, MacOf(Router)));
        }
    }

    private static Ip Any(Random random, string source, string destination, int from, int to)
    {
        bool v6 = source.Contains(':', StringComparison.Ordinal), isTcp = (from % 100 == 80) | (to % 100 == 80);
        switch (random.Next(40))
        {
            case 0:
                return Ip.OfEcho(source, destination);
            case 1: // about what came the other way
                Ip quoted = isTcp ? Ip.OfTcp(destination, source, to, from, Ack) : Ip.OfUdp(destination, source, to, from);
                return Ip.OfIcmp(source, destination, v6 ? (byte)1 : (byte)3, v6 ? (byte)4 : (byte)3, [0, 0, 0, 0, .. quoted.ToBytes()]);
            case 2 when !v6:
                return Ip.OfUdp(source, destination, from, to, 64) with { Fragment = 0x2000, Id = (ushort)from };
            case 3 when !v6:
                return new Ip(source, destination, Ip.Udp, new byte[24]) { Fragment = 9, Id = (ushort)to };
            case 4:
                return new Ip(source, destination, 47, new byte[20]);
            default:
                byte flags = random.Next(6) switch { 0 or 1 => Syn, 2 => Syn | Ack, 3 when random.Next(4) == 0 => Fin | Ack, 4 when random.Next(8) == 0 => Rst, _ => Ack };
                return isTcp ? Ip.OfTcp(source, destination, from, to, flags, payload: flags == Ack ? 20 : 0) : Ip.OfUdp(source, destination, from, to);
        }
    }
}
