using NetNs = Dataplane.Interop.Linux.NetNs;

namespace Dataplane.Control.Demo;

/// <summary>The cluster demo while it runs: the namespaces, the link between the nodes, and a switch on each.</summary>
internal sealed class ClusterSession : IAsyncDisposable
{
    private readonly Dictionary<int, DemoDaemon> _daemons = [];

    private ClusterSession()
    {
    }

    public DemoDaemon Daemon(int number) => _daemons[number];

    public static async Task<ClusterSession> StartAsync(CancellationToken cancel)
    {
        foreach (Node node in ClusterPlan.Nodes)
        {
            NetNs.Create(node.Namespace!).Dispose();
            await Tools.BringLoopbackUpAsync(node, cancel);
        }
        await ConnectAsync(ClusterPlan.Host(1), ClusterPlan.Host(2), cancel);
        var session = new ClusterSession();
        try
        {
            foreach (int number in ClusterPlan.Numbers)
            {
                session._daemons[number] = await DemoDaemon.StartAsync(DemoInstance.OfNode(number), ClusterPlan.Host(number), cancel);
            }
            foreach (int number in ClusterPlan.Numbers)
            {
                await session.Daemon(number).ApplyAsync(ClusterPlan.Resources(number), cancel);
            }
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (DemoDaemon daemon in _daemons.Values)
        {
            await daemon.DisposeAsync();
        }
    }

    /// <summary>A cable between two nodes. What a kernel would leave to a network card is done before the packet crosses.</summary>
    private static async Task ConnectAsync(Node one, Node other, CancellationToken cancel)
    {
        const string Device = ClusterPlan.UnderlayDevice;
        await Tools.MustAsync(Tools.In(one, "ip", "link", "add", Device, "type", "veth", "peer", "name", Device, "netns", other.Namespace!), cancel);
        foreach (Node end in new[] { one, other })
        {
            await Tools.MustAsync(Tools.In(end, "ip", "link", "set", Device, "up"), cancel);
        }
    }
}
