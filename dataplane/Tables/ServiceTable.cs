using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>One cache line: seven entries, and how many entries have passed by.</summary>
[StructLayout(LayoutKind.Sequential, Size = SizeInBytes)]
public unsafe struct ServiceBucket
{
    public const int SizeInBytes = 64;
    public const int Ways = 7;

    /// <summary>A piece of the key's hash, 0 for a free entry.</summary>
    public fixed uint Tags[Ways];
    /// <summary>How many entries whose search begins here, or comes by here, lie in the next bucket or behind it.</summary>
    public uint Passed;
    /// <summary>The frontend of each entry.</summary>
    public fixed uint Frontends[Ways];
    public uint Reserved;
}

/// <summary>
/// From a packet's VRF, protocol, destination and port to the frontend of a service.
/// <para>
/// As in <see cref="TunnelTable"/>, the table proposes and the records decide: an entry holds a piece of its key's hash and the index
/// of a frontend, and counts only if the <see cref="FrontendRecord"/>, as the reader's generation sees it, has the key. The one writer
/// of a segment adds the entry of a frontend before the commit that gives it its key (<see cref="Add"/>), and removes it when no
/// worker reads an earlier generation than one without (<see cref="Remove"/>): each costs one or two cache lines, whatever the size
/// of the table. An entry never moves, so a reader cannot miss one.
/// </para>
/// <para>
/// A look-up that finds nothing reads one cache line, as a rule; one that finds something also the record. There is room for the
/// keys of all frontends in two generations at less than half load, and an entry whose bucket is full goes to one behind it: adding
/// cannot fail.
/// </para>
/// <para>
/// Most packets are for no service, and would cost two look-ups: one of their port, and one of their address as such. So the addresses of keys are
/// counted, too (<see cref="AddressPlaces"/>).
/// </para>
/// </summary>
public readonly unsafe struct ServiceTable
{
    private readonly ServiceBucket* _buckets;
    private readonly Versioned<FrontendRecord>* _frontends;
    private readonly uint _count;
    private readonly uint _mask;
    private readonly ulong _seed;

    /// <param name="buckets">Of <see cref="SizeInBytes"/>, aligned to a cache line, all zero at first.</param>
    /// <param name="frontends">The records by index.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public ServiceTable(ServiceBucket* buckets, Versioned<FrontendRecord>* frontends, int count, ulong seed)
    {
        _buckets = buckets;
        _frontends = frontends;
        _count = (uint)count;
        _mask = (uint)BucketsFor(count) - 1;
        Places = new AddressPlaces((byte*)(buckets + BucketsFor(count)), count, seed);
        _seed = seed;
    }

    /// <summary>What a table for a number of frontends takes.</summary>
    public static ulong SizeInBytes(int frontends) => ((ulong)ServiceBucket.SizeInBytes * (ulong)BucketsFor(frontends)) + AddressPlaces.SizeInBytes(frontends);

    /// <summary>Buckets for a number of frontends, a power of two.</summary>
    public static int BucketsFor(int frontends) => (int)BitOperations.RoundUpToPowerOf2((((uint)frontends * 4) + ServiceBucket.Ways - 1) / ServiceBucket.Ways);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Hash(in FrontendKey key) =>
        KeyHash.Mix(KeyHash.Mix(key.Place ^ _seed, KeyHash.Golden ^ key.Address.High) ^ key.Address.Low, _seed | 1);

    /// <summary>Asks for the cache line in which a search begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Prefetch(ulong hash)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(_buckets + ((uint)hash & _mask));
        }
    }

    /// <summary>The frontend that has the key in a reader's generation, 0 when there is none.</summary>
    public int Find(in FrontendKey key, ulong generation) => Find(in key, Hash(in key), generation);

    /// <inheritdoc cref="Find(in FrontendKey, ulong)"/>
    public int Find(in FrontendKey key, ulong hash, ulong generation)
    {
        uint tag = Tag(hash);
        for (uint at = (uint)hash & _mask, n = 0; n <= _mask; at = (at + 1) & _mask, n++)
        {
            ServiceBucket* bucket = _buckets + at;
            for (uint ways = Match(bucket, tag); ways != 0; ways &= ways - 1)
            {
                uint frontend = Volatile.Read(ref bucket->Frontends[BitOperations.TrailingZeroCount(ways)]);
                // A match is of the moment: the entry may have been replaced since.
                if (frontend < _count && Has(frontend, in key, generation))
                {
                    return (int)frontend;
                }
            }
            if (Volatile.Read(ref bucket->Passed) == 0)
            {
                return 0;
            }
        }
        return 0;
    }

    /// <summary>False when no frontend has an address, in whatever VRF, and generation of a reader.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayServe(bool isIPv6, IPv6Number address) => Places.MayHave(isIPv6, address);

    /// <summary>What <see cref="MayServe"/> reads.</summary>
    internal AddressPlaces Places { get; }

    /// <summary>The frontend that stands for an address of services (<see cref="FrontendFlags.Address"/>), 0 when there is none.</summary>
    public int FindAddress(ushort vrf, bool isIPv6, IPv6Number address, ulong generation) =>
        Find(FrontendKey.OfAddress(vrf, isIPv6, address), generation);

    /// <summary>Sees to it that a frontend is found by a key that it has, or will have.</summary>
    public void Add(in FrontendKey key, uint frontend)
    {
        ulong hash = Hash(in key);
        if (Locate(hash, frontend, out _, out _))
        {
            return;
        }
        Places.Add(in key);
        for (uint at = (uint)hash & _mask; ; at = (at + 1) & _mask)
        {
            ServiceBucket* bucket = _buckets + at;
            uint free = Match(bucket, 0);
            if (free != 0)
            {
                int way = BitOperations.TrailingZeroCount(free);
                bucket->Frontends[way] = frontend;
                Volatile.Write(ref bucket->Tags[way], Tag(hash));
                return;
            }
            Volatile.Write(ref bucket->Passed, bucket->Passed + 1);
        }
    }

    /// <summary>Removes the entry of a key that the frontend has in no generation that is still read.</summary>
    public void Remove(in FrontendKey key, uint frontend)
    {
        ulong hash = Hash(in key);
        if (!Locate(hash, frontend, out uint at, out int way))
        {
            return;
        }
        Volatile.Write(ref _buckets[at].Tags[way], 0);
        for (uint step = (uint)hash & _mask; step != at; step = (step + 1) & _mask)
        {
            Volatile.Write(ref _buckets[step].Passed, _buckets[step].Passed - 1);
        }
        Places.Remove(in key);
    }

    /// <summary>Sees to it that every frontend of a generation is found, whatever a writer left that died.</summary>
    public void Publish(ulong generation)
    {
        for (uint i = 1; i < _count; i++)
        {
            ref readonly FrontendRecord frontend = ref Versioned<FrontendRecord>.Read(in _frontends[i], generation);
            if (frontend.Has(FrontendFlags.Exists))
            {
                Add(in frontend.Key, i);
            }
        }
    }

    /// <summary>
    /// Removes what no frontend of a generation needs. When no worker reads an earlier one any more; readers of this one find its
    /// frontends at every instant.
    /// </summary>
    public void Sweep(ulong generation)
    {
        var passed = new uint[_mask + 1];
        byte[] places = Places.None();
        var found = new bool[_count];
        for (uint at = 0; at <= _mask; at++)
        {
            for (int way = 0; way < ServiceBucket.Ways; way++)
            {
                if (_buckets[at].Tags[way] != 0 && !Keep(at, way, generation, passed, places, found))
                {
                    Volatile.Write(ref _buckets[at].Tags[way], 0);
                }
            }
        }
        for (uint at = 0; at <= _mask; at++)
        {
            Volatile.Write(ref _buckets[at].Passed, passed[at]);
        }
        Places.Replace(places);
    }

    /// <summary>Entries in the table.</summary>
    public int Count()
    {
        int n = 0;
        for (uint at = 0; at <= _mask; at++)
        {
            n += ServiceBucket.Ways - BitOperations.PopCount(Match(_buckets + at, 0));
        }
        return n;
    }

    /// <summary>The bucket in which a search for a key begins.</summary>
    internal uint Home(in FrontendKey key) => (uint)Hash(in key) & _mask;

    private bool Has(uint frontend, in FrontendKey key, ulong generation)
    {
        ref readonly FrontendRecord record = ref Versioned<FrontendRecord>.Read(in _frontends[frontend], generation);
        return record.Key == key && record.Has(FrontendFlags.Exists);
    }

    /// <summary>Whether an entry is the first of a frontend's present key that a reader gets to; counts it where it passed by.</summary>
    private bool Keep(uint at, int way, ulong generation, uint[] passed, byte[] places, bool[] found)
    {
        uint index = _buckets[at].Frontends[way];
        if (index == 0 || index >= _count || found[index])
        {
            return false;
        }
        ref readonly FrontendRecord frontend = ref Versioned<FrontendRecord>.Read(in _frontends[index], generation);
        ulong hash = Hash(in frontend.Key);
        if (!frontend.Has(FrontendFlags.Exists) || _buckets[at].Tags[way] != Tag(hash))
        {
            return false;
        }
        for (uint step = (uint)hash & _mask; step != at; step = (step + 1) & _mask)
        {
            if (_buckets[step].Passed == 0)
            {
                return false;
            }
        }
        for (uint step = (uint)hash & _mask; step != at; step = (step + 1) & _mask)
        {
            passed[step]++;
        }
        Places.Add(places, in frontend.Key);
        return found[index] = true;
    }

    private bool Locate(ulong hash, uint frontend, out uint at, out int way)
    {
        at = (uint)hash & _mask;
        for (uint n = 0; n <= _mask; at = (at + 1) & _mask, n++)
        {
            for (uint ways = Match(_buckets + at, Tag(hash)); ways != 0; ways &= ways - 1)
            {
                way = BitOperations.TrailingZeroCount(ways);
                if (_buckets[at].Frontends[way] == frontend)
                {
                    return true;
                }
            }
            if (_buckets[at].Passed == 0)
            {
                break;
            }
        }
        way = 0;
        return false;
    }

    /// <summary>The ways of a bucket with a tag, as bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Match(ServiceBucket* bucket, uint tag) =>
        Vector256.Equals(Vector256.Load(bucket->Tags), Vector256.Create(tag)).ExtractMostSignificantBits() & ((1u << ServiceBucket.Ways) - 1);

    private static uint Tag(ulong hash) => (uint)(hash >> 32) | 1;
}
