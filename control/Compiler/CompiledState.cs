using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>A port as the engine knows it.</summary>
public sealed record CompiledPort(int Index, string Name, DeviceSpec Device, PortRecord Record);

/// <summary>A static MAC entry as the table holds it.</summary>
/// <param name="Key">See <see cref="MacTable.Key"/>.</param>
/// <param name="Port">Index of its port, 0 for a drop entry.</param>
public readonly record struct CompiledMac(ulong Key, ushort Port, MacFlags Flags);

/// <summary>An address on the link of an interface.</summary>
/// <param name="Port">Index of the interface's port.</param>
/// <param name="IsIPv6">Its family.</param>
/// <param name="Address">As a number; an IPv4 address has 32 bits.</param>
public readonly record struct LinkAddress(ushort Port, bool IsIPv6, UInt128 Address);

/// <summary>A neighbour that is known without being asked for.</summary>
/// <param name="Address">Where it is.</param>
/// <param name="Mac">Lowest byte first on the wire.</param>
public readonly record struct CompiledNeighbour(LinkAddress Address, ulong Mac);

/// <summary>A prefix in a VRF.</summary>
/// <param name="Vrf">Index of the VRF.</param>
/// <param name="IsIPv6">Its family.</param>
/// <param name="Address">As a number, the bits behind the prefix 0; an IPv4 address has 32 bits.</param>
/// <param name="Length">In bits.</param>
public readonly record struct RouteKey(int Vrf, bool IsIPv6, UInt128 Address, int Length);

/// <summary>
/// What tells a next hop from others. The rest of its record (MAC addresses, MTU) may change in place, and reaches every route
/// to it without touching one.
/// </summary>
/// <param name="Kind">All but <see cref="NextHopKind.Group"/>.</param>
/// <param name="Port">The interface, or the output port of an adjacency.</param>
/// <param name="Gateway">The next router; an IPv4 address in Low.</param>
public readonly record struct HopKey(NextHopKind Kind, ushort Port = 0, IPv6Number Gateway = default);

/// <summary>What an adjacency's record has besides its key.</summary>
/// <param name="Mtu">Largest layer-3 packet in bytes.</param>
/// <param name="Mac">Destination address, lowest byte first on the wire.</param>
/// <param name="SourceMac">Source address.</param>
public readonly record struct Adjacency(ushort Mtu, ulong Mac, ulong SourceMac);

/// <summary>A route in the form of the table.</summary>
public readonly record struct CompiledRoute(RouteKey Key, RouteTarget Target);

/// <summary>Desired state in the form of the segment's tables. Records are keyed by their index.</summary>
/// <remarks>
/// Static MACs, neighbours, routes and services are compiled while they are read: there may be a million, which nobody keeps twice.
/// </remarks>
public sealed record CompiledState
{
    public static CompiledState Empty { get; } = new();

    /// <summary>Records by bridge index.</summary>
    public IReadOnlyDictionary<int, BridgeRecord> Bridges { get; init; } = new Dictionary<int, BridgeRecord>();

    /// <summary>Ports with a device, by port index.</summary>
    public IReadOnlyDictionary<int, CompiledPort> Ports { get; init; } = new Dictionary<int, CompiledPort>();

    /// <summary>Ports without a device, those of routers and tunnels, by port index.</summary>
    public IReadOnlyDictionary<int, PortRecord> InnerPorts { get; init; } = new Dictionary<int, PortRecord>();

    /// <summary>Layer-3 sides by port index.</summary>
    public IReadOnlyDictionary<int, InterfaceRecord> Interfaces { get; init; } = new Dictionary<int, InterfaceRecord>();

    /// <summary>Tunnels by port index.</summary>
    public IReadOnlyDictionary<int, TunnelRecord> Tunnels { get; init; } = new Dictionary<int, TunnelRecord>();

