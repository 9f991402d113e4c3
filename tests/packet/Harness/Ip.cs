using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// IP packets for tests, from addresses as people write them, and the same read again. Plain code that shares nothing with the
/// switch: it is what the switch is measured by.
/// </summary>
/// <param name="Source">IPv4 or IPv6.</param>
/// <param name="Destination">Of the same family.</param>
/// <param name="Protocol">What the payload is.</param>
/// <param name="Payload">What follows the header and its options.</param>
public sealed record Ip(string Source, string Destination, byte Protocol, byte[] Payload)
{
    public const byte Icmp4 = 1, Tcp = 6, Udp = 17, Icmp6 = 58;

    public byte Ttl { get; init; } = 64;
    /// <summary>Differentiated services and ECN.</summary>
    public byte Tos { get; init; }
    /// <summary>IPv4 only.</summary>
    public ushort Id { get; init; } = 0x1234;
    /// <summary>Flags and offset, IPv4 only.</summary>
    public ushort Fragment { get; init; }
    /// <summary>IPv4 options, a multiple of 4, or IPv6 extension headers; then Protocol is that of the first of them.</summary>
    public byte[] Options { get; init; } = [];

    public bool IsV6 => Source.Contains(':', StringComparison.Ordinal);
    public ushort Word(int at) => BinaryPrimitives.ReadUInt16BigEndian(Payload.AsSpan(at));

    /// <summary>UDP with a right checksum.</summary>
    public static Ip OfUdp(string source, string destination, int from, int to, int payload = 32) =>
        OfUdp(source, destination, from, to, Bytes(payload));

    public static Ip OfUdp(string source, string destination, int from, int to, byte[] payload)
    {
        byte[] udp = [.. Big16(from), .. Big16(to), .. Big16(8 + payload.Length), 0, 0, .. payload];
        ushort sum = PseudoChecksum(source, destination, Udp, udp);
        Big16(sum == 0 ? 0xFFFF : sum).CopyTo(udp, 6);
        return new Ip(source, destination, Udp, udp);
    }

    /// <summary>TCP with a right checksum.</summary>
    public static Ip OfTcp(string source, string destination, int from, int to, byte flags, byte[]? options = null, int payload = 0)
    {
        options ??= [];
        byte[] tcp = [.. Big16(from), .. Big16(to), 0, 0, 0, 1, 0, 0, 0, 0, (byte)((20 + options.Length) / 4 << 4), flags, .. Big16(1000), 0, 0, 0, 0,
            .. options, .. Bytes(payload)];
        Big16(PseudoChecksum(source, destination, Tcp, tcp)).CopyTo(tcp, 16);
        return new Ip(source, destination, Tcp, tcp);
    }

