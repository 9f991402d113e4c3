using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Stages;

// An IPv6 packet, up to its next hop.
public static unsafe partial class RouteStage
{
    /// <summary>ff02::1, all nodes of a link (RFC 4291, 2.7.1).</summary>
    private static readonly IPv6Number AllNodes = new(0xFF02_0000_0000_0000, 1);

    /// <summary>ff02::2, all routers of a link.</summary>
    private static readonly IPv6Number AllRouters = new(0xFF02_0000_0000_0000, 2);

    private static void Route6(ref Routed packet)
    {
        DropReason reason = Check6(ref packet);
        if (reason != DropReason.Count)
        {
            packet.Drop(reason);
            return;
        }
        IPv6Number source = IPv6Header.Source(packet.Ip), destination = packet.Destination;
        if (IPAddresses.IsMulticast6(destination.High))
        {
            TakeMulticast6(ref packet);
            return;
        }
        if (packet.IsToGroup)
        {
            packet.Drop(DropReason.MulticastNotRouted);
            return;
        }
        reason = CheckAddresses6(ref packet, source);
        if (reason != DropReason.Count)
        {
            packet.Drop(reason);
            return;
        }
        if (IPAddresses.IsLinkLocal6(destination.High))
        {
            // Not among the routes: each interface has its own. Another station's is not for a router.
            if (InterfaceAddresses.Owns6(in packet.Interface, destination))
            {
                Deliver(ref packet, packet.Port);
                return;
            }
            packet.Drop(DropReason.Martian);
            return;
        }
        ref readonly VrfRecord vrf = ref packet.Worker.Vrf(packet.Interface.Vrf);
        if (vrf.Has(VrfFlags.Tracks) && !TryTrack(ref packet))
        {
            return;
        }
        Follow(ref packet, packet.Worker.Routes.Find6(vrf.Root6, packet.Destination.High, packet.Destination.Low));
    }

    /// <summary>Whether a packet is sound (RFC 8200, 3). Cuts off padding.</summary>
    private static DropReason Check6(ref Routed packet)
    {
        byte* ip = packet.Ip;
        if (packet.Readable < IPv6Header.Length)
        {
            return DropReason.Truncated;
        }
        long total = IPv6Header.Length + IPv6Header.PayloadLength(ip), present = packet.Frame->pkt_len - Wire.EthernetHeader;
        // A length of 0 would be a jumbogram's, whose length stands in an option (RFC 2675).
        bool isJumbo = IPv6Header.PayloadLength(ip) == 0 && IPv6Header.NextHeader(ip) == IPv6Header.HopByHop;
        if (ip[0] >> 4 != 6 || total > present || isJumbo)
        {
            return DropReason.BadIpHeader;
        }
        packet.Destination = IPv6Header.Destination(ip);
        // A packet that others hold too is to a group, and only read.
        return packet.IsToGroup || TrimTo(packet.Frame, (uint)total) ? DropReason.Count : DropReason.BadIpHeader;
    }

    private static DropReason CheckAddresses6(ref Routed packet, IPv6Number source)
    {
        ref readonly InterfaceRecord itf = ref packet.Interface;
        IPv6Number destination = packet.Destination;
        if (IPAddresses.IsMartian6(source.High, source.Low) || IPAddresses.IsMartian6(destination.High, destination.Low))
        {
            return DropReason.Martian;
        }
        if (packet.IsFromHost)
        {
            return DropReason.Count;
        }
        // A link-local source gets no further than to the router.
        bool near = !itf.Has(InterfaceFlags.SourceCheck) || IPAddresses.IsLinkLocal6(source.High);
        for (int i = 0; i < itf.Count6; i++)
        {
            ref readonly InterfaceAddress6 own = ref itf.Addresses6[i];
            if (own.Address == source)
            {
                return DropReason.Martian; // our own, from somebody else
            }
            near |= own.Contains(source.High, source.Low);
        }
        return near ? DropReason.Count : DropReason.SpoofedSource;
    }

    /// <summary>
    /// To a group: neighbour discovery, and an echo request to all of the link where no host answers it. All else stays on the link.
    /// </summary>
    private static void TakeMulticast6(ref Routed packet)
    {
        if (IsDiscovery(ref packet)) // in whatever frame (RFC 6085)
        {
            NeighbourStage.Discovery(packet.Worker, packet.Port, packet.Frame);
            return;
        }
        ref readonly InterfaceRecord itf = ref packet.Interface;
        IPv6Number source = IPv6Header.Source(packet.Ip);
        bool isEcho = IPv6Header.NextHeader(packet.Ip) == Icmp.Protocol6 && packet.Readable > IPv6Header.Length
            && packet.Ip[IPv6Header.Length] == Icmp.Echo6;
        if (!packet.IsToGroup || !isEcho || (packet.Destination != AllNodes && packet.Destination != AllRouters) || itf.HostPort != 0
            || itf.Count6 == 0 || IPAddresses.IsMartian6(source.High, source.Low) || InterfaceAddresses.Owns6(in itf, source))
        {
            packet.Drop(DropReason.MulticastNotRouted);
            return;
        }
        if (!IsOwn(packet.Frame) && (packet.Frame = Own(packet.Worker, packet.Port, packet.Frame)) == null)
        {
            return;
        }
        if (!TrimTo(packet.Frame, (uint)(IPv6Header.Length + IPv6Header.PayloadLength(packet.Ip))))
        {
            packet.Drop(DropReason.BadIpHeader);
            return;
        }
        Responder.Take6(packet.Worker, packet.Port, packet.Frame, IcmpErrors.SourceFor6(in itf, source));
    }
}
