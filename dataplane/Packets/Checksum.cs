using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;

namespace Dataplane.Packets;

/// <summary>The Internet checksum (RFC 1071), in native byte order: the sum of a packet may be stored as it is.</summary>
public static unsafe class Checksum
{
    /// <summary>Adds bytes to a running sum. An odd last byte is padded with zero, so only the last piece may be odd.</summary>
    public static ulong Add(ulong sum, byte* data, uint length)
    {
        // 32-bit words into a 64-bit sum: no carry is lost below 16 GiB (RFC 1071, 2(C)). Two sums hide the latency.
        ulong a = 0, b = 0;
        while (length >= 16)
        {
            ulong x = Unsafe.ReadUnaligned<ulong>(data);
            ulong y = Unsafe.ReadUnaligned<ulong>(data + 8);
            a += (x & 0xFFFF_FFFF) + (x >> 32);
            b += (y & 0xFFFF_FFFF) + (y >> 32);
            data += 16;
            length -= 16;
        }
        sum += Fold32(a) + Fold32(b);
        while (length >= 2)
        {
            sum += Unsafe.ReadUnaligned<ushort>(data);
            data += 2;
            length -= 2;
        }
        if (length != 0)
        {
            sum += *data;
        }
        return sum;
    }

    /// <summary>The sum of a range of a chain, from an offset to its end.</summary>
    public static ulong AddChain(ulong sum, rte_mbuf* mbuf, uint offset)
    {
        while (mbuf != null && offset >= mbuf->data_len)
        {
            offset -= mbuf->data_len;
            mbuf = mbuf->next;
        }
        bool odd = false;
        for (; mbuf != null; mbuf = mbuf->next, offset = 0)
        {
            uint length = mbuf->data_len - offset;
            ulong part = Fold(Add(0, Mbuf.Data(mbuf) + offset, length));
            // A piece that begins at an odd offset has its bytes the other way round (RFC 1071, 2(B)).
            sum += odd ? (ushort)((part << 8) | (part >> 8)) : part;
            odd ^= (length & 1) != 0;
        }
        return sum;
    }

    /// <summary>To 16 bits, by end-around carry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Fold(ulong sum)
    {
        sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)((sum & 0xFFFF) + (sum >> 16));
    }

    /// <summary>As <see cref="Fold"/>, of a sum below 2^31: of a few words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort FoldFew(uint sum)
    {
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)(sum + (sum >> 16));
    }

    /// <summary>What stands in the header: the complement.</summary>
    public static ushort Finish(ulong sum) => (ushort)~Fold(sum);

    /// <summary>A checksum after one 16-bit word of what it covers has changed (RFC 1624, equation 3).</summary>
    public static ushort Update(ushort checksum, ushort was, ushort now) =>
        (ushort)~Fold((ulong)(ushort)~checksum + (ushort)~was + now);

    private static ulong Fold32(ulong sum) => (sum & 0xFFFF_FFFF) + (sum >> 32);
}
