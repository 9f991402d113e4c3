namespace Dataplane.Tables;

/// <summary>
/// The memory of the routes, in units of one cache line, and which of them are free. What is free is known to the writer alone: the
/// memory holds nothing about it, so a writer that takes over finds out by following the roots. Unit 0 is never used.
/// </summary>
internal sealed unsafe class RouteArena
{
    public const int UnitSize = 64;

    /// <summary>Units of a page of 256 slots.</summary>
    public const int PageUnits = 256 * 8 / UnitSize;

    /// <summary>The largest block: a node in which every slot is a run of its own.</summary>
    private const int MaxUnits = PageUnits + 1;

    private readonly byte* _memory;
    private readonly uint _end;
    private readonly Stack<uint>[] _free = [.. Enumerable.Range(0, MaxUnits + 1).Select(_ => new Stack<uint>())];

    /// <summary>Nobody has used what begins here.</summary>
    private uint _fresh = 1;

    public RouteArena(byte* memory, ulong length)
    {
        _memory = memory;
        _end = (uint)Math.Min(length / UnitSize, int.MaxValue);
    }

    /// <summary>Units in use.</summary>
    public long Used { get; private set; }

    /// <summary>Bytes in use.</summary>
    public long UsedBytes => Used * UnitSize;

    public void* At(uint unit) => _memory + ((ulong)unit * UnitSize);

    public static int UnitsOf(int bytes) => (bytes + UnitSize - 1) / UnitSize;

    /// <summary>A block of so many units, with whatever is in it. 0 when there is none.</summary>
    public uint Allocate(int units)
    {
        uint block = TryAllocate(units);
        if (block == 0 && Merge())
        {
            block = TryAllocate(units);
        }
        Used += block != 0 ? units : 0;
        return block;
    }

    public void Free(uint block, int units)
    {
        _free[units].Push(block);
        Used -= units;
    }

    /// <summary>Says what is in use, of an arena that another writer has left.</summary>
    /// <param name="blocks">First unit and number of units, each once.</param>
    public void Adopt(IEnumerable<(uint Block, int Units)> blocks)
    {
        foreach (Stack<uint> stack in _free)
        {
            stack.Clear();
        }
        uint at = 1;
        Used = 0;
        foreach ((uint block, int units) in blocks.OrderBy(b => b.Block))
        {
            Release(at, block);
            at = block + (uint)units;
            Used += units;
        }
        _fresh = at;
    }

    private uint TryAllocate(int units)
    {
        if (_free[units].TryPop(out uint block))
        {
            return block;
        }
        if (_end - _fresh >= units)
        {
            block = _fresh;
            _fresh += (uint)units;
            return block;
        }
        for (int larger = units + 1; larger <= MaxUnits; larger++)
        {
            if (_free[larger].TryPop(out block))
            {
                _free[larger - units].Push(block + (uint)units);
                return block;
            }
        }
        return 0;
    }

    /// <summary>Makes large free blocks of small ones that lie side by side. False when that makes none.</summary>
    private bool Merge()
    {
        (uint Block, int Units)[] all = [.. _free.SelectMany((stack, units) => stack.Select(b => (Block: b, Units: units))).OrderBy(b => b.Block)];
        foreach (Stack<uint> stack in _free)
        {
            stack.Clear();
        }
        bool merged = false;
        for (int i = 0; i < all.Length;)
        {
            uint start = all[i].Block, end = start + (uint)all[i].Units;
            for (i++; i < all.Length && all[i].Block == end; i++)
            {
                end += (uint)all[i].Units;
                merged = true;
            }
            Release(start, end);
        }
        return merged;
    }

    private void Release(uint start, uint end)
    {
        while (start < end)
        {
            int units = (int)Math.Min(end - start, MaxUnits);
            _free[units].Push(start);
            start += (uint)units;
        }
    }
}
