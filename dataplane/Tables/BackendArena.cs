using System.Numerics;
using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>The memory for sets of backends is used up.</summary>
public sealed class BackendMemoryException(long bytes)
    : Exception($"the sets of backends need more than the {bytes / 1024} KiB there are for them");

/// <summary>
/// Hands out runs of units (<see cref="BackendSet.Unit"/>) of an arena: the binary buddy system (Knuth, TAOCP 2.5), except that of a
/// block the units behind what was asked for are given back at once. What is free is known to this object alone, apart from links in free blocks: after a crash the writer that comes
/// next says which runs are in use (<see cref="Mark"/>), and all else is free. Unit 0 is never handed out.
/// </summary>
internal sealed unsafe class BackendArena
{
    private const int Orders = 31;
    private const uint None = 0; // unit 0 is in no list
    private const byte NotFree = byte.MaxValue;

    [StructLayout(LayoutKind.Sequential)]
    private struct Links
    {
        public uint Next;
        public uint Previous;
    }

    private readonly byte* _memory;
    private readonly uint _units;

    /// <summary>By unit: the order of the free block that begins there.</summary>
    private readonly byte[] _free;

    /// <summary>By order, the first free block.</summary>
    private readonly uint[] _first = new uint[Orders];

    /// <summary>One bit per order that has free blocks.</summary>
    private uint _available;

    /// <summary>One bit per unit in use, only until <see cref="Seal"/>.</summary>
    private ulong[]? _marks;

    /// <param name="memory">Aligned to a cache line.</param>
    /// <param name="length">Bytes. What exceeds whole units is not used.</param>
    public BackendArena(byte* memory, ulong length)
    {
        _memory = memory;
        _units = (uint)Math.Min(length / BackendSet.Unit, 1u << (Orders - 1));
        _free = new byte[_units];
        _free.AsSpan().Fill(NotFree);
        _marks = new ulong[(_units + 63) / 64];
    }

    /// <summary>Bytes of the runs in use.</summary>
    public long UsedBytes { get; private set; }

    /// <summary>For tests: what is freed is filled with rubbish, which a reader that still reads it would notice.</summary>
    public bool Poison { get; set; }

    public long Length => (long)_units * BackendSet.Unit;

    public BackendSet* At(uint unit) => BackendSet.At(_memory, unit);

    /// <summary>During construction: a run is in use. False when there cannot be one, or it overlaps another: the arena is damaged.</summary>
    public bool Mark(uint unit, int bytes)
    {
        uint count = Units(bytes);
        if (unit == None || unit >= _units || count > _units - unit)
        {
            return false;
        }
        for (uint i = unit; i < unit + count; i++)
        {
            if ((_marks![i / 64] & (1ul << (int)(i % 64))) != 0)
            {
                return false;
            }
            _marks[i / 64] |= 1ul << (int)(i % 64);
        }
        UsedBytes += (long)count * BackendSet.Unit;
        return true;
    }

    /// <summary>Whether a header may be read there, during construction.</summary>
    public bool Contains(uint unit) => unit != None && unit < _units;

    /// <summary>Ends construction: everything not marked is free.</summary>
    public void Seal()
    {
        for (uint from = 1; from < _units;)
        {
            uint to = from;
            while (to < _units && (_marks![to / 64] & (1ul << (int)(to % 64))) == 0)
            {
                to++;
            }
            Release(from, to);
            from = to + 1;
        }
        _marks = null;
    }

    /// <summary>Takes a run. Its contents are whatever they are.</summary>
    /// <exception cref="BackendMemoryException">There is none of that length.</exception>
    public uint Allocate(int bytes)
    {
        uint count = Units(bytes);
        int order = BitOperations.Log2(BitOperations.RoundUpToPowerOf2(count));
        uint larger = _available >> order << order;
        if (larger == 0)
        {
            throw new BackendMemoryException(Length);
        }
        int found = BitOperations.TrailingZeroCount(larger);
        uint unit = _first[found];
        Unlink(unit, found);
        Release(unit + count, unit + (1u << found));
        UsedBytes += (long)count * BackendSet.Unit;
        return unit;
    }

    /// <summary>Gives a run back that nobody reads any more.</summary>
    public void Free(uint unit, int bytes)
    {
        uint count = Units(bytes);
        if (Poison)
        {
            new Span<byte>(At(unit), (int)count * BackendSet.Unit).Fill(0xEE);
        }
        UsedBytes -= (long)count * BackendSet.Unit;
        Release(unit, unit + count);
    }

    private static uint Units(int bytes) => (uint)((bytes + BackendSet.Unit - 1) / BackendSet.Unit);

    /// <summary>Frees the units of a range, in as large blocks as their alignment allows, each joined with its buddy.</summary>
    private void Release(uint from, uint to)
    {
        while (from < to)
        {
            int order = Math.Min(BitOperations.TrailingZeroCount(from), BitOperations.Log2(to - from));
            uint next = from + (1u << order);
            uint block = from;
            for (; order < Orders - 1; order++)
            {
                uint buddy = block ^ (1u << order);
                if (buddy == 0 || buddy >= _units || _free[buddy] != order)
                {
                    break;
                }
                Unlink(buddy, order);
                block &= ~(1u << order);
            }
            Link(block, order);
            from = next;
        }
    }

    private void Link(uint unit, int order)
    {
        var links = (Links*)At(unit);
        *links = new Links { Next = _first[order], Previous = None };
        if (_first[order] != None)
        {
            ((Links*)At(_first[order]))->Previous = unit;
        }
        _first[order] = unit;
        _free[unit] = (byte)order;
        _available |= 1u << order;
    }

    private void Unlink(uint unit, int order)
    {
        Links links = *(Links*)At(unit);
        if (links.Next != None)
        {
            ((Links*)At(links.Next))->Previous = links.Previous;
        }
        if (links.Previous != None)
        {
            ((Links*)At(links.Previous))->Next = links.Next;
        }
        else
        {
            _first[order] = links.Next;
        }
        _free[unit] = NotFree;
        if (_first[order] == None)
        {
            _available &= ~(1u << order);
        }
    }
}
