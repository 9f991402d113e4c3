using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// What a backend sends when the connection of its service is gone: idle for too long, or removed to make room, or the datagrams of a removed
// backend. Sent on as it is it would come to the client under an address that the client has never spoken to. Linux drops what cannot begin a
// connection (kube-proxy: ctstate INVALID), for it tracks all others. Here what has nothing to do with services is not tracked, and is
// none of this: what counts is that the table has known the very connection (ConnectionTable.Gone.cs).
public static unsafe partial class RouteStage
{
    /// <summary>Ends a packet of no connection that answers a service's connection that is gone. TCP and SCTP are told that it is.</summary>
    private static bool EndsLate(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        if (!w.Connections.IsGone(in tracked.Key, out uint since))
        {
            return false;
        }
        if (Begins(ref packet, IsLate(w, since)))
        {
            w.Connections.Forget(in tracked.Key);
            return false;
        }
        w.Watcher.Step(TraceStep.ConnectionGone, 0);
        if (tracked.Flow.Protocol == Wire.ProtocolUdp)
        {
            packet.Drop(DropReason.NoConnection);
        }
        else
        {
            Refuse(ref packet, DropReason.NoConnection);
        }
        return true;
    }

    /// <summary>Ends an ICMP error about a packet of a service's connection that has just gone.</summary>
    /// <param name="packet">The error.</param>
    /// <param name="answer">Key of an answer to the packet that it quotes.</param>
    private static bool EndsLate(ref Routed packet, in ConnectionKey answer)
    {
        Worker w = packet.Worker;
        if (!w.Connections.IsGone(in answer, out uint since) || !IsLate(w, since))
        {
            return false;
        }
        w.Watcher.Step(TraceStep.ConnectionGone, 0);
        packet.Drop(DropReason.NoConnection);
        return true;
    }

    /// <summary>
    /// Whether a packet between the ports of a connection that is gone belongs to another one: it begins one, or after a while it answers the
    /// beginning of one, be it to the backend's own address.
    /// </summary>
    private static bool Begins(ref Routed packet, bool isLate) => packet.Tracked.Flow.Protocol switch
    {
        Wire.ProtocolTcp => (packet.Tracked.Flow.TcpFlags & TcpHeader.Syn) != 0 && (!isLate || IsFirst(ref packet)),
        Wire.ProtocolSctp => Signal(ref packet) is SctpHeader.Init || (Signal(ref packet) is SctpHeader.InitAck && !isLate),
        _ => !isLate,
    };

    private static bool IsLate(Worker w, uint since) => (int)(w.NowSeconds - since) < ConnectionTimes.Late;
}
