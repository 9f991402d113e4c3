using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

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
}
