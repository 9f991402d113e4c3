using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Routes of all VRFs: the operator's, and those that follow from interfaces. These are, for every address of an interface:
/// <list type="bullet">
/// <item>the address itself, which is local;</item>
/// <item>its subnet, which is on the link;</item>
/// <item>the subnet's network and broadcast address (IPv4), to which nothing is forwarded (RFC 2644).</item>
/// </list>
/// And where a network has a port of the host, all that nobody else has a route to goes there, from the whole VRF: a default route
/// for each family that the network has an address of. A default route of the operator's takes its place.
/// </summary>
internal static class RouteCompiler
{
    public static IEnumerable<CompiledRoute> All(DesiredState state)
    {
        Dictionary<RouteKey, RouteTarget> derived = Derived(state.Topology);
        foreach (Route route in state.Routes.Values)
        {
            RouteKey key = KeyOf(state, route);
            derived.Remove(key);
            yield return new CompiledRoute(key, Target(state, route));
        }
        foreach ((RouteKey key, RouteTarget target) in derived)
        {
            yield return new CompiledRoute(key, target);
        }
    }

    /// <summary>
    /// What a change makes of them; null when any of them may lead elsewhere. New interfaces move no route, since subnets of a VRF do
    /// not overlap, and a route that a vanished one carried is in the batch itself, or the batch is refused.
    /// </summary>
    public static IReadOnlyList<RouteStep>? Changed(StateChange change)
    {
        bool moved = !ReferenceEquals(change.Before.Topology, change.After.Topology);
        if (moved && MovesInterfaces(change.Before.Topology, change.After.Topology))
        {
            return null;
        }
        if (!moved && !change.Has(Kind.Route))
        {
            return [];
        }
        Dictionary<RouteKey, RouteTarget> before = [], after = [];
        var keys = new HashSet<RouteKey>();
        if (moved)
        {
            before = Derived(change.Before.Topology);
            after = Derived(change.After.Topology);
            keys.UnionWith(before.Keys);
            keys.UnionWith(after.Keys);
        }
        foreach (ResourceChange resource in change.Of(Kind.Route))
        {
            keys.Add(resource.After is Route wanted ? KeyOf(change.After, wanted) : KeyOf(change.Before, (Route)resource.Before!));
        }
        if (!moved && keys.Any(k => k.Length == 0))
        {
            before = after = Derived(change.After.Topology);
        }
        var steps = new List<RouteStep>();
        foreach (RouteKey key in keys)
        {
            var step = new RouteStep(key, Find(change.Before, key, before), Find(change.After, key, after));
            if (!Equals(step.Before, step.After))
            {
                steps.Add(step);
            }
        }
        return steps;
    }

    /// <summary>Whether an interface that stays has other addresses, another index or another VRF, or a peer another index.</summary>
    private static bool MovesInterfaces(Topology before, Topology after) =>
        before.Interfaces.Any(old => (old.Network is null ? after.OfPort(old.Name) : after.OfNetwork(old.Network.Spec.Name)) is { } now
            && (old.Port != now.Port || old.VrfIndex != now.VrfIndex || !old.Addresses.SequenceEqual(now.Addresses)))
        || before.Ports.Any(old => old.Role == PortRole.Tunnel && after.Find(old.Name) is { } now && (now.Index != old.Index || now.Network != old.Network));

    private static RouteTarget? Find(DesiredState state, RouteKey key, Dictionary<RouteKey, RouteTarget> derived)
    {
        string? vrf = state.Topology.Vrfs.FirstOrDefault(v => v.Value == key.Vrf).Key;
        return vrf is not null && state.Routes.TryGetValue(ResourceKeys.RouteName(vrf, PrefixOf(key).ToString()), out Route? route)
            ? Target(state, route)
            : derived.GetValueOrDefault(key);
    }

