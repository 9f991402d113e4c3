using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// Makes and changes the tables of an arena (<see cref="RouteTable"/>). There is one writer per arena; it is not thread-safe. Changes
/// are made in commits: the caller begins one, gives roots and gets the new ones, makes all of them visible to readers at once, and
/// says <see cref="Commit"/>. What the commit replaced is used again after <see cref="Release"/>, for which a grace period must be over.
/// <para>
/// A change copies the nodes from the root to where it happens, a few hundred bytes; more changes in the same commit change these
/// copies in place. A change of a prefix copies also the nodes right below its own, at most 256.
/// </para>
/// </summary>
public sealed unsafe class RouteWriter
{
    private readonly byte* _memory;
    private readonly RouteArena _arena;
    private readonly RouteBatch _batch;
    private readonly RouteTrie _trie4, _trie6;
    private State _state;

    private enum State
    {
        Idle, Begun, Failed,
    }

    /// <summary>A writer for an arena that is new, or that another writer has left.</summary>
    /// <param name="memory">The first byte of the arena, aligned to a cache line.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="roots4">Roots of all IPv4 tables that readers may use. What they do not reach is free.</param>
    /// <param name="roots6">Likewise of the IPv6 tables.</param>
    /// <exception cref="InvalidDataException">The roots lead to something that no writer has made.</exception>
    public RouteWriter(byte* memory, ulong length, ReadOnlySpan<uint> roots4 = default, ReadOnlySpan<uint> roots6 = default)
    {
        _memory = memory;
        _arena = new RouteArena(memory, length);
        foreach (uint root in roots4)
        {
            new RouteMarker(memory, _arena, isIPv6: false).MarkTable(root);
        }
        foreach (uint root in roots6)
        {
            new RouteMarker(memory, _arena, isIPv6: true).MarkTable(root);
        }
        _arena.Seal();
        _batch = new RouteBatch(_arena);
        var scratch = new RouteScratch();
        _trie4 = new RouteTrie(memory, _batch, scratch, isIPv6: false);
        _trie6 = new RouteTrie(memory, _batch, scratch, isIPv6: true);
    }

    /// <summary>Bytes of the arena.</summary>
    public long Length => _arena.Length;

    /// <summary>Bytes in use by tables, those that readers may still be reading included.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>As <see cref="UsedBytes"/>, with the rest of what was cut for blocks of their size.</summary>
    public long TakenBytes => _arena.TakenBytes;

    /// <summary>What readers see.</summary>
    public RouteTable Table => new(_memory);

    /// <summary>See <see cref="RouteArena.Poison"/>.</summary>
    internal bool Poison
    {
        set => _arena.Poison = value;
    }

    /// <summary>Begins a commit.</summary>
    public void Begin()
    {
        if (_state != State.Idle)
        {
            throw new InvalidOperationException("a commit is already begun");
        }
        _state = State.Begun;
    }

    /// <summary>Adds an IPv4 route or changes its next hop.</summary>
    /// <param name="root">The table, 0 for an empty one; what it is from now on.</param>
    /// <param name="prefix">Host order, zeros behind its length.</param>
    /// <param name="length">Bits, 0 to 32.</param>
    /// <param name="nextHop">1 to 2^24 - 1.</param>
    /// <returns>Whether it was not there before.</returns>
    /// <exception cref="ArgumentException">There is no such prefix or next hop. Nothing has changed.</exception>
    /// <exception cref="RouteTableFullException">No room: <see cref="Abandon"/> the commit, nothing else is possible.</exception>
    public bool Set4(ref uint root, uint prefix, int length, uint nextHop) => Set(_trie4, ref root, RoutePrefix.Of(prefix, length), nextHop);

    /// <summary>Adds an IPv6 route or changes its next hop; see <see cref="Set4"/>.</summary>
    public bool Set6(ref uint root, IPv6Number prefix, int length, uint nextHop) => Set(_trie6, ref root, RoutePrefix.Of(prefix, length), nextHop);

