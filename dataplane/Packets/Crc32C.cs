using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;

namespace Dataplane.Packets;

/// <summary>
/// CRC-32C (Castagnoli), the checksum of SCTP (RFC 9260, 6.8 and appendix A): polynomial 0x1EDC6F41, bits reflected, all ones at the
/// start and inverted at the end. Stored as it is, in this machine's order, it is what stands on the wire.
/// </summary>
public static unsafe class Crc32C
{
    private const uint Reflected = 0x82F6_3B78;

    private static readonly uint[] Table = MakeTable();

    /// <summary>Of bytes.</summary>
    public static uint Of(byte* data, int length) => ~Add(uint.MaxValue, data, length);

    /// <summary>
    /// Writes the checksum of an SCTP packet, from its header to the end of the chain. False, and nothing written, where the header is
    /// not in the first buffer.
    /// </summary>
    /// <param name="mbuf">The packet.</param>
    /// <param name="sctp">Where its SCTP header stands, in bytes.</param>
    public static bool TryWrite(rte_mbuf* mbuf, int sctp)
    {
        if (sctp + SctpHeader.Length > mbuf->data_len)
        {
            return false;
        }
        byte* header = Mbuf.Data(mbuf) + sctp;
        Unsafe.WriteUnaligned(header + SctpHeader.Checksum, 0u);
        uint crc = Add(uint.MaxValue, header, mbuf->data_len - sctp);
        for (rte_mbuf* part = mbuf->next; part != null; part = part->next)
        {
            crc = Add(crc, Mbuf.Data(part), part->data_len);
        }
        Unsafe.WriteUnaligned(header + SctpHeader.Checksum, ~crc);
        return true;
    }

    /// <summary>
    /// What the CRC of a packet differs by when the bits of one 32-bit word in it are inverted: the code is linear, so nothing but the
    /// distance from the end of the packet matters.
    /// </summary>
    /// <param name="bits">Which bits, in this machine's order.</param>
    /// <param name="following">Bytes behind the word.</param>
    public static uint Difference(uint bits, int following)
    {
        const int Chunk = 64;
        byte* zeroes = stackalloc byte[Chunk];
        new Span<byte>(zeroes, Chunk).Clear();
        uint crc = Add(0, (byte*)&bits, sizeof(uint));
        for (; following > 0; following -= Chunk)
        {
            crc = Add(crc, zeroes, Math.Min(following, Chunk));
        }
        return crc;
    }

    /// <summary>Goes on with a sum that is not inverted yet.</summary>
    internal static uint Add(uint crc, byte* data, int length)
    {
        if (Sse42.X64.IsSupported)
        {
            for (; length >= 8; data += 8, length -= 8)
            {
                crc = (uint)Sse42.X64.Crc32(crc, Unsafe.ReadUnaligned<ulong>(data));
            }
            for (; length > 0; data++, length--)
            {
                crc = Sse42.Crc32(crc, *data);
            }
            return crc;
        }
        if (Crc32.Arm64.IsSupported)
        {
            for (; length >= 8; data += 8, length -= 8)
            {
                crc = Crc32.Arm64.ComputeCrc32C(crc, Unsafe.ReadUnaligned<ulong>(data));
            }
        }
        return AddByTable(crc, data, length);
    }

    /// <summary>As <see cref="Add"/>, byte by byte: for a machine without the instruction.</summary>
    internal static uint AddByTable(uint crc, byte* data, int length)
    {
        uint[] table = Table;
        for (; length > 0; data++, length--)
        {
            crc = (crc >> 8) ^ table[(byte)crc ^ *data];
        }
        return crc;
    }

    private static uint[] MakeTable()
    {
        var table = new uint[256];
        for (uint i = 0; i < 256; i++)
        {
            uint value = i;
            for (int bit = 0; bit < 8; bit++)
            {
                value = (value >> 1) ^ ((value & 1) * Reflected);
            }
            table[i] = value;
        }
        return table;
    }
}
