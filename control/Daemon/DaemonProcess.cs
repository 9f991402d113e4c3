using System.Runtime.InteropServices;
using Dataplane.Control.Api;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Observation;
using Dataplane.Control.Pci;
using Dataplane.Control.Compiler;
using Dataplane.Control.Engine;
using Dataplane.Control.Flannel;
using Dataplane.Control.Manifests;
using Dataplane.Control.Ports;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Dataplane.Control.State.Sqlite;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Daemon;

/// <summary>The control process from its start to its end.</summary>
internal sealed partial class DaemonProcess(DaemonOptions options, ILoggerFactory logging)
{
    private static readonly TimeSpan ReconcileInterval = TimeSpan.FromSeconds(1), EventInterval = TimeSpan.FromMilliseconds(250), StorePatience = TimeSpan.FromSeconds(8), StorePatienceWithCopy = TimeSpan.FromSeconds(1);

    /// <summary>Threads of the pool that may wait for something else than a CPU.</summary>
    private const int ThreadsThatWait = 3;

    private readonly ILogger _log = logging.CreateLogger("Daemon");
    private readonly StopRequests _stop = new();
    private readonly PciBinder _pci = PciBinder.Of(options.Paths);
    private Remains _remains;

    /// <summary>What is left in the file system when the process ends.</summary>
    private enum Remains
    {
        /// <summary>For the engine that goes on, and the next daemon.</summary>
        Everything,
        /// <summary>Desired state, for the next daemon to begin with.</summary>
        State,
        Nothing,
    }

    /// <summary>Runs until a signal or a caller ends it.</summary>
    /// <exception cref="DaemonException">It cannot run.</exception>
    public async Task RunAsync()
    {
        LeaveThreads();
        if (Preflight.Problems(options) is { Count: > 0 } missing)
        {
            throw new DaemonException(string.Join("\nerror: ", missing));
        }
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);

