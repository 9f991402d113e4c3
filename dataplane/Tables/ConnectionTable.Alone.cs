using System.Numerics;
using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// What is simpler where nobody else changes the table. Nearly always that is so with one worker: besides workers only housekeeping changes
/// anything, for some milliseconds of each second at most, and says so beforehand (<see cref="Claim"/>). Then a worker need not lock the words that
/// it changes, which takes twenty clocks for each and has the processor wait for everything before, cache misses too; and nobody can make an
/// entry of the same key, so that none has to be proposed.
/// <para>
/// Who asks for that is known by a grace period: housekeeping writes its claim, and begins when the worker has been quiescent since, for that looks at
/// the claim at the beginning of each poll (<see cref="Quiescence"/>). Readers notice nothing: what they go by, the order in which words are
/// written, is the same.
/// </para>
/// </summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Slots of a window that are looked at in any case: in a full table, in five windows of six, one of so many is free.</summary>
    private const uint Likely = 4;

    /// <summary>Not a slot.</summary>
    private const uint None = uint.MaxValue;

    /// <summary>
    /// Whether nobody else changes the table until this is said again. Only the owner of this object says it, of itself, between two polls.
    /// </summary>
    public bool IsAlone { get; set; }

    /// <summary>Whether housekeeping changes the table, or is about to.</summary>
    public bool IsClaimed => Volatile.Read(ref _all[_writers - 1].Claimed) != 0;

    /// <summary>Housekeeping wants to change the table: it may when every worker has been quiescent.</summary>
    public void Claim() => Volatile.Write(ref _mine->Claimed, 1);

    /// <summary>It has changed what it wanted to.</summary>
    public void Release() => Volatile.Write(ref _mine->Claimed, 0);

    private InsertResult MakeAlone(
        in ConnectionSlots slots, in NewConnection connection, uint home, uint replyHome, ulong way, uint now, out ConnectionHandle handle)
    {
        handle = default;
        ref readonly ConnectionKey original = ref connection.Original, reply = ref connection.Reply;
        if (TryLocate(in slots, in original, home, None, out uint at))
        {
            handle = new ConnectionHandle(at, slots.IsIPv6, slots.At(at)->Control);
            return InsertResult.Exists;
        }
        if (TryLocate(in slots, in reply, replyHome, at, out uint replyAt) || reply == original)
        {
            return InsertResult.ReplyTaken;
        }
        // What is removed to make room makes neither slot less free.
        if (!TryMakeRoom(in slots, now)
            || (at == None && !TryFreeNear(in slots, home, replyAt, now, out at))
            || (replyAt == None && !TryFreeNear(in slots, replyHome, at, now, out replyAt)))
        {
            _mine->Refused++;
            return InsertResult.Full;
        }
        var first = new First(in connection);
        var owner = new ConnectionOwner { Frontend = connection.Frontend, Backend = connection.Backend };
        Mark(in connection, in first);
        Taken taken = Occupy(in slots, at, home, way), replyTaken = Occupy(in slots, replyAt, replyHome, 0);
        // Nobody reads what is in a slot that is being written.
        Volatile.WriteBarrier();
        Fill(in slots, replyAt, in reply, in original, at, in owner, first.Deltas.Reversed, now);
        Fill(in slots, at, in original, in reply, replyAt, in owner, first.Deltas, now);
        ulong control = ConnectionControl.With(ConnectionControl.With(taken.Control, ConnectionPhase.Valid), first.State, first.Flags);
        ulong replyControl = ConnectionControl.With(ConnectionControl.With(replyTaken.Control, ConnectionPhase.Valid), first.State, first.ReplyFlags);
        Volatile.Write(ref slots.At(replyAt)->Control, replyControl);
        Volatile.Write(ref slots.At(at)->Control, control);
        LowerReach(in slots, taken.Forgets, at);
        LowerReach(in slots, replyTaken.Forgets, replyAt);
        CountSlots(in slots, 2);
        CountInserted(in first);
        RoomOf(in slots).HalfOpen.Push(at, control, now);
        handle = new ConnectionHandle(at, slots.IsIPv6, control);
        return InsertResult.Inserted;
    }

    /// <summary>The slot of a key; else false, and the first free slot that an entry of it may live in, or <see cref="None"/>.</summary>
    /// <param name="slots">The family.</param>
    /// <param name="key">The key.</param>
    /// <param name="home">Where its search begins.</param>
    /// <param name="except">A slot that is as good as taken.</param>
    /// <param name="index">The slot.</param>
    private static bool TryLocate(in ConnectionSlots slots, in ConnectionKey key, uint home, uint except, out uint index, uint likely = Likely)
    {
        // Whether a slot is taken is as good as random, so it is no branch: a bit for each that is free.
        ulong free = 0;
        uint seen = Math.Max((uint)ConnectionWay.Reach(slots.At(home)->Way) + 1, likely);
        for (uint i = 0; i < seen; i++)
        {
            ConnectionHead* head = slots.At(home + i);
            ulong control = head->Control;
            free |= ((~control >> 1) & 1) << (int)i;
            if (slots.Matches(head, in key) && ConnectionControl.HasKey(control))
            {
                index = home + i;
                return true;
            }
        }
        free = Without(free, home, except);
        for (; free == 0 && seen < Window; seen++)
        {
            free = Without(((~slots.At(home + seen)->Control >> 1) & 1) << (int)seen, home, except);
        }
        index = free == 0 ? None : home + (uint)BitOperations.TrailingZeroCount(free);
        return false;
    }

    /// <summary>Bits of slots without that of one of them, should it be among them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Without(ulong bits, uint home, uint except) => except - home < Window ? bits & ~(1ul << (int)(except - home)) : bits;

    /// <summary>Makes room in a window all of whose slots are taken.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryFreeNear(in ConnectionSlots slots, uint home, uint except, uint now, out uint index)
    {
        index = None;
        if (!TryMakeRoomAt(in slots, home, now))
        {
            return false;
        }
        for (uint at = home; at < home + Window; at++)
        {
            if (!ConnectionControl.HasKey(slots.At(at)->Control) && at != except)
            {
                index = at;
                return true;
            }
        }
        return false;
    }

    /// <summary>Takes a free slot, writes the way of what will be there, and makes its home reach it.</summary>
    private Taken Occupy(in ConnectionSlots slots, uint index, uint home, ulong way)
    {
        ConnectionHead* head = slots.At(index);
        ulong free = head->Control, control = ConnectionControl.Taken(free, index - home);
        uint forgets = index;
        if (ConnectionControl.IsGone(free))
        {
            forgets = index - ConnectionControl.Distance(free);
            Prefetch(slots.At(forgets));
        }
        head->Control = control;
        head->Way = (head->Way & ConnectionWay.PlaceMask) | way;
        ulong* homeWay = &slots.At(home)->Way;
        uint distance = index - home;
        if ((uint)ConnectionWay.Reach(*homeWay) < distance)
        {
            *homeWay = (*homeWay & ~ConnectionWay.PlaceMask) | distance;
        }
        return new Taken(index, control, forgets);
    }

    /// <summary>As <see cref="Interlocked.CompareExchange(ref ulong, ulong, ulong)"/>, on a word of the table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong CompareExchange(ref ulong word, ulong value, ulong comparand)
    {
        if (!IsAlone)
        {
            return Interlocked.CompareExchange(ref word, value, comparand);
        }
        ulong was = word;
        if (was == comparand)
        {
            Volatile.Write(ref word, value);
        }
        return was;
    }

    /// <summary>As <see cref="Interlocked.And(ref ulong, ulong)"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void And(ref ulong word, ulong mask)
    {
        if (IsAlone)
        {
            Volatile.Write(ref word, word & mask);
            return;
        }
        Interlocked.And(ref word, mask);
    }

    /// <summary>As <see cref="Interlocked.Or(ref ulong, ulong)"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Or(ref ulong word, ulong bits)
    {
        if (IsAlone)
        {
            Volatile.Write(ref word, word | bits);
            return;
        }
        Interlocked.Or(ref word, bits);
    }

    /// <summary>As <see cref="Interlocked.Exchange(ref ulong, ulong)"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Exchange(ref ulong word, ulong value)
    {
        if (IsAlone)
        {
            Volatile.Write(ref word, value);
            return;
        }
        Interlocked.Exchange(ref word, value);
    }
}
