using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Tables;

/// <summary>
/// The filtering database (IEEE 802.1Q, 8.8): from filtering identifier and MAC address to port.
/// <para>
/// The key is 8 bytes: the address in the low 48 bits, the FID in the high 16. An address hashes to a bucket of one cache
/// line with four keys and four values, so that a look-up of a present address costs one line; a full bucket overflows
/// into those that follow, at most <see cref="Window"/> in all. Workers insert with one compare-and-swap of the key and
/// never wait for each other: whoever loses the race for a slot looks at the winner's key and goes on.
/// </para>
/// <para>
/// A value of 0 means "not known yet" (a slot between the key's swap and the value's): it reads as unknown, and the packet is
/// flooded as IEEE 802.1D asks for unknown addresses. Deleting marks the value <see cref="Dead"/>, so that a worker which holds
/// the slot cannot refresh the entry any more, and puts <see cref="Tomb"/> in the place of the key, so that no other one finds
/// it. Only after a grace period, when nobody holds the slot any more, the value goes back to 0 and the key is free. A worker
/// that held on to the slot would otherwise read, under its key, the value of the address that lives there next.
/// </para>
/// <para>
/// The control plane and housekeeping are not waited for by grace periods: while one of them looks at a slot the other may
/// free it, and a worker give it to another address. So whoever kills or replaces an entry looks at the key once more
/// afterwards, and puts the value back when it is another address's. A dead value holds the number of its killing, so that
/// nobody frees what another one has killed and still waits for.
/// </para>
/// <para>
/// What it costs: two workers that learn the same address at the same instant while a slot before it is freed can make two
/// entries of it. The first one found rules, the other ages out. An entry's time has a resolution of one second, so that an
/// entry in use is written once per second and not once per packet.
/// </para>
/// </summary>
public readonly unsafe partial struct MacTable
{
    /// <summary>
    /// Buckets that an address may live in. At half load about one random address in 10^8 finds no slot there (with 8 buckets
    /// it was one in 200,000). An unknown address costs a look at all of them; they lie one behind the other.
    /// </summary>
    public const int Window = 16;

    /// <summary>Moves of an address within <see cref="FlapWindowSeconds"/> that make it a flapping one.</summary>
    public const int FlapThreshold = 5;
    public const int FlapWindowSeconds = 8;

    /// <summary>A table has at least as many buckets as an address may live in.</summary>
    public const int MinBits = 4;

    /// <summary>How often a caller that is no worker looks at a slot that others are changing.</summary>
    private const int Patience = 200;

    /// <summary>In the place of a deleted key until the slot is free. No frame has it: it is a group address.</summary>
    private const ulong Tomb = ulong.MaxValue;

    /// <summary>Values from here on are dead; the low half is the number of the killing.</summary>
    private const ulong Dead = 0xFFFF_FFFF_0000_0000;

    private const int BucketSize = 64;

    /// <summary>Numbers of killings: they differ within a process, and begin anywhere.</summary>
    private static int s_killings = Random.Shared.Next();

    private const ulong MacMask = 0xFFFF_FFFF_FFFF;

    private readonly MacBucket* _buckets;
    private readonly ulong _seed;
    private readonly int _shift;
    private readonly uint _mask;

    /// <param name="buckets">2^bits buckets, aligned to a cache line, all zero at first.</param>
    /// <param name="bits">Base-2 logarithm of their number, at least <see cref="MinBits"/>.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public MacTable(MacBucket* buckets, int bits, ulong seed)
    {
        _buckets = buckets;
        _seed = seed | 1;
        _mask = (1u << bits) - 1;
        _shift = 64 - bits - BitOperations.Log2(BucketSize);
    }

    /// <summary>Number of buckets.</summary>
    public int BucketCount => (int)_mask + 1;

    /// <summary>The key of an address in a filtering database.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Key(uint fid, ulong mac) => ((ulong)fid << 48) | (mac & MacMask);

    /// <summary>The bucket of a key. Hash a burst of keys first and prefetch these, then look them up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public MacBucket* Bucket(ulong key)
    {
        // Of keys that follow each other the mixed words do so too, in large steps: once more multiplied, they are as random ones.
        ulong mixed = KeyHash.Mix(key ^ _seed, KeyHash.Golden) * KeyHash.Golden;
        // The upper bits, as an offset in bytes.
        return (MacBucket*)((byte*)_buckets + ((mixed >> _shift) & ~(ulong)(BucketSize - 1)));
    }

    /// <summary>Asks for a bucket's cache line.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(MacBucket* bucket)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(bucket);
        }
    }

    /// <summary>The value of a key, 0 when it is unknown.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Find(ulong key, MacBucket* bucket)
    {
        int way = Match(bucket, key);
        if (way >= 0)
        {
            ulong value = Volatile.Read(ref bucket->Values[way]);
            return value >= Dead ? 0 : value;
        }
        return FindBeyond(key, bucket);
    }

    /// <summary>The value of a key, 0 when it is unknown.</summary>
    public ulong Find(ulong key) => Find(key, Bucket(key));

    /// <summary>As <see cref="Find(ulong, MacBucket*)"/>, in a generation: for where a value may be a <see cref="StagedMac"/>.</summary>
    public ulong FindIn(ulong generation, ulong key, MacBucket* bucket) => StagedMac.Resolve(Find(key, bucket), generation);

    /// <inheritdoc cref="FindIn(ulong, ulong, MacBucket*)"/>
    public ulong FindIn(ulong generation, ulong key) => FindIn(generation, key, Bucket(key));

    /// <summary>
    /// The whole of learning for a packet that tells nothing new: the address is known as dynamic on this port, and its
    /// time is of this second. False means: call <see cref="Learn"/>.
    /// </summary>
    /// <param name="key">See <see cref="Key"/>. In memory, from which it goes into a vector without a detour.</param>
    /// <param name="bucket">See <see cref="Bucket"/>.</param>
    /// <param name="fresh"><see cref="MacValue.Fresh"/> of the port and the time.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsFresh(ulong* key, MacBucket* bucket, ulong* fresh)
    {
        if (Avx2.IsSupported)
        {
            // All four ways at once, keys and values: no branch on which of them it is.
            Vector256<ulong> keys = Avx2.CompareEqual(Avx.LoadAlignedVector256((ulong*)bucket), Avx2.BroadcastScalarToVector256(key));
            Vector256<ulong> values = Avx.LoadAlignedVector256((ulong*)bucket + MacBucket.Ways) & Vector256.Create(MacValue.FreshMask);
            return (keys & Avx2.CompareEqual(values, Avx2.BroadcastScalarToVector256(fresh))).ExtractMostSignificantBits() != 0;
        }
        int way = Match(bucket, *key);
        return way >= 0 && (bucket->Values[way] & MacValue.FreshMask) == *fresh;
    }

    /// <summary>As above, with values instead of pointers to them.</summary>
    public static bool IsFresh(ulong key, MacBucket* bucket, ushort port, uint now)
    {
        ulong fresh = MacValue.Fresh(port, now);
        return IsFresh(&key, bucket, &fresh);
    }

    /// <summary>
    /// The value of a key in its first bucket; 0 when it is not there. The value may be one that reads as unknown for being deleted:
    /// that looks like a drop entry.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong FindFirst(ulong* key, MacBucket* bucket)
    {
        if (Avx2.IsSupported)
        {
            uint hits = Avx2.CompareEqual(Avx.LoadAlignedVector256((ulong*)bucket), Avx2.BroadcastScalarToVector256(key)).ExtractMostSignificantBits();
            return hits == 0 ? 0 : *((ulong*)bucket + MacBucket.Ways + (uint)BitOperations.TrailingZeroCount(hits));
        }
        int way = Match(bucket, *key);
        return way >= 0 ? bucket->Values[way] : 0;
    }

    /// <summary>Learns an address on a port. Never waits; a lost race is as if the other packet had come later.</summary>
    /// <param name="key">See <see cref="Key"/>.</param>
    /// <param name="port">The port the packet came from.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="allowNew">False when a limit forbids a new entry.</param>
    /// <param name="oldPort">Where the address was before a move, else 0.</param>
    public LearnResult Learn(ulong key, ushort port, uint now, bool allowNew, out ushort oldPort)
    {
        oldPort = 0;
        MacBucket* home = Bucket(key);
        ulong* slot = FindSlot(key, home);
        if (slot == null)
        {
            return allowNew ? Insert(key, home, MacValue.Dynamic(port, now)) : LearnResult.Refused;
        }

        ulong value = Volatile.Read(ref slot[MacBucket.Ways]);
        if (value >= Dead)
        {
            return LearnResult.Refused; // being deleted in this instant; the next packet finds it gone
        }
        if (value == 0)
        {
            return LearnResult.Known; // another worker is learning it in this instant
        }
        if (StagedMac.IsStaged(value))
        {
            return LearnResult.Known; // about to be the control plane's, or just not any more
        }
        if (MacValue.IsDrop(value))
        {
            return LearnResult.BlackHole;
        }
        if (MacValue.IsStatic(value))
        {
            return MacValue.Port(value) == port ? LearnResult.Known : LearnResult.StaticElsewhere;
        }
        if (MacValue.Port(value) == port)
        {
            Interlocked.CompareExchange(ref slot[MacBucket.Ways], MacValue.Refresh(value, port, now), value);
            return LearnResult.Known;
        }

        ulong moved = MacValue.Move(value, port, now, out int moves);
        if (Interlocked.CompareExchange(ref slot[MacBucket.Ways], moved, value) != value)
        {
            return LearnResult.Known; // another worker was faster; its packet came later
        }
        oldPort = MacValue.Port(value);
        return moves >= FlapThreshold ? LearnResult.Flapping : LearnResult.Moved;
    }

    internal static MacEntry ToEntry(ulong key, ulong value) =>
        new((ushort)(key >> 48), key & MacMask, MacValue.Port(value), MacValue.Flags(value), MacValue.LastSeen(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private MacBucket* Follow(MacBucket* home, int step) => _buckets + (((uint)(home - _buckets) + (uint)step) & _mask);

    /// <summary>The way of a bucket that holds a key, or -1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Match(MacBucket* bucket, ulong key) =>
        Vector256.IsHardwareAccelerated ? MatchVector(bucket, key) : MatchScalar(bucket, key);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static int MatchVector(MacBucket* bucket, ulong key)
    {
        uint hits = Vector256.Equals(Vector256.LoadAligned(bucket->Keys), Vector256.Create(key)).ExtractMostSignificantBits();
        return hits == 0 ? -1 : BitOperations.TrailingZeroCount(hits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static int MatchScalar(MacBucket* bucket, ulong key)
    {
        for (int way = 0; way < MacBucket.Ways; way++)
        {
            if (bucket->Keys[way] == key)
            {
                return way;
            }
        }
        return -1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong FindBeyond(ulong key, MacBucket* home)
    {
        for (int i = 1; i < Window; i++)
        {
            MacBucket* bucket = Follow(home, i);
            int way = Match(bucket, key);
            if (way >= 0)
            {
                ulong value = Volatile.Read(ref bucket->Values[way]);
                return value >= Dead ? 0 : value;
            }
        }
        return 0;
    }

    /// <summary>The slot that holds a key (its value lies <see cref="MacBucket.Ways"/> words behind), or null.</summary>
    private ulong* FindSlot(ulong key, MacBucket* home)
    {
        for (int i = 0; i < Window; i++)
        {
            MacBucket* bucket = Follow(home, i);
            int way = Match(bucket, key);
            if (way >= 0)
            {
                return &bucket->Keys[way];
            }
        }
        return null;
    }

    private LearnResult Insert(ulong key, MacBucket* home, ulong value)
    {
        for (int i = 0; i < Window; i++)
        {
            MacBucket* bucket = Follow(home, i);
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                ulong found = Volatile.Read(ref bucket->Keys[way]);
                if (found == 0)
                {
                    found = Interlocked.CompareExchange(ref bucket->Keys[way], key, 0);
                    if (found == 0)
                    {
                        // The slot is ours and its value 0, or dead when somebody took us for a dead process.
                        return Interlocked.CompareExchange(ref bucket->Values[way], value, 0) == 0 ? LearnResult.Learned : LearnResult.Known;
                    }
                }
                if (found == key)
                {
                    return LearnResult.Known; // another worker has learned it since we looked
                }
            }
        }
        return LearnResult.Full;
    }
}
