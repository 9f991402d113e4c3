using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Ports;

/// <summary>Brings a device's settings to what is wanted. Compares with the kernel first, so that it repairs and never disturbs.</summary>
internal static class TapSettings
{
    /// <param name="netlink">Of the device's namespace.</param>
    /// <param name="index">The device there.</param>
    /// <param name="spec">What is wanted.</param>
    /// <param name="before">What was set by us before; what of it is not wanted any more is removed. Addresses and routes that
    /// others added stay.</param>
    /// <exception cref="LinuxException">Something cannot be set.</exception>
    public static void Set(Netlink netlink, int index, DeviceSpec spec, DeviceSpec? before)
    {
        LinkInfo link = netlink.GetLink(index);
        var mac = new PhysicalAddress(spec.Mac.ToBytes());
        if (!link.Mac.Equals(mac))
        {
            netlink.SetMac(index, mac);
        }
        if (link.Mtu != spec.Mtu)
        {
            netlink.SetMtu(index, spec.Mtu);
        }
        RemoveRoutes(netlink, index, before, spec);
        SetAddresses(netlink, index, spec, before);
        if (!link.IsUp)
        {
            netlink.SetUp(index);
        }
        foreach (IPAddress gateway in spec.DefaultRoutes)
        {
            netlink.AddRoute(Default(gateway), gateway, index, replace: true);
        }
        HostRoutes.SetRouter(netlink, index, spec, before);
    }

    private static void SetAddresses(Netlink netlink, int index, DeviceSpec spec, DeviceSpec? before)
    {
        HashSet<Cidr> present = [.. netlink.ListAddresses(index).Select(a => new Cidr(a.Address, a.PrefixLength))];
        foreach (Cidr old in before?.Addresses ?? [])
        {
            if (!spec.Addresses.Contains(old) && present.Contains(old))
            {
                netlink.DeleteAddress(index, old.Address, old.Length);
            }
        }
        foreach (Cidr address in spec.Addresses.Where(a => !present.Contains(a)))
        {
            // The switch hands out addresses and knows that they are unique.
            netlink.AddAddress(index, address.Address, address.Length, skipDuplicateDetection: true);
        }
    }

    private static void RemoveRoutes(Netlink netlink, int index, DeviceSpec? before, DeviceSpec spec)
    {
        foreach (IPAddress gateway in before?.DefaultRoutes.Where(g => !spec.DefaultRoutes.Contains(g)) ?? [])
        {
            try
            {
                netlink.DeleteRoute(Default(gateway), gateway, index);
            }
            catch (LinuxException e) when (e.Errno == Errno.ESRCH)
            {
                // Somebody was faster.
            }
        }
    }

    private static IPNetwork Default(IPAddress gateway) =>
        gateway.AddressFamily == AddressFamily.InterNetworkV6 ? Netlink.DefaultIPv6 : Netlink.DefaultIPv4;
}
