using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// The router (RFC 1812, RFC 8200): from an interface (a router port or a routed port) by the routes of its VRF to the next hop.
/// <para>
/// A packet meets: a check of its headers; the filters for addresses that no packet may have or not from here; a look-up of its
/// destination; what the route's next hop is, and which station on the link that is. Then it has its time to live lowered
/// and its Ethernet addresses written, and goes. Addresses of the router itself are among the routes.
/// </para>
/// <para>
/// All packets of a burst came by one interface. The first loop (<see cref="RouteBurst.Read4"/>) checks the headers of all packets;
/// the destinations are looked up as a batch; the next loop finds where each goes and asks for the neighbour's
/// bucket; the last one finds that in the cache, rewrites and sends. In a VRF with services or address translation, packets of known
/// connections have their way from there (<see cref="ConnectionTable"/>), and the first loop makes their keys, too. None of them calls anything. A packet that needs more than
/// this (options, a fragment to be made, an address not resolved, an error to tell) is left by the loops, and goes
/// step by step through <see cref="One"/>, which does all that they do and everything else; then they go on behind it. So
/// packets leave in the order in which they came.
/// </para>
/// <para>
/// What it costs: IPv4 options and IPv6 extension headers are not looked at in transit (RFC 7126, 7045), and a packet that
/// goes back by the interface it came by is not the occasion for a redirect.
/// </para>
/// </summary>
public static unsafe partial class RouteStage
{
    /// <summary>Routes a burst that an interface received and has counted. Gives its bytes.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface's port.</param>
    /// <param name="mbufs">At most <see cref="RouteState.BurstSize"/> packets.</param>
    /// <param name="count">How many, at least one.</param>
    public static ulong Run(Worker w, int port, rte_mbuf** mbufs, int count)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        if (!w.Port(port).Has(PortFlags.Exists | PortFlags.Enabled))
        {
            return w.DropAll(port, mbufs, count, DropReason.PortDisabled);
        }
        if (!itf.Has(InterfaceFlags.Exists) || itf.Vrf == 0)
        {
            return w.DropAll(port, mbufs, count, DropReason.NotForRouter);
        }
        count = DecapsulateStage.TakeKnown(w, port, mbufs, count, out ulong taken);
        if (count == 0)
        {
            return taken;
        }
        if (w.Watcher.IsTracing)
        {
            return taken + RunTraced(w, port, mbufs, count);
        }
        ref readonly VrfRecord vrf = ref w.Vrf(itf.Vrf);
        RouteState state = w.Routing;
        bool tracks = vrf.Has(VrfFlags.Tracks);
        RouteBurst.Needs needs = RouteBurst.Begin(w, in itf, tracks);
        int plain4 = RouteBurst.Read4(w, in itf, mbufs, count, tracks && RouteBurst.AsksAll4(w, port), out ulong bytes);
        int plain6 = plain4 == count ? 0 : RouteBurst.Read6(w, in itf, count);
        bool has6 = plain6 != 0;
        bool knows = tracks && RouteBurst.Track(w, in itf, port, in needs, vrf.Verdicts, count, ref plain4, ref plain6);
        if (plain4 != 0)
        {
            if (knows)
            {
                RouteBurst.Find4(w, vrf.Root4, count);
            }
            else
            {
                w.Routes.Find4(vrf.Root4, state.Addresses4, state.Results4, count);
            }
        }
        if (plain6 != 0)
        {
            if (knows)
            {
                RouteBurst.Find6(w, vrf.Root6, count);
            }
            else
            {
                w.Routes.Find6(vrf.Root6, (ulong*)state.Addresses6, state.Results6, count);
            }
        }
        int straight = RouteBurst.ForwardStraight(w, in needs, count, knows, has6);
        uint sent = (uint)straight;
        if (straight < count)
        {
            RouteBurst.Aim(w, in needs, has6, straight, count);
            sent += Go(w, port, in needs, vrf.Verdicts, straight, count, knows, has6);
        }
        w.Counters(port)->Forwarded += sent;
        return taken + bytes;
    }

    /// <summary>Routes a packet once more that waited for a neighbour's address. It has been counted as received.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which it came.</param>
    /// <param name="mbuf">The packet as it came.</param>
    public static void Resume(Worker w, int port, rte_mbuf* mbuf) => One(w, port, mbuf);

    /// <summary>Largest layer-3 packet that a next hop takes, in bytes.</summary>
    public static ushort Mtu(Worker w, ref readonly NextHopRecord hop)
    {
        if (hop.Mtu != 0)
        {
            return hop.Mtu;
        }
        ref readonly InterfaceRecord itf = ref w.Interface(hop.Port);
        ushort mtu = itf.Has(InterfaceFlags.Exists) ? itf.Mtu : w.Port(hop.Port).Mtu;
        return mtu != 0 ? mtu : ushort.MaxValue;
    }

    /// <summary>Sends what the loops made ready, and what they did not, in order. Gives how many the loops have sent.</summary>
    private static uint Go(Worker w, int port, in RouteBurst.Needs needs, uint verdicts, int first, int count, bool knows, bool has6)
    {
        BurstPacket* entry = w.Routing.Entries + first, end = w.Routing.Entries + count;
        uint sent = 0;
        while (entry < end)
        {
            if (entry->Way == HopWay.Opening)
            {
                BurstPacket* opened = RouteBurst.Open(w, verdicts, entry, end);
                if (opened != entry)
                {
                    RouteBurst.Aim(w, in needs, has6, (int)(entry - w.Routing.Entries), (int)(opened - w.Routing.Entries));
                }
            }
            BurstPacket* next = entry->Way == HopWay.Bridge
                ? RouteBurst.ForwardBridged(w, entry, end)
                : RouteBurst.Forward(w, entry, end, knows, has6);
            sent += (uint)(next - entry);
            if (next == entry)
            {
                One(w, port, entry->Mbuf, knows ? entry->Foreseen : default);
                next++;
            }
            entry = next;
        }
        return sent;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong RunTraced(Worker w, int port, rte_mbuf** mbufs, int count)
    {
        ulong bytes = 0;
        for (int i = 0; i < count; i++)
        {
            bytes += mbufs[i]->pkt_len;
            w.Watcher.Begin(mbufs[i]);
            One(w, port, mbufs[i]);
            w.Watcher.End();
        }
        return bytes;
    }
}
