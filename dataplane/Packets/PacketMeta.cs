using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.Packets;

/// <summary>
/// Per-packet notes in the private area of an mbuf. They are valid only while a flag of the mbuf says so: a packet that never
/// asked for an offload and is not traced costs no access to this line.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct PacketMeta
{
    public const int SizeInBytes = 64;

    /// <summary>
    /// What the sender left to be done, as the TAP device said it (virtio specification, 5.1.6). Valid only while
    /// <see cref="Offload.IsPending"/>.
    /// </summary>
    [FieldOffset(0)] public virtio_net_hdr Vnet;

    /// <summary>Number of a traced packet, and for which sessions. Valid only with <see cref="Observation.PacketWatch.TraceFlag"/>.</summary>
    [FieldOffset(16)] public uint Trace;
    [FieldOffset(20)] public uint TraceSessions;
}

/// <summary>
/// Work that the sender of a packet left to whoever can do it: completing a TCP or UDP checksum, and cutting a large segment
/// into packets. An mbuf with such work carries the matching DPDK transmit flag, and the details in <see cref="PacketMeta"/>.
/// </summary>
public static unsafe class Offload
{
    /// <summary>Any of these flags: look at the private area.</summary>
    public const ulong PendingMask = ChecksumFlag | SegmentFlag;

    /// <summary>RTE_MBUF_F_TX_TCP_CKSUM: bytes from csum_start are to be summed up (whatever the protocol).</summary>
    public const ulong ChecksumFlag = 1ul << 52;

    /// <summary>RTE_MBUF_F_TX_TCP_SEG: larger than the wire allows; to be cut at gso_size.</summary>
    public const ulong SegmentFlag = 1ul << 50;

    /// <summary>
    /// The mark of a packet that has outer headers of this switch: one of the flags that DPDK leaves to applications. Such a packet
    /// enters no tunnel a second time. It is gone when the packet leaves by a device or loses its headers.
    /// </summary>
    public const ulong EncapsulatedFlag = 1ul << 39;

    /// <summary>The mark of a packet whose outer checksum is pending: it never left this machine's memory, so it is right.</summary>
    public const ulong TrustedFlag = 1ul << 38;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsPending(rte_mbuf* mbuf) => (mbuf->ol_flags & PendingMask) != 0;

    /// <summary>The private area. mbufs of the dataplane's pools all have one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PacketMeta* Meta(rte_mbuf* mbuf) => (PacketMeta*)(mbuf + 1);

    /// <summary>Bytes of a packet that one buffer of a pool holds.</summary>
    public static uint Room(MbufPool pool) => (uint)(pool.DataRoom - Mbuf.DefaultHeadroom);

    /// <summary>Takes over what a TAP device said of a packet. False when it makes no sense for a packet of this length.</summary>
    public static bool Accept(rte_mbuf* mbuf, in virtio_net_hdr vnet)
    {
        if ((vnet.flags & virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
        {
            // Without a checksum to complete there is nothing to segment either: the kernel always asks for both.
            return vnet.gso_type == virtio_net_hdr.VIRTIO_NET_HDR_GSO_NONE;
        }
        if (vnet.csum_start < NetworkHeadersEnd(mbuf) || (uint)vnet.csum_start + vnet.csum_offset + 2 > mbuf->pkt_len)
        {
            return false;
        }
        ulong flags = ChecksumFlag;
        if (vnet.gso_type != virtio_net_hdr.VIRTIO_NET_HDR_GSO_NONE)
        {
            if (vnet.gso_size == 0)
            {
                return false;
            }
            flags |= SegmentFlag;
        }
        Meta(mbuf)->Vnet = vnet;
        mbuf->ol_flags |= flags;
        return true;
    }

    /// <summary>
    /// Where the first byte is that a checksum may be taken from, or be written to: behind the IP header. What stands before it is judged
    /// by the stages before the checksum is completed, and must be the same afterwards: a source that was checked, for instance.
    /// </summary>
    private static uint NetworkHeadersEnd(rte_mbuf* mbuf)
    {
        byte* data = Mbuf.Data(mbuf);
        int length = mbuf->data_len;
        if (length < Wire.EthernetHeader)
        {
            return Wire.EthernetHeader; // a device fills its first buffer, so that the headers are in it
        }
        int at = EthernetFrame.NetworkOffset(data, length, int.MaxValue, out ushort type);
        return type switch
        {
            Wire.EtherTypeIPv4 => (uint)at + (at < length ? (uint)Math.Max(IPv4Header.MinLength, (data[at] & 15) * 4) : IPv4Header.MinLength),
            Wire.EtherTypeIPv6 => (uint)at + IPv6Header.Length,
            Wire.EtherTypeArp => uint.MaxValue, // it has no checksum
            _ => (uint)at,
        };
    }

    /// <summary>Bytes of the longest frame that a packet with <see cref="SegmentFlag"/> is to become, by what its sender says of it.</summary>
    public static uint SegmentLength(rte_mbuf* mbuf)
    {
        ref readonly virtio_net_hdr vnet = ref Meta(mbuf)->Vnet;
        const uint MinTcpHeader = 20, UdpHeader = 8, UdpChecksum = 6, TcpDataOffset = 12;
        uint headers = vnet.csum_start;
        if (vnet.csum_offset == UdpChecksum)
        {
            headers += UdpHeader;
        }
        else
        {
            uint dataOffset = headers + TcpDataOffset;
            headers += dataOffset < mbuf->data_len ? ((uint)Mbuf.Data(mbuf)[dataOffset] >> 4) * 4 : MinTcpHeader;
        }
        return Math.Min(headers + vnet.gso_size, mbuf->pkt_len);
    }

    /// <summary>Headers grew or shrank by so many bytes in front of the part that the offload speaks of.</summary>
    public static void Shift(rte_mbuf* mbuf, int bytes)
    {
        if (IsPending(mbuf))
        {
            ref virtio_net_hdr vnet = ref Meta(mbuf)->Vnet;
            vnet.csum_start = (ushort)(vnet.csum_start + bytes);
            if (vnet.hdr_len != 0) // not given without segmentation
            {
                vnet.hdr_len = (ushort)(vnet.hdr_len + bytes);
            }
        }
    }

    /// <summary>A copy has the same work left, is traced as the packet is, and has the same outer headers.</summary>
    public static void Copy(rte_mbuf* from, rte_mbuf* to)
    {
        const ulong Noted = PendingMask | PacketWatch.TraceFlag | EncapsulatedFlag;
        to->ol_flags = (to->ol_flags & ~Noted) | (from->ol_flags & Noted);
        if ((from->ol_flags & Noted) != 0)
        {
            *Meta(to) = *Meta(from);
        }
    }
}
