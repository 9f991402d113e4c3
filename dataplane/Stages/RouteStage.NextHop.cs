using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// From the route to the wire.
public static unsafe partial class RouteStage
{
    private const int TcpMinHeader = 20;

    /// <summary>What the route says (RFC 1812, 5.2.4).</summary>
    private static void Follow(ref Routed packet, uint route)
    {
        Worker w = packet.Worker;
        uint index = w.NextHop((int)route).Kind == NextHopKind.Group
            ? RouteBurst.Member(w, route, packet.Ip, packet.Readable, packet.IsIPv6)
            : route;
        ref readonly NextHopRecord hop = ref w.NextHop((int)index);
        packet.Route = index;
        w.Watcher.Step(TraceStep.Routed, hop.Port, ((ulong)hop.Kind << 32) | index, index != route ? 1u : 0);
        switch (hop.Kind)
        {
            case NextHopKind.None:
                packet.Reject(DropReason.NoRoute, IcmpError.NoRoute);
                break;
            case NextHopKind.Local:
                if (!packet.Tracked.IsTracked || TryBegin(ref packet, in hop))
                {
                    Deliver(ref packet, hop.Port);
                }
                break;
            case NextHopKind.Blackhole:
                packet.Drop(DropReason.RouteBlackHole);
                break;
            case NextHopKind.Unreachable:
                packet.Reject(DropReason.RouteUnreachable, packet.IsIPv6 ? IcmpError.NoRoute : IcmpError.HostUnreachable);
                break;
            case NextHopKind.Prohibited:
                packet.Reject(DropReason.RouteProhibited, IcmpError.Prohibited);
                break;
            default:
                Pass(ref packet, in hop);
                break;
        }
    }

    /// <summary>On to a next hop, if the packet may live so long and fits.</summary>
    private static void Pass(ref Routed packet, ref readonly NextHopRecord hop)
    {
        Worker w = packet.Worker;
        byte* ip = packet.Ip;
        if ((packet.IsIPv6 ? IPv6Header.HopLimit(ip) : IPv4Header.Ttl(ip)) <= 1)
        {
            packet.Reject(DropReason.TtlExceeded, IcmpError.TtlExceeded);
            return;
        }
        if (packet.IsIPv6 && IPAddresses.IsLinkLocal6(IPv6Header.Source(ip).High))
        {
            packet.Reject(DropReason.Martian, IcmpError.BeyondScope);
            return;
        }
        if (!w.Port(hop.Port).Has(PortFlags.Exists | PortFlags.Enabled))
        {
            packet.Drop(w.Port(hop.Port).Has(PortFlags.Exists) ? DropReason.OutputDisabled : DropReason.OutputGone);
            return;
        }
        int mtu = Mtu(w, in hop);
        bool tooLarge = Length(packet.Frame) > mtu;
        if (tooLarge && (packet.IsIPv6 || (IPv4Header.Fragment(ip) & IPv4Header.DontFragment) != 0))
        {
            // Below its minimum, IPv6 is the link's business (RFC 8200, 5).
            packet.Reject(DropReason.NeedsFragmentation, IcmpError.TooBig, (uint)Math.Max(mtu, packet.IsIPv6 ? IPv6Header.MinMtu : IPv4Header.MinMtu));
            return;
        }
        if (packet.Tracked.IsTracked)
        {
            if (!TryBegin(ref packet, in hop))
            {
                return;
            }
            NoteWay(ref packet, in hop);
        }
        if (!TryAddress(ref packet, in hop, out ulong mac, out ulong source))
        {
            return;
        }
        Clamp(ref packet, in hop, mtu);
        if (!TryRewrite(ref packet))
        {
            return;
        }
        LinkOutput.WriteAddresses(packet.Data, mac, source);
        if (packet.IsIPv6)
        {
            ip[7]--;
        }
        else
        {
            IPv4Header.DecrementTtl(ip);
        }
        if (tooLarge)
        {
            SendFragments(ref packet, in hop, mtu);
        }
        else if (TrySend(w, packet.Port, in hop, packet.Frame, out DropReason reason))
        {
            w.Counters(packet.Port)->Forwarded++;
        }
        else
        {
            packet.Drop(reason);
        }
    }

