using System.Collections.Concurrent;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;

namespace Dataplane.Control.Runtime;

/// <summary>
/// Group commit. What takes longest of a batch is the disk, and it takes as long for many batches as for one. Packets need not wait for
/// it: a batch of table entries is checked against the state that those before it lead to, and committed to the tables at once, as a
/// generation of its own. All batches that came while the disk was at work become durable in one transaction, and only then are
/// published and answered, each by itself. One that is refused is answered with those around it, for what it was checked against must be
/// durable too.
/// <para>
/// So packets meet a change some milliseconds before it is certain to stay. When it cannot be saved it is taken back from the tables, as
/// the next control process takes back what one has left that died in between: nobody has been told of it.
/// </para>
/// <para>
/// That is for batches of table entries. One that touches devices or records goes by itself and is saved first. So does every one when
/// saving them together went wrong: then only those fail that would have failed alone, and until the store takes something again no
/// packet meets what it does not.
/// </para>
/// </summary>
public sealed partial class Controller
{
    /// <summary>Resources that are saved together: some milliseconds of work, which the first of them waits for.</summary>
    private const int LargestGroup = 4_096;

    /// <summary>Groups in one turn. Then others have theirs: who looks after devices, who asks without changing.</summary>
    private const int MostGroups = 16;

    private readonly ConcurrentQueue<WaitingBatch> _waiting = new();

    /// <summary>Set when a batch has come, and when the disk is done with a group. Who waits for it sleeps: the CPU is wanted elsewhere.</summary>
    private readonly ManualResetEventSlim _news = new(initialState: false, spinCount: 0);

    /// <summary>Whether the store took what it was given last.</summary>
    private bool _storeTakes = true;

    private long _begun;

    /// <summary>Raised when a batch is done and no other one has come. Not to be held up.</summary>
    public event Action? Idle;

    /// <summary>Batches that have come so far.</summary>
    public long Begun => Volatile.Read(ref _begun);

    /// <summary>Whether nothing is being changed, and nothing waits for its turn.</summary>
    public bool IsIdle => _waiting.IsEmpty && _gate.CurrentCount > 0;

    /// <summary>Commits a batch, or with <paramref name="dryRun"/> tells what it would change. Batches have their turns in the order of the calls.</summary>
    /// <param name="batch">What to change.</param>
    /// <param name="dryRun">Check only.</param>
    /// <param name="cancel">Honoured until the batch has its turn; a batch that began is finished.</param>
    /// <exception cref="ProblemException">It is refused, and nothing was changed.</exception>
    public async Task<CommitResult> CommitAsync(Batch batch, bool dryRun, CancellationToken cancel)
    {
        if (dryRun || !_store.SavesTogether)
        {
            return await InTurn(() => Commit(batch, dryRun), cancel);
        }
        var waiting = new WaitingBatch(batch);
        Interlocked.Increment(ref _begun);
        _waiting.Enqueue(waiting);
        _news.Set();
        try
        {
            await _gate.WaitAsync(cancel);
        }
        catch (OperationCanceledException) when (waiting.TryWithdraw())
        {
            throw;
        }
        catch (OperationCanceledException)
        {
            return await waiting.Result;
        }
        try
        {
            while (waiting.IsWaiting)
            {
                await Task.Run(CommitWaiting, CancellationToken.None);
            }
        }
        finally
        {
            _gate.Release();
            if (IsIdle)
            {
                Idle?.Invoke();
            }
        }
        return await waiting.Result;
    }

    private void CommitWaiting()
    {
        // Both are in the tables: one is being saved, the other one waits for the disk.
        Group? saving = null, shown = null;
        for (int groups = 0; ;)
        {
            _news.Reset();
            if (saving is { IsDone: true })
            {
                if (saving.Error is null)
                {
                    Answer(saving);
                }
                else
                {
                    GoOneByOne([.. saving.Batches, .. shown?.Batches ?? []]);
                    shown = null;
                }
                saving = null;
            }
            WaitingBatch? first = groups < MostGroups && _waiting.TryPeek(out WaitingBatch? head) ? head : null;
            if (first is not null && IsForGroup(first))
            {
                shown ??= new Group(saving?.State ?? _state, saving?.Compiled ?? _compiled);
                if (shown.Size < LargestGroup)
                {
                    if (Take(first))
                    {
                        Show(first, shown);
                    }
                    continue;
                }
            }
            if (saving is null && shown is not null)
            {
                (saving, shown) = (shown, null);
                saving.Save(_store, _news.Set);
                groups++;
            }
            else if (saving is null && first is not null)
            {
                if (Take(first))
                {
                    CommitAlone(first);
                }
                groups++;
            }
            else if (saving is null)
            {
                return;
            }
            else
            {
                _news.Wait();
            }
        }
    }

