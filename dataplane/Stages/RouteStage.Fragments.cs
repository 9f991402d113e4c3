using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Fragments: only the first one of a datagram has the ports by which its connection is known. All that come by here note them, for
// whether a later one is to be translated shows its first one alone.
public static unsafe partial class RouteStage
{
    /// <summary>Notes the flow of a first fragment, for the later ones. True: the packet goes on, noted or not.</summary>
    private static bool TryNoteFragment(ref Routed packet)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        if (flow.IsFirstFragment)
        {
            packet.Worker.Connections.PutFragment(in flow, packet.Interface.Vrf, packet.Worker.NowSeconds);
            packet.Worker.Nat.Fragments.Hurry();
        }
        return true;
    }

    /// <summary>A later fragment goes the way of its first one. False when that has not come yet, and it waits, or it was dropped.</summary>
    private static bool TryTrackFragment(ref Routed packet)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ushort vrf = packet.Interface.Vrf;
        if (!w.Connections.TryFindFragment(ref tracked.Flow, vrf, w.NowSeconds))
        {
            if (!w.Nat.Fragments.TryHold(w, packet.Port, packet.Frame, ConnectionKey.OfFragment(in tracked.Flow, vrf)))
            {
                packet.Drop(DropReason.NatFragment);
            }
            return false;
        }
        tracked.Key = ConnectionKey.Of(in tracked.Flow, vrf);
        return w.Connections.TryFind(in tracked.Key, w.Connections.Hash(in tracked.Key), out ConnectionHandle handle, out ConnectionEntry entry)
            ? TryContinue(ref packet, handle, in entry)
            : IsForNoService(ref packet);
    }
}
