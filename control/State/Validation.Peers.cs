using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckPeer(DesiredState state, TunnelPeer peer, ProblemCollector problems)
    {
        CheckName(Kind.TunnelPeer, peer.Name, problems);
        CheckPortName(state, peer.Name, PortRole.Tunnel, Report, "name");
        IEnumerable<string> overlays = state.Networks.Values.Where(n => n.Spec.Vxlan is not null).Select(n => n.Spec.Name);
        if (!state.Networks.TryGetValue(peer.Network, out NetworkEntry? network))
        {
            Report("network", $"network \"{peer.Network}\" does not exist", "networks with vxlan: " + ListNames(overlays));
        }
        else if (network.Spec.Vxlan is null)
        {
            Report("network", $"network \"{peer.Network}\" does not extend over VXLAN", "set its vxlan, or name one of: " + ListNames(overlays));
        }
        CheckEndPoint(state, peer, network?.Spec.Vxlan, Report);
        if (peer.Mac.Length > 0)
        {
            CheckPeerMac(state, peer, network?.Spec, Report);
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.TunnelPeer, peer.Name, field, message, fix);
    }

    private static void CheckEndPoint(DesiredState state, TunnelPeer peer, Vxlan? vxlan, Report report)
    {
        if (!Cidr.TryParseAddress(peer.Address, out IPAddress? address))
        {
            report("address", $"\"{peer.Address}\" is not an IP address", "write it like 192.0.2.20: the other node's tunnel end point");
            return;
        }
        if (IsMulticast(address) || IsUnspecified(address) || IPAddress.IsLoopback(address) || address.Equals(IPAddress.Broadcast))
        {
            report("address", $"{address} cannot be the address of another node");
        }
        else if (vxlan is not null && address.AddressFamily != vxlan.LocalInForce.AddressFamily)
        {
            report("address", $"{address} is {Family(address)}, the tunnels of network \"{peer.Network}\" go over {Family(vxlan.LocalInForce)}",
                "give an address of that family, or set the network's vxlan.local (\"::\" for IPv6)");
        }
        if (state.Topology.VtepOf(peer.Network) is { } vtep
            && state.Topology.Interfaces.FirstOrDefault(i => i.Vrf == vtep.Interface.Vrf && i.Addresses.Any(a => a.Address.Equals(address))) is { } own)
        {
            report("address", $"{address} is this node's own address, on \"{own.Name}\"");
        }
        foreach (PeerEntry other in state.PeersOf(peer.Network).Where(p => p.Spec.Name != peer.Name && p.Spec.Address == peer.Address))
        {
            report("address", $"{address} is also that of tunnel peer \"{other.Spec.Name}\" of network \"{peer.Network}\"");
        }
    }

    private static void CheckPeerMac(DesiredState state, TunnelPeer peer, Network? network, Report report)
    {
        if (MacProblem(peer.Mac) is { } bad)
        {
            report("mac", bad);
            return;
        }
        if (network is null)
        {
            return;
        }
        MacAddress mac = MacAddress.Parse(peer.Mac);
        if (mac == network.MacInForce || (network.Router is not null && mac == network.SecondMac))
        {
            report("mac", $"MAC address {mac} is that of network \"{network.Name}\" on this node");
        }
        foreach (PeerEntry other in state.PeersOf(peer.Network).Where(p => p.Spec.Name != peer.Name && p.Spec.Mac == peer.Mac))
        {
            report("mac", $"MAC address {mac} is also that of tunnel peer \"{other.Spec.Name}\"");
        }
        foreach (PortEntry port in state.PortsOf(peer.Network).Where(p => p.Spec.Tap is not null && p.Spec.MacInForce(network) == mac))
        {
            report("mac", $"MAC address {mac} is also that of port \"{port.Spec.Name}\"");
        }
        if (state.StaticMacs.ContainsKey(ResourceKeys.StaticMacName(peer.Network, 0, peer.Mac)))
        {
            report("mac", $"MAC address {mac} has a static entry already", "delete that one");
        }
    }

    /// <summary>Outer packets must not go into a tunnel again.</summary>
    private static void CheckUnderlay(DesiredState state, TunnelPeer peer, Touched touched, ProblemCollector problems)
    {
        if (state.Topology.VtepOf(peer.Network) is not { } vtep || !Cidr.TryParseAddress(peer.Address, out IPAddress? address))
        {
            return;
        }
        string vrf = vtep.Interface.Vrf;
        if (NextHops.RouteTo(state, vrf, address) is { } route)
        {
            if (NextHops.LeadsIntoTunnel(state, route))
            {
                (Kind kind, string name, string field) = touched.Routes.Contains(route.Name)
                    ? (Kind.Route, route.Name, "next_hops")
                    : (Kind.TunnelPeer, peer.Name, "address");
                problems.Add(kind, name, field, $"{address} of tunnel peer \"{peer.Name}\" would be reached through a tunnel itself, by route {route.Name}",
                    "add a route to it by way of the underlay");
            }
        }
        else if (state.Topology.OnLink(vrf, address) is { IsOverlay: true } link)
        {
            problems.Add(Kind.TunnelPeer, peer.Name, "address", $"{address} is in a subnet of \"{link.Name}\", which itself goes through tunnels");
        }
    }

    private static string Family(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4";
}
