using System.Numerics;
using System.Runtime.CompilerServices;

namespace Dataplane.Tables;

/// <summary>
/// Longest-prefix match for IPv4 and IPv6 (RFC 1812, 5.2.4.3), as workers see it: from a root and an address to the index of a
/// next hop, 0 for "no route". Any number of tables, one root each, share an arena; <see cref="RouteWriter"/> makes them.
/// <para>
/// A table is a trie with strides of a byte (Srinivasan and Varghese, TOCS 1999). A node has 256 slots, and stores one entry
/// per run of equal slots, which a bitmap and counts find (Degermark et al., SIGCOMM 1997). Bytes on which all routes below agree
/// are skipped and compared in the node that comes next (path compression); a slot with only one prefix below leads to a leaf
/// with that prefix. The root, and what is crowded right below it, are pages of 256 plain entries, which stay in the first two
/// caches. So no table has more nodes than routes, and an address meets as many nodes as there are bytes that decide.
/// </para>
/// <para>
/// Nothing is handed down through more than one node: what a prefix says to a node below stands in that node's header
/// (<see cref="RouteNode.Cover"/>), and a look-up remembers the best so far. Without that a change of the default route would have
/// to touch every node of the table.
/// </para>
/// <para>
/// What a committed root reaches never changes. A worker reads the root once per burst, from a record that a commit replaces, and
/// so sees one version of the whole table; it may go on reading until it is quiescent.
/// </para>
/// <para>Addresses are numbers in host order. The table holds no pointers, and is where its memory is mapped.</para>
/// </summary>
public readonly unsafe partial struct RouteTable
{
    private const int Bytes4 = 4;
    private const int Bytes6 = 16;

    private readonly byte* _arena;

    /// <param name="arena">The first byte of the arena, aligned to a cache line.</param>
    public RouteTable(byte* arena) => _arena = arena;

    /// <summary>The number of routes in a table.</summary>
    public int Count(uint root) => root == 0 ? 0 : (int)((RouteNode*)RouteEntry.At(_arena, root))->Routes;

    /// <summary>The next hop of the longest prefix of an IPv4 address, 0 when there is none.</summary>
    public uint Find4(uint root, uint address)
    {
        uint entry = root, best = 0;
        for (int level = 0; RouteEntry.IsChild(entry) && level <= Bytes4; level++)
        {
            byte* at = RouteEntry.At(_arena, entry);
            if (RouteEntry.IsLeaf(entry))
            {
                return Better(MatchLeaf4((RouteLeaf*)at, address), best);
            }
            var node = (RouteNode*)at;
            best = Better(node->Cover, best);
            uint slot = (byte)(address >> node->Shift);
            if (RouteEntry.IsPage(entry))
            {
                entry = ((uint*)(at + RouteNode.LargeHeader))[slot];
            }
            else if (IsUnder4(node, address))
            {
                entry = ((uint*)(at + RouteNode.SizeInBytes))[RouteNode.IndexOf(node, slot)];
            }
            else
            {
                return best;
            }
        }
        return Better(entry, best);
    }

    /// <summary>The next hop of the longest prefix of an IPv6 address, 0 when there is none.</summary>
    /// <param name="root">The table.</param>
    /// <param name="high">The first eight bytes of the address.</param>
    /// <param name="low">The last eight.</param>
    public uint Find6(uint root, ulong high, ulong low)
    {
        uint entry = root, best = 0;
        for (int level = 0; RouteEntry.IsChild(entry) && level <= Bytes6; level++)
        {
            byte* at = RouteEntry.At(_arena, entry);
            if (RouteEntry.IsLeaf(entry))
            {
                return Better(MatchLeaf6((RouteLeaf*)at, high, low), best);
            }
            var node = (RouteNode*)at;
            best = Better(node->Cover, best);
            uint slot = (byte)((node->Byte < 8 ? high : low) >> node->Shift);
            uint* entries = (uint*)(at + RouteNode.LargeHeader);
            if (RouteEntry.IsPage(entry))
            {
                entry = entries[slot];
            }
            else if (IsUnder6(node, high, low))
            {
                entry = entries[RouteNode.IndexOf(node, slot)];
            }
            else
            {
                return best;
            }
        }
        return Better(entry, best);
    }

    /// <summary>
    /// A value, or the best one before when it is 0. By arithmetic, since the compiler makes branches of conditions in a loop, and how
    /// long the prefixes of a burst are cannot be predicted.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Better(uint value, uint best) => value | (best & (uint)((int)(value - 1) >> 31));

    /// <summary>The leaf's value, or what covers it when the address is not of its prefix.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint MatchLeaf4(RouteLeaf* leaf, uint address) =>
        ValueOrCover(leaf, (uint)BitOperations.LeadingZeroCount(address ^ leaf->Key4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint MatchLeaf6(RouteLeaf* leaf, ulong high, ulong low) =>
        ValueOrCover(leaf, Common(high ^ leaf->KeyHigh, low ^ leaf->KeyLow));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint ValueOrCover(RouteLeaf* leaf, uint common)
    {
        uint value = leaf->ValueAndLength, cover = leaf->Cover;
        uint isOther = (uint)((int)(common - (value >> 24)) >> 31);
        return ((value ^ cover) & isOther ^ value) & RouteEntry.MaxValue;
    }

    /// <summary>Whether the bytes before the node's stride byte are the address's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsUnder4(RouteNode* node, uint address) => address >> (node->Shift + 8) == node->Key4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsUnder6(RouteNode* node, ulong high, ulong low) =>
        Common(high ^ node->KeyHigh, low ^ node->KeyLow) >= (uint)node->Byte * 8;

    /// <summary>How many bits two addresses have in common, from their difference.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Common(ulong high, ulong low)
    {
        // The upper count is 64 exactly when the lower half matters.
        uint upper = (uint)BitOperations.LeadingZeroCount(high);
        return upper + ((uint)BitOperations.LeadingZeroCount(low) & (uint)-(int)(upper >> 6));
    }
}
