using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.Packets;

/// <summary>
/// Generic receive offload: packets of one TCP stream, or datagrams of one UDP flow, that follow each other in a burst go to a kernel as
/// one large packet with a virtio-net header, which says how to take it apart (virtio specification, 5.1.6). The kernel hands a stream
/// on as a whole, and cuts datagrams apart where a socket does not want them together; so it does the work of a packet once for all.
/// <para>
/// Whoever cuts the large packet gets what there was (as Linux has it, <c>net/core/gro.c</c>): all packets have the same headers but for
/// lengths, checksums, sequence numbers that go on, IPv4 identifications that count up or belong to what is not to be fragmented and do not
/// matter (RFC 6864), and PSH on the last one; all but the last one have as many bytes, and the last one no more. All checksums are right, or still
/// to be completed: a large packet's are made anew, and must not hide that one was wrong.
/// </para>
/// <para>
/// Nothing is copied but the headers, and the packets stay as they are. Only neighbours are looked at: packets of other flows between
/// them end a run, and no packet overtakes another.
/// </para>
/// </summary>
public unsafe struct CoalescedPacket
{
    /// <summary>Packets that become one, at most; Linux sends no more datagrams in one (UDP_MAX_SEGMENTS).</summary>
    public const int MaxPackets = 64;

    /// <summary>Ethernet, two tags, IPv6, TCP with options.</summary>
    private const int MaxHeader = 128;

    private const byte UdpChecksum = UdpHeader.Checksum, Push = 0x08;

    private fixed byte _header[MaxHeader];

    /// <summary>How the large packet is to be taken apart.</summary>
    public virtio_net_hdr Vnet;

    /// <summary>Bytes of headers, in the large packet and in each of those it was made of.</summary>
    public int HeaderLength { get; private set; }

    /// <summary>Datagrams, not a stream.</summary>
    public readonly bool IsUdp => Vnet.gso_type == virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4;

    /// <summary>Headers of the large packet. What follows are the packets' payloads, in their order.</summary>
    public byte* Header => (byte*)Unsafe.AsPointer(ref _header[0]);

    /// <summary>Makes the headers of the large packet that takes the place of the first ones of a burst.</summary>
    /// <param name="mbufs">The burst.</param>
    /// <param name="count">Its packets, at least one.</param>
    /// <param name="datagrams">Whether the receiver takes datagrams.</param>
    /// <returns>How many packets it takes the place of. With 1 there is no large packet: the first one is sent as it is.</returns>
    public int Collect(rte_mbuf** mbufs, int count, bool datagrams)
    {
        if (!Part.TryRead(mbufs[0], out Part first) || (first.IsUdp && !datagrams))
        {
            return 1;
        }
        Part last = first;
        int payload = first.Payload, n = 1;
        for (count = Math.Min(count, MaxPackets); n < count; n++)
        {
            if (last.IsLast || last.Payload < first.Payload || !Part.TryRead(mbufs[n], out Part next) || next.Payload > first.Payload
                || first.HeaderLength - first.Network + payload + next.Payload > ushort.MaxValue
                || !next.Follows(last) || (n == 1 && !first.IsSound()) || !next.IsSound())
            {
                break;
            }
            payload += next.Payload;
            last = next;
        }
        if (n > 1)
        {
            Write(first, last, payload);
        }
        return n;
    }

    private void Write(in Part first, in Part last, int payload)
    {
        HeaderLength = first.HeaderLength;
        Buffer.MemoryCopy(first.Data, Header, MaxHeader, HeaderLength);
        byte* ip = Header + first.Network, transport = Header + first.Transport;
        int length = HeaderLength - first.Transport + payload;
        if (first.IsIPv6)
        {
            Wire.Store16(ip + 4, (ushort)length);
        }
        else
        {
            Wire.Store16(ip + 2, (ushort)(IPv4Header.MinLength + length));
            IPv4Header.WriteChecksum(ip);
        }
        byte* checksum = transport + (first.IsUdp ? UdpChecksum : TcpHeader.Checksum);
        if (first.IsUdp)
        {
            Wire.Store16(transport + 4, (ushort)length);
        }
        else
        {
            transport[TcpHeader.Flags] |= (byte)(last.Data[last.Transport + TcpHeader.Flags] & Push);
        }
        // What is left to complete is the sum from the transport header on; that of the pseudo-header stands there already.
        Unsafe.WriteUnaligned(checksum, Checksum.Fold(first.PseudoHeader(length)));
        Vnet = new virtio_net_hdr
        {
            flags = virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM,
            gso_type = first.IsUdp ? virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4
                : first.IsIPv6 ? virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV6 : virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV4,
            hdr_len = (ushort)HeaderLength,
            gso_size = (ushort)first.Payload,
            csum_start = (ushort)first.Transport,
            csum_offset = (ushort)(checksum - transport),
        };
    }

    /// <summary>A packet that may be part of a large one.</summary>
    private struct Part
    {
        public byte* Data;
        public int Network, Transport, HeaderLength, Payload;
        public bool IsIPv6, IsUdp;
        /// <summary>There is no checksum of the transport to verify.</summary>
        private bool _isPending;

        /// <summary>Nothing may come behind it.</summary>
        public readonly bool IsLast => !IsUdp && (Data[Transport + TcpHeader.Flags] & Push) != 0;

