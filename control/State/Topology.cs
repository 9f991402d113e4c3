using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>What stands behind an index of the engine's port table.</summary>
public enum PortRole
{
    /// <summary>A device: a resource Port.</summary>
    Device,
    /// <summary>The router of a network.</summary>
    Router,
    /// <summary>A tunnel peer.</summary>
    Tunnel,
}

/// <summary>An index of the engine's port table, and what people call it.</summary>
/// <param name="Index">From 1.</param>
/// <param name="Name">Of the port, "NETWORK.router", or of the tunnel peer.</param>
/// <param name="Network">Its network; empty for a routed port.</param>
/// <param name="Role">What it is.</param>
public sealed record NamedPort(int Index, string Name, string Network, PortRole Role);

/// <summary>The layer-3 side of a network with a router or of a routed port.</summary>
public sealed record RoutedInterface
{
    /// <summary>Index of the router's port or of the routed port.</summary>
    public required int Port { get; init; }

    /// <summary>"NETWORK.router", or the name of the routed port.</summary>
    public required string Name { get; init; }

    public required string Vrf { get; init; }
    public required MacAddress Mac { get; init; }
    public required uint Mtu { get; init; }

    /// <summary>Addresses with the length of their subnet's prefix.</summary>
    public required IReadOnlyList<Cidr> Addresses { get; init; }

    /// <summary>The network; null for a routed port.</summary>
    public NetworkEntry? Network { get; init; }

    /// <summary>The host's port of the network, or null.</summary>
    public PortEntry? Host { get; init; }

    public bool SourceCheck { get; init; }
    public bool Proxy { get; init; }
    public bool Suppress { get; init; }
    public bool ClampMss { get; init; }

    /// <summary>Whether the network extends over VXLAN.</summary>
    public bool IsOverlay => Network?.Spec.Vxlan is not null;

    /// <summary>Index of its VRF.</summary>
    public required int VrfIndex { get; init; }
}

/// <summary>A network's tunnel end point on this node.</summary>
/// <param name="Address">Its address.</param>
/// <param name="Interface">The interface that has the address.</param>
public sealed record Vtep(IPAddress Address, RoutedInterface Interface);

