using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>
/// Entries that may make room for others, in the order in which one worker got to know of them: what it has begun itself, and what it saw end. The
/// oldest is found without looking for it, its lines can be asked for beforehand, and they are as a rule in the cache of this worker's processor, since
/// nobody else has written them.
/// <para>
/// It is a memory and no list: that an entry is gone, or makes no room any more, is found out when its turn comes. When there are more than
/// it holds the oldest are forgotten.
/// </para>
/// </summary>
internal sealed unsafe class RoomQueue
{
    // Eight bytes each: slot, the lower bits of its count of lives, those of the second in which it was seen.
    private readonly ulong[] _memory;
    private readonly ulong* _items;
    private readonly uint _mask;
    private uint _first, _end;

    private const uint Ahead = 64;

    /// <param name="capacity">How many it holds at least.</param>
    public RoomQueue(int capacity)
    {
        // What has not been written is not read: pages that nobody needs are none.
        _memory = GC.AllocateUninitializedArray<ulong>((int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, capacity)), pinned: true);
        _items = (ulong*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_memory));
        _mask = (uint)_memory.Length - 1;
    }

    public uint Count => _end - _first;

    /// <summary>An entry that is in the queue.</summary>
    public readonly struct Item(ulong packed)
    {
        public uint Index => (uint)packed;

        /// <summary>Whether it is an entry's present life, as good as certainly.</summary>
        public bool IsOf(ulong control) => (ushort)(packed >> 32) == (ushort)((uint)control >> 2);

        /// <summary>Whether the entry has had packets since, in a later second.</summary>
        public bool IsOlderThan(uint seen) => (ushort)(packed >> 48) != (ushort)seen;
    }

    /// <summary>Adds an entry as the youngest.</summary>
    /// <param name="index">Its slot.</param>
    /// <param name="control">Its control word.</param>
    /// <param name="seen">The second of its latest packet.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Push(uint index, ulong control, uint seen)
    {
        _items[_end & _mask] = index | ((ulong)(ushort)((uint)control >> 2) << 32) | ((ulong)(ushort)seen << 48);
        // The next lock waits for what is written: that should be in the cache by then.
        ConnectionTable.Prefetch(_items + ((_end + Ahead) & _mask));
        _end++;
        if (Count > _mask + 1)
        {
            _first++;
        }
    }

    /// <summary>Takes the oldest.</summary>
    public bool TryPop(out Item item)
    {
        if (Count == 0)
        {
            item = default;
            return false;
        }
        item = new Item(_items[_first & _mask]);
        _first++;
        return true;
    }

    /// <summary>The one whose turn comes after a number of others, if there is one.</summary>
    public bool TryPeek(uint ahead, out Item item)
    {
        bool exists = ahead < Count;
        item = exists ? new Item(_items[(_first + ahead) & _mask]) : default;
        return exists;
    }
}
