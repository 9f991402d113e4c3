using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Tables;

/// <summary>
/// Longest-prefix match for the routes of all VRFs: from the root of a trie and an address to the index of a next hop.
/// <para>
/// A multibit trie with a stride of one byte. IPv4 begins with two levels of plain pages of 256 slots, which stay in the nearer
/// caches; below them, and for all of IPv6, nodes are compressed and skip the bytes in which nothing branches
/// (<see cref="RouteNode"/>). A slot holds what the longest prefix says that ends in its node; one that ends higher up is not copied
/// down, but remembered on the way. So a change touches one node, and the path to it.
/// </para>
/// <para>
/// The trie is persistent (Driscoll et al., STOC 1986): <see cref="RouteWriter"/> changes copies of the nodes on the path and gives a
/// new root, which a commit makes visible with everything else of its generation. A reader that has a root has all the routes of that
/// generation, and no others; nodes that only older roots reach are reused after a grace period.
/// </para>
/// <para>
/// The batch form goes through a burst level by level and asks for the cache lines of the next level before it needs them, so that
/// the misses of a burst overlap. What it costs: about two passes over the burst even where one route is all there is.
/// </para>
/// </summary>
public readonly unsafe struct RouteTable
{
    /// <summary>Addresses that the batch forms take at once.</summary>
    public const int BatchLimit = 128;

    private readonly byte* _arena;

    /// <param name="arena">See <see cref="RouteArena"/>.</param>
    public RouteTable(byte* arena)
    {
        _arena = arena;
    }

    /// <summary>The next hop for an IPv4 address (in host order), 0 when no route matches.</summary>
    public uint Find4(uint root, uint address)
    {
        if (root == 0)
        {
            return 0;
        }
        RouteSlot slot = Page(root)[address >> 24];
        uint best = slot.Owner;
        if (slot.Child != 0)
        {
            slot = Page(slot.Child)[(byte)(address >> 16)];
            best = slot.Owner != 0 ? slot.Owner : best;
            ulong key = (ulong)address << 32;
            for (uint child = slot.Child; child != 0; child = slot.Child)
            {
                RouteNode* node = Node(child);
                if (!RouteNode.MatchesHigh(node, key))
                {
                    break;
                }
                slot = *RouteNode.Find(node, (byte)(address >> (24 - (8 * node->Depth))));
                best = slot.Owner != 0 ? slot.Owner : best;
            }
        }
        return best & RouteSlot.NextHopMask;
    }

    /// <summary>The next hop for an IPv6 address (two numbers in host order), 0 when no route matches.</summary>
    public uint Find6(uint root, ulong high, ulong low)
    {
        uint best = 0;
        RouteSlot slot;
        for (uint child = root; child != 0; child = slot.Child)
        {
            RouteNode* node = Node(child);
            if (!RouteNode.Matches(node, high, low))
            {
                break;
            }
            slot = *RouteNode.Find(node, RouteNode.KeyByte(high, low, node->Depth));
            best = slot.Owner != 0 ? slot.Owner : best;
        }
        return best & RouteSlot.NextHopMask;
    }

    /// <summary>The next hops for a burst of IPv4 addresses.</summary>
    /// <param name="root">Of the trie.</param>
    /// <param name="addresses">In host order.</param>
    /// <param name="results">What <see cref="Find4(uint, uint)"/> gives for each.</param>
    /// <param name="count">At most <see cref="BatchLimit"/>.</param>
    [SkipLocalsInit]
    public void Find4(uint root, uint* addresses, uint* results, int count)
    {
        if (root == 0)
        {
            new Span<uint>(results, count).Clear();
            return;
        }
        RouteSlot** at = stackalloc RouteSlot*[BatchLimit];
        byte* active = stackalloc byte[BatchLimit];
        RouteSlot* top = Page(root);
        int n = 0;
        for (int i = 0; i < count; i++)
        {
            RouteSlot slot = top[addresses[i] >> 24];
            results[i] = slot.Owner;
            if (slot.Child != 0)
            {
                RouteSlot* next = Page(slot.Child) + (byte)(addresses[i] >> 16);
                Prefetch(next);
                at[n] = next;
                active[n++] = (byte)i;
            }
        }
        n = Descend(at, active, results, n);
        while (n != 0)
        {
            int m = 0;
            for (int k = 0; k < n; k++)
            {
                var node = (RouteNode*)at[k];
                uint address = addresses[active[k]];
                if (RouteNode.MatchesHigh(node, (ulong)address << 32))
                {
                    RouteSlot* next = RouteNode.Find(node, (byte)(address >> (24 - (8 * node->Depth))));
                    Prefetch(next);
                    at[m] = next;
                    active[m++] = active[k];
                }
            }
            n = Descend(at, active, results, m);
        }
        Mask(results, count);
    }

    /// <summary>The next hops for a burst of IPv6 addresses.</summary>
    /// <param name="root">Of the trie.</param>
    /// <param name="addresses">Pairs of high and low number in host order.</param>
    /// <param name="results">What <see cref="Find6(uint, ulong, ulong)"/> gives for each.</param>
    /// <param name="count">At most <see cref="BatchLimit"/>.</param>
    [SkipLocalsInit]
    public void Find6(uint root, ulong* addresses, uint* results, int count)
    {
        new Span<uint>(results, count).Clear();
        if (root == 0)
        {
            return;
        }
        RouteSlot** at = stackalloc RouteSlot*[BatchLimit];
        byte* active = stackalloc byte[BatchLimit];
        for (int i = 0; i < count; i++)
        {
            at[i] = (RouteSlot*)Node(root);
            active[i] = (byte)i;
        }
        int n = count;
        while (n != 0)
        {
            int m = 0;
            for (int k = 0; k < n; k++)
            {
                var node = (RouteNode*)at[k];
                ulong* key = addresses + (2 * active[k]);
                if (RouteNode.Matches(node, key[0], key[1]))
                {
                    RouteSlot* next = RouteNode.Find(node, RouteNode.KeyByte(key[0], key[1], node->Depth));
                    Prefetch(next);
                    at[m] = next;
                    active[m++] = active[k];
                }
            }
            n = Descend(at, active, results, m);
        }
        Mask(results, count);
    }

    /// <summary>From slots to the nodes below them. Gives how many there are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Descend(RouteSlot** at, byte* active, uint* results, int count)
    {
        int n = 0;
        for (int k = 0; k < count; k++)
        {
            RouteSlot slot = *at[k];
            byte i = active[k];
            results[i] = slot.Owner != 0 ? slot.Owner : results[i];
            if (slot.Child != 0)
            {
                RouteNode* node = Node(slot.Child);
                Prefetch(node);
                at[n] = (RouteSlot*)node;
                active[n++] = i;
            }
        }
        return n;
    }

    private static void Mask(uint* results, int count)
    {
        for (int i = 0; i < count; i++)
        {
            results[i] &= RouteSlot.NextHopMask;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private RouteSlot* Page(uint unit) => (RouteSlot*)(_arena + ((ulong)unit * RouteArena.UnitSize));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private RouteNode* Node(uint unit) => (RouteNode*)(_arena + ((ulong)unit * RouteArena.UnitSize));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(void* address)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address);
        }
    }
}
