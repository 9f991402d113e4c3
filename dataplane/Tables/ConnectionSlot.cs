using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What slots of both families have in common: the first cache line, but for the addresses.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct ConnectionHead
{
    /// <summary>
    /// Upper half: <see cref="ConnectionState"/> and <see cref="ConnectionFlags"/>, and how far from its home the key lies. Lower half: how often the slot was taken, and its
    /// <see cref="ConnectionPhase"/> in the lowest two bits. Changed with compare-and-swap only, unless nobody else
    /// can change it (<see cref="ConnectionTable.IsAlone"/>), so that who changes the state knows that it is that of the connection he means.
    /// </summary>
    [FieldOffset(0)] public ulong Control;

    /// <summary>
    /// Upper half: generation in which the route was found. Then 24 bits: the next hop, 0 for none. The lowest byte belongs to the place
    /// and not to who lives there: see <see cref="ConnectionWay"/>.
    /// </summary>
    [FieldOffset(8)] public ulong Way;

    /// <summary><see cref="ConnectionKey.Flow"/>.</summary>
    [FieldOffset(16)] public ulong Flow;

    /// <summary>Seconds. Written by whoever sees a packet, without further ado.</summary>
    [FieldOffset(56)] public uint LastSeen;
    /// <summary>Slot of the other direction; its own for an entry that has none.</summary>
    [FieldOffset(60)] public uint Partner;
}

/// <summary>An IPv4 entry: one cache line.</summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct ConnectionSlot4
{
    public const int SizeInBytes = 64;

    [FieldOffset(0)] internal ConnectionHead Head;
    [FieldOffset(0)] internal ulong Control;
    [FieldOffset(8)] internal ulong Way;
    [FieldOffset(16)] internal ulong Flow;
    [FieldOffset(24)] internal ulong Addresses;
    [FieldOffset(32)] internal ConnectionRewrite4 Rewrite;
    [FieldOffset(48)] internal ConnectionOwner Owner;
    [FieldOffset(56)] internal uint LastSeen;
}

/// <summary>An IPv6 entry: two cache lines, of which the first decides.</summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct ConnectionSlot6
{
    public const int SizeInBytes = 128;

    [FieldOffset(0)] internal ConnectionHead Head;
    [FieldOffset(0)] internal ulong Control;
    [FieldOffset(8)] internal ulong Way;
    [FieldOffset(16)] internal ulong Flow;
    [FieldOffset(24)] internal IPv6Number Source;
    [FieldOffset(40)] internal IPv6Number Destination;
    [FieldOffset(56)] internal uint LastSeen;
    [FieldOffset(64)] internal ConnectionRewrite6 Rewrite;
    [FieldOffset(104)] internal ConnectionOwner Owner;
}

/// <summary>What takes the place of a packet's addresses and ports, in host order, and what that does to checksums.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ConnectionRewrite4
{
    public ushort DestinationPort;
    public ushort SourcePort;
    /// <summary>See <see cref="ConnectionEntry.AddressDelta"/>.</summary>
    public ushort AddressDelta;
    /// <summary>See <see cref="ConnectionEntry.TransportDelta"/>.</summary>
    public ushort TransportDelta;
    public uint Source;
    public uint Destination;

    /// <summary>Source, destination, source port and destination port as they stand in a packet: 12 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static unsafe Vector128<byte> AsSent(ConnectionRewrite4* rewrite) =>
        Vector128.Shuffle(Vector128.Load((byte*)rewrite), Vector128.Create((byte)11, 10, 9, 8, 15, 14, 13, 12, 3, 2, 1, 0, 16, 16, 16, 16));
}

/// <inheritdoc cref="ConnectionRewrite4"/>
[StructLayout(LayoutKind.Sequential)]
public struct ConnectionRewrite6
{
    public ushort DestinationPort;
    public ushort SourcePort;
    /// <inheritdoc cref="ConnectionRewrite4.AddressDelta"/>
    public ushort AddressDelta;
    /// <inheritdoc cref="ConnectionRewrite4.TransportDelta"/>
    public ushort TransportDelta;
    public IPv6Number Source;
    public IPv6Number Destination;
}

/// <summary>Whose connection it is; 0 for nobody's.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ConnectionOwner
{
    public uint Frontend;
    public uint Backend;
}

/// <summary>In what phase of its life a slot is.</summary>
internal enum ConnectionPhase : uint
{
    Free = 0,
    /// <summary>Its key may be half-written: nobody reads it.</summary>
    Writing = 1,
    /// <summary>An entry.</summary>
    Valid = 2,
    /// <summary>Complete, but it is not clear yet whether another worker is making one of the same key.</summary>
    Proposed = 3,
}

/// <summary>The parts of <see cref="ConnectionHead.Control"/>.</summary>
internal static class ConnectionControl
{
    public const uint PhaseMask = 3;
    private const uint StateMask = 0xF, FlagsMask = 0xFFF0;
    public const int DistanceShift = 48;
    private const ulong DistanceMask = (ConnectionTable.Window - 1ul) << DistanceShift;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ConnectionPhase Phase(ulong control) => (ConnectionPhase)((uint)control & PhaseMask);

    /// <summary>Whether there is a key that can be compared.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool HasKey(ulong control) => ((uint)control & 2) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ConnectionState State(ulong control) => (ConnectionState)((uint)(control >> 32) & StateMask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ConnectionFlags Flags(ulong control) => (ConnectionFlags)((uint)(control >> 32) & FlagsMask);

