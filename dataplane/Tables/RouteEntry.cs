using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// What a slot of a node in a <see cref="RouteTable"/> says, in four bytes: 0 for "nothing better than before", a value (a next
/// hop of up to 24 bits), or a child, with its kind in the highest four bits and its place below, in units of
/// <see cref="Unit"/> bytes from the start of the arena. A root is an entry too: 0, or a page.
/// </summary>
internal static class RouteEntry
{
    public const uint MaxValue = (1 << 24) - 1;

    /// <summary>Blocks begin at multiples of this many bytes.</summary>
    public const int Unit = 16;

    /// <summary>The largest arena whose every unit an entry can name.</summary>
    public const ulong MaxArena = (ulong)Unit << 28;

    /// <summary>The kinds of child. The look-up of a burst counts with these bits.</summary>
    public const uint Node = 0b1000u << 28, Page = 0b1010u << 28, Leaf = 0b1100u << 28;

    private const uint KindMask = 0b1111u << 28;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsChild(uint entry) => (int)entry < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsPage(uint entry) => (entry & (Page ^ Node)) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsLeaf(uint entry) => (entry & (Leaf ^ Node)) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Kind(uint entry) => entry & KindMask;

    /// <summary>Number of the unit at which a child begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint UnitOf(uint entry) => entry & ~KindMask;

    /// <summary>Where a child lies: the kind goes with the bits that the shift loses.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe byte* At(byte* arena, uint entry) => arena + (entry << 4);
}
