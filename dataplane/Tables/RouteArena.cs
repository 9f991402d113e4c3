namespace Dataplane.Tables;

/// <summary>The memory for routes is used up.</summary>
public sealed class RouteMemoryException(long bytes)
    : Exception($"the routes need more than the {bytes / 1024} KiB there are for them");

/// <summary>
/// Hands out the blocks of an arena: chunks of 8 KiB, each cut into blocks of one size (Bonwick's slabs, USENIX 1994). What is free
/// is known to this object alone and not to the arena, apart from a link in each free block: after a crash the writer that comes
/// next says which blocks are in use (<see cref="Mark"/>), and all others are free.
/// </summary>
internal sealed unsafe class RouteArena
{
    /// <summary>The largest block: an IPv6 page with every prefix that it can have.</summary>
    public const int MaxBlock = 2368;

    public const int ChunkSize = 8192;

    private const int UnitsPerChunk = ChunkSize / RouteEntry.Unit;
    private const byte NoClass = byte.MaxValue;
    private const ushort NoSlot = ushort.MaxValue;
    private const int NoChunk = -1;

    /// <summary>Sizes of blocks in bytes. From a cache line on they are whole lines, so that headers do not straddle two.</summary>
    private static readonly int[] s_sizes =
        [16, 32, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1152, 1344, 1600, 2048, MaxBlock];

    /// <summary>Index into <see cref="s_sizes"/> by a size in units, rounded up.</summary>
    private static readonly byte[] s_classes =
        [.. Enumerable.Range(0, (MaxBlock / RouteEntry.Unit) + 1).Select(units => (byte)Array.FindIndex(s_sizes, size => size >= units * RouteEntry.Unit))];

    private readonly byte* _memory;
    private readonly int _reserve;

    // By chunk.
    private readonly byte[] _class;
    private readonly ushort[] _live;
    private readonly ushort[] _freeSlot;
    private readonly int[] _next;
    private readonly int[] _previous;

    /// <summary>By class, the first of its chunks with free blocks.</summary>
    private readonly int[] _partial = [.. Enumerable.Repeat(NoChunk, s_sizes.Length)];

    /// <summary>The first chunk of no class.</summary>
    private int _freeChunk = NoChunk;
    private int _freeChunks;

    /// <summary>One bit per unit, set where a block in use begins; only until <see cref="Seal"/>.</summary>
    private ulong[]? _marks;

    /// <param name="memory">Aligned to a cache line.</param>
    /// <param name="length">Bytes. What exceeds <see cref="RouteEntry.MaxArena"/> or whole chunks is not used.</param>
    public RouteArena(byte* memory, ulong length)
    {
        _memory = memory;
        int chunks = (int)(Math.Min(length, RouteEntry.MaxArena) / ChunkSize);
        _reserve = chunks / 16;
        _class = new byte[chunks];
        _class.AsSpan().Fill(NoClass);
        _live = new ushort[chunks];
        _freeSlot = new ushort[chunks];
        _next = new int[chunks];
        _previous = new int[chunks];
        _marks = new ulong[chunks * UnitsPerChunk / 64];
    }

    /// <summary>Bytes that blocks can be cut from.</summary>
    public long Length => (long)_class.Length * ChunkSize;

    /// <summary>Bytes of the blocks in use.</summary>
    public long UsedBytes { get; private set; }

    /// <summary>Bytes of the chunks from which blocks in use are cut.</summary>
    public long TakenBytes => Length - ((long)_freeChunks * ChunkSize);

    /// <summary>For tests: freed blocks are filled with rubbish, which a reader that still reads them would notice.</summary>
    public bool Poison { get; set; }

    public byte* At(uint entry) => RouteEntry.At(_memory, entry);

    /// <summary>The size of the block that holds so many bytes.</summary>
    public static int BlockSize(int size) => s_sizes[ClassOf(size)];

    /// <summary>
    /// During construction: a block is in use. False when there cannot be a block of that size, or there is one already: the arena is
    /// damaged.
    /// </summary>
    public bool Mark(uint unit, int size)
    {
        int chunk = (int)(unit / UnitsPerChunk);
        byte kind = ClassOf(size);
        int blockUnits = s_sizes[kind] / RouteEntry.Unit;
        uint at = unit % UnitsPerChunk;
        if (chunk >= _class.Length || (_class[chunk] != NoClass && _class[chunk] != kind)
            || at % blockUnits != 0 || at + blockUnits > UnitsPerChunk || (_marks![unit / 64] & (1ul << (int)(unit % 64))) != 0)
        {
            return false;
        }
        _marks[unit / 64] |= 1ul << (int)(unit % 64);
        _class[chunk] = kind;
        _live[chunk]++;
        UsedBytes += s_sizes[kind];
        return true;
    }

