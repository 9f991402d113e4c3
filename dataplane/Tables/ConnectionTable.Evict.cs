using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>Which entry is removed for another: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Entries that make room among which the oldest are looked for.</summary>
    private const int Candidates = 16;

    /// <summary>Slots among which an entry that makes room is looked for when the table is full and has any: some microseconds at most.</summary>
    private const uint Search = 2048;

    /// <summary>Slots that are asked for before they are looked at.</summary>
    private const uint Ahead = 8;

    /// <summary>Entries that are the next to make room, the best last.</summary>
    private struct RoomList
    {
        /// <summary>Where the next ones are looked for: all slots have their turn alike.</summary>
        public uint Hand;
        /// <summary>The second in which these were found: in another one others are older.</summary>
        public uint When;
        public int Count;
        public fixed uint Indexes[Candidates];
        public fixed ulong Controls[Candidates];
        /// <summary>Seconds without a packet; more for what is over.</summary>
        public fixed ulong Ranks[Candidates];
    }

    /// <summary>
    /// Removes an entry wherever it is: of this worker's own what is over, or the oldest of what is half-open if it has its share of that; or else of
    /// anybody's what is over, or the oldest of some that are half-open.
    /// </summary>
    private bool TryEvict(in ConnectionSlots slots, ref Room room, uint now)
    {
        if (TryEvictOwn(in slots, room.Over, 0, now) || TryEvictOwn(in slots, room.HalfOpen, room.Share, now))
        {
            return true;
        }
        ref RoomList list = ref room.Found;
        if (list.When != now)
        {
            list.Count = 0;
        }
        // Others may be quicker: with what they leave the search begins anew, a few times.
        for (int attempt = 0; attempt < 4; attempt++)
        {
            if (TryEvict(in slots, ref list, now))
            {
                return true;
            }
            list.When = now;
            list.Hand = Gather(in slots, ref list, list.Hand, Window, now);
            if (list.Count == 0 && HaveRoom())
            {
                list.Hand = Gather(in slots, ref list, list.Hand, Math.Min(Search, slots.Count), now);
            }
            if (list.Count == 0)
            {
                return false;
            }
        }
        return false;
    }

    /// <summary>Removes the oldest entry of a queue that may make room, behind which so many are. Gives up when too many may not.</summary>
    private bool TryEvictOwn(in ConnectionSlots slots, RoomQueue queue, long share, uint now)
    {
        for (int attempt = 0; attempt < Candidates && queue.Count > share && queue.TryPop(out RoomQueue.Item item); attempt++)
        {
            PrefetchOwn(in slots, queue);
            ConnectionHead* head = slots.At(item.Index);
            ulong control = Volatile.Read(ref head->Control);
            if (ConnectionControl.Phase(control) != ConnectionPhase.Valid || !item.IsOf(control) || !MakesRoom(control))
            {
                continue;
            }
            uint seen = head->LastSeen;
            if (item.IsOlderThan(seen) && !ConnectionControl.IsOver(control) && attempt < Candidates / 2)
            {
                queue.Push(item.Index, control, seen); // packets still come: others first
                continue;
            }
            if (TryRemove(in slots, item.Index, control, now))
            {
                _mine->Evicted++;
                return true;
            }
        }
        return false;
    }

    /// <summary>Asks for the lines of entries whose turn comes soon.</summary>
    private static void PrefetchOwn(in ConnectionSlots slots, RoomQueue queue)
    {
        if (queue.TryPeek(2 * Ahead, out RoomQueue.Item later))
        {
            Prefetch(slots.At(later.Index));
        }
        if (queue.TryPeek(Ahead, out RoomQueue.Item soon))
        {
            ConnectionHead* head = slots.At(soon.Index);
            Prefetch(slots.At(soon.Index - ConnectionControl.Distance(head->Control)));
            PrefetchPartner(in slots, head->Partner);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchPartner(in ConnectionSlots slots, uint partner)
    {
        if (partner < slots.Count)
        {
            Prefetch(slots.At(partner));
            // If it is not in its home that is next to it, as a rule.
            Prefetch(slots.At(Math.Max(1, partner) - 1));
        }
    }

    /// <summary>Removes an entry of one window, whether the table is full or not.</summary>
    private bool TryMakeRoomAt(in ConnectionSlots slots, uint home, uint now)
    {
        var list = default(RoomList);
        Gather(in slots, ref list, home, Window, now);
        return TryEvict(in slots, ref list, now);
    }

    /// <summary>Removes the best entry of a list that is still as it was found.</summary>
    private bool TryEvict(in ConnectionSlots slots, ref RoomList list, uint now)
    {
        while (list.Count > 0)
        {
            int last = --list.Count;
            if (TryRemove(in slots, list.Indexes[last], list.Controls[last], now))
            {
                _mine->Evicted++;
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// Lists the first entries of a window that may make room, or the first one behind it, without the younger half. Gives the slot behind
    /// the last one looked at.
    /// </summary>
    /// <param name="slots">The family.</param>
    /// <param name="list">What is in it is forgotten.</param>
    /// <param name="start">Where the window begins.</param>
    /// <param name="far">How many slots are looked at, at most.</param>
    /// <param name="now">Seconds.</param>
    private static uint Gather(in ConnectionSlots slots, ref RoomList list, uint start, uint far, uint now)
    {
        list.Count = 0;
        uint index = start, end = slots.Count;
        for (uint i = 0; i < far && (i < Window ? list.Count < Candidates : list.Count == 0); i++, index = index + 1 == end ? 0 : index + 1)
        {
            ConnectionHead* head = slots.At(index);
            Prefetch(slots.At(index + Ahead));
            ulong control = Volatile.Read(ref head->Control);
            if (ConnectionControl.Phase(control) != ConnectionPhase.Valid || !MakesRoom(control))
            {
                continue;
            }
            PrefetchPartner(in slots, head->Partner);
            // One of the future was seen since the caller looked at its clock.
            ulong rank = (uint)Math.Max(0, (int)(now - head->LastSeen));
            // Nobody waits for one that is over; behind a half-open one somebody may.
            rank |= ConnectionControl.IsOver(control) ? 1ul << 32 : 0;
            Enlist(ref list, index, control, rank);
        }
        DropYounger(ref list);
        return index;
    }

    private static void Enlist(ref RoomList list, uint index, ulong control, ulong rank)
    {
        int at = list.Count++;
        for (; at > 0 && list.Ranks[at - 1] > rank; at--)
        {
            list.Indexes[at] = list.Indexes[at - 1];
            list.Controls[at] = list.Controls[at - 1];
            list.Ranks[at] = list.Ranks[at - 1];
        }
        list.Indexes[at] = index;
        list.Controls[at] = control;
        list.Ranks[at] = rank;
    }

    /// <summary>Takes those off the list that are younger than its middle: their turn comes when the others are gone.</summary>
    private static void DropYounger(ref RoomList list)
    {
        ulong middle = list.Ranks[list.Count / 2];
        int young = 0;
        while (young < list.Count && list.Ranks[young] < middle)
        {
            young++;
        }
        list.Count -= young;
        for (int i = 0; i < list.Count && young != 0; i++)
        {
            list.Indexes[i] = list.Indexes[i + young];
            list.Controls[i] = list.Controls[i + young];
            list.Ranks[i] = list.Ranks[i + young];
        }
    }

    /// <summary>Whether an entry may be removed for another. A connection is one by its original direction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool MakesRoom(ulong control) =>
        ConnectionControl.Has(control, ConnectionFlags.HalfOpen) || (ConnectionControl.IsOver(control) && !ConnectionControl.Has(control, ConnectionFlags.Reply));
}
