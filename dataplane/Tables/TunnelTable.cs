using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>One cache line: fifteen entries, and how far entries that belong here may have gone on.</summary>
[StructLayout(LayoutKind.Sequential, Size = SizeInBytes)]
public unsafe struct TunnelBucket
{
    public const int SizeInBytes = 64;
    public const int Ways = 15;

    /// <summary>16 bits of the key's hash, and the index of the port; 0 for a free one, as port 0 is none.</summary>
    public fixed uint Entries[Ways];
    /// <summary>Not 0 when an entry that belongs here, or that passed by here, lies in the next bucket or behind it.</summary>
    public uint GoesOn;
}

/// <summary>
/// From what a received VXLAN packet says (<see cref="TunnelKey"/>) to the port of the tunnel it came by.
/// <para>
/// The table proposes and the records decide: an entry holds a piece of its key's hash and a port, and counts only if the
/// <see cref="TunnelRecord"/> of that port, as the reader's generation sees it, has the key. So a commit that changes tunnels is
/// visible as a whole with its generation although the table is changed before: until the grace period is over it holds the
/// entries of both generations. The one writer of a segment adds entries before a commit (<see cref="Publish"/>) and removes
/// those of nobody when all workers have seen it (<see cref="Sweep"/>). An entry never moves, so a reader cannot miss one.
/// </para>
/// <para>
/// A look-up reads one cache line of the table, and one or two of a record. For every UDP port and every network one entry
/// is enough, whichever of its tunnels it names. There is room for all keys of all ports in two generations at once at less than
/// half load, and an entry that finds its bucket full goes to one behind it: adding cannot fail.
/// </para>
/// </summary>
public readonly unsafe struct TunnelTable
{
    private const int Kinds = 3;
    private const uint PortMask = 0xFFFF;

    private readonly TunnelBucket* _buckets;
    private readonly Versioned<TunnelRecord>* _tunnels;
    private readonly int _ports;
    private readonly uint _mask;
    private readonly ulong _seed;

    /// <param name="buckets">As many as <see cref="BucketsFor"/> says, aligned to a cache line, all zero at first.</param>
    /// <param name="tunnels">The tunnels by port.</param>
    /// <param name="ports">How many ports there are.</param>
    /// <param name="seed">Makes the hash unpredictable from outside.</param>
    public TunnelTable(TunnelBucket* buckets, Versioned<TunnelRecord>* tunnels, int ports, ulong seed)
    {
        _buckets = buckets;
        _tunnels = tunnels;
        _ports = ports;
        _mask = (uint)BucketsFor(ports) - 1;
        _seed = seed;
    }

    /// <summary>Buckets for a number of ports, a power of two: room for more than twice the keys of two generations.</summary>
    public static int BucketsFor(int ports) => (int)BitOperations.RoundUpToPowerOf2((uint)ports);

    /// <summary>A port whose tunnel has the key in a reader's generation, 0 when there is none.</summary>
    public int Find(in TunnelKey key, ulong generation)
    {
        ulong hash = Hash(in key);
        uint tag = Tag(hash);
        for (uint at = (uint)hash & _mask, n = 0; n <= _mask; at = (at + 1) & _mask, n++)
        {
            TunnelBucket* bucket = _buckets + at;
            for (uint ways = Match(bucket, tag); ways != 0; ways &= ways - 1)
            {
                int port = (int)(Volatile.Read(ref bucket->Entries[BitOperations.TrailingZeroCount(ways)]) & PortMask);
                // A match is of the moment: the entry may have been replaced since.
                if (port != 0 && port < _ports && key.IsOf(in Versioned<TunnelRecord>.Read(in _tunnels[port], generation)))
                {
                    return port;
                }
            }
            if (Volatile.Read(ref bucket->GoesOn) == 0)
            {
                return 0;
            }
        }
        return 0;
    }

    /// <summary>Sees to it that every key of every tunnel of a generation is found. Before that generation is committed.</summary>
    public void Publish(ulong generation)
    {
        for (int port = 1; port < _ports; port++)
        {
            ref readonly TunnelRecord tunnel = ref Versioned<TunnelRecord>.Read(in _tunnels[port], generation);
            if (tunnel.Has(TunnelFlags.Exists))
            {
                Add(TunnelKey.Peer(in tunnel), port, generation);
                Add(TunnelKey.Network(in tunnel), port, generation);
                Add(TunnelKey.UdpPort(in tunnel), port, generation);
            }
        }
    }

    /// <summary>Removes what no tunnel of a generation needs. When no worker reads an earlier one any more.</summary>
    public void Sweep(ulong generation)
    {
        var goesOn = new bool[_mask + 1];
        Span<uint> needed = stackalloc uint[Kinds], homes = stackalloc uint[Kinds];
        for (uint at = 0; at <= _mask; at++)
        {
            for (int way = 0; way < TunnelBucket.Ways; way++)
            {
                uint entry = _buckets[at].Entries[way];
                if (entry == 0)
                {
                    continue;
                }
                int keys = Keys((int)(entry & PortMask), generation, needed, homes);
                bool kept = false;
                for (int i = 0; i < keys; i++)
                {
                    if (needed[i] == (entry & ~PortMask))
                    {
                        kept |= MarkPath(homes[i], at, goesOn);
                    }
                }
                if (!kept)
                {
                    Volatile.Write(ref _buckets[at].Entries[way], 0);
                }
            }
        }
        // What is left is what readers look for, so these may be exact at once.
        for (uint at = 0; at <= _mask; at++)
        {
            Volatile.Write(ref _buckets[at].GoesOn, goesOn[at] ? 1u : 0);
        }
    }

    /// <summary>Entries in the table.</summary>
    public int Count()
    {
        int n = 0;
        for (uint at = 0; at <= _mask; at++)
        {
            n += TunnelBucket.Ways - BitOperations.PopCount(Match(_buckets + at, 0, uint.MaxValue));
        }
        return n;
    }

    /// <summary>The bucket in which a search for a key begins.</summary>
    internal uint Home(in TunnelKey key) => (uint)Hash(in key) & _mask;

    private void Add(TunnelKey key, int port, ulong generation)
    {
        if (Find(in key, generation) != 0)
        {
            return;
        }
        ulong hash = Hash(in key);
        for (uint at = (uint)hash & _mask; ; at = (at + 1) & _mask)
        {
            uint free = Match(_buckets + at, 0, uint.MaxValue);
            if (free != 0)
            {
                Volatile.Write(ref _buckets[at].Entries[BitOperations.TrailingZeroCount(free)], Tag(hash) | (uint)port);
                return;
            }
            Volatile.Write(ref _buckets[at].GoesOn, 1);
        }
    }

    /// <summary>Hash pieces and home buckets of the keys of a port.</summary>
    private int Keys(int port, ulong generation, Span<uint> tags, Span<uint> homes)
    {
        if (port >= _ports)
        {
            return 0;
        }
        ref readonly TunnelRecord tunnel = ref Versioned<TunnelRecord>.Read(in _tunnels[port], generation);
        if (!tunnel.Has(TunnelFlags.Exists))
        {
            return 0;
        }
        for (int kind = 0; kind < Kinds; kind++)
        {
            ulong hash = Hash(kind switch
            {
                0 => TunnelKey.Peer(in tunnel),
                1 => TunnelKey.Network(in tunnel),
                _ => TunnelKey.UdpPort(in tunnel),
            });
            tags[kind] = Tag(hash);
            homes[kind] = (uint)hash & _mask;
        }
        return Kinds;
    }

    /// <summary>Notes that an entry of one bucket lies in another one. False when a reader does not get there from its home.</summary>
    private bool MarkPath(uint home, uint at, bool[] goesOn)
    {
        for (uint step = home; step != at; step = (step + 1) & _mask)
        {
            if (_buckets[step].GoesOn == 0)
            {
                return false;
            }
        }
        for (uint step = home; step != at; step = (step + 1) & _mask)
        {
            goesOn[step] = true;
        }
        return true;
    }

    /// <summary>The ways of a bucket whose entries have a value under a mask, as bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Match(TunnelBucket* bucket, uint value, uint mask = ~PortMask)
    {
        Vector256<uint> masks = Vector256.Create(mask), wanted = Vector256.Create(value);
        Vector256<uint> low = Vector256.Load(bucket->Entries), high = Vector256.Load(bucket->Entries + Vector256<uint>.Count);
        uint hits = Vector256.Equals(low & masks, wanted).ExtractMostSignificantBits();
        hits |= Vector256.Equals(high & masks, wanted).ExtractMostSignificantBits() << Vector256<uint>.Count;
        return hits & ((1u << TunnelBucket.Ways) - 1); // the sixteenth word is no entry
    }

    private static uint Tag(ulong hash) => (uint)(hash >> 32) & ~PortMask;

    /// <summary>Each word goes through a product of which both halves are folded (wyhash's mixer).</summary>
    private ulong Hash(in TunnelKey key)
    {
        ulong hash = Fold(key.Place ^ _seed, 0x9E37_79B9_7F4A_7C15);
        hash = Fold(hash ^ key.Remote.Low, 0xD6E8_FEB8_6659_FD93);
        return Fold(hash ^ key.Remote.High, 0xA076_1D64_78BD_642F);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Fold(ulong x, ulong multiplier)
    {
        ulong high = Math.BigMul(x, multiplier, out ulong low);
        return high ^ low;
    }
}
