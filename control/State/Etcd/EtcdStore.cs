using System.Diagnostics;
using Dataplane.Control.Api.V1;
using Etcdserverpb;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using WatchRequest = Etcdserverpb.WatchRequest;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// Desired state of a cluster, in etcd: a key per resource (<see cref="EtcdKeys"/>), with its spec as JSON. A batch is one
/// transaction; a batch with more changes than etcd takes in one (<c>--max-txn-ops</c>, 128) is refused. The watch brings
/// what others changed, and the switch follows.
/// <para>
/// The local file is this node's copy, with what is its own: revisions and table indexes. It lets the node start while etcd
/// is away. When it cannot be written the state is safe in etcd all the same, so that is reported and no more.
/// </para>
/// </summary>
public sealed partial class EtcdStore : IStateStore
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(300), Retry = TimeSpan.FromSeconds(1);

    private readonly EtcdOptions _options;
    private readonly IStateStore _local;
    private readonly ILogger _log;
    private readonly EtcdKeys _keys;
    private readonly EtcdView _view;
    private readonly object _lock = new();

    /// <summary>
    /// Held while a transaction is under way, so that what the watch tells of it is known as our own. Never together with the
    /// lock above: nobody who only looks, and no thread of the pool, may wait for etcd.
    /// </summary>
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly DateTimeOffset _started = DateTimeOffset.UtcNow;
    private readonly TaskCompletionSource _inStep = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private EtcdConnection? _connection;
    private volatile string? _away;
    private volatile string? _refused, _waiting, _localFailure;
    private bool _relist = true;

    /// <summary>Once for each time that etcd is away, the one before it was first reached among them.</summary>
    private bool _absenceIsLogged;

    /// <param name="options">Which etcd.</param>
    /// <param name="local">This node's copy; disposed with this.</param>
    /// <param name="log">Where to say what happens.</param>
    public EtcdStore(EtcdOptions options, IStateStore local, ILogger log)
    {
        _options = options;
        _local = local;
        _log = log;
        _keys = new EtcdKeys(options.Prefix, options.Node);
        _view = new EtcdView(_keys);
        _away = "etcd was not reached yet";
    }

    public string Location => $"{_options.Location}, node {_options.Node}";

    public string Node => _options.Node;

    public IReadOnlyList<Node> Nodes
    {
        get
        {
            lock (_lock)
            {
                return _view.Nodes();
            }
        }
    }

    public string? WhyUnavailable => _away;

    /// <summary>What is not as it should be, although changes can be saved.</summary>
    public string? Trouble => _refused ?? _waiting ?? _localFailure;

    /// <summary>Names of networks that this node makes itself. What the store has in one of them waits until it is there.</summary>
    public IReadOnlySet<string> OwnNetworks { get; init; } = new HashSet<string>();

    /// <summary>Completes when this node has done all that the store says for the first time.</summary>
    public Task InStep => _inStep.Task;

    /// <summary>The state of this node's own copy.</summary>
    public DesiredState Load() => _local.Load();

    public void Save(StateChange change)
    {
        AwaitOwn(change);
        _writing.Wait();
        try
        {
            Write(change);
        }
        finally
        {
            _writing.Release();
        }
        Adopt(change);
    }

    public void Adopt(StateChange change)
    {
        try
        {
            _local.Save(change);
            _localFailure = null;
        }
        catch (StateStoreException e)
        {
            LogLocalFailure(e.Message);
            _localFailure = $"the local copy is not up to date: {e.Message}";
        }
    }

    /// <summary>Keeps connected and in step until cancelled.</summary>
    /// <param name="state">The state that the switch has.</param>
    /// <param name="follow">Gives the switch a batch, which it makes in the switch's turn, and says when that is done.</param>
    /// <param name="cancel">The end.</param>
    public async Task FollowAsync(Func<DesiredState> state, Func<Func<Batch>, Action, CancellationToken, Task> follow, CancellationToken cancel)
    {
        for (int attempt = 0; !cancel.IsCancellationRequested; attempt++)
        {
            string server = _options.Servers[attempt % _options.Servers.Count];
            EtcdConnection? connection = null;
            try
            {
                connection = new EtcdConnection(_options, server);
                await connection.AuthenticateAsync(cancel);
                using var gone = CancellationTokenSource.CreateLinkedTokenSource(cancel);
                Task presence = EtcdPresence.HoldAsync(connection, _keys.Alive, _started, gone.Token, cancel);
                try
                {
                    await WatchAsync(connection, state, follow, cancel);
                }
                finally
                {
                    await gone.CancelAsync();
                    await presence;
                }
            }
            catch (Exception e) when (cancel.IsCancellationRequested && e is RpcException or OperationCanceledException)
            {
            }
            catch (Exception e) when (e is RpcException or StateStoreException or IOException or HttpRequestException)
            {
                Away($"etcd at {server} does not answer: {(e is RpcException r ? connection!.Said(r) : e.Message)}");
            }
            finally
            {
                connection?.Dispose();
            }
            await Task.Delay(Pause, cancel).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
        lock (_lock)
        {
            _connection = null;
        }
    }

    public void Dispose()
    {
        _writing.Dispose();
        _local.Dispose();
    }

    private async Task WatchAsync(EtcdConnection connection, Func<DesiredState> state, Func<Func<Batch>, Action, CancellationToken, Task> follow, CancellationToken cancel)
    {
        ByteString start = ByteString.CopyFromUtf8(_keys.Root), end = EtcdTransaction.EndOf(_keys.Root);
        if (_relist)
        {
            await InTurn(() => ListAsync(connection, start, end, state, cancel), cancel);
            _relist = false;
        }
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = connection.Watcher.Watch(connection.Long(cancel));
        await watch.RequestStream.WriteAsync(
            new WatchRequest { CreateRequest = new WatchCreateRequest { Key = start, RangeEnd = end, StartRevision = _view.Revision + 1 } }, cancel);
        Task<bool> next = watch.ResponseStream.MoveNext(cancel);
        while (true)
        {
            // What could not be done is tried again: its obstacle may be gone.
            if (await Task.WhenAny(next, Task.Delay(Retry, cancel)) == next)
            {
                if (!await next)
                {
                    throw new RpcException(new Status(StatusCode.Unavailable, "it ended the watch"));
                }
                WatchResponse told = watch.ResponseStream.Current;
                if (told.Canceled)
                {
                    // What happened since was compacted away, or we may not watch any more: either way begin anew.
                    _relist = true;
                    throw new RpcException(new Status(StatusCode.Unavailable, told.CompactRevision > 0 ? "changes were compacted, everything is listed again" : told.CancelReason));
                }
                await InTurn(() => Told(told), cancel);
                next = watch.ResponseStream.MoveNext(cancel);
                if (told.Created)
                {
                    Here(connection);
                }
            }
            cancel.ThrowIfCancellationRequested();
            await GiveAsync(state, follow, cancel);
        }
    }

    private async Task ListAsync(EtcdConnection connection, ByteString start, ByteString end, Func<DesiredState> state, CancellationToken cancel)
    {
        RangeResponse all = await connection.Kv.RangeAsync(new RangeRequest { Key = start, RangeEnd = end }, connection.Short(cancel));
        lock (_lock)
        {
            _view.Replace(all.Kvs, all.Header.Revision, state());
        }
    }

    private Task Told(WatchResponse told)
    {
        lock (_lock)
        {
            _view.Apply(told.Events);
            Monitor.PulseAll(_lock);
        }
        return Task.CompletedTask;
    }

    /// <summary>Does something while no transaction is under way.</summary>
    private async Task InTurn(Func<Task> action, CancellationToken cancel)
    {
        await _writing.WaitAsync(cancel);
        try
        {
            await action();
        }
        finally
        {
            _writing.Release();
        }
    }

    private async Task GiveAsync(Func<DesiredState> state, Func<Func<Batch>, Action, CancellationToken, Task> follow, CancellationToken cancel)
    {
        lock (_lock)
        {
            if (_view.Pending.Count == 0)
            {
                _refused = _waiting = null;
                _inStep.TrySetResult();
                return;
            }
        }
        try
        {
            List<ResourceKey> given = [];
            await follow(() => MakeBatch(state(), out given), () => Given(given), cancel);
            _refused = null;
            _inStep.TrySetResult();
        }
        catch (Exception e) when (e is ProblemException or InvalidDataException)
        {
            string refused = $"what the store says cannot be done here: {e.Message}";
            if (_refused != refused)
            {
                LogRefused(e.Message);
            }
            _refused = refused;
        }
    }

    private Batch MakeBatch(DesiredState state, out List<ResourceKey> given)
    {
        lock (_lock)
        {
            var apply = new List<Resource>();
            var delete = new List<ResourceKey>();
            given = [];
            string? waiting = null;
            foreach (ResourceKey key in _view.Pending)
            {
                Resource? resource = _view.Find(key);
                if (resource?.NamedNetworks.FirstOrDefault(n => OwnNetworks.Contains(n) && !state.Networks.ContainsKey(n)) is { } missing)
                {
                    waiting = $"{key.Kind.Text} \"{key.Name}\" waits for network \"{missing}\", which this node makes";
                    continue;
                }
                given.Add(key);
                if (resource is not null)
                {
                    apply.Add(resource);
                }
                else
                {
                    delete.Add(key);
                }
            }
            _waiting = waiting;
            return new Batch { Apply = apply, Delete = delete, IgnoreMissing = true };
        }
    }

    private void Given(List<ResourceKey> keys)
    {
        lock (_lock)
        {
            _view.Given(keys);
        }
    }

    private void Write(StateChange change)
    {
        EtcdConnection connection;
        EtcdTransaction transaction;
        lock (_lock)
        {
            connection = _connection ?? throw new StateStoreException(_away ?? "etcd is away", StatusCode.Unavailable, "try again in a moment");
            CheckOthers(change);
            transaction = new EtcdTransaction(_keys, _view, change);
        }
        TxnResponse answer;
        try
        {
            answer = connection.Kv.Txn(transaction.Request, connection.Short());
        }
        catch (RpcException e)
        {
            throw Explain(e, connection);
        }
        catch (ObjectDisposedException e)
        {
            throw Unknown($"etcd at {connection.Server} went away meanwhile", e);
        }
        if (!answer.Succeeded)
        {
            throw LostRace();
        }
        lock (_lock)
        {
            transaction.Succeeded(answer.Header.Revision);
        }
    }

    /// <summary>
    /// A change of networks or services, or a deletion of policies, relies on all that the watch has told. So it waits
    /// until that has caught up with what this node wrote itself, or that would look like a change behind our back.
    /// </summary>
    private void AwaitOwn(StateChange change)
    {
        if (!change.ReliesOnAll)
        {
            return;
        }
        long begin = Stopwatch.GetTimestamp();
        lock (_lock)
        {
            while (_view.AwaitsOwn && _connection is { } connection)
            {
                TimeSpan left = _options.Patience - Stopwatch.GetElapsedTime(begin);
                if (left <= TimeSpan.Zero)
                {
                    throw new StateStoreException(
                        $"etcd at {connection.Server} has not told yet what this node wrote before", StatusCode.Unavailable, "try again in a moment");
                }
                Monitor.Wait(_lock, left);
            }
        }
    }

    private void CheckOthers(StateChange change)
    {
        // A change that is on its way to us. When it is one we cannot follow, this batch may be what repairs it.
        // Networks and services must not have the same addresses: a change of theirs was not checked against others that are on
        // their way.
        if (_refused is null && _waiting is null
            && (change.Changes.Any(c => _view.Pending.Contains(c.Key))
                || (change.Has(Kind.Network) && _view.Pending.Any(k => k.Kind == Kind.Network))
                || (change.Has(Kind.Service) && _view.Pending.Any(k => k.Kind is Kind.Network or Kind.Service))))
        {
            throw LostRace();
        }
        foreach (ResourceChange gone in change.Changes.Where(c => c.Kind is Kind.Network or Kind.Policy && c.After is null))
        {
            if (_view.OfOthers(gone.Kind, gone.Name).Take(4).ToList() is { Count: > 0 } others)
            {
                throw new StateStoreException($"{gone.Kind.Text} \"{gone.Name}\" is in use elsewhere ({string.Join(", ", others)})", StatusCode.FailedPrecondition, "delete that first");
            }
        }
    }

    private static StateStoreException LostRace() =>
        new("another node or client changed the same at the same moment", StatusCode.Aborted, "read it again, then repeat the change");

    private static StateStoreException Explain(RpcException e, EtcdConnection connection)
    {
        string said = connection.Said(e);
        return e.StatusCode switch
        {
            StatusCode.InvalidArgument when said.Contains("too many operations", StringComparison.Ordinal) => new(
                "the batch has more changes than etcd takes in one transaction", StatusCode.InvalidArgument, "split it, or raise etcd's --max-txn-ops", e),
            StatusCode.ResourceExhausted => new($"etcd at {connection.Server}: {said}", StatusCode.ResourceExhausted, inner: e),
            StatusCode.PermissionDenied => new($"etcd at {connection.Server}: {said}", StatusCode.PermissionDenied, "grant the node's user the keys under its prefix", e),
            _ => Unknown($"etcd at {connection.Server} did not confirm the batch: {said}", e),
        };
    }

    /// <summary>etcd may have taken the batch, or not.</summary>
    private static StateStoreException Unknown(string what, Exception e) =>
        new($"{what}; should it have taken it, it takes effect when etcd is back", StatusCode.Unavailable, "try again in a moment", e);

    private void Here(EtcdConnection connection)
    {
        lock (_lock)
        {
            _connection = connection;
            _away = null;
        }
        _absenceIsLogged = false;
        LogHere(connection.Server);
    }

    private void Away(string reason)
    {
        lock (_lock)
        {
            _connection = null;
            _away = reason;
            Monitor.PulseAll(_lock);
        }
        if (!_absenceIsLogged)
        {
            LogAway(reason);
            _absenceIsLogged = true;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The store is there: etcd at {Server}")]
    private partial void LogHere(string server);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The store is away, forwarding goes on and changes are refused: {Reason}")]
    private partial void LogAway(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "What the store says cannot be done here, and is tried again: {Reason}")]
    private partial void LogRefused(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "The local copy of the store is not up to date: {Reason}")]
    private partial void LogLocalFailure(string reason);
}
