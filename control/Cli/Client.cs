using System.Net.Security;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.Control.Cli;

/// <summary>A connection to the daemon of an instance.</summary>
internal sealed class Client : IDisposable
{
    private readonly GrpcChannel _channel;

    /// <summary>Connects to a daemon of this machine.</summary>
    public Client(string socket)
        : this("http://localhost", new SocketsHttpHandler { ConnectCallback = (_, cancel) => ConnectAsync(socket, cancel), UseProxy = false })
    {
    }

    /// <summary>Connects over TCP.</summary>
    /// <param name="server">HOST:PORT.</param>
    /// <param name="tls">How to trust it, and to be trusted.</param>
    public Client(string server, SslClientAuthenticationOptions tls)
        : this($"https://{server}", new SocketsHttpHandler { SslOptions = tls, UseProxy = false })
    {
    }

    private Client(string address, SocketsHttpHandler handler)
    {
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = null });
        Resources = new Resources.ResourcesClient(_channel);
        Stats = new Stats.StatsClient(_channel);
        Macs = new Mac.MacClient(_channel);
        Inspection = new Inspection.InspectionClient(_channel);
        Admin = new Admin.AdminClient(_channel);
    }

    public Resources.ResourcesClient Resources { get; }
    public Stats.StatsClient Stats { get; }
    public Mac.MacClient Macs { get; }
    public Inspection.InspectionClient Inspection { get; }
    public Admin.AdminClient Admin { get; }

    /// <summary>Deadline of a call that is not a stream.</summary>
    public static DateTime Deadline => DateTime.UtcNow.AddSeconds(30);

    /// <summary>All resources of a kind, page by page.</summary>
    public async Task<List<Resource>> ListAsync(Kind kind, Filter? filter, CancellationToken cancel)
    {
        var all = new List<Resource>();
        var request = new ListRequest { Kind = kind, Filter = filter };
        do
        {
            ListResponse page = await Resources.ListAsync(request, deadline: Deadline, cancellationToken: cancel);
            all.AddRange(page.Resources);
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return all;
    }

    public void Dispose() => _channel.Dispose();

    private static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancel)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