    /// <summary>What adjacencies have besides their keys, by output port.</summary>
    public IReadOnlyDictionary<int, Adjacency> Adjacencies { get; init; } = new Dictionary<int, Adjacency>();

    /// <summary>Pools of addresses for NAT by number.</summary>
    public IReadOnlyDictionary<int, NatPoolRecord> NatPools { get; init; } = new Dictionary<int, NatPoolRecord>();

    /// <summary>Indices of VRFs in which a network masquerades.</summary>
    public IReadOnlySet<int> MasqueradingVrfs { get; init; } = new HashSet<int>();

    /// <summary>Services and published ports.</summary>
    public IEnumerable<CompiledService> Services { get; init; } = [];

    /// <summary>Addresses of services as such; the sets of their records are 0.</summary>
    public IEnumerable<FrontendRecord> ServiceAddresses { get; init; } = [];

    /// <summary>Static entries of the MAC table: the operator's, and those of routers and tunnels.</summary>
    public IEnumerable<CompiledMac> StaticMacs { get; init; } = [];

    /// <summary>Neighbours that are known: the operator's, and addresses of TAP devices.</summary>
    public IEnumerable<CompiledNeighbour> Neighbours { get; init; } = [];

    /// <summary>All routes: the operator's, those of links, and the switch's own addresses.</summary>
    public IEnumerable<CompiledRoute> Routes { get; init; } = [];

    /// <summary>What the host is to reach by way of the router.</summary>
    public IEnumerable<HostRoute> HostRoutes { get; init; } = [];
}

/// <summary>What a change makes of static MAC entries: as many as it names, however many there are.</summary>
/// <param name="Set">Entries that are new or other than before, perhaps.</param>
/// <param name="Remove">Keys of entries that are gone.</param>
public sealed record CompiledMacs(IReadOnlyList<CompiledMac> Set, IReadOnlyList<ulong> Remove);

/// <summary>The same of neighbours.</summary>
public sealed record CompiledNeighbours(IReadOnlyList<CompiledNeighbour> Set, IReadOnlyList<LinkAddress> Remove)
{
    public static CompiledNeighbours None { get; } = new([], []);
}

/// <summary>A route of the host's kernel to a prefix by way of a router.</summary>
/// <param name="Port">Index of the host's port that the router is behind.</param>
/// <param name="Prefix">What is reached.</param>
public readonly record struct HostRoute(int Port, State.Cidr Prefix);

/// <summary>What a change makes of the host's routes.</summary>
public sealed record CompiledHostRoutes(IReadOnlyList<HostRoute> Add, IReadOnlyList<HostRoute> Remove)
{
    public static CompiledHostRoutes None { get; } = new([], []);
}

/// <summary>A route that changes.</summary>
/// <param name="Key">Its prefix.</param>
/// <param name="Before">Where it led; null when there was none.</param>
/// <param name="After">Where it leads; null when there is none any more.</param>
public readonly record struct RouteStep(RouteKey Key, RouteTarget? Before, RouteTarget? After);

/// <summary>A change in the form of the segment's tables.</summary>
/// <param name="After">Everything as it is to be.</param>
/// <param name="Records">Whether records of ports, bridges, interfaces, tunnels, adjacencies and NAT pools may differ from before.</param>
/// <param name="Macs">Static MAC entries that may differ from before; null when any of them may.</param>
/// <param name="Neighbours">Neighbours that may differ from before; null when any of them may.</param>
/// <param name="Routes">Routes that differ from before; null when any of them may.</param>
/// <param name="Services">Services that differ from before, perhaps; null when any of them may.</param>
/// <param name="HostRoutes">Routes of the host that differ from before; null when any of them may.</param>
public sealed record CompiledChange(
    CompiledState After, bool Records, CompiledMacs? Macs, CompiledNeighbours? Neighbours, IReadOnlyList<RouteStep>? Routes, CompiledServices? Services,
    CompiledHostRoutes? HostRoutes);
