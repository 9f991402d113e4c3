using System.Net;
using System.Net.Sockets;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>Collects what the other nodes need in one address family. The first to claim a prefix or address has it.</summary>
internal sealed class PeerPlan
{
    private readonly FlannelConfig _config;
    private readonly bool _ipv6;
    private readonly Underlay _underlay;
    private readonly List<string> _problems;
    private readonly PrefixSet _routed = new();
    private readonly Dictionary<MacAddress, IPAddress> _macs = [];
    private readonly HashSet<IPAddress> _remotes = [];

    /// <param name="config">The network.</param>
    /// <param name="ipv6">The family.</param>
    /// <param name="node">What this node's lease says of it.</param>
    /// <param name="underlay">The port to the underlay.</param>
    /// <param name="problems">What is left out is added here.</param>
    public PeerPlan(FlannelConfig config, bool ipv6, LeaseAttributes node, Underlay underlay, List<string> problems)
    {
        (_config, _ipv6, _underlay, _problems) = (config, ipv6, underlay, problems);
        Overlay = $"flannel{(ipv6 ? "-v6" : "")}.{config.Vni}";
        if (node.EndPoint(ipv6) is ({ } address, var vtep))
        {
            _remotes.Add(address);
            _macs[vtep?.Mac ?? default] = address;
        }
    }

    /// <summary>As flanneld calls its device.</summary>
    public string Overlay { get; }

    public List<PlannedTunnel> Tunnels { get; } = [];
    public List<PlannedNeighbour> Neighbours { get; } = [];
    public List<PlannedRoute> Routes { get; } = [];

    /// <summary>Adds a node, of which there is one lease. Gives whether a route leads to it now.</summary>
    /// <param name="lease">Its lease, which can be read.</param>
    /// <param name="subnet">Its subnet of this family.</param>
    public bool Add(SubnetLease lease, Cidr subnet)
    {
        if ((_ipv6 ? _config.IPv6 : _config.IPv4) is null)
        {
            return false; // as flanneld without a device of that family
        }
        (IPAddress? remote, Vtep? vtep) = lease.Attributes!.EndPoint(_ipv6);
        bool tunnelled = _config.Backend == FlannelBackend.Vxlan;
        if (remote is null || (tunnelled && vtep is null))
        {
            _problems.Add($"{lease.Subnets}: the lease says no VTEP for {subnet}");
        }
        else if (!IsUnicast(subnet.Address) || !IsUnicast(remote))
        {
            _problems.Add($"{lease.Subnets}: {subnet} at {remote} cannot be the address of a node");
        }
        else if (!_remotes.Add(remote))
        {
            _problems.Add($"{lease.Subnets}: {remote} is the address of another node too");
        }
        else if (_routed.FindOverlapping(subnet) is { } other)
        {
            _problems.Add($"{lease.Subnets}: {subnet} overlaps {other} of an older lease");
        }
        else if (tunnelled ? AddTunnelled(lease, subnet, remote, vtep!.Value) : AddDirect(lease, subnet, remote))
        {
            _routed.Add(subnet);
            return true;
        }
        return false;
    }

    private bool AddTunnelled(SubnetLease lease, Cidr subnet, IPAddress remote, Vtep vtep)
    {
        if (_macs.TryGetValue(vtep.Mac, out IPAddress? holder))
        {
            _problems.Add($"{lease.Subnets}: its VTEP has the MAC address {vtep.Mac}, which is that of {holder}");
            return false;
        }
        if (vtep.Vni is { } vni && vni != _config.Vni)
        {
            _problems.Add($"{lease.Subnets}: its VNI is {vni}, this network's is {_config.Vni}; its packets will be dropped");
        }
        _macs.Add(vtep.Mac, remote);
        Tunnels.Add(new PlannedTunnel(remote, vtep.Mac));
        Neighbours.Add(new PlannedNeighbour(subnet.Address, vtep.Mac));
        Routes.Add(_config.DirectRouting && _underlay.IsOnLink(remote) ? new PlannedRoute(subnet, remote, null) : new PlannedRoute(subnet, subnet.Address, Overlay));
        return true;
    }

    private bool AddDirect(SubnetLease lease, Cidr subnet, IPAddress remote)
    {
        if (!_underlay.IsOnLink(remote))
        {
            _problems.Add($"{lease.Subnets}: {remote} is not on the layer-2 network of port \"{_underlay.Name}\", which host-gw needs");
            return false;
        }
        Routes.Add(new PlannedRoute(subnet, remote, null));
        return true;
    }

    private static bool IsUnicast(IPAddress address) => !address.IsIPv6Multicast && !address.IsIPv6LinkLocal && !IPAddress.IsLoopback(address)
        && (address.AddressFamily == AddressFamily.InterNetworkV6 ? (int)(address.Number >> 120) != 0 : (int)(address.Number >> 24) is > 0 and < 224);
}
