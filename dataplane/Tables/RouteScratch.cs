using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane.Tables;

/// <summary>
/// A node taken apart, to be changed and written anew: its prefixes and its children. <see cref="Paint"/> makes the slots of these.
/// One per writer, used again and again.
/// </summary>
internal sealed unsafe class RouteScratch
{
    /// <summary>So that the slot before the first one can be compared with too.</summary>
    private const int Margin = 8;

    private readonly uint[] _memory = GC.AllocateArray<uint>(Margin + (3 * RouteNode.Slots), pinned: true);
    private readonly uint* _painted, _children, _longs;
    private readonly List<uint> _shorts = [];
    private SlotSet _hasLong, _hasChild, _newCover;

    public RouteScratch()
    {
        _painted = (uint*)Unsafe.AsPointer(ref _memory[Margin]);
        _children = _painted + RouteNode.Slots;
        _longs = _children + RouteNode.Slots;
    }

    /// <summary>A bit per slot.</summary>
    private struct SlotSet
    {
        private fixed ulong _words[4];

        public readonly bool Has(int slot) => (_words[slot / 64] & (1ul << slot)) != 0;
        public void Add(int slot) => _words[slot / 64] |= 1ul << slot;
        public void Remove(int slot) => _words[slot / 64] &= ~(1ul << slot);
        public readonly ulong Word(int index) => _words[index];

        public readonly int Count
        {
            get
            {
                int n = 0;
                for (int i = 0; i < 4; i++)
                {
                    n += BitOperations.PopCount(_words[i]);
                }
                return n;
            }
        }

        /// <summary>The first slot from one on, or 256.</summary>
        public readonly int Next(int from)
        {
            for (int word = from / 64; word < 4; word++)
            {
                ulong rest = _words[word] & (word == from / 64 ? ulong.MaxValue << from : ulong.MaxValue);
                if (rest != 0)
                {
                    return (word * 64) + BitOperations.TrailingZeroCount(rest);
                }
            }
            return RouteNode.Slots;
        }
    }

    /// <summary>The stride byte of the node.</summary>
    public int Byte { get; private set; }

    /// <summary>See <see cref="RouteNode.Cover"/>.</summary>
    public uint Cover { get; private set; }

    public int PrefixCount => _shorts.Count + _hasLong.Count;
    public int ChildCount => _hasChild.Count;
    public int Shorts => _shorts.Count;
    public int Longs => _hasLong.Count;

    /// <summary>A node without prefixes and children.</summary>
    public void Begin(int strideByte, uint cover)
    {
        Byte = strideByte;
        Cover = cover;
        _shorts.Clear();
        _hasLong = _hasChild = _newCover = default;
    }

    /// <summary>Takes a node apart.</summary>
    public void Load(in RouteView node)
    {
        Begin(node.Header->Byte, node.Header->Cover);
        uint* entry = node.Entries;
        for (int word = 0; word < 4; word++)
        {
            for (ulong rest = node.Header->Bitmap[word]; rest != 0; rest &= rest - 1, entry++)
            {
                if (RouteEntry.IsChild(*entry))
                {
                    int slot = (word * 64) + BitOperations.TrailingZeroCount(rest);
                    _children[slot] = *entry;
                    _hasChild.Add(slot);
                }
            }
        }
        foreach (uint prefix in node.Shorts)
        {
            _shorts.Add(prefix);
        }
        foreach (byte slot in node.Longs)
        {
            _longs[slot] = node.ValueOf(slot);
            _hasLong.Add(slot);
        }
    }

    /// <summary>Adds a prefix, or changes its value.</summary>
    /// <param name="number">See <see cref="RoutePrefix.Number"/>.</param>
    /// <param name="value">Its next hop.</param>
    public void SetPrefix(int number, uint value)
    {
        ChangeCovers(number);
        if (number >= RouteNode.Slots)
        {
            _longs[number - RouteNode.Slots] = value;
            _hasLong.Add(number - RouteNode.Slots);
            return;
        }
        int at = FindShort(number, out bool found);
        if (!found)
        {
            _shorts.Insert(at, 0);
        }
        _shorts[at] = ((uint)number << 24) | value;
    }

