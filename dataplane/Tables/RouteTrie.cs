namespace Dataplane.Tables;

/// <summary>
/// The tries of one family, as the writer changes them. An operation takes the entry of a node and gives the one that is to take its
/// place: the same when nothing changed or the node is fresh and could be changed where it is, else a copy's. The path from there to
/// the root is copied in the same way; nothing else is.
/// <para>
/// The form of a table follows from its routes alone: a slot with one prefix below has a leaf, a node other than the root has at
/// least two prefixes or children, and is a page where the stride byte is one of the first two.
/// </para>
/// </summary>
internal sealed unsafe class RouteTrie
{
    private readonly byte* _memory;
    private readonly RouteBatch _batch;
    private readonly RouteScratch _scratch;
    private readonly bool _isIPv6;
    private readonly Func<uint, uint, uint> _withCover;
    private bool _mayUseReserve;
    private bool _found;

    public RouteTrie(byte* memory, RouteBatch batch, RouteScratch scratch, bool isIPv6)
    {
        _memory = memory;
        _batch = batch;
        _scratch = scratch;
        _isIPv6 = isIPv6;
        _withCover = WithCover;
    }

    /// <summary>Routes of a table.</summary>
    public int Count(uint root) => new RouteTable(_memory).Count(root);

    /// <summary>Adds a route or changes its next hop. Gives the new root.</summary>
    /// <exception cref="RouteMemoryException">What is fresh is in no order any more, and has to be abandoned.</exception>
    public uint Set(uint root, in RoutePrefix prefix, uint value)
    {
        _mayUseReserve = false;
        _found = false;
        if (root == 0)
        {
            _scratch.Begin(0, 0);
            AddToScratch(prefix, value);
            root = Write(0, prefix);
        }
        else
        {
            root = Insert(root, prefix, value);
        }
        ((RouteNode*)At(root))->Routes += _found ? 0u : 1u;
        return root;
    }

    /// <summary>Removes a route. Gives the new root.</summary>
    /// <exception cref="RouteMemoryException">What is fresh is in no order any more, and has to be abandoned.</exception>
    public uint Remove(uint root, in RoutePrefix prefix, out bool found)
    {
        _mayUseReserve = true;
        _found = false;
        if (root != 0)
        {
            root = Remove(root, prefix);
        }
        found = _found;
        if (found && root != 0)
        {
            ((RouteNode*)At(root))->Routes--;
        }
        return root;
    }

    /// <summary>The next hop of exactly this prefix, 0 when there is no such route.</summary>
    public uint Get(uint root, in RoutePrefix prefix)
    {
        uint entry = root;
        while (RouteEntry.IsChild(entry))
        {
            if (RouteEntry.IsLeaf(entry))
            {
                var leaf = (RouteLeaf*)At(entry);
                return PrefixOf(leaf) == prefix ? leaf->ValueAndLength & RouteEntry.MaxValue : 0;
            }
            RouteView node = View(entry);
            int n = node.Header->Byte;
            if (Departure(node, prefix) < n)
            {
                return 0;
            }
            if (prefix.LastByte == n)
            {
                return node.Find(prefix.Number);
            }
            entry = *node.EntryOf(prefix.ByteAt(n));
        }
        return 0;
    }

    /// <summary>Lists the routes of a table.</summary>
    public void Visit(uint root, ICollection<KeyValuePair<RoutePrefix, uint>> into)
    {
        if (root != 0)
        {
            Visit(root, default, into);
        }
    }

    private void Visit(uint entry, RoutePrefix before, ICollection<KeyValuePair<RoutePrefix, uint>> into)
    {
        if (RouteEntry.IsLeaf(entry))
        {
            var leaf = (RouteLeaf*)At(entry);
            into.Add(new(PrefixOf(leaf), leaf->ValueAndLength & RouteEntry.MaxValue));
            return;
        }
        RouteView node = View(entry);
        before = node.IsPage ? before : KeyOf(node.Header);
        foreach (uint prefix in node.Shorts)
        {
            into.Add(new(before.Append((int)(prefix >> 24)), prefix & RouteEntry.MaxValue));
        }
        foreach (byte slot in node.Longs)
        {
            into.Add(new(before.Append(RouteNode.Slots + slot), node.ValueOf(slot)));
        }
        for (int slot = 0; slot < RouteNode.Slots; slot++)
        {
            uint child = *node.EntryOf(slot);
            if (RouteEntry.IsChild(child))
            {
                Visit(child, before.Append(RouteNode.Slots + slot), into);
            }
        }
    }

    private byte* At(uint entry) => RouteEntry.At(_memory, entry);

    private RouteView View(uint entry) => new(_memory, entry, _isIPv6);

    private bool IsFresh(uint entry) => _batch.IsFresh(RouteEntry.UnitOf(entry));

