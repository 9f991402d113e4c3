using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.State;

public static partial class Validation
{
    /// <summary>What others name is not deleted before them.</summary>
    private static void CheckDeleted(DesiredState after, IReadOnlyList<ResourceKey> deleted, ProblemCollector problems)
    {
        ILookup<(Kind, string), string>? routes = null;
        foreach (ResourceKey key in deleted.Where(k => k.Kind is Kind.Network or Kind.Policy or Kind.Port or Kind.TunnelPeer or Kind.Service))
        {
            routes ??= key.Kind == Kind.Service ? null : after.Routes.Values.SelectMany(Names).ToLookup(n => n.Key, n => n.Route);
            List<string> users =
            [
                .. key.Kind switch
                {
                    Kind.Network => after.PortsOf(key.Name).Select(p => $"port \"{p.Spec.Name}\"")
                        .Concat(after.StaticMacs.Values.Where(m => m.Network == key.Name).Select(m => $"static MAC \"{m.Name}\""))
                        .Concat(after.PeersOf(key.Name).Select(p => $"tunnel peer \"{p.Spec.Name}\""))
                        .Concat(after.Neighbours.Values.Where(n => n.Network == key.Name).Select(n => $"neighbour \"{n.Name}\"")),
                    Kind.Policy => after.PortsWith(key.Name).Select(p => $"port \"{p.Spec.Name}\""),
                    Kind.Port => after.StaticMacs.Values.Where(m => m.TargetCase == StaticMac.TargetOneofCase.Port && m.Port == key.Name).Select(m => $"static MAC \"{m.Name}\"")
                        .Concat(after.Neighbours.Values.Where(n => n.Port == key.Name).Select(n => $"neighbour \"{n.Name}\""))
                        .Concat(after.Services.PublishedOfPort.GetValueOrDefault(key.Name, []).Select(p => $"published port \"{p}\"")),
                    Kind.Service => after.Services.BackendsOf(key.Name).Keys.Select(b => $"backend \"{b}\""),
                    _ => [],
                },
                .. (routes?[(key.Kind, key.Name)] ?? []).Distinct().Select(r => $"route \"{r}\""),
            ];
            if (users.Count > 0)
            {
                string more = users.Count > 5 ? $" and {users.Count - 5} more" : "";
                problems.Add(key.Kind, key.Name, "", $"is used by {string.Join(", ", users.Take(5))}{more}", "delete these first, or in the same call",
                    StatusCode.FailedPrecondition);
            }
        }

        static IEnumerable<((Kind, string) Key, string Route)> Names(Route route)
        {
            foreach (NextHop hop in route.NextHops)
            {
                if (hop.Network.Length > 0)
                {
                    yield return ((Kind.Network, hop.Network), route.Name);
                }
                if (hop.Port.Length > 0)
                {
                    yield return ((Kind.Port, hop.Port), route.Name);
                }
                if (hop.Peer.Length > 0)
                {
                    yield return ((Kind.TunnelPeer, hop.Peer), route.Name);
                }
            }
        }
    }
}
