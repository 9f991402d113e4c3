using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>A network and the numbers it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Index">Index of its bridge record, from 1.</param>
/// <param name="FidBlock">With VLAN filtering its block of filtering identifiers, from 1; else 0.</param>
public sealed record NetworkEntry(Network Spec, int Index, int FidBlock)
{
    /// <summary>The network's own address. Made from its name, in most cases: not anew for every static MAC that is checked against it.</summary>
    public MacAddress Mac { get; } = Spec.MacInForce;
}

/// <summary>A port and the number it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Index">Index of its port record, from 1.</param>
public sealed record PortEntry(Port Spec, int Index);

/// <summary>All that is asked for, at one revision. Immutable: a change makes another state, which shares what it can.</summary>
public sealed record DesiredState(
    ulong Revision,
    ImmutableSortedDictionary<string, NetworkEntry> Networks,
    ImmutableSortedDictionary<string, PortEntry> Ports,
    ImmutableSortedDictionary<string, StaticMac> StaticMacs)
{
    public static DesiredState Empty { get; } = new(
        0,
        ImmutableSortedDictionary.Create<string, NetworkEntry>(StringComparer.Ordinal),
        ImmutableSortedDictionary.Create<string, PortEntry>(StringComparer.Ordinal),
        ImmutableSortedDictionary.Create<string, StaticMac>(StringComparer.Ordinal));

    /// <summary>The resource of a kind and name, without status, or null. What it holds is the state's: not to be changed.</summary>
    public Resource? Find(Kind kind, string name) => kind switch
    {
        Kind.Network when Networks.TryGetValue(name, out NetworkEntry? n) => ResourceKeys.Of(n.Spec),
        Kind.Port when Ports.TryGetValue(name, out PortEntry? p) => ResourceKeys.Of(p.Spec),
        Kind.StaticMac when StaticMacs.TryGetValue(name, out StaticMac? m) => ResourceKeys.Of(m),
        _ => null,
    };

    /// <summary>Names of a kind that come behind <paramref name="after"/>, in order.</summary>
    public IEnumerable<string> Names(Kind kind, string after = "")
    {
        IEnumerable<string> all = kind switch
        {
            Kind.Network => Networks.Keys,
            Kind.Port => Ports.Keys,
            Kind.StaticMac => StaticMacs.Keys,
            _ => [],
        };
        return after.Length == 0 ? all : all.Where(n => string.CompareOrdinal(n, after) > 0);
    }

    public IEnumerable<PortEntry> PortsOf(string network) => Ports.Values.Where(p => p.Spec.Network == network);

    /// <summary>The name of the port with an index, or null.</summary>
    public string? PortName(int index) => Ports.Values.FirstOrDefault(p => p.Index == index)?.Spec.Name;

    /// <summary>The name of the network with a bridge index, or null.</summary>
    public string? NetworkName(int index) => Networks.Values.FirstOrDefault(n => n.Index == index)?.Spec.Name;
}