        /// <summary>
        /// Whether a packet is a TCP segment in the middle of a stream, or a datagram, in one buffer that ends with it: no IP options or
        /// extension headers, no fragment, none that is large already.
        /// </summary>
        public static bool TryRead(rte_mbuf* mbuf, out Part part)
        {
            Unsafe.SkipInit(out part);
            int end = mbuf->data_len;
            if (mbuf->nb_segs != 1 || (mbuf->ol_flags & Offload.SegmentFlag) != 0 || end < Wire.EthernetHeader + IPv4Header.MinLength)
            {
                return false;
            }
            byte* data = Mbuf.Data(mbuf);
            int network = EthernetFrame.NetworkOffset(data, end, 2, out ushort type), transport;
            byte* ip = data + network;
            byte protocol;
            if (type == Wire.EtherTypeIPv4)
            {
                transport = network + IPv4Header.MinLength;
                if (end < transport || ip[0] != 0x45 || IPv4Header.IsFragment(ip) || IPv4Header.TotalLength(ip) != end - network)
                {
                    return false;
                }
                protocol = IPv4Header.Protocol(ip);
            }
            else if (type == Wire.EtherTypeIPv6)
            {
                transport = network + IPv6Header.Length;
                if (end < transport || ip[0] >> 4 != 6 || IPv6Header.PayloadLength(ip) != end - transport)
                {
                    return false;
                }
                protocol = IPv6Header.NextHeader(ip);
            }
            else
            {
                return false;
            }

            // Outer headers of this switch: it may give them a checksum as well as none, and knows that one is right.
            bool isOurs = (mbuf->ol_flags & Offload.EncapsulatedFlag) != 0;
            int header;
            ushort checksum;
            if (protocol == Wire.ProtocolUdp)
            {
                header = transport + UdpHeader.Length;
                if (end <= header || Wire.Load16(data + transport + 4) != end - transport || (!isOurs && Wire.Load16(data + transport + UdpChecksum) == 0))
                {
                    return false;
                }
                checksum = UdpChecksum;
            }
            else if (protocol == Wire.ProtocolTcp && end > transport + TcpHeader.MinLength)
            {
                header = transport + ((data[transport + TcpHeader.DataOffset] >> 4) * 4);
                if (end <= header || header < transport + TcpHeader.MinLength || (data[transport + TcpHeader.Flags] & ~Push) != TcpHeader.Ack)
                {
                    return false;
                }
                checksum = TcpHeader.Checksum;
            }
            else
            {
                return false;
            }
            bool isPending = Offload.IsPending(mbuf);
            if (isPending)
            {
                ref readonly virtio_net_hdr vnet = ref Offload.Meta(mbuf)->Vnet;
                if (vnet.csum_start != transport || vnet.csum_offset != checksum)
                {
                    return false;
                }
            }
            part = new Part
            {
                Data = data,
                Network = network,
                Transport = transport,
                HeaderLength = header,
                Payload = end - header,
                IsIPv6 = type == Wire.EtherTypeIPv6,
                IsUdp = checksum == UdpChecksum,
                _isPending = isPending || isOurs,
            };
            return true;
        }

        /// <summary>Whether this packet is what comes behind another one when a large packet is cut.</summary>
        public readonly bool Follows(in Part other)
        {
            if (Network != other.Network || HeaderLength != other.HeaderLength || IsIPv6 != other.IsIPv6 || IsUdp != other.IsUdp
                || !Same(other, 0, Network))
            {
                return false;
            }
            byte* ip = Data + Network, before = other.Data + Network;
            if (IsIPv6)
            {
                // All but the length.
                if (!Same(other, Network, 4) || !Same(other, Network + 6, IPv6Header.Length - 6))
                {
                    return false;
                }
            }
            else if (!Same(other, Network, 2) || !Same(other, Network + 6, 4) || !Same(other, Network + 12, 8)
                || ((IPv4Header.Fragment(ip) & IPv4Header.DontFragment) == 0 && Wire.Load16(ip + 4) != (ushort)(Wire.Load16(before + 4) + 1)))
            {
                return false;
            }
            if (IsUdp)
            {
                return Same(other, Transport, 4);
            }
            // Ports and acknowledgement; length of the header, window, urgent pointer and options.
            uint expected = Wire.Load32(other.Data + Transport + TcpHeader.Sequence) + (uint)other.Payload;
            return Wire.Load32(Data + Transport + TcpHeader.Sequence) == expected && Same(other, Transport, 4)
                && Same(other, Transport + TcpHeader.Acknowledgement, 5) && Same(other, Transport + 14, 2)
                && Same(other, Transport + 18, HeaderLength - Transport - 18);
        }

        /// <summary>Whether the checksums are right, as far as they are there.</summary>
        public readonly bool IsSound() =>
            (IsIPv6 || IPv4Header.IsChecksumGood(Data + Network))
            && (_isPending || Checksum.Fold(Checksum.Add(PseudoHeader(HeaderLength - Transport + Payload), Data + Transport, (uint)(HeaderLength - Transport + Payload))) == 0xFFFF);

        /// <summary>The sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).</summary>
        /// <param name="length">Bytes of transport header and payload.</param>
        public readonly ulong PseudoHeader(int length)
        {
            ulong addresses = IsIPv6 ? Checksum.Add(0, Data + Network + 8, 32) : Checksum.Add(0, Data + Network + 12, 8);
            byte* rest = stackalloc byte[4];
            Wire.Store16(rest, IsUdp ? Wire.ProtocolUdp : Wire.ProtocolTcp);
            Wire.Store16(rest + 2, (ushort)length);
            return Checksum.Add(addresses, rest, 4);
        }

        private readonly bool Same(in Part other, int offset, int length) =>
            new ReadOnlySpan<byte>(Data + offset, length).SequenceEqual(new ReadOnlySpan<byte>(other.Data + offset, length));
    }
}
