using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>Services, published ports and masquerade with real clients and servers.</summary>
public sealed class ServiceTests(ServiceNode node) : ServiceTest(node)
{
    [Fact]
    public void ConnectionsAreDistributedAndClientsKeepTheirAddress()
    {
        Array.ForEach(["one", "two", "three"], l => Serve(l));
        MakeService("80:8080", "one", "two", "three");
        foreach ((Namespace client, string seen) in Node.Clients)
        {
            List<(string Server, string Client)> answers = [.. Enumerable.Range(0, 60).Select(_ => WebServer.Get(client, $"http://{Vip}/"))];
            Assert.Equal(["one", "three", "two"], answers.Select(a => a.Server).Distinct().Order());
            Assert.Equal([seen], answers.Select(a => a.Client).Distinct());
        }
        Assert.Contains("ready", Switch.Do("service", "get", Name), StringComparison.Ordinal);
    }

    [Fact]
    public void NotOneRequestFailsWhileBackendsComeAndGo()
    {
        Serve("one");
        using WebServer two = Serve("two");
        MakeService("80:8080", "one", "two");
        // As fast as curl can, each request a connection of its own, for as long as the file exists.
        string go = Path.Combine(Switch.RunDirectory, $"{Name}.go");
        File.WriteAllText(go, "");
        Tool loop = Own(Node.Client.Start("bash", "-c", $"while [ -e {go} ]; do curl -sS -m 10 http://{Vip}/ || echo failed $?; done"));
        Until.True(() => loop.Output.Contains("one", StringComparison.Ordinal) && loop.Output.Contains("two", StringComparison.Ordinal), "both serve", () => loop.Output + loop.Error);
        Serve("three");
        Switch.Do("backend", "add", Name, Node.Lan["three"].Address);
        Until.True(() => loop.Output.Contains("three", StringComparison.Ordinal), "the new one serves", () => loop.Output + loop.Error);
        Switch.Do("backend", "drain", $"{Name}/{Node.Lan["two"].Address}");
        Thread.Sleep(500); // what it has in hand
        two.Dispose();
        Switch.Do("backend", "delete", $"{Name}/{Node.Lan["two"].Address}");
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
        Assert.Equal("one", WebServer.Get(Node.Lan["one"].Namespace, $"http://{Vip}/").Server);
    }

    /// <summary>One port of the client, and both connections end at the same port of the same backend.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public void FromOnePortAClientReachesABackendByItsServiceAndDirectly(bool serviceFirst)
    {
        Serve("one");
        MakeService("80:8080", "one");
        Node.OutsideNamespace.Do("ip", "route", "replace", Node.Lan["one"].Address, "via", ServiceNode.Node);
        string[] ends = [$"{Vip}:80", $"{Node.Lan["one"].Address}:8080"];
        string said = Node.OutsideNamespace.Do("python3", "-c", FromOnePort, serviceFirst ? "40001" : "40002", ends[serviceFirst ? 0 : 1], ends[serviceFirst ? 1 : 0]);
        Assert.Equal(string.Concat(Enumerable.Repeat($"one {ServiceNode.Outside}\n", 6)), said);
    }

    [Fact]
    public void WithoutBackendsItIsSaidSo()
    {
        MakeService("http=80 dns=53/udp");
        Node.Client.Run("curl", "-sS", "-m", "10", $"http://{Vip}/").EndsWith(7).Says("Failed to connect"); // CURLE_COULDNT_CONNECT
        Assert.Equal("refused\n", Node.Client.Do("python3", "-c", UdpQuery, Vip, "53"));
    }

    [Fact]
    public void ADnsQueryIsAnsweredByTheServicesAddress()
    {
        Tool server = Own(Node.Lan["two"].Namespace.Start("python3", "-c", DnsServer, "5353"));
        server.WaitFor("serving");
        MakeService("dns=53:5353/udp", "two");
        foreach ((Namespace client, string seen) in Node.Clients.SelectMany(c => Enumerable.Repeat(c, 5)))
        {
            Assert.Equal($"192.0.2.53 {seen}\n", client.Do("python3", "-c", UdpQuery, Vip, "53"));
        }
    }

