using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// Look-ups of a burst, level by level: all addresses take one step, and what each will read in its next step is asked for, before the
/// first takes its next. So the cache misses of a burst overlap. Who is through leaves the list; the rest moves up without a branch, so
/// that addresses which need more steps than others cost no mispredictions. Leaves are looked at last, all together.
/// </summary>
public readonly unsafe partial struct RouteTable
{
    /// <summary>Addresses that a burst may have.</summary>
    public const int BatchLimit = 128;

    /// <summary>As <see cref="Find4(uint, uint)"/>, for many addresses.</summary>
    /// <param name="root">The table.</param>
    /// <param name="addresses">At most <see cref="BatchLimit"/>.</param>
    /// <param name="results">As many next hops.</param>
    /// <param name="count">How many.</param>
    [SkipLocalsInit]
    public void Find4(uint root, uint* addresses, uint* results, int count)
    {
        if (!Begin(root, results, count))
        {
            return;
        }
        // What is still on its way: number of the address above, entry below.
        ulong* nodes = stackalloc ulong[BatchLimit];
        ulong* leaves = stackalloc ulong[BatchLimit];
        nuint nodeCount = 0, leafCount = 0;
        byte* arena = _arena;
        uint* page = (uint*)(RouteEntry.At(arena, root) + RouteNode.LargeHeader);
        for (uint i = 0; i < (uint)count; i++)
        {
            uint entry = page[addresses[i] >> 24];
            uint best = 0;
            if (RouteEntry.Kind(entry) == RouteEntry.Page)
            {
                byte* at = RouteEntry.At(arena, entry);
                best = ((RouteNode*)at)->Cover;
                entry = ((uint*)(at + RouteNode.LargeHeader))[(byte)(addresses[i] >> 16)];
            }
            Sort(i, entry, best, results, nodes, ref nodeCount, leaves, ref leafCount);
            Prefetch(arena, entry);
        }
        for (int level = 1; nodeCount != 0 && level < Bytes4; level++)
        {
            nuint left = 0;
            for (nuint k = 0; k < nodeCount; k++)
            {
                uint i = (uint)(nodes[k] >> 32);
                byte* at = RouteEntry.At(arena, (uint)nodes[k]);
                var node = (RouteNode*)at;
                uint address = addresses[i];
                uint entry = ((uint*)(at + RouteNode.SizeInBytes))[RouteNode.IndexOf(node, (byte)(address >> node->Shift))];
                entry &= Mask(IsUnder4(node, address));
                Sort(i, entry, Better(node->Cover, results[i]), results, nodes, ref left, leaves, ref leafCount);
                Prefetch(arena, entry);
            }
            nodeCount = left;
        }
        for (nuint k = 0; k < leafCount; k++)
        {
            uint i = (uint)(leaves[k] >> 32);
            results[i] = Better(MatchLeaf4((RouteLeaf*)RouteEntry.At(arena, (uint)leaves[k]), addresses[i]), results[i]);
        }
    }

    /// <summary>As <see cref="Find6(uint, ulong, ulong)"/>, for many addresses.</summary>
    /// <param name="root">The table.</param>
    /// <param name="addresses">At most <see cref="BatchLimit"/>.</param>
    /// <param name="results">As many next hops.</param>
    /// <param name="count">How many.</param>
    [SkipLocalsInit]
    public void Find6(uint root, IPv6Number* addresses, uint* results, int count)
    {
        if (!Begin(root, results, count))
        {
            return;
        }
        ulong* nodes = stackalloc ulong[BatchLimit];
        ulong* leaves = stackalloc ulong[BatchLimit];
        nuint nodeCount = 0, leafCount = 0;
        byte* arena = _arena;
        uint* page = (uint*)(RouteEntry.At(arena, root) + RouteNode.LargeHeader);
        for (uint i = 0; i < (uint)count; i++)
        {
            ulong high = addresses[i].High;
            uint entry = page[high >> 56];
            uint best = 0;
            if (RouteEntry.Kind(entry) == RouteEntry.Page)
            {
                byte* at = RouteEntry.At(arena, entry);
                best = ((RouteNode*)at)->Cover;
                entry = ((uint*)(at + RouteNode.LargeHeader))[(byte)(high >> 48)];
            }
            Sort(i, entry, best, results, nodes, ref nodeCount, leaves, ref leafCount);
            Prefetch(arena, entry);
        }
        for (int level = 1; nodeCount != 0 && level < Bytes6; level++)
        {
            nuint left = 0;
            for (nuint k = 0; k < nodeCount; k++)
            {
                uint i = (uint)(nodes[k] >> 32);
                byte* at = RouteEntry.At(arena, (uint)nodes[k]);
                var node = (RouteNode*)at;
                (ulong high, ulong low) = addresses[i];
                // The address's bytes lie from the last to the first in each half.
                byte slot = ((byte*)(addresses + i))[node->Byte ^ 7];
                uint entry = ((uint*)(at + RouteNode.LargeHeader))[RouteNode.IndexOf(node, slot)];
                entry &= Mask(IsUnder6(node, high, low));
                Sort(i, entry, Better(node->Cover, results[i]), results, nodes, ref left, leaves, ref leafCount);
                Prefetch(arena, entry);
            }
            nodeCount = left;
        }
        for (nuint k = 0; k < leafCount; k++)
        {
            uint i = (uint)(leaves[k] >> 32);
            (ulong high, ulong low) = addresses[i];
            results[i] = Better(MatchLeaf6((RouteLeaf*)RouteEntry.At(arena, (uint)leaves[k]), high, low), results[i]);
        }
    }

    /// <summary>False when there is nothing to look up.</summary>
    private static bool Begin(uint root, uint* results, int count)
    {
        if ((uint)count > BatchLimit)
        {
            throw new ArgumentOutOfRangeException(nameof(count));
        }
        if (root == 0)
        {
            new Span<uint>(results, count).Clear();
        }
        return root != 0;
    }

    /// <summary>
    /// Notes what an address has found: the best value so far, and in which list it goes on. It is written to both, and the one that
    /// keeps it grows.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sort(
        uint i, uint entry, uint best, uint* results, ulong* nodes, ref nuint nodeCount, ulong* leaves, ref nuint leafCount)
    {
        uint value = entry & ~(uint)((int)entry >> 31); // a child is no value
        results[i] = Better(value, best);
        ulong item = ((ulong)i << 32) | entry;
        nodes[nodeCount] = item;
        leaves[leafCount] = item;
        nodeCount += entry >> 29 == RouteEntry.Node >> 29 ? 1u : 0u;
        leafCount += entry >> 29 == RouteEntry.Leaf >> 29 ? 1u : 0u;
    }

    /// <summary>All ones, or zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Mask(bool condition) => (uint)-(condition ? 1 : 0);

    /// <summary>Asks for the header of a child and the entries behind it; for the start of the arena when there is no child.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* arena, uint entry)
    {
        if (Sse.IsSupported)
        {
            byte* at = RouteEntry.At(arena, entry & (uint)((int)entry >> 31));
            Sse.Prefetch0(at);
            Sse.Prefetch0(at + 64);
        }
    }
}
