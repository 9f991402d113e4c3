using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Connections: what is known of a packet's flow, before its route is looked up. What a packet is to become is worked out here and written
// into it when it leaves: an error that tells of it quotes it as it came, and a packet that waits is tracked again when it goes on.
public static unsafe partial class RouteStage
{
    /// <summary>What becomes of a packet's addresses and ports.</summary>
    private enum Rewriting : byte
    {
        /// <summary>They stay.</summary>
        None,
        /// <summary>Its own are replaced.</summary>
        Flow,
        /// <summary>It is an ICMP error: its addresses, and what it quotes.</summary>
        Error,
    }

    /// <summary>What tracking knows of a packet.</summary>
    private struct Tracked
    {
        public PacketFlow Flow;
        /// <summary>Of an ICMP error: the packet that it quotes.</summary>
        public PacketFlow Quoted;
        public ConnectionKey Key;
        public Translation To;
        /// <summary>The connection of a packet that belongs to one.</summary>
        public ConnectionHandle Connection;
        /// <summary>Generation of verdicts of the route that the connection knows.</summary>
        public uint Verdicts;
        /// <summary>Of a packet to a service that begins a connection.</summary>
        public int Frontend;
        public int Backend;
        public Rewriting Rewriting;
        /// <summary>It may begin a connection, once it is known where it leaves.</summary>
        public bool IsNew;
        /// <summary>Direct server return: the backend's address shows the way, and nothing is replaced.</summary>
        public bool IsDsr;
        /// <summary>An ICMP error about a packet of a known connection.</summary>
        public bool IsRelated;
        /// <summary>The VRF tracks connections, and all this is filled in.</summary>
        public bool IsTracked;
    }

    /// <summary>False when the packet has ended here. Else it has its destination for the look-up of the route.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryTrack(ref Routed packet)
    {
        ref Tracked tracked = ref packet.Tracked;
        if (packet.IsIPv6)
        {
            PacketFlow.Read6(packet.Frame, out tracked.Flow);
        }
        else
        {
            PacketFlow.Read4(packet.Frame, out tracked.Flow);
        }
        tracked.IsTracked = true;
        switch (tracked.Flow.Kind)
        {
            case FlowKind.LaterFragment:
                return TryTrackFragment(ref packet);
            case FlowKind.Error:
                return TryTrackError(ref packet);
            case FlowKind.Ports or FlowKind.Echo or FlowKind.Addresses:
                tracked.Key = ConnectionKey.Of(in tracked.Flow, packet.Interface.Vrf);
                return TryTrackFlow(ref packet);
            default:
                return IsForNoService(ref packet);
        }
    }

    /// <summary>Looks for the connection of the flow.</summary>
    private static bool TryTrackFlow(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        if (w.Connections.TryFind(in tracked.Key, w.Connections.Hash(in tracked.Key), out ConnectionHandle handle, out ConnectionEntry entry))
        {
            if ((entry.Flags & ConnectionFlags.Hot) == 0 && w.Connections.TryReadState(handle, out _, out ConnectionFlags flags)
                && (flags & ConnectionFlags.Reset) != 0)
            {
                return TryReset(ref packet, handle);
            }
            if (IsInVain(ref packet, in entry))
            {
                w.Connections.Remove(handle, w.NowSeconds);
                return TryServe(ref packet);
            }
            if (w.Connections.Touch(handle, Signal(ref packet), w.NowSeconds) is TouchResult.Known or TouchResult.Proven)
            {
                return TryContinue(ref packet, handle, in entry);
            }
        }
        return TryServe(ref packet);
    }

    /// <summary>
    /// Whether a client begins a connection with a backend that is gone: nobody has answered its first try, or it uses its port again before
    /// the end of what it had with it. It gets another backend. What is established is none of this, and goes on.
    /// </summary>
    private static bool IsInVain(ref Routed packet, in ConnectionEntry entry) =>
        (entry.State != ConnectionState.Established || (entry.Flags & ConnectionFlags.HalfOpen) != 0) && !entry.IsReply && entry.Frontend != 0
        && IsFirst(ref packet) && !entry.IsBy(in packet.Worker.Backend((int)entry.Backend));

    /// <summary>
    /// A packet of a connection whose backend is gone: who sent it is told, and the other side when it sends. A client that begins anew
    /// gets another one.
    /// </summary>
    private static bool TryReset(ref Routed packet, ConnectionHandle handle)
    {
        Worker w = packet.Worker;
        if (IsFirst(ref packet))
        {
            w.Connections.Remove(handle, w.NowSeconds);
            return TryServe(ref packet);
        }
        w.Connections.Touch(handle, packet.Tracked.Flow.Protocol == Wire.ProtocolTcp ? TcpHeader.Rst : SctpHeader.Abort, w.NowSeconds);
        Refuse(ref packet, DropReason.ConnectionReset);
        return false;
    }

