using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// Connections that are translated, and what goes with them: from the five numbers of a packet to its whole verdict.
/// <para>
/// A connection has two entries, one for each direction, and an entry is found by what the packet has in its header. It holds all that
/// is to be done: new addresses and ports, what they do to the checksums, and the next hop with the generation in which that was found.
/// So a packet of a known connection costs one look-up in a large table, of one cache line (IPv6: two), whatever led to the verdict.
/// </para>
/// <para>
/// <b>Place.</b> Open addressing: a key hashes to a slot, its home, and lives there or in one of the next <see cref="Window"/> - 1. Each slot
/// says how far entries reach whose home it is, so that a search ends there: as a rule at once. No tombstones: a slot freed is free.
/// There are twice as many slots as may be in use. An entry never moves.
/// </para>
/// <para>
/// <b>Reading.</b> A slot counts its lives (<see cref="ConnectionHead.Control"/>). A reader compares the key, copies what it wants, and looks
/// at the count again; if it has changed the entry is gone, as if the packet had come later. Nobody waits, and no grace period is needed:
/// a freed slot may be taken at once.
/// </para>
/// <para>
/// <b>Making</b> (<c>ConnectionTable.Insert.cs</c>). No two entries have one key, whoever makes them on whatever queue. A worker takes a free
/// slot, writes the entry, proposes it, and only then looks who else has proposed the same key. The lower slot wins: it takes the other
/// one's slot from it, and who has lost his proposal finds out when he wants to make it valid. The entry for packets that come back
/// becomes valid first. Who is alone with the table, as one worker is nearly always, does without all that (<c>ConnectionTable.Alone.cs</c>).
/// </para>
/// <para>
/// <b>State</b> is in the entry of the original direction, in one word with the slot's count of lives, so that a change of it is a
/// change of that very connection. Packets that can change nothing (<see cref="ConnectionFlags.Hot"/>) do not touch the other entry, and
/// write their own once a second.
/// </para>
/// <para>
/// <b>Full.</b> When as many slots are in use as the table is for, a new connection takes the place of one that is half-open or over (closed
/// on both sides, or reset). Each worker remembers what it has begun and what it saw end (<see cref="RoomQueue"/>), and of these the oldest goes: first
/// of what is over, then of what is half-open and gets no packets. Who has begun less than his share takes what others have: of a few that lie together those go
/// first that are over, then the older ones, then it is the turn of the next few (a hand that goes round, one for each worker). If there is none it is
/// refused. An established connection is never removed for another. So a flood of SYNs competes with itself, and many short connections with their
/// own remains.
/// </para>
/// <para>
/// <b>Packets of none.</b> A few kilobytes say which addresses entries have (<see cref="ConnectionMarks"/>): what has none of them need not be looked
/// up.
/// </para>
/// <para>
/// What it costs: the count of lives wraps after 2^30, so a reader that sleeps through exactly as many is deceived; the time of a connection
/// is written without ado, so one that has been idle for its whole time can be removed in the instant in which a packet comes.
/// </para>
/// </summary>
/// <remarks>One object per thread that changes the table, for it keeps count in a record of its own; reading is free for all.</remarks>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Slots that an entry may live in. At half load about one key in 250,000 would find all of them taken.</summary>
    public const int Window = 64;

    /// <summary>How often a word is tried to be changed that others are changing too.</summary>
    private const int Patience = 32;

    private readonly ConnectionSlots _slots4, _slots6;
    private readonly ConnectionCounters* _all;
    private readonly ConnectionCounters* _mine;
    private readonly int _writers;
    private readonly ulong _secret0, _secret1;
    private readonly byte* _base4;
    private readonly byte* _base6;
    private readonly ulong _homes4, _homes6;
    private readonly long _limit4, _limit6;

    /// <param name="slots4">IPv4 slots, as many as <see cref="SlotsFor"/> says, aligned to a cache line, all zero at first.</param>
    /// <param name="slots6">IPv6 slots.</param>
    /// <param name="capacity4">IPv4 connections that must fit.</param>
    /// <param name="capacity6">IPv6 connections that must fit.</param>
    /// <param name="marks">Of <see cref="ConnectionMarks.SizeInBytes"/>, aligned to a cache line, all zero at first.</param>
    /// <param name="counters">A record for each that changes the table.</param>
    /// <param name="writers">How many.</param>
    /// <param name="writer">Whose this object is.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public ConnectionTable(ConnectionSlot4* slots4, ConnectionSlot6* slots6, int capacity4, int capacity6, byte* marks, ConnectionCounters* counters, int writers, int writer, ulong seed)
    {
        _slots4 = new ConnectionSlots((byte*)slots4, HomesFor(capacity4), false);
        _slots6 = new ConnectionSlots((byte*)slots6, HomesFor(capacity6), true);
        _base4 = (byte*)slots4;
        _base6 = (byte*)slots6;
        _homes4 = _slots4.Homes;
        _homes6 = _slots6.Homes;
        _limit4 = 2L * capacity4;
        _limit6 = 2L * capacity6;
        Marks = new ConnectionMarks(marks, capacity4, seed);
        _all = counters;
        _mine = counters + writer;
        _writers = writers;
        _room4.Found.Hand = (uint)((ulong)_slots4.Count * (uint)writer / (uint)writers);
        _room6.Found.Hand = (uint)((ulong)_slots6.Count * (uint)writer / (uint)writers);
        // Housekeeping, the last one, begins no connections.
        bool begins = writer == 0 || writer < writers - 1;
        (_room4.HalfOpen, _room4.Over) = (new RoomQueue(begins ? capacity4 : 0), new RoomQueue(begins ? capacity4 : 0));
        (_room6.HalfOpen, _room6.Over) = (new RoomQueue(begins ? capacity6 : 0), new RoomQueue(begins ? capacity6 : 0));
        // Two secrets from one: neither factor of a product can be made 0 from outside.
        _secret0 = KeyHash.Mix(seed ^ KeyHash.Golden, KeyHash.Golden);
        _secret1 = KeyHash.Mix(_secret0 ^ KeyHash.Golden, KeyHash.Golden);
    }

    /// <summary>Which addresses entries have.</summary>
    public ConnectionMarks Marks { get; }

    /// <summary>Slots for a number of connections.</summary>
    public static long SlotsFor(int connections) => HomesFor(connections) + Window;

    /// <summary>The hash of a key. Hash a burst first and prefetch, then look up.</summary>
    public ulong Hash(in ConnectionKey key) => key.IsIPv6
        ? Hash6(key.Flow, key.Source, key.Destination)
        : Hash4(key.Flow, key.Addresses4);

    /// <summary>Asks for the cache lines in which an entry that is to be made is likely to be.</summary>
    public void PrefetchPlace(ulong hash, bool isIPv6)
    {
        ref readonly ConnectionSlots slots = ref Slots(isIPv6);
        uint home = slots.Home(hash);
        for (uint i = 0; i < Likely; i++)
        {
            Prefetch(slots.At(home + i));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* slot)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(slot);
        }
    }

    /// <summary>The entry of a key, none when there is none.</summary>
    public ConnectionHandle Find(in ConnectionKey key) => Find(in key, Hash(in key));

    /// <inheritdoc cref="Find(in ConnectionKey)"/>
    public ConnectionHandle Find(in ConnectionKey key, ulong hash)
    {
        ref readonly ConnectionSlots slots = ref Slots(key.IsIPv6);
        return Locate(in slots, in key, slots.Home(hash), out uint index, out ulong control) && ConnectionControl.Phase(control) == ConnectionPhase.Valid
            ? new ConnectionHandle(index, key.IsIPv6, control)
            : default;
    }

    /// <summary>A copy of an entry. False when it is gone.</summary>
    public bool TryRead(ConnectionHandle handle, out ConnectionEntry entry)
    {
        ref readonly ConnectionSlots slots = ref Slots(handle.IsIPv6);
        if (handle.Index >= slots.Count)
        {
            entry = default;
            return false;
        }
        return TryCopy(in slots, handle.Index, out entry, out ulong control) && handle.Matches(control);
    }

    /// <summary>The entry of a key, as <see cref="Find(in ConnectionKey, ulong)"/> and <see cref="TryRead"/>.</summary>
    public bool TryFind(in ConnectionKey key, ulong hash, out ConnectionHandle handle, out ConnectionEntry entry)
    {
        handle = Find(in key, hash);
        entry = default;
        return !handle.IsNone && TryRead(handle, out entry);
    }

    /// <summary>
    /// The state and flags of the whole connection, from either entry: what is in the one of the original direction. False when it is gone.
    /// </summary>
    public bool TryReadState(ConnectionHandle handle, out ConnectionState state, out ConnectionFlags flags)
    {
        state = default;
        flags = default;
        if (!TryGetOriginal(handle, out _, out ulong control))
        {
            return false;
        }
        state = ConnectionControl.State(control);
        flags = ConnectionControl.Flags(control);
        return true;
    }

    private static uint HomesFor(int connections) => (uint)connections * 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref readonly ConnectionSlots Slots(bool isIPv6) => ref isIPv6 ? ref _slots6 : ref _slots4;

    // One product of two words that differ in a few neighbouring bits is an arithmetic progression, which can gather in few places; the
    // second one scatters it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Hash4(ulong flow, ulong addresses) => KeyHash.Mix(KeyHash.Mix(addresses ^ _secret0, flow ^ _secret1), KeyHash.Golden);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Hash6(ulong flow, IPv6Number source, IPv6Number destination) =>
        KeyHash.Mix(KeyHash.Mix(source.High ^ _secret0, source.Low ^ _secret1) ^ flow, KeyHash.Mix(destination.High ^ _secret1, destination.Low ^ _secret0) | 1);

    /// <summary>The slot of a key, of an entry or a proposed one.</summary>
    private static bool Locate(in ConnectionSlots slots, in ConnectionKey key, uint home, out uint index, out ulong control)
    {
        int reach = ConnectionWay.Reach(Volatile.Read(ref slots.At(home)->Way));
        for (index = home; index <= home + (uint)reach; index++)
        {
            ConnectionHead* head = slots.At(index);
            control = Volatile.Read(ref head->Control);
            if (ConnectionControl.HasKey(control) && slots.Matches(head, in key))
            {
                // The key was that of this life, or of none: what follows is read after it.
                Volatile.ReadBarrier();
                ulong now = Volatile.Read(ref head->Control);
                if ((uint)now >> 2 == (uint)control >> 2 && ConnectionControl.HasKey(now))
                {
                    control = now;
                    return true;
                }
            }
        }
        index = 0;
        control = 0;
        return false;
    }

    /// <summary>A copy of an entry and of its control word. False when it is none, or became another meanwhile.</summary>
    private static bool TryCopy(in ConnectionSlots slots, uint index, out ConnectionEntry entry, out ulong control)
    {
        ConnectionHead* head = slots.At(index);
        control = Volatile.Read(ref head->Control);
        if (ConnectionControl.Phase(control) != ConnectionPhase.Valid)
        {
            entry = default;
            return false;
        }
        ulong way = Volatile.Read(ref head->Way);
        entry = new ConnectionEntry
        {
            Key = slots.Key(head),
            State = ConnectionControl.State(control),
            Flags = ConnectionControl.Flags(control),
            Route = ConnectionWay.Route(way),
            VerdictGeneration = ConnectionWay.Generation(way),
            LastSeen = head->LastSeen,
        };
        ConnectionOwner owner = slots.Owner(head);
        entry.Frontend = owner.Frontend;
        entry.Backend = owner.Backend;
        if (slots.IsIPv6)
        {
            CopyRewrite(ref entry, ((ConnectionSlot6*)head)->Rewrite);
        }
        else
        {
            CopyRewrite(ref entry, ((ConnectionSlot4*)head)->Rewrite);
        }
        Volatile.ReadBarrier();
        return (uint)Volatile.Read(ref head->Control) == (uint)control;
    }

    private static void CopyRewrite(ref ConnectionEntry entry, in ConnectionRewrite6 rewrite)
    {
        entry.NewSource = rewrite.Source;
        entry.NewDestination = rewrite.Destination;
        entry.NewSourcePort = rewrite.SourcePort;
        entry.NewDestinationPort = rewrite.DestinationPort;
        entry.AddressDelta = rewrite.AddressDelta;
        entry.TransportDelta = rewrite.TransportDelta;
    }

    private static void CopyRewrite(ref ConnectionEntry entry, in ConnectionRewrite4 rewrite)
    {
        entry.NewSource = new IPv6Number(0, rewrite.Source);
        entry.NewDestination = new IPv6Number(0, rewrite.Destination);
        entry.NewSourcePort = rewrite.SourcePort;
        entry.NewDestinationPort = rewrite.DestinationPort;
        entry.AddressDelta = rewrite.AddressDelta;
        entry.TransportDelta = rewrite.TransportDelta;
    }

    /// <summary>The entry of the original direction of the connection that an entry is of.</summary>
    private bool TryGetOriginal(ConnectionHandle handle, out uint index, out ulong control)
    {
        ref readonly ConnectionSlots slots = ref Slots(handle.IsIPv6);
        index = handle.Index;
        control = 0;
        if (handle.IsNone || index >= slots.Count)
        {
            return false;
        }
        ConnectionHead* head = slots.At(index);
        ulong own = Volatile.Read(ref head->Control);
        uint partner = head->Partner;
        Volatile.ReadBarrier();
        if (!handle.Matches(own) || (uint)Volatile.Read(ref head->Control) != (uint)own)
        {
            return false; // of another life, or between two
        }
        if (!ConnectionControl.Has(own, ConnectionFlags.Reply))
        {
            control = own;
            return true;
        }
        if (partner >= slots.Count)
        {
            return false;
        }
        index = partner;
        ConnectionHead* original = slots.At(partner);
        control = Volatile.Read(ref original->Control);
        // Whoever frees the original frees the reply: as long as this one is there, a partner that names it is its own.
        return ConnectionControl.Phase(control) == ConnectionPhase.Valid && !ConnectionControl.Has(control, ConnectionFlags.Reply)
            && Volatile.Read(ref original->Partner) == handle.Index;
    }
}
