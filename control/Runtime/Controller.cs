using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Engine;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Tables;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Runtime;

/// <summary>What a batch came to.</summary>
/// <param name="Changes">Per resource.</param>
/// <param name="State">The state after it; with a dry run, as it is.</param>
public sealed record CommitResult(IReadOnlyList<ResourceChange> Changes, DesiredState State)
{
    public ulong Revision => State.Revision;

    /// <summary>Resources that were created, updated or deleted.</summary>
    public int Changed => Changes.Count(c => c.HasEffect);
}

/// <summary>
/// Keeps desired state, devices, engine and segment together. It does one thing at a time; readers never wait for it.
/// <para>
/// A batch goes through these steps: check it against the state; look whether the kernel would agree; make and change
/// devices and hand them to the engine; save the new state; commit the records, which is the instant when packets meet
/// it; then take down what is not wanted any more. Each step up to the commit is noted on a stack, and when one fails
/// all before it are taken back. Batches of table entries alone go faster (see <see cref="CommitAsync"/>).
/// </para>
/// </summary>
public sealed partial class Controller : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly Lock _publishing = new();
    private readonly Dictionary<int, LivePort> _live = [];
    private readonly IStateStore _store;
    private readonly IEngineLink _engine;
    private readonly IPortDevices _devices;
    private readonly IPciPorts _pci;
    private readonly TableWriter _tables;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly Limits _limits;
    private volatile DesiredState _state;
    private CompiledState _compiled;

    /// <summary>Whether the tables are known to hold <see cref="_compiled"/>. Else the next commit compares all of them.</summary>
    private bool _tablesKnown;
    private volatile IReadOnlyDictionary<int, PortHealth> _health = new Dictionary<int, PortHealth>();

    public Controller(
        Segment segment, IStateStore store, IEngineLink engine, IPortDevices devices, IPciPorts pci, TimeProvider clock, ILogger<Controller> log)
    {
        Segment = segment;
        _store = store;
        _engine = engine;
        _devices = devices;
        _pci = pci;
        _clock = clock;
        _log = log;
        _limits = Limits.Of(segment);
        _tables = new TableWriter(segment);
        _state = store.Load();
        _compiled = StateCompiler.Compile(_state, store.Node);
        Changes = new ChangeLog(_state.Revision);
        Events = new EventLog(clock);
        Nodes = new NodeReader(store, clock, () => _state);
        Status = new StatusReader(segment, engine, () => _health, store.Node);
    }

    public Segment Segment { get; }
    public ChangeLog Changes { get; }
    public EventLog Events { get; }
    public StatusReader Status { get; }
    public NodeReader Nodes { get; }

    /// <summary>Where desired state is stored, and whether it can be changed now.</summary>
    public StoreStatus StoreStatus => new() { Location = _store.Location, Available = _store.WhyUnavailable is null, Reason = _store.WhyUnavailable ?? _store.Trouble ?? "" };

    /// <summary>Desired state now. Immutable.</summary>
    public DesiredState State => _state;

    /// <summary>Queues that new TAP devices get: one per worker.</summary>
    public int Queues => Math.Max(1, (int)Segment.Header.EngineWorkers);

    /// <summary>A consistent pair: the state, and a watcher of everything behind it.</summary>
    public (DesiredState State, ChangeLog.Watcher Watcher) WatchNow(Func<WatchEvent, bool> wants)
    {
        lock (_publishing)
        {
            return (_state, Changes.Watch(wants));
        }
    }

    /// <summary>A watcher that goes on from a revision, or null when that is not possible any more.</summary>
    public ChangeLog.Watcher? WatchFrom(ulong revision, Func<WatchEvent, bool> wants)
    {
        lock (_publishing)
        {
            return Changes.WatchFrom(revision, _state.Revision, wants);
        }
    }

    /// <summary>Forgets learned addresses.</summary>
    /// <param name="network">Of this network, when given.</param>
    /// <param name="port">Of this port, when given.</param>
    /// <param name="vlan">Of this VLAN, when not 0.</param>
    /// <param name="cancel">Honoured until it begins.</param>
    /// <exception cref="ProblemException">There is no such network or port.</exception>
    public Task<int> FlushAsync(string network, string port, uint vlan, CancellationToken cancel) => InTurn(
        () =>
        {
            MacFilter filter = MacFilter.Of(_state, network, port, vlan);
            try
            {
                return _tables.Flush(filter.Matches);
            }
            catch (TimeoutException e)
            {
                throw new ProblemException(StatusCode.Unavailable, e.Message);
            }
        },
        cancel);

    /// <summary>Brings a port back that the switch disabled.</summary>
    /// <exception cref="ProblemException">There is no such port.</exception>
    public Task<Port> EnablePortAsync(string name, CancellationToken cancel) => InTurn(
        () =>
        {
            PortEntry port = Existing(name);
            bool attached = _live.TryGetValue(port.Index, out LivePort? live) && live.Attached;
            if (Status.ClearErrDisabled(port.Index, attached ? PortState.Up : PortState.Detached))
            {
                Events.Add(new Event
                {
                    Type = Event.Types.Type.PortEnabled,
                    Port = name,
                    Network = port.Spec.Network,
                    Text = $"port \"{name}\" was enabled by the operator",
                });
                PublishStatus();
            }
            return Status.With(_state, port);
        },
        cancel);

    /// <summary>Which worker polls which receive queue of the ports that are named, or of all.</summary>
    /// <exception cref="ProblemException">There is no such port, or the engine does not answer.</exception>
    public Task<QueueList> QueuesAsync(IReadOnlyCollection<string> ports, CancellationToken cancel) => InTurn(() => QueuesOf(ports), cancel);

    /// <summary>Gives a receive queue of a port to another worker; see <see cref="IEngineLink.Assign"/>.</summary>
    /// <exception cref="ProblemException">There is no such port, queue or worker, or the engine does not answer.</exception>
    public Task<QueueList> AssignQueueAsync(string port, uint queue, uint worker, CancellationToken cancel) => InTurn(
        () =>
        {
            PortEntry entry = Existing(port);
            try
            {
                _engine.Assign(entry.Index, (int)Math.Min(queue, int.MaxValue), (int)Math.Min(worker, int.MaxValue));
            }
            catch (EngineRefusedException e)
            {
                throw new ProblemException(StatusCode.FailedPrecondition, e.Message);
            }
            catch (EngineUnavailableException e)
            {
                throw Explain(e, step: null);
            }
            return QueuesOf([port]);
        },
        cancel);

    private QueueList QueuesOf(IReadOnlyCollection<string> ports)
    {
        PortEntry[] wanted = ports.Count == 0 ? [.. _state.Ports.Values] : [.. ports.Select(Existing)];
        try
        {
            var attached = _engine.Attached().ToDictionary(p => p.Index);
            return new QueueList
            {
                Queues =
                {
                    from port in wanted
                    where attached.ContainsKey(port.Index)
                    orderby port.Spec.Name
                    from queue in attached[port.Index].Workers.Index()
                    select new Queue { Port = port.Spec.Name, Queue_ = (uint)queue.Index, Worker = (uint)queue.Item },
                },
            };
        }
        catch (EngineUnavailableException e)
        {
            throw Explain(e, step: null);
        }
    }

    private PortEntry Existing(string port) => _state.Ports.TryGetValue(port, out PortEntry? entry)
        ? entry
        : throw new ProblemException(StatusCode.NotFound, [new Problem { Kind = Kind.Port, Name = port, Field = "name", Message = "does not exist" }]);

    public void Dispose()
    {
        foreach (LivePort port in _live.Values)
        {
            port.Device?.Dispose();
        }
        _live.Clear();
        _gate.Dispose();
        _news.Dispose();
    }

    private async Task<T> InTurn<T>(Func<T> action, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            // Netlink requests and fsync block: not on the caller's thread, which serves other calls.
            return await Task.Run(action, CancellationToken.None);
        }
        finally
        {
            _gate.Release();
        }
    }

    private CommitResult Commit(Batch batch, bool dryRun)
    {
        DesiredState before = _state;
        CompiledState compiledBefore = _compiled;
        PlannedBatch plan = BatchPlanner.Plan(before, batch, _limits);
        if (!plan.HasEffect)
        {
            return new CommitResult(plan.Changes, before);
        }
        CheckOwners(before, plan);
        StateChange change = plan.From(before);
        CompiledChange wanted = StateCompiler.Compile(change, compiledBefore, everything: !_tablesKnown, _store.Node);
        List<PortStep> steps = wanted.Records ? PlanPorts(wanted.After) : [];
        Probe(steps);
        if (dryRun)
        {
            return new CommitResult(plan.Changes, before);
        }
        if ((_engine.WhyUnavailable ?? _store.WhyUnavailable) is { } reason)
        {
            throw new ProblemException(StatusCode.Unavailable, reason, "try again in a moment");
        }

        var undo = new UndoStack();
        PortStep? current = null;
        try
        {
            foreach (PortStep step in steps)
            {
                current = step;
                Perform(step, undo);
            }
            current = null;
            _store.Save(change);
            _storeTakes = true;
            undo.Push(() => _store.Save(change.Reversed));
            undo.Push(() => _tables.Commit(StateCompiler.Compile(change.Reversed, wanted.After, everything: !_tablesKnown, _store.Node)));
            _tables.Commit(wanted);
            _tablesKnown = true;
        }
        catch (Exception e)
        {
            foreach (Exception failure in undo.Run())
            {
                _tablesKnown = false;
                LogUndoFailed(failure.Message);
            }
            GiveBackUnused(steps);
            TakeHealthSnapshot();
            throw Explain(e, current);
        }

        _compiled = wanted.After;
        foreach (PortStep step in steps)
        {
            Finish(step);
        }
        GiveBackUnused(steps);
        RouteHost(wanted.HostRoutes);
        if (steps.Count > 0)
        {
            TakeHealthSnapshot();
        }
        return Publish(plan);
    }

    private CommitResult Publish(PlannedBatch plan)
    {
        lock (_publishing)
        {
            _state = plan.After;
            Changes.Publish(plan.Changes, plan.After.Revision, c => Status.Of(plan.After, c));
        }
        return new CommitResult(plan.Changes, plan.After);
    }

    private static ProblemException Explain(Exception error, PortStep? step)
    {
        string port = step?.Name ?? "";
        Problem problem = error switch
        {
            DeviceException e => new Problem { Kind = Kind.Port, Name = port, Field = e.Problem.Field, Message = e.Problem.Message, Fix = e.Problem.Fix },
            EngineRefusedException e => new Problem { Kind = Kind.Port, Name = port, Field = step?.AttachmentField ?? "", Message = e.Message },
            StateStoreException e => new Problem { Message = e.Problem, Fix = e.Fix },
            _ => new Problem { Message = error.Message },
        };
        StatusCode code = error switch
        {
            ProblemException e => e.Code,
            StateStoreException e => e.Code,
            DeviceException or EngineRefusedException => StatusCode.FailedPrecondition,
            EngineUnavailableException or TimeoutException => StatusCode.Unavailable,
            TableFullException => StatusCode.ResourceExhausted,
            _ => StatusCode.Internal,
        };
        return new ProblemException(code, [problem]);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A step of a refused batch could not be taken back: {Reason}")]
    private partial void LogUndoFailed(string reason);
}
