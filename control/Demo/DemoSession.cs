using System.Diagnostics;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Cli;
using Grpc.Core;
using LinuxProcess = Dataplane.Interop.Linux.LinuxProcess;
using NetNs = Dataplane.Interop.Linux.NetNs;

namespace Dataplane.Control.Demo;

/// <summary>
/// A demo that runs: the namespaces, the two processes of the instance, and a client of its API. What it makes, it makes
/// as anybody would: `dataplane run --instance demo`, then one Apply with the network and its ports.
/// </summary>
internal sealed class DemoSession : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(10);

    private readonly Process _daemon;
    private readonly Client _client = new(DemoInstance.Files.ApiSocket);

    private DemoSession(DemoPlan plan, Process daemon)
    {
        Plan = plan;
        _daemon = daemon;
    }

    public DemoPlan Plan { get; }

    public static async Task<DemoSession> StartAsync(DemoPlan plan, CancellationToken cancel)
    {
        foreach (Node node in plan.Nodes.Where(n => n.Namespace is not null))
        {
            NetNs.Create(node.Namespace!).Dispose();
            await Tools.RunAsync(Tools.In(node, "ip", "link", "set", "lo", "up"), StopLimit, cancel);
        }
        var session = new DemoSession(plan, StartDaemon(plan));
        try
        {
            await session.WaitForEngineAsync(cancel);
            await session.ApplyAsync(cancel);
            await session.WaitForPortsAsync(cancel);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>The network, the host's port and the containers' ports: one batch, visible as a whole.</summary>
    private async Task ApplyAsync(CancellationToken cancel)
    {
        var request = new ApplyRequest();
        request.Resources.Add(new Resource
        {
            Network = new Network
            {
                Name = DemoPlan.NetworkName, Subnets = { Plan.Subnet.ToString() }, Gateways = { Plan.Host.Address.ToString() },
            },
        });
        request.Resources.Add(new Resource
        {
            Port = new Port
            {
                Name = Plan.Host.Port, Network = DemoPlan.NetworkName, Tap = new Tap { Host = true, Device = DemoPlan.HostDevice },
            },
        });
        request.Resources.AddRange(Plan.Containers.Select(container => new Resource
        {
            Port = new Port
            {
                Name = container.Port, Network = DemoPlan.NetworkName,
                Tap = new Tap { Netns = container.Namespace, Addresses = { container.Cidr }, DefaultRoute = true },
            },
        }));
        try
        {
            await _client.Resources.ApplyAsync(request, deadline: DateTime.UtcNow + StartLimit, cancellationToken: cancel);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            throw new DemoException($"the switch refuses the demo's network:\n{e.Status.Detail}");
        }
    }

    public async Task<EngineStatus> EngineAsync(CancellationToken cancel) =>
        await _client.Stats.GetEngineAsync(new GetEngineRequest(), cancellationToken: cancel);

    public async Task<WorkerStats> WorkersAsync(CancellationToken cancel) =>
        await _client.Stats.GetWorkersAsync(new GetWorkersRequest(), cancellationToken: cancel);

    public async Task<PortStats> PortCountersAsync(CancellationToken cancel) =>
        await _client.Stats.GetPortsAsync(new GetPortsRequest(), cancellationToken: cancel);

    public async Task<DropStats> DropsAsync(CancellationToken cancel) =>
        await _client.Stats.GetDropsAsync(new GetDropsRequest(), cancellationToken: cancel);

    public async Task<IReadOnlyList<Port>> PortsAsync(CancellationToken cancel) =>
        [.. (await _client.ListAsync(Kind.Port, filter: null, cancel)).Select(r => r.Port)];

    public async Task<IReadOnlyList<MacEntry>> MacsAsync(CancellationToken cancel)
    {
        using AsyncServerStreamingCall<MacEntry> call = _client.Stats.ListMacs(new ListMacsRequest(), cancellationToken: cancel);
        var entries = new List<MacEntry>();
        await foreach (MacEntry entry in call.ResponseStream.ReadAllAsync(cancel))
        {
            entries.Add(entry);
        }
        return entries;
    }

    /// <summary>
    /// Stops the daemon in order, which removes its devices, its segment and its files by itself. What it leaves is for the
    /// caller to find.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        if (!_daemon.HasExited)
        {
            LinuxProcess.Kill(_daemon.Id, LinuxProcess.SIGTERM);
            using var limit = new CancellationTokenSource(StopLimit);
            try
            {
                await _daemon.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _daemon.Kill();
            }
        }
        _daemon.Dispose();
    }

    /// <summary>
    /// Starts `dataplane run` in a session of its own, so that Ctrl-C in the terminal reaches the demo alone, and the demo
    /// decides in which order things end. In an isolated demo the daemon's own namespace is the host's.
    /// </summary>
    private static Process StartDaemon(DemoPlan plan)
    {
        string beside = Path.Combine(AppContext.BaseDirectory, "dataplane");
        string[] program = File.Exists(beside) ? [beside] : [Environment.ProcessPath!, typeof(DemoSession).Assembly.Location];
        string[] command =
        [
            "setsid", "sh", "-c", "log=$1; shift; exec \"$@\" >\"$log\" 2>&1", "sh", DemoInstance.Log,
            .. Tools.In(plan.Host, [.. program, "run", "--instance", DemoPlan.Instance]),
        ];
        return Tools.Start(command);
    }

    private Task WaitForEngineAsync(CancellationToken cancel) => WaitAsync("the engine is not running", cancel, async () =>
    {
        EngineStatus engine = await EngineAsync(cancel);
        return engine.State == EngineStatus.Types.State.Running ? null : $"the engine is {engine.State}: {engine.Reason}";
    });

    private Task WaitForPortsAsync(CancellationToken cancel) => WaitAsync("the ports are not up", cancel, async () =>
    {
        Port? waiting = (await PortsAsync(cancel)).FirstOrDefault(p => p.Status?.State != PortStatus.Types.State.Up);
        return waiting is null ? null : $"port {waiting.Name} is {waiting.Status?.State}: {waiting.Status?.Reason}";
    });

    /// <summary>Waits until the condition has no more to say against it.</summary>
    private async Task WaitAsync(string problem, CancellationToken cancel, Func<Task<string?>> condition)
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < StartLimit;)
        {
            if (_daemon.HasExited)
            {
                throw new DemoException($"`dataplane run` ended with exit code {_daemon.ExitCode}:\n{DemoInstance.LogTail()}");
            }
            try
            {
                string? answer = await condition();
                if (answer is null)
                {
                    return;
                }
                problem = answer;
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable)
            {
                // The socket is not there yet.
            }
            await Task.Delay(50, cancel);
        }
        throw new DemoException($"{problem}, after {StartLimit.TotalSeconds:0} s:\n{DemoInstance.LogTail()}");
    }
}
