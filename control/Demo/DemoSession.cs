using Dataplane.Control.Api.V1;
using NetNs = Dataplane.Interop.Linux.NetNs;

namespace Dataplane.Control.Demo;

/// <summary>
/// A demo that runs: the namespaces, and the instance of the switch. What it makes, it makes as anybody would:
/// `dataplane run --instance demo`, then one Apply with the network and its ports.
/// </summary>
internal sealed class DemoSession : IAsyncDisposable
{
    private DemoSession(DemoPlan plan, DemoDaemon daemon)
    {
        Plan = plan;
        Daemon = daemon;
    }

    public DemoPlan Plan { get; }

    public DemoDaemon Daemon { get; }

    public static async Task<DemoSession> StartAsync(DemoPlan plan, CancellationToken cancel)
    {
        foreach (Node node in plan.Nodes.Where(n => n.Namespace is not null))
        {
            NetNs.Create(node.Namespace!).Dispose();
            await Tools.BringLoopbackUpAsync(node, cancel);
        }
        // In an isolated demo the daemon's own namespace is the host's.
        DemoDaemon daemon = await DemoDaemon.StartAsync(DemoInstance.Single, plan.Host, cancel);
        try
        {
            await daemon.ApplyAsync(Resources(plan), cancel);
            return new DemoSession(plan, daemon);
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    public ValueTask DisposeAsync() => Daemon.DisposeAsync();

    /// <summary>The network, the host's port and the containers' ports.</summary>
    private static IEnumerable<Resource> Resources(DemoPlan plan) =>
    [
        new Resource
        {
            Network = new Network
            {
                Name = DemoPlan.NetworkName, Subnets = { plan.Subnet.ToString() }, Gateways = { plan.Host.Address.ToString() },
            },
        },
        new Resource
        {
            Port = new Port
            {
                Name = plan.Host.Port, Network = DemoPlan.NetworkName, Tap = new Tap { Host = true, Device = DemoPlan.HostDevice },
            },
        },
        .. plan.Containers.Select(container => new Resource
        {
            Port = new Port
            {
                Name = container.Port, Network = DemoPlan.NetworkName,
                Tap = new Tap { Netns = container.Namespace, Addresses = { container.Cidr }, DefaultRoute = true },
            },
        }),
    ];
}