/// <summary>
/// What the networks, ports and peers of a state come to at layer 3: interfaces, VRFs, subnets on links, tunnel end points. Derived
/// from them alone, and also from a state that breaks the rules, for the rules are checked with it.
/// </summary>
public sealed class Topology
{
    private readonly ImmutableSortedDictionary<string, NetworkEntry> _networks;
    private readonly ImmutableSortedDictionary<string, PortEntry> _ports;
    private readonly ImmutableSortedDictionary<string, PeerEntry> _peers;
    private readonly Dictionary<int, NamedPort> _byIndex = [];
    private readonly Dictionary<string, NamedPort> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RoutedInterface> _ofNetwork = new(StringComparer.Ordinal), _ofPort = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _vrfs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<(Cidr Subnet, RoutedInterface Interface)>> _connected = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Network, string Mac), PeerEntry> _peersByMac = [];
    private readonly Dictionary<string, Vtep> _vteps = new(StringComparer.Ordinal);
    private readonly Lazy<Dictionary<(string Vrf, AddressFamily Family), List<(UInt128 Address, PeerEntry Peer)>>> _ends;
    private readonly Lazy<HashSet<(string Vrf, IPAddress Address)>> _own;

    internal Topology(DesiredState state)
    {
        _networks = state.Networks;
        _ports = state.Ports;
        _peers = state.Peers;
        NamePorts();
        NumberVrfs();
        MakeInterfaces();
        FindVteps();
        foreach (PeerEntry peer in _peers.Values.Where(p => p.Spec.Mac.Length > 0))
        {
            _peersByMac.TryAdd((peer.Spec.Network, peer.Spec.Mac), peer);
        }
        _ends = new(SortEnds);
        _own = new(() => [.. Interfaces.SelectMany(i => i.Addresses, (i, a) => (i.Vrf, a.Address))]);
    }

    /// <summary>All ports, routers' ports and tunnel peers: devices by name, then routers, then peers.</summary>
    public IReadOnlyList<NamedPort> Ports { get; private set; } = [];

    /// <summary>Networks with routers by name, then routed ports by name.</summary>
    public IReadOnlyList<RoutedInterface> Interfaces { get; private set; } = [];

    /// <summary>VRFs by name, and their indices.</summary>
    public IReadOnlyDictionary<string, int> Vrfs => _vrfs;

    internal bool IsOf(DesiredState state) =>
        ReferenceEquals(_networks, state.Networks) && ReferenceEquals(_ports, state.Ports) && ReferenceEquals(_peers, state.Peers);

    public NamedPort? Find(int index) => _byIndex.GetValueOrDefault(index);
    public NamedPort? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>The interface of a network with a router, or null.</summary>
    public RoutedInterface? OfNetwork(string name) => _ofNetwork.GetValueOrDefault(name);

    /// <summary>The interface of a routed port, or null.</summary>
    public RoutedInterface? OfPort(string name) => _ofPort.GetValueOrDefault(name);

    /// <summary>The tunnel end point of a network on this node; null when it is no overlay, or has none here.</summary>
    public Vtep? VtepOf(string network) => _vteps.GetValueOrDefault(network);

    /// <summary>The tunnel peer of a network that has a MAC address, or null.</summary>
    public PeerEntry? PeerOf(string network, string mac) => _peersByMac.Count == 0 ? null : _peersByMac.GetValueOrDefault((network, mac));

    /// <summary>The interface of a VRF in the smallest subnet of which an address lies, or null.</summary>
    public RoutedInterface? OnLink(string vrf, IPAddress address)
    {
        if (_connected.TryGetValue(vrf, out List<(Cidr Subnet, RoutedInterface Interface)>? subnets))
        {
            foreach ((Cidr subnet, RoutedInterface found) in subnets)
            {
                if (subnet.Contains(address))
                {
                    return found;
                }
            }
        }
        return null;
    }

    /// <summary>Subnets on the links of a VRF, the longest prefixes first.</summary>
    public IReadOnlyList<(Cidr Subnet, RoutedInterface Interface)> Connected(string vrf) => _connected.GetValueOrDefault(vrf) ?? [];

    /// <summary>The node's own addresses in a VRF: those of its interfaces there.</summary>
    public IEnumerable<IPAddress> NodeAddresses(string vrf) =>
        Interfaces.Where(i => i.Vrf == vrf).SelectMany(i => i.Addresses).Select(a => a.Address).Distinct();

    /// <summary>Whether an address is the node's own in a VRF.</summary>
    public bool IsOwn(string vrf, IPAddress address) => _own.Value.Contains((vrf, address));

    /// <summary>Whether the node has the same addresses in VRFs of the same numbers as in another topology.</summary>
    public bool HasSameAddresses(Topology other) => ReferenceEquals(this, other)
        || (_own.Value.SetEquals(other._own.Value) && _vrfs.Count == other._vrfs.Count && _vrfs.All(v => other._vrfs.GetValueOrDefault(v.Key) == v.Value));

    /// <summary>Peers whose tunnel end point lies in a prefix and is reached by way of a VRF.</summary>
    public IEnumerable<PeerEntry> PeersIn(string vrf, Cidr prefix)
    {
        UInt128 first = Cidr.ToNumber(prefix.Prefix.Address);
        UInt128 last = first | (prefix.Length == prefix.Bits ? 0 : UInt128.MaxValue >> (128 - prefix.Bits + prefix.Length));
        if (!_ends.Value.TryGetValue((vrf, prefix.Address.AddressFamily), out List<(UInt128 Address, PeerEntry Peer)>? ends))
        {
            yield break;
        }
        int at = ends.FindIndex(e => e.Address >= first);
        for (int i = at; i >= 0 && i < ends.Count && ends[i].Address <= last; i++)
        {
            yield return ends[i].Peer;
        }
    }

    private void NamePorts()
    {
        var all = new List<NamedPort>();
        all.AddRange(_ports.Values.Select(p => new NamedPort(p.Index, p.Spec.Name, p.Spec.Network, PortRole.Device)));
        all.AddRange(_networks.Values.Where(n => n.RouterPort != 0)
            .Select(n => new NamedPort(n.RouterPort, ResourceKeys.RouterPort(n.Spec.Name), n.Spec.Name, PortRole.Router)));
        all.AddRange(_peers.Values.Select(p => new NamedPort(p.Index, p.Spec.Name, p.Spec.Network, PortRole.Tunnel)));
        foreach (NamedPort port in all)
        {
            _byIndex.TryAdd(port.Index, port);
            _byName.TryAdd(port.Name, port);
        }
        Ports = all;
    }

    private void NumberVrfs()
    {
        _vrfs.Add(ResourceKeys.MainVrf, MainVrfIndex);
        foreach (NetworkEntry network in _networks.Values.Where(n => n.Vrf != 0 && n.Spec.Router is not null))
        {
            _vrfs.TryAdd(network.Spec.Router.VrfInForce, network.Vrf);
        }
        foreach (PortEntry port in _ports.Values.Where(p => p.Vrf != 0 && p.Spec.Routed is not null))
        {
            _vrfs.TryAdd(port.Spec.Routed.VrfInForce, port.Vrf);
        }
    }

    /// <summary>Index of the VRF "main".</summary>
    public const int MainVrfIndex = 1;

    private void MakeInterfaces()
    {
        List<RoutedInterface> all =
        [
            .. _networks.Values.Where(n => n.Spec.Router is not null).Select(OfRouter),
            .. _ports.Values.Where(p => p.Spec.Routed is not null).Select(OfRoutedPort),
        ];
        HashSet<string> mixed = [.. all.GroupBy(i => i.Vrf).Where(g => g.Select(i => i.Mtu).Distinct().Skip(1).Any()).Select(g => g.Key)];
        Interfaces = [.. all.Select(i => i with { ClampMss = ClampMss(i, mixed.Contains(i.Vrf)) })];
        foreach (RoutedInterface one in Interfaces)
        {
            (one.Network is null ? _ofPort : _ofNetwork).TryAdd(one.Network?.Spec.Name ?? one.Name, one);
            if (!_connected.TryGetValue(one.Vrf, out List<(Cidr Subnet, RoutedInterface Interface)>? subnets))
            {
                _connected.Add(one.Vrf, subnets = []);
            }
            subnets.AddRange(one.Addresses.Select(a => (a.Prefix, one)).Distinct());
        }
        foreach (List<(Cidr Subnet, RoutedInterface Interface)> subnets in _connected.Values)
        {
            subnets.Sort((a, b) => b.Subnet.Length.CompareTo(a.Subnet.Length));
        }
    }

    private RoutedInterface OfRouter(NetworkEntry network)
    {
        Network spec = network.Spec;
        Router router = spec.Router;
        return new RoutedInterface
        {
            Port = network.RouterPort,
            Name = ResourceKeys.RouterPort(spec.Name),
            Vrf = router.VrfInForce,
            VrfIndex = network.Vrf,
            Mac = spec.MacInForce,
            Mtu = spec.MtuInForce,
            Addresses = [.. spec.GatewayAddresses],
            Network = network,
            Host = _ports.Values.FirstOrDefault(p => p.Spec.IsHost && p.Spec.Network == spec.Name),
            SourceCheck = router.SourceCheck,
            Proxy = router.ProxyArp,
            Suppress = router.HasSuppress ? router.Suppress : spec.Vxlan is not null,
        };
    }

    private static RoutedInterface OfRoutedPort(PortEntry port)
    {
        Routed routed = port.Spec.Routed;
        return new RoutedInterface
        {
            Port = port.Index,
            Name = port.Spec.Name,
            Vrf = routed.VrfInForce,
            VrfIndex = port.Vrf,
            Mac = port.Spec.RoutedMacInForce,
            Mtu = port.Spec.MtuInForce(null),
            Addresses = [.. routed.AddressesInForce],
            SourceCheck = routed.SourceCheck,
            Proxy = routed.ProxyArp,
        };
    }

    private bool ClampMss(RoutedInterface one, bool mixedMtu)
    {
        bool usual = one.IsOverlay || mixedMtu;
        return one.Network is { } network
            ? network.Spec.Router.HasClampMss ? network.Spec.Router.ClampMss : usual
            : _ports[one.Name].Spec.Routed is { HasClampMss: true } routed ? routed.ClampMss : usual;
    }

    private void FindVteps()
    {
        foreach (Network network in _networks.Values.Select(n => n.Spec).Where(n => n.Vxlan is not null))
        {
            if (FindVtep(network.Vxlan) is { } vtep)
            {
                _vteps.Add(network.Name, vtep);
            }
        }
    }

    private Dictionary<(string Vrf, AddressFamily Family), List<(UInt128 Address, PeerEntry Peer)>> SortEnds()
    {
        var ends = new Dictionary<(string Vrf, AddressFamily Family), List<(UInt128 Address, PeerEntry Peer)>>();
        foreach (PeerEntry peer in _peers.Values)
        {
            if (VtepOf(peer.Spec.Network) is { } vtep && Cidr.TryParseAddress(peer.Spec.Address, out IPAddress? address))
            {
                (string, AddressFamily) key = (vtep.Interface.Vrf, address.AddressFamily);
                if (!ends.TryGetValue(key, out List<(UInt128 Address, PeerEntry Peer)>? list))
                {
                    ends.Add(key, list = []);
                }
                list.Add((Cidr.ToNumber(address), peer));
            }
        }
        foreach (List<(UInt128 Address, PeerEntry Peer)> list in ends.Values)
        {
            list.Sort((a, b) => a.Address.CompareTo(b.Address));
        }
        return ends;
    }

    /// <summary>In the VRF "main" first, where an address may exist in several.</summary>
    private Vtep? FindVtep(Vxlan vxlan)
    {
        IPAddress wanted = vxlan.LocalInForce;
        bool any = wanted.Equals(IPAddress.Any) || wanted.Equals(IPAddress.IPv6Any);
        return Interfaces.Where(i => !i.IsOverlay && (!any || i.Network is null)).OrderBy(i => i.Vrf != ResourceKeys.MainVrf)
            .SelectMany(i => i.Addresses.Select(a => new Vtep(a.Address, i)))
            .FirstOrDefault(v => any ? v.Address.AddressFamily == wanted.AddressFamily : v.Address.Equals(wanted));
    }
}
