using System.Net;
using Dataplane.Control.Api.V1;
using Services = System.Collections.Generic.IReadOnlyDictionary<Dataplane.Control.State.VipKey, System.Collections.Immutable.ImmutableArray<string>>;
using Holders = System.Collections.Generic.IReadOnlyDictionary<Dataplane.Control.State.HostPortKey, System.Collections.Immutable.ImmutableArray<Dataplane.Control.State.HostPortHolder>>;

namespace Dataplane.Control.State;

/// <summary>Ports of the node itself: which are free, and who has the others.</summary>
internal static class HostPorts
{
    /// <summary>A port that nobody has at any address of the node, or null.</summary>
    /// <param name="wanted">For whom.</param>
    /// <param name="from">Where to begin.</param>
    /// <param name="links">Networks and ports.</param>
    /// <param name="holders">Node ports and published ports.</param>
    /// <param name="vips">Services by address.</param>
    /// <param name="service">The service of a name.</param>
    public static ushort? FindFree(PublishedPort wanted, ushort from, DesiredState links, Holders holders, Services vips, Func<string, Service> service)
    {
        const int Ports = Effective.LastDynamicPort - Effective.FirstDynamicPort + 1;
        List<IPAddress> addresses = [.. wanted.HostAddressesInForce(links)];
        int first = from < Effective.FirstDynamicPort ? 0 : from - Effective.FirstDynamicPort;
        for (int i = 0; i < Ports; i++)
        {
            var key = new HostPortKey(wanted.VrfInForce, wanted.Protocol, (ushort)(Effective.FirstDynamicPort + ((first + i) % Ports)));
            if (!holders.ContainsKey(key) && !addresses.Exists(a => OfService(vips, service, key, a) is not null || OfTunnels(links, key, a) is not null))
            {
                return key.Port;
            }
        }
        return null;
    }

    /// <summary>The service that has a port of an address of its own, or null.</summary>
    public static Service? OfService(Services vips, Func<string, Service> service, HostPortKey key, IPAddress address) =>
        vips.TryGetValue(new VipKey(key.Vrf, address), out System.Collections.Immutable.ImmutableArray<string> names)
            ? names.Select(service).FirstOrDefault(s => s.Ports.Any(p => p.Protocol == key.Protocol && p.Port == key.Port))
            : null;

    /// <summary>The network whose tunnels end at a port of an address, or null.</summary>
    public static Network? OfTunnels(DesiredState state, HostPortKey key, IPAddress address) => key.Protocol != TransportProtocol.Udp
        ? null
        : state.Networks.Values.Select(n => n.Spec).FirstOrDefault(n => n.Vxlan is { } vxlan && vxlan.PortInForce == key.Port
            && state.Topology.VtepOf(n.Name) is { } vtep && vtep.Interface.Vrf == key.Vrf && vtep.Address.Equals(address));
}
