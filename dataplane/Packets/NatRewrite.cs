using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>
/// Writes other addresses and ports into a packet (RFC 3022, 4), and corrects its checksums by what that changes (RFC 1624): a packet
/// that was damaged on its way here stays recognisable as such.
/// <para>
/// A UDP checksum of zero, which is none, stays so (RFC 768); one that becomes zero is written as all ones. Where the sender left the
/// checksum to the hardware, the field holds the sum of the pseudo-header, not inverted and without the ports. SCTP has no
/// pseudo-header, and its CRC is linear: it changes by the CRC of the difference. The time to live is the router's business.
/// </para>
/// </summary>
public static unsafe class NatRewrite
{
    /// <summary>Protocols with ports like those of UDP that are known by their checksum alone: both have it at the same place.</summary>
    private const byte ProtocolDccp = 33, ProtocolUdpLite = 136;

    private const int IcmpChecksum = 2, IcmpIdentifier = 4, NoChecksum = -1;

    /// <summary>Rewrites a packet of a flow. False, and nothing is changed, where its transport header cannot be translated.</summary>
    /// <param name="mbuf">An Ethernet header, and the IP packet to its end. Nobody else holds it.</param>
    /// <param name="flow">As it was read from the packet. Of a later fragment only the addresses change.</param>
    /// <param name="to">What it is to have.</param>
    public static bool TryApply(rte_mbuf* mbuf, in PacketFlow flow, in Translation to)
    {
        byte* transport = Mbuf.Data(mbuf) + flow.Transport;
        uint ports = 0;
        switch (flow.Kind)
        {
            case FlowKind.Ports:
                ports = Unsafe.ReadUnaligned<uint>(transport);
                Wire.Store16((byte*)&ports, to.SourcePort);
                Wire.Store16((byte*)&ports + 2, to.DestinationPort);
                if (flow.Protocol == Wire.ProtocolSctp && flow.IsFirstFragment && ports != Unsafe.ReadUnaligned<uint>(transport))
                {
                    return false; // how many bytes the CRC covers stands in another fragment
                }
                break;
            case FlowKind.Echo or FlowKind.Addresses or FlowKind.LaterFragment:
                break;
            default:
                return false;
        }
        ulong change = WriteAddresses(Mbuf.Data(mbuf) + Wire.EthernetHeader, flow.IsIPv6, in to), pseudo = change;
        int field = NoChecksum;
        switch (flow.Kind)
        {
            case FlowKind.Ports:
                uint was = Unsafe.ReadUnaligned<uint>(transport);
                Unsafe.WriteUnaligned(transport, ports);
                if (flow.Protocol == Wire.ProtocolSctp)
                {
                    CorrectCrc(transport, was, ports, (int)mbuf->pkt_len - flow.Transport);
                    break;
                }
                change += Difference(was, ports);
                field = ChecksumOf(flow.Protocol);
                break;
            case FlowKind.Echo:
                // The checksum of ICMP does not cover the addresses; that of ICMPv6 does.
                change = (flow.IsIPv6 ? change : 0) + WriteIdentifier(transport, in to);
                field = IcmpChecksum;
                break;
            case FlowKind.Addresses when flow.Transport + ChecksumOf(flow.Protocol) + 2 <= mbuf->data_len:
                field = ChecksumOf(flow.Protocol);
                break;
        }
        if (field == NoChecksum)
        {
            return true;
        }
        if (IsLeftOpen(mbuf, flow.Transport, field))
        {
            ushort* open = (ushort*)(transport + field);
            Unsafe.WriteUnaligned(open, Checksum.Fold(Unsafe.ReadUnaligned<ushort>(open) + pseudo));
        }
        else
        {
            CorrectBy(transport + field, Checksum.Fold(change), flow.Protocol);
        }
        return true;
    }

    /// <summary>
    /// Rewrites an ICMP error that came back for a translated packet: its own addresses, and those of the packet that it quotes, so
    /// that the sender knows its packet again (RFC 5508, 4). <see cref="DropReason.Count"/>, or why that cannot be.
    /// </summary>
    /// <param name="mbuf">An Ethernet header, and the IP packet to its end. Nobody else holds it.</param>
    /// <param name="flow">Of the error.</param>
    /// <param name="quoted">See <see cref="PacketFlow.TryReadQuoted"/>.</param>
    /// <param name="to">
    /// What a packet has that goes the error's way, an answer to the quoted one. Where the source of such an answer is replaced, that of
    /// the error is, too, whoever on the way behind it sent it.
    /// </param>
    public static DropReason ApplyToError(rte_mbuf* mbuf, in PacketFlow flow, in PacketFlow quoted, in Translation to)
    {
        if (flow.IsFirstFragment)
        {
            return DropReason.BadIcmp; // the rest of what its checksum covers is elsewhere
        }
        byte* data = Mbuf.Data(mbuf), ip = data + Wire.EthernetHeader, icmp = data + flow.Transport;
        if (Offload.IsPending(mbuf) && SoftwareOffload.CompleteChecksum(mbuf) != OffloadResult.Done)
        {
            return DropReason.BadOffload;
        }
        if (Sum(mbuf, in flow) != 0)
        {
            return DropReason.BadIcmp;
        }
        Translation inner = to.Reverse();
        int at = quoted.Transport, end = mbuf->data_len;
        ulong change = WriteAddresses(data + flow.Transport + Icmp.Header, quoted.IsIPv6, in inner);
        byte* transport = data + at;
        int field = NoChecksum;
        if (quoted.Kind == FlowKind.Echo)
        {
            change = (quoted.IsIPv6 ? change : 0) + WriteIdentifier(transport, in inner);
            field = IcmpChecksum;
        }
        else if (quoted.Kind == FlowKind.Ports)
        {
            uint was = Unsafe.ReadUnaligned<uint>(transport);
            Wire.Store16(transport, inner.SourcePort);
            Wire.Store16(transport + 2, inner.DestinationPort);
            change += Difference(was, Unsafe.ReadUnaligned<uint>(transport));
            // Of a truncated SCTP packet nobody can tell the checksum.
            field = quoted.Protocol == Wire.ProtocolSctp ? NoChecksum : ChecksumOf(quoted.Protocol);
        }
        if (field != NoChecksum && at + field + 2 <= end)
        {
            CorrectBy(transport + field, Checksum.Fold(change), quoted.Protocol);
        }
        // A router on the way that no translation hides stays who it is.
        Translation outer = to with { Source = to.Source == quoted.Destination ? flow.Source : to.Source };
        WriteAddresses(ip, flow.IsIPv6, in outer);
        Unsafe.WriteUnaligned(icmp + IcmpChecksum, (ushort)0);
        Unsafe.WriteUnaligned(icmp + IcmpChecksum, Sum(mbuf, in flow));
        return DropReason.Count;
    }

