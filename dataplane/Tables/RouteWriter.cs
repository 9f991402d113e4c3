namespace Dataplane.Tables;

/// <summary>
/// Changes the tables that <see cref="RouteTable"/> reads, for the one writer of a segment. Changes are made to copies of the nodes
/// that readers may see; copies made since the last <see cref="Commit"/> are changed in place, so a batch of many routes copies each
/// node once. What a commit puts out of use is free again after <see cref="Reclaim"/>, which is called when the grace period is over.
/// <para>
/// What it costs: a change copies the nodes from the root to where it happens, some kilobytes whatever the number of routes. One of a
/// short prefix copies also the nodes right below its own, 256 at most.
/// </para>
/// </summary>
public sealed unsafe class RouteWriter
{
    private readonly RouteArena _arena;
    private readonly RouteBatch _batch;
    private readonly RouteTrie _trie4, _trie6;
    private readonly SortedDictionary<int, (RouteList Four, RouteList Six)> _vrfs = [];
    private bool _isFull;

    /// <param name="arena">Memory of the routes, aligned to a cache line.</param>
    /// <param name="length">Its length in bytes.</param>
    /// <param name="roots">The tables that readers may be using. What they do not lead to is free.</param>
    /// <exception cref="InvalidDataException">They lead to something that no writer has made.</exception>
    public RouteWriter(byte* arena, ulong length, IEnumerable<(int Vrf, uint Root4, uint Root6)> roots)
    {
        _arena = new RouteArena(arena, length);
        _batch = new RouteBatch(_arena);
        var scratch = new RouteScratch();
        _trie4 = new RouteTrie(arena, _batch, scratch, isIPv6: false);
        _trie6 = new RouteTrie(arena, _batch, scratch, isIPv6: true);
        foreach ((int vrf, uint root4, uint root6) in roots)
        {
            if (root4 != 0 || root6 != 0)
            {
                new RouteMarker(arena, _arena, isIPv6: false).MarkTable(root4);
                new RouteMarker(arena, _arena, isIPv6: true).MarkTable(root6);
                _vrfs.Add(vrf, (new RouteList(_trie4, root4), new RouteList(_trie6, root6)));
            }
        }
        _arena.Seal();
    }

    /// <summary>Bytes that the routes take, with what was replaced and is not free yet.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>As <see cref="UsedBytes"/>, with the blocks that are free but can only be used for nodes of their size.</summary>
    public long TakenBytes => _arena.TakenBytes;

    /// <summary>VRFs with changes, and their roots after the next commit.</summary>
    public IEnumerable<(int Vrf, uint Root4, uint Root6)> Touched
    {
        get
        {
            CheckNotFull();
            return _vrfs
                .Where(v => v.Value.Four.Root != v.Value.Four.Committed || v.Value.Six.Root != v.Value.Six.Committed)
                .Select(v => (v.Key, v.Value.Four.Root, v.Value.Six.Root));
        }
    }

    /// <summary>For tests: see <see cref="RouteArena.Poison"/>.</summary>
    internal bool Poison
    {
        set => _arena.Poison = value;
    }

    /// <summary>The IPv4 prefixes of a VRF with their next hops, those not committed included.</summary>
    public RouteList Prefixes4(int vrf) => Lists(vrf).Four;

    /// <summary>The IPv6 prefixes of a VRF with their next hops, those not committed included.</summary>
    public RouteList Prefixes6(int vrf) => Lists(vrf).Six;

    /// <summary>Makes or changes a route.</summary>
    /// <param name="vrf">Index of the VRF.</param>
    /// <param name="prefix">See <see cref="RoutePrefix.Of4"/>.</param>
    /// <param name="nextHop">1 to 2^24 - 1.</param>
    /// <exception cref="ArgumentException">There is no such prefix or next hop. Nothing has changed.</exception>
    /// <exception cref="RouteMemoryException">No room. Everything since the last commit has to be abandoned.</exception>
    public void Set4(int vrf, RoutePrefix prefix, uint nextHop) => Set(_trie4, Lists(vrf).Four, Checked(prefix, 32), nextHop);

    /// <inheritdoc cref="Set4"/>
    public void Set6(int vrf, RoutePrefix prefix, uint nextHop) => Set(_trie6, Lists(vrf).Six, Checked(prefix, 128), nextHop);

    /// <summary>Removes a route. False when there is none.</summary>
    /// <exception cref="ArgumentException">There is no such prefix. Nothing has changed.</exception>
    /// <exception cref="RouteMemoryException">No room for the copies. Everything since the last commit has to be abandoned.</exception>
    public bool Remove4(int vrf, RoutePrefix prefix) => Remove(_trie4, Lists(vrf).Four, Checked(prefix, 32));

    /// <inheritdoc cref="Remove4"/>
    public bool Remove6(int vrf, RoutePrefix prefix) => Remove(_trie6, Lists(vrf).Six, Checked(prefix, 128));

    /// <summary>The roots of <see cref="Touched"/> are what readers find from now on.</summary>
    public void Commit()
    {
        CheckNotFull();
        _batch.Commit();
        foreach ((RouteList four, RouteList six) in _vrfs.Values)
        {
            four.Commit();
            six.Commit();
        }
    }

    /// <summary>No reader uses any more what commits have put out of use.</summary>
    public void Reclaim() => _batch.Reclaim();

    /// <summary>Takes back everything since the last commit.</summary>
    public void Abandon()
    {
        _batch.Abandon();
        foreach ((RouteList four, RouteList six) in _vrfs.Values)
        {
            four.Abandon();
            six.Abandon();
        }
        _isFull = false;
    }

    private (RouteList Four, RouteList Six) Lists(int vrf)
    {
        if (!_vrfs.TryGetValue(vrf, out (RouteList Four, RouteList Six) lists))
        {
            lists = (new RouteList(_trie4, 0), new RouteList(_trie6, 0));
            _vrfs.Add(vrf, lists);
        }
        return lists;
    }

    private void Set(RouteTrie trie, RouteList list, in RoutePrefix prefix, uint nextHop)
    {
        if (nextHop is 0 or > RouteEntry.MaxValue)
        {
            throw new ArgumentOutOfRangeException(nameof(nextHop), nextHop, "the index of a next hop must be from 1 to 16,777,215");
        }
        CheckNotFull();
        _isFull = true; // unless it comes to an end
        list.Root = trie.Set(list.Root, prefix, nextHop);
        _isFull = false;
    }

    private bool Remove(RouteTrie trie, RouteList list, in RoutePrefix prefix)
    {
        CheckNotFull();
        _isFull = true;
        list.Root = trie.Remove(list.Root, prefix, out bool found);
        _isFull = false;
        return found;
    }

    private static RoutePrefix Checked(in RoutePrefix prefix, int most) =>
        prefix.Length <= most && prefix == RoutePrefix.Of6(prefix.High, prefix.Low, prefix.Length)
            ? prefix : throw new ArgumentException($"{prefix} is no prefix of at most {most} bits", nameof(prefix));

    private void CheckNotFull()
    {
        if (_isFull)
        {
            throw new InvalidOperationException("the memory for routes was used up: the commit can only be abandoned");
        }
    }
}
