using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// The value of a MAC entry, packed in one word so that it changes atomically: last seen (bits 0–31, seconds), port
/// (32–47), flags (48–55), moves (56–59) and the window they were counted in (60–63).
/// </summary>
public static class MacValue
{
    /// <summary>Port, time and flags: equal to <see cref="Fresh"/> when a packet tells nothing new.</summary>
    public const ulong FreshMask = 0x00FF_FFFF_FFFF_FFFF;

    /// <summary>Moves and the window they were counted in.</summary>
    private const ulong CountMask = ~FreshMask;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Fresh(ushort port, uint now) => ((ulong)port << 32) | now;

    /// <summary>A learned entry.</summary>
    public static ulong Dynamic(ushort port, uint now) => Fresh(port, now);

    /// <summary>An entry with flags and no time.</summary>
    public static ulong Make(ushort port, MacFlags flags) => ((ulong)flags << 48) | ((ulong)port << 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Port(ulong value) => (ushort)(value >> 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsDrop(ulong value) => (value & ((ulong)MacFlags.Drop << 48)) != 0;

    public static bool IsStatic(ulong value) => (value & ((ulong)MacFlags.Static << 48)) != 0;
    public static MacFlags Flags(ulong value) => (MacFlags)(byte)(value >> 48);
    public static uint LastSeen(ulong value) => (uint)value;

    /// <summary>The same entry seen again. Moves of an earlier window are forgotten: its number comes back every 128 s.</summary>
    public static ulong Refresh(ulong value, ushort port, uint now) => (value >> 60 == Window(now) ? value & CountMask : 0) | Fresh(port, now);

    /// <summary>The entry on its new port, and how often it has moved in this window.</summary>
    public static ulong Move(ulong value, ushort port, uint now, out int moves)
    {
        ulong window = Window(now);
        // A signed difference: another worker's clock may be a second ahead.
        bool sameWindow = value >> 60 == window && (int)(now - LastSeen(value)) < MacTable.FlapWindowSeconds;
        moves = sameWindow ? (int)((value >> 56) & 0xF) + 1 : 1;
        ulong counted = (ulong)Math.Min(moves, 15);
        return (window << 60) | (counted << 56) | Fresh(port, now);
    }

    private static ulong Window(uint now) => (now / MacTable.FlapWindowSeconds) & 0xF;
}
