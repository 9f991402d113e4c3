using System.Buffers.Binary;
using Dataplane.Interop.Linux;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// TCP and UDP packets as a kernel hands them to a TAP: the checksum field holds the pseudo-header's sum, and the vnet header
/// says where to go on and how to cut (virtio specification, 5.1.6.2).
/// </summary>
public static class Inet
{
    /// <summary>TCP flags (RFC 9293, 3.1).</summary>
    public const byte Fin = 0x01, Syn = 0x02, Psh = 0x08, Ack = 0x10, Ece = 0x40, Cwr = 0x80;

    /// <param name="payload">Bytes behind the TCP header.</param>
    /// <param name="mss">Payload of a segment; 0 for a packet that is not to be cut.</param>
    /// <param name="v6">IPv6.</param>
    /// <param name="options">Bytes of TCP options, a multiple of 4.</param>
    /// <param name="flags">TCP flags.</param>
    /// <param name="tags">VLAN tags, see <see cref="Frame.WithTags"/>.</param>
    /// <param name="ipOptions">Bytes of IPv4 options, a multiple of 4, or of one IPv6 extension header, a multiple of 8.</param>
    /// <param name="destination">MAC address.</param>
    /// <param name="source">MAC address.</param>
    public static Unfinished Tcp(int payload, int mss = 0, bool v6 = false, int options = 0, byte flags = Ack, int[]? tags = null,
        int ipOptions = 0, string destination = Frame.B, string source = Frame.A)
    {
        byte[] header = new byte[20 + options];
        BinaryPrimitives.WriteUInt16BigEndian(header, 40000);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), 5201);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(4), 0xFFFF_F000); // wraps within a large packet
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(8), 0x0102_0304);
        header[12] = (byte)(header.Length / 4 << 4);
        header[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(14), 502);
        header.AsSpan(20).Fill(1); // no-operation
        byte gso = v6 ? virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV6 : virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV4;
        if ((flags & Cwr) != 0)
        {
            gso |= virtio_net_hdr.VIRTIO_NET_HDR_GSO_ECN;
        }
        return Build(Wire.ProtocolTcp, header, 16, payload, mss, gso, v6, tags ?? [], ipOptions, destination, source);
    }

    /// <summary>As <see cref="Tcp"/>, for UDP; cut into datagrams (USO).</summary>
    public static Unfinished Udp(int payload, int mss = 0, bool v6 = false, int[]? tags = null, int ipOptions = 0,
        string destination = Frame.B, string source = Frame.A)
    {
        byte[] header = new byte[8];
        BinaryPrimitives.WriteUInt16BigEndian(header, 40000);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), 5201);
        // A kernel leaves the length of the whole in it, modulo 2^16.
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(4), (ushort)(8 + payload));
        return Build(Wire.ProtocolUdp, header, 6, payload, mss, virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4, v6, tags ?? [], ipOptions, destination, source);
    }

    private static Unfinished Build(byte protocol, byte[] transport, ushort checksumOffset, int payload, int mss, byte gso, bool v6,
        int[] tags, int ipOptions, string destination, string source)
    {
        byte[] data = new byte[payload];
        new Random(payload).NextBytes(data);
        byte[] ip = v6 ? V6(protocol, ipOptions, transport.Length + payload) : V4(protocol, ipOptions, transport.Length + payload);
        uint pseudo = protocol + (uint)(transport.Length + payload);
        ReadOnlySpan<byte> addresses = v6 ? ip.AsSpan(8, 32) : ip.AsSpan(12, 8);
        for (int i = 0; i < addresses.Length; i += 2)
        {
            pseudo += BinaryPrimitives.ReadUInt16BigEndian(addresses[i..]);
        }
        while (pseudo > 0xFFFF)
        {
            pseudo = (pseudo & 0xFFFF) + (pseudo >> 16);
        }
        BinaryPrimitives.WriteUInt16BigEndian(transport.AsSpan(checksumOffset), (ushort)pseudo);
        byte[] frame = Frame.Raw(destination, source, v6 ? Wire.EtherTypeIPv6 : Wire.EtherTypeIPv4, [.. ip, .. transport, .. data]);
        int start = Wire.EthernetHeader + (tags.Length * Wire.VlanTag) + ip.Length;
        return new Unfinished(Frame.WithTags(frame, tags), new virtio_net_hdr
        {
            flags = virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM,
            gso_type = mss == 0 ? virtio_net_hdr.VIRTIO_NET_HDR_GSO_NONE : gso,
            gso_size = (ushort)mss,
            // Without segmentation the kernel gives no header length (include/linux/virtio_net.h).
            hdr_len = mss == 0 ? (ushort)0 : (ushort)(start + transport.Length),
            csum_start = (ushort)start,
            csum_offset = checksumOffset,
        });
    }

    private static byte[] V4(byte protocol, int options, int length)
    {
        byte[] ip = new byte[20 + options];
        ip[0] = (byte)(0x40 | (ip.Length / 4));
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(2), (ushort)(ip.Length + length));
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), 0xFFFE); // wraps
        ip[6] = 0x40; // do not fragment
        ip[8] = 64;
        ip[9] = protocol;
        new byte[] { 172, 18, 0, 2, 172, 18, 0, 3 }.CopyTo(ip, 12);
        ip.AsSpan(20).Fill(1); // no-operation
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), Reference.Checksum(ip));
        return ip;
    }

    private static byte[] V6(byte protocol, int extension, int length)
    {
        byte[] ip = new byte[40 + extension];
        ip[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)(extension + length));
        ip[6] = protocol;
        ip[7] = 64;
        new byte[] { 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3 }.CopyTo(ip, 8);
        if (extension != 0)
        {
            ip[6] = 60; // destination options (RFC 8200, 4.6), filled with one PadN
            ip[40] = protocol;
            ip[41] = (byte)((extension / 8) - 1);
            ip[42] = 1;
            ip[43] = (byte)(extension - 4);
        }
        return ip;
    }
}