    private uint Insert(uint entry, in RoutePrefix prefix, uint value)
    {
        if (RouteEntry.IsLeaf(entry))
        {
            return InsertAtLeaf(entry, prefix, value);
        }
        RouteView node = View(entry);
        int n = node.Header->Byte;
        int departure = Departure(node, prefix);
        if (departure < n)
        {
            // They part in bytes that the node skips: a new node there has both.
            _scratch.Begin(departure, node.Header->Cover);
            _scratch.SetChild(KeyOf(node.Header).ByteAt(departure), entry);
            AddToScratch(prefix, value);
            return Write(0, prefix);
        }
        if (prefix.LastByte == n)
        {
            uint present = node.Find(prefix.Number);
            _found = present != 0;
            if (present == value)
            {
                return entry;
            }
            _scratch.Load(node);
            _scratch.SetPrefix(prefix.Number, value);
            return Write(entry, prefix);
        }
        int slot = prefix.ByteAt(n);
        uint child = *node.EntryOf(slot);
        if (RouteEntry.IsChild(child))
        {
            return WithChild(entry, slot, child, Insert(child, prefix, value));
        }
        _scratch.Load(node);
        AddToScratch(prefix, value);
        return Write(entry, prefix);
    }

    private uint InsertAtLeaf(uint entry, in RoutePrefix prefix, uint value)
    {
        var leaf = (RouteLeaf*)At(entry);
        RoutePrefix other = PrefixOf(leaf);
        uint otherValue = leaf->ValueAndLength & RouteEntry.MaxValue;
        if (other == prefix)
        {
            _found = true;
            return otherValue == value ? entry : Replace(entry, NewLeaf(prefix, value, leaf->Cover));
        }
        int n = Math.Min(Math.Min(prefix.LastByte, other.LastByte), prefix.CommonBytes(other));
        _scratch.Begin(n, leaf->Cover);
        if (other.LastByte == n)
        {
            _scratch.SetPrefix(other.Number, otherValue);
            _batch.Retire(RouteEntry.UnitOf(entry));
        }
        else
        {
            _scratch.SetChild(other.ByteAt(n), entry);
        }
        AddToScratch(prefix, value);
        return Write(0, prefix);
    }

    /// <summary>Removes a prefix from a node. Gives 0 when it was the root and nothing is left.</summary>
    private uint Remove(uint entry, in RoutePrefix prefix)
    {
        RouteView node = View(entry);
        int n = node.Header->Byte;
        if (Departure(node, prefix) < n)
        {
            return entry;
        }
        if (prefix.LastByte == n)
        {
            _found = node.Find(prefix.Number) != 0;
            if (!_found)
            {
                return entry;
            }
            _scratch.Load(node);
            _scratch.RemovePrefix(prefix.Number);
            return WriteOrCollapse(entry, prefix);
        }
        int slot = prefix.ByteAt(n);
        uint child = *node.EntryOf(slot);
        if (!RouteEntry.IsChild(child))
        {
            return entry;
        }
        if (!RouteEntry.IsLeaf(child))
        {
            return WithChild(entry, slot, child, Remove(child, prefix));
        }
        _found = PrefixOf((RouteLeaf*)At(child)) == prefix;
        if (!_found)
        {
            return entry;
        }
        // Loaded before the leaf goes, which may hold the value of a prefix of the node.
        _scratch.Load(node);
        _scratch.RemoveChild(slot);
        _batch.Retire(RouteEntry.UnitOf(child));
        return WriteOrCollapse(entry, prefix);
    }

    /// <summary>The byte in which a prefix leaves the way to a node or ends, the node's stride byte at most.</summary>
    private int Departure(in RouteView node, in RoutePrefix prefix)
    {
        int n = Math.Min(node.Header->Byte, prefix.LastByte);
        // Whoever came to a page has compared all bytes before it.
        return node.IsPage ? n : Math.Min(n, prefix.CommonBytes(KeyOf(node.Header)));
    }

    private void AddToScratch(in RoutePrefix prefix, uint value)
    {
        if (prefix.LastByte == _scratch.Byte)
        {
            _scratch.SetPrefix(prefix.Number, value);
        }
        else
        {
            _scratch.SetChild(prefix.ByteAt(_scratch.Byte), NewLeaf(prefix, value, 0));
        }
    }

    /// <summary>A node that has lost something: too little may be left for a node of its own.</summary>
    private uint WriteOrCollapse(uint entry, in RoutePrefix prefix)
    {
        int prefixes = _scratch.PrefixCount, children = _scratch.ChildCount;
        if (_scratch.Byte == 0)
        {
            return prefixes + children == 0 ? Replace(entry, 0) : Write(entry, prefix);
        }
        if (prefixes + children > 1)
        {
            return Write(entry, prefix);
        }
        if (children == 1)
        {
            return Replace(entry, WithCover(_scratch.OnlyChild, _scratch.Cover));
        }
        (int number, uint value) = _scratch.OnlyPrefix;
        return Replace(entry, NewLeaf(prefix.Bytes(_scratch.Byte).Append(number), value, _scratch.Cover));
    }

