using System.Globalization;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>
/// One node: containers in a network that masquerades, and an "outside" behind a routed port, which has a route to services and none to
/// containers.
/// </summary>
public sealed class ServiceNode : IDisposable
{
    public const string Outside = "198.51.100.2", Node = "198.51.100.1", Vips = "10.96.0.0/16";

    public ServiceNode()
    {
        Switch = Switch.Started();
        try
        {
            Lan = new Lan(Switch, "svc", 61, "router: {}, masquerade: true");
            Lan.AddContainers("", "client", "one", "two", "three");
            OutsideNamespace = Switch.Container("outside");
            Switch.Apply($"ports: [{{name: svc-up, routed: {{addresses: [{Node}/24]}}, tap: {{netns: {OutsideNamespace.Name}, addresses: [{Outside}/24]}}}}]");
            Switch.WaitFor("svc-up", Dataplane.Control.Api.V1.PortStatus.Types.State.Up);
            OutsideNamespace.Do("ip", "route", "add", Vips, "via", Node);
        }
        catch
        {
            Switch.Dispose();
            throw;
        }
    }

    public Switch Switch { get; }
    public Lan Lan { get; }
    public Namespace OutsideNamespace { get; }
    public Namespace Client => Lan["client"].Namespace;

    /// <summary>
    /// Clients, and the addresses that servers see them have: their own, where answers come by here anyway. One on the servers' own link
    /// would be answered directly, and so has the router's.
    /// </summary>
    public IEnumerable<(Namespace Client, string Seen)> Clients => [(OutsideNamespace, Outside), (Client, "10.61.0.1")];

    public void Dispose() => Switch.Dispose();
}

