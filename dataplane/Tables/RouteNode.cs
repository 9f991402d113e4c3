using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>
/// One slot, or one run of equal slots, of a node: what the longest prefix that ends in this node says of it (<see cref="Owner"/>),
/// and where longer ones go on (<see cref="Child"/>). Both 0 when there is nothing.
/// </summary>
/// <param name="Owner">Next hop in the low 24 bits; above them how many bits of the prefix belong to this node, 0 to 8.</param>
/// <param name="Child">Unit of a node below, see <see cref="RouteArena"/>.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct RouteSlot(uint Owner, uint Child)
{
    public const uint NextHopMask = 0xFF_FFFF;

    public bool IsEmpty => Owner == 0 && Child == 0;
    public int OwnerBits => (int)(Owner >> 24);

    public static uint MakeOwner(uint nextHop, int bits) => nextHop | ((uint)bits << 24);
}

/// <summary>
/// A node of the trie below the pages: one byte of the key, compressed. 256 slots fall into runs of equal ones; a bitmap says
/// where runs begin, and counting its bits up to a slot gives the run's place among the slots that follow the header. The header is
/// one cache line, so a look-up costs two of them, whatever the number of routes.
/// <para>
/// A node stands at the first byte in which the keys below it differ (path compression): it holds the bytes before, and whoever comes
/// by compares them.
/// </para>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = HeaderSize)]
public unsafe struct RouteNode
{
    public const int HeaderSize = 64;
    public const int Fanout = 256;

    /// <summary>A bit for each slot that begins a run; the first one always does.</summary>
    [FieldOffset(0)] public fixed ulong Starts[4];
    /// <summary>Runs that begin in the words before.</summary>
    [FieldOffset(32)] public fixed byte Before[4];
    /// <summary>Runs in all, 1 to 256.</summary>
    [FieldOffset(36)] public ushort Runs;
    /// <summary>The byte of the key that selects a slot, 0 for the first.</summary>
    [FieldOffset(38)] public byte Depth;
    /// <summary>The bytes before it, in the place they have in the key. What follows them is 0.</summary>
    [FieldOffset(48)] public ulong PrefixHigh;
    [FieldOffset(56)] public ulong PrefixLow;

    /// <summary>Bytes of a node with so many runs.</summary>
    public static int Size(int runs) => HeaderSize + (runs * sizeof(RouteSlot));

    /// <summary>The run of a slot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static RouteSlot* Find(RouteNode* node, uint slot)
    {
        uint word = slot >> 6;
        // The bits up to and including the slot's.
        ulong upTo = node->Starts[word] << (int)(63 - (slot & 63));
        return (RouteSlot*)(node + 1) + (node->Before[word] + (uint)BitOperations.PopCount(upTo) - 1);
    }

    /// <summary>Whether a key has the bytes that stand before the node's, of a node among the first eight bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool MatchesHigh(RouteNode* node, ulong high) => ((high ^ node->PrefixHigh) >> 1 >> (63 - (8 * node->Depth))) == 0;

    /// <summary>Whether a key has the bytes that stand before the node's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Matches(RouteNode* node, ulong high, ulong low) => node->Depth < 8
        ? MatchesHigh(node, high)
        : high == node->PrefixHigh && ((low ^ node->PrefixLow) >> 1 >> (63 - (8 * (node->Depth - 8)))) == 0;

    /// <summary>The byte of a key at a depth.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint KeyByte(ulong high, ulong low, int depth) => (byte)((depth < 8 ? high : low) >> (56 - (8 * (depth & 7))));

    /// <summary>Writes 256 slots into the node as runs. The memory behind it has <see cref="Size"/> bytes.</summary>
    public static void Encode(RouteNode* node, ReadOnlySpan<RouteSlot> slots)
    {
        var runs = (RouteSlot*)(node + 1);
        int n = 0;
        for (int word = 0; word < 4; word++)
        {
            node->Before[word] = (byte)n;
            ulong starts = 0;
            for (int bit = 0; bit < 64; bit++)
            {
                int slot = (word << 6) + bit;
                if (slot == 0 || slots[slot] != slots[slot - 1])
                {
                    starts |= 1ul << bit;
                    runs[n++] = slots[slot];
                }
            }
            node->Starts[word] = starts;
        }
        node->Runs = (ushort)n;
    }

    /// <summary>The 256 slots of a node.</summary>
    public static void Decode(RouteNode* node, Span<RouteSlot> slots)
    {
        var runs = (RouteSlot*)(node + 1);
        int n = -1;
        for (int slot = 0; slot < Fanout; slot++)
        {
            n += (int)((node->Starts[slot >> 6] >> (slot & 63)) & 1);
            slots[slot] = runs[n];
        }
    }

    /// <summary>Runs among 256 slots.</summary>
    public static int CountRuns(ReadOnlySpan<RouteSlot> slots)
    {
        int runs = 1;
        for (int slot = 1; slot < Fanout; slot++)
        {
            runs += slots[slot] != slots[slot - 1] ? 1 : 0;
        }
        return runs;
    }
}
