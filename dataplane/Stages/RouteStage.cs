using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>The router: from an interface (a router port or a routed port) by the routes of its VRF to the next hop.</summary>
public static unsafe class RouteStage
{
    /// <summary>Routes a burst that an interface received and has counted. Gives its bytes.</summary>
    public static ulong Run(Worker w, int port, rte_mbuf** mbufs, int count)
    {
        ulong bytes = 0;
        for (int i = 0; i < count; i++)
        {
            bytes += mbufs[i]->pkt_len;
            w.Watcher.Begin(mbufs[i]);
            Resume(w, port, mbufs[i]);
            w.Watcher.End();
        }
        return bytes;
    }

    /// <summary>Routes a packet, be it once more after it waited for a neighbour's address.</summary>
    public static void Resume(Worker w, int port, rte_mbuf* mbuf)
    {
        byte* data = Mbuf.Data(mbuf);
        bool isToRouter = mbuf->data_len >= Wire.EthernetHeader
            && ((data[0] & 1) != 0 || (Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask) == w.Interface(port).Mac);
        switch (isToRouter ? Wire.Load16(data + Wire.EtherTypeOffset) : 0)
        {
            case Wire.EtherTypeArp:
                NeighbourStage.Arp(w, port, mbuf);
                break;
            case Wire.EtherTypeIPv6 when mbuf->data_len > Wire.EthernetHeader + IPv6Header.Length
                && IPv6Header.NextHeader(data + Wire.EthernetHeader) == Icmp.Protocol6
                && data[Wire.EthernetHeader + IPv6Header.Length] is >= Icmp.RouterSolicitation6 and <= Icmp.Redirect6:
                NeighbourStage.Discovery(w, port, mbuf);
                break;
            default:
                w.Drop(port, mbuf, DropReason.NoRoute);
                break;
        }
    }
}