    private static Dictionary<RouteKey, RouteTarget> Derived(Topology topology)
    {
        var all = new Dictionary<RouteKey, RouteTarget>();
        foreach (RoutedInterface one in topology.Interfaces)
        {
            ushort port = (ushort)one.Port;
            foreach (Cidr address in one.Addresses)
            {
                all[KeyOf(one.VrfIndex, address.Prefix)] = new RouteTarget(new HopKey(NextHopKind.Connected, port));
                if (address is { IsIPv6: false, Length: < 31 })
                {
                    uint host = uint.MaxValue >> address.Length, network = (uint)Cidr.ToNumber(address.Prefix.Address);
                    all[new RouteKey(one.VrfIndex, false, network, 32)] = new RouteTarget(new HopKey(NextHopKind.Blackhole));
                    all[new RouteKey(one.VrfIndex, false, network | host, 32)] = new RouteTarget(new HopKey(NextHopKind.Blackhole));
                }
            }
            foreach (Cidr address in one.Addresses)
            {
                all[KeyOf(one.VrfIndex, new Cidr(address.Address, address.Bits))] = new RouteTarget(new HopKey(NextHopKind.Local, port));
            }
        }
        foreach (RoutedInterface one in topology.Interfaces.Where(i => i.Host is not null))
        {
            foreach (bool ipv6 in one.Addresses.Select(a => a.IsIPv6).Distinct())
            {
                all.TryAdd(new RouteKey(one.VrfIndex, ipv6, 0, 0), new RouteTarget(new HopKey(NextHopKind.Adjacency, (ushort)one.Host!.Index)));
            }
        }
        return all;
    }

    private static RouteTarget Target(DesiredState state, Route route) => route.Type switch
    {
        Route.Types.Type.Blackhole => new RouteTarget(new HopKey(NextHopKind.Blackhole)),
        Route.Types.Type.Unreachable or Route.Types.Type.Services => new RouteTarget(new HopKey(NextHopKind.Unreachable)),
        Route.Types.Type.Prohibited => new RouteTarget(new HopKey(NextHopKind.Prohibited)),
        _ when route.NextHops.Count == 1 => new RouteTarget(Hop(state, route, route.NextHops[0])),
        _ => new RouteTarget(route.NextHops.Select(h => new WeightedHop(Hop(state, route, h), (int)h.WeightInForce))),
    };

    private static HopKey Hop(DesiredState state, Route route, NextHop hop)
    {
        ResolvedHop to = NextHops.Resolve(state, route, hop) ?? throw new InvalidOperationException($"a next hop of route {route.Name} leads nowhere");
        return to switch
        {
            { Peer: { } peer } => new HopKey(NextHopKind.Adjacency, (ushort)peer.Index),
            { Via: null } => new HopKey(NextHopKind.Connected, (ushort)to.Interface.Port),
            { Via: { AddressFamily: AddressFamily.InterNetworkV6 } via } => new HopKey(NextHopKind.Gateway6, (ushort)to.Interface.Port, InterfaceCompiler.Number(via)),
            { Via: { } via } => new HopKey(NextHopKind.Gateway4, (ushort)to.Interface.Port, InterfaceCompiler.Number(via)),
        };
    }

    private static RouteKey KeyOf(DesiredState state, Route route) =>
        Cidr.TryParse(route.Prefix, out Cidr prefix) ? KeyOf(state.Topology.Vrfs[route.VrfInForce], prefix) : throw new FormatException(route.Prefix);

    private static RouteKey KeyOf(int vrf, Cidr prefix) => new(vrf, prefix.IsIPv6, Cidr.ToNumber(prefix.Address), prefix.Length);

    /// <summary>The route that packets to an address take, by the longest prefix; null when there is none.</summary>
    public static CompiledRoute? Find(DesiredState state, int vrf, IPAddress address)
    {
        Dictionary<RouteKey, RouteTarget> derived = Derived(state.Topology);
        for (int length = address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32; length >= 0; length--)
        {
            RouteKey key = KeyOf(vrf, new Cidr(address, length).Prefix);
            if (Find(state, key, derived) is { } target)
            {
                return new CompiledRoute(key, target);
            }
        }
        return null;
    }

    /// <summary>The address of a next hop's router.</summary>
    public static IPAddress AddressOf(HopKey hop) => AddressOf(hop.Kind == NextHopKind.Gateway6, new UInt128(hop.Gateway.High, hop.Gateway.Low));

    /// <summary>A key's prefix.</summary>
    public static Cidr PrefixOf(RouteKey key) => new(AddressOf(key.IsIPv6, key.Address), key.Length);

    /// <summary>A number as an address of either family.</summary>
    public static IPAddress AddressOf(bool ipv6, UInt128 number)
    {
        Span<byte> bytes = stackalloc byte[16];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt128BigEndian(bytes, number);
        return new IPAddress(ipv6 ? bytes : bytes[12..]);
    }
}
