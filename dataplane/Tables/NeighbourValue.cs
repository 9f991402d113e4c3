using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// The value of a neighbour's entry, packed in one word so that it changes atomically: the MAC address (bits 0–47, lowest byte
/// first on the wire), flags (48–55), state (56–63). The state is on top, so that what a packet wants to know of it is one
/// comparison.
/// </summary>
public static class NeighbourValue
{
    private const ulong MacMask = 0xFFFF_FFFF_FFFF;
    private const ulong Usable = (ulong)NeighbourState.Stale << 56;
    private const ulong Fresh = (ulong)NeighbourState.Reachable << 56;

    /// <summary>Values of no state but this bit are dead; the low half is the number of the killing.</summary>
    internal const ulong Dead = 1ul << 48;

    public static ulong Make(NeighbourState state, ulong mac = 0, NeighbourFlags flags = NeighbourFlags.None) =>
        ((ulong)state << 56) | ((ulong)flags << 48) | (mac & MacMask);

    /// <summary>The neighbour's address; 0 when it is not known.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mac(ulong value) => value & MacMask;

    /// <summary>Whether packets can be sent to it: <see cref="Mac"/> is an address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsUsable(ulong value) => value >= Usable;

    /// <summary>Whether packets can be sent to it and nothing else is to be done.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsFresh(ulong value) => value >= Fresh;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NeighbourState State(ulong value) => (NeighbourState)(value >> 56);

    public static NeighbourFlags Flags(ulong value) => (NeighbourFlags)(byte)(value >> 48);

    /// <summary>The same neighbour in another state.</summary>
    public static ulong With(ulong value, NeighbourState state) => (value & ~(0xFFul << 56)) | ((ulong)state << 56);

    internal static bool IsDead(ulong value) => value >> 48 == 1;
}
