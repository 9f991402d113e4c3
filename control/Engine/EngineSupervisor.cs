using System.Diagnostics;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Engine;

/// <summary>
/// Keeps an engine process running. A running one is taken over; one that dies is started again at once, and later and later
/// when it keeps dying. Its death shows at once as the end of a connection that is open for nothing else.
/// </summary>
public sealed partial class EngineSupervisor
{
    /// <summary>An engine that lived for so long did not die of being started.</summary>
    private static readonly TimeSpan LongLife = TimeSpan.FromSeconds(10), LongestDelay = TimeSpan.FromSeconds(30);

    private readonly InstancePaths _paths;
    private readonly EngineProcess _process;
    private readonly EngineLink _link;
    private readonly Segment _segment;
    private readonly ILogger _log;
    private EngineClient? _client;
    private int _pid;

    public EngineSupervisor(InstancePaths paths, EngineCommand command, EngineLink link, Segment segment, ILogger<EngineSupervisor> log)
    {
        _paths = paths;
        _process = new EngineProcess(paths, command);
        _link = link;
        _segment = segment;
        _log = log;
    }

    /// <summary>Called when the engine was started again, with its ports still to be attached.</summary>
    public Func<Task>? Restarted { get; set; }

    /// <summary>Called when the engine ended unasked.</summary>
    public Action<string>? Died { get; set; }

    /// <summary>Takes over a running engine or starts one. Gives true when it was running.</summary>
    /// <exception cref="EngineStartException">It cannot be started; with what it said.</exception>
    public async Task<bool> StartAsync(CancellationToken cancel)
    {
        if (_process.FindRunning() is { } running)
        {
            LogTakenOver(running.PeerPid);
            Use(running);
            return true;
        }
        ForgetWorkers();
        EngineClient started = await _process.StartAsync(cancel);
        LogStarted(started.PeerPid);
        Use(started);
        return false;
    }

    /// <summary>Watches the engine until cancelled.</summary>
    public async Task SuperviseAsync(CancellationToken cancel)
    {
        int crashes = 0;
        Task cancelled = Task.Delay(Timeout.Infinite, cancel); // who watches looks for it from time to time only
        while (!cancel.IsCancellationRequested)
        {
            var life = Stopwatch.StartNew();
            await Task.WhenAny(WaitForDeathAsync(cancel), cancelled);
            if (cancel.IsCancellationRequested)
            {
                return;
            }
            crashes = life.Elapsed > LongLife ? 1 : crashes + 1;
            string reason = $"the engine (pid {_pid}) ended unexpectedly; it is started again";
            _link.Drop(reason, failing: false);
            LogDied(_pid, _process.LogTail());
            Died?.Invoke(reason);
            crashes = await RestartAsync(crashes, cancel);
        }
    }

    /// <summary>Ends the engine.</summary>
    public async Task StopAsync()
    {
        EngineClient? client = _client;
        _client = null;
        await _process.StopAsync(client, _pid);
        _link.Drop("the daemon is ending", failing: false);
    }

    /// <summary>Starts until it works; gives how often it failed in a row.</summary>
    private async Task<int> RestartAsync(int crashes, CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            TimeSpan delay = Delay(crashes);
            if (delay > TimeSpan.Zero)
            {
                _link.Drop($"the engine ended {crashes} times in a row; the next attempt is in {delay.TotalSeconds:0.#} s; see {_paths.EngineLog}", failing: true);
                await Task.Delay(delay, cancel).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            }
            try
            {
                ForgetWorkers();
                EngineClient started = await _process.StartAsync(cancel);
                LogStarted(started.PeerPid);
                Use(started);
                await (Restarted?.Invoke() ?? Task.CompletedTask);
                return crashes;
            }
            catch (EngineStartException e)
            {
                LogNotStarted(e.Message);
                crashes++;
            }
            catch (EngineUnavailableException e)
            {
                LogNotStarted(e.Message);
                return crashes; // it ended again while its ports were attached: the next turn finds that out
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
            }
        }
        return crashes;
    }

    /// <summary>At once the first time, then half a second, doubled each time.</summary>
    private static TimeSpan Delay(int crashes) => crashes <= 1
        ? TimeSpan.Zero
        : TimeSpan.FromSeconds(Math.Min(LongestDelay.TotalSeconds, 0.5 * Math.Pow(2, Math.Min(crashes - 2, 10))));

    private void Use(EngineClient client)
    {
        _client = client;
        _pid = client.PeerPid;
        _link.Use(client);
    }

    /// <summary>
    /// No worker runs now. One that died in the midst of a burst would be waited for by the next commit, as it never
    /// announced that it is done.
    /// </summary>
    private void ForgetWorkers()
    {
        for (int worker = 0; worker < _segment.MaxWorkers; worker++)
        {
            _segment.Quiescence.Offline(worker);
        }
    }

    private Task WaitForDeathAsync(CancellationToken cancel) => Task.Factory.StartNew(
        () =>
        {
            try
            {
                using SeqPacketConnection watch = SeqPacketConnection.Connect(_paths.EngineSocket, TimeSpan.FromSeconds(1));
                byte[] nothing = new byte[1];
                while (!cancel.IsCancellationRequested)
                {
                    if (watch.TryReceive(nothing, default, TimeSpan.FromMilliseconds(400), out Received received) && received.IsEnd)
                    {
                        return;
                    }
                }
            }
            catch (LinuxException)
            {
                // Nobody listens any more: it died before it could be watched.
            }
        },
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    [LoggerMessage(Level = LogLevel.Information, Message = "Engine {Pid} is running, and taken over")]
    private partial void LogTakenOver(int pid);

    [LoggerMessage(Level = LogLevel.Information, Message = "Engine {Pid} started")]
    private partial void LogStarted(int pid);

    [LoggerMessage(Level = LogLevel.Error, Message = "Engine {Pid} ended unexpectedly; its last lines:{Lines}")]
    private partial void LogDied(int pid, string lines);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Reason}")]
    private partial void LogNotStarted(string reason);
}
