using System.Net;
using System.Net.NetworkInformation;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Ports;

/// <summary>
/// What the host reaches by way of a router: two neighbours that never change, and routes with them as next hops. The routes are
/// known by their metric, so that a process that takes over finds those of the one before; it is a high one, so that a route
/// which somebody else has made to the same prefix comes first.
/// </summary>
internal static class HostRoutes
{
    private const uint Metric = 7411;

    /// <summary>Makes the router a neighbour of the host, or no longer.</summary>
    /// <exception cref="LinuxException">It cannot be set.</exception>
    public static void SetRouter(Netlink netlink, int index, DeviceSpec spec, DeviceSpec? before)
    {
        if (before?.RouterIPv6 is { } old && before.RouterMac != spec.RouterMac)
        {
            Forgive(Errno.ENOENT, () => netlink.DeleteNeighbour(index, old));
            if (spec.RouterMac is null)
            {
                Forgive(Errno.ENOENT, () => netlink.DeleteNeighbour(index, DeviceSpec.RouterIPv4));
            }
        }
        if (spec.RouterMac is { } mac)
        {
            var address = new PhysicalAddress(mac.ToBytes());
            netlink.SetNeighbour(index, DeviceSpec.RouterIPv4, address);
            if (spec.Addresses.Any(a => a.IsIPv6))
            {
                netlink.SetNeighbour(index, spec.RouterIPv6!, address);
            }
        }
    }

    /// <summary>See <see cref="IPortDevice.Route"/>.</summary>
    /// <exception cref="LinuxException">A route cannot be set.</exception>
    public static void Change(Netlink netlink, int index, DeviceSpec spec, IReadOnlyCollection<Cidr> add, IReadOnlyCollection<Cidr>? remove)
    {
        HashSet<Cidr>? present = null;
        if (remove is null)
        {
            present = [.. netlink.ListRoutes().Where(r => r.Index == index && r.Metric == Metric).Select(r => new Cidr(r.Destination.BaseAddress, r.Destination.PrefixLength))];
            HashSet<Cidr> wanted = [.. add];
            remove = [.. present.Where(p => !wanted.Contains(p))];
        }
        foreach (Cidr prefix in remove)
        {
            Forgive(Errno.ESRCH, () => netlink.DeleteRoute(Network(prefix), null, index, Metric));
        }
        foreach (Cidr prefix in add.Where(p => present?.Contains(p) != true))
        {
            netlink.AddRoute(Network(prefix), prefix.IsIPv6 ? spec.RouterIPv6 : DeviceSpec.RouterIPv4, index, Metric, replace: true, onLink: true);
        }
    }

    private static IPNetwork Network(Cidr prefix) => new(prefix.Address, prefix.Length);

    private static void Forgive(int errno, Action action)
    {
        try
        {
            action();
        }
        catch (LinuxException e) when (e.Errno == errno)
        {
            // Somebody was faster.
        }
    }
}
