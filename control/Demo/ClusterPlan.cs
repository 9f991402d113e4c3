using System.Globalization;
using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>
/// What the cluster demo makes: two nodes, each a network namespace with a switch of its own, one link between them (the underlay),
/// and on each node a container and the host's port. Containers of node N have addresses of 10.244.N.0/24.
/// </summary>
internal static class ClusterPlan
{
    /// <summary>Device of the underlay in both nodes' namespaces.</summary>
    public const string UnderlayDevice = "under0";

    public const string UplinkPort = "uplink";
    public const string ContainerPort = "pod";

    private const string PodNetwork = "pods";
    private const string OverlayNetwork = "overlay";
    private const uint Vni = 1;

    /// <summary>Of the containers: what the underlay leaves (RFC 7348: 50 bytes of outer headers).</summary>
    private const uint Mtu = 1450;

    public static IReadOnlyList<int> Numbers { get; } = [1, 2];

    /// <summary>The node as its programs see it: the host's port, in the namespace that plays the machine.</summary>
    public static Node Host(int number) =>
        new($"node{number}", DemoPlan.HostDevice, $"{DemoPlan.NamespacePrefix}node{number}", IPAddress.Parse($"10.244.{number}.1"), 24);

    /// <summary>The node's container.</summary>
    public static Node Container(int number) =>
        new($"pod{number}", ContainerPort, $"{DemoPlan.NamespacePrefix}pod{number}", IPAddress.Parse($"10.244.{number}.2"), 24);

    /// <summary>Everything that has an address in the cluster.</summary>
    public static IEnumerable<Node> Nodes => Numbers.SelectMany(n => new[] { Container(n), Host(n) });

    public static string TunnelPort(int to) => $"node{to}";

    /// <summary>What a node's switch is asked for, in one batch.</summary>
    public static IEnumerable<Resource> Resources(int number)
    {
        yield return new Resource
        {
            Port = new Port
            {
                Name = UplinkPort, Netdev = new Netdev { Device = UnderlayDevice },
                Routed = new Routed { Addresses = { Underlay(number) + "/24" } },
            },
        };
        yield return new Resource
        {
            Network = new Network
            {
                Name = PodNetwork, Subnets = { $"10.244.{number}.0/24" }, Gateways = { Host(number).Address.ToString() }, Mtu = Mtu, Router = new Router(),
            },
        };
        yield return new Resource
        {
            Port = new Port { Name = DemoPlan.HostDevice, Network = PodNetwork, Tap = new Tap { Host = true } },
        };
        yield return new Resource
        {
            Port = new Port
            {
                Name = ContainerPort, Network = PodNetwork,
                Tap = new Tap { Netns = Container(number).Namespace, Addresses = { Container(number).Cidr }, DefaultRoute = true },
            },
        };
        yield return new Resource
        {
            Network = new Network
            {
                Name = OverlayNetwork, Mac = VtepMac(number), Router = new Router(),
                Vxlan = new Vxlan { Vni = Vni, Local = Underlay(number), Flood = false },
            },
        };
        foreach (int other in Numbers.Where(n => n != number))
        {
            yield return new Resource
            {
                TunnelPeer = new TunnelPeer { Name = TunnelPort(other), Network = OverlayNetwork, Address = Underlay(other), Mac = VtepMac(other) },
            };
            yield return new Resource
            {
                Route = new Route { Prefix = $"10.244.{other}.0/24", NextHops = { new NextHop { Peer = TunnelPort(other) } } },
            };
        }
    }

    private static string Underlay(int number) => $"192.0.2.{number}";

    private static string VtepMac(int number) => string.Create(CultureInfo.InvariantCulture, $"02:de:00:00:00:{number:x2}");
}
