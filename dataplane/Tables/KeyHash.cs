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
    /// The hash of an address in a VRF, of which the lower bits are a place: of IPv4 a product with an odd number that nobody outside knows
    /// (Dietzfelbinger et al., J. Algorithms 1997). Its upper bits are folded in, or two rows of neighbouring addresses would have all their
    /// places in common, or none.
    /// </summary>
    /// <param name="vrf">See <see cref="OfVrf4"/>.</param>
    /// <param name="address">Of a packet.</param>
    /// <param name="secret">See <see cref="AddressSecret"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint OfAddress4(ulong vrf, uint address, ulong secret)
    {
        ulong product = (vrf | address) * secret;
        return (uint)((product ^ (product >> 20)) >> 32);
    }

    /// <inheritdoc cref="OfAddress4"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint OfAddress6(ulong vrf, IPv6Number address, ulong secret) => (uint)(Mix(address.Low ^ secret, address.High ^ vrf) >> 32);

    /// <summary>The odd number that makes hashes of addresses unpredictable, from the seed of a segment.</summary>
    internal static ulong AddressSecret(ulong seed) => Mix(seed ^ Golden, Golden) | 1;

    /// <summary>What a VRF has to do with <see cref="OfAddress4"/>: the same for all packets of a burst.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong OfVrf4(ushort vrf) => (ulong)vrf << 32;

    /// <inheritdoc cref="OfVrf4"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong OfVrf6(ushort vrf) => Golden ^ ((ulong)vrf << 1);

    /// <summary>As <see cref="OfAddress4"/> and <see cref="OfAddress6"/>, of either family: of IPv4 the lower 32 bits.</summary>
    internal static uint OfAddress(ushort vrf, bool isIPv6, IPv6Number address, ulong secret) => isIPv6
        ? OfAddress6(OfVrf6(vrf), address, secret)
        : OfAddress4(OfVrf4(vrf), (uint)address.Low, secret);
}
