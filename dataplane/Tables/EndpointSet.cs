using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>One cache line: seven entries, and how many entries have passed by.</summary>
[StructLayout(LayoutKind.Sequential, Size = SizeInBytes)]
public unsafe struct EndpointBucket
{
    public const int SizeInBytes = 64;
    public const int Ways = 7;

    /// <summary>A piece of the key's hash, 0 for a free entry.</summary>
    public fixed uint Tags[Ways];
    /// <summary>How many entries whose search begins here, or comes by here, lie in the next bucket or behind it.</summary>
    public uint Passed;
    /// <summary>How many backends each entry stands for.</summary>
    public fixed uint Counts[Ways];
    public uint Reserved;
}

/// <summary>
/// Which ports backends have, by protocol, address and port. What is sent to one of them directly, and not to a service, has to be known as a
/// connection: its answers could be those to a connection of a service, from the same backend to the same port of the same client.
/// <para>
/// An entry is a piece of its key's hash and a count, for a backend is one for each service that it has. No record says whose entry it is: two keys of one hash are taken
/// for one, which costs a connection more that is known, and nothing else. The one writer of a segment adds a backend before
/// the commit that makes it, and removes it when no worker reads an earlier generation than one without; an entry never moves. Adding cannot fail: there is
/// room for the keys of all backends in two generations at less than half load.
/// </para>
/// <para>
/// The addresses of entries are counted, too (<see cref="AddressPlaces"/>).
/// </para>
/// </summary>
public readonly unsafe struct EndpointSet
{
    private readonly EndpointBucket* _buckets;
    private readonly uint _mask;
    private readonly ulong _seed;

    /// <param name="buckets">Of <see cref="SizeInBytes"/>, aligned to a cache line, all zero at first.</param>
    /// <param name="backends">How many backends there may be.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public EndpointSet(EndpointBucket* buckets, int backends, ulong seed)
    {
        _buckets = buckets;
        _mask = BucketsFor(backends) - 1;
        Places = new AddressPlaces((byte*)(buckets + BucketsFor(backends)), backends, seed);
        _seed = seed;
    }

    /// <summary>What a set for a number of backends takes.</summary>
    public static ulong SizeInBytes(int backends) => ((ulong)EndpointBucket.SizeInBytes * BucketsFor(backends)) + AddressPlaces.SizeInBytes(backends);

    private static uint BucketsFor(int backends) => BitOperations.RoundUpToPowerOf2((((uint)backends * 4) + EndpointBucket.Ways - 1) / EndpointBucket.Ways);

    /// <summary>The key of a backend's port. It is the same in all VRFs, for a service may be in several of them.</summary>
    public static FrontendKey Key(byte protocol, bool isIPv6, IPv6Number address, ushort port) => FrontendKey.Of(0, protocol, isIPv6, address, port);

    /// <inheritdoc cref="Key(byte, bool, IPv6Number, ushort)"/>
    public static FrontendKey Key(in BackendRecord backend) => Key(backend.Protocol, backend.Has(BackendFlags.IPv6), backend.Address, backend.Port);

    /// <summary>False when no backend has an address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayHave(bool isIPv6, IPv6Number address) => Places.MayHave(isIPv6, address);

    /// <summary>What <see cref="MayHave"/> reads.</summary>
    internal AddressPlaces Places { get; }

    /// <summary>Whether a backend has this port.</summary>
    public bool Contains(in FrontendKey key) => TryLocate(Hash(in key), out _, out _);

    /// <summary>One more backend has a port.</summary>
    public void Add(in FrontendKey key)
    {
        ulong hash = Hash(in key);
        if (TryLocate(hash, out uint at, out int way))
        {
            _buckets[at].Counts[way]++;
            return;
        }
        Places.Add(in key);
        for (at = Home(hash); ; at = (at + 1) & _mask)
        {
            EndpointBucket* bucket = _buckets + at;
            uint free = Match(bucket, 0);
            if (free != 0)
            {
                way = BitOperations.TrailingZeroCount(free);
                bucket->Counts[way] = 1;
                Volatile.Write(ref bucket->Tags[way], Tag(hash));
                return;
            }
            Volatile.Write(ref bucket->Passed, bucket->Passed + 1);
        }
    }

    /// <summary>A backend that had a port has it in no generation that is still read.</summary>
    public void Remove(in FrontendKey key)
    {
        ulong hash = Hash(in key);
        if (!TryLocate(hash, out uint at, out int way) || --_buckets[at].Counts[way] != 0)
        {
            return;
        }
        Volatile.Write(ref _buckets[at].Tags[way], 0);
        for (uint step = Home(hash); step != at; step = (step + 1) & _mask)
        {
            Volatile.Write(ref _buckets[step].Passed, _buckets[step].Passed - 1);
        }
        Places.Remove(in key);
    }

    /// <summary>Counts again what a writer may have left that died. Readers find all of these keys at every instant, and no others in the end.</summary>
    /// <param name="keys">Of all backends that there are. No worker reads a generation that has others.</param>
    public void Recount(IEnumerable<FrontendKey> keys)
    {
        var counts = new uint[(_mask + 1) * EndpointBucket.Ways];
        var passed = new uint[_mask + 1];
        byte[] places = Places.None();
        foreach (FrontendKey key in keys)
        {
            ulong hash = Hash(in key);
            if (!TryLocate(hash, out uint at, out int way))
            {
                Add(in key);
                TryLocate(hash, out at, out way);
            }
            if (counts[(at * EndpointBucket.Ways) + (uint)way]++ != 0)
            {
                continue;
            }
            for (uint step = Home(hash); step != at; step = (step + 1) & _mask)
            {
                passed[step]++;
            }
            Places.Add(places, in key);
        }
        for (uint at = 0; at <= _mask; at++)
        {
            EndpointBucket* bucket = _buckets + at;
            for (int way = 0; way < EndpointBucket.Ways; way++)
            {
                bucket->Counts[way] = counts[(at * EndpointBucket.Ways) + (uint)way];
                if (bucket->Counts[way] == 0)
                {
                    Volatile.Write(ref bucket->Tags[way], 0);
                }
            }
        }
        for (uint at = 0; at <= _mask; at++)
        {
            Volatile.Write(ref _buckets[at].Passed, passed[at]);
        }
        Places.Replace(places);
    }

    /// <summary>Different keys in the set.</summary>
    public int Count()
    {
        int n = 0;
        for (uint at = 0; at <= _mask; at++)
        {
            n += EndpointBucket.Ways - BitOperations.PopCount(Match(_buckets + at, 0));
        }
        return n;
    }

    private bool TryLocate(ulong hash, out uint at, out int way)
    {
        at = Home(hash);
        for (uint n = 0; n <= _mask; at = (at + 1) & _mask, n++)
        {
            uint ways = Match(_buckets + at, Tag(hash));
            if (ways != 0)
            {
                way = BitOperations.TrailingZeroCount(ways);
                return true;
            }
            if (Volatile.Read(ref _buckets[at].Passed) == 0)
            {
                break;
            }
        }
        way = 0;
        return false;
    }

    private ulong Hash(in FrontendKey key) =>
        KeyHash.Mix(KeyHash.Mix(key.Place ^ _seed, KeyHash.Golden ^ key.Address.High) ^ key.Address.Low, _seed | 1);

    private uint Home(ulong hash) => (uint)hash & _mask;

    private static uint Tag(ulong hash) => (uint)(hash >> 32) | 1;

    /// <summary>The ways of a bucket with a tag, as bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Match(EndpointBucket* bucket, uint tag) =>
        Vector256.Equals(Vector256.Load(bucket->Tags), Vector256.Create(tag)).ExtractMostSignificantBits() & ((1u << EndpointBucket.Ways) - 1);
}
