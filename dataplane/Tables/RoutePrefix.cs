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
        return new RoutePrefix(high & Mask(length), low & Mask(length - 64), (byte)length);
    }

    /// <summary>The IPv4 address that an IPv4 prefix begins with.</summary>
    public uint Address4 => (uint)(High >> 32);

    /// <summary>The same address with another length, of the same family.</summary>
    public RoutePrefix WithLength(int length) => Of6(High, Low, length);

    /// <summary>The byte in which the prefix ends: the stride byte of the node that holds it. The default route is held by the root.</summary>
    internal int LastByte => Length == 0 ? 0 : (Length - 1) / 8;

    /// <summary>
    /// Its number within its last byte: a one and then its bits there, so 2 to 511, and 1 for the default route. Prefixes that fill the
    /// byte have those from 256 on.
    /// </summary>
    internal int Number
    {
        get
        {
            int bits = Length - (8 * LastByte);
            return (1 << bits) | (ByteAt(LastByte) >> (8 - bits));
        }
    }

    internal byte ByteAt(int index) => (byte)((index < 8 ? High : Low) >> (56 - (8 * (index & 7))));

    /// <summary>The first of its bytes, as a prefix.</summary>
    internal RoutePrefix Bytes(int count) => Of6(High, Low, 8 * count);

    /// <summary>One more byte, or bits of it.</summary>
    /// <param name="number">See <see cref="Number"/>.</param>
    internal RoutePrefix Append(int number)
    {
        int bits = BitOperations.Log2((uint)number);
        ulong value = (ulong)(number - (1 << bits)) << (64 - bits);
        value = bits == 0 ? 0 : value >> (Length & 63);
        return new RoutePrefix(High | (Length < 64 ? value : 0), Low | (Length < 64 ? 0 : value), (byte)(Length + bits));
    }

    /// <summary>Bytes from the first on that are equal to those of another prefix.</summary>
    internal int CommonBytes(in RoutePrefix other) => High != other.High
        ? BitOperations.LeadingZeroCount(High ^ other.High) / 8
        : 8 + (BitOperations.LeadingZeroCount(Low ^ other.Low) / 8);

    private static ulong Mask(int length) => length <= 0 ? 0 : length >= 64 ? ulong.MaxValue : ~(ulong.MaxValue >> length);

    private static int Checked(int length, int most) => length >= 0 && length <= most
        ? length : throw new ArgumentOutOfRangeException(nameof(length), length, $"prefix length must be from 0 to {most}");
}
