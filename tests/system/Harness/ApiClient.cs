using System.Net.Sockets;
using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.SystemTests.Harness;

/// <summary>The API of a daemon, for what tests ask often; commands of the operator go through the command line.</summary>
public sealed class ApiClient : IDisposable
{
    private readonly GrpcChannel _channel;

    public ApiClient(string socket)
    {
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler
            {
                UseProxy = false,
                ConnectCallback = async (_, cancel) =>
                {
                    var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                    await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancel);
                    return new NetworkStream(connection, ownsSocket: true);
                },
            },
        });
        Stats = new Stats.StatsClient(_channel);
        Resources = new Resources.ResourcesClient(_channel);
    }

    public Stats.StatsClient Stats { get; }

    public Resources.ResourcesClient Resources { get; }

    public EngineStatus Status => Stats.GetEngine(new GetEngineRequest(), deadline: Deadline);

    public IReadOnlyList<PortCounters> AllCounters => Stats.GetPorts(new GetPortsRequest(), deadline: Deadline).Ports;

    public static DateTime Deadline => DateTime.UtcNow.AddSeconds(20);

    /// <summary>Null while no daemon answers.</summary>
    public EngineStatus? TryStatus()
    {
        try
        {
            return Status;
        }
        catch (RpcException)
        {
            return null;
        }
    }

    /// <summary>Applies resources; fails with all their problems.</summary>
    public void Apply(IEnumerable<Resource> resources)
    {
        var request = new ApplyRequest();
        request.Resources.AddRange(resources);
        try
        {
            Resources.Apply(request, deadline: Deadline);
        }
        catch (RpcException e)
        {
            Assert.Fail(string.Join('\n', Errors.Problems(e).Select(p => $"{p}")));
        }
    }

    public PortCounters Counters(string port) => Stats.GetPorts(new GetPortsRequest { Ports = { port } }, deadline: Deadline).Ports[0];

    /// <summary>Packets of a port dropped for a reason, in or out.</summary>
    public ulong Drops(string port, string reason) => Counters(port).Drops.FirstOrDefault(d => d.Reason == reason)?.Packets ?? 0;

    public PortStatus PortStatus(string port) => Resources.Get(new GetRequest { Kind = Kind.Port, Name = port }, deadline: Deadline).Port.Status;

    public NetworkStatus NetworkStatus(string network) =>
        Resources.Get(new GetRequest { Kind = Kind.Network, Name = network }, deadline: Deadline).Network.Status;

    /// <summary>All resources of a kind, page by page.</summary>
    public IEnumerable<Resource> All(Kind kind)
    {
        var request = new ListRequest { Kind = kind };
        do
        {
            ListResponse page = Resources.List(request, deadline: Deadline);
            foreach (Resource resource in page.Resources)
            {
                yield return resource;
            }
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    public IReadOnlyList<MacEntry> Macs(string network = "", string mac = "")
    {
        using AsyncServerStreamingCall<MacEntry> call = Stats.ListMacs(new ListMacsRequest { Network = network, Mac = mac }, deadline: Deadline);
        var all = new List<MacEntry>();
        while (call.ResponseStream.MoveNext(CancellationToken.None).GetAwaiter().GetResult())
        {
            all.Add(call.ResponseStream.Current);
        }
        return all;
    }

    /// <summary>Port behind which an address is; empty when it is not known.</summary>
    public string PortOf(string network, string mac) => Macs(network, mac).FirstOrDefault()?.Port ?? "";

    public IReadOnlyList<Event> Events()
    {
        using AsyncServerStreamingCall<Event> call = Stats.WatchEvents(new WatchEventsRequest { NoFollow = true }, deadline: Deadline);
        var all = new List<Event>();
        while (call.ResponseStream.MoveNext(CancellationToken.None).GetAwaiter().GetResult())
        {
            all.Add(call.ResponseStream.Current);
        }
        return all;
    }

    public void Dispose() => _channel.Dispose();
}
