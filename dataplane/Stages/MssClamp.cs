using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Stages;

/// <summary>
/// Lowers the maximum segment size that a TCP SYN announces (RFC 9293, 3.7.1) to what the way back can carry: a remedy for senders
/// that never hear of "packet too big". A SYN without the option announces the default, which every link carries, and stays as
/// it is.
/// </summary>
public static unsafe class MssClamp
{
    private const int MinHeader = 20, FlagsOffset = 13, ChecksumOffset = 16;
    private const byte Syn = 0x02, EndOfOptions = 0, NoOperation = 1, MaximumSegmentSize = 2;

    /// <summary>Whether a TCP header is a SYN's, be it the answer.</summary>
    /// <param name="tcp">The header.</param>
    /// <param name="length">Bytes that can be read there.</param>
    public static bool IsSyn(byte* tcp, int length) => length >= MinHeader && (tcp[FlagsOffset] & Syn) != 0;

    /// <summary>Lowers the option. False when there was nothing to lower.</summary>
    /// <param name="tcp">The header of a SYN.</param>
    /// <param name="length">Bytes that can be read there.</param>
    /// <param name="limit">The largest that may be announced.</param>
    /// <param name="isChecksumPending">Whether the checksum is still to be made, of the options as they are then.</param>
    public static bool Apply(byte* tcp, int length, int limit, bool isChecksumPending)
    {
        int end = Math.Min((tcp[12] >> 4) * 4, length);
        for (int at = MinHeader; at < end && tcp[at] != EndOfOptions;)
        {
            if (tcp[at] == NoOperation)
            {
                at++;
                continue;
            }
            if (at + 2 > end || tcp[at + 1] < 2 || at + tcp[at + 1] > end)
            {
                return false;
            }
            if (tcp[at] == MaximumSegmentSize && tcp[at + 1] == 4)
            {
                return Lower(tcp, at + 2, limit, isChecksumPending);
            }
            at += tcp[at + 1];
        }
        return false;
    }

    private static bool Lower(byte* tcp, int field, int limit, bool isChecksumPending)
    {
        if (Wire.Load16(tcp + field) <= limit)
        {
            return false;
        }
        ushort old = Unsafe.ReadUnaligned<ushort>(tcp + field);
        Wire.Store16(tcp + field, (ushort)limit);
        if (!isChecksumPending)
        {
            // Behind an odd number of bytes the sum has them the other way round (RFC 1071, 2(B)).
            ushort was = Word(old, field), now = Word(Unsafe.ReadUnaligned<ushort>(tcp + field), field);
            ushort* checksum = (ushort*)(tcp + ChecksumOffset);
            Unsafe.WriteUnaligned(checksum, Checksum.Update(Unsafe.ReadUnaligned<ushort>(checksum), was, now));
        }
        return true;
    }

    private static ushort Word(ushort value, int offset) => (offset & 1) == 0 ? value : (ushort)((value << 8) | (value >> 8));
}
