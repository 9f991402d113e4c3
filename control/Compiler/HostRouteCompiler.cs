using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Compiler;

/// <summary>
/// What the host is to reach by way of a router: in each VRF where a network has a port of the host, the subnets of the other
/// interfaces, and where the operator's routes lead, to services too. Of several host ports in a VRF the first one (by its network's name) that has an
/// address of the family carries the routes. A subnet that the host has a port in needs none. The host's default route is its own.
/// </summary>
internal static class HostRouteCompiler
{
    public static IEnumerable<HostRoute> All(DesiredState state)
    {
        Dictionary<(string, bool), int> leads = Leads(state.Topology);
        return Subnets(state.Topology, leads)
            .Concat(state.Routes.Values.Select(r => Of(r, leads)).OfType<HostRoute>())
            .Distinct();
    }

    /// <summary>What a change makes of them; null when any of them may be another one.</summary>
    public static CompiledHostRoutes? Changed(StateChange change)
    {
        bool moved = !ReferenceEquals(change.Before.Topology, change.After.Topology);
        if (!moved && !change.Has(Kind.Route))
        {
            return CompiledHostRoutes.None;
        }
        Dictionary<(string, bool), int> before = Leads(change.Before.Topology), after = before;
        HashSet<HostRoute> old = [], now = [];
        if (moved)
        {
            after = Leads(change.After.Topology);
            if (before.Any(lead => after.GetValueOrDefault(lead.Key, lead.Value) != lead.Value) || after.Keys.Any(vrf => !before.ContainsKey(vrf)))
            {
                return null;
            }
            old.UnionWith(Subnets(change.Before.Topology, before));
            now.UnionWith(Subnets(change.After.Topology, after));
        }
        foreach (ResourceChange resource in change.Of(Kind.Route))
        {
            if (resource.Before is Route gone && Of(gone, before) is { } was)
            {
                old.Add(was);
            }
            if (resource.After is Route wanted && Of(wanted, after) is { } becomes)
            {
                now.Add(becomes);
            }
        }
        return new CompiledHostRoutes([.. now.Except(old)], [.. old.Except(now)]);
    }

    /// <summary>The host ports that carry routes, by VRF and family.</summary>
    private static Dictionary<(string Vrf, bool IsIPv6), int> Leads(Topology topology)
    {
        var leads = new Dictionary<(string, bool), int>();
        foreach (RoutedInterface one in topology.Interfaces.Where(i => i.Host is not null))
        {
            foreach (Cidr address in one.Addresses)
            {
                leads.TryAdd((one.Vrf, address.IsIPv6), one.Host!.Index);
            }
        }
        return leads;
    }

    private static IEnumerable<HostRoute> Subnets(Topology topology, Dictionary<(string, bool), int> leads) =>
        from one in topology.Interfaces
        where one.Host is null
        from address in one.Addresses
        where address.Length > 0 && leads.ContainsKey((one.Vrf, address.IsIPv6))
        select new HostRoute(leads[(one.Vrf, address.IsIPv6)], address.Prefix);

    private static HostRoute? Of(Route route, Dictionary<(string, bool), int> leads) =>
        route.Type is Route.Types.Type.Unicast or Route.Types.Type.Services && Cidr.TryParse(route.Prefix, out Cidr prefix) && prefix.Length > 0
            && leads.TryGetValue((route.VrfInForce, prefix.IsIPv6), out int port)
            ? new HostRoute(port, prefix)
            : null;
}
