namespace Dataplane.Tables;

/// <summary>The memory for routes is used up.</summary>
public sealed class RouteMemoryException(long bytes)
    : Exception($"the routes need more than the {bytes / 1024} KiB there are for them");

/// <summary>
/// Changes the tries that <see cref="RouteTable"/> reads, for the one writer of a segment. Changes are made to copies of the nodes
/// that readers may see; copies made since the last <see cref="Commit"/> are changed in place, so a batch of many routes copies each
/// node once. What a commit puts out of use is free again after <see cref="Reclaim"/>, which is called when the grace period is over.
/// <para>
/// What it costs: a change copies at most two pages and a few nodes, some kilobytes, whatever the number of routes.
/// </para>
/// </summary>
public sealed unsafe class RouteWriter
{
    private readonly RouteArena _arena;
    private readonly long _length;
    private readonly SortedDictionary<int, (RouteTrie Four, RouteTrie Six)> _tries = [];

    /// <summary>Made since the last commit: no reader knows them. With their size in units.</summary>
    private readonly Dictionary<uint, int> _made = [];
    private readonly List<(uint Block, int Units)> _replaced = [];
    private readonly List<(uint Block, int Units)> _waiting = [];

    /// <summary>What takes back the changes of prefixes since the last commit.</summary>
    private readonly List<(RouteTrie Trie, RoutePrefix Prefix, uint Before)> _undo = [];

    /// <param name="arena">Memory of the routes, aligned to a cache line.</param>
    /// <param name="length">Its length in bytes.</param>
    /// <param name="roots">The tries that readers may be using.</param>
    public RouteWriter(byte* arena, ulong length, IEnumerable<(int Vrf, uint Root4, uint Root6)> roots)
    {
        _arena = new RouteArena(arena, length);
        _length = (long)length;
        var reader = new RouteTrieReader(_arena);
        foreach ((int vrf, uint root4, uint root6) in roots)
        {
            (RouteTrie four, RouteTrie six) = Tries(vrf);
            four.Root = four.Committed = root4;
            six.Root = six.Committed = root6;
            reader.Read(four);
            reader.Read(six);
        }
        _arena.Adopt(reader.Blocks);
    }

    /// <summary>Bytes that the routes take.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>VRFs with changes, and their roots after the next commit.</summary>
    public IEnumerable<(int Vrf, uint Root4, uint Root6)> Touched =>
        _tries.Where(t => t.Value.Four.IsTouched || t.Value.Six.IsTouched).Select(t => (t.Key, t.Value.Four.Root, t.Value.Six.Root));

    /// <summary>The IPv4 prefixes of a VRF with their next hops, those not committed included.</summary>
    public IReadOnlyDictionary<RoutePrefix, uint> Prefixes4(int vrf) => Tries(vrf).Four.Prefixes;

    /// <summary>The IPv6 prefixes of a VRF with their next hops, those not committed included.</summary>
    public IReadOnlyDictionary<RoutePrefix, uint> Prefixes6(int vrf) => Tries(vrf).Six.Prefixes;

    /// <summary>Makes or changes a route.</summary>
    /// <param name="vrf">Index of the VRF.</param>
    /// <param name="prefix">See <see cref="RoutePrefix.Of4"/>.</param>
    /// <param name="nextHop">1 to 2^24 - 1.</param>
    /// <exception cref="RouteMemoryException">No room. Everything since the last commit has to be abandoned.</exception>
    public void Set4(int vrf, RoutePrefix prefix, uint nextHop) => Set(Tries(vrf).Four, prefix, nextHop);

    /// <inheritdoc cref="Set4"/>
    public void Set6(int vrf, RoutePrefix prefix, uint nextHop) => Set(Tries(vrf).Six, prefix, nextHop);

    /// <summary>Removes a route. False when there is none.</summary>
    /// <exception cref="RouteMemoryException">No room for the copies. Everything since the last commit has to be abandoned.</exception>
    public bool Remove4(int vrf, RoutePrefix prefix) => Remove(Tries(vrf).Four, prefix);

    /// <inheritdoc cref="Remove4"/>
    public bool Remove6(int vrf, RoutePrefix prefix) => Remove(Tries(vrf).Six, prefix);

    /// <summary>The roots of <see cref="Touched"/> are what readers find from now on.</summary>
    public void Commit()
    {
        foreach ((RouteTrie four, RouteTrie six) in _tries.Values)
        {
            four.Committed = four.Root;
            six.Committed = six.Root;
            four.IsTouched = six.IsTouched = false;
        }
        _waiting.AddRange(_replaced);
        _replaced.Clear();
        _made.Clear();
        _undo.Clear();
    }

