using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

/// <summary>Routes with the names of interfaces and VRFs.</summary>
internal sealed class RouteListing(DesiredState state, StatusReader status)
{
    private readonly Dictionary<int, string> _vrfs = state.Topology.Vrfs.ToDictionary(v => v.Value, v => v.Key);

    /// <summary>The routes of a VRF, or of all: by VRF, IPv4 before IPv6, by prefix.</summary>
    /// <param name="vrf">Empty for all.</param>
    /// <param name="local">Also those of the switch's own addresses, and those that interfaces drop.</param>
    /// <exception cref="ProblemException">There is no such VRF.</exception>
    public IEnumerable<TableRoute> Read(string vrf, bool local)
    {
        if (vrf.Length > 0 && !state.Topology.Vrfs.ContainsKey(vrf))
        {
            throw NoVrf(state, vrf);
        }
        return RouteCompiler.All(state)
            .Where(r => vrf.Length == 0 || _vrfs[r.Key.Vrf] == vrf)
            .OrderBy(r => _vrfs[r.Key.Vrf], StringComparer.Ordinal).ThenBy(r => r.Key.IsIPv6).ThenBy(r => r.Key.Address).ThenBy(r => r.Key.Length)
            .Select(Describe)
            .Where(r => local || r.Origin != TableRoute.Types.Origin.Interface || r.Type == TableRoute.Types.Type.Unicast);
    }

    /// <summary>The route of an address, the longest prefix of all, or null.</summary>
    public TableRoute? Find(string vrf, IPAddress address)
    {
        int index = state.Topology.Vrfs.TryGetValue(vrf, out int known) ? known : throw NoVrf(state, vrf);
        return RouteCompiler.Find(state, index, address) is { } route ? Describe(route) : null;
    }

    public static ProblemException NoVrf(DesiredState state, string vrf) => new(
        StatusCode.NotFound, $"VRF \"{vrf}\" does not exist", $"VRFs: {string.Join(", ", state.Topology.Vrfs.Keys.Order(StringComparer.Ordinal))}");

    public static TableRoute.Types.Type TypeOf(NextHopKind kind) => kind switch
    {
        NextHopKind.Local => TableRoute.Types.Type.Local,
        NextHopKind.Blackhole => TableRoute.Types.Type.Blackhole,
        NextHopKind.Unreachable => TableRoute.Types.Type.Unreachable,
        NextHopKind.Prohibited => TableRoute.Types.Type.Prohibited,
        _ => TableRoute.Types.Type.Unicast,
    };

    private TableRoute Describe(CompiledRoute route)
    {
        string vrf = _vrfs[route.Key.Vrf];
        Cidr prefix = RouteCompiler.PrefixOf(route.Key);
        WeightedHop first = route.Target.Members[0];
        bool operators = state.Routes.ContainsKey(ResourceKeys.RouteName(vrf, prefix.ToString()));
        var described = new TableRoute
        {
            Vrf = vrf,
            Prefix = prefix.ToString(),
            Type = TypeOf(first.Key.Kind),
            Origin = operators ? TableRoute.Types.Origin.Operator : prefix.Length == 0 ? TableRoute.Types.Origin.Host : TableRoute.Types.Origin.Interface,
        };
        foreach (WeightedHop hop in route.Target.Members.OrderBy(m => m.Key.Port).ThenBy(m => m.Key.Gateway.High).ThenBy(m => m.Key.Gateway.Low))
        {
            if (state.Topology.Find(hop.Key.Port) is { } port)
            {
                described.NextHops.Add(new ResolvedNextHop
                {
                    Via = hop.Key.Kind is NextHopKind.Gateway4 or NextHopKind.Gateway6 ? RouteCompiler.AddressOf(hop.Key).ToString() : "",
                    Port = port.Name,
                    Network = port.Network,
                    Weight = (uint)hop.Weight,
                    Up = status.IsUp(state, port),
                });
            }
        }
        if (!operators && first.Key.Kind is NextHopKind.Connected or NextHopKind.Local)
        {
            RoutedInterface? link = state.Topology.Interfaces.FirstOrDefault(i => i.Port == first.Key.Port);
            described.Source = link?.Addresses.Where(a => a.IsIPv6 == prefix.IsIPv6 && prefix.Contains(a.Address)).Select(a => a.Address.ToString()).FirstOrDefault() ?? "";
        }
        return described;
    }
}
