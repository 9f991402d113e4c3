using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Stages;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>Each reason for which a packet may end: what provokes it, and that it alone is counted, on the right port.</summary>
public sealed unsafe class DropReasonTests
{
    /// <param name="Description">What happens, as a sentence.</param>
    /// <param name="Reason">What is counted.</param>
    /// <param name="Port">Where: the port it came from, or for reasons at the way out the one it was meant for.</param>
    /// <param name="Switch">The switch.</param>
    /// <param name="Provoke">Sends the packets.</param>
    /// <param name="Count">How many of them are dropped.</param>
    private sealed record Row(string Description, DropReason Reason, int Port, Func<TestSwitch> Switch, Action<TestSwitch> Provoke, ulong Count = 1);

    private static readonly Row[] Table =
    [
        new("a frame of 13 bytes", DropReason.Truncated, 1, Two, sw => sw.Send(1, Of(B, A)[..13])),
        new("a tag that the frame ends in", DropReason.Truncated, 1, Trunks, sw => sw.Send(1, Tagged(B, A, 10)[..17])),
        new("a group address as source", DropReason.SourceMulticast, 1, Two, sw => sw.Send(1, Of(B, "01:00:5e:00:00:01"))),
        new("broadcast as source", DropReason.SourceMulticast, 1, Two, sw => sw.Send(1, Of(B, Broadcast))),
        new("no source", DropReason.SourceZero, 1, Two, sw => sw.Send(1, Of(B, "00:00:00:00:00:00"))),
        new("the bridge's address as source", DropReason.SourceOwn, 1,
            () => Two(b => b with { Mac = MacAddress.Parse(C).Value }), sw => sw.Send(1, Of(B, C))),
        new("a source that is fixed to another port", DropReason.SourceStatic, 1, Two, sw =>
        {
            sw.SetStatic(A, 2);
            sw.Send(1, Of(B, A));
        }),
        new("a port disabled by the administrator", DropReason.PortDisabled, 1, Two, sw =>
        {
            sw.Flags(1, clear: PortFlags.Enabled);
            sw.Send(1, Of(B, A));
        }),
        new("a port disabled by the switch", DropReason.PortDisabled, 1, Two, sw =>
        {
            sw.Runtime(1).State = PortState.ErrDisabled;
            sw.Send(1, Of(B, A));
        }),
        new("a port without configuration", DropReason.PortDisabled, 1, Two, sw =>
        {
            sw.Change(1, _ => default);
            sw.Send(1, Of(B, A));
        }),
        new("a port in no bridge", DropReason.NoBridge, 1, Two, sw =>
        {
            sw.Change(1, record => record with { Bridge = 0 });
            sw.Send(1, Of(B, A));
        }),
        new("a port in a bridge that is gone", DropReason.NoBridge, 1, Two, sw =>
        {
            sw.SetBridge(default);
            sw.Send(1, Of(B, A));
        }),
        new("a link-local destination", DropReason.LinkLocal, 1, Two, sw => sw.Send(1, Of("01:80:c2:00:00:0e", A))),
        new("a bridge protocol data unit, unguarded", DropReason.LinkLocal, 1, Two, sw => sw.Send(1, Of(BridgeGroup, A))),
        new("a bridge protocol data unit, guarded", DropReason.BpduGuard, 1, Two, sw =>
        {
            sw.Flags(1, set: PortFlags.BpduGuard);
            sw.Send(1, Of(BridgeGroup, A));
        }),
        new("a VLAN that the input port does not carry", DropReason.VlanNotAllowed, 1, Trunks, sw => sw.Send(1, Tagged(B, A, 11))),
        new("a VLAN that the known output port does not carry", DropReason.VlanNotAllowed, 1, Trunks, sw =>
        {
            sw.SetStatic(B, 2, vlan: 10);
            sw.Change(2, record => TestSwitch.Vlan(record, [20], 0));
            sw.Send(1, Tagged(B, A, 10));
        }),
        new("a tag on an access port", DropReason.VlanTagged, 1, Accesses, sw => sw.Send(1, Tagged(B, A, 10))),
        new("no tag on a trunk without native VLAN", DropReason.VlanUntagged, 1, Trunks, sw => sw.Send(1, Of(B, A))),
        new("a priority tag on a trunk without native VLAN", DropReason.VlanUntagged, 1, Trunks, sw => sw.Send(1, Tagged(B, A, 0))),
        new("a drop entry for the destination", DropReason.BlackHole, 1, Two, sw =>
        {
            sw.SetStatic(B, 0, MacFlags.Drop);
            sw.Send(1, Of(B, A));
        }),
        new("a drop entry for the source", DropReason.BlackHole, 1, Two, sw =>
        {
            sw.SetStatic(A, 0, MacFlags.Drop);
            sw.Send(1, Of(B, A));
        }),
        new("a destination behind the input port", DropReason.SamePort, 1, Two, sw =>
        {
            sw.SetStatic(B, 1);
            sw.Send(1, Of(B, A));
        }),
        new("from one isolated port to another", DropReason.Isolated, 1, Two, sw =>
        {
            sw.SetStatic(B, 2);
            sw.Flags(1, set: PortFlags.Isolated);
            sw.Flags(2, set: PortFlags.Isolated);
            sw.Send(1, Of(B, A));
        }),
        new("a bridge with one port", DropReason.NoFloodTarget, 1, () => new TestSwitch().Port(1), sw => sw.Send(1, Of(Broadcast, A))),
        new("the third flooded packet where two are allowed", DropReason.StormControl, 1, Two, sw =>
        {
            sw.Change(1, record => record with { StormRate = 1, StormBurst = 2 });
            sw.Send(1, Of(Broadcast, A), Of(Broadcast, A), Of(Broadcast, A));
        }),
        new("the third packet where a policy allows two", DropReason.RateLimit, 1, Two, sw =>
        {
            sw.Change(1, record => record with { Flags = record.Flags | PortFlags.Policed, PolicePackets = 1, PolicePacketBurst = 2 });
            sw.Send(1, Of(Broadcast, A), Of(Broadcast, A), Of(Broadcast, A));
        }),
        new("a checksum to be completed behind the end", DropReason.BadOffload, 3, Two, sw =>
        {
            sw.Tap(3, out TapWire wire);
            Assert.True(wire.Send(Of(B, A), new virtio_net_hdr { flags = 1, csum_start = 100, csum_offset = 16 }));
            sw.Poll();
        }),
        new("no room for a tag in front of the frame", DropReason.Oversized, 1, AccessToTrunk, sw =>
        {
            sw.SetStatic(B, 2, vlan: 10);
            rte_mbuf* mbuf = MbufCopy.FromBytes(Of(B, A), sw.Engine.Small, sw.Engine.Large);
            int headroom = Mbuf.Headroom(mbuf);
            byte[] frame = [.. Of(B, A), .. new byte[headroom - 3]];
            frame.CopyTo(new Span<byte>(Mbuf.Prepend(mbuf, headroom - 3), frame.Length));
            Assert.True(sw.TryInject(1, mbuf));
            sw.Poll();
        }),
        new("an address on a port that is in another bridge now", DropReason.OutputGone, 1, Two, sw =>
        {
            sw.Send(2, Of(Broadcast, B));
            sw.Change(2, record => record with { Bridge = 2 });
            sw.Send(1, Of(B, A));
        }),
        new("an address on a port that the administrator disabled", DropReason.OutputDisabled, 1, Two, sw =>
        {
            sw.Send(2, Of(Broadcast, B));
            sw.Flags(2, clear: PortFlags.Enabled);
            sw.Send(1, Of(B, A));
        }),
        new("a tag to put into a packet that others hold, and no buffer", DropReason.NoBuffer, 1, AccessToTrunk, sw =>
        {
            sw.SetStatic(B, 2, vlan: 10);
            rte_mbuf* mbuf = MbufCopy.FromBytes(Of(B, A), sw.Engine.Small, sw.Engine.Large);
            Shim.dps_mbuf_ref(mbuf, 1);
            Assert.True(sw.TryInject(1, mbuf));
            using (Hoard.All(sw.Engine.Small))
            {
                sw.Poll();
            }
            Shim.dps_mbuf_free(mbuf);
        }),
        new("not to the router", DropReason.NotForRouter, 1, Routers, sw => sw.Send(1, Udp("10.0.2.2").In(A, RouteLab.PeerMac(1)))),
        new("to the router, and no IP", DropReason.NotIp, 1, Routers, sw => sw.Send(1, Of(RouteLab.MacOf(1), RouteLab.PeerMac(1)))),
        new("half an IP packet", DropReason.BadIpHeader, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("10.0.2.2"))[..40])),
        new("an IP header that was damaged", DropReason.BadIpChecksum, 1, Routers, sw =>
        {
            byte[] frame = RouteLab.ToRouter(1, Udp("10.0.2.2"));
            frame[18] ^= 1;
            sw.Send(1, frame);
        }),
        new("to the loopback address", DropReason.Martian, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("127.0.0.1")))),
        new("from an address of another network", DropReason.SpoofedSource, 1, Routers, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.9.9.9", "10.0.2.2", 1, 2)))),
        new("to a multicast group, by way of the router", DropReason.MulticastNotRouted, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("224.0.0.251")))),
        new("the last hop of a packet's life", DropReason.TtlExceeded, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("10.0.2.2") with { Ttl = 1 }))),
        new("to where no route leads", DropReason.NoRoute, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("203.0.113.1")))),
        new("a route into a black hole", DropReason.RouteBlackHole, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("192.0.2.1")))),
        new("a route to what is unreachable", DropReason.RouteUnreachable, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("192.0.2.65")))),
        new("a route to what is prohibited", DropReason.RouteProhibited, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("192.0.2.129")))),
        new("larger than the next hop's MTU, and not to be cut", DropReason.NeedsFragmentation, 1, Routers, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2, 1480) with { Fragment = 0x4000 }))),
        new("an echo request that was damaged", DropReason.BadIcmp, 1, Routers, sw =>
        {
            byte[] frame = RouteLab.ToRouter(1, Ip.OfEcho("10.0.1.2", "10.0.1.1"));
            frame[^1] ^= 1;
            sw.Send(1, frame);
        }),
        new("to a port of the router", DropReason.NotServed, 1, Routers, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("10.0.1.1")))),
        new("a next hop that is a router of the switch", DropReason.RouterLoop, 1, () => new RouteLab().Router(10, 0, record => record, "10.0.5.1/24")
            .Routed(1, "10.0.1.1/24").Neighbour(10, "10.0.5.9", RouteLab.MacOf(10)).Switch, sw => sw.Send(1, RouteLab.ToRouter(1, Udp("10.0.5.9")))),
        new("from one tunnel to another", DropReason.SplitHorizon, Overlay.FirstTunnel, () => Overlay.Node(others: 2), sw =>
        {
            sw.SetStatic(B, Overlay.FirstTunnel + 1);
            sw.Send(Overlay.Underlay, Overlay.From(Of(B, A)));
        }),
        new("a tunnel packet without a whole frame", DropReason.VxlanTruncated, Overlay.Underlay, () => Overlay.Node(), sw =>
            sw.Send(Overlay.Underlay, Overlay.From(Of(B, A)[..13]))),
        new("a tunnel packet that says it has no VNI", DropReason.VxlanFlags, Overlay.Underlay, () => Overlay.Node(), sw =>
        {
            byte[] outer = Overlay.From(Of(B, A));
            outer[42] = 0;
            sw.Send(Overlay.Underlay, outer);
        }),
        new("a network that nobody knows", DropReason.VxlanVni, Overlay.Underlay, () => Overlay.Node(), sw =>
            sw.Send(Overlay.Underlay, Overlay.From(Of(B, A), vni: 7))),
        new("a node that nobody knows", DropReason.VxlanVtep, Overlay.Underlay, () => Overlay.Node(), sw =>
            sw.Send(Overlay.Underlay, Overlay.From(Of(B, A), node: 9))),
        new("an outer packet over IPv6 without checksum", DropReason.VxlanChecksum, Overlay.Underlay, () => Overlay.Node(v6: true), sw =>
            sw.Send(Overlay.Underlay, Overlay.From(Of(B, A), v6: true))),
        new("the first fragment of an outer packet", DropReason.VxlanFragment, Overlay.Underlay, () => Overlay.Node(), sw =>
        {
            byte[] outer = Overlay.From(Of(B, A));
            outer[20] = 0x20;
            outer.AsSpan(24, 2).Clear();
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(outer.AsSpan(24), Reference.Checksum(outer.AsSpan(14, 20)));
            sw.Send(Overlay.Underlay, outer);
        }),
        new("congestion that the inner sender does not know of", DropReason.VxlanCongestion, Overlay.Underlay, () => Overlay.Node(), sw =>
            sw.Send(Overlay.Underlay, Overlay.From(Reference.Finish(Inet.Udp(10)), ecn: Ecn.Congestion))),
        new("a tunnel whose other end is on no route", DropReason.EgressNoTunnelRoute, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.Writer.Begin();
            sw.Writer.RemoveRoute4(Overlay.Vrf, RoutePrefix.Of4(0, 0));
            sw.Writer.Commit();
            sw.Send(1, Of(B, A));
        }),
        new("a tunnel whose other end is in a black hole", DropReason.EgressNoTunnelRoute, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Blackhole });
            sw.Send(1, Of(B, A));
        }),
        new("a tunnel by a port that the administrator disabled", DropReason.EgressNoTunnelRoute, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.Flags(Overlay.Underlay, clear: PortFlags.Enabled);
            sw.Send(1, Of(B, A));
        }),
        new("a tunnel port that has no tunnel", DropReason.EgressNoTunnelRoute, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.Tunnel(Overlay.FirstTunnel, default);
            sw.Send(1, Of(B, A));
        }),
        new("a frame that leaves no room for the outer headers", DropReason.EgressTunnelMtu, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
            sw.Send(1, Of(B, A, payload: Overlay.Mtu - 49))),
        new("a tunnel to the switch itself", DropReason.EgressTunnelLoop, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.Tunnel(Overlay.FirstTunnel, Overlay.Record(false, 0));
            sw.Send(1, Of(B, A));
        }),
        new("a tunnel by way of a tunnel", DropReason.EgressTunnelLoop, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.RouteBy(Overlay.Adjacency(Overlay.FirstTunnel));
            sw.Send(1, Of(B, A));
        }),
        new("segments to cut for a tunnel, and no buffers", DropReason.EgressNoBuffer, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            Unfinished packet = Inet.Tcp(payload: 4000, mss: 1000);
            rte_mbuf* mbuf = MbufCopy.FromBytes(packet.Frame, sw.Engine.Small, sw.Engine.Large);
            Assert.True(Offload.Accept(mbuf, packet.Vnet));
            Assert.True(sw.TryInject(1, mbuf));
            using (Hoard.All(sw.Engine.Small))
            {
                sw.Poll();
            }
        }),
        new("outer headers for a packet that others hold, and no buffer", DropReason.EgressNoBuffer, Overlay.FirstTunnel, () => Overlay.Node(), sw =>
        {
            sw.Inject(1, Of(Broadcast, A));
            using (Hoard.All(sw.Engine.Small))
            {
                sw.Poll();
            }
        }),
        new("a segment for a tunnel that is no IP packet", DropReason.EgressBadOffload, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
            sw.Send(1, new Unfinished(Of(B, A, payload: 400), new virtio_net_hdr { flags = 1, gso_type = 1, gso_size = 100, csum_start = 34, csum_offset = 16 }))),
        new("a checksum field for a tunnel in the second buffer", DropReason.EgressBadOffload, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
            sw.Send(1, Inet.Udp(payload: 10), firstBuffer: 40)),
        new("a tunnel that the switch has disabled", DropReason.EgressDisabled, Overlay.FirstTunnel, () => IntoTunnel(), sw =>
        {
            sw.Runtime(Overlay.FirstTunnel).State = PortState.ErrDisabled;
            sw.Send(1, Of(B, A));
        }),
        new("a next hop that nobody answers for", DropReason.NeighbourUnresolved, 1, NoNeighbours, sw =>
        {
            sw.Send(1, ToNobody());
            foreach (int seconds in (int[])[1, 2, 4])
            {
                sw.Clock.Advance(TimeSpan.FromSeconds(seconds));
                sw.Poll();
            }
        }),
        new("two packets more than may wait for a next hop", DropReason.NeighbourQueueFull, 1, NoNeighbours, sw =>
            sw.Send(1, [.. Enumerable.Repeat(ToNobody(), Resolutions.PacketsPerNeighbour + 2)]), Count: 2),
        new("an ARP packet that ends too early", DropReason.BadArp, 1, NoNeighbours, sw =>
            sw.Send(1, Arp.Request(RouteLab.PeerMac(1), "10.0.1.2", "10.0.1.1").ToAll()[..41])),
        new("a neighbour solicitation from far away", DropReason.BadNeighbourDiscovery, 1, NoNeighbours, sw =>
            sw.Send(1, (Nd.Ask(RouteLab.PeerMac(1), "fd00:1::2", "fd00:1::1") with { HopLimit = 254 }).ToGroup(RouteLab.PeerMac(1)))),
        new("a service without backends", DropReason.ServiceNoBackend, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53)))),
        new("a port that no service has at its address", DropReason.ServiceNotServed, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 54)))),
        new("an error about nothing to a service", DropReason.ServiceNotServed, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfIcmp("10.0.1.2", "10.96.0.1", 3, 3, [0, 0, 0, 0, .. Ip.OfUdp("10.96.0.1", "10.0.1.2", 54, 5000).ToBytes()])))),
        new("the end of an unknown connection", DropReason.NoConnection, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfTcp("10.0.1.2", "10.96.0.1", 5000, 80, Inet.Fin | Inet.Ack)))),
        new("a second host for the one port of a pool", DropReason.NatPoolExhausted, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.0.2.2", 5000, 53)), RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.3", "10.0.2.2", 5000, 53)))),
        new("half a UDP header from a masqueraded host", DropReason.NatUnreadable, 1, Services, sw =>
            sw.Send(1, RouteLab.ToRouter(1, new Ip("10.0.1.2", "10.0.2.2", Ip.Udp, [1, 2, 3, 4])))),
        new("a later fragment of nothing", DropReason.NatFragment, 1, Services, sw =>
        {
            sw.Send(1, RouteLab.ToRouter(1, new Ip("10.0.1.2", "10.96.0.1", Ip.Udp, new byte[64]) { Fragment = 100 }));
            sw.Clock.Advance(TimeSpan.FromSeconds(1));
            sw.Poll();
        }),
        new("a connection whose backend is gone", DropReason.ConnectionReset, 1, Services, sw =>
        {
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfTcp("10.0.1.2", "10.96.0.1", 5000, 80, Inet.Syn)));
            sw.Segment.ConnectionSweep.Add(1, BackendRemoval.Reset);
            ulong request = sw.Segment.ConnectionSweep.Request();
            for (int turn = 0; turn < 1000 && !sw.Segment.ConnectionSweep.IsDone(request); turn++)
            {
                sw.Engine.Housekeeping.RunOnce();
            }
            sw.Send(1, RouteLab.ToRouter(1, Ip.OfTcp("10.0.1.2", "10.96.0.1", 5000, 80, Inet.Ack)));
        }),
        new("a connection more than there is room for", DropReason.ConnectionTableFull, 1, () => Services(firstPort: 1024), sw =>
        {
            for (int i = 0; sw.Segment.Connections.Statistics().Refused == 0; i++)
            {
                // Answered, so that it makes no room for another.
                sw.Send(1, RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.0.2.2", 1024 + i, 53)));
                if (sw.Drain(2) != 0)
                {
                    sw.Send(2, RouteLab.ToRouter(2, Ip.OfUdp("10.0.2.2", "10.0.2.1", 53, 1024 + i)));
                    sw.Drain(1);
                }
            }
        }),
        new("an output port without device", DropReason.EgressDetached, 2, Two, sw =>
        {
            sw.SetStatic(B, 2);
            sw.Detach(2);
            sw.Send(1, Of(B, A));
        }),
        new("the fourth packet into a queue for three", DropReason.EgressFull, 2, () => new TestSwitch().Port(1).Port(2, depth: 4), sw =>
            sw.Send(1, Of(B, A), Of(B, A), Of(B, A), Of(B, A))),
        new("five bytes more than MTU and tag", DropReason.EgressMtu, 2, Two, sw => sw.Send(1, Of(B, A, payload: 1505))),
        new("segments that exceed the MTU", DropReason.EgressMtu, 2, Two, sw =>
            sw.Send(1, Inet.Tcp(payload: 4000, mss: 1500))),
        new("both forms of a flooded packet, and no buffer", DropReason.EgressNoBuffer, 3, () => new TestSwitch(bridge: TestSwitch.VlanAware).Access(1, 10).Trunk(2, [10]).Access(3, 10), sw =>
        {
            sw.Inject(1, Of(Broadcast, A));
            using (Hoard.All(sw.Engine.Small))
            {
                sw.Poll();
            }
        }),
        new("segments to cut, and no buffers", DropReason.EgressNoBuffer, 2, Two, sw =>
        {
            Unfinished packet = Inet.Tcp(payload: 4000, mss: 1000);
            rte_mbuf* mbuf = MbufCopy.FromBytes(packet.Frame, sw.Engine.Small, sw.Engine.Large);
            Assert.True(Offload.Accept(mbuf, packet.Vnet));
            Assert.True(sw.TryInject(1, mbuf));
            using (Hoard.All(sw.Engine.Small))
            {
                sw.Poll();
            }
        }),
        new("segments of what is no IP packet", DropReason.EgressBadOffload, 2, Two, sw =>
            sw.Send(1, new Unfinished(Of(B, A, payload: 400), new virtio_net_hdr { flags = 1, gso_type = 1, gso_size = 100, csum_start = 34, csum_offset = 16 }))),
        new("a checksum field in the second buffer", DropReason.EgressBadOffload, 2, Two, sw =>
            sw.Send(1, Inet.Udp(payload: 10), firstBuffer: 40)),
        new("a device that refuses", DropReason.EgressDevice, 3, Two, sw =>
        {
            sw.Tap(3, out TapWire wire);
            wire.Dispose();
            sw.SetStatic(B, 3);
            sw.Send(1, Of(B, A));
        }),
        new("an output port disabled by the switch", DropReason.EgressDisabled, 2, Two, sw =>
        {
            sw.Runtime(2).State = PortState.ErrDisabled;
            sw.Send(1, Of(B, A));
        }),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void IsCountedAlone(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using TestSwitch sw = row.Switch();
        row.Provoke(sw);
        Assert.Equal($"{row.Port} {row.Reason} {row.Count}", sw.Drops());
    }

    [Fact]
    public void EveryReasonHasARow() =>
        Assert.Empty(DropReasons.All.Except(Table.Select(row => row.Reason)));

    [Fact]
    public void EveryReasonHasANameAndAText()
    {
        foreach (DropReason reason in DropReasons.All)
        {
            Assert.Matches("^[a-z]+(-[a-z]+)*$", reason.Name());
            Assert.NotEmpty(reason.Text());
        }
        Assert.Equal(DropReasons.All.Count(), DropReasons.All.Select(reason => reason.Name()).Distinct().Count());
    }

    private static TestSwitch IntoTunnel()
    {
        TestSwitch sw = Overlay.Node();
        sw.SetStatic(B, Overlay.FirstTunnel);
        return sw;
    }

    private static Ip Udp(string destination) => Ip.OfUdp("10.0.1.2", destination, 1000, 2000);

    /// <summary>A router between ports 1 and 2.</summary>
    private static TestSwitch Routers() => new RouteLab()
        .Routed(1, record => record with { Flags = record.Flags | InterfaceFlags.SourceCheck }, "10.0.1.1/24").Routed(2, "10.0.2.1/24").Neighbour(2, "10.0.2.2")
        .Route("192.0.2.0/26", NextHopKind.Blackhole).Route("192.0.2.64/26", NextHopKind.Unreachable).Route("192.0.2.128/26", NextHopKind.Prohibited).Switch;

    private static TestSwitch Services() => Services(firstPort: 65535);

    /// <summary>Hosts on port 1 are masqueraded on port 2, and there is a service.</summary>
    private static TestSwitch Services(ushort firstPort) => new RouteLab(options: new SegmentOptions { MacCapacity = 1024, MaxPorts = 64, MaxWorkers = 4, ConnectionCapacity = 1024 })
        .Routed(1, "10.0.1.1/24").Routed(2, "10.0.2.1/24").Neighbour(1, "10.0.1.2").Neighbour(2, "10.0.2.2")
        .Service(Ip.Udp, "10.96.0.1:53").Service(Ip.Tcp, "10.96.0.1:80", "10.0.2.2:80").ServiceAddress("10.96.0.1")
        .Masquerade(1, 2, ["10.0.2.1"], firstPort, 65535).Tracks().Switch;

    private static TestSwitch NoNeighbours() => new RouteLab().Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64").Switch;
    private static byte[] ToNobody() => RouteLab.ToRouter(1, Ip.OfUdp("10.0.1.2", "10.0.2.2", 1, 2));
    private static TestSwitch Two() => Two(null);
    private static TestSwitch Two(Func<BridgeRecord, BridgeRecord>? bridge) => new TestSwitch(bridge: bridge).Port(1).Port(2);
    private static TestSwitch Trunks() => new TestSwitch(bridge: TestSwitch.VlanAware).Trunk(1, [10]).Trunk(2, [10]);
    private static TestSwitch Accesses() => new TestSwitch(bridge: TestSwitch.VlanAware).Access(1, 10).Access(2, 10);
    private static TestSwitch AccessToTrunk() => new TestSwitch(bridge: TestSwitch.VlanAware).Access(1, 10).Trunk(2, [10]);
}
