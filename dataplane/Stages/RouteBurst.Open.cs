using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// The usual beginning of a connection to a service: the packet comes and goes by different ports, keeps its source, and nothing is to be
// told its sender. Its entries are made here when it is the packet's turn, and from then on it is one of a known connection, which the loops send as any other. What is
// out of the ordinary stays as it is, and goes step by step (RouteStage.Begin.cs): a source that is replaced or a port that another connection
// has, a full table, a packet that is too large, a maximum segment size to be lowered, a next hop that is none. Both ways make the same entries.
internal static unsafe partial class RouteBurst
{
    /// <summary>
    /// Finds the routes of what <see cref="Foresee"/> has noted, and marks the packets whose connections <see cref="Open"/> may begin when it is their turn.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="itf">The interface of the burst.</param>
    /// <param name="port">Its port.</param>
    /// <param name="needs">What it asks for.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    [SkipLocalsInit]
    private static void Prepare(Worker w, ref readonly InterfaceRecord itf, int port, in Needs needs)
    {
        RouteState state = w.Routing;
        int count = state.BeginningCount;
        uint* addresses = stackalloc uint[RouteState.BurstSize], routes = stackalloc uint[RouteState.BurstSize];
        ref readonly VrfRecord vrf = ref w.Vrf(itf.Vrf);
        bool has6 = false;
        for (int i = 0; i < count; i++)
        {
            ref readonly ConnectionKey reply = ref state.Beginnings[i].Connection.Reply;
            addresses[i] = (uint)reply.Source.Low;
            has6 |= reply.IsIPv6;
        }
        w.Routes.Find4(vrf.Root4, addresses, routes, count);
        if (has6)
        {
            FindRoutes6(w, vrf.Root6, routes, count);
        }
        bool masquerades = itf.Has(InterfaceFlags.Masqueraded);
        for (int i = 0; i < count; i++)
        {
            Beginning* beginning = state.Beginnings + i;
            bool isIPv6 = beginning->Connection.Original.IsIPv6;
            uint index = routes[i];
            BurstPacket* entry = beginning->Packet;
            RouteHop* hop = state.Hops + (index % RouteHop.CacheSize);
            if (hop->Burst != state.Burst)
            {
                RouteHop.Prepare(w, hop, index, in needs);
            }
            // Else another one of this burst may have the place, or it is a choice between several.
            if (((hop->Burst ^ state.Burst) | (hop->Index ^ index)) != 0 || (isIPv6 ? hop->Way6 : hop->Way4) == HopWay.Slow
                || hop->OutPort == port || entry->Length > hop->Mtu || (hop->Vrf != itf.Vrf && hop->Vrf != 0)
                || (masquerades && (isIPv6 ? hop->Masquerades6 : hop->Masquerades4))
                || (((isIPv6 ? hop->Look6 : hop->Look4) & HopLook.Syn) != 0 && beginning->Connection.Original.Protocol == Tcp))
            {
                continue;
            }
            beginning->Route = index;
            entry->Beginning = beginning;
            entry->Way = HopWay.Opening;
        }
    }

    /// <summary>
    /// Begins the connections of packets, one after the other: then they have their way. Gives the first packet that has none to begin, or
    /// whose turn it is to go step by step.
    /// </summary>
    public static BurstPacket* Open(Worker w, uint verdicts, BurstPacket* entry, BurstPacket* end)
    {
        for (; entry < end && entry->Way == HopWay.Opening; entry++)
        {
            Beginning* beginning = entry->Beginning;
            if (w.Connections.TryInsert(in beginning->Connection, beginning->Hash, beginning->ReplyHash, beginning->Route, verdicts, w.NowSeconds, out _) != InsertResult.Inserted)
            {
                entry->Way = HopWay.Slow;
                break;
            }
            Opened(w.Routing, entry, in *beginning);
        }
        return entry;
    }

    /// <summary>A packet has become one of a known connection.</summary>
    private static void Opened(RouteState state, BurstPacket* entry, in Beginning beginning)
    {
        ref readonly ConnectionKey original = ref beginning.Connection.Original, reply = ref beginning.Connection.Reply;
        long place = entry - state.Entries;
        bool isSame = original.Destination == reply.Source && original.DestinationPort == reply.SourcePort;
        entry->Connection = isSame ? TrackedBy.Way : Offload.IsPending(entry->Mbuf) ? TrackedBy.Open : TrackedBy.Whole;
        var deltas = ConnectionTable.Deltas.Of(in original, in reply);
        if (original.IsIPv6)
        {
            entry->Family = 6;
            state.Results6[place] = beginning.Route;
            state.Addresses6[place] = reply.Source;
            ConnectionTable.Rewrite(ref state.Verdicts6[place].Rewrite, in reply, deltas);
        }
        else
        {
            entry->Family = 4;
            state.Results4[place] = beginning.Route;
            state.Addresses4[place] = (uint)reply.Source.Low;
            ConnectionTable.Rewrite(ref entry->Rewrite, in reply, deltas);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void FindRoutes6(Worker w, uint root, uint* routes, int count)
    {
        for (int i = 0; i < count; i++)
        {
            ref readonly ConnectionKey reply = ref w.Routing.Beginnings[i].Connection.Reply;
            if (reply.IsIPv6)
            {
                routes[i] = w.Routes.Find6(root, reply.Source.High, reply.Source.Low);
            }
        }
    }
}
