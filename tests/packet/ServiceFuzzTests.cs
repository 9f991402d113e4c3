using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using static Dataplane.PacketTests.Harness.RouteLab;
using static Dataplane.PacketTests.RouteFuzzTests;

namespace Dataplane.PacketTests;

/// <summary>
/// As <see cref="RouteFuzzTests"/>, through a router with services and masquerade: damaged packets of connections that begin, go on and end
/// while services and routes change. And bursts must do what single packets do, from the same entries.
/// </summary>
public sealed unsafe class ServiceFuzzTests
{
    private const int InputsPerRun = 150_000;
    private const int Compared = 150_000;
    private const int Burst = 60;
    private const byte Fin = Inet.Fin, Syn = Inet.Syn, Ack = Inet.Ack, Rst = 4;

    private static readonly (int Port, byte[] Frame, virtio_net_hdr Vnet)[] Corpus =
    [
        // Clients of services, on a routed port.
        .. Clients("10.0.1.2", "10.96.0.1").Concat(Clients("fd00:1::2", "fd96::1"))
            .Select(packet => (Routed1, ToRouter(Routed1, packet), default(virtio_net_hdr))),
        // Backends, and the world.
        .. Servers("10.0.2.2", "10.0.1.2", "10.0.2.1", "10.96.0.1").Concat(Servers("fd00:2::2", "fd00:1::2", "fd00:2::1", "fd96::1"))
            .Select(packet => (Routed2, ToRouter(Routed2, packet), default(virtio_net_hdr))),
        // Hosts that are masqueraded, clients and backends too.
        .. Clients("10.0.5.3", "10.96.0.1").Concat(Clients("fd00:5::3", "fd96::1")).Concat(Clients("10.0.5.3", "10.0.2.2")).Concat(Clients("fd00:5::3", "fd00:2::2"))
            .Append(Ip.OfTcp("172.18.0.2", "172.18.0.3", 40000, 5201, Syn, [2, 4, 5, 180])).Append(Ip.OfTcp("fd00::2", "fd00::3", 40000, 5201, Syn))
            .Select(packet => (Station, packet.In(MacOf(Router), PeerMac(Station)), default(virtio_net_hdr))),
        (Host, Ip.OfUdp("10.0.5.1", "10.96.0.1", 1, 53).In(Alias, MacOf(Router)), default),
        (Host, Ip.OfUdp("10.0.5.1", "10.0.2.2", 62000, 53).In(Alias, MacOf(Router)), default),
        .. new[] { Inet.Tcp(9000, 1200, options: 12), Inet.Tcp(3000, 1448, v6: true), Inet.Udp(3000, 1200), Inet.Tcp(100), Inet.Udp(1450, v6: true) }
            .Select(large => (Station, Readdressed(large.Frame), large.Vnet)),
    ];

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 3)]
    public void NothingBreaks(int seed, int workers)
    {
        var random = new Random(seed);
        using RouteLab lab = Lab(workers);
        TestSwitch sw = lab.Switch;
        Feed(sw, Corpus, random, seed, InputsPerRun, 20, () => Reconfigure(lab, random));
        // The damage was not such that nothing was translated, or nothing went wrong.
        Assert.True(sw.Segment.Connections.Statistics().Inserted > 1000);
        foreach (DropReason reason in (DropReason[])[DropReason.ServiceNoBackend, DropReason.ServiceNotServed, DropReason.NoConnection, DropReason.NatUnreadable])
        {
            Assert.True(sw.Drops(Routed1, reason) + sw.Drops(Router, reason) != 0, $"{reason} never happened");
        }
    }

    [Theory]
    [InlineData(5, true)]
    [InlineData(6, true)]
    [InlineData(6, false)]
    [InlineData(7, false)]
    public void LoopsAndStepsAgree(int seed, bool isAlone)
    {
        // What is remembered of connections that are gone depends on where in the table others come to lie.
        using RouteLab loops = Lab(1, (ulong)seed), steps = Lab(1, (ulong)seed);
        foreach (RouteLab lab in (RouteLab[])[loops, steps])
        {
            lab.Switch.Engine.Workers[0].Nat = new NatState(1, 2);
            if (!isAlone)
            {
                lab.Switch.Segment.Connections.Claim();
            }
        }
        using var watcher = new Watcher(steps.Switch, new CaptureWish { Kinds = CaptureKinds.Trace, Ports = [60] });
        var random = new Random(seed);
        byte[] packet = new byte[70_000];
        for (int input = 0; input < Compared; input++)
        {
            (int port, int length, virtio_net_hdr vnet) = Spoilt(random, packet, Corpus);
            int first = random.Next(6) == 0 ? random.Next(120) : int.MaxValue;
            foreach (RouteLab lab in (RouteLab[])[loops, steps])
            {
                Inject(lab.Switch, port, packet.AsSpan(0, length), vnet, first, null);
            }
            if (input % Burst != 0)
            {
                continue;
            }
            int milliseconds = random.Next(20), change = random.Next();
            foreach (RouteLab lab in (RouteLab[])[loops, steps])
            {
                lab.Switch.Poll();
                lab.Switch.Clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
                if (input % (Burst * 20) == 0)
                {
                    Reconfigure(lab, new Random(change));
                }
            }
            foreach (int out1 in (int[])[Routed1, Routed2, Station, Host])
            {
                List<byte[]> a = loops.Take(out1), b = steps.Take(out1);
                Assert.True(a.Count == b.Count, $"up to input {input}, port {out1}: {a.Count} and {b.Count} packets");
                for (int i = 0; i < a.Count; i++)
                {
                    Assert.True(Comparable(a[i]).AsSpan().SequenceEqual(Comparable(b[i])),
                        $"up to input {input}, port {out1}: {Convert.ToHexString(a[i])} and {Convert.ToHexString(b[i])}");
                }
            }
            Assert.Equal(loops.Switch.Drops(), steps.Switch.Drops());
        }
        // What has come behind the last poll may be held, a fragment for instance: that ends with the switch, and only what is held then.
        loops.Switch.Poll();
        steps.Switch.Poll();
        Assert.True(loops.Switch.Segment.Connections.Statistics().Inserted > 1000);
    }

    private static RouteLab Lab(int workers, ulong seed = 0)
    {
        RouteLab lab = new(workers, seed: seed) { TakesOffloads = true };
        lab.Switch.Port(Station, takesOffloads: true).Port(Host, PortFlags.Default | PortFlags.Host, takesOffloads: true);
        lab.Router(Router, Host, record => record with { AliasMac = Value(Alias) }, "10.0.5.1/24", "fd00:5::1/64", "172.18.0.1/24", "fd00::1/64")
            .Routed(Routed1, "10.0.1.1/24", "fd00:1::1/64", "fe80::1/64")
            .Routed(Routed2, record => record with { Mtu = 1280 }, "10.0.2.1/24", "fd00:2::1/64");
        lab.Switch.SetStatic(Alias, Router);
        lab.Switch.SetStatic(PeerMac(Station), Station);
        foreach (string address in (string[])["10.0.1.2", "fd00:1::2"])
        {
            lab.Neighbour(Routed1, address);
        }
        foreach (string address in (string[])["10.0.2.2", "10.0.2.3", "fd00:2::2"])
        {
            lab.Neighbour(Routed2, address);
        }
        foreach (string address in (string[])["10.0.5.3", "fd00:5::3", "172.18.0.2", "fd00::2"])
        {
            lab.Neighbour(Router, address, PeerMac(Station));
        }
        Services(lab, "10.96.0.1", "10.0.2.2", "10.0.5.3");
        Services(lab, "fd96::1", "fd00:2::2", "fd00:5::3");
        return lab.Service(Ip.Tcp, "172.18.0.3:5201", "10.0.2.2:5201").Service(Ip.Udp, "172.18.0.3:5201", "10.0.2.2:5201")
            .Service(Ip.Tcp, "[fd00::3]:5201", "[fd00:2::2]:5201").Service(Ip.Udp, "[fd00::3]:5201", "[fd00:2::2]:5201")
            .Masquerade(Router, Routed2, ["10.0.2.1", "fd00:2::1"]).Tracks();
    }

    private static void Services(RouteLab lab, string vip, string far, string near) => lab
        .Service(Ip.Udp, At(vip, 53), r => r, maglev: false, (At(far, 5353), 2), (At(near, 53), 1))
        .Service(Ip.Tcp, At(vip, 80), r => r, maglev: true, (At(far, 8080), 1), (At(near, 8080), 1))
        .Service(132, At(vip, 80), At(far, 8080))
        .Service(Ip.Udp, At(vip, 54), r => r with { Flags = r.Flags | FrontendFlags.SourceNat }, At(far, 5353))
        .Service(Ip.Udp, At(vip, 55), r => r with { Flags = r.Flags | FrontendFlags.Dsr }, At(far, 55))
        .Service(Ip.Udp, At(vip, 56)).Service(Ip.Tcp, At(vip, 81))
        .ServiceAddress(vip, answersPing: true);

    /// <summary>What a client sends to a server: all of a connection, in no order.</summary>
    private static IEnumerable<Ip> Clients(string client, string server)
    {
        bool v6 = client.Contains(':', StringComparison.Ordinal);
        for (int port = 5000; port < 5004; port++)
        {
            yield return Ip.OfUdp(client, server, port, 53, 100);
            yield return Ip.OfTcp(client, server, port, 80, Syn, [2, 4, 5, 180]);
            yield return Ip.OfTcp(client, server, port, 80, Ack, payload: 100);
            yield return Ip.OfTcp(client, server, port, 80, Ack);
        }
        yield return Ip.OfTcp(client, server, 5000, 80, Fin | Ack);
        yield return Ip.OfTcp(client, server, 5001, 80, Rst);
        yield return Ip.OfTcp(client, server, 5001, 81, Syn);
        yield return Ip.OfSctp(client, server, 5000, 80, 1, 16);
        yield return Ip.OfSctp(client, server, 5000, 80, 10, 16);
        yield return Ip.OfUdp(client, server, 5000, 54, 1300);
        yield return Ip.OfUdp(client, server, 5000, 55);
        yield return Ip.OfUdp(client, server, 5000, 56);
        yield return Ip.OfUdp(client, server, 5000, 57);
        yield return Ip.OfEcho(client, server);
        yield return new Ip(client, server, 47, new byte[20]);
        Ip udp = Ip.OfUdp(client, server, 5000, 53, 200);
        byte[] middle = new byte[64];
        yield return v6 ? udp with { Protocol = 44, Options = [17, 0, 0, 1, 1, 2, 3, 4] } : udp with { Fragment = 0x2000, Id = 77 };
        yield return v6 ? new Ip(client, server, 44, middle) { Options = [17, 0, 0, 208, 1, 2, 3, 4] } : new Ip(client, server, 17, middle) { Fragment = 26, Id = 77 };
    }

    /// <summary>What comes back from a server, to a client and to the router's own address; and errors.</summary>
    private static IEnumerable<Ip> Servers(string server, string client, string router, string vip)
    {
        foreach (string to in (string[])[client, router])
        {
            for (int port = 5000; port < 5004; port++)
            {
                yield return Ip.OfUdp(server, to, 5353, port, 100);
                yield return Ip.OfUdp(server, to, 53, port, 100);
                yield return Ip.OfTcp(server, to, 8080, port, Syn | Ack, [2, 4, 5, 180]);
                yield return Ip.OfTcp(server, to, 8080, port, Ack, payload: 200);
                yield return Ip.OfTcp(server, to, 80, port, Syn | Ack);
                yield return Ip.OfTcp(server, to, 80, port, Ack, payload: 200);
            }
            yield return Ip.OfTcp(server, to, 8080, 5000, Fin | Ack);
            yield return Ip.OfSctp(server, to, 8080, 5000, 2, 16);
            yield return Ip.OfEcho(server, to, type: to.Contains(':', StringComparison.Ordinal) ? (byte)129 : (byte)0);
            yield return Error(server, to, Ip.OfUdp(to, server, 5000, 5353));
            yield return Error(server, to, Ip.OfTcp(to, server, 5001, 8080, Syn));
            yield return Error(server, to, Ip.OfEcho(to, server));
        }
        yield return Error(client, vip, Ip.OfUdp(vip, client, 53, 5000));
    }

    private static Ip Error(string source, string destination, Ip quoted) =>
        Ip.OfIcmp(source, destination, quoted.IsV6 ? (byte)1 : (byte)3, quoted.IsV6 ? (byte)4 : (byte)3, [0, 0, 0, 0, .. quoted.ToBytes()]);

    private static void Reconfigure(RouteLab lab, Random random)
    {
        switch (random.Next(9))
        {
            case 0:
                lab.Change(Routed2, record => record with { Mtu = (ushort)random.Next(600, 1500) });
                break;
            case 1:
                lab.Tracks(VrfFlags.None);
                break;
            case 2:
                lab.Service(Ip.Udp, "10.96.0.1:53", "10.0.2.3:5353").Service(132, "[fd96::1]:80");
                break;
            case 3:
                lab.Change(Router, record => record with { HostPort = (ushort)(record.HostPort == 0 ? Host : 0) });
                break;
            case 4:
                lab.Switch.Flags(Routed2, clear: PortFlags.Enabled);
                break;
            case 5:
                lab.Neighbour(Router, "10.0.5.3", random.Next(2) == 0 ? PeerMac(Station) : MacOf(Router));
                break;
            case 6:
                lab.Switch.Clock.Advance(TimeSpan.FromSeconds(random.Next(60)));
                break;
            case 7:
                lab.Via("10.0.1.2", Routed2, "10.0.2.3");
                break;
            default: // back to normal
                lab.Switch.Flags(Routed2, set: PortFlags.Enabled);
                lab.Change(Routed2, record => record with { Mtu = 1280 });
                Services(lab, "10.96.0.1", "10.0.2.2", "10.0.5.3");
                Services(lab, "fd96::1", "fd00:2::2", "fd00:5::3");
                lab.Route(1, "10.0.1.2", new NextHopRecord { Kind = NextHopKind.Connected, Port = Routed1 }).Tracks();
                break;
        }
    }
}
