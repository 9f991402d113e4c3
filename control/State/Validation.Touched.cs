using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    /// <summary>
    /// What a batch must be checked for: its own resources, and those that it carries with it, because the network, the port or
    /// the VRF that they rely upon is another one. A batch of static MACs or routes carries nothing, and costs what it has.
    /// </summary>
    private sealed class Touched
    {
        public SortedSet<string> Networks { get; } = new(StringComparer.Ordinal);
        public SortedSet<string> Policies { get; } = new(StringComparer.Ordinal);
        public SortedSet<string> Ports { get; } = new(StringComparer.Ordinal);
        public SortedSet<string> Peers { get; } = new(StringComparer.Ordinal);
        public SortedSet<string> Routes { get; } = new(StringComparer.Ordinal);
        public HashSet<string> Services { get; } = new(StringComparer.Ordinal);
        public HashSet<string> Backends { get; } = new(StringComparer.Ordinal);
        public SortedSet<string> Published { get; } = new(StringComparer.Ordinal);

        /// <summary>Services whose backends have changed.</summary>
        public HashSet<string> Servers { get; } = new(StringComparer.Ordinal);

        /// <summary>In the order of the batch; then those that it carries.</summary>
        public List<StaticMac> StaticMacs { get; } = [];
        public List<Neighbour> Neighbours { get; } = [];

        /// <summary>Networks of which nothing but the tunnel end point may have changed.</summary>
        public SortedSet<string> Overlays { get; } = new(StringComparer.Ordinal);

        /// <summary>Whether interfaces are other ones, so that any peer may be reached otherwise.</summary>
        private bool _interfaces;

        public static Touched By(DesiredState before, DesiredState after, IReadOnlyList<Resource> wanted, IReadOnlyList<ResourceKey> deleted)
        {
            var touched = new Touched();
            foreach (Resource resource in wanted)
            {
                switch (resource.ResourceCase)
                {
                    case Resource.ResourceOneofCase.StaticMac: touched.StaticMacs.Add(resource.StaticMac); break;
                    case Resource.ResourceOneofCase.Neighbour: touched.Neighbours.Add(resource.Neighbour); break;
                    default: touched.Of(resource.Kind)?.Add(resource.Name); break;
                }
            }
            bool interfaces = touched.Networks.Count + touched.Ports.Count + touched.Peers.Count > 0
                || deleted.Any(k => k.Kind is Kind.Network or Kind.Port or Kind.TunnelPeer);
            if (interfaces)
            {
                touched.CarryLinks(after);
                touched.CarryRouting(before, after, deleted);
                touched.CarryHostPorts(after);
            }
            touched.CarryBackends(after);
            return touched;
        }

        private ISet<string>? Of(Kind kind) => kind switch
        {
            Kind.Network => Networks,
            Kind.Policy => Policies,
            Kind.Port => Ports,
            Kind.TunnelPeer => Peers,
            Kind.Route => Routes,
            Kind.Service => Services,
            Kind.Backend => Backends,
            Kind.PublishedPort => Published,
            _ => null,
        };

        /// <summary>What is in a changed network must still fit into it, and what leads to a changed port or peer must still fit that.</summary>
        private void CarryLinks(DesiredState after)
        {
            Ports.UnionWith(after.Ports.Values.Where(p => Networks.Contains(p.Spec.Network)).Select(p => p.Spec.Name));
            HashSet<string> known = [.. StaticMacs.Select(m => m.Name), .. Neighbours.Select(n => n.Name)];
            StaticMacs.AddRange(after.StaticMacs.Values
                .Where(m => Networks.Contains(m.Network) || (m.TargetCase == StaticMac.TargetOneofCase.Port && Ports.Contains(m.Port)))
                .Where(m => !known.Contains(m.Name)));
            Peers.UnionWith(after.Peers.Values.Where(p => Networks.Contains(p.Spec.Network)).Select(p => p.Spec.Name));
            Neighbours.AddRange(after.Neighbours.Values.Where(n => Networks.Contains(n.Network) || Ports.Contains(n.Port)).Where(n => !known.Contains(n.Name)));
        }

        /// <summary>Interfaces that are other ones change what routes and tunnels rely upon.</summary>
        private void CarryRouting(DesiredState before, DesiredState after, IReadOnlyList<ResourceKey> deleted)
        {
            HashSet<string> vrfs = [.. before.Topology.Vrfs.Keys.Union(after.Topology.Vrfs.Keys).Where(v => !SameRouting(before.Topology, after.Topology, v))];
            _interfaces = vrfs.Count > 0;
            if (_interfaces)
            {
                Overlays.UnionWith(after.Networks.Values.Where(n => n.Spec.Vxlan is not null && !Networks.Contains(n.Spec.Name)).Select(n => n.Spec.Name));
            }
            HashSet<string> peers = [.. Peers.Where(before.Peers.ContainsKey)];
            if (vrfs.Count + peers.Count > 0)
            {
                // What names something deleted is told with that.
                HashSet<(Kind, string)> gone = [.. deleted.Select(k => (k.Kind, k.Name))];
                gone.UnionWith(after.Peers.Values.Where(p => gone.Contains((Kind.Network, p.Spec.Network))).Select(p => (Kind.TunnelPeer, p.Spec.Name)).ToList());
                Routes.UnionWith(after.Routes.Values
                    .Where(r => vrfs.Contains(r.VrfInForce) || r.NextHops.Any(h => peers.Contains(h.Peer)))
                    .Where(r => !r.NextHops.Any(h => gone.Contains((Kind.Network, h.Network)) || gone.Contains((Kind.Port, h.Port)) || gone.Contains((Kind.TunnelPeer, h.Peer))))
                    .Select(r => r.Name));
            }
        }

        /// <summary>Backends refer to ports of their service, and differ from each other.</summary>
        private void CarryBackends(DesiredState after)
        {
            if (Services.Count + Backends.Count == 0)
            {
                return;
            }
            Servers.UnionWith(Services);
            Servers.UnionWith(Backends.Select(b => ResourceKeys.SplitBackend(b).Service));
            Backends.UnionWith(Services.SelectMany(s => after.Services.BackendsOf(s).Keys));
        }

        /// <summary>Where the node or its tunnels have other addresses, ports there may be somebody else's.</summary>
        private void CarryHostPorts(DesiredState after)
        {
            if (_interfaces || Networks.Any(n => after.Networks[n].Spec.Vxlan is not null))
            {
                Services.UnionWith(after.Services.WithNodePorts);
                Published.UnionWith(after.Services.Published.Keys);
            }
            else
            {
                Published.UnionWith(Ports.SelectMany(p => after.Services.PublishedOfPort.GetValueOrDefault(p, [])));
            }
        }

        /// <summary>Whether a VRF has the same interfaces with the same addresses.</summary>
        private static bool SameRouting(Topology a, Topology b, string vrf) =>
            a.Vrfs.ContainsKey(vrf) == b.Vrfs.ContainsKey(vrf)
            && a.Interfaces.Where(i => i.Vrf == vrf).Select(Routing).SequenceEqual(b.Interfaces.Where(i => i.Vrf == vrf).Select(Routing));

        private static (string, int, uint, bool, string) Routing(RoutedInterface one) => (one.Name, one.Port, one.Mtu, one.IsOverlay, string.Join(' ', one.Addresses));

        /// <summary>Peers that may be reached otherwise than before.</summary>
        public IEnumerable<PeerEntry> Underlay(DesiredState after, IReadOnlyList<ResourceKey> deleted)
        {
            if (after.Peers.IsEmpty)
            {
                return [];
            }
            if (_interfaces)
            {
                return after.Peers.Values;
            }
            List<(string Vrf, Cidr Prefix)> moved = [.. Routes.Concat(deleted.Where(k => k.Kind == Kind.Route).Select(k => k.Name)).Select(Parse).OfType<(string, Cidr)>()];
            return Peers.Select(name => after.Peers[name]).Concat(moved.SelectMany(m => after.Topology.PeersIn(m.Vrf, m.Prefix))).Distinct();
        }

        private static (string Vrf, Cidr Prefix)? Parse(string route)
        {
            int slash = route.IndexOf('/', StringComparison.Ordinal);
            return slash > 0 && Cidr.TryParse(route[(slash + 1)..], out Cidr prefix) ? (route[..slash], prefix) : null;
        }
    }
}
