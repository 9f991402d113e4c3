namespace Dataplane.Tables;

/// <summary>
/// Follows the tries that another writer has left: which blocks they use, and which prefixes they hold. A prefix of which longer ones
/// cover every address is not in the trie any more; setting it again does no harm.
/// </summary>
internal sealed unsafe class RouteTrieReader(RouteArena arena)
{
    private readonly List<(uint Block, int Units)> _blocks = [];

    /// <summary>Blocks of all tries read.</summary>
    public IReadOnlyList<(uint Block, int Units)> Blocks => _blocks;

    public void Read(RouteTrie trie)
    {
        if (trie.Root == 0)
        {
            return;
        }
        if (trie.Is4)
        {
            ReadPage(trie, trie.Root, 0, 0);
        }
        else
        {
            ReadNode(trie, trie.Root);
        }
    }

    private void ReadPage(RouteTrie trie, uint unit, int depth, ulong high)
    {
        _blocks.Add((unit, RouteArena.PageUnits));
        var slots = (RouteSlot*)arena.At(unit);
        for (int i = 0; i < RouteNode.Fanout; i++)
        {
            ulong key = high | ((ulong)i << (56 - (8 * depth)));
            Note(trie, slots[i], key, 0, depth);
            if (slots[i].Child == 0)
            {
                continue;
            }
            if (depth == 0)
            {
                ReadPage(trie, slots[i].Child, 1, key);
            }
            else
            {
                ReadNode(trie, slots[i].Child);
            }
        }
    }

    private void ReadNode(RouteTrie trie, uint unit)
    {
        var node = (RouteNode*)arena.At(unit);
        _blocks.Add((unit, RouteArena.UnitsOf(RouteNode.Size(node->Runs))));
        for (uint i = 0; i < RouteNode.Fanout; i++)
        {
            RouteSlot slot = *RouteNode.Find(node, i);
            ulong place = (ulong)i << (56 - (8 * (node->Depth & 7)));
            Note(trie, slot, node->PrefixHigh | (node->Depth < 8 ? place : 0), node->PrefixLow | (node->Depth < 8 ? 0 : place), node->Depth);
            if (slot.Child != 0)
            {
                ReadNode(trie, slot.Child);
            }
        }
    }

    private static void Note(RouteTrie trie, RouteSlot slot, ulong high, ulong low, int depth)
    {
        if (slot.Owner != 0)
        {
            trie.Prefixes[RoutePrefix.Of6(high, low, (8 * depth) + slot.OwnerBits)] = slot.Owner & RouteSlot.NextHopMask;
        }
    }
}