    /// <summary>Whether a header may be read there, during construction.</summary>
    public bool Contains(uint unit, int size) => ((ulong)unit * RouteEntry.Unit) + (ulong)size <= (ulong)Length;

    /// <summary>Ends construction: everything not marked is free.</summary>
    public void Seal()
    {
        for (int chunk = _class.Length - 1; chunk >= 0; chunk--)
        {
            if (_class[chunk] == NoClass)
            {
                PushFreeChunk(chunk);
            }
            else
            {
                LinkFreeSlots(chunk);
                if (_freeSlot[chunk] != NoSlot)
                {
                    PushPartial(chunk);
                }
            }
        }
        _marks = null;
    }

    /// <summary>Takes a block. Its contents are whatever they are.</summary>
    /// <param name="size">Bytes.</param>
    /// <param name="mayUseReserve">For removing routes, which takes room before it gives some back.</param>
    /// <exception cref="RouteMemoryException">There is none.</exception>
    public uint Allocate(int size, bool mayUseReserve)
    {
        byte kind = ClassOf(size);
        int chunk = _partial[kind];
        if (chunk == NoChunk)
        {
            if (_freeChunks <= (mayUseReserve ? 0 : _reserve))
            {
                throw new RouteMemoryException(Length);
            }
            chunk = PopFreeChunk();
            _class[chunk] = kind;
            LinkFreeSlots(chunk);
            PushPartial(chunk);
        }
        int slot = _freeSlot[chunk];
        int blockUnits = s_sizes[kind] / RouteEntry.Unit;
        uint unit = (uint)((chunk * UnitsPerChunk) + (slot * blockUnits));
        _freeSlot[chunk] = *(ushort*)Block(unit);
        _live[chunk]++;
        UsedBytes += s_sizes[kind];
        if (_freeSlot[chunk] == NoSlot)
        {
            RemovePartial(chunk);
        }
        return unit;
    }

    /// <summary>Gives a block back that nobody reads any more.</summary>
    public void Free(uint unit)
    {
        int chunk = (int)(unit / UnitsPerChunk);
        byte kind = _class[chunk];
        byte* block = Block(unit);
        if (Poison)
        {
            new Span<byte>(block, s_sizes[kind]).Fill(0xEE);
        }
        UsedBytes -= s_sizes[kind];
        if (--_live[chunk] == 0)
        {
            if (_freeSlot[chunk] != NoSlot)
            {
                RemovePartial(chunk);
            }
            _class[chunk] = NoClass;
            PushFreeChunk(chunk);
            return;
        }
        if (_freeSlot[chunk] == NoSlot)
        {
            PushPartial(chunk);
        }
        *(ushort*)block = _freeSlot[chunk];
        _freeSlot[chunk] = (ushort)(unit % UnitsPerChunk / (uint)(s_sizes[kind] / RouteEntry.Unit));
    }

    private static byte ClassOf(int size) => s_classes[(size + RouteEntry.Unit - 1) / RouteEntry.Unit];

    private byte* Block(uint unit) => _memory + ((nuint)unit * RouteEntry.Unit);

    /// <summary>Chains the unmarked blocks of a chunk in ascending order.</summary>
    private void LinkFreeSlots(int chunk)
    {
        int size = s_sizes[_class[chunk]];
        byte* memory = _memory + ((nint)chunk * ChunkSize);
        ushort next = NoSlot;
        for (int slot = (ChunkSize / size) - 1; slot >= 0; slot--)
        {
            int at = (chunk * UnitsPerChunk) + (slot * size / RouteEntry.Unit);
            if (_marks is null || (_marks[at / 64] & (1ul << (at % 64))) == 0)
            {
                *(ushort*)(memory + (slot * size)) = next;
                next = (ushort)slot;
            }
        }
        _freeSlot[chunk] = next;
    }

    private void PushFreeChunk(int chunk)
    {
        _next[chunk] = _freeChunk;
        _freeChunk = chunk;
        _freeChunks++;
    }

    private int PopFreeChunk()
    {
        int chunk = _freeChunk;
        _freeChunk = _next[chunk];
        _freeChunks--;
        return chunk;
    }

    private void PushPartial(int chunk)
    {
        ref int first = ref _partial[_class[chunk]];
        _next[chunk] = first;
        _previous[chunk] = NoChunk;
        if (first != NoChunk)
        {
            _previous[first] = chunk;
        }
        first = chunk;
    }

    private void RemovePartial(int chunk)
    {
        (int next, int previous) = (_next[chunk], _previous[chunk]);
        if (next != NoChunk)
        {
            _previous[next] = previous;
        }
        if (previous != NoChunk)
        {
            _next[previous] = next;
        }
        else
        {
            _partial[_class[chunk]] = next;
        }
    }
}
