using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// What a slot of a node in a <see cref="RouteTable"/> says, in four bytes: 0 for "nothing better than before", a value (a next
/// hop of up to 24 bits), or a child, with its kind in the highest three bits and its place below, in units of
/// <see cref="Unit"/> bytes from the start of the arena. A root is an entry too: 0, or a page.
/// </summary>
internal static class RouteEntry
{
    public const uint MaxValue = (1 << 24) - 1;

    /// <summary>Blocks begin at multiples of this many bytes.</summary>
    public const int Unit = 16;

    /// <summary>The largest arena whose every unit an entry can name.</summary>
    public const ulong MaxArena = (ulong)Unit << 29;

    /// <summary>The kinds of child.</summary>
    public const uint Node = 0b100u << 29, Leaf = 0b101u << 29, Page = 0b110u << 29;

    private const uint KindMask = 0b111u << 29;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsChild(uint entry) => (int)entry < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Kind(uint entry) => entry & KindMask;

    /// <summary>Number of the unit at which a child begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint UnitOf(uint entry) => entry & ~KindMask;

    /// <summary>Where a child lies.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe byte* At(byte* arena, uint entry) => arena + ((nuint)UnitOf(entry) * Unit);
}
