using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// A connection begins, when it is known where its packets leave: which source they have there, and that both directions can be told
// from all others.
public static unsafe partial class RouteStage
{
    /// <summary>How many ports are tried for a connection. The chance that none of so many is free in a pool that is half full is nil.</summary>
    private const int PortTries = 128;

    /// <summary>
    /// Begins the connection of a packet that is about to leave, if it needs one. False when it needs one and cannot have it; the packet
    /// was dropped then.
    /// </summary>
    private static bool TryBegin(ref Routed packet, ref readonly NextHopRecord hop)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref readonly InterfaceRecord output = ref w.Interface(hop.Port);
        bool leaves = hop.Kind != NextHopKind.Local;
        ref readonly NatPoolRecord pool = ref w.NatPool(output.NatPool);
        bool masqueraded = leaves && packet.Interface.Has(InterfaceFlags.Masqueraded) && pool.Serves(packet.IsIPv6) && !(packet.IsFromHost && SpeaksForItself(ref packet, in pool));
        if (!tracked.IsNew)
        {
            return !masqueraded || IsToldInside(ref packet);
        }
        var sources = new Sources { KeepsPort = true };
        switch (ChooseSources(ref packet, in hop, masqueraded, ref sources))
        {
            case SourceChoice.Untracked:
                return true;
            case SourceChoice.Refused:
                return false;
            default:
                return TryInsert(ref packet, in sources, leaves && output.Vrf != 0 ? output.Vrf : packet.Interface.Vrf);
        }
    }

    /// <summary>
    /// Makes the entries of a connection, with the first source for which there is none yet. If there is no such source one will do whose
    /// connection is over.
    /// </summary>
    private static bool TryInsert(ref Routed packet, in Sources sources, ushort replyVrf)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref PacketFlow flow = ref tracked.Flow;
        var connection = new NewConnection
        {
            Original = tracked.Key,
            Frontend = (uint)tracked.Frontend,
            Backend = (uint)tracked.Backend,
            Signal = Signal(ref packet),
            Flags = (tracked.IsDsr ? ConnectionFlags.Dsr : 0) | (sources.IsMapping ? ConnectionFlags.EndpointMapped : 0)
                | (tracked.Frontend == 0 && !sources.IsCall && !sources.IsDirect ? ConnectionFlags.ByClient : 0),
        };
        bool hasPort = HasPort(ref packet);
        ushort own = tracked.To.SourcePort;
        int range = sources.LastPort - sources.FirstPort + 1;
        int tries = !hasPort ? 0 : Math.Min(range, PortTries / Math.Max(1, sources.Count));
        for (int turn = 0; turn < 2 * sources.Count; turn++)
        {
            IPv6Number address = sources.Addresses[turn % sources.Count];
            int at = (int)w.Nat.Next((uint)range);
            for (int i = sources.KeepsPort || !hasPort ? -1 : 0; i < tries; i++)
            {
                ushort port = i < 0 ? own : (ushort)(sources.FirstPort + ((at + i) % range));
                connection.Reply = new ConnectionKey(replyVrf, flow.Protocol, flow.IsIPv6, tracked.To.Destination, address, tracked.To.DestinationPort, port);
                InsertResult result = w.Connections.TryInsert(in connection, w.NowSeconds, out ConnectionHandle handle);
                if (result == InsertResult.ReplyTaken && turn >= sources.Count && w.Connections.RemoveOver(in connection.Reply, w.NowSeconds))
                {
                    result = w.Connections.TryInsert(in connection, w.NowSeconds, out handle);
                }
                switch (result)
                {
                    case InsertResult.Inserted:
                        tracked.Connection = handle;
                        (tracked.To.Source, tracked.To.SourcePort) = (address, port);
                        tracked.Rewriting = tracked.To == Translation.Of(in flow) ? Rewriting.None : Rewriting.Flow;
                        return true;
                    case InsertResult.Exists:
                        return TryJoin(ref packet, handle);
                    case InsertResult.Full when sources.IsDirect:
                        return true;
                    case InsertResult.Full:
                        packet.Reject(DropReason.ConnectionTableFull, IcmpError.Prohibited);
                        return false;
                    default:
                        break;
                }
            }
        }
        if (sources.IsDirect)
        {
            return true;
        }
        // RFC 5508, 4.5: a sender for which there is no room is told.
        packet.Reject(DropReason.NatPoolExhausted, IcmpError.Prohibited);
        return false;
    }

    private static bool HasPort(ref Routed packet) => packet.Tracked.Flow.Kind == FlowKind.Ports || IsEchoRequest(ref packet);

    /// <summary>Another worker has made the connection in this instant: it decides.</summary>
    private static bool TryJoin(ref Routed packet, ConnectionHandle handle)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        if (handle.IsNone)
        {
            handle = w.Connections.Find(in tracked.Key);
        }
        // The route that was found is that of another backend, perhaps.
        if (handle.IsNone || !w.Connections.TryRead(handle, out ConnectionEntry entry) || entry.NewDestination != tracked.To.Destination)
        {
            packet.Drop(DropReason.ConnectionTableFull);
            return false;
        }
        tracked.Connection = handle;
        tracked.To = new Translation(entry.NewSource, entry.NewDestination, entry.NewSourcePort, entry.NewDestinationPort);
        tracked.Rewriting = entry.Rewrites ? Rewriting.Flow : Rewriting.None;
        return true;
    }

    /// <summary>Whether a packet of no connection may begin one that is masqueraded; drops one that ends something unknown.</summary>
    private static bool IsFirstOfMasqueraded(ref Routed packet)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        bool isAnswer = (flow.TcpFlags & TcpHeader.Rst) != 0 || (flow.Kind == FlowKind.Echo && !IsEchoRequest(ref packet));
        if (!isAnswer)
        {
            return true;
        }
        packet.Drop(DropReason.NoConnection);
        return false;
    }

    /// <summary>
    /// Of what is masqueraded, nothing leaves under its inner address: neither what belongs to no flow, nor an error about nothing that
    /// is known. False when it was dropped.
    /// </summary>
    private static bool IsToldInside(ref Routed packet)
    {
        ref Tracked tracked = ref packet.Tracked;
        if (tracked.Rewriting != Rewriting.None || !tracked.Connection.IsNone || tracked.IsRelated)
        {
            return true;
        }
        packet.Drop(tracked.Flow.Kind == FlowKind.Error ? DropReason.NoConnection : DropReason.NatUnreadable);
        return false;
    }
}
