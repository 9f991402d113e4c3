using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>Kinds of IP addresses (RFC 1122, 3.2.1.3; RFC 4291). Numbers in host order.</summary>
public static class IPAddresses
{
    /// <summary>
    /// Neither a source nor a destination of a packet on a link (RFC 1812, 5.3.7): "this network", loopback, and everything from
    /// multicast on, reserved addresses and the limited broadcast included.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsMartian4(uint address)
    {
        uint first = address >> 24;
        return first - 1 >= 223 || first == 127;
    }

    public static bool IsMulticast4(uint address) => address >> 28 == 14;
    public static bool IsLimitedBroadcast(uint address) => address == uint.MaxValue;

    /// <summary>Unspecified, loopback, IPv4-mapped (RFC 4291, 2.5.2, 2.5.3, 2.5.5) or multicast: no unicast source or destination.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsMartian6(ulong high, ulong low) =>
        ((high == 0) & (low >> 48 == 0) & ((low <= 1) | (low >> 32 == 0xFFFF))) | (high >> 56 == 0xFF);

    public static bool IsMulticast6(ulong high) => high >> 56 == 0xFF;

    /// <summary>fe80::/10, which no router forwards (RFC 4291, 2.5.6).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsLinkLocal6(ulong high) => high >> 54 == 0x3FA;

    public static bool IsUnspecified(IPv6Number address) => (address.High | address.Low) == 0;

    /// <summary>Whether an address is the broadcast address or the number of one of the interface's subnets (RFC 922; a /31 has neither, RFC 3021).</summary>
    public static bool IsSubnetBroadcast(ref readonly InterfaceRecord itf, uint address)
    {
        for (int i = 0; i < itf.Count4; i++)
        {
            InterfaceAddress4 own = itf.Addresses4[i];
            uint host = ~own.Mask;
            if (host > 1 && own.Contains(address) && ((address & host) == host || (address & host) == 0))
            {
                return true;
            }
        }
        return false;
    }
}
