using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>
/// What the demo of services makes: a node in a namespace, a network on it with a client and three web servers, which masquerades, and the
/// outside behind a routed port, which has a route to the service and none to containers.
/// </summary>
internal static class ServicesPlan
{
    public const string ServiceName = "shop";
    public const string Vip = "10.96.0.10";
    public const ushort Port = 80, ServerPort = 8080, NodePort = 30_080, PublishedPort = 8088;

    /// <summary>Address of the node on the outer link.</summary>
    public const string NodeAddress = "198.51.100.1";

    private const string Network = "shop-net";

    /// <summary>The machine that the switch runs on.</summary>
    public static Node Host { get; } = Inside("node", DemoPlan.HostDevice, 1);

    public static Node Client { get; } = Inside("client", "client", 2);

    public static IReadOnlyList<Node> Servers { get; } = [.. Enumerable.Range(1, 3).Select(i => Inside($"web{i}", $"web{i}", 10 + i))];

    public static Node Outside { get; } = new("outside", "outside", $"{DemoPlan.NamespacePrefix}outside", IPAddress.Parse("198.51.100.2"), 24);

    public static IEnumerable<Node> Nodes => [Host, Client, .. Servers, Outside];

    public static string Url => $"http://{Vip}/";

    /// <summary>What the switch is asked for, in one batch: the service has the first two servers.</summary>
    public static IEnumerable<Resource> Resources() =>
    [
        new Resource
        {
            Network = new Network { Name = Network, Subnets = { "10.245.0.0/24" }, Gateways = { $"{Host.Address}" }, Router = new Router(), Masquerade = true },
        },
        new Resource { Port = new Port { Name = Host.Port, Network = Network, Tap = new Tap { Host = true } } },
        .. new[] { Client }.Concat(Servers).Select(container => new Resource
        {
            Port = new Port { Name = container.Port, Network = Network, Tap = new Tap { Netns = container.Namespace, Addresses = { container.Cidr }, DefaultRoute = true } },
        }),
        new Resource
        {
            Port = new Port
            {
                Name = Outside.Port, Routed = new Routed { Addresses = { $"{NodeAddress}/24" } }, Tap = new Tap { Netns = Outside.Namespace, Addresses = { Outside.Cidr } },
            },
        },
        new Resource
        {
            Service = new Service
            {
                Name = ServiceName, ClusterIps = { Vip }, Ports = { new ServicePort { Port = Port, TargetPort = ServerPort, NodePort = NodePort } },
            },
        },
        Backend(Servers[0]),
        Backend(Servers[1]),
        new Resource { PublishedPort = new PublishedPort { Name = "web1", Port = Servers[0].Port, HostPort = PublishedPort, TargetPort = ServerPort } },
    ];

    /// <summary>A server as a backend of the service.</summary>
    public static Resource Backend(Node server, Backend.Types.State state = Api.V1.Backend.Types.State.Ready) =>
        new() { Backend = new Backend { Name = BackendName(server), Service = ServiceName, Address = $"{server.Address}", State = state } };

    public static string BackendName(Node server) => $"{ServiceName}/{server.Name}";

    private static Node Inside(string name, string port, int last) => new(name, port, $"{DemoPlan.NamespacePrefix}{name}", IPAddress.Parse($"10.245.0.{last}"), 24);
}
