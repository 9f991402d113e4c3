using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.Packets;

/// <summary>Outcome of <see cref="SoftwareOffload.Segment"/>.</summary>
public enum OffloadResult
{
    Done,
    /// <summary>The headers do not fit the request.</summary>
    Invalid,
    /// <summary>A pool is empty.</summary>
    NoBuffer,
    /// <summary>The segments would exceed the limit.</summary>
    TooLarge,
}

/// <summary>
/// Does in software what a sender left to the hardware, for an output port that cannot: completes a checksum, or cuts a
/// large TCP or UDP segment into packets. Segmentation follows what the kernel's TSO and USO do: IPv4 identification
/// counts up, sequence numbers advance, FIN and PSH only on the last segment, CWR only on the first (RFC 3168, 6.1.2).
/// </summary>
public static unsafe class SoftwareOffload
{
    private const int MaxHeader = 192; // Ethernet, two tags, IPv6 with extension headers, TCP with options

    /// <summary>
    /// Completes the checksum in place. The mbuf must have one reference: others would see a packet half done.
    /// </summary>
    public static OffloadResult CompleteChecksum(rte_mbuf* mbuf)
    {
        virtio_net_hdr vnet = Offload.Meta(mbuf)->Vnet;
        uint field = (uint)vnet.csum_start + vnet.csum_offset;
        if (field + 2 > mbuf->data_len)
        {
            return OffloadResult.Invalid;
        }
        // The field holds the sum of the pseudo-header already: it takes part like any other byte.
        ushort checksum = Checksum.Finish(Checksum.AddChain(0, mbuf, vnet.csum_start));
        StoreChecksum(Mbuf.Data(mbuf) + field, checksum, isUdp: vnet.csum_offset == 6);
        mbuf->ol_flags &= ~Offload.PendingMask;
        return OffloadResult.Done;
    }

    /// <summary>
    /// Cuts a packet into segments of its gso_size. The packet itself is left as it is. A limit makes TCP segments smaller where they
    /// would exceed it: a stream has no boundaries. Datagrams have.
    /// </summary>
    /// <param name="packet">A chain with <see cref="Offload.SegmentFlag"/>.</param>
    /// <param name="small">Pool for segments that fit one of its buffers.</param>
    /// <param name="large">Pool for larger ones (jumbo frames).</param>
    /// <param name="segments">Receives them; <paramref name="capacity"/> entries.</param>
    /// <param name="count">How many were made; 0 unless the result is <see cref="OffloadResult.Done"/>.</param>
    /// <param name="limit">Bytes of the largest frame.</param>
    /// <param name="summed">Whether checksums of the transport are made. Datagrams that never left this machine's memory may do without (RFC 768).</param>
    public static OffloadResult Segment(rte_mbuf* packet, MbufPool small, MbufPool large, rte_mbuf** segments, int capacity, out int count,
        uint limit = uint.MaxValue, bool summed = true)
    {
        count = 0;
        if (!Layout.TryRead(packet, out Layout layout))
        {
            return OffloadResult.Invalid;
        }
        uint payload = packet->pkt_len - layout.HeaderLength;
        uint size = Offload.Meta(packet)->Vnet.gso_size;
        if (layout.HeaderLength + Math.Min(size, payload) > limit)
        {
            if (!layout.IsTcp || limit <= layout.HeaderLength)
            {
                return OffloadResult.TooLarge;
            }
            size = limit - layout.HeaderLength;
        }
        uint pieces = (payload + size - 1) / size;
        if (payload == 0 || pieces > (uint)capacity)
        {
            return OffloadResult.Invalid;
        }

        uint frame = layout.HeaderLength + Math.Min(size, payload);
        MbufPool pool = frame <= Offload.Room(small) ? small : large;
        if (frame > Offload.Room(pool))
        {
            return OffloadResult.Invalid;
        }
        if (Shim.dps_mbuf_alloc_bulk(pool.Pointer, segments, pieces) != 0)
        {
            return OffloadResult.NoBuffer;
        }

        for (uint i = 0; i < pieces; i++)
        {
            uint offset = i * size;
            uint length = Math.Min(size, payload - offset);
            rte_mbuf* segment = segments[i];
            byte* data = Mbuf.Data(segment);
            Buffer.MemoryCopy(Mbuf.Data(packet), data, layout.HeaderLength, layout.HeaderLength);
            CopyRange(packet, layout.HeaderLength + offset, data + layout.HeaderLength, length);
            segment->data_len = (ushort)(layout.HeaderLength + length);
            segment->pkt_len = layout.HeaderLength + length;
            segment->port = packet->port;
            layout.Rewrite(data, i, offset, length, last: i == pieces - 1, summed);
        }
        count = (int)pieces;
        return OffloadResult.Done;
    }

    /// <summary>Copies a range of a chain.</summary>
    private static void CopyRange(rte_mbuf* mbuf, uint offset, byte* to, uint length)
    {
        while (mbuf != null && offset >= mbuf->data_len)
        {
            offset -= mbuf->data_len;
            mbuf = mbuf->next;
        }
        while (mbuf != null && length > 0)
        {
            uint n = Math.Min(length, mbuf->data_len - offset);
            Buffer.MemoryCopy(Mbuf.Data(mbuf) + offset, to, n, n);
            to += n;
            length -= n;
            offset = 0;
            mbuf = mbuf->next;
        }
    }

    private static void StoreChecksum(byte* field, ushort checksum, bool isUdp)
    {
        // A UDP checksum of zero means "none" (RFC 768): its other form is all ones.
        *(ushort*)field = checksum == 0 && isUdp ? (ushort)0xFFFF : checksum;
    }

