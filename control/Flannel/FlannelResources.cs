using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Google.Protobuf;
using Grpc.Core;

namespace Dataplane.Control.Flannel;

/// <summary>A plan as resources, and the batch that leads to it.</summary>
internal static class FlannelResources
{
    /// <summary>Who keeps these resources; nobody else changes them.</summary>
    public const string Owner = "flannel";

    /// <summary>The network of the containers. Overlays are named as flanneld's devices are.</summary>
    public const string PodNetwork = "flannel";

    /// <summary>Everything that has to be.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="underlay">Name of the port to the underlay.</param>
    public static IEnumerable<Resource> Of(FlannelPlan plan, string underlay)
    {
        var pods = new Network { Name = PodNetwork, Mtu = (uint)plan.Pods.Mtu, Router = new Router() };
        pods.Subnets.Add(plan.Pods.Subnets.Select(s => s.Subnet.ToString()));
        pods.Gateways.Add(plan.Pods.Subnets.Select(s => s.Gateway.ToString()));
        yield return ResourceKeys.Of(pods);
        foreach (Resource resource in plan.Overlays.SelectMany(Of))
        {
            yield return resource;
        }
        foreach (PlannedRoute route in plan.Routes)
        {
            var hop = new NextHop { Via = route.Gateway.ToString(), Network = route.Overlay ?? "", Port = route.Overlay is null ? underlay : "" };
            yield return ResourceKeys.Of(new Route { Prefix = route.Prefix.ToString(), NextHops = { hop } });
        }
    }

    /// <summary>
    /// The batch that makes of a state what the plan says: only what differs, so that a lease among thousands costs no more
    /// than its own resources. What flannel has made before and the plan does not name is deleted.
    /// </summary>
    /// <exception cref="ProblemException">The operator has something of that name.</exception>
    public static Batch Batch(FlannelPlan plan, string underlay, DesiredState state)
    {
        var wanted = new HashSet<(Kind, string)>();
        var apply = new List<Resource>();
        var problems = new ProblemCollector();
        foreach (Resource resource in Of(plan, underlay))
        {
            resource.Name = resource.KeyName;
            resource.Owner = Owner;
            wanted.Add((resource.Kind, resource.Name));
            if (state.Find(resource.Kind, resource.Name) is { } existing)
            {
                if (existing.Owner != Owner)
                {
                    problems.Add(resource.Kind, resource.Name, "", "is the operator's", "delete it, or give it another name", StatusCode.FailedPrecondition);
                }
                resource.Revision = existing.Revision;
                if (existing.ToByteString() == resource.ToByteString())
                {
                    continue;
                }
                resource.Revision = 0;
            }
            apply.Add(resource);
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
        return new Batch { Owner = Owner, Apply = apply, Delete = [.. state.KeysOf(Owner).Where(k => !wanted.Contains((k.Kind, k.Name)))], IgnoreMissing = true };
    }

    /// <summary>Subnets of the containers' network that are not leased any more, but have containers in them.</summary>
    public static IReadOnlyList<Cidr> Retained(DesiredState state, LeaseSubnets leased)
    {
        if (!state.Networks.TryGetValue(PodNetwork, out NetworkEntry? pods) || pods.Spec.Owner != Owner)
        {
            return [];
        }
        // Not those that the host's port has from the network: they follow it.
        List<Cidr> addresses = [.. state.PortsOf(PodNetwork).Where(p => p.Spec.Tap is { Addresses.Count: > 0 }).SelectMany(p => p.Spec.AddressesInForce(pods.Spec))];
        return [.. pods.Spec.Prefixes.Where(s => !leased.All.Contains(s) && !leased.All.Any(s.Overlaps) && addresses.Any(a => s.Contains(a.Address)))];
    }

    private static IEnumerable<Resource> Of(PlannedOverlay overlay)
    {
        yield return ResourceKeys.Of(new Network
        {
            Name = overlay.Name,
            Mac = overlay.Mac.ToString(),
            Mtu = (uint)overlay.Mtu,
            Subnets = { overlay.Address.ToString() },
            Gateways = { overlay.Address.Address.ToString() },
            Router = new Router(),
            Vxlan = new Vxlan { Vni = overlay.Vni, Port = (uint)overlay.Port, Local = overlay.Local.ToString(), Flood = false },
        });
        foreach (PlannedTunnel tunnel in overlay.Tunnels)
        {
            string remote = tunnel.Remote.ToString();
            yield return ResourceKeys.Of(new TunnelPeer
            {
                Name = $"{overlay.Name}-{remote.Replace(':', '-')}",
                Network = overlay.Name,
                Address = remote,
                Mac = tunnel.Mac.ToString(),
            });
        }
        foreach (PlannedNeighbour neighbour in overlay.Neighbours)
        {
            yield return ResourceKeys.Of(new Neighbour { Network = overlay.Name, Address = neighbour.Address.ToString(), Mac = neighbour.Mac.ToString() });
        }
    }
}
