using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>What must exist on this node for flannel's network. Made by <see cref="FlannelPlanner"/>.</summary>
internal sealed record FlannelPlan
{
    public required PlannedPods Pods { get; init; }

    /// <summary>One per address family with VXLAN, none with host-gw.</summary>
    public IReadOnlyList<PlannedOverlay> Overlays { get; init; } = [];

    public IReadOnlyList<PlannedRoute> Routes { get; init; } = [];

    /// <summary>Other nodes to which a route leads, in one address family or both.</summary>
    public int Peers { get; init; }

    /// <summary>What of the other nodes' leases is left out, and why; for people.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];
}

/// <summary>The network of the containers.</summary>
/// <param name="Subnets">This node's own, each with the router's address in it: the first usable one.</param>
/// <param name="Mtu">Largest packet of a container in bytes.</param>
internal sealed record PlannedPods(IReadOnlyList<(Cidr Subnet, IPAddress Gateway)> Subnets, int Mtu);

/// <summary>The VXLAN network between the nodes for one address family: what flanneld's device flannel.VNI is.</summary>
/// <param name="Name">Name of that device: "flannel.1", "flannel-v6.1".</param>
/// <param name="Vni">VXLAN network identifier.</param>
/// <param name="Port">UDP port of all VTEPs.</param>
/// <param name="Mac">MAC address of this node's VTEP.</param>
/// <param name="Address">This node's address on it, a /32 or /128: the first of its subnet.</param>
/// <param name="Local">This node's address on the underlay.</param>
/// <param name="Mtu">Largest inner packet in bytes.</param>
internal sealed record PlannedOverlay(string Name, uint Vni, int Port, MacAddress Mac, Cidr Address, IPAddress Local, int Mtu)
{
    public IReadOnlyList<PlannedTunnel> Tunnels { get; init; } = [];
    public IReadOnlyList<PlannedNeighbour> Neighbours { get; init; } = [];
}

/// <summary>The tunnel to another node.</summary>
/// <param name="Remote">Its address on the underlay.</param>
/// <param name="Mac">MAC address of its VTEP.</param>
internal sealed record PlannedTunnel(IPAddress Remote, MacAddress Mac);

/// <summary>A neighbour on an overlay that is known for good.</summary>
/// <param name="Address">Another node's address on the overlay.</param>
/// <param name="Mac">MAC address of its VTEP.</param>
internal sealed record PlannedNeighbour(IPAddress Address, MacAddress Mac);

/// <summary>The way to another node's containers.</summary>
/// <param name="Prefix">Its subnet.</param>
/// <param name="Gateway">Next hop: the node's address on the overlay, or on the underlay.</param>
/// <param name="Overlay">Name of the overlay; null for the underlay.</param>
internal sealed record PlannedRoute(Cidr Prefix, IPAddress Gateway, string? Overlay);