    /// <summary>A packet of a known connection.</summary>
    private static bool TryContinue(ref Routed packet, ConnectionHandle handle, in ConnectionEntry entry)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        TraceConnection(w, in entry);
        tracked.Connection = handle;
        tracked.Verdicts = entry.VerdictGeneration;
        tracked.To = new Translation(entry.NewSource, entry.NewDestination, entry.NewSourcePort, entry.NewDestinationPort);
        tracked.Rewriting = entry.Rewrites ? Rewriting.Flow : Rewriting.None;
        packet.Destination = entry.NewDestination;
        if ((entry.Flags & (ConnectionFlags.Dsr | ConnectionFlags.Reply)) == ConnectionFlags.Dsr)
        {
            tracked.IsDsr = true;
            packet.Destination = w.Backend((int)entry.Backend).Address;
        }
        return TryNoteFragment(ref packet);
    }

    /// <summary>An ICMP error belongs to the connection of the packet that it quotes, and goes the way of an answer to that.</summary>
    private static bool TryTrackError(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        int end = (int)Math.Min(packet.Frame->data_len, packet.Frame->pkt_len);
        if (!PacketFlow.TryReadQuoted(packet.Data, tracked.Flow.Transport + Icmp.Header, end, packet.IsIPv6, out tracked.Quoted))
        {
            return IsForNoService(ref packet);
        }
        PacketFlow answer = tracked.Quoted.Reversed;
        var key = ConnectionKey.Of(in answer, packet.Interface.Vrf);
        if (!w.Connections.TryFind(in key, w.Connections.Hash(in key), out _, out ConnectionEntry entry))
        {
            return !EndsLate(ref packet, in key) && IsForNoService(ref packet);
        }
        TraceConnection(w, in entry);
        tracked.IsRelated = true;
        if (!entry.Rewrites)
        {
            return true;
        }
        tracked.To = new Translation(entry.NewSource, entry.NewDestination, entry.NewSourcePort, entry.NewDestinationPort);
        tracked.Rewriting = Rewriting.Error;
        packet.Destination = entry.NewDestination;
        return true;
    }

    /// <summary>What belongs to no flow is routed as it is, but not to an address that belongs to services.</summary>
    private static bool IsForNoService(ref Routed packet)
    {
        Worker w = packet.Worker;
        if (w.Services.FindAddress(packet.Interface.Vrf, packet.IsIPv6, packet.Destination, w.Generation) == 0)
        {
            return true;
        }
        packet.Drop(DropReason.ServiceNotServed);
        return false;
    }

    /// <summary>Writes into a packet that leaves what it is to become. False when that cannot be, and the packet was dropped.</summary>
    private static bool TryRewrite(ref Routed packet)
    {
        ref Tracked tracked = ref packet.Tracked;
        DropReason reason = DropReason.Count;
        if (tracked.Rewriting == Rewriting.Flow)
        {
            TraceRewriting(ref packet);
            reason = NatRewrite.TryApply(packet.Frame, in tracked.Flow, in tracked.To) ? DropReason.Count : DropReason.NatUnreadable;
        }
        else if (tracked.Rewriting == Rewriting.Error)
        {
            TraceRewriting(ref packet);
            reason = NatRewrite.ApplyToError(packet.Frame, in tracked.Flow, in tracked.Quoted, in tracked.To);
        }
        if (reason == DropReason.Count)
        {
            return true;
        }
        packet.Drop(reason);
        return false;
    }

    /// <summary>Numbers of frontends and backends that are others' by now are left out.</summary>
    private static void TraceConnection(Worker w, in ConnectionEntry entry)
    {
        if (w.Watcher.Current == null)
        {
            return;
        }
        ulong frontend = entry.IsOf(in w.Frontend((int)entry.Frontend)) ? entry.Frontend : 0, backend = entry.IsBy(in w.Backend((int)entry.Backend)) ? entry.Backend : 0;
        w.Watcher.Step(TraceStep.ConnectionFound, 0, (frontend << 32) | backend, (ulong)entry.Flags);
    }

    private static void TraceRewriting(ref Routed packet)
    {
        Worker w = packet.Worker;
        if (w.Watcher.Current == null)
        {
            return;
        }
        ref Tracked tracked = ref packet.Tracked;
        ref Translation to = ref tracked.To;
        if (to.Source != tracked.Flow.Source || to.SourcePort != tracked.Flow.SourcePort)
        {
            w.Watcher.Step(TraceStep.SourceTranslated, to.SourcePort, to.Source.High, to.Source.Low);
        }
        if (to.Destination != tracked.Flow.Destination || to.DestinationPort != tracked.Flow.DestinationPort)
        {
            w.Watcher.Step(TraceStep.DestinationTranslated, to.DestinationPort, to.Destination.High, to.Destination.Low);
        }
    }

    /// <summary>Lets the connection know the way of its packets, so that the next ones find it without a look-up.</summary>
    private static void NoteWay(ref Routed packet, ref readonly NextHopRecord hop)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        uint verdicts = w.Vrf(packet.Interface.Vrf).Verdicts;
        // With direct server return the station on the link is not the packet's destination.
        if (!tracked.Connection.IsNone && tracked.Verdicts != verdicts && !(tracked.IsDsr && hop.Kind == NextHopKind.Connected))
        {
            w.Connections.Refresh(tracked.Connection, packet.Route, verdicts);
        }
    }

    /// <summary>What a packet signals to the state of its connection (<see cref="ConnectionTracking"/>).</summary>
    private static byte Signal(ref Routed packet)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        int chunk = flow.Transport + SctpHeader.Length;
        return flow.Protocol switch
        {
            Wire.ProtocolTcp => flow.TcpFlags,
            Wire.ProtocolSctp when chunk < Math.Min(packet.Frame->data_len, packet.Frame->pkt_len) => packet.Data[chunk],
            _ => 0,
        };
    }

    /// <summary>Answers in the service's name that there is no connection, and drops.</summary>
    private static void Refuse(ref Routed packet, DropReason reason)
    {
        Refusal.Send(packet.Worker, packet.Port, packet.Frame, in packet.Tracked.Flow);
        packet.Drop(reason);
    }
}
