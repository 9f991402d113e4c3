using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>This node's port to the underlay.</summary>
/// <param name="Name">Name of the port.</param>
/// <param name="Mtu">Its largest packet in bytes.</param>
/// <param name="OnLink">Prefixes whose addresses are on the same layer-2 network.</param>
internal sealed record Underlay(string Name, int Mtu, IReadOnlyList<Cidr> OnLink);

/// <summary>
/// What flanneld does when a lease comes or goes (pkg/backend/vxlan/vxlan_network.go, pkg/backend/hostgw), as a function from
/// all leases to all that must exist. With VXLAN each peer has a tunnel, a neighbour (the first address of its subnet, with
/// the MAC address of its VTEP) and a route by way of that neighbour; a peer that is reached directly has a route by way of
/// its own address, and its tunnel still, for what it may send through it.
/// <para>
/// Leases are written by every node, so they are not believed blindly: what contradicts this node's own addresses or an older
/// lease is left out and reported.
/// </para>
/// </summary>
internal static class FlannelPlanner
{
    /// <summary>Bytes of Ethernet (14), IPv4 (20), UDP (8) and VXLAN (8) around an inner packet.</summary>
    public const int OverheadOverIPv4 = 50;

    /// <summary>The same with IPv6 (40). flanneld takes 50 here too, and outer packets are then larger than the underlay's MTU.</summary>
    public const int OverheadOverIPv6 = 70;

    /// <summary>The MAC address of this node's VTEP: the same after every start, another on every node and in every network.</summary>
    public static MacAddress VtepMac(string prefix, uint vni, IPAddress publicIP) => Effective.DeriveMac("vtep", $"{prefix}/{vni}/{publicIP}");

    /// <summary>Largest packet of a container in bytes.</summary>
    public static int Mtu(FlannelConfig config, Underlay underlay)
    {
        int outer = config.Mtu > 0 ? config.Mtu : underlay.Mtu;
        return config.Backend == FlannelBackend.HostGateway ? outer : outer - (config.IPv6 is null ? OverheadOverIPv4 : OverheadOverIPv6);
    }

    /// <summary>What a lease says of this node.</summary>
    public static LeaseAttributes Describe(FlannelConfig config, string prefix, IPAddress? publicIP, IPAddress? publicIPv6)
    {
        bool ipv4 = config.IPv4 is not null, ipv6 = config.IPv6 is not null;
        Vtep? vtep = config.Backend == FlannelBackend.Vxlan ? new Vtep(config.Vni, VtepMac(prefix, config.Vni, (publicIP ?? publicIPv6)!)) : null;
        return new LeaseAttributes
        {
            PublicIP = ipv4 ? publicIP : null,
            PublicIPv6 = ipv6 ? publicIPv6 : null,
            BackendType = config.BackendType,
            Vtep = ipv4 ? vtep : null,
            VtepV6 = ipv6 ? vtep : null,
        };
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
        int mtu = Mtu(config, underlay);
        bool vxlan = config.Backend == FlannelBackend.Vxlan;
        Cidr[] subnets = [.. own.All, .. retained];
        var peers = new PeerPlan(config, underlay);
        foreach (SubnetLease lease in Sift(node, own, leases, peers.Problems))
        {
            peers.Add(lease, [.. lease.Subnets.All.Where(s => IsFree(s, lease, subnets, node, peers.Problems))]);
        }
        return new FlannelPlan
        {
            Pods = new PlannedPodNetwork([.. subnets.Select(s => (s, s.Address.Plus(1)))], mtu),
            Overlay = vxlan ? new PlannedOverlay(
                config.Vni, config.Port, (node.Vtep ?? node.VtepV6)!.Value.Mac, [.. own.All.Select(s => new Cidr(s.Address, s.Bits))],
                [.. new[] { node.PublicIP, node.PublicIPv6 }.OfType<IPAddress>()], mtu, config.Learning) : null,
            Tunnels = peers.Tunnels,
            Neighbours = peers.Neighbours,
            Routes = peers.Routes,
            Problems = peers.Problems,
        };
    }

    /// <summary>The leases that are another node's, one per node: that which it changed last.</summary>
    private static IEnumerable<SubnetLease> Sift(LeaseAttributes node, LeaseSubnets own, IReadOnlyList<SubnetLease> leases, List<string> problems)
    {
        var newest = new Dictionary<IPAddress, SubnetLease>();
        foreach (SubnetLease lease in leases.Where(l => l.Attributes is not null))
        {
            if ((lease.Attributes!.PublicIP ?? lease.Attributes.PublicIPv6) is { } address && (!newest.TryGetValue(address, out SubnetLease? other) || other.Modified < lease.Modified))
            {
                newest[address] = lease;
            }
        }
        foreach (SubnetLease lease in leases)
        {
            if (lease.Subnets == own || lease.IsOf(node))
            {
                continue;
            }
            if (lease.Attributes is not { } attributes)
            {
                problems.Add($"{lease.Subnets}: the lease cannot be read: {lease.Flaw}");
            }
            else if ((attributes.PublicIP ?? attributes.PublicIPv6) is not { } address)
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
