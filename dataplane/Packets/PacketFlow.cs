using Dataplane.Interop.Dpdk;
using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>What of a packet can name a flow.</summary>
public enum FlowKind : byte
{
    /// <summary>Ports: TCP, UDP, SCTP.</summary>
    Ports,
    /// <summary>The identifier of an echo request or reply: a request has it as source port, a reply as destination port.</summary>
    Echo,
    /// <summary>Addresses and protocol alone: a protocol that has no ports.</summary>
    Addresses,
    /// <summary>An ICMP error, which speaks of another flow.</summary>
    Error,
    /// <summary>Not the first fragment of a datagram, so without transport header.</summary>
    LaterFragment,
    /// <summary>Any other ICMP message: it belongs to no flow.</summary>
    Message,
    /// <summary>The transport header runs past the end, or behind extension headers that nobody reads.</summary>
    Unreadable,
}

/// <summary>The flow of a packet, as its headers say: the five numbers of it, and where the transport header stands.</summary>
public unsafe struct PacketFlow
{
    /// <summary>An IPv4 address in Low.</summary>
    public IPv6Number Source;
    public IPv6Number Destination;
    /// <summary>Of a fragment: which datagram it is of.</summary>
    public uint Identification;
    /// <summary>Where the transport header stands in the frame, in bytes. Of a later fragment: where its data begin.</summary>
    public int Transport;
    public ushort SourcePort;
    public ushort DestinationPort;
    public byte Protocol;
    public FlowKind Kind;
    public bool IsIPv6;
    /// <summary>The first of several fragments.</summary>
    public bool IsFirstFragment;

    /// <summary>TCP flags; 0 with other protocols, or where they cannot be read.</summary>
    public byte TcpFlags;

    /// <summary>Reads an IPv4 packet whose header has been checked, in a frame without tags.</summary>
    public static void Read4(rte_mbuf* mbuf, out PacketFlow flow)
    {
        byte* ip = Mbuf.Data(mbuf) + Wire.EthernetHeader;
        ushort fragment = IPv4Header.Fragment(ip);
        flow = new PacketFlow
        {
            Source = new IPv6Number(0, IPv4Header.Source(ip)),
            Destination = new IPv6Number(0, IPv4Header.Destination(ip)),
            Identification = Wire.Load16(ip + 4),
            Transport = Wire.EthernetHeader + IPv4Header.Length(ip),
            Protocol = IPv4Header.Protocol(ip),
            IsFirstFragment = (fragment & (IPv4Header.MoreFragments | IPv4Header.OffsetMask)) == IPv4Header.MoreFragments,
        };
        if ((fragment & IPv4Header.OffsetMask) != 0)
        {
            flow.Kind = FlowKind.LaterFragment;
            return;
        }
        flow.ReadTransport(mbuf, Math.Min(mbuf->data_len, Wire.EthernetHeader + IPv4Header.TotalLength(ip)));
    }

    /// <summary>As <see cref="Read4"/>, for IPv6.</summary>
    public static void Read6(rte_mbuf* mbuf, out PacketFlow flow)
    {
        byte* data = Mbuf.Data(mbuf), ip = data + Wire.EthernetHeader;
        IPv6Payload payload = IPv6Header.Payload(mbuf, Wire.EthernetHeader);
        flow = new PacketFlow
        {
            Source = IPv6Header.Source(ip),
            Destination = IPv6Header.Destination(ip),
            Transport = payload.Offset,
            Protocol = payload.Protocol,
            IsIPv6 = true,
        };
        if (payload.IsUnreadable)
        {
            flow.Kind = FlowKind.Unreadable;
            return;
        }
        if (payload.Fragment != 0)
        {
            byte* header = data + payload.Fragment;
            flow.Identification = Wire.Load32(header + 4);
            flow.IsFirstFragment = !payload.IsLaterFragment && (header[3] & 1) != 0;
            if (payload.IsLaterFragment)
            {
                flow.Kind = FlowKind.LaterFragment;
                return;
            }
        }
        flow.ReadTransport(mbuf, Math.Min(mbuf->data_len, Wire.EthernetHeader + IPv6Header.Length + IPv6Header.PayloadLength(ip)));
    }

