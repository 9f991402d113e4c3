using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// What begins a connection goes step by step, one packet after the other, and each would wait for the lines in which its entries are to be. So
// that is worked out beforehand for all packets of a burst.
internal static unsafe partial class RouteBurst
{
    /// <summary>
    /// Whether a packet of no connection is for a service. Then notes its frontend, and its backend where that follows from the packet alone, and asks for
    /// the line in which the entry for packets that come back is likely to be: its source may still be replaced.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="entry">The packet.</param>
    /// <param name="key">Its flow's.</param>
    private static bool Foresee(Worker w, BurstPacket* entry, in ConnectionKey key)
    {
        int frontend = w.Services.Find(FrontendKey.Of(key.Vrf, key.Protocol, key.IsIPv6, key.Destination, key.DestinationPort), w.Generation);
        if (frontend == 0)
        {
            return false;
        }
        entry->Foreseen = new Foreseen((uint)frontend, 0);
        ref readonly FrontendRecord service = ref w.Frontend(frontend);
        if (service.Set == 0 || service.Has(FrontendFlags.Affinity))
        {
            return true;
        }
        int chosen = RouteStage.BackendOfFlow(w, in service, entry->Mbuf, key.IsIPv6);
        entry->Foreseen = new Foreseen((uint)frontend, (uint)chosen);
        ref readonly BackendRecord backend = ref w.Backend(chosen);
        var reply = new ConnectionKey(key.Vrf, key.Protocol, key.IsIPv6, backend.Address, key.Source, backend.Port, key.SourcePort);
        w.Connections.PrefetchPlace(w.Connections.Hash(in reply), key.IsIPv6);
        return true;
    }

    /// <summary>As <see cref="Foresee"/>, for a SYN; asks for the line of its own entry, too.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="vrf">VRF in which it is routed.</param>
    /// <param name="entry">A packet that is not a fragment, without options or extension headers.</param>
    /// <param name="isIPv6">Its family.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ForeseeSyn(Worker w, ushort vrf, BurstPacket* entry, bool isIPv6)
    {
        byte* ip = entry->Data + Wire.EthernetHeader;
        byte* tcp = ip + (isIPv6 ? IPv6Header.Length : IPv4Header.MinLength);
        byte protocol = isIPv6 ? ip[6] : ip[9];
        if (protocol != Tcp || entry->Mbuf->data_len < tcp - entry->Data + TcpHeader.MinLength || (tcp[TcpHeader.Flags] & (LoudFlags | TcpHeader.Ack)) != TcpHeader.Syn)
        {
            return;
        }
        ulong flow = ConnectionKey.FlowOf(vrf, protocol, Wire.Load32(tcp));
        ConnectionKey key = isIPv6
            ? new ConnectionKey(flow, IPv6Header.Source(ip), IPv6Header.Destination(ip), true)
            : new ConnectionKey(flow, new IPv6Number(0, IPv4Header.Source(ip)), new IPv6Number(0, IPv4Header.Destination(ip)), false);
        if (Foresee(w, entry, in key))
        {
            w.Connections.PrefetchPlace(w.Connections.Hash(in key), isIPv6);
        }
    }
}
