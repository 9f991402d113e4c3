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
        int ip = Wire.EthernetHeader;
        ushort type = Wire.Load16(data + Wire.EtherTypeOffset);
        for (int tags = 0; tags < 2 && type is Wire.EtherTypeVlan or Wire.EtherTypeServiceVlan; tags++)
        {
            ip += Wire.VlanTag;
            if (length < ip)
            {
                isIPv6 = false;
                return 0;
            }
            type = Wire.Load16(data + ip - 2);
        }
        isIPv6 = type == Wire.EtherTypeIPv6;
        int header = isIPv6 ? IPv6Header.Length : IPv4Header.MinLength, version = isIPv6 ? 6 : 4;
        return (isIPv6 || type == Wire.EtherTypeIPv4) && length >= ip + header && data[ip] >> 4 == version ? ip : 0;
    }
}
