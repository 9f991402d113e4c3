using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>How keys become buckets.</summary>
internal static class KeyHash
{
    /// <summary>2^64 divided by the golden ratio.</summary>
    internal const ulong Golden = 0x9E37_79B9_7F4A_7C15;

    /// <summary>
    /// The product of two unknown 64-bit numbers, both halves folded (wyhash's mixer): four cycles, and no bit of the key can be
    /// chosen to cancel out without knowing the seed that was added to it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong Mix(ulong a, ulong b)
    {
        ulong high, low;
        if (Bmi2.X64.IsSupported)
        {
            // Both halves without a detour through memory, which BigMul's out parameter is.
            high = Bmi2.X64.MultiplyNoFlags(a, b);
            low = a * b;
        }
        else
        {
            high = Math.BigMul(a, b, out low);
        }
        return high ^ low;
    }

    /// <summary>
    /// The hash of an address, whatever the VRF, of which the lower bits are a place: of IPv4 a product with an odd number that nobody outside knows
    /// (Dietzfelbinger et al., J. Algorithms 1997). Its upper bits are folded in, or two rows of neighbouring addresses would have all their
    /// places in common, or none.
    /// </summary>
    /// <param name="address">Of a packet.</param>
    /// <param name="secret">See <see cref="AddressSecret"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint OfAddress4(uint address, ulong secret)
    {
        ulong product = address * secret;
        return (uint)((product ^ (product >> 20)) >> 32);
    }

    /// <inheritdoc cref="OfAddress4"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint OfAddress6(IPv6Number address, ulong secret) => (uint)(Mix(address.Low ^ secret, address.High ^ Golden) >> 32);

    /// <summary>As <see cref="OfAddress4"/> and <see cref="OfAddress6"/>, of either family: of IPv4 the lower 32 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint OfAddress(bool isIPv6, IPv6Number address, ulong secret) => isIPv6
        ? OfAddress6(address, secret)
        : OfAddress4((uint)address.Low, secret);

    /// <summary>The odd number that makes hashes of addresses unpredictable, from the seed of a segment.</summary>
    internal static ulong AddressSecret(ulong seed) => Mix(seed ^ Golden, Golden) | 1;
}
