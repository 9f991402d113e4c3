using Dataplane.Control.Api.V1;
using NetNs = Dataplane.Interop.Linux.NetNs;

namespace Dataplane.Control.Demo;

/// <summary>The demo of services while it runs: the namespaces, the switch, and the web servers.</summary>
internal sealed class ServicesSession : IAsyncDisposable
{
    private readonly List<DemoServer> _servers = [];

    private ServicesSession(DemoDaemon daemon) => Daemon = daemon;

    public DemoDaemon Daemon { get; }

    public static async Task<ServicesSession> StartAsync(CancellationToken cancel)
    {
        foreach (Node node in ServicesPlan.Nodes)
        {
            NetNs.Create(node.Namespace!).Dispose();
            await Tools.BringLoopbackUpAsync(node, cancel);
        }
        var session = new ServicesSession(await DemoDaemon.StartAsync(DemoInstance.Single, ServicesPlan.Host, cancel));
        try
        {
            await session.Daemon.ApplyAsync(ServicesPlan.Resources(), cancel);
            session._servers.AddRange(ServicesPlan.Servers.Append(ServicesPlan.Outside).Select(node => new DemoServer(node, ServicesPlan.ServerPort)));
            await Tools.MustAsync(Tools.In(ServicesPlan.Outside, "ip", "route", "add", ServicesPlan.Vip, "via", ServicesPlan.NodeAddress), cancel);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>Requests that a server has answered.</summary>
    public int Served(Node server) => _servers[ServicesPlan.Servers.ToList().IndexOf(server)].Served;

    /// <summary>Adds a server to the service, or changes its state.</summary>
    public Task SetBackendAsync(Node server, Backend.Types.State state, CancellationToken cancel) =>
        Daemon.ApplyAsync([ServicesPlan.Backend(server, state)], cancel);

    public Task RemoveBackendAsync(Node server, CancellationToken cancel) => Daemon.DeleteAsync(Kind.Backend, ServicesPlan.BackendName(server), cancel);

    public async ValueTask DisposeAsync()
    {
        _servers.ForEach(server => server.Dispose());
        await Daemon.DisposeAsync();
    }
}