    /// <summary>Removes an IPv4 route. False when it was not there.</summary>
    /// <exception cref="ArgumentException">There is no such prefix. Nothing has changed.</exception>
    /// <exception cref="RouteTableFullException">No room: <see cref="Abandon"/> the commit, nothing else is possible.</exception>
    public bool Remove4(ref uint root, uint prefix, int length) => Remove(_trie4, ref root, RoutePrefix.Of(prefix, length));

    /// <summary>Removes an IPv6 route; see <see cref="Remove4"/>.</summary>
    public bool Remove6(ref uint root, IPv6Number prefix, int length) => Remove(_trie6, ref root, RoutePrefix.Of(prefix, length));

    /// <summary>Removes all routes of an IPv4 table.</summary>
    public void Clear4(ref uint root) => Clear(_trie4, ref root);

    /// <summary>Removes all routes of an IPv6 table.</summary>
    public void Clear6(ref uint root) => Clear(_trie6, ref root);

    /// <summary>The next hop of exactly this prefix, 0 when there is no such route.</summary>
    public uint Get4(uint root, uint prefix, int length) => _trie4.Get(root, RoutePrefix.Of(prefix, length));

    /// <summary>The next hop of exactly this prefix, 0 when there is no such route.</summary>
    public uint Get6(uint root, IPv6Number prefix, int length) => _trie6.Get(root, RoutePrefix.Of(prefix, length));

    /// <summary>Calls back with prefix, length and next hop of every route of an IPv4 table, in no particular order.</summary>
    public void Visit4(uint root, Action<uint, int, uint> each)
    {
        if (root != 0)
        {
            _trie4.Visit(root, 0, (prefix, value) => each((uint)(prefix.Bits >> 96), prefix.Length, value));
        }
    }

    /// <summary>Calls back with prefix, length and next hop of every route of an IPv6 table, in no particular order.</summary>
    public void Visit6(uint root, Action<IPv6Number, int, uint> each)
    {
        if (root != 0)
        {
            _trie6.Visit(root, 0, (prefix, value) => each(new IPv6Number((ulong)(prefix.Bits >> 64), (ulong)prefix.Bits), prefix.Length, value));
        }
    }

    /// <summary>
    /// Ends a commit: readers have been given the new roots. The old ones lead to the old tables until <see cref="Release"/>.
    /// </summary>
    public void Commit()
    {
        CheckBegun();
        _batch.Commit();
        _state = State.Idle;
    }

    /// <summary>
    /// Frees what commits have replaced. Only when a grace period has passed since the last of them: no reader may have a root from
    /// before it.
    /// </summary>
    public void Release() => _batch.Release();

    /// <summary>Takes back everything since <see cref="Begin"/>. The roots from before it are as they were.</summary>
    public void Abandon()
    {
        if (_state != State.Idle)
        {
            _batch.Abandon();
            _state = State.Idle;
        }
    }

    private bool Set(RouteTrie trie, ref uint root, in RoutePrefix prefix, uint nextHop)
    {
        if (nextHop is 0 or > RouteEntry.MaxValue)
        {
            throw new ArgumentOutOfRangeException(nameof(nextHop), nextHop, $"a next hop is from 1 to {RouteEntry.MaxValue}");
        }
        CheckBegun();
        _state = State.Failed;
        bool added = trie.Set(ref root, prefix, nextHop);
        _state = State.Begun;
        return added;
    }

    private bool Remove(RouteTrie trie, ref uint root, in RoutePrefix prefix)
    {
        CheckBegun();
        _state = State.Failed;
        bool removed = trie.Remove(ref root, prefix);
        _state = State.Begun;
        return removed;
    }

    private void Clear(RouteTrie trie, ref uint root)
    {
        CheckBegun();
        trie.Drop(root);
        root = 0;
    }

    private void CheckBegun()
    {
        if (_state != State.Begun)
        {
            throw new InvalidOperationException(_state == State.Idle ? "no commit is begun" : "the commit has failed and can only be abandoned");
        }
    }
}