/// <summary>Services, published ports and masquerade with real clients and servers.</summary>
public sealed class ServiceTests(ServiceNode node) : IClassFixture<ServiceNode>, IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly string _name = string.Create(CultureInfo.InvariantCulture, $"s{Interlocked.Increment(ref s_count)}");
    private static int s_count;

    private Switch Switch => node.Switch;

    /// <summary>Of this test alone.</summary>
    private string Vip => $"10.96.0.{_name[1..]}";

    public void Dispose() => _owned.ForEach(o => o.Dispose());

    private T Own<T>(T thing)
        where T : IDisposable
    {
        _owned.Add(thing);
        return thing;
    }

    private WebServer Serve(string label, int port = 8080) => Own(new WebServer(node.Lan[label].Namespace, label, port));

    private void MakeService(string ports, params string[] labels)
    {
        Switch.Do(["service", "add", _name, Vip, .. ports.Split(' ').SelectMany(p => new[] { "--port", p })]);
        if (labels.Length > 0)
        {
            Switch.Do(["backend", "add", _name, .. labels.Select(l => node.Lan[l].Address)]);
        }
    }

    [Fact]
    public void ConnectionsAreDistributedAndClientsKeepTheirAddress()
    {
        Array.ForEach(["one", "two", "three"], l => Serve(l));
        MakeService("80:8080", "one", "two", "three");
        foreach ((Namespace client, string seen) in node.Clients)
        {
            List<(string Server, string Client)> answers = [.. Enumerable.Range(0, 60).Select(_ => WebServer.Get(client, $"http://{Vip}/"))];
            Assert.Equal(["one", "three", "two"], answers.Select(a => a.Server).Distinct().Order());
            Assert.Equal([seen], answers.Select(a => a.Client).Distinct());
        }
        Assert.Contains("ready", Switch.Do("service", "get", _name), StringComparison.Ordinal);
    }

    [Fact]
    public void NotOneRequestFailsWhileBackendsComeAndGo()
    {
        Serve("one");
        using WebServer two = Serve("two");
        MakeService("80:8080", "one", "two");
        // As fast as curl can, each request a connection of its own, for as long as the file exists.
        string go = Path.Combine(Switch.RunDirectory, $"{_name}.go");
        File.WriteAllText(go, "");
        Tool loop = Own(node.Client.Start("bash", "-c", $"while [ -e {go} ]; do curl -sS -m 10 http://{Vip}/ || echo failed $?; done"));
        Until.True(() => loop.Output.Contains("one", StringComparison.Ordinal) && loop.Output.Contains("two", StringComparison.Ordinal), "both serve", () => loop.Output + loop.Error);
        Serve("three");
        Switch.Do("backend", "add", _name, node.Lan["three"].Address);
        Until.True(() => loop.Output.Contains("three", StringComparison.Ordinal), "the new one serves", () => loop.Output + loop.Error);
        Switch.Do("backend", "drain", $"{_name}/{node.Lan["two"].Address}");
        Thread.Sleep(500); // what it has in hand
        two.Dispose();
        Switch.Do("backend", "delete", $"{_name}/{node.Lan["two"].Address}");
        int before = loop.Output.Length;
        Until.True(() => loop.Output.Length > before + 500, "the others go on", () => loop.Output + loop.Error);
        File.Delete(go);
        Finished end = loop.Wait();
        Assert.DoesNotContain("failed", end.Output, StringComparison.Ordinal);
        Assert.Equal("", end.Error);
        Assert.DoesNotContain("two", end.Output[before..], StringComparison.Ordinal);
    }

    [Fact]
    public void ABackendReachesItselfByItsService()
    {
        Serve("one");
        MakeService("80:8080", "one");
        Assert.Equal("one", WebServer.Get(node.Lan["one"].Namespace, $"http://{Vip}/").Server);
    }

    [Fact]
    public void WithoutBackendsItIsSaidSo()
    {
        MakeService("http=80 dns=53/udp");
        node.Client.Run("curl", "-sS", "-m", "10", $"http://{Vip}/").EndsWith(7).Says("Failed to connect"); // CURLE_COULDNT_CONNECT
        Assert.Equal("refused\n", node.Client.Do("python3", "-c", UdpQuery, Vip, "53"));
    }

    [Fact]
    public void ADnsQueryIsAnsweredByTheServicesAddress()
    {
        Tool server = Own(node.Lan["two"].Namespace.Start("python3", "-c", DnsServer, "5353"));
        server.WaitFor("serving");
        MakeService("dns=53:5353/udp", "two");
        foreach ((Namespace client, string seen) in node.Clients.SelectMany(c => Enumerable.Repeat(c, 5)))
        {
            Assert.Equal($"192.0.2.53 {seen}\n", client.Do("python3", "-c", UdpQuery, Vip, "53"));
        }
    }

    [Fact]
    public void AStreamGoesThroughAService()
    {
        using Tool server = Iperf.Serve(node.Lan["one"]);
        MakeService("5201", "one");
        Assert.Contains("\"sum_received\"", node.Client.Do("iperf3", "-c", Vip, "-J", "-t", "2"), StringComparison.Ordinal);
        server.Wait().Succeeds();
    }

    [Fact]
    public void AClientKeepsItsBackendByAffinity()
    {
        Array.ForEach(["one", "two", "three"], l => Serve(l));
        Switch.Do("service", "add", _name, Vip, "--port", "80:8080", "--affinity", "60");
        Switch.Do(["backend", "add", _name, .. new[] { "one", "two", "three" }.Select(l => node.Lan[l].Address)]);
        Assert.Single(Enumerable.Range(0, 20).Select(_ => WebServer.Get(node.Client, $"http://{Vip}/").Server).Distinct());
    }

    [Fact]
    public void TheOutsideReachesServicesNodePortsAndPublishedPorts()
    {
        Serve("one");
        MakeService("80:8080@30080", "one");
        Switch.Do("publish", "add", _name, "--to", "svc-one", "8088:8080");
        Switch.Do("publish", "add", $"{_name}-free", "--to", "svc-one", "8080");
        string free = Switch.Json("get", "published-port", $"{_name}-free").GetProperty("status").GetProperty("host_port").ToString();
        foreach (string at in new[] { $"{Vip}:80", $"{ServiceNode.Node}:30080", $"{ServiceNode.Node}:8088", $"{ServiceNode.Node}:{free}" })
        {
            Assert.Equal(("one", ServiceNode.Outside), WebServer.Get(node.OutsideNamespace, $"http://{at}/"));
        }
        // A container reaches them too, and so the published port of another one.
        Assert.Equal("one", WebServer.Get(node.Client, $"http://{ServiceNode.Node}:8088/").Server);
        Switch.Run("publish", "add", "again", "--to", "svc-one", "30080:8080").EndsWith(1).Says($"taken by service \"{_name}\", as a node port");
        Switch.Do("publish", "delete", _name, $"{_name}-free");
    }

    [Fact]
    public void ContainersReachTheOutsideByTheNodesAddress()
    {
        Own(new WebServer(node.OutsideNamespace, "outside", 8090));
        foreach (string label in new[] { "client", "one" })
        {
            Assert.Equal(("outside", ServiceNode.Node), WebServer.Get(node.Lan[label].Namespace, $"http://{ServiceNode.Outside}:8090/"));
        }
        node.Client.Do("ping", "-c", "3", "-i", "0.2", "-W", "2", ServiceNode.Outside);
    }

    /// <summary>Sends a query for an A record and prints the address in the answer and the payload that the server adds, or "refused".</summary>
    private const string UdpQuery = """
        import socket, struct, sys
        query = struct.pack('!6H', 0x1234, 0x0100, 1, 0, 0, 0) + b'\x04name\x04test\x00' + struct.pack('!2H', 1, 1)
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(8)
        s.connect((sys.argv[1], int(sys.argv[2])))
        s.send(query)
        try:
            answer = s.recv(512)
            assert answer[:2] == query[:2]
            end = len(query) + 16
            print(socket.inet_ntoa(answer[end - 4:end]), answer[end:].decode())
        except ConnectionRefusedError:
            print('refused')
        """;

    /// <summary>Answers every query with 192.0.2.53, and the client's address as text behind it.</summary>
    private const string DnsServer = """
        import socket, struct, sys
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(('', int(sys.argv[1])))
        print('serving', flush=True)
        while True:
            query, client = s.recvfrom(512)
            head = query[:2] + struct.pack('!5H', 0x8180, 1, 1, 0, 0)
            s.sendto(head + query[12:] + struct.pack('!3HIH', 0xC00C, 1, 1, 60, 4) + socket.inet_aton('192.0.2.53') + client[0].encode(), client)
        """;
}
