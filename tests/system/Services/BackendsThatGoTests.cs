using System.Net;
using System.Net.Sockets;
using System.Text;
using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>What becomes of connections when their backend, or the engine, goes. The sockets are the test's own.</summary>
public sealed class BackendsThatGoTests(ServiceNode node) : ServiceTest(node)
{
    private const int Port = 80, ServerPort = 7080;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>A backend that drains, and even one that was removed, keeps its TCP connections, and gets no new ones.</summary>
    [Fact]
    public void AConnectionGoesOnWhenItsBackendDrainsAndIsRemoved()
    {
        Dictionary<string, Socket> servers = Listen("one", "two");
        MakeService($"{Port}:{ServerPort}", "one", "two");
        (Socket client, Socket server, string label) = Connect(servers);
        string other = label == "one" ? "two" : "one";
        Switch.Do("backend", "drain", Backend(label));
        Converse(client, server);
        Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal(other, Connect(servers).Label));
        Switch.Do("backend", "delete", Backend(label));
        Converse(client, server);
        Assert.Contains(Switch.Json("connections", "--service", Name).GetProperty("connections").EnumerateArray(),
            c => c.GetProperty("reply").GetProperty("source").ToString() == Node.Lan[label].Address);
    }

    /// <summary>Where the service says so, both sides of a connection are told with a reset.</summary>
    [Fact]
    public void AConnectionIsResetWhenThatIsWanted()
    {
        Dictionary<string, Socket> servers = Listen("one", "two");
        Switch.Apply($$"""
            services: [{name: {{Name}}, cluster_ips: [{{Vip}}], ports: [{port: {{Port}}, target_port: {{ServerPort}}}], backend_removal: RESET}]
            backends: [{service: {{Name}}, address: {{Node.Lan["one"].Address}}}, {service: {{Name}}, address: {{Node.Lan["two"].Address}}}]
            """);
        (Socket client, Socket server, string label) = Connect(servers);
        Converse(client, server);
        Switch.Do("backend", "delete", Backend(label));
        foreach (Socket end in new[] { client, server })
        {
            Until.True(() => IsReset(end), "a reset comes");
        }
    }

    /// <summary>A client that goes on sending datagrams gets another backend.</summary>
    [Fact]
    public void DatagramsGoToAnotherBackend()
    {
        Dictionary<string, Socket> servers = new[] { "one", "two" }.ToDictionary(l => l, l => Open(Node.Lan[l].Namespace, SocketType.Dgram, ServerPort));
        MakeService($"{Port}:{ServerPort}/udp", "one", "two");
        Socket client = Open(Node.Client, SocketType.Dgram);
        client.Connect(new IPEndPoint(IPAddress.Parse(Vip), Port));
        string first = Ask(client, servers);
        Assert.All(Enumerable.Range(0, 10), _ => Assert.Equal(first, Ask(client, servers)));
        Switch.Do("backend", "delete", Backend(first));
        string other = first == "one" ? "two" : "one";
        Until.Equal(other, () => Ask(client, servers), "the other one answers");
        Assert.Equal(other, Ask(client, servers));
    }

    /// <summary>The engine is killed in the midst of a connection to a service, and of one that is masqueraded.</summary>
    [Fact]
    public void ConnectionsSurviveTheEngine()
    {
        Dictionary<string, Socket> servers = Listen("one", "two");
        MakeService($"{Port}:{ServerPort}", "one", "two");
        Socket outside = Open(Node.OutsideNamespace, SocketType.Stream, ServerPort);
        outside.Listen();
        Socket inner = Open(Node.Client, SocketType.Stream);
        inner.Connect(new IPEndPoint(IPAddress.Parse(ServiceNode.Outside), ServerPort));
        Socket outer = Own(outside.Accept());
        Assert.Equal(ServiceNode.Node, ((IPEndPoint)outer.RemoteEndPoint!).Address.ToString());
        var all = Enumerable.Range(0, 10).Select(_ => Connect(servers)).Select(c => (c.Client, c.Server)).Append((inner, outer)).ToList();

        int engine = Switch.EnginePid;
        LinuxProcess.Kill(engine, LinuxProcess.SIGKILL);
        Until.True(() => Switch.Api.TryStatus() is { State: EngineStatus.Types.State.Running } status && status.EnginePid != engine, "another engine runs", () => Switch.Log);
        foreach ((Socket client, Socket server) in all)
        {
            client.SendTimeout = client.ReceiveTimeout = server.SendTimeout = server.ReceiveTimeout = (int)Patience.TotalMilliseconds;
            Converse(client, server);
        }
    }

    private string Backend(string label) => $"{Name}/{Node.Lan[label].Address}";

    private Dictionary<string, Socket> Listen(params string[] labels) => labels.ToDictionary(l => l, l =>
    {
        Socket listener = Open(Node.Lan[l].Namespace, SocketType.Stream, ServerPort);
        listener.Listen(64);
        return listener;
    });

    /// <summary>A connection to the service: both ends, and which server took it.</summary>
    private (Socket Client, Socket Server, string Label) Connect(Dictionary<string, Socket> servers)
    {
        Socket client = Open(Node.Client, SocketType.Stream);
        client.Connect(new IPEndPoint(IPAddress.Parse(Vip), Port));
        var ready = servers.Values.ToList();
        Socket.Select(ready, null, null, Patience);
        Socket listener = Assert.Single(ready);
        return (client, Own(listener.Accept()), servers.First(s => s.Value == listener).Key);
    }

    /// <summary>Something arrives in both directions.</summary>
    private static void Converse(Socket client, Socket server)
    {
        foreach ((Socket from, Socket to) in new[] { (client, server), (server, client) })
        {
            byte[] sent = Encoding.ASCII.GetBytes($"hello {Guid.NewGuid()}"), received = new byte[sent.Length];
            Assert.Equal(sent.Length, from.Send(sent));
            for (int n = 0; n < received.Length;)
            {
                int more = to.Receive(received, n, received.Length - n, SocketFlags.None);
                Assert.NotEqual(0, more);
                n += more;
            }
            Assert.Equal(sent, received);
        }
    }

    /// <summary>Which server gets a datagram; the client takes its answer. "" when one of both was lost.</summary>
    private static string Ask(Socket client, Dictionary<string, Socket> servers)
    {
        byte[] buffer = new byte[64];
        client.Send([1]);
        var ready = servers.Values.ToList();
        Socket.Select(ready, null, null, TimeSpan.FromSeconds(1));
        if (ready.Count == 0)
        {
            return "";
        }
        EndPoint from = new IPEndPoint(IPAddress.Any, 0);
        ready[0].ReceiveFrom(buffer, ref from);
        ready[0].SendTo([2], from);
        return client.Poll(TimeSpan.FromSeconds(1), SelectMode.SelectRead) && client.Receive(buffer) == 1 ? servers.First(s => s.Value == ready[0]).Key : "";
    }

    private static bool IsReset(Socket socket)
    {
        try
        {
            socket.Send([1]);
            return false;
        }
        catch (SocketException e)
        {
            Assert.Contains(e.SocketErrorCode, new[] { SocketError.ConnectionReset, SocketError.Shutdown });
            return true;
        }
    }

    private Socket Open(Namespace at, SocketType type, int port = 0)
    {
        using NetNs ns = NetNs.OpenNamed(at.Name);
        Socket socket = Own(ns.Run(() => new Socket(AddressFamily.InterNetwork, type, type == SocketType.Stream ? ProtocolType.Tcp : ProtocolType.Udp)));
        socket.ReceiveTimeout = socket.SendTimeout = (int)Patience.TotalMilliseconds;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        socket.Bind(new IPEndPoint(IPAddress.Any, port));
        return socket;
    }
}