    /// <summary>Where the headers of a segmentable packet stand; read once, with every length checked.</summary>
    private struct Layout
    {
        public uint HeaderLength;
        /// <summary>Else UDP.</summary>
        public bool IsTcp;
        private uint _ip;
        private uint _transport;
        private bool _isIPv6;

        public static bool TryRead(rte_mbuf* packet, out Layout layout)
        {
            layout = default;
            ref readonly virtio_net_hdr vnet = ref Offload.Meta(packet)->Vnet;
            byte* data = Mbuf.Data(packet);
            uint first = packet->data_len; // headers must lie in the first buffer
            uint ip = Wire.EthernetHeader;
            if (first < ip + 20)
            {
                return false;
            }
            ushort type = Wire.Load16(data + Wire.EtherTypeOffset);
            for (int tags = 0; tags < 2 && type is Wire.EtherTypeVlan or Wire.EtherTypeServiceVlan; tags++)
            {
                ip += Wire.VlanTag;
                if (first < ip + 20)
                {
                    return false;
                }
                type = Wire.Load16(data + ip - 2);
            }

            layout._ip = ip;
            uint transport;
            byte protocol;
            if (type == Wire.EtherTypeIPv4 && (data[ip] >> 4) == 4)
            {
                transport = ip + ((data[ip] & 15u) * 4);
                protocol = data[ip + 9];
                if (transport < ip + 20)
                {
                    return false;
                }
            }
            else if (type == Wire.EtherTypeIPv6 && (data[ip] >> 4) == 6)
            {
                layout._isIPv6 = true;
                transport = SkipExtensions(data, ip, first, out protocol);
            }
            else
            {
                return false;
            }
            // The sender and the headers must agree on where the transport header stands, and on what it is.
            layout._transport = vnet.csum_start;
            if (transport != vnet.csum_start || protocol != (vnet.csum_offset == 6 ? Wire.ProtocolUdp : Wire.ProtocolTcp))
            {
                return false;
            }

            switch (vnet.gso_type & ~virtio_net_hdr.VIRTIO_NET_HDR_GSO_ECN)
            {
                case virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV4 when !layout._isIPv6:
                case virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV6 when layout._isIPv6:
                    if (first < layout._transport + 20 || vnet.csum_offset != 16)
                    {
                        return false;
                    }
                    layout.IsTcp = true;
                    uint tcp = (uint)(data[layout._transport + 12] >> 4) * 4;
                    layout.HeaderLength = layout._transport + tcp;
                    return tcp >= 20 && layout.HeaderLength <= first && layout.HeaderLength <= MaxHeader;
                case virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4:
                    layout.HeaderLength = layout._transport + 8;
                    return vnet.csum_offset == 6 && layout.HeaderLength <= first && layout.HeaderLength <= MaxHeader;
                default:
                    return false; // UDP fragmentation offload is never negotiated
            }
        }

        /// <summary>
        /// Past the IPv6 header and the extension headers that may stand before TCP or UDP (RFC 8200, 4.1). Gives where the next
        /// header stands and what it is; 0 when the headers run past <paramref name="end"/>.
        /// </summary>
        private static uint SkipExtensions(byte* data, uint ip, uint end, out byte protocol)
        {
            const byte HopByHop = 0, Routing = 43, DestinationOptions = 60;
            uint at = ip + 40;
            protocol = 0;
            if (end < at)
            {
                return 0;
            }
            protocol = data[ip + 6];
            while (protocol is HopByHop or Routing or DestinationOptions)
            {
                if (at + 2 > end)
                {
                    return 0;
                }
                protocol = data[at];
                at += (data[at + 1] + 1u) * 8;
            }
            return at;
        }

        /// <summary>Makes a copy of the headers those of segment <paramref name="index"/>.</summary>
        public readonly void Rewrite(byte* data, uint index, uint offset, uint length, bool last, bool summed)
        {
            byte* ip = data + _ip;
            byte* transport = data + _transport;
            uint transportLength = HeaderLength - _transport + length;
            ulong pseudo;
            if (_isIPv6)
            {
                Wire.Store16(ip + 4, (ushort)(HeaderLength - _ip - 40 + length));
                pseudo = Checksum.Add(0, ip + 8, 32);
            }
            else
            {
                Wire.Store16(ip + 2, (ushort)(HeaderLength - _ip + length));
                Wire.Store16(ip + 4, (ushort)(Wire.Load16(ip + 4) + index));
                *(ushort*)(ip + 10) = 0;
                *(ushort*)(ip + 10) = Checksum.Finish(Checksum.Add(0, ip, (ip[0] & 15u) * 4));
                pseudo = Checksum.Add(0, ip + 12, 8);
            }

            byte* field;
            byte protocol;
            if (IsTcp)
            {
                const byte Fin = 0x01, Psh = 0x08, Cwr = 0x80;
                Wire.Store32(transport + 4, Wire.Load32(transport + 4) + offset);
                if (!last)
                {
                    transport[13] &= unchecked((byte)~(Fin | Psh));
                }
                if (index > 0)
                {
                    transport[13] &= unchecked((byte)~Cwr);
                }
                field = transport + 16;
                protocol = Wire.ProtocolTcp;
            }
            else
            {
                Wire.Store16(transport + 4, (ushort)transportLength);
                field = transport + 6;
                protocol = Wire.ProtocolUdp;
            }
            *(ushort*)field = 0;
            if (!summed)
            {
                return;
            }
            // The rest of the pseudo-header: protocol and length, as 16-bit words in network order (RFC 793, 3.1; RFC 8200, 8.1).
            pseudo += (ulong)protocol << 8;
            pseudo += System.Buffers.Binary.BinaryPrimitives.ReverseEndianness((ushort)transportLength);
            StoreChecksum(field, Checksum.Finish(Checksum.Add(pseudo, transport, transportLength)), isUdp: !IsTcp);
        }
    }
}
