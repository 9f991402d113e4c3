using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

/// <summary>A next hop of a route with names resolved: an interface and perhaps a router on its link, or a tunnel peer.</summary>
/// <param name="Interface">The interface by which packets leave; of a peer the router of its network.</param>
/// <param name="Via">The next router; null when the destination itself is on the link, and of a peer.</param>
/// <param name="Peer">The tunnel peer, or null.</param>
public sealed record ResolvedHop(RoutedInterface Interface, IPAddress? Via, PeerEntry? Peer)
{
    /// <summary>Index of the port that packets leave by.</summary>
    public int Port => Peer?.Index ?? Interface.Port;
}

/// <summary>Finds out where next hops lead, and where an address is reached.</summary>
public static class NextHops
{
    /// <summary>Where a next hop of a route leads; null when it leads nowhere, which the rules do not allow.</summary>
    public static ResolvedHop? Resolve(DesiredState state, Route route, NextHop hop)
    {
        Topology topology = state.Topology;
        if (hop.Peer.Length > 0)
        {
            return state.Peers.TryGetValue(hop.Peer, out PeerEntry? peer) && topology.OfNetwork(peer.Spec.Network) is { } overlay
                ? new ResolvedHop(overlay, null, peer)
                : null;
        }
        IPAddress? via = Cidr.TryParseAddress(hop.Via, out IPAddress? address) ? address : null;
        RoutedInterface? link = hop.Network.Length > 0 ? topology.OfNetwork(hop.Network)
            : hop.Port.Length > 0 ? topology.OfPort(hop.Port)
            : via is not null ? topology.OnLink(route.VrfInForce, via)
            : null;
        return link is null ? null : new ResolvedHop(link, via, null);
    }

    /// <summary>The route of a VRF that an address takes, by the longest prefix; null when a subnet on a link is longer, or there is none.</summary>
    public static Route? RouteTo(DesiredState state, string vrf, IPAddress address)
    {
        int onLink = -1;
        foreach ((Cidr subnet, RoutedInterface _) in state.Topology.Connected(vrf))
        {
            if (subnet.Contains(address))
            {
                onLink = subnet.Length;
                break;
            }
        }
        for (int length = address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32; length > onLink; length--)
        {
            if (state.Routes.TryGetValue(ResourceKeys.RouteName(vrf, new Cidr(address, length).Prefix.ToString()), out Route? route))
            {
                return route;
            }
        }
        return null;
    }

    /// <summary>Whether a route sends packets into a tunnel, by one of its next hops at least.</summary>
    public static bool LeadsIntoTunnel(DesiredState state, Route route) =>
        route.NextHops.Any(hop => Resolve(state, route, hop) is { } to && (to.Peer is not null || to.Interface.IsOverlay));
}
