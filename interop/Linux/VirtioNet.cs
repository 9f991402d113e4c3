using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// The header in front of every frame of a TAP with a vnet header: what checksum work is left and how a large segment
/// is to be cut (virtio 1.2, section 5.1.6; <c>struct virtio_net_hdr_v1</c>). 12 bytes; multi-byte fields are little
/// endian, which <see cref="Tap"/> asks the kernel for on every host. Offsets count from the first byte of the Ethernet
/// header.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct virtio_net_hdr
{
    /// <summary>sizeof(struct virtio_net_hdr_v1), in bytes.</summary>
    public const int Size = 12;

    /// <summary>flags: the checksum from csum_start on is still to be computed and stored at csum_start + csum_offset;
    /// the field there holds the pseudo header's sum.</summary>
    public const byte VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;

    /// <summary>flags: the checksums were verified; the receiver need not.</summary>
    public const byte VIRTIO_NET_HDR_F_DATA_VALID = 2;

    /// <summary>gso_type: an ordinary frame.</summary>
    public const byte VIRTIO_NET_HDR_GSO_NONE = 0;

    /// <summary>gso_type: TCP over IPv4, to be cut into segments of gso_size bytes of payload.</summary>
    public const byte VIRTIO_NET_HDR_GSO_TCPV4 = 1;

    /// <summary>gso_type: UDP fragmentation (UFO); never offered to the kernel by <see cref="Tap"/>.</summary>
    public const byte VIRTIO_NET_HDR_GSO_UDP = 3;

    /// <summary>gso_type: TCP over IPv6.</summary>
    public const byte VIRTIO_NET_HDR_GSO_TCPV6 = 4;

    /// <summary>gso_type: UDP datagrams of gso_size bytes of payload each, one header in front (USO).</summary>
    public const byte VIRTIO_NET_HDR_GSO_UDP_L4 = 5;

    /// <summary>gso_type, or-ed in: the segment carries CWR, which only the first of its pieces may keep.</summary>
    public const byte VIRTIO_NET_HDR_GSO_ECN = 0x80;

    public byte flags;
    public byte gso_type;

    /// <summary>Bytes of Ethernet, IP and transport headers; a hint that the kernel does not guarantee.</summary>
    public ushort hdr_len;

    /// <summary>Payload bytes per segment.</summary>
    public ushort gso_size;

    /// <summary>Where the checksum begins, in bytes from the start of the frame.</summary>
    public ushort csum_start;

    /// <summary>Where it is stored, in bytes from csum_start: 16 for TCP, 6 for UDP.</summary>
    public ushort csum_offset;

    /// <summary>Of merged receive buffers; always 0 or 1 on a TAP, and ignored by it.</summary>
    public ushort num_buffers;
}
