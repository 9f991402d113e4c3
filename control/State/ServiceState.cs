using System.Collections.Immutable;
using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

/// <summary>A service and the number it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Number">From 1; not that of a published port either.</param>
public sealed record ServiceEntry(Service Spec, uint Number);

/// <summary>A published port and what it was given for its life.</summary>
/// <param name="Spec">As the operator wrote it, with its revision. Never changed in place.</param>
/// <param name="Number">From 1; not that of a service either.</param>
/// <param name="HostPort">The port of the node: the one that was asked for, or the one that was chosen.</param>
public sealed record PublishedEntry(PublishedPort Spec, uint Number, ushort HostPort)
{
    /// <summary>What nobody else may have at the same address.</summary>
    internal HostPortKey Key => new(Spec.VrfInForce, Spec.Protocol, HostPort);

    /// <summary>The port at the container.</summary>
    internal ushort TargetPort => Spec.TargetPort == 0 ? HostPort : (ushort)Spec.TargetPort;
}

/// <summary>An address of services in a VRF.</summary>
public readonly record struct VipKey(string Vrf, IPAddress Address);

/// <summary>A port that the node answers at itself, at one of its addresses or at all: of node ports and published ports.</summary>
public readonly record struct HostPortKey(string Vrf, TransportProtocol Protocol, ushort Port);

/// <summary>Who has such a port.</summary>
/// <param name="Kind">A service, which has it at all addresses, or a published port.</param>
/// <param name="Name">Its name.</param>
public readonly record struct HostPortHolder(Kind Kind, string Name);

/// <summary>
/// The part of desired state that services are, with the indexes by which a change finds what it concerns. There may be 100,000
/// services with a million backends: nothing here is walked for one of them. Immutable.
/// </summary>
public sealed record ServiceState
{
    public static ServiceState Empty { get; } = new();

    public ImmutableSortedDictionary<string, ServiceEntry> Services { get; init; } = Sorted<ServiceEntry>();

    /// <summary>Backends by service, then by the name. No service has an empty one.</summary>
    public ImmutableSortedDictionary<string, ImmutableSortedDictionary<string, Backend>> Backends { get; init; } = Sorted<ImmutableSortedDictionary<string, Backend>>();

    public ImmutableSortedDictionary<string, PublishedEntry> Published { get; init; } = Sorted<PublishedEntry>();

    /// <summary>The services that have an address, most of the time one.</summary>
    public ImmutableDictionary<VipKey, ImmutableArray<string>> Vips { get; init; } = ImmutableDictionary<VipKey, ImmutableArray<string>>.Empty;

    /// <summary>Who has a port of the node.</summary>
    public ImmutableDictionary<HostPortKey, ImmutableArray<HostPortHolder>> HostPorts { get; init; } = ImmutableDictionary<HostPortKey, ImmutableArray<HostPortHolder>>.Empty;

    /// <summary>Published ports by the name of the port that they lead to.</summary>
    public ImmutableDictionary<string, ImmutableArray<string>> PublishedOfPort { get; init; } = ImmutableDictionary<string, ImmutableArray<string>>.Empty;

    /// <summary>Services with node ports.</summary>
    public ImmutableSortedSet<string> WithNodePorts { get; init; } = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>The number of the next service. No number comes again as long as this process lives.</summary>
    public uint NextNumber { get; init; } = 1;

    /// <summary>Where the search for a free port of the node begins, so that one which was given back rests for a while.</summary>
    public ushort NextHostPort { get; init; }

    public bool IsEmpty => Services.IsEmpty && Backends.IsEmpty && Published.IsEmpty;

    /// <summary>The backends of a service by name.</summary>
    public ImmutableSortedDictionary<string, Backend> BackendsOf(string service) => Backends.GetValueOrDefault(service, NoBackends);

    /// <summary>A backend by its name, or null.</summary>
    public Backend? FindBackend(string name) => BackendsOf(ResourceKeys.SplitBackend(name).Service).GetValueOrDefault(name);

    /// <summary>Names of backends behind one, service by service.</summary>
    public IEnumerable<string> BackendNames(string after)
    {
        string first = ResourceKeys.SplitBackend(after).Service;
        return Backends
            .Where(s => after.Length == 0 || string.CompareOrdinal(s.Key, first) >= 0)
            .SelectMany(s => after.Length > 0 && s.Key == first ? s.Value.Keys.Where(n => string.CompareOrdinal(n, after) > 0) : s.Value.Keys);
    }

    internal static ImmutableSortedDictionary<string, Backend> NoBackends { get; } = Sorted<Backend>();

    private static ImmutableSortedDictionary<string, T> Sorted<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}
