using System.Globalization;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>Services of a cluster: two nodes, a VXLAN overlay between them, and backends on both, by both address families.</summary>
public sealed class ServiceOverlayTests(SwitchVtepNodes nodes) : IClassFixture<SwitchVtepNodes>, IDisposable
{
    private const string Vip = "10.96.7.1", Vip6 = "fd96::7:1";
    private const int ServerPort = 7081;

    private readonly List<WebServer> _servers = [];

    /// <summary>Removes the service, so that each test has its own.</summary>
    public void Dispose()
    {
        foreach (Switch one in nodes.Switches)
        {
            one.Run("service", "delete", "web", "--backends");
        }
        _servers.ForEach(server => server.Dispose());
    }

    public static TheoryData<bool> Families => new() { false, true };

    /// <summary>Whoever serves, and wherever the client is: servers see his own address, for the answer comes back the same way.</summary>
    [Theory, MemberData(nameof(Families))]
    public void BackendsOfBothNodesServe(bool v6)
    {
        Serve();
        MakeService("distribution: MAGLEV");
        foreach (Station client in new[] { nodes.Stations[1], nodes.Stations[4] })
        {
            (string Server, string Client)[] answers = [.. Enumerable.Range(0, 40).Select(_ => Get(client, v6))];
            Assert.Equal(["here", "there"], answers.Select(a => a.Server).Distinct().Order());
            string own = v6 ? Overlay.IPv6Of(client) : client.Address, gateway = v6 ? GatewayOf(Overlay.IPv6Of(client)) : GatewayOf(client.Address);
            // A server on the client's own link would answer past the switch, and sees the router.
            Assert.Equal([own], answers.Where(a => a.Server != (client == nodes.Stations[1] ? "here" : "there")).Select(a => a.Client).Distinct());
            Assert.Equal([gateway], answers.Where(a => a.Server == (client == nodes.Stations[1] ? "here" : "there")).Select(a => a.Client).Distinct());
        }
    }

    /// <summary>By policy a node asks its own backends alone.</summary>
    [Theory, MemberData(nameof(Families))]
    public void ByPolicyBackendsOfTheNodeServe(bool v6)
    {
        Serve();
        MakeService("internal_policy: LOCAL");
        Assert.Equal(["here"], Enumerable.Range(0, 20).Select(_ => Get(nodes.Stations[1], v6).Server).Distinct());
        Assert.Equal(["there"], Enumerable.Range(0, 20).Select(_ => Get(nodes.Stations[4], v6).Server).Distinct());
        // The last one of a node serves while it drains.
        nodes.Switches[0].Do("backend", "drain", v6 ? $"web/{Overlay.IPv6Of(nodes.Here)}" : $"web/{nodes.Here.Address}");
        Assert.Equal(["here"], Enumerable.Range(0, 20).Select(_ => Get(nodes.Stations[1], v6).Server).Distinct());
    }

    /// <summary>
    /// Direct server return: what the client sent arrives in the overlay as it is, the server has the service's address itself, and answers the
    /// client by the shortest way.
    /// </summary>
    [Theory, MemberData(nameof(Families))]
    public void AServerOfTheOtherNodeAnswersTheClientItself(bool v6)
    {
        foreach (Station server in new[] { nodes.Here, nodes.There })
        {
            server.Namespace.Do("ip", "address", "replace", v6 ? $"{Vip6}/128" : $"{Vip}/32", "dev", "lo");
        }
        Serve();
        MakeService("dsr: true", targetPort: false);
        foreach (Station client in new[] { nodes.Stations[1], nodes.Stations[4] })
        {
            (string Server, string Client)[] answers = [.. Enumerable.Range(0, 40).Select(_ => Get(client, v6, ServerPort))];
            Assert.Equal(["here", "there"], answers.Select(a => a.Server).Distinct().Order());
            Assert.Equal([v6 ? Overlay.IPv6Of(client) : client.Address], answers.Select(a => a.Client).Distinct());
        }
    }

    private void Serve()
    {
        _servers.Add(new WebServer(nodes.Here.Namespace, "here", ServerPort));
        _servers.Add(new WebServer(nodes.There.Namespace, "there", ServerPort));
    }

    /// <summary>The same on both nodes, as with a store that they share.</summary>
    private void MakeService(string settings, bool targetPort = true)
    {
        foreach ((Switch one, int own) in nodes.Switches.Zip([1, 2]))
        {
            // Both have the machine's name.
            string Place(int number) => number == own ? $", node: \"{Environment.MachineName}\"" : ", node: other";
            one.Apply(string.Create(CultureInfo.InvariantCulture, $$"""
                services:
                - {name: web, cluster_ips: [{{Vip}}, "{{Vip6}}"], ports: [{port: {{(targetPort ? 80 : ServerPort)}}, target_port: {{ServerPort}}}], {{settings}} }
                backends:
                - {service: web, address: {{nodes.Here.Address}}{{Place(1)}} }
                - {service: web, address: "{{Overlay.IPv6Of(nodes.Here)}}"{{Place(1)}} }
                - {service: web, address: {{nodes.There.Address}}{{Place(2)}} }
                - {service: web, address: "{{Overlay.IPv6Of(nodes.There)}}"{{Place(2)}} }
                """));
        }
    }

    private static (string Server, string Client) Get(Station from, bool v6, int port = 80) =>
        WebServer.Get(from.Namespace, v6 ? $"http://[{Vip6}]:{port}/" : $"http://{Vip}:{port}/");

    private static string GatewayOf(string address) => address[..(address.LastIndexOfAny(['.', ':']) + 1)] + "1";
}
