using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Tables;

/// <summary>
/// Look-ups of a burst, level by level: all addresses take one step before the first takes its next. Who is through leaves the list,
/// and the rest moves up without a branch, so that addresses which need more steps than others cost no mispredictions. Leaves are
/// looked at last, all together.
/// <para>
/// In a table that does not fit into the second cache a step asks for what the next one reads, first for the header of a node and then
/// for its entry, so that the misses of a burst overlap. In smaller tables that would only cost time.
/// </para>
/// </summary>
public readonly unsafe partial struct RouteTable
{
    /// <summary>Addresses that a burst may have.</summary>
    public const int BatchLimit = 128;

    /// <summary>Tables with more routes than that are taken to be farther away than the second cache.</summary>
    private const uint NearRoutes = 20_000;

    /// <summary>Whether a table is worth prefetching; a type, so that there is code for either.</summary>
    private interface IDistance
    {
        static abstract bool IsFar { get; }
    }

    private readonly struct Near : IDistance
    {
        public static bool IsFar => false;
    }

    private readonly struct Far : IDistance
    {
        public static bool IsFar => true;
    }

    /// <summary>What is still on its way. An item is the number of the address above an entry.</summary>
    private ref struct Ways
    {
        public ulong* Nodes, Leaves;
        public nuint NodeCount, LeafCount;

        /// <summary>Adds an item to the list it belongs to, if any: it is written to both, and the one that keeps it grows.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Add(ulong item)
        {
            Nodes[NodeCount] = item;
            Leaves[LeafCount] = item;
            uint leaf = ((uint)item >> 30) & 1;
            LeafCount += leaf;
            NodeCount += ((uint)item >> 31) - leaf;
        }
    }

    /// <summary>As <see cref="Find4(uint, uint)"/>, for many addresses.</summary>
    /// <param name="root">The table.</param>
    /// <param name="addresses">At most <see cref="BatchLimit"/>.</param>
    /// <param name="results">As many next hops.</param>
    /// <param name="count">How many.</param>
    public void Find4(uint root, uint* addresses, uint* results, int count)
    {
        if (!Begin(root, results, count))
        {
            return;
        }
        if (Count(root) > NearRoutes)
        {
            Find4<Far>(root, addresses, results, (uint)count);
        }
        else
        {
            Find4<Near>(root, addresses, results, (uint)count);
        }
    }

    /// <summary>As <see cref="Find6(uint, ulong, ulong)"/>, for many addresses.</summary>
    /// <param name="root">The table.</param>
    /// <param name="addresses">At most <see cref="BatchLimit"/>, each the number of its first eight bytes and that of its last eight.</param>
    /// <param name="results">As many next hops.</param>
    /// <param name="count">How many.</param>
    public void Find6(uint root, ulong* addresses, uint* results, int count)
    {
        if (!Begin(root, results, count))
        {
            return;
        }
        if (Count(root) > NearRoutes)
        {
            Find6<Far>(root, addresses, results, (uint)count);
        }
        else
        {
            Find6<Near>(root, addresses, results, (uint)count);
        }
    }

    [SkipLocalsInit]
    private void Find4<TDistance>(uint root, uint* addresses, uint* results, uint count)
        where TDistance : struct, IDistance
    {
        ulong* nodes = stackalloc ulong[BatchLimit];
        ulong* leaves = stackalloc ulong[BatchLimit];
        uint* covers = stackalloc uint[BatchLimit];
        uint** at = stackalloc uint*[TDistance.IsFar ? BatchLimit : 1];
        var ways = new Ways { Nodes = nodes, Leaves = leaves };
        byte* arena = _arena;
        uint* page = (uint*)(RouteEntry.At(arena, root) + RouteNode.LargeHeader);
        for (uint i = 0; i < count; i++)
        {
            uint entry = page[addresses[i] >> 24];
            uint cover = 0;
            if (RouteEntry.IsPage(entry))
            {
                byte* below = RouteEntry.At(arena, entry);
                cover = ((RouteNode*)below)->Cover;
                entry = ((uint*)(below + RouteNode.LargeHeader))[(byte)(addresses[i] >> 16)];
            }
            results[i] = entry;
            covers[i] = cover;
            ways.Add(((ulong)i << 32) | entry);
            Prefetch<TDistance>(RouteEntry.At(arena, entry));
        }
        KeepBetter(results, covers, count);
        for (int level = 1; ways.NodeCount != 0 && level < Bytes4; level++)
        {
            nuint n = ways.NodeCount;
            ways.NodeCount = 0;
            for (nuint k = 0; k < n; k++)
            {
                uint i = (uint)(nodes[k] >> 32);
                var node = (RouteNode*)RouteEntry.At(arena, (uint)nodes[k]);
                uint* slot = SlotOf(node, RouteNode.SizeInBytes, (byte)(addresses[i] >> node->Shift), IsUnder4(node, addresses[i]));
                results[i] = Better(node->Cover, results[i]);
                if (TDistance.IsFar)
                {
                    Prefetch<TDistance>(slot);
                    at[k] = slot;
                }
                else
                {
                    Step<TDistance>(i, *slot, results, ref ways, arena);
                }
            }
            for (nuint k = 0; TDistance.IsFar && k < n; k++)
            {
                Step<TDistance>((uint)(nodes[k] >> 32), *at[k], results, ref ways, arena);
            }
        }
        for (nuint k = 0; k < ways.LeafCount; k++)
        {
            uint i = (uint)(leaves[k] >> 32);
            results[i] = Better(MatchLeaf4((RouteLeaf*)RouteEntry.At(arena, (uint)leaves[k]), addresses[i]), results[i]);
        }
    }

    [SkipLocalsInit]
    private void Find6<TDistance>(uint root, ulong* addresses, uint* results, uint count)
        where TDistance : struct, IDistance
    {
        ulong* nodes = stackalloc ulong[BatchLimit];
        ulong* leaves = stackalloc ulong[BatchLimit];
        uint* covers = stackalloc uint[BatchLimit];
        uint** at = stackalloc uint*[TDistance.IsFar ? BatchLimit : 1];
        var ways = new Ways { Nodes = nodes, Leaves = leaves };
        byte* arena = _arena;
        uint* page = (uint*)(RouteEntry.At(arena, root) + RouteNode.LargeHeader);
        for (uint i = 0; i < count; i++)
        {
            ulong high = addresses[2 * i];
            uint entry = page[high >> 56];
            uint cover = 0;
            if (RouteEntry.IsPage(entry))
            {
                byte* below = RouteEntry.At(arena, entry);
                cover = ((RouteNode*)below)->Cover;
                entry = ((uint*)(below + RouteNode.LargeHeader))[(byte)(high >> 48)];
            }
            results[i] = entry;
            covers[i] = cover;
            ways.Add(((ulong)i << 32) | entry);
            Prefetch<TDistance>(RouteEntry.At(arena, entry));
        }
        KeepBetter(results, covers, count);
        for (int level = 1; ways.NodeCount != 0 && level < Bytes6; level++)
        {
            nuint n = ways.NodeCount;
            ways.NodeCount = 0;
            for (nuint k = 0; k < n; k++)
            {
                uint i = (uint)(nodes[k] >> 32);
                var node = (RouteNode*)RouteEntry.At(arena, (uint)nodes[k]);
                ulong* address = addresses + (2 * i);
                // The bytes of each half lie from the last to the first.
                byte stride = ((byte*)address)[node->Byte ^ 7];
                uint* slot = SlotOf(node, RouteNode.LargeHeader, stride, IsUnder6(node, address[0], address[1]));
                results[i] = Better(node->Cover, results[i]);
                if (TDistance.IsFar)
                {
                    Prefetch<TDistance>(slot);
                    at[k] = slot;
                }
                else
                {
                    Step<TDistance>(i, *slot, results, ref ways, arena);
                }
            }
            for (nuint k = 0; TDistance.IsFar && k < n; k++)
            {
                Step<TDistance>((uint)(nodes[k] >> 32), *at[k], results, ref ways, arena);
            }
        }
        for (nuint k = 0; k < ways.LeafCount; k++)
        {
            uint i = (uint)(leaves[k] >> 32);
            ulong* address = addresses + (2 * i);
            results[i] = Better(MatchLeaf6((RouteLeaf*)RouteEntry.At(arena, (uint)leaves[k]), address[0], address[1]), results[i]);
        }
    }

    /// <summary>False when there is nothing to look up.</summary>
    private static bool Begin(uint root, uint* results, int count)
    {
        if ((uint)count > BatchLimit)
        {
            throw new ArgumentOutOfRangeException(nameof(count), count, $"a burst has at most {BatchLimit} addresses");
        }
        if (root == 0)
        {
            new Span<uint>(results, count).Clear();
        }
        return root != 0;
    }

    /// <summary>Of entries, which come as results, the values, and where there is none the cover.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void KeepBetter(uint* results, uint* covers, uint count)
    {
        uint i = 0;
        for (; i + 8 <= count; i += 8)
        {
            Vector256<int> values = Vector256.Max(Vector256.Load((int*)results + i), Vector256<int>.Zero);
            Vector256<int> isNone = Vector256.Equals(values, Vector256<int>.Zero);
            (values | (isNone & Vector256.Load((int*)covers + i))).Store((int*)results + i);
        }
        for (; i < count; i++)
        {
            results[i] = Better(ValueOf(results[i]), covers[i]);
        }
    }

    /// <summary>
    /// Where the entry of a slot stands. For an address that is not under the node the cover, which is a value and all that the node
    /// says to it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint* SlotOf(RouteNode* node, uint header, byte slot, bool isUnder)
    {
        uint offset = header - RouteNode.CoverOffset + (4 * RouteNode.IndexOf(node, slot));
        return (uint*)((byte*)node + RouteNode.CoverOffset + (offset & (uint)-(isUnder ? 1 : 0)));
    }

    /// <summary>Notes what the entry says, and goes on where it leads.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TDistance>(uint i, uint entry, uint* results, ref Ways ways, byte* arena)
        where TDistance : struct, IDistance
    {
        results[i] = Better(ValueOf(entry), results[i]);
        ways.Add(((ulong)i << 32) | entry);
        Prefetch<TDistance>(RouteEntry.At(arena, entry));
    }

    /// <summary>The value of an entry, 0 when it is a child.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint ValueOf(uint entry) => entry & ~(uint)((int)entry >> 31);

    /// <summary>
    /// Asks for a cache line. What a value "leads" to is asked for too, for want of a branch: values are small, so that is a line at the
    /// start of the arena.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch<TDistance>(void* at)
        where TDistance : struct, IDistance
    {
        if (TDistance.IsFar && Sse.IsSupported)
        {
            Sse.Prefetch0(at);
        }
    }
}
