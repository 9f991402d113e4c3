using System.Buffers.Binary;
using System.Net;
using Dataplane.Packets;

namespace Dataplane.Control.Observation;

/// <summary>
/// What the headers of a packet say, in one line: addresses, VLAN, protocol, ports. Of the bytes that are there: what is cut
/// off is left out.
/// </summary>
public static class PacketSummary
{
    private const byte ProtocolIcmp = 1, ProtocolIcmp6 = 58, ProtocolSctp = 132;
    private const int Ip4Header = 20, Ip6Header = 40, ArpBody = 28;

    public static string Of(ReadOnlySpan<byte> packet)
    {
        if (packet.Length < Wire.EthernetHeader)
        {
            return "shorter than an Ethernet header";
        }
        string line = $"{MacAddress.FromBytes(packet[6..])} > {MacAddress.FromBytes(packet)}";
        int type = BinaryPrimitives.ReadUInt16BigEndian(packet[Wire.EtherTypeOffset..]);
        ReadOnlySpan<byte> rest = packet[Wire.EthernetHeader..];
        while (type is Wire.EtherTypeVlan or Wire.EtherTypeServiceVlan && rest.Length >= Wire.VlanTag)
        {
            line += $", VLAN {BinaryPrimitives.ReadUInt16BigEndian(rest) & 0xFFF}";
            type = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            rest = rest[Wire.VlanTag..];
        }
        return line + type switch
        {
            Wire.EtherTypeIPv4 when rest.Length >= Ip4Header => Ip4(rest),
            Wire.EtherTypeIPv6 when rest.Length >= Ip6Header => Transport("IPv6", new IPAddress(rest.Slice(8, 16)), new IPAddress(rest.Slice(24, 16)), rest[6], rest[Ip6Header..]),
            Wire.EtherTypeArp when rest.Length >= ArpBody => Arp(rest),
            < 1536 => $", IEEE 802.3 length {type}",
            _ => $", type 0x{type:x4}",
        };
    }

    private static string Ip4(ReadOnlySpan<byte> header)
    {
        int length = (header[0] & 0xF) * 4;
        var source = new IPAddress(header.Slice(12, 4));
        var destination = new IPAddress(header.Slice(16, 4));
        bool laterFragment = (BinaryPrimitives.ReadUInt16BigEndian(header[6..]) & 0x1FFF) != 0;
        if (laterFragment || length < Ip4Header || length > header.Length)
        {
            return $", IPv4 {source} > {destination}, protocol {header[9]}{(laterFragment ? ", fragment" : "")}";
        }
        return Transport("IPv4", source, destination, header[9], header[length..]);
    }

    private static string Transport(string version, IPAddress source, IPAddress destination, byte protocol, ReadOnlySpan<byte> body)
    {
        string? name = protocol switch { Wire.ProtocolTcp => "TCP", Wire.ProtocolUdp => "UDP", ProtocolSctp => "SCTP", _ => null };
        if (name is not null && body.Length >= 4)
        {
            return $", {version} {source} > {destination}, {name} {BinaryPrimitives.ReadUInt16BigEndian(body)} > {BinaryPrimitives.ReadUInt16BigEndian(body[2..])}";
        }
        string what = protocol switch
        {
            ProtocolIcmp when body.Length > 0 => "ICMP " + (body[0] switch { 0 => "echo reply", 3 => "unreachable", 8 => "echo request", 11 => "time exceeded", _ => $"type {body[0]}" }),
            ProtocolIcmp6 when body.Length > 0 => "ICMPv6 " + (body[0] switch
            {
                128 => "echo request", 129 => "echo reply", 133 => "router solicitation", 135 => "neighbour solicitation", 136 => "neighbour advertisement", _ => $"type {body[0]}",
            }),
            _ => name ?? $"protocol {protocol}",
        };
        return $", {version} {source} > {destination}, {what}";
    }

    private static string Arp(ReadOnlySpan<byte> body)
    {
        var sender = new IPAddress(body.Slice(14, 4));
        var target = new IPAddress(body.Slice(24, 4));
        return BinaryPrimitives.ReadUInt16BigEndian(body[6..]) switch
        {
            1 => $", ARP who has {target}? tell {sender}",
            2 => $", ARP {sender} is at {MacAddress.FromBytes(body[8..])}",
            var operation => $", ARP operation {operation}",
        };
    }
}
