using System.Numerics;
using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// By which addresses packets of connections are told from all others: a few kilobytes that a processor's first caches hold, so that a packet
/// which belongs to no connection costs no look-up in the large table.
/// <para>
/// An entry of <see cref="ConnectionTable"/> marks one address of its key, as source or as destination: of a connection to a service what
/// clients send to and what answers them (<see cref="ConnectionFlags.ByClient"/> says which connections mark the other side). Clients of services
/// are many, their services and backends are few. An address is marked by a byte at the place that it hashes to, so a packet whose two
/// places have none is of no entry, be it one that is gone and remembered; a packet that finds one may be, and is looked up.
/// </para>
/// <para>
/// <b>Marks are taken back in rounds.</b> A mark is the number of the round in which it was last made. Who makes an entry marks before that can be
/// found, and writes only where the round's mark is not there yet. Housekeeping begins a round, passes over the whole table, marks again what
/// the entries have, and then takes away what has a mark older than that of the round before (<see cref="Begin"/>, <see cref="End"/>). An
/// entry that the pass has missed was made meanwhile, and its mark is of this round or of the one before: a round begins when every
/// worker has been quiescent since the one before it began, so nobody is about to make an entry who has looked at an older mark.
/// </para>
/// <para>
/// What it costs: two bytes read for each packet, two looked at for each new connection; an address stays marked two or three rounds longer than it has
/// entries. Marks outlive the engine: one that was killed leaves too many of them, never too few.
/// </para>
/// </summary>
public readonly unsafe struct ConnectionMarks
{
    /// <summary>Numbers of rounds, each a byte that is not 0.</summary>
    private const uint Rounds = byte.MaxValue;

    private const uint LeastPlaces = 4096, MostPlaces = 32_768;

    /// <summary>Number of the round, IPv4 and IPv6. Writer: housekeeping.</summary>
    private readonly uint* _rounds;
    private readonly byte* _marks4, _marks6;
    private readonly uint _places;
    private readonly ulong _secret;

    /// <param name="section">Of <see cref="SizeInBytes"/>, aligned to a cache line, all zero at first.</param>
    /// <param name="capacity">IPv4 connections that the table is for.</param>
    /// <param name="seed">Makes the hash unpredictable from outside; that of <see cref="ServiceTable"/> and <see cref="EndpointSet"/>, so that one hash does for all.</param>
    public ConnectionMarks(byte* section, int capacity, ulong seed)
    {
        _rounds = (uint*)section;
        _places = PlacesFor(capacity);
        _marks4 = section + SegmentLayout.CacheLine;
        _marks6 = _marks4 + (2 * _places);
        _secret = KeyHash.AddressSecret(seed);
    }

    /// <summary>What the marks of a table take.</summary>
    public static ulong SizeInBytes(int capacity) => SegmentLayout.CacheLine + (4ul * PlacesFor(capacity));

    /// <summary>Places of the addresses of a family that are sources, and as many of those that are destinations: a power of two.</summary>
    private static uint PlacesFor(int capacity) => BitOperations.RoundUpToPowerOf2(Math.Clamp((uint)capacity / 16, LeastPlaces, MostPlaces));

    /// <summary>The marks of sources of a family, by the lowest bits of <see cref="Hash"/>.</summary>
    public byte* Sources(bool isIPv6) => isIPv6 ? _marks6 : _marks4;

    /// <summary>As <see cref="Sources"/>, of destinations.</summary>
    public byte* Destinations(bool isIPv6) => Sources(isIPv6) + _places;

    /// <summary>The bits of a hash that are a place.</summary>
    public uint Mask => _places - 1;

    /// <summary>The hash of an address, whatever the VRF.</summary>
    public uint Hash(bool isIPv6, IPv6Number address) => KeyHash.OfAddress(isIPv6, address, _secret);

    /// <summary>False when no entry has a key, nor has had it and is remembered.</summary>
    public bool MayHave(in ConnectionKey key) =>
        (Volatile.Read(ref *Place(in key, isSource: true)) | Volatile.Read(ref *Place(in key, isSource: false))) != 0;

    /// <summary>Marks an address of a key. Before its entry can be found.</summary>
    /// <param name="key">The entry's.</param>
    /// <param name="isSource">Its source address; else its destination.</param>
    internal void Mark(in ConnectionKey key, bool isSource)
    {
        byte* place = Place(in key, isSource);
        byte mark = Of(Volatile.Read(ref *Round(key.IsIPv6)));
        if (Volatile.Read(ref *place) != mark)
        {
            Volatile.Write(ref *place, mark);
        }
    }

    /// <summary>Begins a round of a family, when every worker has been quiescent since the last one began. One thread begins and ends rounds.</summary>
    internal void Begin(bool isIPv6) => Volatile.Write(ref *Round(isIPv6), (*Round(isIPv6) + 1) % Rounds);

    /// <summary>Takes away what is of neither this round nor the one before. When all entries of the family have been marked in this round.</summary>
    internal void End(bool isIPv6)
    {
        uint round = *Round(isIPv6);
        byte mark = Of(round), before = Of((round + Rounds - 1) % Rounds);
        byte* marks = Sources(isIPv6);
        for (uint i = 0; i < 2 * _places; i++)
        {
            byte there = Volatile.Read(ref marks[i]);
            if (there != 0 && there != mark && there != before)
            {
                // Unless somebody has just marked it.
                Interlocked.CompareExchange(ref marks[i], 0, there);
            }
        }
    }

    private static byte Of(uint round) => (byte)(round + 1);

    private uint* Round(bool isIPv6) => _rounds + (isIPv6 ? 1 : 0);

    private byte* Place(in ConnectionKey key, bool isSource) => isSource
        ? Sources(key.IsIPv6) + (Hash(key.IsIPv6, key.Source) & Mask)
        : Destinations(key.IsIPv6) + (Hash(key.IsIPv6, key.Destination) & Mask);
}
