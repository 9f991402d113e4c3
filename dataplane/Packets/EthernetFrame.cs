using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>An Ethernet frame as bytes, seen by those who carry it in a packet of their own.</summary>
public static unsafe class EthernetFrame
{
    /// <summary>
    /// Where the IP header of a frame stands, behind at most two VLAN tags; 0 when it carries no IP, or when less can be read than
    /// the fixed part of the header.
    /// </summary>
    /// <param name="data">The frame.</param>
    /// <param name="length">Bytes that can be read there, at least 14.</param>
    /// <param name="isIPv6">Which version.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int IPOffset(byte* data, int length, out bool isIPv6)
    {
        int ip = NetworkOffset(data, length, 2, out ushort type);
        isIPv6 = type == Wire.EtherTypeIPv6;
        int header = isIPv6 ? IPv6Header.Length : IPv4Header.MinLength, version = isIPv6 ? 6 : 4;
        return (isIPv6 || type == Wire.EtherTypeIPv4) && length >= ip + header && data[ip] >> 4 == version ? ip : 0;
    }

    /// <summary>Where what a frame carries begins, behind its VLAN tags as far as they can be read.</summary>
    /// <param name="data">The frame.</param>
    /// <param name="length">Bytes that can be read there, at least 14.</param>
    /// <param name="tags">How many tags are passed over at the most.</param>
    /// <param name="type">What it is; that of a tag where one more follows.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int NetworkOffset(byte* data, int length, int tags, out ushort type)
    {
        int at = Wire.EthernetHeader;
        type = Wire.Load16(data + Wire.EtherTypeOffset);
        for (; tags > 0 && type is Wire.EtherTypeVlan or Wire.EtherTypeServiceVlan && at + Wire.VlanTag <= length; tags--)
        {
            at += Wire.VlanTag;
            type = Wire.Load16(data + at - 2);
        }
        return at;
    }
}