    /// <summary>How far from its home the key lies that is in a slot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Distance(ulong control) => (uint)(control >> DistanceShift) & (ConnectionTable.Window - 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Has(ulong control, ConnectionFlags flags) => (Flags(control) & flags) == flags;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsOver(ulong control) => ConnectionTracking.IsOver(State(control), Flags(control));

    /// <summary>The same slot in the same life, with another state.</summary>
    public static ulong With(ulong control, ConnectionState state, ConnectionFlags flags) =>
        ((ulong)((uint)state | (uint)flags) << 32) | (control & (DistanceMask | uint.MaxValue));

    /// <summary>The same slot in the same life, in another phase.</summary>
    public static ulong With(ulong control, ConnectionPhase phase) => (control & ~(ulong)PhaseMask) | (uint)phase;

    /// <summary>The slot without anything in it.</summary>
    public static ulong Free(ulong control) => (uint)control & ~PhaseMask;

    /// <summary>The slot without anything in it but the memory of whose it was: see <see cref="ConnectionTable.IsGone"/>.</summary>
    public static ulong Gone(ulong control) => Free(control) | (control & DistanceMask) | GoneReply;

    /// <summary>Whether a free slot was that of a service's answers, and has its key still.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsGone(ulong control) => (control & (GoneReply | PhaseMask)) == GoneReply;

    /// <summary>Whether a packet with the slot's key is of a connection, or was.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool MeansKey(ulong control) => HasKey(control) || IsGone(control);

    private const ulong GoneReply = (ulong)ConnectionFlags.Reply << 32;

    /// <summary>A free slot at the beginning of its next life.</summary>
    /// <param name="free">As it was.</param>
    /// <param name="distance">See <see cref="Distance"/>, of whoever is to live there.</param>
    public static ulong Taken(ulong free, uint distance) =>
        ((ulong)distance << DistanceShift) | (uint)((uint)free + PhaseMask + 1) | (uint)ConnectionPhase.Writing;
}

/// <summary>
/// The parts of <see cref="ConnectionHead.Way"/>. Its lowest byte says how far from here, at most, entries lie whose search begins here
/// (the reach of the place), and whether housekeeping is about to lower that.
/// </summary>
internal static class ConnectionWay
{
    public const ulong ReachMask = 0x7F;
    public const ulong Lowering = 0x80;
    public const ulong PlaceMask = 0xFF;
    public const ulong GenerationMask = 0xFFFF_FFFF_0000_0000;
    private const int RouteShift = 8, GenerationShift = 32;
    private const uint RouteMask = 0xFF_FFFF;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Reach(ulong way) => (int)(way & ReachMask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Route(ulong way) => (uint)way >> RouteShift;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Generation(ulong way) => (uint)(way >> GenerationShift);

    /// <summary>
    /// Writes the way of whoever is to live in a slot, before it can be read. Without a lock: the lowest byte, which others may change
    /// meanwhile, is not touched.
    /// </summary>
    public static void Write(ref ulong word, ulong way)
    {
        ref byte bytes = ref Unsafe.As<ulong, byte>(ref word);
        Unsafe.Add(ref bytes, 1) = (byte)(way >> RouteShift);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref bytes, 2), (ushort)(way >> (2 * RouteShift)));
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref bytes, 4), (uint)(way >> GenerationShift));
    }

    public static ulong Make(uint route, uint generation)
    {
        Debug.Assert(route <= RouteMask, "a next hop has 24 bits");
        return ((ulong)generation << GenerationShift) | ((ulong)(route & RouteMask) << RouteShift);
    }
}

/// <summary>The slots of one family.</summary>
internal readonly unsafe struct ConnectionSlots
{
    private readonly byte* _base;
    private readonly int _shift;

    public ConnectionSlots(byte* memory, uint homes, bool isIPv6)
    {
        _base = memory;
        Homes = homes;
        IsIPv6 = isIPv6;
        _shift = isIPv6 ? 7 : 6;
    }

    /// <summary>Slots in which a search can begin. Behind them lie as many as it takes for the last one's entries.</summary>
    public uint Homes { get; }
    public bool IsIPv6 { get; }
    public uint Count => Homes + ConnectionTable.Window - 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionHead* At(uint index) => (ConnectionHead*)(_base + ((nuint)index << _shift));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Home(ulong hash) => (uint)(((hash >> 32) * Homes) >> 32);

    /// <summary>Whether a slot has a key; it may change while this looks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Matches(ConnectionHead* head, in ConnectionKey key)
    {
        if (head->Flow != key.Flow)
        {
            return false;
        }
        if (!IsIPv6)
        {
            return ((ConnectionSlot4*)head)->Addresses == key.Addresses4;
        }
        var slot = (ConnectionSlot6*)head;
        return slot->Source == key.Source && slot->Destination == key.Destination;
    }

    public ConnectionKey Key(ConnectionHead* head)
    {
        if (IsIPv6)
        {
            var slot6 = (ConnectionSlot6*)head;
            return new ConnectionKey(slot6->Flow, slot6->Source, slot6->Destination, true);
        }
        var slot = (ConnectionSlot4*)head;
        return new ConnectionKey(slot->Flow, new IPv6Number(0, slot->Addresses >> 32), new IPv6Number(0, (uint)slot->Addresses), false);
    }

    public ref ConnectionOwner Owner(ConnectionHead* head) =>
        ref IsIPv6 ? ref ((ConnectionSlot6*)head)->Owner : ref ((ConnectionSlot4*)head)->Owner;
}
