using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// Packets with random damage through a router whose configuration changes all the time. What comes out must be sound, every packet
/// accounted for; and the loops for bursts must do what the steps for one packet do.
/// </summary>
public sealed unsafe class RouteFuzzTests
{
    private const int InputsPerRun = 250_000;
    private const int Compared = 200_000;
    private const int Burst = 60;
    internal const int Routed1 = 1, Routed2 = 2, Station = 3, Host = 4, Router = 10;

    internal const string Alias = "02:00:00:00:aa:aa";

    /// <summary>What comes to a router, by port.</summary>
    private static readonly (int Port, byte[] Frame, virtio_net_hdr Vnet)[] Corpus =
    [
        .. new[]
        {
            Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2), Ip.OfUdp("10.0.1.2", "10.0.5.3", 1, 53), Ip.OfTcp("10.0.1.2", "10.0.2.2", 1, 2, Inet.Syn, [2, 4, 5, 180, 4, 2, 1, 1]),
            Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2, 1400), Ip.OfUdp("10.0.1.2", "198.51.100.7", 1, 2, 900), Ip.OfEcho("10.0.1.2", "10.0.1.1"), Ip.OfEcho("10.0.1.2", "10.0.5.1"),
            Ip.OfUdp("10.0.1.2", "10.0.2.77", 1, 2), Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2) with { Options = [0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0] },
            Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2, 1000) with { Fragment = 0x2000 }, Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2) with { Ttl = 1 },
            Ip.OfIcmp("10.0.1.2", "10.0.2.2", 3, 3, new byte[40]), Ip.OfUdp("10.0.1.2", "10.0.1.1", 1, 2), Ip.OfUdp("10.0.1.2", "203.0.113.9", 1, 2),
            Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2), Ip.OfUdp("fd00:1::2", "fd00:5::3", 1, 2), Ip.OfTcp("fd00:1::2", "fd00:2::2", 1, 2, Inet.Syn, [2, 4, 5, 160]),
            Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2, 1400), Ip.OfEcho("fd00:1::2", "fd00:1::1"), Ip.OfEcho("fe80::2", "fe80::1"), Ip.OfUdp("fd00:1::2", "2001:db8::5", 1, 2),
            Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2) with { Protocol = 60, Options = [17, 0, 1, 4, 0, 0, 0, 0] }, Ip.OfUdp("fd00:1::2", "fd00:2::77", 1, 2),
            Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2) with { Protocol = 44, Options = [17, 0, 0, 1, 0, 0, 0, 1] }, Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2) with { Ttl = 1 },
        }.Select(packet => (Routed1, ToRouter(Routed1, packet), default(virtio_net_hdr))),
        .. new[]
        {
            Ip.OfUdp("10.0.5.3", "10.0.1.2", 1, 2), Ip.OfEcho("10.0.5.3", "10.0.5.1"), Ip.OfUdp("10.0.5.3", "10.0.2.2", 5, 6, 1300), Ip.OfUdp("fd00:5::3", "fd00:1::2", 1, 2),
            Ip.OfUdp("10.9.9.9", "10.0.1.2", 1, 2), Ip.OfUdp("10.0.5.3", "192.0.2.1", 1, 2),
        }.Select(packet => (Station, packet.In(MacOf(Router), PeerMac(Station)), default(virtio_net_hdr))),
        (Station, Ip.OfUdp("10.0.5.3", "10.0.5.255", 68, 67).In(Frame.Broadcast, PeerMac(Station)), default),
        (Station, Ip.OfEcho("fd00:5::3", "ff02::1").In("33:33:00:00:00:01", PeerMac(Station)), default),
        (Host, Ip.OfUdp("10.0.5.1", "10.0.1.2", 1, 2).In(Alias, MacOf(Router)), default),
        (Host, Ip.OfUdp("10.0.5.1", "203.0.113.9", 1, 2).In(Alias, MacOf(Router)), default),
        // ARP: a request for the router, an answer of a neighbour; and the same of neighbour discovery.
        (Routed1, Arp.Request(PeerMac(1), "10.0.1.2", "10.0.1.1").ToAll(), default),
        (Routed2, Arp.Reply(PeerMac(2, 77), "10.0.2.77", MacOf(Routed2), "10.0.2.1").In(MacOf(Routed2)), default),
        (Station, Arp.Request(PeerMac(Station), "10.0.5.3", "10.0.5.1").ToAll(), default),
        (Routed1, Nd.Ask(PeerMac(1), "fd00:1::2", "fd00:1::1").ToGroup(PeerMac(1)), default),
        (Routed2, Nd.Tell(PeerMac(2, 77), "fd00:2::77", "fd00:2::1").In(MacOf(Routed2), PeerMac(2, 77)), default),
        .. new[] { Inet.Tcp(9000, 1200, options: 12), Inet.Tcp(3000, 1448, v6: true), Inet.Udp(3000, 1200), Inet.Tcp(100), Inet.Udp(1450, v6: true) }
            .Select(large => (Station, Readdressed(large.Frame), large.Vnet)),
    ];

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 3)]
    public void NothingBreaks(int seed, int workers)
    {
        var random = new Random(seed);
        using RouteLab lab = Lab(workers);
        TestSwitch sw = lab.Switch;
        Feed(sw, Corpus, random, seed, InputsPerRun, 50, () => Reconfigure(lab, random));
        // The damage was not such that nothing came through, or nothing went wrong.
        ulong forwarded = sw.Counters(Routed1).Forwarded + sw.Counters(Router).Forwarded, originated = sw.Counters(Routed1).Originated;
        Assert.True(forwarded > InputsPerRun / 10, $"forwarded {forwarded}");
        Assert.True(originated > InputsPerRun / 100, $"originated {originated}");
        foreach (DropReason reason in (DropReason[])[DropReason.Truncated, DropReason.BadIpHeader, DropReason.BadIpChecksum, DropReason.Martian, DropReason.NoRoute,
            DropReason.TtlExceeded, DropReason.NeedsFragmentation, DropReason.MulticastNotRouted, DropReason.NotServed, DropReason.BadIcmp, DropReason.NotForRouter,
            DropReason.SpoofedSource, DropReason.NotIp, DropReason.RouteBlackHole])
        {
            Assert.True(sw.Drops(Routed1, reason) + sw.Drops(Router, reason) != 0, $"{reason} never happened");
        }
    }

    /// <summary>The same packets, in bursts and one by one: the same comes out, in the same order, and the same is dropped.</summary>
    [Theory]
    [InlineData(5)]
    [InlineData(6)]
    public void LoopsAndStepsAgree(int seed)
    {
        using RouteLab loops = Lab(1), steps = Lab(1);
        // A session that wants nothing of what passes: it has packets go step by step, and that is all.
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
                if (input % (Burst * 50) == 0)
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
    }

    private static RouteLab Lab(int workers)
    {
        RouteLab lab = new(workers) { TakesOffloads = true };
        lab.Switch.Port(Station, takesOffloads: true).Port(Host, PortFlags.Default | PortFlags.Host, takesOffloads: true);
        lab.Router(Router, Host, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck, AliasMac = Value(Alias) }, "10.0.5.1/24", "fd00:5::1/64", "172.18.0.1/24", "fd00::1/64")
            .Routed(Routed1, "10.0.1.1/24", "fd00:1::1/64", "fe80::1/64")
            .Routed(Routed2, record => record with { Mtu = 1280, Flags = record.Flags | InterfaceFlags.ClampMss }, "10.0.2.1/24", "fd00:2::1/64");
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
        lab.Neighbour(Router, "10.0.5.3", PeerMac(Station)).Neighbour(Router, "fd00:5::3", PeerMac(Station));
        lab.Via("172.18.0.3", Routed2, "10.0.2.2").Via("fd00::3", Routed2, "fd00:2::2").Route("192.0.2.0/24", NextHopKind.Blackhole);
        return lab.Route(1, "198.51.100.0/24", lab.Group(0, lab.NextHop(Gateway(Routed2, "10.0.2.2")), lab.NextHop(Gateway(Routed2, "10.0.2.3"))));
    }

    /// <summary>Puts spoilt packets into a switch, burst by burst, and looks at all that comes out; in between its configuration changes.</summary>
    /// <param name="sw">The switch.</param>
    /// <param name="corpus">The packets before they are spoilt.</param>
    /// <param name="random">By which.</param>
    /// <param name="seed">Its seed, for messages.</param>
    /// <param name="inputs">How many packets.</param>
    /// <param name="period">Bursts between two changes.</param>
    /// <param name="reconfigure">Changes the configuration.</param>
    internal static void Feed(TestSwitch sw, (int Port, byte[] Frame, virtio_net_hdr Vnet)[] corpus, Random random, int seed, int inputs, int period, Action reconfigure) =>
        Feed(sw, packet => Spoilt(random, packet, corpus), input => CheckOutputs(sw, seed, input), random, inputs, period, reconfigure);

    /// <summary>The same with packets of another kind.</summary>
    /// <param name="sw">The switch.</param>
    /// <param name="spoilt">Writes the next packet to its argument; gives its port, its length and what its sender left undone.</param>
    /// <param name="check">Looks at all that came out up to the input of this number, and takes it.</param>
    /// <param name="random">By which.</param>
    /// <param name="inputs">How many packets.</param>
    /// <param name="period">Bursts between two changes.</param>
    /// <param name="reconfigure">Changes the configuration.</param>
    internal static void Feed(
        TestSwitch sw, Func<byte[], (int Port, int Length, virtio_net_hdr Vnet)> spoilt, Action<int> check, Random random, int inputs, int period, Action reconfigure)
    {
        byte[] packet = new byte[70_000];
        List<nint> held = [];
        for (int input = 0; input < inputs; input++)
        {
            (int port, int length, virtio_net_hdr vnet) = spoilt(packet);
            Inject(sw, port, packet.AsSpan(0, length), vnet, random.Next(6) == 0 ? random.Next(140) : int.MaxValue, random.Next(16) == 0 ? held : null);
            if (input % Burst != 0)
            {
                continue;
            }
            sw.Poll();
            check(input);
            held.ForEach(mbuf => Shim.dps_mbuf_free((rte_mbuf*)mbuf));
            held.Clear();
            sw.Clock.Advance(TimeSpan.FromMilliseconds(random.Next(20)));
            if (input % (Burst * period) == 0)
            {
                sw.CheckAccounting();
                reconfigure();
            }
        }
        sw.Poll();
        held.ForEach(mbuf => Shim.dps_mbuf_free((rte_mbuf*)mbuf));
    }

    /// <summary>Copies a packet and damages it. Gives the port, its new length and what its sender left undone.</summary>
    internal static (int Port, int Length, virtio_net_hdr Vnet) Spoilt(Random random, byte[] packet, (int Port, byte[] Frame, virtio_net_hdr Vnet)[] corpus)
    {
        (int port, byte[] original, virtio_net_hdr vnet) = corpus[random.Next(corpus.Length)];
        original.CopyTo(packet, 0);
        int length = original.Length;
        for (int damage = random.Next(3); damage > 0; damage--)
        {
            switch (random.Next(9))
            {
                case 0: // cut
                    length = random.Next(length + 1);
                    break;
                case 1: // cut in the headers
                    length = Math.Min(length, random.Next(100));
                    break;
                case 2: // padding
                    int more = random.Next(100);
                    random.NextBytes(packet.AsSpan(length, more));
                    length += more;
                    break;
                case 3: // a bit of the headers
                    packet[random.Next(Math.Clamp(length, 1, 60))] ^= (byte)(1 << random.Next(8));
                    break;
                case 4: // a byte of them, with a right checksum, so that it is looked at
                case 5:
                    packet[14 + random.Next(Math.Clamp(length - 14, 1, 60))] = (byte)random.Next(256);
                    Repair(packet, length);
                    break;
                case 6 when length > 40: // an address
                    bool v6 = packet[14] >> 4 == 6;
                    packet[(v6 ? 22 : 26) + random.Next(v6 ? 32 : 8)] = (byte)random.Next(256);
                    Repair(packet, length);
                    break;
                case 7: // the offload request
                    vnet.csum_start = (ushort)random.Next(120);
                    vnet.gso_size = (ushort)(random.Next(2) == 0 ? random.Next(1, 2000) : vnet.gso_size);
                    break;
                default: // a bit anywhere
                    packet[random.Next(Math.Max(1, length))] ^= (byte)(1 << random.Next(8));
                    break;
            }
        }
        return (port, length, vnet);
    }

    private static void Repair(byte[] packet, int length)
    {
        int header = (packet[14] & 15) * 4;
        if (packet[14] >> 4 == 4 && header >= 20 && length >= 14 + header)
        {
            packet.AsSpan(24, 2).Clear();
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(24), Reference.Checksum(packet.AsSpan(14, header)));
        }
    }

    internal static void Inject(TestSwitch sw, int port, ReadOnlySpan<byte> packet, in virtio_net_hdr vnet, int first, List<nint>? held)
    {
        rte_mbuf* mbuf = MbufCopy.FromBytes(packet, sw.Engine.Small, sw.Engine.Large, first);
        if (mbuf == null)
        {
            return; // there are more giants in flight than large buffers
        }
        if (vnet.flags != 0)
        {
            Offload.Accept(mbuf, vnet);
        }
        if (held != null)
        {
            Shim.dps_mbuf_ref(mbuf, 1);
            held.Add((nint)mbuf);
        }
        Assert.True(sw.TryInject(port, mbuf));
    }

    internal static void CheckOutputs(TestSwitch sw, int seed, int input)
    {
        foreach (int port in (int[])[Routed1, Routed2, Station, Host])
        {
            rte_mbuf* mbuf;
            while ((mbuf = sw.TakeMbuf(port)) != null)
            {
                byte* reason;
                byte* data = Mbuf.Data(mbuf);
                bool sound = Shim.dps_mbuf_check(mbuf, &reason) == 0 && mbuf->data_len >= 14;
                // By a routed port only what the router made of something or made itself: its address, a right header, a life left.
                bool routed = port is Routed1 or Routed2;
                bool headers = !routed || IsSound(new ReadOnlySpan<byte>(data, mbuf->data_len), mbuf->pkt_len, port);
                if (!sound || !headers)
                {
                    Assert.Fail($"seed {seed}, up to input {input}: port {port} was sent {mbuf->pkt_len} bytes, sound {sound}, headers {headers}: "
                        + Convert.ToHexString(MbufCopy.ToBytes(mbuf)));
                }
                Shim.dps_mbuf_free(mbuf);
            }
        }
    }

    private static bool IsSound(ReadOnlySpan<byte> frame, uint length, int port)
    {
        bool ours = MacAddress.FromBytes(frame.Slice(6, 6)).ToString() == MacOf(port);
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        if (type == Wire.EtherTypeArp)
        {
            return ours;
        }
        ReadOnlySpan<byte> ip = frame[14..];
        if (type == Wire.EtherTypeIPv6)
        {
            return ours && ip.Length >= 40 && ip[0] >> 4 == 6 && ip[7] != 0 && BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + 54 <= Math.Max(60, length);
        }
        int header = (ip[0] & 15) * 4;
        return ours && type == Wire.EtherTypeIPv4 && ip.Length >= 20 && header >= 20 && ip.Length >= header && Reference.Checksum(ip[..header]) == 0 && ip[8] != 0
            && BinaryPrimitives.ReadUInt16BigEndian(ip[2..]) + 14 <= Math.Max(60, length);
    }

    /// <summary>Whatever an administrator might do, and time.</summary>
    private static void Reconfigure(RouteLab lab, Random random)
    {
        switch (random.Next(8))
        {
            case 0:
                lab.Change(1 + random.Next(2), record => record with { Mtu = (ushort)random.Next(68, 2000) });
                break;
            case 1:
                lab.Change(1 + random.Next(2), record => record with { Flags = record.Flags ^ (InterfaceFlags)(1 << random.Next(1, 5)) });
                break;
            case 2:
                lab.Change(Router, record => record with { HostPort = (ushort)(record.HostPort == 0 ? Host : 0) });
                break;
            case 3:
                lab.Switch.Flags(Routed2, clear: PortFlags.Enabled);
                break;
            case 4:
                lab.Switch.Flags(Station, clear: PortFlags.Enabled);
                break;
            case 5:
                lab.Neighbour(Router, "10.0.5.3", random.Next(2) == 0 ? PeerMac(Station) : MacOf(Router));
                break;
            case 6:
                lab.Switch.Clock.Advance(TimeSpan.FromSeconds(random.Next(60)));
                break;
            default: // back to normal
                lab.Switch.Flags(Routed2, set: PortFlags.Enabled);
                lab.Switch.Flags(Station, set: PortFlags.Enabled);
                lab.Change(Routed1, record => record with { Mtu = 1500, Flags = InterfaceFlags.Exists });
                lab.Change(Routed2, record => record with { Mtu = 1280, Flags = InterfaceFlags.Exists | InterfaceFlags.ClampMss });
                break;
        }
    }

    /// <summary>Without the identification of an ICMP error, which every switch begins anywhere.</summary>
    internal static byte[] Comparable(byte[] frame)
    {
        byte[] copy = [.. frame];
        if (copy.Length > 26 && copy[12] == 8 && copy[13] == 0 && copy[15] >> 5 == 6)
        {
            copy.AsSpan(18, 2).Clear();
            copy.AsSpan(24, 2).Clear();
        }
        return copy;
    }

    /// <summary>To the router, from the station.</summary>
    internal static byte[] Readdressed(byte[] frame)
    {
        byte[] copy = [.. frame];
        MacAddress.Parse(MacOf(Router)).CopyTo(copy);
        MacAddress.Parse(PeerMac(Station)).CopyTo(copy.AsSpan(6));
        return copy;
    }
}