    /// <summary>
    /// Reads the packet that an ICMP error quotes: an IP header and as much of what followed as there is, at least the ports. False
    /// where it has none that could be told from another's. The transport header may be cut off behind them.
    /// </summary>
    /// <param name="data">The frame.</param>
    /// <param name="at">Where the quoted header stands.</param>
    /// <param name="end">Where what can be read ends.</param>
    /// <param name="isIPv6">Of which family it must be.</param>
    /// <param name="flow">The flow; <see cref="Transport"/> is from the start of the frame.</param>
    public static bool TryReadQuoted(byte* data, int at, int end, bool isIPv6, out PacketFlow flow)
    {
        const int Ports = 4, Identifier = 6;
        flow = default;
        byte* ip = data + at;
        if (at + (isIPv6 ? IPv6Header.Length : IPv4Header.MinLength) > end || ip[0] >> 4 != (isIPv6 ? 6 : 4))
        {
            return false;
        }
        if (isIPv6)
        {
            // A host that quotes extension headers is rare, and its error is told to nobody rather than to the wrong one.
            flow = new PacketFlow
            {
                Source = IPv6Header.Source(ip), Destination = IPv6Header.Destination(ip), Protocol = IPv6Header.NextHeader(ip),
                Transport = at + IPv6Header.Length, IsIPv6 = true,
            };
        }
        else
        {
            int header = IPv4Header.Length(ip);
            flow = new PacketFlow
            {
                Source = new IPv6Number(0, IPv4Header.Source(ip)), Destination = new IPv6Number(0, IPv4Header.Destination(ip)),
                Protocol = IPv4Header.Protocol(ip), Transport = at + header,
            };
            if (header < IPv4Header.MinLength || (IPv4Header.Fragment(ip) & IPv4Header.OffsetMask) != 0)
            {
                return false;
            }
        }
        byte* transport = data + flow.Transport;
        switch (flow.Protocol)
        {
            case Wire.ProtocolTcp or Wire.ProtocolUdp or Wire.ProtocolSctp when flow.Transport + Ports <= end:
                flow.SourcePort = Wire.Load16(transport);
                flow.DestinationPort = Wire.Load16(transport + 2);
                return true;
            case Icmp.Protocol4 when !isIPv6:
            case Icmp.Protocol6 when isIPv6:
                return flow.Transport + Identifier <= end && flow.TryReadEcho(transport);
            case Wire.ProtocolTcp or Wire.ProtocolUdp or Wire.ProtocolSctp or Icmp.Protocol4 or Icmp.Protocol6:
            case IPv6Header.HopByHop or IPv6Header.Routing or IPv6Header.FragmentHeader or IPv6Header.Authentication or IPv6Header.DestinationOptions when isIPv6:
                return false;
            default:
                flow.Kind = FlowKind.Addresses;
                return true;
        }
    }

    /// <summary>The flow of the packets that come back.</summary>
    public readonly PacketFlow Reversed => this with { Source = Destination, Destination = Source, SourcePort = DestinationPort, DestinationPort = SourcePort };

    private void ReadTransport(rte_mbuf* mbuf, int end)
    {
        byte* transport = Mbuf.Data(mbuf) + Transport;
        int length = end - Transport;
        switch (Protocol)
        {
            case Wire.ProtocolTcp:
                ReadPorts(transport, length, TcpHeader.MinLength);
                TcpFlags = Kind == FlowKind.Ports ? transport[TcpHeader.Flags] : (byte)0;
                break;
            case Wire.ProtocolUdp:
                ReadPorts(transport, length, UdpHeader.Length);
                break;
            case Wire.ProtocolSctp:
                ReadPorts(transport, length, SctpHeader.Length);
                break;
            case Icmp.Protocol4 when !IsIPv6:
            case Icmp.Protocol6 when IsIPv6:
                ReadIcmp(transport, length);
                break;
            default:
                Kind = FlowKind.Addresses;
                break;
        }
    }

    private void ReadPorts(byte* transport, int length, int header)
    {
        if (length < header)
        {
            Kind = FlowKind.Unreadable;
            return;
        }
        SourcePort = Wire.Load16(transport);
        DestinationPort = Wire.Load16(transport + 2);
        Kind = FlowKind.Ports;
    }

    private void ReadIcmp(byte* icmp, int length)
    {
        if (length < Icmp.Header)
        {
            Kind = FlowKind.Unreadable;
        }
        else if (!TryReadEcho(icmp))
        {
            // A redirect is for its link, not for whoever is behind a router (RFC 1122, 3.2.2.2).
            bool isError = IsIPv6 ? icmp[0] < Icmp.Echo6 : icmp[0] != Icmp.Redirect4 && Icmp.IsError4(icmp[0]);
            Kind = isError ? FlowKind.Error : FlowKind.Message;
        }
    }

    private bool TryReadEcho(byte* icmp)
    {
        ushort identifier = Wire.Load16(icmp + 4);
        if (icmp[0] == (IsIPv6 ? Icmp.Echo6 : Icmp.Echo4))
        {
            SourcePort = identifier;
        }
        else if (icmp[0] == (IsIPv6 ? Icmp.EchoReply6 : Icmp.EchoReply4))
        {
            DestinationPort = identifier;
        }
        else
        {
            return false;
        }
        Kind = FlowKind.Echo;
        return true;
    }
}
