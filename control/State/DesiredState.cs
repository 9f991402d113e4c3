using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>A network and the numbers it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Index">Index of its bridge record, from 1.</param>
/// <param name="FidBlock">With VLAN filtering its block of filtering identifiers, from 1; else 0.</param>
/// <param name="RouterPort">With a router the index of its port record, from 1; else 0.</param>
/// <param name="Vrf">With a router the index of its VRF, from 1; else 0.</param>
public sealed record NetworkEntry(Network Spec, int Index, int FidBlock, int RouterPort = 0, int Vrf = 0)
{
    /// <summary>The network's own address. Made from its name, in most cases: not anew for every static MAC that is checked against it.</summary>
    public MacAddress Mac { get; } = Spec.MacInForce;

    /// <summary>With a router its other address.</summary>
    public MacAddress? SecondMac { get; } = Spec.Router is null ? null : Spec.SecondMac;
}

/// <summary>A port and the numbers it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Index">Index of its port record, from 1.</param>
/// <param name="Vrf">Of a routed port the index of its VRF, from 1; else 0.</param>
public sealed record PortEntry(Port Spec, int Index, int Vrf = 0);

/// <summary>A tunnel peer and the number it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Index">Index of its tunnel port's record, from 1.</param>
public sealed record PeerEntry(TunnelPeer Spec, int Index);