    /// <summary>Bytes of the IP packet, of a large segment those of the packets that it is to become.</summary>
    private static int Length(rte_mbuf* mbuf) =>
        (int)((mbuf->ol_flags & Offload.SegmentFlag) != 0 ? Offload.SegmentLength(mbuf) : mbuf->pkt_len) - Wire.EthernetHeader;

    /// <summary>
    /// The addresses of the frame. False when that of the neighbour is not known: the packet waits for it, or was dropped.
    /// </summary>
    private static bool TryAddress(ref Routed packet, ref readonly NextHopRecord hop, out ulong mac, out ulong source)
    {
        Worker w = packet.Worker;
        if (hop.Kind == NextHopKind.Adjacency)
        {
            (mac, source) = (hop.Mac, hop.SourceMac);
            return true;
        }
        source = w.Interface(hop.Port).Mac;
        IPv6Number address = hop.Kind == NextHopKind.Connected ? packet.Destination : hop.Gateway;
        bool isIPv6 = hop.Kind == NextHopKind.Connected ? packet.IsIPv6 : hop.Kind == NextHopKind.Gateway6;
        if (!isIPv6 && IPAddresses.IsSubnetBroadcast(in w.Interface(hop.Port), (uint)address.Low))
        {
            packet.Drop(DropReason.MulticastNotRouted); // directed broadcast (RFC 2644)
            mac = 0;
            return false;
        }
        NeighbourKey key = isIPv6
            ? w.Neighbours.Key6(hop.Port, address.High, address.Low)
            : NeighbourTable.Key4(hop.Port, (uint)address.Low);
        ulong value = w.Neighbours.Find(in key);
        if (!NeighbourValue.IsFresh(value) && !NeighbourStage.TryResolve(w, packet.Port, in key, packet.Frame, out value))
        {
            mac = 0;
            return false;
        }
        mac = NeighbourValue.Mac(value);
        return true;
    }

    private static bool TrySend(Worker w, int account, ref readonly NextHopRecord hop, rte_mbuf* mbuf, out DropReason reason)
    {
        if (hop.Kind != NextHopKind.Adjacency)
        {
            return LinkOutput.TrySend(w, account, hop.Port, mbuf, out reason);
        }
        if ((w.Port(hop.Port).Flags & PortFlags.Router) != 0)
        {
            reason = DropReason.RouterLoop;
            return false;
        }
        reason = DropReason.Count;
        w.Send(hop.Port, mbuf);
        return true;
    }

    /// <summary>Sends a packet in pieces that fit. It is not under "do not fragment", and its header is as it is to leave.</summary>
    private static void SendFragments(ref Routed packet, ref readonly NextHopRecord hop, int mtu)
    {
        Worker w = packet.Worker;
        rte_mbuf** parts = w.Routing.Segments;
        int count = 1;
        parts[0] = packet.Frame;
        DropReason reason = Complete(w, packet.Frame, mtu, parts, ref count);
        uint sent = 0;
        for (int i = 0; reason == DropReason.Count && i < count; i++)
        {
            sent += SendPart(ref packet, in hop, parts[i], mtu, ref reason);
        }
        if (sent == 0)
        {
            packet.Drop(reason);
            return;
        }
        w.Watcher.StepOf(packet.Frame, TraceStep.Fragmented, hop.Port, sent, (ulong)mtu);
        PortCounters* counters = w.Counters(packet.Port);
        counters->Forwarded++;
        counters->Copies += sent - 1;
        w.Free(packet.Frame);
    }

    /// <summary>Sends a packet, or a segment of it, cut into fragments where it does not fit. Gives how many packets went.</summary>
    private static uint SendPart(ref Routed packet, ref readonly NextHopRecord hop, rte_mbuf* part, int mtu, ref DropReason reason)
    {
        Worker w = packet.Worker;
        rte_mbuf** fragments = w.Routing.Fragments;
        int made = 1;
        fragments[0] = part;
        if (part->pkt_len - Wire.EthernetHeader > mtu)
        {
            reason = Fragmenter.Cut(w, part, mtu, fragments, out made);
            if (part != packet.Frame)
            {
                w.Free(part);
            }
        }
        uint sent = 0;
        for (int i = 0; i < made; i++)
        {
            if (TrySend(w, packet.Port, in hop, fragments[i], out DropReason refusal))
            {
                sent++;
                continue;
            }
            w.Free(fragments[i]);
            reason = refusal;
        }
        return sent;
    }

