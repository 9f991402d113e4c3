using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>Making entries: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
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
        if (!TryMakeRoom(in slots, now) || !TryTake(in slots, home, now, out Taken original))
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
        if (connection.Frontend != 0)
        {
            flags &= ~ConnectionFlags.ByClient;
        }
        ConnectionFlags begin = (ConnectionTracking.IsSteady(state) ? ConnectionFlags.Hot : 0) | (isConnection ? ConnectionFlags.HalfOpen : 0);
        var owner = new ConnectionOwner { Frontend = connection.Frontend, Backend = connection.Backend };
        if (isConnection)
        {
            bool byClient = (flags & ConnectionFlags.ByClient) != 0;
            Marks.Mark(in connection.Original, isSource: byClient);
            Marks.Mark(in connection.Reply, isSource: !byClient);
        }
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
    /// <param name="Index">The slot.</param>
    /// <param name="Control">Its control word.</param>
    /// <param name="Forgets">The home of the entry that is gone and was remembered here; the slot itself where there was none.</param>
    private record struct Taken(uint Index, ulong Control, uint Forgets);

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
        ushort all = Checksum.Fold((ulong)addresses + ConnectionDelta.Of(key.SourcePort, key.DestinationPort, other.DestinationPort, other.SourcePort));
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
                TransportDelta = all,
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
                TransportDelta = all,
            };
        }
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
                taken = new Taken(index, mine, ConnectionControl.IsGone(free) ? slots.Home(Hash(slots.Key(slots.At(index)))) : index);
                // No route is of generation 0. The reach of the place stays.
                Interlocked.And(ref slots.At(index)->Way, ConnectionWay.PlaceMask);
                if (TryReach(in slots, home, index - home))
                {
                    return true;
                }
                Withdraw(in slots, taken);
                return false;
            }
            if (round == 0 && !TryMakeRoomAt(in slots, home, now))
            {
                break;
            }
        }
        taken = default;
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
        LowerReach(in slots, taken.Forgets, taken.Index);
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
        TryFree(in slots, taken.Index, taken.Control);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void CountSlots(in ConnectionSlots slots, int n)
    {
        ref long count = ref slots.IsIPv6 ? ref _mine->Slots6 : ref _mine->Slots4;
        count += n;
    }
}