        using FileLock only = InstanceLock.Acquire(options.Paths);
        Effective.NodeIdentity = $"{MachineId()}/{options.Paths.Name}/";
        bool fresh = Directory.EnumerateFileSystemEntries(options.Paths.Directory).All(f => f == options.Paths.Lock || f == options.Paths.Devices || f == options.Paths.DevicesLock);
        _remains = fresh ? Remains.Nothing : Remains.Everything;
        try
        {
            await RunLockedAsync();
        }
        finally
        {
            if (_remains != Remains.Everything)
            {
                Leftovers.RemoveFiles(options.Paths, keepState: _remains == Remains.State);
            }
        }
    }

    /// <summary>
    /// While a batch is saved two threads of the pool wait for the disk, and one more for a device now and then. On a machine with two
    /// CPUs the pool has no others by itself, and what comes meanwhile would not even be read.
    /// </summary>
    private static void LeaveThreads()
    {
        ThreadPool.GetMinThreads(out int workers, out int completions);
        ThreadPool.SetMinThreads(Math.Max(workers, Environment.ProcessorCount + ThreadsThatWait), completions);
    }

    private async Task RunLockedAsync()
    {
        using IStateStore store = OpenStore();
        using Segment segment = OpenSegment(inUse: EngineProcess.IsRunning(options.Paths, out _));
        using var link = new EngineLink();
        var supervisor = new EngineSupervisor(options.Paths, options.Engine, link, segment, logging.CreateLogger<EngineSupervisor>());
        bool takenOver = false, orderly = false, keepEngine = false;
        try
        {
            if (options.Engine.Hugepages && _pci.LoadDriver() is { } missing)
            {
                LogNoDriver(missing);
            }
            takenOver = await StartEngineAsync(supervisor);
            using var controller = new Controller(segment, store, link, new TapDevices(), new PciPorts(SystemFiles.Machine, _pci), TimeProvider.System, logging.CreateLogger<Controller>());
            using var collector = new IdleCollector(controller);
            keepEngine = await ServeAsync(controller, store as EtcdStore, supervisor, segment, link);
            if (!keepEngine)
            {
                await controller.TearDownAsync();
            }
            orderly = true;
        }
        finally
        {
            // What forwarded before we came goes on when we cannot stay, and no failure costs what was acknowledged.
            keepEngine = orderly ? keepEngine : takenOver;
            bool asked = _stop.Requested.IsCompleted;
            _remains = keepEngine ? Remains.Everything : !orderly && !asked && store.Load().Revision > 0 ? Remains.State : Remains.Nothing;
            if (!keepEngine)
            {
                await supervisor.StopAsync();
                GiveDevicesBack(all: orderly);
            }
        }
    }

    /// <summary>
    /// To the kernel, now that no engine has them. What the operator bound before the start stays bound when the start fails: it
    /// is for the next one.
    /// </summary>
    private void GiveDevicesBack(bool all)
    {
        (IReadOnlyList<string> done, IReadOnlyList<string> problems) = _pci.GiveBack(e => all || e.Port is not null);
        foreach (string what in done)
        {
            LogGivenBack(what);
        }
        foreach (string problem in problems)
        {
            LogNotGivenBack(problem);
        }
    }

    private IStateStore OpenStore()
    {
        try
        {
            if (options.StateDirectory is { } directory)
            {
                Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }
            var file = new SqliteStore(options.StateFile);
            file.Load();
            HashSet<string> own = options.Flannel is null ? [] : [FlannelResources.PodNetwork];
            return options.Etcd is { } etcd ? new EtcdStore(etcd, file, logging.CreateLogger<EtcdStore>()) { OwnNetworks = own } : file;
        }
        catch (StateStoreException e)
        {
            throw new DaemonException(options.StateDirectory is null ? e.Message : $"{e.Message} (by hand: `clean` leaves --state-dir alone)");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonException($"--state-dir {options.StateDirectory}: {e.Message}");
        }
    }

    private Segment OpenSegment(bool inUse) => SegmentFile.OpenOrCreate(options.Paths.Segment, options.Segment, options.Engine.Nodes, inUse, _log);

    private async Task<bool> StartEngineAsync(EngineSupervisor supervisor)
    {
        try
        {
            using var interrupted = new CancellationTokenSource();
            _ = _stop.Requested.ContinueWith(_ => interrupted.Cancel(), TaskScheduler.Default);
            return await supervisor.StartAsync(interrupted.Token);
        }
        catch (EngineStartException e)
        {
            throw new DaemonException(e.Message);
        }
        catch (OperationCanceledException)
        {
            throw new DaemonException("interrupted while the engine was starting");
        }
    }

    /// <summary>Brings everything up and serves until asked to end. Gives whether the engine is to go on.</summary>
    private async Task<bool> ServeAsync(Controller controller, EtcdStore? etcd, EngineSupervisor supervisor, Segment segment, EngineLink link)
    {
        using var ending = new CancellationTokenSource();
        supervisor.Died = reason => controller.Events.Add(new Event { Type = Event.Types.Type.EngineFailed, Text = reason });
        supervisor.Restarted = async () =>
        {
            await controller.ReattachAsync(ending.Token);
            controller.Events.Add(new Event { Type = Event.Types.Type.EngineStarted, Text = "the engine was started again, and has its ports" });
        };
        FlannelService? flannel = options.Flannel is { } network ? new FlannelService(options.Etcd!, network, controller, TimeProvider.System, logging.CreateLogger<FlannelService>()) : null;
        await ResumeAsync(controller);
        Task? following = etcd?.FollowAsync(() => controller.State, controller.FollowAsync, ending.Token);
        if (etcd is not null && !await IsInStepAsync(etcd, hasCopy: controller.State.Revision > 0) && controller.State.Revision == 0)
        {
            await ending.CancelAsync();
            await following!;
            throw new DaemonException($"{etcd.Location}: {etcd.WhyUnavailable ?? etcd.Trouble ?? "it does not answer"}; there is no local copy to begin with");
        }
        // Ports of flannel's network come when that is there. Its way to the other nodes may be in the same file.
        ILookup<bool, LocatedResource> config = options.Config.ToLookup(l => flannel is not null && l.Resource.NamedNetworks.Contains(FlannelResources.PodNetwork));
        List<LocatedResource> late = [.. config[true]];
        await ApplyConfigAsync(controller, [.. config[false]]);
        Task? member = flannel?.RunAsync(ending.Token);
        bool joined = flannel is null || await Task.WhenAny(flannel.InStep, member!, Task.Delay(StorePatience)) == flannel.InStep;
        if (joined)
        {
            await ApplyConfigAsync(controller, late);
        }

        var instance = new InstanceInfo(options.Paths.Name, options.Paths.Segment, options.Paths.EngineLog, DateTimeOffset.UtcNow, flannel is null ? null : () => flannel.Status);
        var captures = new CaptureHub(segment);
        var counters = new CounterReader(segment, link, TimeProvider.System);
        var access = new ApiAccess { Group = options.SocketGroup is { } name ? SocketGroup.Find(name) : null, Tcp = options.Tcp };
        await using ApiServer server = await ApiServer.StartAsync(options.Paths.ApiSocket, access, controller, counters, captures, instance, _stop, logging);
        Task[] loops =
        [
            supervisor.SuperviseAsync(ending.Token),
            ReconcileAsync(controller, ending.Token),
            captures.RunAsync(ending.Token),
            .. following is null ? Array.Empty<Task>() : [following],
            .. member is null ? Array.Empty<Task>() : [member],
            .. joined ? Array.Empty<Task>() : [ApplyLateAsync(controller, flannel!, late, ending.Token)],
            PumpEventsAsync(new EventPump(segment, () => controller.State, controller.Events), ending.Token),
        ];
        LogReady(options.Paths.ApiSocket, controller.State.Networks.Count, controller.State.Ports.Count);
        // A loop ends only by a fault before it is told to: then so does the daemon, rather than go on half alive.
        await Task.WhenAny([_stop.Requested, .. loops]);
        await Task.WhenAll(loops.Where(l => l.IsFaulted));
        bool keepEngine = await _stop.Requested;
        LogEnding(keepEngine ? "; the engine goes on" : "");
        await ending.CancelAsync();
        await Task.WhenAll(loops);
        return keepEngine;
    }

    private static async Task<bool> IsInStepAsync(EtcdStore etcd, bool hasCopy) =>
        await Task.WhenAny(etcd.InStep, Task.Delay(hasCopy ? StorePatienceWithCopy : StorePatience)) == etcd.InStep;

    private static async Task ResumeAsync(Controller controller)
    {
        try
        {
            await controller.ResumeAsync(CancellationToken.None);
        }
        catch (Exception e) when (e is EngineUnavailableException or EngineRefusedException or TimeoutException or TableFullException)
        {
            throw new DaemonException($"the saved state cannot be taken up: {e.Message}");
        }
    }

    /// <summary>The configuration's part that had to wait. Nobody waits for its outcome any more: what is wrong with it is told in the log.</summary>
    private async Task ApplyLateAsync(Controller controller, FlannelService flannel, List<LocatedResource> config, CancellationToken cancel)
    {
        LogConfigWaits(config.Count, flannel.Status.Reason);
        try
        {
            await flannel.InStep.WaitAsync(cancel);
            await ApplyConfigAsync(controller, config);
        }
        catch (DaemonException e)
        {
            LogConfigRefused(e.Message);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        await Task.Delay(Timeout.Infinite, cancel).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    private async Task ApplyConfigAsync(Controller controller, IReadOnlyList<LocatedResource> config)
    {
        if (config.Count == 0)
        {
            return;
        }
        try
        {
            CommitResult result = await controller.CommitAsync(new Batch { Apply = [.. config.Select(l => l.Resource)] }, dryRun: false, CancellationToken.None);
            LogConfigured(result.Changed, result.Changes.Count);
        }
        catch (ProblemException e)
        {
            throw new DaemonException(Cli.Problems.Locate(e.Problems, config));
        }
    }

    private async Task ReconcileAsync(Controller controller, CancellationToken cancel)
    {
        while (await Sleep(ReconcileInterval, cancel))
        {
            try
            {
                await controller.TickAsync(cancel);
            }
            catch (Exception e) when (e is EngineUnavailableException or TimeoutException)
            {
                LogTickFailed(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private static async Task PumpEventsAsync(EventPump pump, CancellationToken cancel)
    {
        while (await Sleep(EventInterval, cancel))
        {
            pump.Pump();
        }
    }

    /// <summary>False when cancelled.</summary>
    private static async Task<bool> Sleep(TimeSpan time, CancellationToken cancel)
    {
        await Task.Delay(time, cancel).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        return !cancel.IsCancellationRequested;
    }

    private void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        _stop.Request(options.KeepEngine);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Ready: {Socket}, {Networks} networks, {Ports} ports")]
    private partial void LogReady(string socket, int networks, int ports);

    [LoggerMessage(Level = LogLevel.Information, Message = "Ending{How}")]
    private partial void LogEnding(string how);

    [LoggerMessage(Level = LogLevel.Information, Message = "Applied the configuration: {Changed} of {All} resources changed")]
    private partial void LogConfigured(int changed, int all);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Resources} resources of the configuration wait for a lease: {Reason}")]
    private partial void LogConfigWaits(int resources, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "The configuration's part in flannel's network is refused: {Reason}")]
    private partial void LogConfigRefused(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Checking the ports failed and is tried again: {Reason}")]
    private partial void LogTickFailed(string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{What}")]
    private partial void LogGivenBack(string what);

    [LoggerMessage(Level = LogLevel.Error, Message = "A device is not given back: {Problem}; `dataplane clean` tries again")]
    private partial void LogNotGivenBack(string problem);

    [LoggerMessage(Level = LogLevel.Warning, Message = "PCI devices cannot be used: {Reason}")]
    private partial void LogNoDriver(string reason);

    /// <summary>The same after every start of the machine, and another one on every machine; see machine-id(5).</summary>
    private static string MachineId() => File.Exists("/etc/machine-id") ? File.ReadAllText("/etc/machine-id").Trim() : Environment.MachineName;
}
