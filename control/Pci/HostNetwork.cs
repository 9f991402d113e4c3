using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>What the host does with one of its network devices.</summary>
/// <param name="Name">"eth1".</param>
/// <param name="IsUp">Somebody brought it up.</param>
/// <param name="Addresses">Its IP addresses, those aside that the kernel gives every device that is up.</param>
/// <param name="Upper">The bridge or bond that it is a port of, or null.</param>
/// <param name="CarriesDefaultRoute">A default route leads to it, or to something above it: a bridge, a bond, a VLAN.</param>
internal sealed record HostInterface(string Name, bool IsUp, IReadOnlyList<string> Addresses, string? Upper, bool CarriesDefaultRoute);

/// <summary>The network devices of the host's namespace.</summary>
internal interface IHostNetwork
{
    IReadOnlyList<HostInterface> List();
}

/// <summary>As the kernel tells it.</summary>
internal sealed class HostNetwork : IHostNetwork
{
    private const byte LinkScope = 253;

    public IReadOnlyList<HostInterface> List()
    {
        using Netlink netlink = Netlink.Open();
        IReadOnlyList<LinkInfo> links = netlink.ListLinks();
        IReadOnlyList<AddressInfo> addresses = netlink.ListAddresses();
        HashSet<int> carriers = Carriers(links, netlink.ListRoutes(allTables: true).Where(r => r.IsDefault).Select(r => r.Index));
        return
        [
            .. links.Select(l => new HostInterface(
                l.Name, l.IsUp, [.. addresses.Where(a => a.Index == l.Index && a.Scope != LinkScope).Select(a => $"{a.Address}/{a.PrefixLength}")],
                l.Master == 0 ? null : links.FirstOrDefault(m => m.Index == l.Master)?.Name ?? $"device {l.Master}", carriers.Contains(l.Index))),
        ];
    }

    /// <summary>The devices that routes lead to, with all that is below them: ports of bridges and bonds, the device under a VLAN.</summary>
    internal static HashSet<int> Carriers(IReadOnlyList<LinkInfo> links, IEnumerable<int> routed)
    {
        var carriers = new HashSet<int>();
        var open = new Queue<int>(routed);
        while (open.TryDequeue(out int index))
        {
            if (!carriers.Add(index))
            {
                continue;
            }
            foreach (LinkInfo link in links)
            {
                if (link.Master == index)
                {
                    open.Enqueue(link.Index);
                }
                // A veth's other end is not below it, and is often of another namespace.
                if (link.Index == index && link.Link != 0 && link.Kind != "veth")
                {
                    open.Enqueue(link.Link);
                }
            }
        }
        return carriers;
    }
}