    /// <summary>SCTP with one chunk, whose value counts up, and the right CRC (RFC 9260, 3, and appendix A, bit by bit).</summary>
    public static Ip OfSctp(string source, string destination, int from, int to, byte chunk, int value = 0, byte flags = 0, byte[]? tag = null)
    {
        byte[] sctp = [.. Big16(from), .. Big16(to), .. tag ?? [1, 2, 3, 4], 0, 0, 0, 0, chunk, flags, .. Big16(4 + value), .. Bytes(value)];
        uint crc = uint.MaxValue;
        foreach (byte b in sctp)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F6_3B78u);
            }
        }
        BinaryPrimitives.WriteUInt32LittleEndian(sctp.AsSpan(8), ~crc);
        return new Ip(source, destination, 132, sctp);
    }

    /// <summary>An echo request, or of another type, with a right checksum.</summary>
    public static Ip OfEcho(string source, string destination, int payload = 56, byte? type = null)
    {
        bool v6 = source.Contains(':', StringComparison.Ordinal);
        return OfIcmp(source, destination, type ?? (v6 ? (byte)128 : (byte)8), 0, [.. Big16(77), .. Big16(1), .. Bytes(payload)]);
    }

    /// <param name="source">Source address.</param>
    /// <param name="destination">Destination address.</param>
    /// <param name="type">ICMP type.</param>
    /// <param name="code">ICMP code.</param>
    /// <param name="rest">Everything behind the checksum.</param>
    public static Ip OfIcmp(string source, string destination, byte type, byte code, byte[] rest)
    {
        bool v6 = source.Contains(':', StringComparison.Ordinal);
        byte[] icmp = [type, code, 0, 0, .. rest];
        Big16(v6 ? PseudoChecksum(source, destination, Icmp6, icmp) : Reference.Checksum(icmp)).CopyTo(icmp, 2);
        return new Ip(source, destination, v6 ? Icmp6 : Icmp4, icmp);
    }

    /// <summary>The packet's own bytes.</summary>
    public byte[] ToBytes()
    {
        byte[] source = IPAddress.Parse(Source).GetAddressBytes(), destination = IPAddress.Parse(Destination).GetAddressBytes();
        if (IsV6)
        {
            return [(byte)(0x60 | (Tos >> 4)), (byte)(Tos << 4), 0, 0, .. Big16(Options.Length + Payload.Length), Protocol, Ttl, .. source, .. destination,
                .. Options, .. Payload];
        }
        byte[] header = [(byte)(0x40 | ((20 + Options.Length) / 4)), Tos, .. Big16(20 + Options.Length + Payload.Length), .. Big16(Id), .. Big16(Fragment),
            Ttl, Protocol, 0, 0, .. source, .. destination, .. Options];
        Big16(Reference.Checksum(header)).CopyTo(header, 10);
        return [.. header, .. Payload];
    }

    /// <summary>In an Ethernet frame, padded to 60 bytes when asked.</summary>
    public byte[] In(string destination, string source, bool padded = false)
    {
        byte[] frame = Harness.Frame.Raw(destination, source, IsV6 ? Wire.EtherTypeIPv6 : Wire.EtherTypeIPv4, ToBytes());
        return padded && frame.Length < 60 ? [.. frame, .. new byte[60 - frame.Length]] : frame;
    }

    /// <summary>Reads the packet of a frame; a test fails when a length or the header's checksum is wrong. Padding is not looked at.</summary>
    public static Ip Of(byte[] frame)
    {
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
        Assert.Contains(type, (ushort[])[Wire.EtherTypeIPv4, Wire.EtherTypeIPv6]);
        return OfBytes(frame[14..]);
    }

    /// <summary>As <see cref="Of"/>, without the frame.</summary>
    public static Ip OfBytes(byte[] packet)
    {
        if (packet[0] >> 4 == 6)
        {
            int payload = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(4));
            Assert.True(packet.Length >= 40 + payload);
            return new Ip(Address(packet.AsSpan(8, 16)), Address(packet.AsSpan(24, 16)), packet[6], packet[40..(40 + payload)])
            {
                Ttl = packet[7],
                Tos = (byte)((packet[0] << 4) | (packet[1] >> 4)),
                Id = 0,
            };
        }
        Assert.Equal(4, packet[0] >> 4);
        int header = (packet[0] & 15) * 4, total = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(2));
        Assert.True(packet.Length >= total);
        Assert.Equal(0, Reference.Checksum(packet.AsSpan(0, header)));
        return new Ip(Address(packet.AsSpan(12, 4)), Address(packet.AsSpan(16, 4)), packet[9], packet[header..total])
        {
            Ttl = packet[8],
            Tos = packet[1],
            Id = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(4)),
            Fragment = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(6)),
            Options = packet[20..header],
        };
    }

    /// <summary>Whether the checksum of the TCP, UDP or ICMP payload is right.</summary>
    public bool IsPayloadGood => (Protocol == Icmp4 ? Reference.Checksum(Payload) : PseudoChecksum(Source, Destination, Protocol, Payload)) == 0;

    public bool Equals(Ip? other) => other != null && ToBytes().AsSpan().SequenceEqual(other.ToBytes());

    public override int GetHashCode() => ToBytes().Length;

    public static byte[] Big16(int value) => [(byte)(value >> 8), (byte)value];

    private static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)(i * 7))];

    private static string Address(ReadOnlySpan<byte> bytes) => new IPAddress(bytes).ToString();

    /// <summary>The checksum with the pseudo-header.</summary>
    public static ushort PseudoChecksum(string source, string destination, byte protocol, byte[] payload)
    {
        byte[] pseudo = [.. IPAddress.Parse(source).GetAddressBytes(), .. IPAddress.Parse(destination).GetAddressBytes(), 0, protocol, .. Big16(payload.Length)];
        return Reference.Checksum(payload.Length % 2 == 0 ? [.. payload, .. pseudo] : [.. payload, 0, .. pseudo]);
    }
}