    /// <summary>Netcat's socket is connected to the service's address, so that it takes an answer from nowhere else.</summary>
    [Fact]
    public void DatagramsGoThroughAService()
    {
        MakeService("7:7007/udp", "three");
        foreach ((Namespace client, _) in Node.Clients)
        {
            using Tool server = Tool.Start(Node.Lan["three"].Namespace.Inside("nc", "-n", "-v", "-u", "-l", "7007"), input: "pong\n");
            server.WaitFor("Bound on");
            Finished end = Tool.Run(client.Inside("nc", "-u", "-W", "1", "-w", "10", Vip, "7"), input: "ping\n").Succeeds();
            Assert.Equal("pong\n", end.Output);
            server.WaitFor("ping");
        }
    }

    [Fact]
    public void AStreamGoesThroughAService()
    {
        using Tool server = Iperf.Serve(Node.Lan["one"]);
        MakeService("5201", "one");
        Assert.Contains("\"sum_received\"", Node.Client.Do("iperf3", "-c", Vip, "-J", "-t", "2"), StringComparison.Ordinal);
        server.Wait().Succeeds();
    }

    [Fact]
    public void AClientKeepsItsBackendByAffinity()
    {
        Array.ForEach(["one", "two", "three"], l => Serve(l));
        Switch.Do("service", "add", Name, Vip, "--port", "80:8080", "--affinity", "60");
        Switch.Do(["backend", "add", Name, .. new[] { "one", "two", "three" }.Select(l => Node.Lan[l].Address)]);
        Assert.Single(Enumerable.Range(0, 20).Select(_ => WebServer.Get(Node.Client, $"http://{Vip}/").Server).Distinct());
    }

    [Fact]
    public void TheOutsideReachesServicesNodePortsAndPublishedPorts()
    {
        Serve("one");
        MakeService("80:8080@30080", "one");
        Switch.Do("publish", "add", Name, "--to", "svc-one", "8088:8080");
        Switch.Do("publish", "add", $"{Name}-free", "--to", "svc-one", "8080");
        string free = Switch.Json("get", "published-port", $"{Name}-free").GetProperty("status").GetProperty("host_port").ToString();
        foreach (string at in new[] { $"{Vip}:80", $"{ServiceNode.Node}:30080", $"{ServiceNode.Node}:8088", $"{ServiceNode.Node}:{free}" })
        {
            Assert.Equal(("one", ServiceNode.Outside), WebServer.Get(Node.OutsideNamespace, $"http://{at}/"));
        }
        // A container reaches them too, and so the published port of another one.
        Assert.Equal("one", WebServer.Get(Node.Client, $"http://{ServiceNode.Node}:8088/").Server);
        Switch.Run("publish", "add", "again", "--to", "svc-one", "30080:8080").EndsWith(1).Says($"taken by service \"{Name}\", as a node port");
        Switch.Do("publish", "delete", Name, $"{Name}-free");
    }

    [Fact]
    public void ContainersReachTheOutsideByTheNodesAddress()
    {
        Own(new WebServer(Node.OutsideNamespace, "outside", 8090));
        foreach (string label in new[] { "client", "one" })
        {
            Assert.Equal(("outside", ServiceNode.Node), WebServer.Get(Node.Lan[label].Namespace, $"http://{ServiceNode.Outside}:8090/"));
        }
        Node.Client.Do("ping", "-c", "3", "-i", "0.2", "-W", "2", ServiceNode.Outside);
    }

    /// <summary>Connects to two addresses from one port, and asks each of them three times in turn.</summary>
    private const string FromOnePort = """
        import socket, sys
        ends = []
        for end in sys.argv[2:]:
            host, port = end.split(':')
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.settimeout(8)
            s.bind(('', int(sys.argv[1])))
            s.connect((host, int(port)))
            ends.append(s)
        for turn in range(3):
            for s in ends:
                s.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                answer = s.recv(4096)
                while b'\r\n\r\n' not in answer or not answer.endswith(b'\n'):
                    answer += s.recv(4096)
                print(answer.split(b'\r\n\r\n')[1].decode(), end='')
        """;

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
