using System.Numerics;

namespace Dataplane.Tables;

/// <summary>An address prefix as a key of the route tables: two numbers in host order, an IPv4 address in the upper half of the first.</summary>
/// <param name="High">Bits 0 to 63; those behind the prefix are 0.</param>
/// <param name="Low">Bits 64 to 127; likewise.</param>
/// <param name="Length">0 to 32, or to 128.</param>
public readonly record struct RoutePrefix(ulong High, ulong Low, byte Length)
{
    /// <summary>An IPv4 prefix; bits of the address behind the prefix do not matter.</summary>
    public static RoutePrefix Of4(uint address, int length) => Of6((ulong)address << 32, 0, Checked(length, 32));

    /// <summary>An IPv6 prefix; bits of the address behind the prefix do not matter.</summary>
    public static RoutePrefix Of6(ulong high, ulong low, int length)
    {
        Checked(length, 128);
        return new RoutePrefix(
            high & Mask(length),
            low & Mask(length - 64),
            (byte)length);
    }

    /// <summary>The IPv4 address that an IPv4 prefix begins with.</summary>
    public uint Address4 => (uint)(High >> 32);

    /// <summary>The same address with another length, of the same family.</summary>
    public RoutePrefix WithLength(int length) => Of6(High, Low, length);

    /// <summary>The byte of the trie in which the prefix ends.</summary>
    internal int LastByte => Length == 0 ? 0 : (Length - 1) / 8;

    /// <summary>How many of its bits are in that byte.</summary>
    internal int BitsInLastByte => Length - (8 * LastByte);

    internal uint ByteAt(int depth) => RouteNode.KeyByte(High, Low, depth);

    /// <summary>Bytes from the first on that are equal to those of another key.</summary>
    internal int CommonBytes(ulong high, ulong low) => High != high
        ? BitOperations.LeadingZeroCount(High ^ high) / 8
        : 8 + (BitOperations.LeadingZeroCount(Low ^ low) / 8);

    private static ulong Mask(int length) => length <= 0 ? 0 : length >= 64 ? ulong.MaxValue : ~(ulong.MaxValue >> length);

    private static int Checked(int length, int most) => length >= 0 && length <= most
        ? length : throw new ArgumentOutOfRangeException(nameof(length), length, $"prefix length must be from 0 to {most}");
}
