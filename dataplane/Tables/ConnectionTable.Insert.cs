using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>Making entries: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Entries that make room among which the oldest is looked for.</summary>
    private const int Candidates = 8;

    /// <summary>Slots among which an entry that makes room is looked for when the table is full and has any: some microseconds at most.</summary>
    private const uint Search = 2048;

    /// <summary>Slots that are asked for before they are looked at.</summary>
    private const uint Ahead = 8;

    /// <summary>Slots that may be taken before all are counted again.</summary>
    private const int MaxCredit = 256;

    /// <summary>Makes a connection: both entries or none. Its routes are to be told by <see cref="Refresh"/>.</summary>
    /// <param name="connection">Both keys are of one family.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="handle">The entry of the original direction: the new one, or the one that exists.</param>
    public InsertResult TryInsert(in NewConnection connection, uint now, out ConnectionHandle handle)
    {
        ref readonly ConnectionSlots slots = ref Slots(connection.Original.IsIPv6);
        ulong hash = Hash(in connection.Original), replyHash = Hash(in connection.Reply);
        handle = default;
        if (Locate(in slots, in connection.Original, hash, out uint there, out ulong found))
        {
            if (ConnectionControl.Phase(found) == ConnectionPhase.Valid)
            {
                handle = new ConnectionHandle(there, slots.IsIPv6, found);
            }
            return InsertResult.Exists;
        }
        if (connection.Reply == connection.Original || Locate(in slots, in connection.Reply, replyHash, out _, out _))
        {
            return InsertResult.ReplyTaken;
        }
        uint home = slots.Home(hash), replyHome = slots.Home(replyHash);
        if (!MakeRoom(in slots, home, now) || !TryTake(in slots, home, now, out Taken original))
        {
            _mine->Refused++;
            return InsertResult.Full;
        }
        if (!TryTake(in slots, replyHome, now, out Taken reply))
        {
            Withdraw(in slots, original);
            _mine->Refused++;
            return InsertResult.Full;
        }
        bool isConnection = connection.Original.Kind == ConnectionKind.Connection;
        ConnectionState state = isConnection ? ConnectionTracking.Begin(connection.Original.Protocol, connection.Signal) : ConnectionState.None;
        ConnectionFlags flags = RewriteFlags(in connection) | (connection.Flags & ConnectionFlags.OfCaller);
        ConnectionFlags begin = (ConnectionTracking.IsSteady(state) ? ConnectionFlags.Hot : 0) | (isConnection ? ConnectionFlags.HalfOpen : 0);
        var owner = new ConnectionOwner { Frontend = connection.Frontend, Backend = connection.Backend };
        Fill(in slots, original.Index, in connection.Original, in connection.Reply, reply.Index, in owner, now);
        if (!Propose(in slots, ref original, state, flags | begin, in connection.Original, home))
        {
            // Not proposed yet, and so nobody else's to take.
            Withdraw(in slots, reply);
            return InsertResult.Exists;
        }
        ConnectionFlags replyFlags = Swap(flags) | ConnectionFlags.Reply;
        Fill(in slots, reply.Index, in connection.Reply, in connection.Original, original.Index, in owner, now);
        if (!Propose(in slots, ref reply, state, replyFlags, in connection.Reply, replyHome))
        {
            Withdraw(in slots, original);
            return InsertResult.ReplyTaken;
        }
        if (!TryPublish(in slots, ref reply))
        {
            Withdraw(in slots, original);
            return InsertResult.ReplyTaken;
        }
        if (!TryPublish(in slots, ref original))
        {
            FreeReply(in slots, reply.Index, original.Index, now);
            return InsertResult.Exists;
        }
        if (isConnection)
        {
            _mine->Inserted++;
            _mine->Connections++;
            _mine->HalfOpen++;
        }
        handle = new ConnectionHandle(original.Index, slots.IsIPv6, original.Control);
        return InsertResult.Inserted;
    }

    /// <summary>A slot that is the caller's until it is valid, or somebody else has made an entry of the same key.</summary>
    private record struct Taken(uint Index, ulong Control);

    /// <summary>The flags of the other direction: what replaces the source there replaces the destination here.</summary>
    private static ConnectionFlags Swap(ConnectionFlags flags)
    {
        ConnectionFlags rest = flags & ~(ConnectionFlags.RewritesSource | ConnectionFlags.RewritesDestination);
        return rest | ((flags & ConnectionFlags.RewritesSource) != 0 ? ConnectionFlags.RewritesDestination : 0)
            | ((flags & ConnectionFlags.RewritesDestination) != 0 ? ConnectionFlags.RewritesSource : 0);
    }

    private static ConnectionFlags RewriteFlags(in NewConnection connection)
    {
        ConnectionKey original = connection.Original, reply = connection.Reply;
        ConnectionFlags flags = ConnectionFlags.None;
        if (original.Source != reply.Destination || original.SourcePort != reply.DestinationPort)
        {
            flags |= ConnectionFlags.RewritesSource;
        }
        if (original.Destination != reply.Source || original.DestinationPort != reply.SourcePort)
        {
            flags |= ConnectionFlags.RewritesDestination;
        }
        return flags;
    }

    /// <summary>Writes all of an entry but its control word, whose phase lets nobody read it.</summary>
    private static void Fill(in ConnectionSlots slots, uint index, in ConnectionKey key, in ConnectionKey other, uint partner, in ConnectionOwner owner, uint now)
    {
        ConnectionHead* head = slots.At(index);
        head->Flow = key.Flow;
        head->LastSeen = now;
        head->Partner = partner;
        slots.Owner(head) = owner;
        ushort addresses = ConnectionDelta.Of(key.Source, key.Destination, other.Destination, other.Source);
        ushort ports = ConnectionDelta.Of(key.SourcePort, key.DestinationPort, other.DestinationPort, other.SourcePort);
        if (slots.IsIPv6)
        {
            var slot = (ConnectionSlot6*)head;
            slot->Source = key.Source;
            slot->Destination = key.Destination;
            slot->Rewrite = new ConnectionRewrite6
            {
                Source = other.Destination,
                Destination = other.Source,
                SourcePort = other.DestinationPort,
                DestinationPort = other.SourcePort,
                AddressDelta = addresses,
                PortDelta = ports,
            };
        }
        else
        {
            var slot = (ConnectionSlot4*)head;
            slot->Addresses = key.Addresses4;
            slot->Rewrite = new ConnectionRewrite4
            {
                Source = (uint)other.Destination.Low,
                Destination = (uint)other.Source.Low,
                SourcePort = other.DestinationPort,
                DestinationPort = other.SourcePort,
                AddressDelta = addresses,
                PortDelta = ports,
            };
        }
    }

    /// <summary>Sees to it that fewer slots are in use than may be. False when nothing near can be removed for that.</summary>
    private bool MakeRoom(in ConnectionSlots slots, uint home, uint now)
    {
        ref int credit = ref slots.IsIPv6 ? ref _credit6 : ref _credit4;
        if (credit >= 2)
        {
            credit -= 2;
            return true;
        }
        long left = slots.IsIPv6 ? _limit6 - SlotsInUse(true) : _limit4 - SlotsInUse(false);
        if (left < 2)
        {
            // Anywhere will do. All slots are a circle for this, those behind the last home too: every place must have its turn alike, or
            // what makes room gathers where it is never looked for.
            uint start = (uint)((ulong)home * slots.Count / slots.Homes);
            return Evict(in slots, start, HaveRoom() ? Math.Min(Search, slots.Count) : Window, now);
        }
        // Half of what is left is shared among all, so that together they cannot take too many.
        credit = (int)Math.Min(MaxCredit, Math.Max(0, left - 2) / (2 * _writers));
        return true;
    }

    /// <summary>Takes the first free slot of a window, and makes the home reach it.</summary>
    private bool TryTake(in ConnectionSlots slots, uint home, uint now, out Taken taken)
    {
        for (int round = 0; round < 2; round++)
        {
            for (uint index = home; index < home + Window; index++)
            {
                ref ulong control = ref slots.At(index)->Control;
                ulong free = Volatile.Read(ref control);
                if (ConnectionControl.Phase(free) != ConnectionPhase.Free)
                {
                    continue;
                }
                ulong mine = ConnectionControl.Taken(free);
                if (Interlocked.CompareExchange(ref control, mine, free) != free)
                {
                    continue;
                }
                CountSlots(in slots, 1);
                taken = new Taken(index, mine);
                // No route is of generation 0. The reach of the place stays.
                Interlocked.And(ref slots.At(index)->Way, ConnectionWay.PlaceMask);
                if (TryReach(in slots, home, index - home))
                {
                    return true;
                }
                Withdraw(in slots, taken);
                return false;
            }
            if (round == 0 && !Evict(in slots, home, Window, now))
            {
                break;
            }
        }
        taken = default;
        return false;
    }

    /// <summary>Makes a home reach at least so far. After taking the slot and before proposing it: see <see cref="LowerReach"/>.</summary>
    private static bool TryReach(in ConnectionSlots slots, uint home, uint distance)
    {
        ref ulong way = ref slots.At(home)->Way;
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong was = Volatile.Read(ref way);
            if (ConnectionWay.Reach(was) >= (int)distance && (was & ConnectionWay.Lowering) == 0)
            {
                return true;
            }
            ulong raised = (was & ~ConnectionWay.PlaceMask) | Math.Max(distance, (uint)ConnectionWay.Reach(was));
            if (Interlocked.CompareExchange(ref way, raised, was) == was)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// Makes a written entry known to others who make one of the same key, and looks for them. False when one of them has it, or is
    /// about to; then the slot is free again.
    /// </summary>
    private bool Propose(in ConnectionSlots slots, ref Taken taken, ConnectionState state, ConnectionFlags flags, in ConnectionKey key, uint home)
    {
        ulong proposed = ConnectionControl.With(ConnectionControl.With(taken.Control, ConnectionPhase.Proposed), state, flags);
        // Nobody else changes a slot that is being written. The exchange is a barrier on both sides: what was written is seen by whoever
        // sees the proposal, and of two proposals of one key at least the later one is seen by the other.
        Interlocked.Exchange(ref slots.At(taken.Index)->Control, proposed);
        taken.Control = proposed;
        int reach = ConnectionWay.Reach(Volatile.Read(ref slots.At(home)->Way));
        for (uint index = home; index <= home + (uint)reach; index++)
        {
            if (index == taken.Index)
            {
                continue;
            }
            ConnectionHead* head = slots.At(index);
            ulong other = Volatile.Read(ref head->Control);
            if (!ConnectionControl.HasKey(other) || !slots.Matches(head, in key))
            {
                continue;
            }
            if (ConnectionControl.Phase(other) == ConnectionPhase.Proposed && index > taken.Index)
            {
                // Ours is the lower one: take the other's from it, if it is still only proposed.
                ulong now = Interlocked.CompareExchange(ref head->Control, ConnectionControl.Free(other), other);
                if (now == other)
                {
                    CountSlots(in slots, -1);
                    continue;
                }
                other = now;
            }
            if (ConnectionControl.HasKey(other) && slots.Matches(head, in key))
            {
                Withdraw(in slots, taken);
                return false;
            }
        }
        return true;
    }

    /// <summary>Makes a proposed entry valid. False when it was taken away.</summary>
    private static bool TryPublish(in ConnectionSlots slots, ref Taken taken)
    {
        ulong valid = ConnectionControl.With(taken.Control, ConnectionPhase.Valid);
        if (Interlocked.CompareExchange(ref slots.At(taken.Index)->Control, valid, taken.Control) != taken.Control)
        {
            return false;
        }
        taken.Control = valid;
        return true;
    }

    /// <summary>Frees a slot that never became valid, if it was not taken away.</summary>
    private void Withdraw(in ConnectionSlots slots, Taken taken)
    {
        if (Interlocked.CompareExchange(ref slots.At(taken.Index)->Control, ConnectionControl.Free(taken.Control), taken.Control) == taken.Control)
        {
            CountSlots(in slots, -1);
        }
    }

    /// <summary>
    /// Removes the oldest of the first entries of a window that are over, or the oldest half-open one where none is, or the first of either
    /// kind behind the window.
    /// </summary>
    /// <param name="slots">The family.</param>
    /// <param name="start">Where the window begins.</param>
    /// <param name="far">How many slots are looked at, at most.</param>
    /// <param name="now">Seconds.</param>
    private bool Evict(in ConnectionSlots slots, uint start, uint far, uint now)
    {
        // Another one may be quicker: with what it leaves the search begins anew, a few times.
        for (int attempt = 0; attempt < 4; attempt++)
        {
            uint oldest = 0;
            ulong control = 0, age = 0;
            int n = 0;
            uint index = start, end = slots.Count;
            for (uint i = 0; i < far && (i < Window ? n < Candidates : n == 0); i++, index = index + 1 == end ? 0 : index + 1)
            {
                ConnectionHead* head = slots.At(index);
                Prefetch(slots.At(index + Ahead));
                ulong found = Volatile.Read(ref head->Control);
                if (ConnectionControl.Phase(found) != ConnectionPhase.Valid || !MakesRoom(found))
                {
                    continue;
                }
                // One of the future was seen since the caller looked at its clock.
                ulong idle = (uint)Math.Max(0, (int)(now - head->LastSeen));
                // Nobody waits for one that is over; behind a half-open one somebody may.
                idle |= ConnectionControl.IsOver(found) ? 1ul << 32 : 0;
                if (n++ == 0 || idle > age)
                {
                    oldest = index;
                    age = idle;
                    control = found;
                }
            }
            if (n == 0)
            {
                return false;
            }
            if (TryRemove(in slots, oldest, control, now))
            {
                _mine->Evicted++;
                return true;
            }
        }
        return false;
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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void CountSlots(in ConnectionSlots slots, int n)
    {
        ref long count = ref slots.IsIPv6 ? ref _mine->Slots6 : ref _mine->Slots4;
        count += n;
    }
}
