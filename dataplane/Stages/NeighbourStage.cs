using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Address resolution: ARP (RFC 826, 5227) for IPv4 and neighbour discovery (RFC 4861) for IPv6, with the states and the times of the
/// latter for both.
/// <para>
/// Who sends to a neighbour whose address is not known hands the packet over (<see cref="TryResolve"/>). It waits while the link
/// is asked, with back-off; the answer sets it going again, and when none comes it is dropped and its sender told. An address
/// that was not confirmed for a while goes on being used: a packet to it begins the delay, and after that the neighbour itself is
/// asked. Of several workers that see the same one does it.
/// </para>
/// <para>
/// Messages from the link are validated, and learned from: what answers a question of ours is believed, what asks for an address
/// of ours is remembered for the answer to it, and anything else only changes what is known already. Asked for the
/// interface's own addresses the router answers; with <see cref="InterfaceFlags.Proxy"/> for those behind its other interfaces too,
/// and with <see cref="InterfaceFlags.Suppress"/> it answers for neighbours it knows, so that the question is not flooded.
/// </para>
/// <para>
/// In <c>Resolve</c>: packets that wait. <c>Timers</c>: what time brings. <c>Learn</c>, <c>Arp</c>, <c>Discovery</c>: what comes
/// from the link. <c>Answer</c>: for whom it answers. <c>Intercept</c>: questions on their way through a bridge.
/// <c>Solicit</c>: the frames.
/// </para>
/// </summary>
public static unsafe partial class NeighbourStage
{
    private const ulong Second = 1_000_000_000;

    private static void Consume(Worker w, int port, rte_mbuf* mbuf)
    {
        w.Counters(port)->Consumed++;
        w.Free(mbuf);
    }

    /// <summary>
    /// The end of a message that told something: the host behind the interface has the same addresses and may have asked as well, so
    /// what was sent to its MAC address alone goes on to it. What went to all it has got by the bridge.
    /// </summary>
    private static void PassOn(Worker w, int port, ref readonly InterfaceRecord itf, rte_mbuf* mbuf, ulong destination, ulong source)
    {
        if (itf.HostPort == 0 || (destination & 1) != 0 || source == itf.Mac)
        {
            Consume(w, port, mbuf);
            return;
        }
        if (LinkOutput.TrySendTo(w, port, itf.HostPort, mbuf, out DropReason reason))
        {
            w.Watcher.Step(TraceStep.NeighbourForHost, itf.HostPort);
            w.Counters(port)->Forwarded++;
            return;
        }
        w.Drop(port, mbuf, reason);
    }
}
