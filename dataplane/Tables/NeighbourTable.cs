using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// The neighbours of all interfaces: from an interface and an IPv4 or IPv6 address on its link to a MAC address (the ARP table
/// of RFC 826 and the neighbour cache of RFC 4861, 5.1, in one).
/// <para>
/// Built as <see cref="MacTable"/> is, and what is said there of inserting, killing and grace periods holds here. An IPv4 key fits
/// the eight bytes of a bucket's key: one cache line answers. Of an IPv6 key the bucket has a 60-bit hash, and the address lies
/// in a <see cref="NeighbourDetail"/> of the slot, which is compared too: no address can pass for another one. Times lie there as
/// well; forwarding reads none of them, since the state says whether an entry is fresh, and housekeeping changes that in time.
/// </para>
/// <para>
/// Workers insert with one compare-and-swap of the key, write the detail, and make the entry visible by its value; they change
/// values by compare-and-swap, so of several that find an entry stale one wins and probes. Every operation of a worker is bounded
/// by <see cref="Window"/> buckets.
/// </para>
/// </summary>
public readonly unsafe partial struct NeighbourTable
{
    /// <summary>Buckets that an entry may live in; see <see cref="MacTable.Window"/>.</summary>
    public const int Window = MacTable.Window;

    /// <summary>A table has at least as many buckets as an entry may live in.</summary>
    public const int MinBits = MacTable.MinBits;

    /// <summary>In the place of a deleted key until the slot is free. No key has it.</summary>
    private const ulong Tomb = ulong.MaxValue;

    private const ulong Family4 = 4;
    internal const ulong Family6 = 6;
    private const int FamilyShift = 60;
    private const int BucketSize = 64;

    private readonly NeighbourBucket* _buckets;
    private readonly NeighbourDetail* _details;
    private readonly ulong _seed;
    private readonly int _shift;
    private readonly uint _mask;

    /// <param name="memory">As many bytes as <see cref="SizeInBytes"/> says, aligned to a cache line, all zero at first.</param>
    /// <param name="bits">Base-2 logarithm of the number of buckets, at least <see cref="MinBits"/>.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public NeighbourTable(void* memory, int bits, ulong seed)
    {
        _buckets = (NeighbourBucket*)memory;
        _details = (NeighbourDetail*)(_buckets + (1L << bits));
        _seed = seed | 1;
        _mask = (uint)((1ul << bits) - 1);
        _shift = 64 - bits - BitOperations.Log2(BucketSize);
    }

    /// <summary>Bytes of a table.</summary>
    public static ulong SizeInBytes(int bits) => (ulong)(BucketSize + (NeighbourBucket.Ways * NeighbourDetail.SizeInBytes)) << bits;

    /// <summary>Number of buckets.</summary>
    public int BucketCount => (int)_mask + 1;

    /// <summary>The key of an IPv4 neighbour.</summary>
    /// <param name="port">Index of the interface's port.</param>
    /// <param name="address">In host order.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Word4(int port, uint address) => (Family4 << FamilyShift) | ((ulong)(uint)port << 32) | address;

    /// <summary>The key of an IPv6 neighbour; see <see cref="IPv6Number"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Word6(int port, ulong high, ulong low)
    {
        // Each half meets a number that nobody outside knows, so none can be chosen to make the product zero.
        ulong seed = BitOperations.RotateLeft(_seed, 32) * KeyHash.Golden;
        ulong mixed = KeyHash.Mix(KeyHash.Mix(high ^ _seed, low ^ seed) ^ (uint)port, seed);
        return (Family6 << FamilyShift) | (mixed >> (64 - FamilyShift));
    }

    /// <summary>Whom an entry is about.</summary>
    public static NeighbourKey Key4(int port, uint address) => new(Word4(port, address), port, 0, address);

    /// <summary>Whom an entry is about.</summary>
    public NeighbourKey Key6(int port, ulong high, ulong low) => new(Word6(port, high, low), port, high, low);

    /// <summary>The bucket of a key. Do this for a burst first, <see cref="Prefetch"/>, then look them up.</summary>
    /// <param name="word">From <see cref="Word4"/> or <see cref="Word6"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public NeighbourBucket* Bucket(ulong word)
    {
        // The upper bits, as an offset in bytes.
        ulong mixed = KeyHash.Mix(word ^ _seed, KeyHash.Golden);
        return (NeighbourBucket*)((byte*)_buckets + ((mixed >> _shift) & ~(ulong)(BucketSize - 1)));
    }

    /// <summary>Asks for a bucket's cache line.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(NeighbourBucket* bucket)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(bucket);
        }
    }

    /// <summary>The value of an IPv4 neighbour, 0 when there is none; see <see cref="NeighbourValue"/>.</summary>
    /// <param name="port">Index of the interface's port.</param>
    /// <param name="address">In host order.</param>
    /// <param name="bucket">Of <see cref="Word4"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Find4(int port, uint address, NeighbourBucket* bucket)
    {
        ulong word = Word4(port, address);
        uint hits = Matches(bucket, word);
        return hits != 0
            ? Alive(Volatile.Read(ref bucket->Values[BitOperations.TrailingZeroCount(hits)]))
            : FindBeyond4(word, bucket);
    }

    /// <summary>
    /// The value of an IPv4 neighbour in its first bucket; 0, or a dead one, which is less than any usable, when it is not there. It
    /// calls nothing.
    /// </summary>
    /// <param name="word">From <see cref="Word4"/>. In memory, from which it goes into a vector without a detour.</param>
    /// <param name="bucket">Of the word.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong FindFirst4(ulong* word, NeighbourBucket* bucket)
    {
        uint hits = Matches(bucket, *word);
        return hits == 0 ? 0 : bucket->Values[BitOperations.TrailingZeroCount(hits)];
    }

    /// <summary>As <see cref="FindFirst4"/>, for IPv6.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong FindFirst6(ulong* word, int port, ulong high, ulong low, NeighbourBucket* bucket)
    {
        uint hits = Matches(bucket, *word);
        if (hits == 0)
        {
            return 0;
        }
        int way = BitOperations.TrailingZeroCount(hits);
        ulong value = bucket->Values[way];
        NeighbourDetail* detail = DetailOf(bucket, way);
        return ((detail->High ^ high) | (detail->Low ^ low)) == 0 && detail->Port == port ? value : 0;
    }

    /// <summary>The value of an IPv4 neighbour, 0 when there is none.</summary>
    public ulong Find4(int port, uint address) => Find4(port, address, Bucket(Word4(port, address)));

    /// <summary>The value of an IPv6 neighbour, 0 when there is none; see <see cref="NeighbourValue"/>.</summary>
    /// <param name="word">From <see cref="Word6"/>.</param>
    /// <param name="port">Index of the interface's port.</param>
    /// <param name="high">Upper half of the address.</param>
    /// <param name="low">Lower half of the address.</param>
    /// <param name="bucket">Of the word.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Find6(ulong word, int port, ulong high, ulong low, NeighbourBucket* bucket)
    {
        uint hits = Matches(bucket, word);
        if (hits != 0)
        {
            int way = BitOperations.TrailingZeroCount(hits);
            ulong value = Volatile.Read(ref bucket->Values[way]);
            NeighbourDetail* detail = DetailOf(bucket, way);
            if (((detail->High ^ high) | (detail->Low ^ low)) == 0 && detail->Port == port)
            {
                return Alive(value);
            }
        }
        return FindBeyond6(new NeighbourKey(word, port, high, low), bucket);
    }

    /// <summary>As above, for callers that did not keep the word.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Find6(int port, ulong high, ulong low, NeighbourBucket* bucket) => Find6(Word6(port, high, low), port, high, low, bucket);

    /// <summary>The value of an IPv6 neighbour, 0 when there is none.</summary>
    public ulong Find6(int port, ulong high, ulong low)
    {
        ulong word = Word6(port, high, low);
        return Find6(word, port, high, low, Bucket(word));
    }

    /// <summary>The value of a neighbour, 0 when there is none.</summary>
    public ulong Find(in NeighbourKey key) => TryFind(in key, out NeighbourSlot slot) ? slot.Value : 0;

    /// <summary>The entry of a neighbour. One that another worker is just making is not found yet.</summary>
    public bool TryFind(in NeighbourKey key, out NeighbourSlot slot)
    {
        NeighbourBucket* home = Bucket(key.Word);
        for (int i = 0; i < Window; i++)
        {
            NeighbourBucket* bucket = Follow(home, i);
            for (uint hits = Matches(bucket, key.Word); hits != 0; hits &= hits - 1)
            {
                int way = BitOperations.TrailingZeroCount(hits);
                if (Holds(bucket, way, in key))
                {
                    slot = new NeighbourSlot(&bucket->Keys[way], DetailOf(bucket, way));
                    return true;
                }
            }
        }
        slot = default;
        return false;
    }

    /// <summary>Whether a slot with a key's word has its value, and is of that key.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Holds(NeighbourBucket* bucket, int way, in NeighbourKey key)
    {
        // The value is written last: what lies behind one that is not 0 is complete.
        if (Volatile.Read(ref bucket->Values[way]) == 0)
        {
            return false;
        }
        NeighbourDetail* detail = DetailOf(bucket, way);
        return detail->High == key.High && detail->Low == key.Low && detail->Port == key.Port;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Alive(ulong value) => value >= (ulong)NeighbourState.Incomplete << 56 ? value : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private NeighbourBucket* Follow(NeighbourBucket* home, int step) => _buckets + (((uint)(home - _buckets) + (uint)step) & _mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private NeighbourDetail* DetailOf(NeighbourBucket* bucket, int way) => _details + ((bucket - _buckets) * NeighbourBucket.Ways) + way;

    /// <summary>The ways of a bucket that have a word, one bit each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Matches(NeighbourBucket* bucket, ulong word) =>
        Vector256.Equals(Vector256.LoadAligned(bucket->Keys), Vector256.Create(word)).ExtractMostSignificantBits();

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong FindBeyond4(ulong word, NeighbourBucket* home)
    {
        for (int i = 1; i < Window; i++)
        {
            NeighbourBucket* bucket = Follow(home, i);
            uint hits = Matches(bucket, word);
            if (hits != 0)
            {
                return Alive(Volatile.Read(ref bucket->Values[BitOperations.TrailingZeroCount(hits)]));
            }
        }
        return 0;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong FindBeyond6(NeighbourKey key, NeighbourBucket* home)
    {
        for (int i = 0; i < Window; i++)
        {
            NeighbourBucket* bucket = Follow(home, i);
            for (uint hits = Matches(bucket, key.Word); hits != 0; hits &= hits - 1)
            {
                int way = BitOperations.TrailingZeroCount(hits);
                if (Holds(bucket, way, in key))
                {
                    return Alive(Volatile.Read(ref bucket->Values[way]));
                }
            }
        }
        return 0;
    }
}
