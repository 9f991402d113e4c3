using System.Numerics;
using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// How many keys of a table have an address that hashes to a place, whatever the VRF: a byte for each place. The places of a few thousand
/// addresses fit into a processor's first cache, and where there is none there is nothing to look up. There is one writer, who counts a key before
/// it can be found, and as long as it can.
/// </summary>
public readonly unsafe struct AddressPlaces
{
    /// <summary>A count that has come so far says nothing any more, and stays.</summary>
    private const byte Many = byte.MaxValue;

    /// <param name="counts">Of <see cref="SizeInBytes"/>, all zero at first.</param>
    /// <param name="keys">How many keys there may be.</param>
    /// <param name="seed">Makes the hash unpredictable from outside; that of <see cref="ConnectionMarks"/>, so that one hash does for all.</param>
    public AddressPlaces(byte* counts, int keys, ulong seed)
    {
        Counts = counts;
        Mask = SizeInBytes(keys) - 1;
        Secret = KeyHash.AddressSecret(seed);
    }

    /// <summary>What the places of a number of keys take.</summary>
    public static uint SizeInBytes(int keys) => BitOperations.RoundUpToPowerOf2(Math.Clamp((uint)keys * 4, 4096, 1 << 20));

    /// <summary>One byte for each hash of an address (<see cref="ConnectionMarks.Hash"/>), by its bits in <see cref="Mask"/>.</summary>
    internal byte* Counts { get; }

    internal uint Mask { get; }

    /// <summary>See <see cref="KeyHash.AddressSecret"/>.</summary>
    internal ulong Secret { get; }

    /// <summary>False when no key has an address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayHave(bool isIPv6, IPv6Number address) => Volatile.Read(ref Counts[Place(isIPv6, address)]) != 0;

    /// <summary>One more key has the address of this one.</summary>
    public void Add(in FrontendKey key)
    {
        byte* count = Counts + Place(in key);
        Volatile.Write(ref *count, One(*count));
    }

    /// <summary>One key less has the address of this one.</summary>
    public void Remove(in FrontendKey key)
    {
        byte* count = Counts + Place(in key);
        if (*count is not (0 or Many))
        {
            Volatile.Write(ref *count, (byte)(*count - 1));
        }
    }

    /// <summary>For counting all keys again: none yet.</summary>
    public byte[] None() => new byte[Mask + 1];

    /// <summary>As <see cref="Add"/>, in counts that nobody reads yet.</summary>
    public void Add(byte[] counts, in FrontendKey key)
    {
        ref byte count = ref counts[Place(in key)];
        count = One(count);
    }

    /// <summary>Puts counts in the place of what is there.</summary>
    public void Replace(byte[] counts)
    {
        for (int i = 0; i < counts.Length; i++)
        {
            Volatile.Write(ref Counts[i], counts[i]);
        }
    }

    private static byte One(byte count) => count == Many ? Many : (byte)(count + 1);

    private uint Place(in FrontendKey key) => Place(key.IsIPv6, key.Address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint Place(bool isIPv6, IPv6Number address) => KeyHash.OfAddress(isIPv6, address, Secret) & Mask;
}
