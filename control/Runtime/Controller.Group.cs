using System.Collections.Concurrent;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;

namespace Dataplane.Control.Runtime;

/// <summary>
/// Group commit. What takes longest of a batch is the disk, and it takes as long for many batches as for one. So batches that wait
/// for their turn are saved together: each is checked against the state that those before it lead to, all of them become durable in one
/// transaction, and then each is committed to the tables, as a generation of its own, and answered. A batch that is refused is not
/// among those that are saved; it is answered with them, for what it was checked against must be durable too. While one group is being
/// saved the next one is checked already, against the state that will be.
/// <para>
/// That is for batches of table entries. One that touches devices or records goes by itself, and so does every one when something goes
/// wrong with saving or committing them together: then only those fail that would have failed alone.
/// </para>
/// </summary>
public sealed partial class Controller
{
    /// <summary>Resources that are saved together: some milliseconds of work, which the first of them waits for.</summary>
    private const int LargestGroup = 4_096;

    /// <summary>Groups in one turn. Then others have theirs: who looks after devices, who asks without changing.</summary>
    private const int MostGroups = 16;

    private readonly ConcurrentQueue<WaitingBatch> _waiting = new();

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
        _waiting.Enqueue(waiting);
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
        }
        return await waiting.Result;
    }

    private void CommitWaiting()
    {
        Group? saving = null;
        for (int groups = 0; groups < MostGroups && TakeWaiting() is { Count: > 0 } batches; groups++)
        {
            if (!IsForGroup(batches[0]) || (batches.Count == 1 && saving is null))
            {
                Settle(saving);
                saving = null;
                batches.ForEach(CommitAlone);
                continue;
            }
            Group next = Plan(batches, saving);
            if (!Settle(saving))
            {
                // It was planned for a state that there is not.
                batches.ForEach(b => b.Reset());
                next = Plan(batches, null);
            }
            saving = next;
            saving.Save(_store);
        }
        Settle(saving);
    }

    /// <summary>Whether a batch may be saved with others: its steps are those of tables, and there is nothing to repair.</summary>
    private bool IsForGroup(WaitingBatch batch) => batch.IsEntriesOnly && _tablesKnown && (_engine.WhyUnavailable ?? _store.WhyUnavailable) is null;

    /// <summary>The batches whose turn it is: of entries as many as make a group, of others one. None when nobody waits.</summary>
    private List<WaitingBatch> TakeWaiting()
    {
        var taken = new List<WaitingBatch>();
        int size = 0;
        while (size < LargestGroup && _waiting.TryPeek(out WaitingBatch? next) && (taken.Count == 0 || (taken[0].IsEntriesOnly && next.IsEntriesOnly)))
        {
            _waiting.TryDequeue(out _);
            if (next.TryTake())
            {
                taken.Add(next);
                size += next.Size;
            }
        }
        return taken;
    }

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

    /// <summary>Batches that are saved together.</summary>
    /// <param name="State">After all of them.</param>
    /// <param name="Compiled">The same, compiled.</param>
    private sealed record Group(List<Grouped> Batches, DesiredState State, CompiledState Compiled)
    {
        public Task Saved { get; private set; } = Task.CompletedTask;

        /// <summary>Begins to save them.</summary>
        public void Save(IStateStore store)
        {
            StateChange[] changes = [.. Batches.Select(b => b.Change).OfType<StateChange>()];
            if (changes.Length > 0)
            {
                Saved = Task.Run(() => store.Save(changes));
            }
        }
    }

    /// <summary>Plans batches one behind the other, the first of them behind a group that is being saved.</summary>
    private Group Plan(List<WaitingBatch> batches, Group? behind)
    {
        var group = new List<Grouped>(batches.Count);
        DesiredState state = behind?.State ?? _state;
        CompiledState compiled = behind?.Compiled ?? _compiled;
        foreach (WaitingBatch batch in batches)
        {
            try
            {
                PlannedBatch plan = BatchPlanner.Plan(state, batch.Batch, _limits);
                if (!plan.HasEffect)
                {
                    group.Add(new Grouped(batch, plan, null, null, null));
                    continue;
                }
                CheckOwners(state, plan);
                StateChange change = plan.From(state);
                CompiledChange wanted = StateCompiler.Compile(change, compiled, everything: false, _store.Node);
                group.Add(new Grouped(batch, plan, change, wanted, null));
                (state, compiled) = (plan.After, wanted.After);
            }
            catch (Exception e)
            {
                group.Add(new Grouped(batch, null, null, null, e));
            }
        }
        return new Group(group, state, compiled);
    }

    /// <summary>Waits until a group is saved, and makes it visible. False when its batches had to go one by one.</summary>
    private bool Settle(Group? group)
    {
        if (group is null)
        {
            return true;
        }
        bool saved = false;
        int done = 0;
        try
        {
            group.Saved.GetAwaiter().GetResult();
            saved = true;
            for (; done < group.Batches.Count; done++)
            {
                Finish(group.Batches[done]);
            }
            return true;
        }
        catch (Exception)
        {
            if (saved)
            {
                TakeBack(group.Batches, done);
            }
            // None of these was answered: each has a turn of its own.
            foreach (Grouped one in group.Batches.Skip(done))
            {
                one.Batch.Reset();
                CommitAlone(one.Batch);
            }
            return false;
        }
    }

    private void Finish(Grouped one)
    {
        if (one.Refusal is { } refusal)
        {
            one.Batch.Fail(refusal);
            return;
        }
        if (one.Wanted is not { } wanted)
        {
            one.Batch.Succeed(new CommitResult(one.Plan!.Changes, _state));
            return;
        }
        _tables.Commit(wanted);
        _compiled = wanted.After;
        RouteHost(wanted.HostRoutes);
        one.Batch.Succeed(Publish(one.Plan!));
    }

    /// <summary>Brings store and tables back to the state that is published, when the tables did not take one of the group.</summary>
    private void TakeBack(List<Grouped> group, int failed)
    {
        StateChange[] back = [.. group.Skip(failed).Select(g => g.Change).OfType<StateChange>().Reverse().Select(c => c.Reversed)];
        var undo = new UndoStack();
        undo.Push(() => _store.Save(back));
        undo.Push(() => _tables.Commit(StateCompiler.Compile(back[^1], group[failed].Wanted!.After, everything: false, _store.Node)));
        foreach (Exception failure in undo.Run())
        {
            _tablesKnown = false;
            LogUndoFailed(failure.Message);
        }
    }
}
