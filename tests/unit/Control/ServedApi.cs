using System.Net.Sockets;
using Dataplane.Control.Api;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Observation;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Resources = Dataplane.Control.Api.V1.Resources;

namespace Dataplane.UnitTests.Control;

/// <summary>The API on a unix socket in a directory of its own, before a <see cref="Control.Bench"/>.</summary>
internal sealed class ServedApi : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private ApiServer? _server;

    private ServedApi(IStateStore? store, SegmentOptions? options)
    {
        Bench = new Bench(store, options);
        Channel = Connect();
    }

    public Bench Bench { get; }
    public int TcpPort => _server!.TcpPort;
    public StopRequests Stop { get; } = new();
    public string Socket => Path.Combine(_directory, "api.sock");
    public GrpcChannel Channel { get; }
    public Resources.ResourcesClient Resources => new(Channel);

    public static async Task<ServedApi> StartAsync(
        IStateStore? store = null, SegmentOptions? options = null, ApiAccess? access = null, ILoggerFactory? logging = null)
    {
        var served = new ServedApi(store, options);
        var instance = new InstanceInfo("test", "", "", DateTimeOffset.UtcNow);
        var counters = new CounterReader(served.Bench.Segment, served.Bench.Engine, TimeProvider.System);
        served._server = await ApiServer.StartAsync(
            served.Socket, access ?? new ApiAccess(), served.Bench.Controller, counters, new CaptureHub(served.Bench.Segment), instance, served.Stop, logging ?? NullLoggerFactory.Instance);
        return served;
    }

    /// <summary>Another connection.</summary>
    public GrpcChannel Connect() => GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
    {
        MaxSendMessageSize = null,
        HttpHandler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancel);
                return new NetworkStream(socket, ownsSocket: true);
            },
        },
    });

    /// <summary>Ends the service, and leaves what is behind it.</summary>
    public async ValueTask DisposeServerAsync()
    {
        if (_server is { } server)
        {
            _server = null;
            await server.DisposeAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        await DisposeServerAsync();
        Bench.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}
