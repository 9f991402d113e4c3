using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>This node's port to the underlay.</summary>
/// <param name="Name">Name of the port.</param>
/// <param name="Mtu">Its largest packet in bytes.</param>
/// <param name="Addresses">Its addresses. What is in their prefixes is on the same layer-2 network.</param>
internal sealed record Underlay(string Name, int Mtu, IReadOnlyList<Cidr> Addresses)
{
    /// <summary>Its first address of a family; null when it has none.</summary>
    public IPAddress? First(bool ipv6) => Addresses.Where(a => a.IsIPv6 == ipv6).Select(a => a.Address).FirstOrDefault();

    public bool IsOnLink(IPAddress address) => Addresses.Any(a => a.Contains(address));

    public bool Equals(Underlay? other) => other is not null && Name == other.Name && Mtu == other.Mtu && Addresses.SequenceEqual(other.Addresses);

    public override int GetHashCode() => HashCode.Combine(Name, Mtu, Addresses.Count);
}

/// <summary>
/// What flanneld does when a lease comes or goes (pkg/backend/vxlan/vxlan_network.go, pkg/backend/hostgw), as a function from
/// all leases to all that must exist. With VXLAN each peer has a tunnel, a neighbour (the first address of its subnet, with
/// the MAC address of its VTEP) and a route by way of that neighbour; a peer that is reached directly has a route by way of
/// its own address, and its tunnel still, for what it may send through it. The two address families have each their overlay.
/// <para>
/// Leases are written by every node, so they are not believed blindly: what contradicts this node's own addresses or an older
/// lease is left out and reported.
/// </para>
/// </summary>
internal static class FlannelPlanner
{
    /// <summary>Bytes of Ethernet (14), IPv4 (20), UDP (8) and VXLAN (8) around an inner packet.</summary>
    public const int OverheadOverIPv4 = 50;

    /// <summary>The same with IPv6 (40). flanneld takes 50 here too, and its outer packets are then larger than the underlay's MTU.</summary>
    public const int OverheadOverIPv6 = 70;

    /// <summary>Largest packet of a container in bytes. Where it has addresses of both families it has one MTU all the same, the smaller.</summary>
    public static int Mtu(FlannelConfig config, Underlay underlay) => OverlayMtu(config, underlay, ipv6: config.IPv6 is not null);

    /// <summary>What a lease says of this node.</summary>
    /// <param name="config">The network.</param>
    /// <param name="prefix">What flannel's keys begin with.</param>
    /// <param name="publicIP">This node's address on the underlay; needed where the network has IPv4.</param>
    /// <param name="publicIPv6">The same with IPv6.</param>
    public static LeaseAttributes Describe(FlannelConfig config, string prefix, IPAddress? publicIP, IPAddress? publicIPv6)
    {
        (IPAddress? ipv4, IPAddress? ipv6) = (config.IPv4 is null ? null : publicIP, config.IPv6 is null ? null : publicIPv6);
        return new LeaseAttributes { PublicIP = ipv4, PublicIPv6 = ipv6, BackendType = config.BackendType, Vtep = VtepAt(ipv4), VtepV6 = VtepAt(ipv6) };

        // The MAC address is the same after every start, another on every node and in every network.
        Vtep? VtepAt(IPAddress? address) => config.Backend == FlannelBackend.Vxlan && address is not null
            ? new Vtep(config.Vni, Effective.Derive("vtep", $"{prefix}/{config.Vni}/{address}")) : null;
    }

