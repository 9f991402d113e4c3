using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>
/// The header of a node or page of a <see cref="RouteTable"/>. It decides on one byte of the address, its stride byte, and
/// holds the prefixes that end in this byte. Behind the header lie
/// <list type="bullet">
/// <item>the entries, one per run of equal slots (a page: one per slot, whatever they are);</item>
/// <item>the prefixes shorter than eight bits within the byte, in ascending order of their number, four bytes each: the number
/// (a one, then the bits, so 1 to 255) in the highest byte and the value below;</item>
/// <item>the slots that have a prefix of all eight bits, one byte each. Their values stand in the entries, or as
/// <see cref="Cover"/> in the child that is there.</item>
/// </list>
/// The prefixes are what the writer makes the entries from; readers never look at them. So nothing is lost when a longer prefix
/// hides a shorter one, and a writer that finds the arena after a crash knows every route.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
internal unsafe struct RouteNode
{
    public const int SizeInBytes = 48;

    public const int Slots = 256;

    /// <summary>Entries of a page and of an IPv6 node begin here, those of an IPv4 node at <see cref="SizeInBytes"/>.</summary>
    public const int LargeHeader = 64;

    /// <summary>Highest byte of <see cref="Cover"/>, which is 0: the runs before the first word. The next three follow it.</summary>
    private const int CountsOffset = 35;

    public const int CoverOffset = 32;

    /// <summary>One bit per slot, set where a run begins. The first is set always, and in a page all are.</summary>
    [FieldOffset(0)] public fixed ulong Bitmap[4];

    /// <summary>
    /// The value of the prefix that covers all of the node among those of the parent, 0 for none. In the child and not in the
    /// parent: the parent's slot holds the way here, and a change of a short prefix ends at the children of its node.
    /// </summary>
    [FieldOffset(CoverOffset)] public uint Cover;

    /// <summary>Prefixes shorter than eight bits within the stride byte.</summary>
    [FieldOffset(39)] public byte Shorts;

    /// <summary>Which byte of the address it decides on, 0 to 15, the first on the wire being 0.</summary>
    [FieldOffset(40)] public byte Byte;

    /// <summary>How far the stride byte is from the lowest bit of the number (IPv6: of the half of it) that holds it.</summary>
    [FieldOffset(41)] public byte Shift;

    /// <summary>Slots with a prefix of eight bits, 0 to 256.</summary>
    [FieldOffset(42)] public ushort Longs;

    /// <summary>IPv4: what all addresses under this node have before the stride byte, right-aligned. Unused in a page.</summary>
    [FieldOffset(44)] public uint Key4;

    /// <summary>IPv6: as <see cref="Key4"/>, left-aligned.</summary>
    [FieldOffset(48)] public ulong KeyHigh;
    [FieldOffset(56)] public ulong KeyLow;

    /// <summary>In the page that is a table's root: how many routes the table has.</summary>
    [FieldOffset(44)] public uint Routes;

    /// <summary>The index of the entry of a slot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint IndexOf(RouteNode* node, uint slot)
    {
        uint word = slot / 64;
        // The bits up to the slot's, moved to the top: shifts count modulo 64.
        ulong upTo = ((ulong*)node)[word] << (int)~slot;
        return ((byte*)node)[CountsOffset + word] + (uint)BitOperations.PopCount(upTo) - 1;
    }

    /// <summary>Fills in the runs before each word from <see cref="Bitmap"/>. Gives the number of all.</summary>
    public static int Count(RouteNode* node)
    {
        int runs = 0;
        for (int word = 0; word < 4; word++)
        {
            ((byte*)node)[CountsOffset + word] = (byte)runs;
            runs += BitOperations.PopCount(node->Bitmap[word]);
        }
        return runs;
    }

    /// <summary>The number of entries.</summary>
    public static int Runs(RouteNode* node) => (int)IndexOf(node, Slots - 1) + 1;
}

/// <summary>One prefix that has a slot to itself.</summary>
[StructLayout(LayoutKind.Explicit)]
internal struct RouteLeaf
{
    /// <summary>The next hop in the lower 24 bits, the length of the prefix above.</summary>
    [FieldOffset(0)] public uint ValueAndLength;

    /// <summary>See <see cref="RouteNode.Cover"/>.</summary>
    [FieldOffset(4)] public uint Cover;

    /// <summary>IPv4: the prefix. The block ends with it.</summary>
    [FieldOffset(8)] public uint Key4;

    /// <summary>IPv6: the prefix.</summary>
    [FieldOffset(16)] public ulong KeyHigh;
    [FieldOffset(24)] public ulong KeyLow;
}
