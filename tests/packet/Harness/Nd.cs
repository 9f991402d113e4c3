using System.Net;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// Neighbour discovery messages for tests (RFC 4861), from addresses as people write them, and the same read again. Plain code that
/// shares nothing with the switch.
/// </summary>
/// <param name="Type">135 for a solicitation, 136 for an advertisement.</param>
/// <param name="Source">IPv6.</param>
/// <param name="Destination">IPv6.</param>
/// <param name="Target">IPv6.</param>
/// <param name="Mac">In the option of the type; null for none.</param>
public sealed record Nd(byte Type, string Source, string Destination, string Target, string? Mac)
{
    public const byte Solicitation = 135, Advertisement = 136;

    /// <summary>Router, solicited, override.</summary>
    public const byte R = 0x80, S = 0x40, O = 0x20;

    public byte Flags { get; init; }
    public byte HopLimit { get; init; } = 255;
    public byte Code { get; init; }
    /// <summary>Options in front of the one with the address.</summary>
    public byte[] Before { get; init; } = [];
    /// <summary>Options behind it.</summary>
    public byte[] After { get; init; } = [];

    /// <summary>"Who has the target?" to the target's group.</summary>
    public static Nd Ask(string mac, string source, string target) => new(Solicitation, source, Group(target), target, mac);

    /// <summary>"Has anybody the target?" of one who has no address yet (RFC 4862, 5.4.2).</summary>
    public static Nd Probe(string target) => new(Solicitation, "::", Group(target), target, null);

    /// <summary>"The target is here", to one who asked.</summary>
    public static Nd Tell(string? mac, string target, string destination, byte flags = S | O) => new(Advertisement, target, destination, target, mac) { Flags = flags };

    /// <summary>The solicited-node multicast address (RFC 4291, 2.7.1).</summary>
    public static string Group(string target)
    {
        byte[] bytes = IPAddress.Parse(target).GetAddressBytes();
        return new IPAddress([0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, .. bytes[13..]]).ToString();
    }

    /// <summary>The Ethernet address of a group (RFC 2464, 7).</summary>
    public static string GroupMac(string group)
    {
        byte[] bytes = IPAddress.Parse(group).GetAddressBytes();
        return MacAddress.FromBytes([0x33, 0x33, .. bytes[12..]]).ToString();
    }

    /// <summary>The link-local address of a MAC address (RFC 4291, appendix A).</summary>
    public static string LinkLocal(string mac)
    {
        byte[] m = MacAddress.Parse(mac).ToBytes();
        return new IPAddress([0xFE, 0x80, 0, 0, 0, 0, 0, 0, (byte)(m[0] ^ 2), m[1], m[2], 0xFF, 0xFE, m[3], m[4], m[5]]).ToString();
    }

    public Ip ToIp()
    {
        byte[] option = Mac == null ? [] : [Type == Solicitation ? (byte)1 : (byte)2, 1, .. MacAddress.Parse(Mac).ToBytes()];
        byte[] rest = [Flags, 0, 0, 0, .. IPAddress.Parse(Target).GetAddressBytes(), .. Before, .. option, .. After];
        return Ip.OfIcmp(Source, Destination, Type, Code, rest) with { Ttl = HopLimit };
    }

    /// <summary>In a frame to the address's group.</summary>
    public byte[] ToGroup(string source) => In(GroupMac(Destination), source);

    /// <summary>In a frame to one station.</summary>
    public byte[] In(string destination, string source) => ToIp().In(destination, source);

    /// <summary>Reads the message of a frame, whose checksum must be right.</summary>
    public static Nd Of(byte[] frame)
    {
        Ip ip = Ip.Of(frame);
        Assert.Equal(Ip.Icmp6, ip.Protocol);
        byte[] p = ip.Payload;
        Assert.Equal(Ip.OfIcmp(ip.Source, ip.Destination, p[0], p[1], p[4..]).Payload, p);
        Assert.Equal(0, p[1]);
        string? mac = null;
        if (p.Length > 24)
        {
            Assert.Equal([p[0] == Solicitation ? (byte)1 : (byte)2, 1], p[24..26]);
            Assert.Equal(32, p.Length);
            mac = Arp.Mac(p, 26);
        }
        return new Nd(p[0], ip.Source, ip.Destination, new IPAddress(p.AsSpan(8, 16)).ToString(), mac) { Flags = p[4], HopLimit = ip.Ttl };
    }
}
