using System.Runtime.CompilerServices;

namespace Dataplane.Interop.Dpdk;

/// <summary>
/// What DPDK offers for packet buffers only as inline C, in C#. A packet is one buffer or a chain of them; the head of the
/// chain carries <c>pkt_len</c>, <c>nb_segs</c> and the flags. In one buffer lie, in this order: headroom, data
/// (<c>data_off</c>, <c>data_len</c>), tailroom. Lengths are in bytes; every length is checked against the buffer before
/// anything is changed, and a negative one never fits.
/// </summary>
public static unsafe class Mbuf
{
    /// <summary>Bytes in front of the data of a fresh buffer.</summary>
    public const int DefaultHeadroom = Rte.RTE_PKTMBUF_HEADROOM;

    /// <summary>The first byte of this buffer's data.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Data(rte_mbuf* mbuf) => (byte*)mbuf->buf_addr + mbuf->data_off;

    /// <summary>This buffer's data, without the rest of the chain.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Span<byte> Segment(rte_mbuf* mbuf) => new(Data(mbuf), mbuf->data_len);

    /// <summary>Whether the packet has more than one buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsChained(rte_mbuf* mbuf) => mbuf->nb_segs > 1;

    /// <summary>Free bytes in front of this buffer's data.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Headroom(rte_mbuf* mbuf) => mbuf->data_off;

    /// <summary>Free bytes behind this buffer's data.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Tailroom(rte_mbuf* mbuf) => mbuf->buf_len - mbuf->data_off - mbuf->data_len;

    /// <summary>
    /// Whether this buffer's bytes belong to the caller alone. Not so after a reference was added (flooding), or when the
    /// data lies in another buffer or outside the pool. Of a chain, each buffer counts for itself.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsWritable(rte_mbuf* mbuf) =>
        Volatile.Read(ref mbuf->refcnt) == 1 && (mbuf->ol_flags & (Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL)) == 0;

    /// <summary>The private area behind the buffer's own structure. Its size is the pool's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* Private(rte_mbuf* mbuf) => mbuf + 1;

    /// <summary>The last buffer of the chain.</summary>
    public static rte_mbuf* Last(rte_mbuf* mbuf)
    {
        while (mbuf->next != null) mbuf = mbuf->next;
        return mbuf;
    }

    /// <summary>Grows the packet at its front. The new first byte, or null when the headroom is too small.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Prepend(rte_mbuf* mbuf, int length)
    {
        if ((uint)length > mbuf->data_off || mbuf->data_len + length > ushort.MaxValue) return null;
        mbuf->data_off -= (ushort)length;
        mbuf->data_len += (ushort)length;
        mbuf->pkt_len += (uint)length;
        return Data(mbuf);
    }

    /// <summary>Shrinks the packet at its front. The new first byte, or null when the first buffer holds less.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Adjust(rte_mbuf* mbuf, int length)
    {
        if ((uint)length > mbuf->data_len) return null;
        mbuf->data_off += (ushort)length;
        mbuf->data_len -= (ushort)length;
        mbuf->pkt_len -= (uint)length;
        return Data(mbuf);
    }

    /// <summary>Grows the packet at its end, in its last buffer. The first new byte, or null when that has no room.</summary>
    public static byte* Append(rte_mbuf* mbuf, int length)
    {
        var last = Last(mbuf);
        if ((uint)length > Tailroom(last)) return null;
        var added = Data(last) + last->data_len;
        last->data_len += (ushort)length;
        mbuf->pkt_len += (uint)length;
        return added;
    }

    /// <summary>Shrinks the packet at its end. False, and nothing changed, when the last buffer holds less.</summary>
    public static bool Trim(rte_mbuf* mbuf, int length)
    {
        var last = Last(mbuf);
        if ((uint)length > last->data_len) return false;
        last->data_len -= (ushort)length;
        mbuf->pkt_len -= (uint)length;
        return true;
    }

    /// <summary>
    /// Copies bytes of the packet, from any buffers of the chain. False, and nothing copied, when the packet ends before
    /// <paramref name="offset"/> plus the destination's length.
    /// </summary>
    public static bool Read(rte_mbuf* mbuf, int offset, Span<byte> destination)
    {
        if ((uint)offset > mbuf->pkt_len || (uint)destination.Length > mbuf->pkt_len - (uint)offset) return false;
        while (destination.Length > 0)
        {
            // pkt_len came from outside: a chain shorter than it says ends here.
            if (mbuf == null) return false;
            var segment = Segment(mbuf);
            mbuf = mbuf->next;
            if (offset >= segment.Length)
            {
                offset -= segment.Length;
                continue;
            }
            var count = Math.Min(segment.Length - offset, destination.Length);
            segment.Slice(offset, count).CopyTo(destination);
            destination = destination[count..];
            offset = 0;
        }
        return true;
    }

    /// <summary>A copy of the packet's bytes. Allocates: for tests, captures and control traffic.</summary>
    public static byte[] ToArray(rte_mbuf* mbuf)
    {
        var packet = new byte[mbuf->pkt_len];
        if (!Read(mbuf, 0, packet)) throw new InvalidOperationException("The chain is shorter than its pkt_len.");
        return packet;
    }
}
