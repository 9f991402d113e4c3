using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// What time brings.
public static unsafe partial class NeighbourStage
{
    /// <summary>How long a packet may wait for another worker's question: somewhat longer than that one asks.</summary>
    private const ulong LongestAnswer = 10 * Second;

    /// <summary>
    /// While packets wait, the table is looked at so often, for an entry may come from where no worker tells of it (the control
    /// plane).
    /// </summary>
    private const ulong LongestWait = Second / 10;

    /// <summary>
    /// Looks after everything that is under way. Called between two polls: packets that are set going enter the router anew, and
    /// no other stage is at work.
    /// </summary>
    public static void Tick(Worker w)
    {
        Resolutions resolutions = w.Resolutions;
        resolutions.Free(w.Neighbours, w.Segment.Quiescence);
        resolutions.Next = ulong.MaxValue;
        for (int at = 0; at < Resolutions.Capacity && resolutions.Count != 0; at++)
        {
            if (resolutions.IsUsed(at))
            {
                Look(w, at);
            }
        }
        ulong next = resolutions.Next;
        for (int at = 0; at < Resolutions.Capacity && resolutions.Count != 0; at++)
        {
            next = resolutions.IsUsed(at) ? Math.Min(next, resolutions[at].Deadline) : next;
        }
        resolutions.Next = resolutions.Packets != 0 ? Math.Min(next, w.Storm.Now + LongestWait) : next;
    }

    private static void Look(Worker w, int at)
    {
        ref Resolution it = ref w.Resolutions[at];
        bool known = w.Neighbours.TryFind(in it.Key, out NeighbourSlot slot);
        ulong value = known ? slot.Value : 0;
        bool isDue = it.Deadline <= w.Storm.Now;
        NeighbourState state = NeighbourValue.State(value);
        switch (it.Kind)
        {
            case ResolutionKind.Asking or ResolutionKind.Waiting when NeighbourValue.IsUsable(value):
                SetGoing(w, at);
                break;
            case ResolutionKind.Asking or ResolutionKind.Waiting when state != NeighbourState.Incomplete:
                GiveUp(w, at, DropReason.NeighbourUnresolved);
                break;
            case ResolutionKind.Waiting when isDue:
                GiveUp(w, at, DropReason.NeighbourUnresolved);
                break;
            case ResolutionKind.Asking when isDue:
                if (it.Attempts < NeighbourTimes.MulticastSolicitations)
                {
                    AskAgain(w, at);
                }
                else if (NeighbourTable.TryChange(slot, value, NeighbourValue.Make(NeighbourState.Failed), w.NowSeconds))
                {
                    GiveUp(w, at, DropReason.NeighbourUnresolved);
                }
                break;
            case ResolutionKind.Delaying when state != NeighbourState.Delay:
            case ResolutionKind.Probing when state != NeighbourState.Probe:
                w.Resolutions.Remove(at);
                break;
            case ResolutionKind.Delaying when isDue:
                if (NeighbourTable.TryChange(slot, value, NeighbourValue.With(value, NeighbourState.Probe), w.NowSeconds))
                {
                    (it.Kind, it.Attempts) = (ResolutionKind.Probing, 0);
                    ProbeAgain(w, at, value);
                }
                break;
            case ResolutionKind.Probing when isDue:
                if (it.Attempts < NeighbourTimes.UnicastSolicitations)
                {
                    ProbeAgain(w, at, value);
                }
                else if (NeighbourTable.TryChange(slot, value, NeighbourValue.Make(NeighbourState.Incomplete), w.NowSeconds))
                {
                    // It is not where it was: perhaps the address has gone to another station.
                    (it.Kind, it.Attempts) = (ResolutionKind.Asking, 0);
                    AskAgain(w, at);
                }
                break;
        }
    }

    /// <summary>The address is known: packets that waited for it are routed once more.</summary>
    private static void SetGoing(Worker w, int at)
    {
        Resolutions resolutions = w.Resolutions;
        Resolution done = resolutions[at];
        while (resolutions.TryTake(at, out _))
        {
        }
        // The place is free before the packets go: they may find the entry stale, and need one.
        resolutions.Remove(at);
        for (int i = 0; i < done.Count; i++)
        {
            HeldPacket packet = done.Packets[i];
            Release(w, in packet);
            w.Watcher.Begin(packet.Mbuf);
            w.Watcher.Step(TraceStep.NeighbourFound, done.Key.Port, done.Key.High, done.Key.Low);
            RouteStage.Resume(w, (int)packet.Account, packet.Mbuf);
            w.Watcher.End();
        }
    }

    /// <summary>Asks the link, and doubles the time until the next question.</summary>
    private static void AskAgain(Worker w, int at)
    {
        ref Resolution it = ref w.Resolutions[at];
        ulong wait = (NeighbourTimes.Retransmit * Second) << it.Attempts;
        it.Attempts++;
        w.Resolutions.SetDeadline(at, w.Storm.Now + wait);
        Solicit(w, in it.Key, 0);
    }

    /// <summary>Asks the neighbour.</summary>
    private static void ProbeAgain(Worker w, int at, ulong value)
    {
        ref Resolution it = ref w.Resolutions[at];
        it.Attempts++;
        w.Resolutions.SetDeadline(at, w.Storm.Now + (NeighbourTimes.Retransmit * Second));
        Solicit(w, in it.Key, NeighbourValue.Mac(value));
    }

    /// <summary>An entry that this worker made INCOMPLETE and cannot ask for. It may be asked for again at once.</summary>
    private static void Fail(Worker w, in NeighbourKey key, uint earlier)
    {
        if (w.Neighbours.TryFind(in key, out NeighbourSlot slot) && NeighbourValue.State(slot.Value) == NeighbourState.Incomplete)
        {
            NeighbourTable.TryChange(slot, slot.Value, NeighbourValue.Make(NeighbourState.Failed), w.NowSeconds - earlier);
        }
    }
}
