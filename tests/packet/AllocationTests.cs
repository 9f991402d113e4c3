using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// A worker that allocates nothing is never stopped by the garbage collector. Measured, not believed: a million packets of each
/// kind, and not one byte.
/// </summary>
public sealed unsafe class AllocationTests
{
    private const int Million = 1_000_000;
    private const int Fewer = 200_000;
    private const int WarmUp = 2_048;
    private const int Burst = 64;

    /// <param name="Description">What the packets meet.</param>
    /// <param name="Switch">The switch; packets enter by port 1.</param>
    /// <param name="Packet">The packet, copied a million times.</param>
    /// <param name="Out">Packets that leave by port 2, for each that enters.</param>
    /// <param name="Change">Changes the copy number n, when it is to be another one each time.</param>
    /// <param name="After">Done after each burst.</param>
    /// <param name="Count">Packets: a million of each kind that the steady path has, fewer of what is rare.</param>
    private sealed record Row(string Description, Func<TestSwitch> Switch, Func<Unfinished> Packet, double Out,
        Action<nint, int>? Change = null, Action<TestSwitch, int>? After = null, int Count = Million);

    private static readonly Row[] Table =
    [
        new("known unicast", () => Known(Two()), () => Plain(Of(B, A)), 1),
        new("flooding", () => Two().Port(3).Port(4), () => Plain(Of(Broadcast, A)), 1),
        new("from an access port to a trunk", () => Known(Vlans().Access(1, 10).Trunk(2, [10]), 10), () => Plain(Of(B, A)), 1),
        new("from a trunk to an access port", () => Known(Vlans().Trunk(1, [10]).Access(2, 10), 10), () => Plain(Tagged(B, A, 10)), 1),
        new("from trunk to trunk", () => Known(Vlans().Trunk(1, [10]).Trunk(2, [10]), 10), () => Plain(Tagged(B, A, 10)), 1),
        new("flooding to ports of both forms", () => Vlans().Trunk(1, [10]).Access(2, 10).Trunk(3, [10]), () => Plain(Tagged(Broadcast, A, 10)), 1),
        new("a new address in each packet, and all of them aged", () => Known(Two()), () => Plain(Of(B, A)), 1, NewSource, AgeAll),
        new("an address that moves with each packet", () => Known(Two()).Port(3), () => Plain(Of(B, A)), 1, After: MoveAway),
        new("an address in each packet that the limit forbids", () => Limited(Known(Two())), () => Plain(Of(B, A)), 1, NewSource, NextSecond, Count: Fewer),
        new("a large packet passed on", () => Known(Taps()), () => Inet.Tcp(1400, 700), 1),
        new("a large packet cut", () => Known(new TestSwitch().Port(1, takesOffloads: true).Port(2)), () => Inet.Tcp(300, 100), 3),
        new("a checksum completed", () => Known(new TestSwitch().Port(1, takesOffloads: true).Port(2)), () => Inet.Tcp(300), 1),
        new("a large packet flooded to both kinds", () => Taps().Port(3), () => Inet.Tcp(300, 100, destination: Broadcast), 1, Count: Fewer),
        new("into a tunnel over IPv4", () => IntoTunnel(v6: false), () => Plain(Reference.Finish(Inet.Udp(20))), 1),
        new("into a tunnel over IPv6", () => IntoTunnel(v6: true), () => Plain(Reference.Finish(Inet.Udp(20))), 1),
        new("out of a tunnel over IPv4", () => OutOfTunnel(v6: false), () => Plain(Overlay.From(Of(B, A))), 1),
        new("out of a tunnel over IPv6", () => OutOfTunnel(v6: true), () => Plain(Overlay.From(Of(B, A), v6: true, checksum: true)), 1),
        new("flooded to two tunnels", () => IntoTunnel(v6: false).Tunnel(21, Overlay.Record(false, 2)), () => Plain(Of(Broadcast, A)), 2, Count: Fewer),
        new("a large packet cut for a tunnel", () => IntoTunnel(v6: false), () => Inet.Tcp(300, 150), 2, Count: Fewer),
        new("a tunnel without way", () => NoWay(IntoTunnel(v6: false)), () => Plain(Of(B, A)), 0, Count: Fewer),
        new("a network that nobody knows", () => OutOfTunnel(v6: false), () => Plain(Overlay.From(Of(B, A), vni: 1)), 0, Count: Fewer),
        new("a runt", Two, () => Plain(Of(B, A)[..13]), 0),
        new("a source that makes no sense", Two, () => Plain(Of(B, Broadcast)), 0, Count: Fewer),
        new("a link-local destination", Two, () => Plain(Of(BridgeGroup, A)), 0, Count: Fewer),
        new("a black hole", () => BlackHole(Two()), () => Plain(Of(B, A)), 0),
        new("a wrong VLAN", () => Vlans().Trunk(1, [10]).Trunk(2, [10]), () => Plain(Tagged(B, A, 11)), 0, Count: Fewer),
        new("a policed port", () => new TestSwitch().Port(1, change: r => r with { Flags = r.Flags | PortFlags.Policed, PolicePackets = 1, PolicePacketBurst = 1, PoliceBytes = 1000, PoliceByteBurst = 1000 }).Port(2), () => Plain(Of(Broadcast, A)), 1e-6),
        new("a storm", () => new TestSwitch().Port(1, change: r => r with { StormRate = 1, StormBurst = 1 }).Port(2), () => Plain(Of(Broadcast, A)), 1e-6),
        new("larger than the MTU", () => Known(Two()), () => Plain(Of(B, A, payload: 1600)), 0, Count: Fewer),
        new("segments that cannot be cut", () => Known(new TestSwitch(largeBuffers: 2 * Burst).Port(1).Port(2)), () => Inet.Tcp(2000, 1), 0, Count: Fewer),
        new("a queue that is full", () => Known(new TestSwitch().Port(1).Port(2, depth: 2)), () => Plain(Of(B, A)), 1.0 / Burst, Count: Fewer),
        new("a port without device", () => Gone(Known(Two())), () => Plain(Of(B, A)), 0, Count: Fewer),
        new("routed", Routers, () => Routed(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2)), 1),
        new("routed, IPv6", Routers, () => Routed(Ip.OfUdp("fd00:1::2", "fd00:2::2", 1, 2)), 1),
        new("routed by one of several next hops", Routers, () => Routed(Ip.OfUdp("10.0.1.2", "198.51.100.1", 1, 2)), 1),
        new("routed with options, step by step", Routers, () => Routed(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2) with { Options = [1, 1, 1, 0] }), 1, Count: Fewer),
        new("routed into a bridge", BridgedRouter, () => Routed(Ip.OfUdp("10.0.1.2", "10.0.5.2", 1, 2)), 1),
        new("a SYN that is clamped", Routers, () => Routed(Ip.OfTcp("10.0.1.2", "10.0.2.2", 1, 2, Inet.Syn, [2, 4, 0x22, 0xB4])), 1, Count: Fewer),
        new("a packet cut into fragments", Routers, () => Routed(Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2, 1600)), 2, Count: Fewer),
        new("an echo answered", Routers, () => Routed(Ip.OfEcho("10.0.1.2", "10.0.1.1")), 0, Count: Fewer),
        new("an IPv6 echo answered", Routers, () => Routed(Ip.OfEcho("fd00:1::2", "fd00:1::1")), 0, Count: Fewer),
        new("an ICMP error for each packet", Routers, () => Routed(Ip.OfUdp("10.0.1.2", "203.0.113.1", 1, 2)), 0, After: NextSecond, Count: Fewer),
        new("an ICMPv6 error for each packet", Routers, () => Routed(Ip.OfUdp("fd00:1::2", "2001:db8::1", 1, 2)), 0, After: NextSecond, Count: Fewer),
        new("packets that the router's filters end", Routers, () => Routed(Ip.OfUdp("127.0.0.1", "10.0.2.2", 1, 2)), 0, Count: Fewer),
        new("an ARP request that the router answers", Router, () => Plain(Arp.Request(A, "10.0.0.2", "10.0.0.1").ToAll()), 0, Count: Fewer),
        new("an ARP request for somebody else, to the router too", Router, () => Plain(Arp.Request(A, "10.0.0.2", "10.0.0.3").ToAll()), 1, Count: Fewer),
        new("a neighbour solicitation that the router answers", Router, () => Plain(Nd.Ask(A, "fd00::2", "fd00::1").ToGroup(A)), 0, Count: Fewer),
        new("a new neighbour in each packet, and all of them forgotten", Router, () => Plain(Arp.Request(A, "10.0.0.2", "10.0.0.1").ToAll()), 0,
            NewNeighbour, ForgetAll, Count: Fewer),
        new("a neighbour that has another address in each packet", KnownRouter,
            () => Plain(Arp.Reply(A, "10.0.0.2", Broadcast, "10.0.0.2").ToAll()), 1, NewAddress, Count: Fewer),
        new("packets for addresses where nobody is", () => new RouteLab().Routed(1, "fd00:1::1/64").Routed(4, "fd00:4::1/64").Switch,
            () => Plain(RouteLab.ToRouter(1, Ip.OfUdp("fd00:1::2", "fd00:4::2", 1, 2))), 0, NewDestination, NextSecond, Count: Fewer),
        new("to a service", () => Services(), () => Routed(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53)), 1),
        new("to a service, IPv6", () => Services(), () => Routed(Ip.OfUdp("fd00:1::2", "fd96::1", 5000, 53)), 1),
        new("a new connection to a service with each packet", () => Services(), () => Routed(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53)), 1, NewPort, Count: Fewer),
        new("a new connection from a pool with each packet", () => Services(), () => Routed(Ip.OfUdp("10.0.1.2", "198.51.100.1", 5000, 53)), 1, NewPort, Count: Fewer),
        new("step by step from a pool", () => Services(), () => Routed(Ip.OfEcho("10.0.1.2", "198.51.100.1")), 1, Count: Fewer),
        new("for no service, where there are some", () => Services(pool: false), () => Routed(Ip.OfUdp("10.0.1.2", "10.0.2.2", 5000, 53)), 1),
        new("refused with a reset", () => Services(), () => Routed(Ip.OfTcp("10.0.1.2", "10.96.0.1", 5000, 80, Inet.Syn)), 0, Count: Fewer),
        new("a worker that hands packets over", () => Known(Two(workers: 2)), () => Plain(Of(B, A)), 1),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void NotOneByte(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using TestSwitch sw = row.Switch();
        Unfinished packet = row.Packet();
        rte_mbuf* template = MbufCopy.FromBytes(packet.Frame, sw.Engine.Small, sw.Engine.Large);
        Assert.True(Offload.Accept(template, packet.Vnet));

        // What is done for the first time may allocate: code is compiled, statics come to life.
        Forward(sw, template, row, 0, WarmUp);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Forward(sw, template, row, WarmUp, row.Count);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        Shim.dps_mbuf_free(template);
        Assert.True(sw.Counters(1).RxPackets >= (ulong)row.Count);
        Assert.Equal(Math.Round((sw.Counters(1).RxPackets + sw.Counters(3).RxPackets) * row.Out), sw.Counters(2).TxPackets);
    }

    /// <summary>And on the worker's own thread, with its sleeping and waking.</summary>
    [Fact]
    public void NotOneByteOnAThread()
    {
        using TestSwitch sw = new(workers: 2, clock: new MonotonicClock());
        sw.Port(1).Port(2).Start();
        Traffic traffic = new(sw, (1, 2, false), (2, 1, true));
        traffic.Run(500_000);
        foreach (Worker worker in sw.Engine.Workers)
        {
            WorkerRecord* record = sw.Segment.Workers + worker.Index;
            ulong seen = Volatile.Read(ref record->LastSeen);
            sw.Until(() => Volatile.Read(ref record->LastSeen) != seen, "figures of the next second");
            Assert.Equal(0ul, Volatile.Read(ref record->AllocatedBytes));
        }
    }

    /// <summary>Housekeeping neither: it runs in the same process, and a collection would stop the workers, too.</summary>
    [Fact]
    public void HousekeepingDoesNot()
    {
        using TestSwitch sw = new TestSwitch(options: new SegmentOptions { MacCapacity = 4096, MaxPorts = 64, MaxWorkers = 4 }).Port(1).Port(2);
        rte_mbuf* template = MbufCopy.FromBytes(Of(Broadcast, A), sw.Engine.Small, sw.Engine.Large);
        var row = new Row("", () => sw, () => Plain([]), 1, NewSource, AgeAll);
        Forward(sw, template, row, 0, 10 * WarmUp);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Forward(sw, template, row, 10 * WarmUp, 200_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(sw.BridgeRuntime.Aged >= 200_000);
        Shim.dps_mbuf_free(template);
    }

    private static void Forward(TestSwitch sw, rte_mbuf* template, Row row, int from, int count)
    {
        int bursts = (count + Burst - 1) / Burst;
        for (int burst = 0; burst < bursts; burst++)
        {
            for (int i = 0; i < Burst; i++)
            {
                rte_mbuf* copy = MbufCopy.Deep(template, sw.Engine.Small, sw.Engine.Large);
                row.Change?.Invoke((nint)copy, from + (burst * Burst) + i);
                Assert.True(sw.TryInject(1, copy));
            }
            PollAll(sw);
            row.After?.Invoke(sw, from + (burst * Burst));
            for (int port = 1; port <= 4; port++)
            {
                sw.Drain(port);
            }
        }
    }

    private static void PollAll(TestSwitch sw)
    {
        // The first worker last: it owns the transmit queues.
        for (int i = sw.Engine.Workers.Count - 1; i >= 0; i--)
        {
            sw.Engine.Workers[i].PollOnce();
        }
    }

    private static void NewSource(nint mbuf, int number) =>
        *(uint*)(Mbuf.Data((rte_mbuf*)mbuf) + 8) = (uint)number;

    /// <summary>Another source port in a UDP packet without checksum.</summary>
    private static void NewPort(nint mbuf, int number)
    {
        byte* udp = Mbuf.Data((rte_mbuf*)mbuf) + 34;
        (*(ushort*)udp, *(ushort*)(udp + 6)) = ((ushort)number, 0);
    }

    private static void AgeAll(TestSwitch sw, int number)
    {
        if (number % 512 == 0)
        {
            sw.Clock.Advance(TimeSpan.FromSeconds(301));
            for (int i = 0; i < 4; i++)
            {
                PollAll(sw);
                sw.Engine.Housekeeping.RunOnce();
            }
        }
    }

    /// <summary>Another sender in an ARP packet.</summary>
    private static void NewNeighbour(nint mbuf, int number) => *(ushort*)(Mbuf.Data((rte_mbuf*)mbuf) + 30) = (ushort)(number | 0x80);

    /// <summary>Another hardware address of the sender in an ARP packet.</summary>
    private static void NewAddress(nint mbuf, int number) => *(uint*)(Mbuf.Data((rte_mbuf*)mbuf) + 24) = (uint)number;

    private static void NewDestination(nint mbuf, int number) => *(uint*)(Mbuf.Data((rte_mbuf*)mbuf) + 50) = (uint)number;

    private static void ForgetAll(TestSwitch sw, int number)
    {
        if (number % 512 == 0)
        {
            sw.Clock.Advance(TimeSpan.FromSeconds(NeighbourTimes.Unused + 1));
            for (int i = 0; i < 4; i++)
            {
                PollAll(sw);
                sw.Engine.Housekeeping.RunOnce();
            }
        }
    }

    private static void NextSecond(TestSwitch sw, int number) => sw.Clock.Advance(TimeSpan.FromMilliseconds(100));

    private static void MoveAway(TestSwitch sw, int number)
    {
        // One packet by another port, so that each burst begins with a move.
        rte_mbuf* mbuf;
        if ((mbuf = sw.TakeMbuf(2)) != null)
        {
            sw.TryInject(3, mbuf);
            PollAll(sw);
        }
    }

    private static Unfinished Plain(byte[] frame) => new(frame, default);
    private static TestSwitch Two() => new TestSwitch().Port(1).Port(2);
    private static TestSwitch Two(int workers) => new TestSwitch(workers).Port(1).Port(2);
    private static TestSwitch Taps() => new TestSwitch().Port(1, takesOffloads: true).Port(2, takesOffloads: true);
    private static TestSwitch KnownRouter()
    {
        TestSwitch sw = Router();
        Assert.Equal(NeighbourResult.Inserted, sw.Segment.Neighbours.Insert(NeighbourTable.Key4(5, 0x0A00_0002), NeighbourValue.Make(NeighbourState.Stale, 2), 0, out _));
        return sw;
    }

    private static TestSwitch Router()
    {
        var lab = new RouteLab(options: new SegmentOptions { MacCapacity = 1024, MaxPorts = 64, MaxWorkers = 4 });
        lab.Switch.Port(1).Port(2);
        return lab.Router(5, 0, record => record, "10.0.0.1/16", "fd00::1/64").Switch;
    }

    private static TestSwitch Vlans() => new(bridge: TestSwitch.VlanAware);

    private static TestSwitch Known(TestSwitch sw, int vlan = 0)
    {
        sw.SetStatic(B, 2, vlan: vlan);
        return sw;
    }

    private static TestSwitch IntoTunnel(bool v6)
    {
        TestSwitch sw = new TestSwitch().Port(1, takesOffloads: true).AddUnderlay(2).Tunnel(20, Overlay.Record(v6, 1));
        sw.SetStatic(B, 20);
        return sw;
    }

    private static TestSwitch OutOfTunnel(bool v6) => Known(new TestSwitch().AddUnderlay(1).Port(2).Tunnel(20, Overlay.Record(v6, 1)));

    private static TestSwitch NoWay(TestSwitch sw)
    {
        sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Unreachable });
        return sw;
    }

    private static Unfinished Routed(Ip packet) => Plain(RouteLab.ToRouter(1, packet));

    /// <summary>A router between ports 1 and 2.</summary>
    private static TestSwitch Routers()
    {
        RouteLab lab = new();
        lab.Routed(1, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck }, "10.0.1.1/24", "fd00:1::1/64")
            .Routed(2, record => record with { Flags = record.Flags | InterfaceFlags.ClampMss }, "10.0.2.1/24", "fd00:2::1/64")
            .Neighbour(2, "10.0.2.2").Neighbour(2, "10.0.2.3").Neighbour(2, "fd00:2::2");
        uint group = lab.Group(0, lab.NextHop(RouteLab.Gateway(2, "10.0.2.2")), lab.NextHop(RouteLab.Gateway(2, "10.0.2.3")));
        return lab.Route(1, "198.51.100.0/24", group).Switch;
    }

    /// <summary>A router between ports 1 and 2, with services, and a pool of addresses towards the world.</summary>
    private static TestSwitch Services(bool pool = true)
    {
        var lab = new RouteLab(options: new SegmentOptions { MacCapacity = 1024, MaxPorts = 64, MaxWorkers = 4, ConnectionCapacity = 4096 });
        lab.Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64")
            .Neighbour(1, "10.0.1.2").Neighbour(2, "10.0.2.2").Neighbour(2, "fd00:2::2").Via("198.51.100.0/24", 2, "10.0.2.2");
        lab.Service(Ip.Udp, "10.96.0.1:53", "10.0.2.2:53").Service(Ip.Udp, "[fd96::1]:53", "[fd00:2::2]:53").Service(Ip.Tcp, "10.96.0.1:80").Tracks();
        return (pool ? lab.Masquerade(1, 2, ["10.0.2.1"]) : lab).Switch;
    }

    /// <summary>A router between port 1 and a bridge with port 2.</summary>
    private static TestSwitch BridgedRouter()
    {
        RouteLab lab = new RouteLab().Routed(1, "10.0.1.1/24").Router(10, 0, record => record, "10.0.5.1/24").Neighbour(10, "10.0.5.2", B);
        return Known(lab.Switch.Port(2));
    }

    private static TestSwitch Limited(TestSwitch sw)
    {
        sw.Change(1, record => record with { LearnLimit = 1 });
        return sw;
    }

    private static TestSwitch BlackHole(TestSwitch sw)
    {
        sw.SetStatic(B, 0, MacFlags.Drop);
        return sw;
    }

    private static TestSwitch Gone(TestSwitch sw)
    {
        sw.Detach(2);
        return sw;
    }
}
