using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Services: a packet of no known connection, to one of their addresses.
public static unsafe partial class RouteStage
{
    /// <summary>
    /// A packet of no known connection. One to a service gets a backend's address as destination; others are routed as they are, and may
    /// turn out to be masqueraded. False when the packet has ended here.
    /// </summary>
    private static bool TryServe(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref PacketFlow flow = ref tracked.Flow;
        ushort vrf = packet.Interface.Vrf;
        tracked.To = Translation.Of(in flow);
        tracked.IsNew = true;
        int frontend = packet.Foreseen.Frontend != 0 ? (int)packet.Foreseen.Frontend
            : flow.Kind == FlowKind.Ports ? w.Services.Find(FrontendKey.Of(vrf, flow.Protocol, flow.IsIPv6, flow.Destination, flow.DestinationPort), w.Generation)
            : 0;
        if (frontend != 0)
        {
            return TryChoose(ref packet, frontend);
        }
        int address = w.Services.FindAddress(vrf, flow.IsIPv6, flow.Destination, w.Generation);
        if (address != 0)
        {
            TakeAtService(ref packet, in w.Frontend(address));
            return false;
        }
        return !EndsLate(ref packet) && TryNoteFragment(ref packet);
    }

    /// <summary>Chooses the backend of a new connection.</summary>
    private static bool TryChoose(ref Routed packet, int frontend)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref readonly FrontendRecord service = ref w.Frontend(frontend);
        if (!IsFirst(ref packet))
        {
            Refuse(ref packet, DropReason.NoConnection);
            return false;
        }
        int backend = packet.Foreseen.Backend != 0 ? (int)packet.Foreseen.Backend : service.Set == 0 ? 0 : BackendFor(ref packet, frontend, in service);
        ref readonly BackendRecord chosen = ref w.Backend(backend);
        if (backend == 0 || !chosen.Has(BackendFlags.Exists))
        {
            Refuse(ref packet, DropReason.ServiceNoBackend);
            return false;
        }
        w.Watcher.Step(TraceStep.BackendChosen, 0, ((ulong)(uint)frontend << 32) | (uint)backend, service.Service);
        (tracked.Frontend, tracked.Backend) = (frontend, backend);
        packet.Destination = chosen.Address;
        tracked.IsDsr = service.Has(FrontendFlags.Dsr);
        if (!tracked.IsDsr)
        {
            tracked.To.Destination = chosen.Address;
            tracked.To.DestinationPort = chosen.Port;
        }
        return TryNoteFragment(ref packet);
    }

    /// <summary>The backend that the client has, or a new one. A flow's hash is the same on every node, for Maglev tables are alike, too.</summary>
    private static int BackendFor(ref Routed packet, int frontend, ref readonly FrontendRecord service)
    {
        Worker w = packet.Worker;
        if (service.Has(FrontendFlags.Affinity))
        {
            return BackendOfClient(ref packet, frontend, in service);
        }
        return BackendOfFlow(w, in service, packet.Frame, packet.IsIPv6);
    }

    /// <summary>The backend that follows from a packet's flow alone.</summary>
    internal static int BackendOfFlow(Worker w, ref readonly FrontendRecord service, rte_mbuf* frame, bool isIPv6)
    {
        byte* ip = Mbuf.Data(frame) + Wire.EthernetHeader;
        int readable = Math.Min(frame->data_len, (int)frame->pkt_len) - Wire.EthernetHeader;
        return w.ChooseBackend(in service, isIPv6 ? FlowHash.Of6(ip, readable) : FlowHash.Of4(ip, readable));
    }

    /// <summary>The backend that the client has, as long as it takes connections; else one for the client's address.</summary>
    private static int BackendOfClient(ref Routed packet, int frontend, ref readonly FrontendRecord service)
    {
        Worker w = packet.Worker;
        ref PacketFlow flow = ref packet.Tracked.Flow;
        ConnectionKey key = ConnectionKey.OfAffinity(packet.Interface.Vrf, flow.IsIPv6, flow.Source, (uint)frontend);
        int known = (int)w.Connections.FindAffinity(in key, service.AffinitySeconds, w.NowSeconds);
        ref readonly BackendRecord record = ref w.Backend(known);
        if (known != 0 && record.Service == service.Service && (record.Flags & (BackendFlags.Exists | BackendFlags.Draining)) == BackendFlags.Exists)
        {
            return known;
        }
        int chosen = w.ChooseBackend(in service, (uint)(KeyHash.Mix(flow.Source.High ^ KeyHash.Golden, flow.Source.Low | 1) >> 32));
        w.Connections.PutAffinity(in key, (uint)frontend, (uint)chosen, w.NowSeconds);
        return chosen;
    }

    /// <summary>Whether a packet begins a connection: to a service nothing else does, for who takes it in the middle would not understand.</summary>
    private static bool IsFirst(ref Routed packet) => packet.Tracked.Flow.Protocol switch
    {
        Wire.ProtocolTcp => (packet.Tracked.Flow.TcpFlags & (TcpHeader.Syn | TcpHeader.Ack | TcpHeader.Rst | TcpHeader.Fin)) == TcpHeader.Syn,
        Wire.ProtocolSctp => Signal(ref packet) == SctpHeader.Init,
        _ => true,
    };

    /// <summary>A packet to an address of services, and to none of their ports.</summary>
    private static void TakeAtService(ref Routed packet, ref readonly FrontendRecord address)
    {
        if (IsEchoRequest(ref packet) && address.Has(FrontendFlags.AnswersPing))
        {
            packet.Worker.Watcher.Step(TraceStep.Delivered, packet.Port);
            if (packet.IsIPv6)
            {
                Responder.Take6(packet.Worker, packet.Port, packet.Frame, packet.Destination);
            }
            else
            {
                Responder.Take4(packet.Worker, packet.Port, packet.Frame);
            }
            return;
        }
        Refuse(ref packet, DropReason.ServiceNotServed);
    }

    private static bool IsEchoRequest(ref Routed packet) =>
        packet.Tracked.Flow.Kind == FlowKind.Echo && packet.Data[packet.Tracked.Flow.Transport] is (Icmp.Echo4 or Icmp.Echo6);
}
