using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>Collects what the other nodes need. The first to claim an address or prefix has it.</summary>
internal sealed class PeerPlan(FlannelConfig config, Underlay underlay)
{
    private readonly PrefixSet _routed = new();
    private readonly Dictionary<MacAddress, IPAddress> _macs = [];
    private readonly HashSet<IPAddress> _remotes = [];

    public List<PlannedTunnel> Tunnels { get; } = [];
    public List<PlannedNeighbour> Neighbours { get; } = [];
    public List<PlannedRoute> Routes { get; } = [];
    public List<string> Problems { get; } = [];

    /// <summary>Adds a node.</summary>
    /// <param name="lease">Its lease, which can be read.</param>
    /// <param name="subnets">Those of its subnets that may be routed.</param>
    public void Add(SubnetLease lease, IReadOnlyList<Cidr> subnets)
    {
        LeaseAttributes node = lease.Attributes!;
        if (node.BackendType != config.BackendType)
        {
            Problems.Add($"{lease.Subnets}: its backend is \"{node.BackendType}\", this network's is \"{config.BackendType}\"");
            return;
        }
        foreach (Cidr subnet in subnets.Where(s => s.IsIPv6 ? config.IPv6 is not null : config.IPv4 is not null))
        {
            (IPAddress? remote, Vtep? vtep, string data) = subnet.IsIPv6 ? (node.PublicIPv6, node.VtepV6, "IPv6") : (node.PublicIP, node.Vtep, "IPv4");
            bool tunnelled = config.Backend == FlannelBackend.Vxlan;
            if (remote is null || (tunnelled && vtep is null))
            {
                Problems.Add($"{lease.Subnets}: the lease says no {data} VTEP for {subnet}");
            }
            else if (_routed.FindOverlapping(subnet) is { } other)
            {
                Problems.Add($"{lease.Subnets}: {subnet} overlaps {other} of an older lease");
            }
            else if (tunnelled ? AddTunnelled(lease, subnet, remote, vtep!.Value) : AddDirect(lease, subnet, remote))
            {
                _routed.Add(subnet);
            }
        }
    }

    private bool AddTunnelled(SubnetLease lease, Cidr subnet, IPAddress remote, Vtep vtep)
    {
        // A node may have one MAC address for the VTEPs of both families: then one tunnel, the first, carries both.
        bool known = _macs.TryGetValue(vtep.Mac, out IPAddress? holder);
        if (known && !holder!.Equals(lease.Attributes!.PublicIP))
        {
            Problems.Add($"{lease.Subnets}: its VTEP has the MAC address {vtep.Mac} of {holder}'s");
            return false;
        }
        if (vtep.Vni is { } vni && vni != config.Vni)
        {
            Problems.Add($"{lease.Subnets}: its VNI is {vni}, this network's is {config.Vni}; its packets will be dropped");
        }
        if (_remotes.Add(remote))
        {
            Tunnels.Add(new PlannedTunnel(remote, known ? null : vtep.Mac));
        }
        _macs.TryAdd(vtep.Mac, remote);
        Neighbours.Add(new PlannedNeighbour(subnet.Address, vtep.Mac));
        bool direct = config.DirectRouting && IsOnLink(remote);
        Routes.Add(new PlannedRoute(subnet, direct ? remote : subnet.Address, direct));
        return true;
    }

    private bool AddDirect(SubnetLease lease, Cidr subnet, IPAddress remote)
    {
        if (!IsOnLink(remote))
        {
            Problems.Add($"{lease.Subnets}: {remote} is not on the layer-2 network of port \"{underlay.Name}\", which host-gw needs");
            return false;
        }
        Routes.Add(new PlannedRoute(subnet, remote, Direct: true));
        return true;
    }

    private bool IsOnLink(IPAddress address) => underlay.OnLink.Any(p => p.Contains(address));
}