    /// <summary>What a sum of 16-bit words changes by when one 32-bit word of it does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong Difference(uint was, uint now) => (ulong)~was + now;

    /// <summary>Corrects a checksum by what the sum that it covers changes by.</summary>
    /// <param name="field">Where it stands.</param>
    /// <param name="change">One 16-bit word.</param>
    /// <param name="protocol">Whose it is; 0 for that of the IPv4 header.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void CorrectBy(byte* field, ushort change, byte protocol)
    {
        // The complement of a sum loses what the sum gains, with an end-around borrow: RFC 1624, equation 3, in fewer steps.
        int was = Unsafe.ReadUnaligned<ushort>(field), now = was - change;
        now += now >> 16;
        if (was == 0 || (ushort)now == 0)
        {
            // All ones are zero for who sums up (RFC 768); zero is none, and stays so.
            now = protocol != Wire.ProtocolUdp ? now : was == 0 ? 0 : 0xFFFF;
        }
        Unsafe.WriteUnaligned(field, (ushort)now);
    }

    /// <summary>Whether a checksum is one that the sender left to be completed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsLeftOpen(rte_mbuf* mbuf, int transport, int field)
    {
        if (!Offload.IsPending(mbuf))
        {
            return false;
        }
        ref readonly virtio_net_hdr vnet = ref Offload.Meta(mbuf)->Vnet;
        return vnet.csum_start == transport && vnet.csum_offset == field;
    }

    /// <summary>Where the checksum stands in the header of a protocol whose checksum covers the addresses.</summary>
    private static int ChecksumOf(byte protocol) => protocol switch
    {
        Wire.ProtocolTcp => TcpHeader.Checksum,
        Wire.ProtocolUdp or ProtocolDccp or ProtocolUdpLite => UdpHeader.Checksum,
        _ => NoChecksum,
    };

    /// <summary>Writes the addresses of an IP header, and corrects the header's own checksum. Gives what a pseudo-header changes by.</summary>
    private static ulong WriteAddresses(byte* ip, bool isIPv6, in Translation to)
    {
        if (isIPv6)
        {
            byte* at = ip + 8;
            ulong before = Checksum.Add(0, at, 32);
            IPv6Header.Store(at, to.Source);
            IPv6Header.Store(at + 16, to.Destination);
            return (ushort)~Checksum.Fold(before) + Checksum.Add(0, at, 32);
        }
        uint source = Unsafe.ReadUnaligned<uint>(ip + 12), destination = Unsafe.ReadUnaligned<uint>(ip + 16);
        Wire.Store32(ip + 12, (uint)to.Source.Low);
        Wire.Store32(ip + 16, (uint)to.Destination.Low);
        ulong change = Difference(source, Unsafe.ReadUnaligned<uint>(ip + 12)) + Difference(destination, Unsafe.ReadUnaligned<uint>(ip + 16));
        CorrectBy(ip + 10, Checksum.Fold(change), protocol: 0);
        return change;
    }

    private static ulong WriteIdentifier(byte* icmp, in Translation to)
    {
        ushort identifier = icmp[0] is Icmp.Echo4 or Icmp.Echo6 ? to.SourcePort : to.DestinationPort;
        ushort was = Unsafe.ReadUnaligned<ushort>(icmp + IcmpIdentifier);
        Wire.Store16(icmp + IcmpIdentifier, identifier);
        return (ulong)(ushort)~was + Unsafe.ReadUnaligned<ushort>(icmp + IcmpIdentifier);
    }

    private static void CorrectCrc(byte* sctp, uint was, uint now, int length)
    {
        uint* field = (uint*)(sctp + SctpHeader.Checksum);
        Unsafe.WriteUnaligned(field, Unsafe.ReadUnaligned<uint>(field) ^ Crc32C.Difference(was ^ now, length - sizeof(uint)));
    }

    /// <summary>The checksum of an ICMP message to the end of its packet; 0 when the one that it has is right.</summary>
    private static ushort Sum(rte_mbuf* mbuf, in PacketFlow flow)
    {
        ulong pseudo = flow.IsIPv6
            ? IPv6Header.PseudoSum(Mbuf.Data(mbuf) + Wire.EthernetHeader, Icmp.Protocol6, mbuf->pkt_len - (uint)flow.Transport)
            : 0;
        return Checksum.Finish(Checksum.AddChain(pseudo, mbuf, (uint)flow.Transport));
    }
}