    /// <summary>No reader uses any more what commits have put out of use.</summary>
    public void Reclaim()
    {
        foreach ((uint block, int units) in _waiting)
        {
            _arena.Free(block, units);
        }
        _waiting.Clear();
    }

    /// <summary>Takes back everything since the last commit.</summary>
    public void Abandon()
    {
        foreach ((uint block, int units) in _made)
        {
            _arena.Free(block, units);
        }
        _made.Clear();
        _replaced.Clear();
        foreach ((RouteTrie trie, RoutePrefix prefix, uint before) in Enumerable.Reverse(_undo))
        {
            if (before == 0)
            {
                trie.Prefixes.Remove(prefix);
            }
            else
            {
                trie.Prefixes[prefix] = before;
            }
        }
        _undo.Clear();
        foreach ((RouteTrie four, RouteTrie six) in _tries.Values)
        {
            four.Root = four.Committed;
            six.Root = six.Committed;
            four.IsTouched = six.IsTouched = false;
        }
    }

    private (RouteTrie Four, RouteTrie Six) Tries(int vrf)
    {
        if (!_tries.TryGetValue(vrf, out (RouteTrie Four, RouteTrie Six) tries))
        {
            tries = (new RouteTrie(is4: true), new RouteTrie(is4: false));
            _tries.Add(vrf, tries);
        }
        return tries;
    }

    private void Set(RouteTrie trie, RoutePrefix prefix, uint nextHop)
    {
        if (nextHop is 0 or > RouteSlot.NextHopMask)
        {
            throw new ArgumentOutOfRangeException(nameof(nextHop), nextHop, "the index of a next hop must be from 1 to 16,777,215");
        }
        trie.Prefixes.TryGetValue(prefix, out uint before);
        if (before == nextHop)
        {
            return;
        }
        _undo.Add((trie, prefix, before));
        trie.Prefixes[prefix] = nextHop;
        Apply(trie, new RouteChange(prefix, RouteSlot.MakeOwner(nextHop, prefix.BitsInLastByte), IsRemoval: false));
    }

    private bool Remove(RouteTrie trie, RoutePrefix prefix)
    {
        if (!trie.Prefixes.Remove(prefix, out uint before))
        {
            return false;
        }
        _undo.Add((trie, prefix, before));
        Apply(trie, new RouteChange(prefix, trie.CoveringOwner(prefix), IsRemoval: true));
        return true;
    }

    private void Apply(RouteTrie trie, RouteChange change)
    {
        trie.IsTouched = true;
        trie.Root = trie.Is4 ? ChangePage(trie.Root, 0, change) : ChangeNode(trie.Root, change);
    }

    /// <summary>Changes one of the two upper levels of an IPv4 trie. Gives the unit of the changed page, 0 when nothing is left of it.</summary>
    private uint ChangePage(uint unit, int depth, RouteChange change)
    {
        if (unit == 0 && change.IsRemoval)
        {
            return 0;
        }
        uint index = change.Prefix.ByteAt(depth);
        uint child = 0;
        if (change.Prefix.LastByte > depth)
        {
            uint present = unit == 0 ? 0 : ((RouteSlot*)_arena.At(unit))[index].Child;
            child = depth == 0 ? ChangePage(present, 1, change) : ChangeNode(present, change);
            if (child == present)
            {
                return unit;
            }
        }
        unit = OwnPage(unit);
        var slots = new Span<RouteSlot>(_arena.At(unit), RouteNode.Fanout);
        if (change.Prefix.LastByte > depth)
        {
            slots[(int)index] = slots[(int)index] with { Child = child };
        }
        else
        {
            change.ApplyTo(slots);
        }
        if (change.IsRemoval && !slots.ContainsAnyExcept(default(RouteSlot)))
        {
            Release(unit, RouteArena.PageUnits);
            return 0;
        }
        return unit;
    }

    /// <summary>A page that may be changed, with the same slots.</summary>
    private uint OwnPage(uint unit)
    {
        if (unit != 0 && _made.ContainsKey(unit))
        {
            return unit;
        }
        uint own = Allocate(RouteArena.PageUnits);
        var slots = new Span<RouteSlot>(_arena.At(own), RouteNode.Fanout);
        if (unit == 0)
        {
            slots.Clear();
        }
        else
        {
            new ReadOnlySpan<RouteSlot>(_arena.At(unit), RouteNode.Fanout).CopyTo(slots);
            Release(unit, RouteArena.PageUnits);
        }
        return own;
    }

