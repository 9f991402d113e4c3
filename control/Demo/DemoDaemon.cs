using System.Diagnostics;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Cli;
using Grpc.Core;
using LinuxProcess = Dataplane.Interop.Linux.LinuxProcess;

namespace Dataplane.Control.Demo;

/// <summary>
/// One instance of the switch in a demo: its two processes, and a client of its API. It is started as anybody would start it, by
/// `dataplane run`.
/// </summary>
internal sealed class DemoDaemon : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(10);

    private readonly DemoInstance _instance;
    private readonly Process _process;
    private readonly Client _client;

    private DemoDaemon(DemoInstance instance, Process process)
    {
        _instance = instance;
        _process = process;
        _client = new Client(instance.Files.ApiSocket);
    }

    public DemoInstance Instance => _instance;

    /// <summary>Starts the processes on a node (in its namespace, where it has one), and waits until packets could flow.</summary>
    public static async Task<DemoDaemon> StartAsync(DemoInstance instance, Node on, CancellationToken cancel)
    {
        var daemon = new DemoDaemon(instance, Start(instance, on));
        try
        {
            await daemon.WaitForEngineAsync(cancel);
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    /// <summary>Applies resources in one batch, visible as a whole, and waits until all ports are up.</summary>
    public async Task ApplyAsync(IEnumerable<Resource> resources, CancellationToken cancel)
    {
        var request = new ApplyRequest();
        request.Resources.AddRange(resources);
        try
        {
            await _client.Resources.ApplyAsync(request, deadline: DateTime.UtcNow + StartLimit, cancellationToken: cancel);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            throw new DemoException($"the switch refuses the demo's network:\n{e.Status.Detail}");
        }
        await WaitForPortsAsync(cancel);
    }

    public async Task DeleteAsync(Kind kind, string name, CancellationToken cancel) =>
        await _client.Resources.DeleteAsync(new DeleteRequest { Keys = { new ResourceKey { Kind = kind, Name = name } } }, cancellationToken: cancel);

    public async Task<IReadOnlyList<Backend>> BackendsAsync(CancellationToken cancel) =>
        [.. (await _client.ListAsync(Kind.Backend, filter: null, cancel)).Select(r => r.Backend)];

    public async Task<IReadOnlyList<Connection>> ConnectionsAsync(CancellationToken cancel)
    {
        using AsyncServerStreamingCall<Connection> call = _client.Stats.ListConnections(new ListConnectionsRequest(), cancellationToken: cancel);
        var all = new List<Connection>();
        await foreach (Connection connection in call.ResponseStream.ReadAllAsync(cancel))
        {
            all.Add(connection);
        }
        return all;
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

    /// <summary>The next packets that a port receives and a filter lets through, with what each stage decided about them.</summary>
    public async Task<IReadOnlyList<TracedPacket>> TraceAsync(string port, string filter, int count, Func<Task> meanwhile, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(StopLimit);
        using AsyncServerStreamingCall<TracedPacket> call = _client.Inspection.Trace(
            new TraceRequest { Ports = { port }, Filter = filter, Count = (uint)count }, cancellationToken: limit.Token);
        // The session is open when the headers come.
        await call.ResponseHeadersAsync;
        await meanwhile();
        var packets = new List<TracedPacket>();
        try
        {
            await foreach (TracedPacket packet in call.ResponseStream.ReadAllAsync(limit.Token))
            {
                packets.Add(packet);
            }
        }
        catch (Exception e) when (!cancel.IsCancellationRequested && e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            // Fewer came than were asked for.
        }
        return packets;
    }

    /// <summary>
    /// Stops the daemon in order, which removes its devices, its segment and its files by itself. What it leaves is for the
    /// caller to find.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        if (!_process.HasExited)
        {
            LinuxProcess.Kill(_process.Id, LinuxProcess.SIGTERM);
            using var limit = new CancellationTokenSource(StopLimit);
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
            }
        }
        _process.Dispose();
    }

    /// <summary>
    /// Starts `dataplane run` in a session of its own, so that Ctrl-C in the terminal reaches the demo alone, and the demo
    /// decides in which order things end.
    /// </summary>
    private static Process Start(DemoInstance instance, Node on)
    {
        string beside = Path.Combine(AppContext.BaseDirectory, "dataplane");
        string[] program = File.Exists(beside) ? [beside] : [Environment.ProcessPath!, typeof(DemoDaemon).Assembly.Location];
        string[] command =
        [
            "setsid", "sh", "-c", "log=$1; shift; exec \"$@\" >\"$log\" 2>&1", "sh", instance.Log,
            .. Tools.In(on, [.. program, "run", "--instance", instance.Name]),
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
            if (_process.HasExited)
            {
                throw new DemoException($"`dataplane run` ended with exit code {_process.ExitCode}:\n{_instance.LogTail()}");
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
        throw new DemoException($"{problem}, after {StartLimit.TotalSeconds:0} s:\n{_instance.LogTail()}");
    }
}