/// <summary>All that is asked for, at one revision. Immutable: a change makes another state, which shares what it can.</summary>
public sealed record DesiredState(
    ulong Revision,
    ImmutableSortedDictionary<string, NetworkEntry> Networks,
    ImmutableSortedDictionary<string, PortEntry> Ports,
    NameMap<StaticMac> StaticMacs,
    ImmutableSortedDictionary<string, PeerEntry> Peers,
    NameMap<Neighbour> Neighbours,
    NameMap<Route> Routes,
    ImmutableSortedDictionary<string, Policy> Policies)
{
    private Topology? _topology;

    /// <summary>Services, their backends, and published ports.</summary>
    public ServiceState Services { get; init; } = ServiceState.Empty;

    public static DesiredState Empty { get; } = new(0, None<NetworkEntry>(), None<PortEntry>(), NameMap<StaticMac>.Empty, None<PeerEntry>(), NameMap<Neighbour>.Empty, NameMap<Route>.Empty, None<Policy>());

    /// <summary>
    /// What networks, ports and peers come to at layer 3. Worked out on first use; states that have the same networks, ports and
    /// peers share it, so that a change of one route of a million does not look at any of them.
    /// </summary>
    public Topology Topology
    {
        get
        {
            Topology? known = Volatile.Read(ref _topology);
            if (known is null || !known.IsOf(this))
            {
                Volatile.Write(ref _topology, known = new Topology(this));
            }
            return known;
        }
    }

    /// <summary>The resource of a kind and name, without status, or null. What it holds is the state's: not to be changed.</summary>
    public Resource? Find(Kind kind, string name) => kind switch
    {
        Kind.Network when Networks.TryGetValue(name, out NetworkEntry? n) => ResourceKeys.Of(n.Spec),
        Kind.Port when Ports.TryGetValue(name, out PortEntry? p) => ResourceKeys.Of(p.Spec),
        Kind.StaticMac when StaticMacs.TryGetValue(name, out StaticMac? m) => ResourceKeys.Of(m),
        Kind.TunnelPeer when Peers.TryGetValue(name, out PeerEntry? t) => ResourceKeys.Of(t.Spec),
        Kind.Neighbour when Neighbours.TryGetValue(name, out Neighbour? n) => ResourceKeys.Of(n),
        Kind.Route when Routes.TryGetValue(name, out Route? r) => ResourceKeys.Of(r),
        Kind.Service when Services.Services.TryGetValue(name, out ServiceEntry? s) => ResourceKeys.Of(s.Spec),
        Kind.Backend when Services.FindBackend(name) is { } b => ResourceKeys.Of(b),
        Kind.PublishedPort when Services.Published.TryGetValue(name, out PublishedEntry? p) => ResourceKeys.Of(p.Spec),
        Kind.Policy when Policies.TryGetValue(name, out Policy? p) => ResourceKeys.Of(p),
        _ => null,
    };

    /// <summary>The state without a network, a policy, a port, or a tunnel peer.</summary>
    internal DesiredState WithoutLink(Kind kind, string name) => kind switch
    {
        Kind.Network => this with { Networks = Networks.Remove(name) },
        Kind.Port => this with { Ports = Ports.Remove(name) },
        Kind.TunnelPeer => this with { Peers = Peers.Remove(name) },
        Kind.Policy => this with { Policies = Policies.Remove(name) },
        _ => this,
    };

    /// <summary>Names of a kind that come behind <paramref name="after"/>, in order; those of backends service by service.</summary>
    public IEnumerable<string> Names(Kind kind, string after = "")
    {
        return kind switch
        {
            Kind.Network => Behind(Networks.Keys),
            Kind.Port => Behind(Ports.Keys),
            Kind.StaticMac => StaticMacs.NamesAfter(after),
            Kind.TunnelPeer => Behind(Peers.Keys),
            Kind.Neighbour => Neighbours.NamesAfter(after),
            Kind.Route => Routes.NamesAfter(after),
            Kind.Service => Behind(Services.Services.Keys),
            Kind.Backend => Services.BackendNames(after),
            Kind.PublishedPort => Behind(Services.Published.Keys),
            Kind.Policy => Behind(Policies.Keys),
            _ => [],
        };

        IEnumerable<string> Behind(IEnumerable<string> all) => after.Length == 0 ? all : all.Where(n => string.CompareOrdinal(n, after) > 0);
    }

    /// <summary>All resources, as what makes the state of nothing.</summary>
    public IEnumerable<ResourceChange> All => ResourceKeys.Kinds.SelectMany(kind => Names(kind).Select(name => new ResourceChange(kind, name, null, Find(kind, name)!.Content)));

    /// <summary>The keys of the resources that somebody keeps; with "" those of the operator's.</summary>
    public IEnumerable<ResourceKey> KeysOf(string owner)
    {
        // By value: a key is made only for what is asked for, and there may be a million routes of the operator's.
        IEnumerable<(Kind, string)> kept =
        [
            .. Networks.Where(n => n.Value.Spec.Owner == owner).Select(n => (Kind.Network, n.Key)),
            .. Peers.Where(p => p.Value.Spec.Owner == owner).Select(p => (Kind.TunnelPeer, p.Key)),
            .. Neighbours.Where(n => n.Value.Owner == owner).Select(n => (Kind.Neighbour, n.Key)),
            .. Routes.Where(r => r.Value.Owner == owner).Select(r => (Kind.Route, r.Key)),
            .. Services.Services.Where(s => s.Value.Spec.Owner == owner).Select(s => (Kind.Service, s.Key)),
            .. Services.Backends.Values.SelectMany(b => b).Where(b => b.Value.Owner == owner).Select(b => (Kind.Backend, b.Key)),
            .. Services.Published.Where(p => p.Value.Spec.Owner == owner).Select(p => (Kind.PublishedPort, p.Key)),
        ];
        IEnumerable<(Kind, string)> unkept = owner.Length > 0 ? [] : Policies.Keys.Select(p => (Kind.Policy, p)).Concat(Ports.Keys.Select(p => (Kind.Port, p))).Concat(StaticMacs.Keys.Select(m => (Kind.StaticMac, m)));
        return kept.Concat(unkept).Select(k => new ResourceKey { Kind = k.Item1, Name = k.Item2 });
    }

    public IEnumerable<PortEntry> PortsOf(string network) => Ports.Values.Where(p => p.Spec.Network == network);

    public IEnumerable<PeerEntry> PeersOf(string network) => Peers.Values.Where(p => p.Spec.Network == network);

    public IEnumerable<PortEntry> PortsWith(string policy) => Ports.Values.Where(p => p.Spec.Policy == policy);

    /// <summary>The name of the port, router's port or tunnel peer with an index, or null.</summary>
    public string? PortName(int index) => Topology.Find(index)?.Name;

    /// <summary>The name of the network with a bridge index, or null.</summary>
    public string? NetworkName(int index) => Networks.Values.FirstOrDefault(n => n.Index == index)?.Spec.Name;

    private static ImmutableSortedDictionary<string, T> None<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}