    /// <param name="config">The network.</param>
    /// <param name="node">What this node's lease says of it.</param>
    /// <param name="own">This node's subnets.</param>
    /// <param name="retained">Subnets it had before, in which containers still are.</param>
    /// <param name="leases">All leases, the oldest first; this node's own may be among them.</param>
    /// <param name="underlay">The port to the underlay.</param>
    public static FlannelPlan Plan(
        FlannelConfig config, LeaseAttributes node, LeaseSubnets own, IReadOnlyList<Cidr> retained, IReadOnlyList<SubnetLease> leases, Underlay underlay)
    {
        Cidr[] subnets = [.. own.All, .. retained];
        var problems = new List<string>();
        PeerPlan ipv4 = new(config, ipv6: false, node, underlay, problems), ipv6 = new(config, ipv6: true, node, underlay, problems);
        int nodes = 0;
        foreach (SubnetLease lease in Sift(node, own, leases, problems))
        {
            if (lease.Attributes!.BackendType != config.BackendType)
            {
                problems.Add($"{lease.Subnets}: its backend is \"{lease.Attributes.BackendType}\", this network's is \"{config.BackendType}\"");
                continue;
            }
            // All of them, not only until one is added.
            nodes += lease.Subnets.All.Where(s => IsFree(s, lease, subnets, node, problems)).Count(s => (s.IsIPv6 ? ipv6 : ipv4).Add(lease, s)) > 0 ? 1 : 0;
        }
        return new FlannelPlan
        {
            Pods = new PlannedPods([.. subnets.Select(s => (s, s.Address.Plus(1)))], Mtu(config, underlay)),
            Overlays = [.. new[] { Overlay(own.IPv4, ipv4), Overlay(own.IPv6, ipv6) }.OfType<PlannedOverlay>()],
            Routes = [.. ipv4.Routes, .. ipv6.Routes],
            Peers = nodes,
            Problems = problems,
        };

        PlannedOverlay? Overlay(Cidr? subnet, PeerPlan peers)
        {
            if (subnet is not { } mine || node.EndPoint(mine.IsIPv6) is not ({ } address, { } end))
            {
                return null;
            }
            // A public address that is not the port's own is that of a NAT in between.
            IPAddress local = underlay.Addresses.Any(a => a.Address.Equals(address)) ? address : underlay.First(mine.IsIPv6) ?? address;
            return new PlannedOverlay(peers.Overlay, config.Vni, config.Port, end.Mac, new Cidr(mine.Address, mine.Bits), local, OverlayMtu(config, underlay, mine.IsIPv6))
            {
                Tunnels = peers.Tunnels,
                Neighbours = peers.Neighbours,
            };
        }
    }

    private static int OverlayMtu(FlannelConfig config, Underlay underlay, bool ipv6)
    {
        int outer = config.Mtu > 0 ? config.Mtu : underlay.Mtu;
        return config.Backend == FlannelBackend.HostGateway ? outer : outer - (ipv6 ? OverheadOverIPv6 : OverheadOverIPv4);
    }

    /// <summary>The leases that are another node's, one per node: that which it changed last.</summary>
    private static IEnumerable<SubnetLease> Sift(LeaseAttributes node, LeaseSubnets own, IReadOnlyList<SubnetLease> leases, List<string> problems)
    {
        var newest = new Dictionary<IPAddress, SubnetLease>();
        foreach (SubnetLease lease in leases.Where(l => l.Attributes?.Address is not null))
        {
            if (!newest.TryGetValue(lease.Attributes!.Address!, out SubnetLease? other) || other.Modified < lease.Modified)
            {
                newest[lease.Attributes.Address!] = lease;
            }
        }
        foreach (SubnetLease lease in leases.Where(l => l.Subnets != own && !l.IsOf(node)))
        {
            if (lease.Attributes is not { } attributes)
            {
                problems.Add($"{lease.Subnets}: the lease cannot be read: {lease.Flaw}");
            }
            else if (attributes.Address is not { } address)
            {
                problems.Add($"{lease.Subnets}: the lease names no address of its node");
            }
            else if (newest[address] != lease)
            {
                problems.Add($"{lease.Subnets}: its node {address} has a newer lease, {newest[address].Subnets}");
            }
            else
            {
                yield return lease;
            }
        }
    }

    /// <summary>Whether packets for a subnet may be sent to another node.</summary>
    private static bool IsFree(Cidr subnet, SubnetLease lease, Cidr[] own, LeaseAttributes node, List<string> problems)
    {
        if (own.Where(o => o.Overlaps(subnet)).Select(o => (Cidr?)o).FirstOrDefault() is { } mine)
        {
            problems.Add($"{lease.Subnets}: another node has leased what containers of this node use ({mine}): remove them");
            return false;
        }
        IPAddress?[] nodes = [node.PublicIP, node.PublicIPv6, lease.Attributes!.PublicIP, lease.Attributes.PublicIPv6];
        if (nodes.OfType<IPAddress>().FirstOrDefault(subnet.Contains) is { } vtep)
        {
            problems.Add($"{lease.Subnets}: a node's own address {vtep} is in it, and no tunnel leads through itself");
            return false;
        }
        return true;
    }
}
