using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Packets that wait.
public static unsafe partial class NeighbourStage
{
    /// <summary>
    /// For a packet to a neighbour that is not fresh. True when it can be sent, for the address is known. False when it is not: the
    /// packet then waits for it, and goes through <see cref="RouteStage.Resume"/> once more when it is found, or was dropped.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="account">The port that accounts for the packet, and by which it is routed again.</param>
    /// <param name="key">The neighbour, on an interface.</param>
    /// <param name="mbuf">The packet as it came. The caller holds it alone.</param>
    /// <param name="value">See <see cref="NeighbourValue"/>.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool TryResolve(Worker w, int account, in NeighbourKey key, rte_mbuf* mbuf, out ulong value)
    {
        value = Want(w, in key, out int at, out DropReason reason);
        if (NeighbourValue.IsUsable(value))
        {
            return true;
        }
        if (at < 0)
        {
            Refuse(w, account, mbuf, reason);
            return false;
        }
        Resolutions resolutions = w.Resolutions;
        if (resolutions[at].Count == Resolutions.PacketsPerNeighbour || resolutions.Packets == Resolutions.MaxPackets)
        {
            // The latest packet is the one to keep (RFC 1122, 2.3.2.2).
            if (!resolutions.TryTake(at, out HeldPacket oldest))
            {
                w.Drop(account, mbuf, DropReason.NeighbourQueueFull);
                return false;
            }
            Release(w, in oldest);
            w.Drop((int)oldest.Account, oldest.Mbuf, DropReason.NeighbourQueueFull);
        }
        w.Watcher.StepOf(mbuf, TraceStep.NeighbourAwaited, key.Port, key.High, key.Low);
        resolutions.Hold(at, account, mbuf);
        resolutions.Next = Math.Min(resolutions.Next, w.Storm.Now + LongestWait);
        w.Counters(account)->Held++;
        return false;
    }

    /// <summary>
    /// The value of a neighbour that something is to be sent to, 0 when it is unknown; and what is to be done to know it, or to know
    /// it on, is begun. For whoever has no packet that could wait.
    /// </summary>
    public static ulong Want(Worker w, in NeighbourKey key) => Want(w, in key, out _, out _);

    /// <param name="w">The worker.</param>
    /// <param name="key">The neighbour.</param>
    /// <param name="at">Where in <see cref="Worker.Resolutions"/> a packet may wait, -1 for nowhere.</param>
    /// <param name="reason">Why not, when its value is not usable.</param>
    private static ulong Want(Worker w, in NeighbourKey key, out int at, out DropReason reason)
    {
        at = -1;
        reason = DropReason.NeighbourUnresolved;
        bool known = w.Neighbours.TryFind(in key, out NeighbourSlot slot);
        ulong value = known ? slot.Value : 0;
        switch (NeighbourValue.State(value))
        {
            case NeighbourState.None:
                Begin(w, in key, ref value, out at, out reason);
                break;
            case NeighbourState.Incomplete:
                at = Wait(w, in key, out reason);
                break;
            case NeighbourState.Failed:
                if ((int)(w.NowSeconds - slot.Detail->Changed) < (int)NeighbourTimes.Failed)
                {
                    break; // it was asked for a moment ago
                }
                if (NeighbourTable.TryChange(slot, value, NeighbourValue.Make(NeighbourState.Incomplete), w.NowSeconds))
                {
                    at = Ask(w, in key, out reason);
                }
                else
                {
                    at = Wait(w, in key, out reason);
                }
                break;
            case NeighbourState.Stale:
                Doubt(w, in key, slot, value);
                break;
        }
        return value;
    }

    /// <summary>No entry yet.</summary>
    private static void Begin(Worker w, in NeighbourKey key, ref ulong value, out int at, out DropReason reason)
    {
        at = -1;
        reason = DropReason.NeighbourQueueFull;
        if (!MakeRoom(w))
        {
            return;
        }
        switch (w.Neighbours.Insert(in key, NeighbourValue.Make(NeighbourState.Incomplete), w.NowSeconds, out NeighbourSlot slot))
        {
            case NeighbourResult.Inserted:
                at = Ask(w, in key, out reason);
                break;
            case NeighbourResult.Present:
                value = slot.Value;
                at = NeighbourValue.IsUsable(value) ? -1 : Wait(w, in key, out reason);
                break;
            case NeighbourResult.Busy:
                at = Wait(w, in key, out reason);
                break;
            default:
                Spare(w, in key);
                break;
        }
    }