    /// <summary>Whether a batch may go with others: its steps are those of tables, and there is nothing to repair.</summary>
    private bool IsForGroup(WaitingBatch batch) => batch.IsEntriesOnly && _tablesKnown && _storeTakes && (_engine.WhyUnavailable ?? _store.WhyUnavailable) is null;

    /// <summary>It is a batch's turn. False when its caller has withdrawn it.</summary>
    private bool Take(WaitingBatch first) => _waiting.TryDequeue(out _) && first.TryTake();

    private void CommitAlone(WaitingBatch waiting)
    {
        try
        {
            waiting.Succeed(Commit(waiting.Batch, dryRun: false));
        }
        catch (Exception e)
        {
            waiting.Fail(e);
        }
    }

    /// <summary>What a batch of a group comes to: steps of tables, or nothing to do, or a refusal.</summary>
    private sealed record Grouped(WaitingBatch Batch, PlannedBatch? Plan, StateChange? Change, CompiledChange? Wanted, Exception? Refusal);

    /// <summary>Batches that are saved together, one behind the other.</summary>
    /// <param name="state">Before all of them.</param>
    /// <param name="compiled">The same, compiled.</param>
    private sealed class Group(DesiredState state, CompiledState compiled)
    {
        private volatile bool _done;

        public List<Grouped> Batches { get; } = [];

        /// <summary>After all of them.</summary>
        public DesiredState State { get; private set; } = state;

        public CompiledState Compiled { get; private set; } = compiled;

        /// <summary>Resources that they name.</summary>
        public int Size { get; private set; }

        public bool IsDone => _done;

        /// <summary>Why they could not be saved.</summary>
        public Exception? Error { get; private set; }

        public void Add(Grouped one)
        {
            Batches.Add(one);
            Size += one.Batch.Size;
            (State, Compiled) = (one.Change?.After ?? State, one.Wanted?.After ?? Compiled);
        }

        /// <summary>Begins to save them, and calls <paramref name="done"/> when that is done.</summary>
        public void Save(IStateStore store, Action done)
        {
            StateChange[] changes = [.. Batches.Select(b => b.Change).OfType<StateChange>()];
            if (changes.Length == 0)
            {
                _done = true;
                return;
            }
            Task.Run(() =>
            {
                try
                {
                    store.Save(changes);
                }
                catch (Exception e)
                {
                    Error = e;
                }
                _done = true;
                done();
            });
        }
    }

    /// <summary>Checks a batch, and makes it visible to packets behind those of its group.</summary>
    private void Show(WaitingBatch waiting, Group group)
    {
        try
        {
            PlannedBatch plan = BatchPlanner.Plan(group.State, waiting.Batch, _limits);
            if (!plan.HasEffect)
            {
                group.Add(new Grouped(waiting, plan, null, null, null));
                return;
            }
            CheckOwners(group.State, plan);
            StateChange change = plan.From(group.State);
            CompiledChange wanted = StateCompiler.Compile(change, group.Compiled, everything: false, _store.Node);
            try
            {
                _tables.Commit(wanted);
            }
            catch (Exception e)
            {
                Hide(change, wanted);
                throw Explain(e, null);
            }
            group.Add(new Grouped(waiting, plan, change, wanted, null));
        }
        catch (Exception e)
        {
            group.Add(new Grouped(waiting, null, null, null, e));
        }
    }

    /// <summary>Publishes and answers what is durable.</summary>
    private void Answer(Group group)
    {
        foreach (Grouped one in group.Batches)
        {
            if (one.Refusal is { } refusal)
            {
                one.Batch.Fail(refusal);
            }
            else if (one.Wanted is not { } wanted)
            {
                one.Batch.Succeed(new CommitResult(one.Plan!.Changes, _state));
            }
            else
            {
                _compiled = wanted.After;
                RouteHost(wanted.HostRoutes);
                one.Batch.Succeed(Publish(one.Plan!));
            }
        }
    }

    /// <summary>Takes batches that were not saved back from the tables, the last one first, and gives each a turn of its own.</summary>
    private void GoOneByOne(List<Grouped> unsaved)
    {
        _storeTakes = false;
        foreach (Grouped one in Enumerable.Reverse(unsaved))
        {
            if (one.Wanted is { } wanted)
            {
                Hide(one.Change!, wanted);
            }
        }
        foreach (Grouped one in unsaved)
        {
            one.Batch.Reset();
            CommitAlone(one.Batch);
        }
    }

    /// <summary>Brings the tables back to what they were before a change.</summary>
    private void Hide(StateChange change, CompiledChange wanted)
    {
        try
        {
            _tables.Commit(StateCompiler.Compile(change.Reversed, wanted.After, everything: false, _store.Node));
        }
        catch (Exception e)
        {
            _tablesKnown = false;
            LogUndoFailed(e.Message);
        }
    }
}
