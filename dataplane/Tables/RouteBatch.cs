namespace Dataplane.Tables;

/// <summary>
/// The lives of blocks across commits. One that was made since the last commit is fresh: no reader knows it, so it may be changed
/// in place and freed at once. One that was there before is replaced by a copy and stays as it is until the commit and a grace
/// period are over.
/// </summary>
internal sealed class RouteBatch
{
    private readonly RouteArena _arena;
    private readonly ulong[] _isFresh; // one bit per unit
    private readonly List<uint> _fresh = []; // may name blocks that are not fresh any more, or name one twice
    private readonly List<uint> _replaced = [];
    private readonly List<uint> _graves = [];

    public RouteBatch(RouteArena arena)
    {
        _arena = arena;
        _isFresh = new ulong[arena.Length / RouteEntry.Unit / 64];
    }

    public bool IsFresh(uint unit) => (_isFresh[unit / 64] & (1ul << (int)(unit % 64))) != 0;

    public uint Allocate(int size, bool mayUseReserve)
    {
        uint unit = _arena.Allocate(size, mayUseReserve);
        _isFresh[unit / 64] |= 1ul << (int)(unit % 64);
        _fresh.Add(unit);
        return unit;
    }

    /// <summary>The table does not use a block any more.</summary>
    public void Retire(uint unit)
    {
        if (IsFresh(unit))
        {
            _isFresh[unit / 64] &= ~(1ul << (int)(unit % 64));
            _arena.Free(unit);
        }
        else
        {
            _replaced.Add(unit);
        }
    }

    /// <summary>The fresh blocks belong to readers from now on, the replaced ones until <see cref="Reclaim"/>.</summary>
    public void Commit()
    {
        foreach (uint unit in _fresh)
        {
            _isFresh[unit / 64] &= ~(1ul << (int)(unit % 64));
        }
        Empty(_fresh);
        _graves.AddRange(_replaced);
        Empty(_replaced);
    }

    /// <summary>Frees what commits have replaced.</summary>
    public void Reclaim()
    {
        _graves.ForEach(_arena.Free);
        Empty(_graves);
    }

    /// <summary>Frees what is fresh, and keeps what would have been replaced.</summary>
    public void Abandon()
    {
        Empty(_replaced);
        foreach (uint unit in _fresh)
        {
            if (IsFresh(unit))
            {
                Retire(unit);
            }
        }
        Empty(_fresh);
    }

    /// <summary>The room of a very large commit is not kept for the small ones that follow.</summary>
    private static void Empty(List<uint> list)
    {
        list.Clear();
        if (list.Capacity > 1 << 16)
        {
            list.Capacity = 0;
        }
    }
}
