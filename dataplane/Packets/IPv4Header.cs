using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>
/// An IPv4 header as bytes (RFC 791, 3.1). Whoever reads has checked that the header is there: <see cref="MinLength"/> bytes, and
/// <see cref="Length"/> where options are meant. Numbers are in host order.
/// </summary>
public static unsafe class IPv4Header
{
    public const int MinLength = 20;
    public const int MaxLength = 60;

    public const ushort DontFragment = 0x4000;
    public const ushort MoreFragments = 0x2000;
    /// <summary>Offset of a fragment, in units of 8 bytes.</summary>
    public const ushort OffsetMask = 0x1FFF;

    /// <summary>Every host can reassemble so much, and an ICMP error has no more (RFC 1122, 3.3.2; RFC 1812, 4.3.2.3).</summary>
    public const int MinReassembly = 576;

    /// <summary>Every link carries so much (RFC 791, 3.2).</summary>
    public const int MinMtu = 68;

    /// <summary>Bytes of the header with its options.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Length(byte* ip) => (ip[0] & 15) * 4;

    /// <summary>Bytes of header and payload.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int TotalLength(byte* ip) => Wire.Load16(ip + 2);

    /// <summary>Flags and offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Fragment(byte* ip) => Wire.Load16(ip + 6);

    /// <summary>A fragment, be it the first one.</summary>
    public static bool IsFragment(byte* ip) => (Fragment(ip) & (MoreFragments | OffsetMask)) != 0;

    public static byte Ttl(byte* ip) => ip[8];
    public static byte Protocol(byte* ip) => ip[9];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Source(byte* ip) => Wire.Load32(ip + 12);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Destination(byte* ip) => Wire.Load32(ip + 16);

    /// <summary>Whether the checksum of a header without options is right.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsChecksumGood(byte* ip)
    {
        // The sum of all 16-bit words is a multiple of 65,535 (RFC 1071), and so is that of wider words, for 2^16 is 1 modulo
        // 65,535. Divided by multiplying with the inverse modulo 2^64: multiples alone give a small quotient.
        const ulong Inverse = 0xFFFE_FFFE_FFFE_FFFF, Largest = 0x0001_0001_0001_0001;
        ulong sum = (ulong)Unsafe.ReadUnaligned<uint>(ip) + Unsafe.ReadUnaligned<uint>(ip + 4) + Unsafe.ReadUnaligned<uint>(ip + 8)
            + Unsafe.ReadUnaligned<uint>(ip + 12) + Unsafe.ReadUnaligned<uint>(ip + 16);
        return unchecked(sum * Inverse) <= Largest;
    }

    /// <summary>Writes the checksum of a header, with its options.</summary>
    public static void WriteChecksum(byte* ip)
    {
        Unsafe.WriteUnaligned(ip + 10, (ushort)0);
        Unsafe.WriteUnaligned(ip + 10, Checksum.Finish(Checksum.Add(0, ip, (uint)Length(ip))));
    }

    /// <summary>Takes one off the time to live, and corrects the checksum by what that changes (RFC 1624).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void DecrementTtl(byte* ip)
    {
        // Time to live, protocol and checksum as one number, the first in its lowest byte. The time to live loses 1 and the
        // checksum, where it is the low byte of a word in this order, gains 1, with an end-around carry from 0xFFFE on.
        uint word = Unsafe.ReadUnaligned<uint>(ip + 8);
        uint carry = word >= 0xFFFE_0000 ? 0x1_0000u : 0;
        Unsafe.WriteUnaligned(ip + 8, unchecked(word + 0xFFFF + carry));
    }

    /// <summary>As <see cref="DecrementTtl(byte*)"/>, where something else has changed besides. Gives the protocol, which is beside it.</summary>
    /// <param name="ip">The header.</param>
    /// <param name="change">What the sum of the header's words has changed by, not 0: of what has not changed it is all ones.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte DecrementTtl(byte* ip, ushort change)
    {
        // As one number again. The checksum loses the change and gains 1, with an end-around borrow.
        uint was = Unsafe.ReadUnaligned<uint>(ip + 8);
        long word = was + 0xFFFFL - ((long)change << 16);
        Unsafe.WriteUnaligned(ip + 8, (uint)(word + ((word >> 63) << 16)));
        return (byte)(was >> 8);
    }

    /// <summary>Writes a header without options and with its checksum.</summary>
    /// <param name="ip">20 bytes.</param>
    /// <param name="tos">Differentiated services and ECN.</param>
    /// <param name="totalLength">Bytes of header and payload.</param>
    /// <param name="identification">Makes fragments of a packet known as such.</param>
    /// <param name="fragment">Flags and offset.</param>
    /// <param name="ttl">Time to live.</param>
    /// <param name="protocol">What follows.</param>
    /// <param name="source">In host order.</param>
    /// <param name="destination">In host order.</param>
    public static void Write(byte* ip, byte tos, int totalLength, ushort identification, ushort fragment, byte ttl, byte protocol,
        uint source, uint destination)
    {
        ip[0] = 0x45;
        ip[1] = tos;
        Wire.Store16(ip + 2, (ushort)totalLength);
        Wire.Store16(ip + 4, identification);
        Wire.Store16(ip + 6, fragment);
        ip[8] = ttl;
        ip[9] = protocol;
        Wire.Store32(ip + 12, source);
        Wire.Store32(ip + 16, destination);
        WriteChecksum(ip);
    }
}