    /// <summary>This worker has made the entry INCOMPLETE, so it asks.</summary>
    private static int Ask(Worker w, in NeighbourKey key, out DropReason reason)
    {
        reason = DropReason.NeighbourQueueFull;
        int at = w.Resolutions.Find(in key);
        if (at < 0 && (!MakeRoom(w) || (at = w.Resolutions.Add(in key, ResolutionKind.Asking, ulong.MaxValue)) < 0))
        {
            // The next packet tries again.
            Fail(w, in key, NeighbourTimes.Failed);
            return -1;
        }
        // The question itself is sent between this poll and the next: here another stage may be in the midst of its work.
        w.Resolutions[at].Kind = ResolutionKind.Asking;
        w.Resolutions[at].Attempts = 0;
        w.Resolutions.SetDeadline(at, w.Storm.Now);
        return at;
    }

    /// <summary>Another worker asks, or this one does already.</summary>
    private static int Wait(Worker w, in NeighbourKey key, out DropReason reason)
    {
        reason = DropReason.NeighbourQueueFull;
        int at = w.Resolutions.Find(in key);
        if (at < 0 && MakeRoom(w))
        {
            at = w.Resolutions.Add(in key, ResolutionKind.Waiting, w.Storm.Now + LongestAnswer);
        }
        return at;
    }

    /// <summary>A packet goes to a neighbour that is stale. One worker begins the delay; when it has no room, a later packet does.</summary>
    private static void Doubt(Worker w, in NeighbourKey key, NeighbourSlot slot, ulong value)
    {
        int at = w.Resolutions.Find(in key);
        if (at < 0)
        {
            at = w.Resolutions.Add(in key, ResolutionKind.Delaying, w.Storm.Now + (NeighbourTimes.Delay * Second));
            if (at < 0)
            {
                return;
            }
            if (!NeighbourTable.TryChange(slot, value, NeighbourValue.With(value, NeighbourState.Delay), w.NowSeconds))
            {
                w.Resolutions.Remove(at);
            }
        }
    }

    /// <summary>Sees to it that a place is free, by giving up the question that was asked first.</summary>
    private static bool MakeRoom(Worker w)
    {
        Resolutions resolutions = w.Resolutions;
        if (resolutions.Count < Resolutions.Capacity)
        {
            return true;
        }
        int at = resolutions.CanBury ? resolutions.Oldest() : -1;
        if (at < 0)
        {
            return false;
        }
        Resolution oldest = resolutions[at];
        GiveUp(w, at, DropReason.NeighbourQueueFull);
        // Forgotten altogether: who scans a network fills no table with it (RFC 6583).
        if (oldest.Kind == ResolutionKind.Asking && w.Neighbours.TryFind(in oldest.Key, out NeighbourSlot slot)
            && NeighbourValue.State(slot.Value) == NeighbourState.Incomplete && w.Neighbours.Kill(in oldest.Key, out _, out ulong grave))
        {
            resolutions.Bury(grave, w.Segment.Quiescence);
        }
        return true;
    }

    /// <summary>The table is full near a key: something that is not needed goes, so that a later attempt succeeds.</summary>
    private static void Spare(Worker w, in NeighbourKey key)
    {
        if (w.Resolutions.CanBury && w.Neighbours.Spare(in key, w.NowSeconds, out ulong grave))
        {
            w.Resolutions.Bury(grave, w.Segment.Quiescence);
        }
    }

    /// <summary>Ends a resolution. Its packets are dropped.</summary>
    private static void GiveUp(Worker w, int at, DropReason reason)
    {
        Resolutions resolutions = w.Resolutions;
        while (resolutions.TryTake(at, out HeldPacket packet))
        {
            Release(w, in packet);
            Refuse(w, (int)packet.Account, packet.Mbuf, reason);
        }
        resolutions.Remove(at);
    }

    /// <summary>Drops a packet that cannot reach its neighbour, and tells its sender where nobody answered for it.</summary>
    private static void Refuse(Worker w, int account, rte_mbuf* mbuf, DropReason reason)
    {
        if (reason == DropReason.NeighbourUnresolved)
        {
            IcmpErrors.Send(w, account, mbuf, IcmpError.HostUnreachable);
        }
        w.Drop(account, mbuf, reason);
    }

    /// <summary>A packet does not wait any more.</summary>
    private static void Release(Worker w, in HeldPacket packet) => w.Counters((int)packet.Account)->Held--;

    /// <summary>Gives up all packets that wait: the worker ends.</summary>
    public static void GiveUpAll(Worker w)
    {
        for (int at = 0; at < Resolutions.Capacity; at++)
        {
            if (w.Resolutions.IsUsed(at))
            {
                Resolutions resolutions = w.Resolutions;
                while (resolutions.TryTake(at, out HeldPacket packet))
                {
                    Release(w, in packet);
                    w.Drop((int)packet.Account, packet.Mbuf, DropReason.NeighbourUnresolved);
                }
                resolutions.Remove(at);
            }
        }
    }
}
