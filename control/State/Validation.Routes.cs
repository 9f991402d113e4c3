using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckRoute(DesiredState state, Route route, ProblemCollector problems)
    {
        string vrf = route.VrfInForce;
        bool known = state.Topology.Vrfs.ContainsKey(vrf);
        if (!known)
        {
            Report("vrf", $"VRF \"{vrf}\" does not exist: no router and no routed port names it", "VRFs: " + ListNames(state.Topology.Vrfs.Keys.Order(StringComparer.Ordinal)));
        }
        Cidr? prefix = CheckPrefix(state, route, Report);
        bool drops = route.Type != Route.Types.Type.Unicast;
        if (!Enum.IsDefined(route.Type))
        {
            Report("type", $"{(int)route.Type} is no type of a route");
        }
        else if (drops && route.NextHops.Count > 0)
        {
            Report("next_hops", $"a route of type {route.Type.ToString().ToUpperInvariant()} goes nowhere", "leave out either next_hops or type");
        }
        else if (!drops && route.NextHops.Count == 0)
        {
            Report("next_hops", "goes nowhere", "give a next hop (via, network, port or peer), or a type: BLACKHOLE, UNREACHABLE, PROHIBITED, SERVICES");
        }
        if (route.NextHops.Count > Limits.NextHopsOfRoute)
        {
            Report("next_hops", $"{route.NextHops.Count} next hops, at most {Limits.NextHopsOfRoute} are possible");
        }
        for (int i = 0; known && i < route.NextHops.Count; i++)
        {
            int n = i;
            CheckNextHop(state, vrf, prefix, route.NextHops[n], (field, message, fix) => Report($"next_hops[{n}].{field}", message, fix));
            if (route.NextHops.Take(n).Any(other => SameHop(other, route.NextHops[n])))
            {
                Report($"next_hops[{n}]", "is named twice", "give it a weight");
            }
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Route, route.Name, field, message, fix);
    }

    private static Cidr? CheckPrefix(DesiredState state, Route route, Report report)
    {
        if (!Cidr.TryParse(route.Prefix, out Cidr prefix))
        {
            report("prefix", $"\"{route.Prefix}\" is not a prefix", "write it like 10.1.0.0/16, fd00:1::/64, or 0.0.0.0/0 for the default route");
            return null;
        }
        if (prefix.Prefix != prefix)
        {
            report("prefix", $"{prefix} has bits set behind its prefix", $"write {prefix.Prefix}");
        }
        if (prefix.Length > 0 && (IsMulticast(prefix.Address) || IPAddress.IsLoopback(prefix.Address) || prefix.Address.IsIPv6LinkLocal))
        {
            report("prefix", $"{prefix} is not routed: multicast, loopback and link-local addresses stay on their link");
        }
        foreach (RoutedInterface one in state.Topology.Interfaces.Where(i => i.Vrf == route.VrfInForce))
        {
            if (one.Addresses.Any(a => a.Prefix == prefix))
            {
                report("prefix", $"{prefix} is a subnet of \"{one.Name}\", to which the route is there already");
            }
            else if (one.Addresses.Any(a => new Cidr(a.Address, a.Bits) == prefix))
            {
                report("prefix", $"{prefix} is the switch's own address on \"{one.Name}\"");
            }
        }
        return prefix;
    }

    private static void CheckNextHop(DesiredState state, string vrf, Cidr? prefix, NextHop hop, Report report)
    {
        if (hop.Weight > Limits.NextHopsOfRoute)
        {
            report("weight", $"weight {hop.Weight} is not from 1 to {Limits.NextHopsOfRoute}");
        }
        if (hop.Peer.Length > 0)
        {
            CheckPeerHop(state, vrf, hop, report);
            return;
        }
        RoutedInterface? link = hop.Network.Length + hop.Port.Length > 0 ? Link(state, hop.Network, hop.Port, vrf, report) : null;
        if (hop.Via.Length == 0)
        {
            if (hop.Network.Length + hop.Port.Length == 0)
            {
                report("via", "names nothing", "give via, network, port or peer");
            }
            return;
        }
        if (!Cidr.TryParseAddress(hop.Via, out IPAddress? via))
        {
            report("via", $"\"{hop.Via}\" is not an IP address");
            return;
        }
        if (prefix is { } routed && routed.Address.AddressFamily != via.AddressFamily)
        {
            report("via", $"{via} is {Family(via)}, the route is {Family(routed.Address)}");
            return;
        }
        if (IsMulticast(via) || IsUnspecified(via) || IPAddress.IsLoopback(via) || via.Equals(IPAddress.Broadcast))
        {
            report("via", $"{via} cannot be the address of a router");
        }
        else if (state.Topology.Interfaces.FirstOrDefault(i => i.Vrf == vrf && i.Addresses.Any(a => a.Address.Equals(via))) is { } own)
        {
            report("via", $"{via} is the switch's own address, on \"{own.Name}\"");
        }
        else if (hop.Network.Length + hop.Port.Length == 0 && state.Topology.OnLink(vrf, via) is null)
        {
            IEnumerable<string> subnets = state.Topology.Connected(vrf).Select(c => c.Subnet.ToString());
            report("via", $"{via} is in no subnet of VRF \"{vrf}\" ({ListNames(subnets)})", "if it is on a link all the same, name that with network or port");
        }
        else if (link is not null && link.Addresses.All(a => a.IsIPv6 != (prefix?.IsIPv6 ?? false)))
        {
            report("via", $"\"{link.Name}\" has no {Family(via)} address, from which it could ask for {via}", "give it one");
        }
    }

    private static void CheckPeerHop(DesiredState state, string vrf, NextHop hop, Report report)
    {
        if (hop.Via.Length + hop.Network.Length + hop.Port.Length > 0)
        {
            report("peer", "a peer is a next hop by itself", "leave out via, network and port");
        }
        if (!state.Peers.TryGetValue(hop.Peer, out PeerEntry? peer))
        {
            report("peer", $"tunnel peer \"{hop.Peer}\" does not exist", "tunnel peers: " + ListNames(state.Peers.Keys));
            return;
        }
        RoutedInterface? router = state.Topology.OfNetwork(peer.Spec.Network);
        if (router is null)
        {
            report("peer", $"network \"{peer.Spec.Network}\" of tunnel peer \"{hop.Peer}\" has no router", "set its router");
        }
        else if (router.Vrf != vrf)
        {
            report("peer", $"tunnel peer \"{hop.Peer}\" is in VRF \"{router.Vrf}\", not in \"{vrf}\"");
        }
        if (peer.Spec.Mac.Length == 0)
        {
            report("peer", $"the MAC address of tunnel peer \"{hop.Peer}\" is not known", "set its mac, or route by way of an address with via");
        }
    }

    private static bool SameHop(NextHop a, NextHop b) =>
        ResourceKeys.Address(a.Via) == ResourceKeys.Address(b.Via) && a.Network == b.Network && a.Port == b.Port && a.Peer == b.Peer;
}
