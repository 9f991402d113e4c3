using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Stages;

// An IPv4 packet, up to its next hop.
public static unsafe partial class RouteStage
{
    private static void Route4(ref Routed packet)
    {
        DropReason reason = Check4(ref packet);
        if (reason != DropReason.Count)
        {
            packet.Drop(reason);
            return;
        }
        ref readonly VrfRecord vrf = ref packet.Worker.Vrf(packet.Interface.Vrf);
        if (vrf.Has(VrfFlags.Tracks) && !TryTrack(ref packet))
        {
            return;
        }
        Follow(ref packet, packet.Worker.Routes.Find4(vrf.Root4, (uint)packet.Destination.Low));
    }

    /// <summary>Whether a packet is sound, and may be here (RFC 1812, 5.2.2 and 5.3.7). Cuts off padding.</summary>
    private static DropReason Check4(ref Routed packet)
    {
        byte* ip = packet.Ip;
        if (packet.Readable < IPv4Header.MinLength)
        {
            return DropReason.Truncated;
        }
        int header = IPv4Header.Length(ip), total = IPv4Header.TotalLength(ip);
        if (ip[0] >> 4 != 4 || header < IPv4Header.MinLength || total < header || header > packet.Readable
            || total > packet.Frame->pkt_len - Wire.EthernetHeader)
        {
            return DropReason.BadIpHeader;
        }
        if (Checksum.Finish(Checksum.Add(0, ip, (uint)header)) != 0)
        {
            return DropReason.BadIpChecksum;
        }
        uint source = IPv4Header.Source(ip), destination = IPv4Header.Destination(ip);
        ref readonly InterfaceRecord itf = ref packet.Interface;
        if (packet.IsToGroup || IPAddresses.IsMulticast4(destination) || IPAddresses.IsLimitedBroadcast(destination)
            || IPAddresses.IsSubnetBroadcast(in itf, destination))
        {
            return DropReason.MulticastNotRouted;
        }
        if (IPAddresses.IsMartian4(source) || IPAddresses.IsMartian4(destination)
            || (!packet.IsFromHost && IPAddresses.IsSubnetBroadcast(in itf, source)))
        {
            return DropReason.Martian;
        }
        if (!packet.IsFromHost && !IsSourceGood4(in itf, source, out DropReason reason))
        {
            return reason;
        }
        packet.Destination = new IPv6Number(0, destination);
        return TrimTo(packet.Frame, (uint)total) ? DropReason.Count : DropReason.BadIpHeader;
    }

    private static bool IsSourceGood4(ref readonly InterfaceRecord itf, uint source, out DropReason reason)
    {
        bool near = !itf.Has(InterfaceFlags.SourceCheck);
        reason = DropReason.SpoofedSource;
        for (int i = 0; i < itf.Count4; i++)
        {
            if (itf.Addresses4[i].Address == source)
            {
                reason = DropReason.Martian; // our own, from somebody else
                return false;
            }
            near |= itf.Addresses4[i].Contains(source);
        }
        return near;
    }
}
