using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>What must exist on this node for flannel's network. Made by <see cref="FlannelPlanner"/>.</summary>
internal sealed record FlannelPlan
{
    public required PlannedPodNetwork Pods { get; init; }

    /// <summary>Null with host-gw.</summary>
    public PlannedOverlay? Overlay { get; init; }

    public IReadOnlyList<PlannedTunnel> Tunnels { get; init; } = [];
    public IReadOnlyList<PlannedNeighbour> Neighbours { get; init; } = [];
    public IReadOnlyList<PlannedRoute> Routes { get; init; } = [];

    /// <summary>What of the other nodes' leases is left out, and why; for people.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];
}

/// <summary>The network of the containers.</summary>
/// <param name="Subnets">This node's own, each with the router's address in it: the first usable one.</param>
/// <param name="Mtu">Largest packet of a container in bytes.</param>
internal sealed record PlannedPodNetwork(IReadOnlyList<(Cidr Subnet, IPAddress Gateway)> Subnets, int Mtu);

/// <summary>The VXLAN network between the nodes: what flanneld's device flannel.VNI is.</summary>
/// <param name="Vni">VXLAN network identifier.</param>
/// <param name="Port">UDP port of all VTEPs.</param>
/// <param name="Mac">MAC address of this node's VTEP.</param>
/// <param name="Addresses">This node's addresses on it, /32 and /128: the first of each of its subnets.</param>
/// <param name="Vteps">This node's addresses on the underlay.</param>
/// <param name="Mtu">Largest inner packet in bytes.</param>
/// <param name="Learning">Whether addresses are learned from what arrives.</param>
internal sealed record PlannedOverlay(uint Vni, int Port, MacAddress Mac, IReadOnlyList<Cidr> Addresses, IReadOnlyList<IPAddress> Vteps, int Mtu, bool Learning);

/// <summary>The tunnel to another node.</summary>
/// <param name="Remote">Its address on the underlay.</param>
/// <param name="Mac">MAC address of its VTEP. Null where another tunnel to the same node has it.</param>
internal sealed record PlannedTunnel(IPAddress Remote, MacAddress? Mac);

/// <summary>A neighbour on the overlay that is known for good.</summary>
/// <param name="Address">Another node's address on the overlay.</param>
/// <param name="Mac">MAC address of its VTEP.</param>
internal sealed record PlannedNeighbour(IPAddress Address, MacAddress Mac);

/// <summary>The way to another node's containers.</summary>
/// <param name="Prefix">Its subnet.</param>
/// <param name="Gateway">Next hop: the node's address on the overlay, or with <paramref name="Direct"/> that on the underlay.</param>
/// <param name="Direct">By the underlay, without a tunnel.</param>
internal sealed record PlannedRoute(Cidr Prefix, IPAddress Gateway, bool Direct);