    /// <summary>Writes the node that the scratch holds, in the place of another one when that is fresh and of the same size.</summary>
    /// <param name="old">The node whose place it takes, or 0.</param>
    /// <param name="below">A prefix with the bytes before the stride byte that all routes below have.</param>
    private uint Write(uint old, in RoutePrefix below)
    {
        ulong* bitmap = stackalloc ulong[4];
        int runs = _scratch.Paint(_withCover, bitmap);
        bool isPage = _scratch.Byte < 2;
        if (isPage)
        {
            new Span<ulong>(bitmap, 4).Fill(ulong.MaxValue);
            runs = RouteNode.Slots;
        }
        int header = RouteView.HeaderSizeOf(isPage, _isIPv6);
        int size = RouteView.SizeOf(header, runs, _scratch.Shorts, _scratch.Longs);
        uint routes = old != 0 ? ((RouteNode*)At(old))->Routes : 0;
        uint entry = old;
        if (old == 0 || !IsFresh(old) || RouteArena.BlockSize(View(old).Size) != RouteArena.BlockSize(size))
        {
            entry = (isPage ? RouteEntry.Page : RouteEntry.Node) | _batch.Allocate(size, _mayUseReserve);
        }
        var node = (RouteNode*)At(entry);
        for (int word = 0; word < 4; word++)
        {
            node->Bitmap[word] = bitmap[word];
        }
        node->Cover = _scratch.Cover;
        RouteNode.Count(node);
        node->Shorts = (byte)_scratch.Shorts;
        node->Longs = (ushort)_scratch.Longs;
        node->Byte = (byte)_scratch.Byte;
        int last = _isIPv6 ? 7 : 3;
        node->Shift = (byte)((last - (_scratch.Byte & last)) * 8);
        if (isPage)
        {
            node->Routes = routes;
        }
        else
        {
            SetKey(node, below.Bytes(_scratch.Byte));
        }
        _scratch.Write((uint*)((byte*)node + header), bitmap);
        return old == 0 ? entry : Replace(old, entry);
    }

    private uint NewLeaf(in RoutePrefix prefix, uint value, uint cover)
    {
        uint unit = _batch.Allocate(_isIPv6 ? sizeof(RouteLeaf) : RouteEntry.Unit, _mayUseReserve);
        uint entry = RouteEntry.Leaf | unit;
        var leaf = (RouteLeaf*)At(entry);
        leaf->ValueAndLength = value | ((uint)prefix.Length << 24);
        leaf->Cover = cover;
        if (_isIPv6)
        {
            leaf->KeyHigh = prefix.High;
            leaf->KeyLow = prefix.Low;
        }
        else
        {
            leaf->Key4 = prefix.Address4;
        }
        return entry;
    }

    private RoutePrefix PrefixOf(RouteLeaf* leaf) => _isIPv6
        ? new RoutePrefix(leaf->KeyHigh, leaf->KeyLow, (byte)(leaf->ValueAndLength >> 24))
        : new RoutePrefix((ulong)leaf->Key4 << 32, 0, (byte)(leaf->ValueAndLength >> 24));

    /// <summary>What all addresses under a node that is no page have before its stride byte.</summary>
    private RoutePrefix KeyOf(RouteNode* node) => _isIPv6
        ? new RoutePrefix(node->KeyHigh, node->KeyLow, (byte)(8 * node->Byte))
        : new RoutePrefix((ulong)node->Key4 << (64 - (8 * node->Byte)), 0, (byte)(8 * node->Byte));

    private void SetKey(RouteNode* node, in RoutePrefix key)
    {
        if (_isIPv6)
        {
            node->KeyHigh = key.High;
            node->KeyLow = key.Low;
        }
        else
        {
            node->Key4 = (uint)(key.High >> (64 - (8 * node->Byte)));
        }
    }

    /// <summary>The node with another child in a slot that has one.</summary>
    private uint WithChild(uint entry, int slot, uint old, uint child)
    {
        if (child == old)
        {
            return entry;
        }
        uint fresh = Fresh(entry);
        *View(fresh).EntryOf(slot) = child;
        return fresh;
    }

    /// <summary>The node or leaf with another cover.</summary>
    private uint WithCover(uint entry, uint cover)
    {
        if (*RouteView.CoverOf(_memory, entry) == cover)
        {
            return entry;
        }
        uint fresh = Fresh(entry);
        *RouteView.CoverOf(_memory, fresh) = cover;
        return fresh;
    }

    /// <summary>What may be changed in place: the thing itself, or a copy.</summary>
    private uint Fresh(uint entry)
    {
        if (IsFresh(entry))
        {
            return entry;
        }
        uint kind = RouteEntry.Kind(entry);
        int size = kind != RouteEntry.Leaf ? View(entry).Size : _isIPv6 ? sizeof(RouteLeaf) : RouteEntry.Unit;
        uint copy = kind | _batch.Allocate(size, _mayUseReserve);
        Buffer.MemoryCopy(At(entry), At(copy), size, size);
        return Replace(entry, copy);
    }

    private uint Replace(uint old, uint entry)
    {
        if (old != entry)
        {
            _batch.Retire(RouteEntry.UnitOf(old));
        }
        return entry;
    }
}
