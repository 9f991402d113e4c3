using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What happens when as many slots are in use as may be: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Entries that make room among which the oldest are looked for.</summary>
    private const int Candidates = 16;

    /// <summary>Slots among which an entry that makes room is looked for when the table is full and has any: some microseconds at most.</summary>
    private const uint Search = 2048;

    /// <summary>Slots that are asked for before they are looked at.</summary>
    private const uint Ahead = 8;

    /// <summary>Slots that may be taken before all are counted again.</summary>
    private const int MaxCredit = 256;

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

    /// <summary>Sees to it that fewer slots are in use than may be. False when nothing can be removed for that.</summary>
    private bool TryMakeRoom(in ConnectionSlots slots, uint now)
    {
        ref int credit = ref slots.IsIPv6 ? ref _credit6 : ref _credit4;
        if (credit >= 2)
        {
            credit -= 2;
            return true;
        }
        long used = !_isAlone ? SlotsInUse(slots.IsIPv6) : slots.IsIPv6 ? _others6 + _mine->Slots6 : _others4 + _mine->Slots4;
        long left = (slots.IsIPv6 ? _limit6 : _limit4) - used;
        if (left < 2)
        {
            return TryEvict(in slots, now);
        }
        // Half of what is left is shared among all, so that together they cannot take too many.
        credit = (int)Math.Min(MaxCredit, Math.Max(0, left - 2) / (2 * _writers));
        return true;
    }

    /// <summary>Removes an entry wherever it is: what is over, or else the oldest of some that are half-open.</summary>
    private bool TryEvict(in ConnectionSlots slots, uint now)
    {
        ref RoomList list = ref slots.IsIPv6 ? ref _room6 : ref _room4;
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
            list.Hand = Gather(in slots, ref list, list.Hand, HaveRoom() ? Math.Min(Search, slots.Count) : Window, now);
            if (list.Count == 0)
            {
                return false;
            }
        }
        return false;
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
            uint partner = head->Partner;
            if (partner < end)
            {
                Prefetch(slots.At(partner));
                // If it is not in its home that is next to it, as a rule.
                Prefetch(slots.At(Math.Max(1, partner) - 1));
            }
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

    /// <summary>Whether there are connections that make room.</summary>
    private bool HaveRoom()
    {
        long n = 0;
        for (int i = 0; i < _writers; i++)
        {
            n += Volatile.Read(ref _all[i].HalfOpen) + Volatile.Read(ref _all[i].Over);
        }
        return n > 0;
    }

    private long SlotsInUse(bool isIPv6)
    {
        long n = 0;
        for (int i = 0; i < _writers; i++)
        {
            n += Volatile.Read(ref isIPv6 ? ref _all[i].Slots6 : ref _all[i].Slots4);
        }
        return n;
    }
}