    /// <summary>Changes a node, or what is to be in its place. Gives the unit of what is there then, 0 for nothing.</summary>
    private uint ChangeNode(uint unit, RouteChange change)
    {
        Span<RouteSlot> slots = stackalloc RouteSlot[RouteNode.Fanout];
        RoutePrefix prefix = change.Prefix;
        int last = prefix.LastByte;
        if (unit == 0)
        {
            if (change.IsRemoval)
            {
                return 0;
            }
            slots.Clear();
            change.ApplyTo(slots);
            return WriteNode(0, prefix, last, slots);
        }

        var node = (RouteNode*)_arena.At(unit);
        int depth = Math.Min(Math.Min(prefix.CommonBytes(node->PrefixHigh, node->PrefixLow), node->Depth), last);
        if (depth < node->Depth)
        {
            if (change.IsRemoval)
            {
                return unit; // not below this node
            }
            // A new node above, where the prefix ends or leaves the way to this one.
            slots.Clear();
            slots[(int)RouteNode.KeyByte(node->PrefixHigh, node->PrefixLow, depth)] = new RouteSlot(0, unit);
            if (last == depth)
            {
                change.ApplyTo(slots);
            }
            else
            {
                slots[(int)prefix.ByteAt(depth)] = new RouteSlot(0, ChangeNode(0, change));
            }
            return WriteNode(0, prefix, depth, slots);
        }

        if (last == depth)
        {
            RouteNode.Decode(node, slots);
            change.ApplyTo(slots);
        }
        else
        {
            int index = (int)prefix.ByteAt(depth);
            uint present = RouteNode.Find(node, (uint)index)->Child;
            uint child = ChangeNode(present, change);
            if (child == present)
            {
                return unit;
            }
            RouteNode.Decode(node, slots);
            slots[index] = slots[index] with { Child = child };
        }
        return change.IsRemoval && IsNeedless(slots, out uint only)
            ? Discard(unit, only)
            : WriteNode(unit, new RoutePrefix(node->PrefixHigh, node->PrefixLow, 0), depth, slots);
    }

    /// <summary>Whether a node says nothing: it is empty, or all it has is one child.</summary>
    private static bool IsNeedless(ReadOnlySpan<RouteSlot> slots, out uint onlyChild)
    {
        onlyChild = 0;
        foreach (RouteSlot slot in slots)
        {
            if (slot.Owner != 0 || (slot.Child != 0 && onlyChild != 0))
            {
                return false;
            }
            onlyChild |= slot.Child;
        }
        return true;
    }

    private uint Discard(uint unit, uint instead)
    {
        Release(unit, UnitsOf((RouteNode*)_arena.At(unit)));
        return instead;
    }

    /// <summary>Writes a node in the place of another one, or of none.</summary>
    private uint WriteNode(uint former, RoutePrefix prefix, int depth, ReadOnlySpan<RouteSlot> slots)
    {
        int units = RouteArena.UnitsOf(RouteNode.Size(RouteNode.CountRuns(slots)));
        uint unit = former;
        if (former == 0 || !_made.TryGetValue(former, out int had) || had != units)
        {
            unit = Allocate(units);
        }
        var node = (RouteNode*)_arena.At(unit);
        RoutePrefix bytesBefore = RoutePrefix.Of6(prefix.High, prefix.Low, 8 * depth);
        if (former != 0 && former != unit)
        {
            Release(former, UnitsOf((RouteNode*)_arena.At(former)));
        }
        node->PrefixHigh = bytesBefore.High;
        node->PrefixLow = bytesBefore.Low;
        node->Depth = (byte)depth;
        RouteNode.Encode(node, slots);
        return unit;
    }

    private static int UnitsOf(RouteNode* node) => RouteArena.UnitsOf(RouteNode.Size(node->Runs));

    private uint Allocate(int units)
    {
        uint unit = _arena.Allocate(units);
        if (unit == 0)
        {
            throw new RouteMemoryException(_length);
        }
        _made.Add(unit, units);
        return unit;
    }

    /// <summary>A block is not needed any more: free at once if no reader can know it, else after the grace period of the next commit.</summary>
    private void Release(uint unit, int units)
    {
        if (_made.Remove(unit))
        {
            _arena.Free(unit, units);
        }
        else
        {
            _replaced.Add((unit, units));
        }
    }
}