    /// <summary>Removes a prefix that is there.</summary>
    public void RemovePrefix(int number)
    {
        ChangeCovers(number);
        if (number >= RouteNode.Slots)
        {
            _hasLong.Remove(number - RouteNode.Slots);
        }
        else
        {
            _shorts.RemoveAt(FindShort(number, out _));
        }
    }

    /// <summary>Puts a child into a slot. Its cover may be wrong.</summary>
    public void SetChild(int slot, uint entry)
    {
        _children[slot] = entry;
        _hasChild.Add(slot);
        _newCover.Add(slot);
    }

    public void RemoveChild(int slot) => _hasChild.Remove(slot);

    /// <summary>The only prefix, by number and value.</summary>
    public (int Number, uint Value) OnlyPrefix
    {
        get
        {
            int slot = _hasLong.Next(0);
            return slot < RouteNode.Slots ? (RouteNode.Slots + slot, _longs[slot]) : ((int)(_shorts[0] >> 24), _shorts[0] & RouteEntry.MaxValue);
        }
    }

    /// <summary>The only child.</summary>
    public uint OnlyChild => _children[_hasChild.Next(0)];

    /// <summary>Makes the slots: shorter prefixes first, then longer ones over them, then the children.</summary>
    /// <param name="withCover">Gives a child that is the given one and has the given cover.</param>
    /// <param name="bitmap">Where runs of equal slots begin.</param>
    /// <returns>The number of runs.</returns>
    public int Paint(Func<uint, uint, uint> withCover, ulong* bitmap)
    {
        var painted = new Span<uint>(_painted, RouteNode.Slots);
        painted.Clear();
        foreach (uint prefix in _shorts)
        {
            (int first, int count) = SlotsOf((int)(prefix >> 24));
            painted.Slice(first, count).Fill(prefix & RouteEntry.MaxValue);
        }
        for (int slot = _hasLong.Next(0); slot < RouteNode.Slots; slot = _hasLong.Next(slot + 1))
        {
            painted[slot] = _longs[slot];
        }
        for (int slot = _hasChild.Next(0); slot < RouteNode.Slots; slot = _hasChild.Next(slot + 1))
        {
            painted[slot] = _newCover.Has(slot) ? withCover(_children[slot], painted[slot]) : _children[slot];
        }
        return FindRuns(bitmap);
    }

    /// <summary>Writes what lies behind a header: the entries of the slots in a bitmap, then the prefixes.</summary>
    public void Write(uint* entries, ulong* bitmap)
    {
        for (int word = 0; word < 4; word++)
        {
            for (ulong rest = bitmap[word]; rest != 0; rest &= rest - 1)
            {
                *entries++ = _painted[(word * 64) + BitOperations.TrailingZeroCount(rest)];
            }
        }
        foreach (uint prefix in _shorts)
        {
            *entries++ = prefix;
        }
        byte* longs = (byte*)entries;
        for (int slot = _hasLong.Next(0); slot < RouteNode.Slots; slot = _hasLong.Next(slot + 1))
        {
            *longs++ = (byte)slot;
        }
    }

    private int FindRuns(ulong* bitmap)
    {
        _painted[-1] = ~_painted[0];
        int runs = 0;
        for (int word = 0; word < 4; word++)
        {
            ulong bits = 0;
            for (int i = 0; i < 64; i += 8)
            {
                uint* at = _painted + (word * 64) + i;
                uint equal = Vector256.Equals(Vector256.Load(at), Vector256.Load(at - 1)).ExtractMostSignificantBits();
                bits |= (ulong)(byte)~equal << i;
            }
            bitmap[word] = bits;
            runs += BitOperations.PopCount(bits);
        }
        return runs;
    }

    /// <summary>What the children under a prefix are covered by may be another value from now on.</summary>
    private void ChangeCovers(int number)
    {
        (int first, int count) = SlotsOf(number);
        for (int slot = _hasChild.Next(first); slot < first + count; slot = _hasChild.Next(slot + 1))
        {
            _newCover.Add(slot);
        }
    }

    private static (int First, int Count) SlotsOf(int number)
    {
        int free = 8 - BitOperations.Log2((uint)number);
        return ((number << free) - RouteNode.Slots, 1 << free);
    }

    private int FindShort(int number, out bool found)
    {
        int at = 0;
        while (at < _shorts.Count && _shorts[at] >> 24 < number)
        {
            at++;
        }
        found = at < _shorts.Count && _shorts[at] >> 24 == number;
        return at;
    }
}
