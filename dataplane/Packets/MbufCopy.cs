using Dataplane.Interop.Dpdk;

namespace Dataplane.Packets;

/// <summary>Between mbuf chains and plain bytes, and from mbuf to mbuf.</summary>
public static unsafe class MbufCopy
{
    /// <summary>
    /// A packet with the given bytes, in a small buffer and the rest in a large one. Null when a pool is empty or the packet
    /// is larger than both buffers together.
    /// </summary>
    public static rte_mbuf* FromBytes(ReadOnlySpan<byte> packet, MbufPool small, MbufPool large, int firstBuffer = int.MaxValue)
    {
        rte_mbuf* first = Shim.dps_mbuf_alloc(small.Pointer);
        if (first == null)
        {
            return null;
        }
        int n = Math.Min(Math.Min(packet.Length, Mbuf.Tailroom(first)), firstBuffer);
        packet[..n].CopyTo(new Span<byte>(Mbuf.Data(first), n));
        first->data_len = (ushort)n;
        first->pkt_len = (uint)packet.Length;
        ReadOnlySpan<byte> rest = packet[n..];
        if (rest.IsEmpty)
        {
            return first;
        }
        rte_mbuf* second = Shim.dps_mbuf_alloc(large.Pointer);
        if (second == null || rest.Length > Mbuf.Tailroom(second))
        {
            Shim.dps_mbuf_free(first);
            if (second != null)
            {
                Shim.dps_mbuf_free(second);
            }
            return null;
        }
        rest.CopyTo(new Span<byte>(Mbuf.Data(second), rest.Length));
        second->data_len = (ushort)rest.Length;
        first->next = second;
        first->nb_segs = 2;
        return first;
    }

    /// <summary>The bytes of a chain. Allocates: not for the packet path.</summary>
    public static byte[] ToBytes(rte_mbuf* mbuf)
    {
        byte[] bytes = new byte[mbuf->pkt_len];
        int at = 0;
        for (rte_mbuf* part = mbuf; part != null; part = part->next)
        {
            new ReadOnlySpan<byte>(Mbuf.Data(part), part->data_len).CopyTo(bytes.AsSpan(at));
            at += part->data_len;
        }
        return bytes;
    }

    /// <summary>
    /// A copy whose bytes may be changed, with the same pending offloads: in one buffer where it fits, else in as many as
    /// needed. Null when the pool is empty.
    /// </summary>
    public static rte_mbuf* Deep(rte_mbuf* mbuf, MbufPool small, MbufPool large)
    {
        MbufPool pool = mbuf->pkt_len <= Offload.Room(small) ? small : large;
        rte_mbuf* copy = Shim.dps_mbuf_copy(mbuf, pool.Pointer, 0, uint.MaxValue);
        if (copy != null)
        {
            copy->port = mbuf->port;
            Offload.Copy(mbuf, copy);
        }
        return copy;
    }
}
