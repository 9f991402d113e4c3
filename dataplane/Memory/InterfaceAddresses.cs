using System.Buffers.Binary;

namespace Dataplane.Memory;

/// <summary>Which addresses are an interface's own, and which lie on its link.</summary>
public static class InterfaceAddresses
{
    private const ulong LinkLocal = 0xFE80_0000_0000_0000;

    /// <summary>Whether the interface has an IPv4 address.</summary>
    public static bool Owns4(ref readonly InterfaceRecord itf, uint address)
    {
        for (int i = 0; i < itf.Count4; i++)
        {
            if (itf.Addresses4[i].Address == address)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Whether the interface has an IPv6 address. It always has the link-local one of its MAC address.</summary>
    public static bool Owns6(ref readonly InterfaceRecord itf, IPv6Number address)
    {
        for (int i = 0; i < itf.Count6; i++)
        {
            if (itf.Addresses6[i].Address == address)
            {
                return true;
            }
        }
        return address.High == LinkLocal && address == LinkLocalOf(itf.Mac);
    }

    /// <summary>Whether an address is in one of the interface's subnets.</summary>
    public static bool IsOnLink4(ref readonly InterfaceRecord itf, uint address)
    {
        for (int i = 0; i < itf.Count4; i++)
        {
            if (itf.Addresses4[i].Contains(address))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Whether an address is link-local or in one of the interface's subnets.</summary>
    public static bool IsOnLink6(ref readonly InterfaceRecord itf, IPv6Number address)
    {
        if (address.High >> 54 == LinkLocal >> 54)
        {
            return true;
        }
        for (int i = 0; i < itf.Count6; i++)
        {
            if (itf.Addresses6[i].Contains(address.High, address.Low))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Who asks for a neighbour: the address on its subnet, else the first one; 0 when the interface has none.</summary>
    public static uint SourceFor4(ref readonly InterfaceRecord itf, uint neighbour)
    {
        for (int i = 0; i < itf.Count4; i++)
        {
            if (itf.Addresses4[i].Contains(neighbour))
            {
                return itf.Addresses4[i].Address;
            }
        }
        return itf.Count4 != 0 ? itf.Addresses4[0].Address : 0;
    }

    /// <summary>Who asks for a neighbour: the address on its subnet, else the link-local one (RFC 4861, 7.2.2).</summary>
    public static IPv6Number SourceFor6(ref readonly InterfaceRecord itf, IPv6Number neighbour)
    {
        for (int i = 0; i < itf.Count6; i++)
        {
            if (itf.Addresses6[i].Contains(neighbour.High, neighbour.Low))
            {
                return itf.Addresses6[i].Address;
            }
        }
        return LinkLocalOf(itf.Mac);
    }

    /// <summary>The link-local address with the modified EUI-64 of a MAC address as interface identifier (RFC 4291, appendix A).</summary>
    /// <param name="mac">Lowest byte first on the wire.</param>
    public static IPv6Number LinkLocalOf(ulong mac)
    {
        ulong number = BinaryPrimitives.ReverseEndianness(mac) >> 16; // first byte on the wire highest
        ulong eui = ((number >> 24) << 40) | 0xFF_FE00_0000 | (number & 0xFF_FFFF);
        return new IPv6Number(LinkLocal, eui ^ 0x0200_0000_0000_0000);
    }
}