    /// <summary>Does the work that a packet's sender left undone, for none can be left to do with fragments.</summary>
    private static DropReason Complete(Worker w, rte_mbuf* mbuf, int mtu, rte_mbuf** parts, ref int count)
    {
        OffloadResult result = OffloadResult.Done;
        if ((mbuf->ol_flags & Offload.SegmentFlag) != 0)
        {
            // TCP takes smaller segments as well as its own; datagrams are cut as they were to be, and then into fragments.
            result = SoftwareOffload.Segment(mbuf, w.Small, w.Large, parts, OutputStage.MaxSegments, out count, (uint)(mtu + Wire.EthernetHeader));
            if (result == OffloadResult.TooLarge)
            {
                result = SoftwareOffload.Segment(mbuf, w.Small, w.Large, parts, OutputStage.MaxSegments, out count);
            }
        }
        else if (Offload.IsPending(mbuf))
        {
            result = SoftwareOffload.CompleteChecksum(mbuf);
        }
        return result switch
        {
            OffloadResult.Done => DropReason.Count,
            OffloadResult.NoBuffer => DropReason.NoBuffer,
            _ => DropReason.BadOffload,
        };
    }

    /// <summary>
    /// Lowers the maximum segment size of a SYN. It tells the other end what to send this way: both ways count, since a
    /// SYN and its answer are clamped for the way to the next hop and for the way back alike.
    /// </summary>
    private static void Clamp(ref Routed packet, ref readonly NextHopRecord hop, int mtu)
    {
        Worker w = packet.Worker;
        ref readonly InterfaceRecord output = ref w.Interface(hop.Port);
        if (!packet.Interface.Has(InterfaceFlags.ClampMss) && !output.Has(InterfaceFlags.ClampMss))
        {
            return;
        }
        int header = packet.IsIPv6 ? IPv6Header.Length : IPv4Header.Length(packet.Ip);
        byte protocol = packet.IsIPv6 ? IPv6Header.NextHeader(packet.Ip) : IPv4Header.Protocol(packet.Ip);
        bool isLater = !packet.IsIPv6 && (IPv4Header.Fragment(packet.Ip) & IPv4Header.OffsetMask) != 0;
        byte* tcp = packet.Ip + header;
        int readable = packet.Readable - header;
        if (protocol != Wire.ProtocolTcp || isLater || !MssClamp.IsSyn(tcp, readable))
        {
            return;
        }
        int limit = Math.Min(mtu, MtuBack(ref packet)) - TcpMinHeader - (packet.IsIPv6 ? IPv6Header.Length : IPv4Header.MinLength);
        if (limit > 0 && MssClamp.Apply(tcp, readable, limit, Offload.IsPending(packet.Frame)))
        {
            w.Watcher.StepOf(packet.Frame, TraceStep.MssClamped, hop.Port, (ulong)limit);
        }
    }

    /// <summary>The MTU of the next hop towards the source; the interface's when no route leads there.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int MtuBack(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref readonly VrfRecord vrf = ref w.Vrf(packet.Interface.Vrf);
        IPv6Number source6 = packet.IsIPv6 ? IPv6Header.Source(packet.Ip) : default;
        uint route = packet.IsIPv6
            ? w.Routes.Find6(vrf.Root6, source6.High, source6.Low)
            : w.Routes.Find4(vrf.Root4, IPv4Header.Source(packet.Ip));
        ref readonly NextHopRecord hop = ref w.NextHop((int)route);
        bool leads = hop.Kind is NextHopKind.Connected or NextHopKind.Gateway4 or NextHopKind.Gateway6 or NextHopKind.Adjacency;
        return leads ? Mtu(w, in hop) : packet.Interface.Mtu != 0 ? packet.Interface.Mtu : ushort.MaxValue;
    }
}
