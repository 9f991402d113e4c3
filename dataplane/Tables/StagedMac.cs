using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// A value that is two: what an address was, and what it is from a coming generation on. So a commit that changes MAC entries
/// becomes visible as a whole, together with the port and bridge records that it changes: a worker that meets such a value
/// takes the one that its generation asks for. After the grace period of the commit it is replaced by the plain value.
/// <para>
/// The word: port before (bits 0–15), the low byte of the generation (16–23), what it was (24–25) and what it will be (26–27),
/// port after (32–47), flags (48–55). The flags say static, drop and staged, so that a worker's loop, which knows of none of
/// this, leaves the packet to the stages that do, learning lets the entry alone, and it does not age.
/// </para>
/// <para>What it costs: while it is staged, an address that was learned has no time; taken back by another writer than the one
/// that staged it, it is unknown, and learned again from its next packet.</para>
/// </summary>
public static class StagedMac
{
    private const ulong AllFlags = (ulong)(MacFlags.Static | MacFlags.Drop | MacFlags.Staged) << 48;

    private enum Kind : ulong
    {
        Unknown,
        Dynamic,
        Static,
        Drop,
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsStaged(ulong value) => (value & ((ulong)MacFlags.Staged << 48)) != 0;

    /// <summary>Makes the value.</summary>
    /// <param name="before">A plain value, 0 for an unknown address.</param>
    /// <param name="after">Another one.</param>
    /// <param name="generation">The first one in which it is that.</param>
    public static ulong Make(ulong before, ulong after, ulong generation) =>
        AllFlags | MacValue.Port(before) | ((generation & 0xFF) << 16) | ((ulong)KindOf(before) << 24)
        | ((ulong)KindOf(after) << 26) | ((ulong)MacValue.Port(after) << 32);

    /// <summary>The plain value in a generation; one that is plain stays as it is.</summary>
    /// <param name="value">Not a dead one.</param>
    /// <param name="generation">At most a few away from the one that was staged for: more than a byte of it is not kept.</param>
    public static ulong Resolve(ulong value, ulong generation) =>
        !IsStaged(value) ? value : (sbyte)(byte)(generation - (value >> 16)) >= 0 ? After(value) : Before(value);

    /// <summary>What it was.</summary>
    public static ulong Before(ulong value) => Plain((Kind)((value >> 24) & 3), (ushort)value);

    /// <summary>What it will be.</summary>
    public static ulong After(ulong value) => Plain((Kind)((value >> 26) & 3), MacValue.Port(value));

    private static Kind KindOf(ulong value) =>
        value == 0 ? Kind.Unknown : MacValue.IsDrop(value) ? Kind.Drop : MacValue.IsStatic(value) ? Kind.Static : Kind.Dynamic;

    private static ulong Plain(Kind kind, ushort port) => kind switch
    {
        Kind.Dynamic => MacValue.Dynamic(port, 0),
        Kind.Static => MacValue.Make(port, MacFlags.Static),
        Kind.Drop => MacValue.Make(port, MacFlags.Static | MacFlags.Drop),
        _ => 0,
    };
}
