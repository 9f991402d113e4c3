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
    public InsertResult TryInsert(in NewConnection connection, uint now, out ConnectionHandle handle) =>
        TryInsert(in connection, Hash(in connection.Original), Hash(in connection.Reply), 0, 0, now, out handle);

    /// <summary>As <see cref="TryInsert(in NewConnection, uint, out ConnectionHandle)"/>, of what has been worked out already.</summary>
    /// <param name="connection">Both keys are of one family.</param>
    /// <param name="hash">Of the key of the original direction.</param>
    /// <param name="replyHash">Of the other one.</param>
    /// <param name="route">Index of the next hop of the original direction; 0 when it is not known.</param>
    /// <param name="verdictGeneration">Lower 32 bits of the generation in which it was found.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="handle">The entry of the original direction: the new one, or the one that exists.</param>
    public InsertResult TryInsert(
        in NewConnection connection, ulong hash, ulong replyHash, uint route, uint verdictGeneration, uint now, out ConnectionHandle handle)
    {
        ref readonly ConnectionSlots slots = ref Slots(connection.Original.IsIPv6);
        ulong way = route == 0 ? 0 : ConnectionWay.Make(route, verdictGeneration);
        uint home = slots.Home(hash), replyHome = slots.Home(replyHash);
        return IsAlone
            ? MakeAlone(in slots, in connection, home, replyHome, way, now, out handle)
            : MakeAmongOthers(in slots, in connection, home, replyHome, way, now, out handle);
    }

    private InsertResult MakeAmongOthers(
        in ConnectionSlots slots, in NewConnection connection, uint home, uint replyHome, ulong way, uint now, out ConnectionHandle handle)
    {
        handle = default;
        ref readonly ConnectionKey key = ref connection.Original, replyKey = ref connection.Reply;
        uint likely = RoomOf(in slots).Turns > 0 ? Likely : 1;
        if (TryLocate(in slots, in key, home, None, out uint at, likely) && Locate(in slots, in key, home, out at, out ulong found))
        {
            if (ConnectionControl.Phase(found) == ConnectionPhase.Valid)
            {
                handle = new ConnectionHandle(at, slots.IsIPv6, found);
            }
            return InsertResult.Exists;
        }
        if (replyKey == key || (TryLocate(in slots, in replyKey, replyHome, at, out uint replyAt, likely) && Locate(in slots, in replyKey, replyHome, out replyAt, out _)))
        {
            return InsertResult.ReplyTaken;
        }
        if (!TryMakeRoom(in slots, now) || !TryTake(in slots, home, at, way, now, out Taken original))
        {
            _mine->Refused++;
            return InsertResult.Full;
        }
        if (!TryTake(in slots, replyHome, replyAt, 0, now, out Taken reply))
        {
            Withdraw(in slots, original);
            _mine->Refused++;
            return InsertResult.Full;
        }
        var first = new First(in connection);
        var owner = new ConnectionOwner { Frontend = connection.Frontend, Backend = connection.Backend };
        Mark(in connection, in first);
        Fill(in slots, original.Index, in connection.Original, in connection.Reply, reply.Index, in owner, first.Deltas, now);
        if (!Propose(in slots, ref original, first.State, first.Flags, in connection.Original, home))
        {
            // Not proposed yet, and so nobody else's to take.
            Withdraw(in slots, reply);
            return InsertResult.Exists;
        }
        Fill(in slots, reply.Index, in connection.Reply, in connection.Original, original.Index, in owner, first.Deltas.Reversed, now);
        if (!Propose(in slots, ref reply, first.State, first.ReplyFlags, in connection.Reply, replyHome))
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
        CountInserted(in first);
        RoomOf(in slots).HalfOpen.Push(original.Index, original.Control, now);
        handle = new ConnectionHandle(original.Index, slots.IsIPv6, original.Control);
        return InsertResult.Inserted;
    }

    /// <summary>What replacing addresses and ports does to checksums: see <see cref="ConnectionEntry.AddressDelta"/>.</summary>
    internal readonly record struct Deltas(ushort Address, ushort Transport)
    {
        public static Deltas Of(in ConnectionKey key, in ConnectionKey other)
        {
            ushort address = key.IsIPv6
                ? ConnectionDelta.Of6(key.Source, key.Destination, other.Destination, other.Source)
                : ConnectionDelta.Of4((uint)key.Source.Low, (uint)key.Destination.Low, (uint)other.Destination.Low, (uint)other.Source.Low);
            ushort ports = ConnectionDelta.Of(key.SourcePort, key.DestinationPort, other.DestinationPort, other.SourcePort);
            return new Deltas(address, Checksum.Fold((ulong)address + ports));
        }

        /// <summary>Of the other direction.</summary>
        public Deltas Reversed => new(ConnectionDelta.Reversed(Address), ConnectionDelta.Reversed(Transport));
    }

    /// <summary>What the entries of a connection begin with.</summary>
    private readonly struct First
    {
        public readonly ConnectionState State;
        public readonly ConnectionFlags Flags, ReplyFlags;
        public readonly bool IsConnection;
        public readonly Deltas Deltas;

        public First(in NewConnection connection)
        {
            Deltas = Deltas.Of(in connection.Original, in connection.Reply);
            IsConnection = connection.Original.Kind == ConnectionKind.Connection;
            State = IsConnection ? ConnectionTracking.Begin(connection.Original.Protocol, connection.Signal) : ConnectionState.None;
            ConnectionFlags flags = RewriteFlags(in connection) | (connection.Flags & ConnectionFlags.OfCaller);
            if (connection.Frontend != 0)
            {
                flags &= ~ConnectionFlags.ByClient;
            }
            Flags = flags | (ConnectionTracking.IsSteady(State) ? ConnectionFlags.Hot : 0) | (IsConnection ? ConnectionFlags.HalfOpen : 0);
            ReplyFlags = Swap(flags) | ConnectionFlags.Reply;
        }
    }

    private void Mark(in NewConnection connection, in First first)
    {
        if (first.IsConnection)
        {
            bool byClient = (first.Flags & ConnectionFlags.ByClient) != 0;
            Marks.Mark(in connection.Original, isSource: byClient);
            Marks.Mark(in connection.Reply, isSource: !byClient);
        }
    }

    private void CountInserted(in First first)
    {
        if (first.IsConnection)
        {
            _mine->Inserted++;
            _mine->Connections++;
            _mine->HalfOpen++;
        }
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
        ref readonly ConnectionKey original = ref connection.Original, reply = ref connection.Reply;
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
    private static void Fill(in ConnectionSlots slots, uint index, in ConnectionKey key, in ConnectionKey other, uint partner, in ConnectionOwner owner, Deltas deltas, uint now)
    {
        ConnectionHead* head = slots.At(index);
        head->Flow = key.Flow;
        head->LastSeen = now;
        head->Partner = partner;
        slots.Owner(head) = owner;
        if (slots.IsIPv6)
        {
            var slot = (ConnectionSlot6*)head;
            slot->Source = key.Source;
            slot->Destination = key.Destination;
            Rewrite(ref slot->Rewrite, in other, deltas);
        }
        else
        {
            var slot = (ConnectionSlot4*)head;
            slot->Addresses = key.Addresses4;
            Rewrite(ref slot->Rewrite, in other, deltas);
        }
    }

    /// <summary>What packets of an entry get: the addresses and ports that those of the other direction come with, the other way round.</summary>
    /// <param name="to">Where it is written.</param>
    /// <param name="other">Key of the other direction.</param>
    /// <param name="deltas">Of this one.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Rewrite(ref ConnectionRewrite4 to, in ConnectionKey other, Deltas deltas)
    {
        to.Source = (uint)other.Destination.Low;
        to.Destination = (uint)other.Source.Low;
        to.SourcePort = other.DestinationPort;
        to.DestinationPort = other.SourcePort;
        to.AddressDelta = deltas.Address;
        to.TransportDelta = deltas.Transport;
    }

    /// <inheritdoc cref="Rewrite(ref ConnectionRewrite4, in ConnectionKey, Deltas)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Rewrite(ref ConnectionRewrite6 to, in ConnectionKey other, Deltas deltas)
    {
        to.Source = other.Destination;
        to.Destination = other.Source;
        to.SourcePort = other.DestinationPort;
        to.DestinationPort = other.SourcePort;
        to.AddressDelta = deltas.Address;
        to.TransportDelta = deltas.Transport;
    }

    /// <summary>Takes a free slot of a window, writes the way of what will be there, and makes the home reach it.</summary>
    /// <param name="slots">The family.</param>
    /// <param name="home">Where the window begins.</param>
    /// <param name="first">What lies before this slot is not free, or somebody else's choice; <see cref="None"/> when that is not known.</param>
    /// <param name="way">See <see cref="ConnectionWay"/>.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="taken">The slot.</param>
    private bool TryTake(in ConnectionSlots slots, uint home, uint first, ulong way, uint now, out Taken taken)
    {
        for (int round = 0; round < 2; round++)
        {
            for (uint index = round == 0 && first - home < Window ? first : home; index < home + Window; index++)
            {
                ref ulong control = ref slots.At(index)->Control;
                ulong free = Volatile.Read(ref control);
                if (ConnectionControl.Phase(free) != ConnectionPhase.Free)
                {
                    continue;
                }
                ulong mine = ConnectionControl.Taken(free, index - home);
                if (CompareExchange(ref control, mine, free) != free)
                {
                    continue;
                }
                CountSlots(in slots, 1);
                taken = new Taken(index, mine, ConnectionControl.IsGone(free) ? index - ConnectionControl.Distance(free) : index);
                if (TryReach(in slots, home, index - home))
                {
                    ConnectionWay.Write(ref slots.At(index)->Way, way);
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
        Exchange(ref slots.At(taken.Index)->Control, proposed);
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
                ulong now = CompareExchange(ref head->Control, ConnectionControl.Free(other), other);
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
    private bool TryPublish(in ConnectionSlots slots, ref Taken taken)
    {
        ulong valid = ConnectionControl.With(taken.Control, ConnectionPhase.Valid);
        if (CompareExchange(ref slots.At(taken.Index)->Control, valid, taken.Control) != taken.Control)
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
