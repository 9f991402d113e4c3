using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>A prefix of either family as the writer handles it: its bits from the top of a 128-bit number, zeros behind them.</summary>
internal readonly record struct RoutePrefix(UInt128 Bits, int Length)
{
    /// <summary>The byte in which the prefix ends: the stride byte of the node that holds it. The default route is held by the root.</summary>
    public int StrideByte => Length == 0 ? 0 : (Length - 1) / 8;

    /// <summary>
    /// Its number within its stride byte: a one and then its bits, so 2 to 511, and 1 for the default route. Prefixes of eight bits
    /// have those from 256 on.
    /// </summary>
    public int Number
    {
        get
        {
            int bits = Length - (StrideByte * 8);
            return (1 << bits) | (ByteAt(Bits, StrideByte) >> (8 - bits));
        }
    }

    public static byte ByteAt(UInt128 bits, int index) => (byte)(bits >> (120 - (index * 8)));

    /// <summary>The first byte in which two prefixes differ, 16 when they do not.</summary>
    public static int FirstDifference(UInt128 a, UInt128 b) => (int)UInt128.LeadingZeroCount(a ^ b) / 8;

    /// <summary>Everything before a byte.</summary>
    public static UInt128 Before(UInt128 bits, int index) => index == 0 ? 0 : bits & (UInt128.MaxValue << (128 - (index * 8)));

    /// <summary>The prefix that has a number within a byte.</summary>
    public static RoutePrefix FromNumber(UInt128 before, int index, int number)
    {
        int length = int.Log2(number);
        uint value = (uint)(number - (1 << length)) << (8 - length);
        return new RoutePrefix(Before(before, index) | ((UInt128)value << (120 - (index * 8))), (index * 8) + length);
    }

    /// <exception cref="ArgumentException">There is no such prefix: too long, or with bits behind its length.</exception>
    public static RoutePrefix Of(uint prefix, int length) => Checked((UInt128)prefix << 96, length, 32);

    /// <exception cref="ArgumentException">There is no such prefix: too long, or with bits behind its length.</exception>
    public static RoutePrefix Of(IPv6Number prefix, int length) => Checked(new UInt128(prefix.High, prefix.Low), length, 128);

    private static RoutePrefix Checked(UInt128 bits, int length, int max)
    {
        if (length < 0 || length > max)
        {
            throw new ArgumentOutOfRangeException(nameof(length), length, $"a prefix has 0 to {max} bits");
        }
        if (length < 128 && bits << length != 0)
        {
            throw new ArgumentException($"the address {bits >> (128 - max):x} has bits behind its prefix of {length}", nameof(bits));
        }
        return new RoutePrefix(bits, length);
    }
}
