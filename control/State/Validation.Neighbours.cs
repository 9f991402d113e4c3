using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckNeighbour(DesiredState state, Neighbour neighbour, ProblemCollector problems)
    {
        RoutedInterface? link = Link(state, neighbour.Network, neighbour.Port, vrf: null, Report);
        if (MacProblem(neighbour.Mac) is { } bad)
        {
            Report("mac", bad);
        }
        if (!Cidr.TryParseAddress(neighbour.Address, out IPAddress? address))
        {
            Report("address", $"\"{neighbour.Address}\" is not an IP address");
            return;
        }
        if (IsMulticast(address) || IsUnspecified(address) || IPAddress.IsLoopback(address) || address.Equals(IPAddress.Broadcast))
        {
            Report("address", $"{address} cannot be the address of a neighbour");
        }
        if (link is null)
        {
            return;
        }
        if (link.Addresses.Any(a => a.Address.Equals(address)))
        {
            Report("address", $"{address} is the switch's own address on \"{link.Name}\"");
        }
        IEnumerable<Port> taps = link.Network is null ? [state.Ports[link.Name].Spec] : state.PortsOf(link.Network.Spec.Name).Select(p => p.Spec);
        foreach (Port port in taps.Where(p => p.AddressesInForce(link.Network?.Spec).Any(a => a.Address.Equals(address))))
        {
            MacAddress mac = port.MacInForce(link.Network?.Spec);
            if (!MacAddress.TryParse(neighbour.Mac, out MacAddress wanted) || wanted != mac)
            {
                Report("address", $"{address} is known already: it is that of port \"{port.Name}\", with MAC address {mac}");
            }
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Neighbour, neighbour.Name, field, message, fix);
    }

    /// <summary>The interface that a network with a router, or a routed port, names; null after reporting what is wrong.</summary>
    private static RoutedInterface? Link(DesiredState state, string network, string port, string? vrf, Report report)
    {
        if (network.Length > 0 == port.Length > 0)
        {
            report("network", network.Length > 0 ? "names both a network and a port" : "names no link", "give either network or port");
            return null;
        }
        (string field, string name, RoutedInterface? link) = network.Length > 0
            ? ("network", network, state.Topology.OfNetwork(network))
            : ("port", port, state.Topology.OfPort(port));
        if (link is null)
        {
            bool exists = network.Length > 0 ? state.Networks.ContainsKey(name) : state.Ports.ContainsKey(name);
            string lacks = network.Length > 0 ? "has no router" : "is not a routed port";
            IEnumerable<string> known = state.Topology.Interfaces.Where(i => i.Network is not null == network.Length > 0).Select(i => i.Network?.Spec.Name ?? i.Name);
            report(field, exists ? $"{field} \"{name}\" {lacks}" : $"{field} \"{name}\" does not exist",
                $"{(network.Length > 0 ? "networks with routers" : "routed ports")}: {ListNames(known)}");
            return null;
        }
        if (vrf is not null && link.Vrf != vrf)
        {
            report(field, $"{field} \"{name}\" is in VRF \"{link.Vrf}\", not in \"{vrf}\"");
            return null;
        }
        return link;
    }
}
