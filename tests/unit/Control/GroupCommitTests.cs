using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>Batches that wait while another one is saved are saved together, and are what each would have been by itself.</summary>
public sealed class GroupCommitTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly FakeStore _store = new();
    private readonly Bench _bench;
    private readonly ManualResetEventSlim _disk = new(true), _saving = new();

    public GroupCommitTests()
    {
        _bench = new Bench(_store, new SegmentOptions { MacCapacity = 64 });
        _bench.Apply(Make.Net("n"), Make.Memory("a", "n"), Make.Mac("n", "02:00:00:00:00:01", "a")).Wait();
        _store.Saving = _ => AwaitDisk();
    }

    public void Dispose()
    {
        _bench.Dispose();
        _disk.Dispose();
        _saving.Dispose();
    }

    [Fact]
    public async Task WhatWaitsIsSavedAtOnceAndAnsweredOneByOne()
    {
        Task<CommitResult>[] calls = Together(
            Macs(2), Macs(3, 4), new Batch { Apply = [Make.Mac("nowhere", "02:00:00:00:00:09")] }, Macs(2),
            new Batch { Delete = [new ResourceKey { Kind = Kind.StaticMac, Name = "n/02:00:00:00:00:03" }] }, Macs(5));
        await Settled(calls);
        Assert.Equal([1, 1, 4], _store.Saves);
        Assert.Equal([3ul, 4, null, 4, 5, 6], calls.Skip(1).Select(c => c.IsCompletedSuccessfully ? c.Result.Revision : (ulong?)null));
        // Refused as of the state that those before it made, which is durable.
        ProblemException refused = await Assert.ThrowsAsync<ProblemException>(() => calls[3]);
        Assert.Equal((StatusCode.InvalidArgument, 4ul), (refused.Code, refused.Revision));
        Assert.Equal([1, 2, 0, 1, 1], calls.Skip(1).Where(c => c.IsCompletedSuccessfully).Select(c => c.Result.Changed));
        AssertConsistent("01 02 04 05");
    }

    /// <summary>What touches a device goes by itself, in its turn.</summary>
    [Fact]
    public async Task AMixtureKeepsItsOrder()
    {
        Task<CommitResult>[] calls = Together(
            Macs(2), Macs(3), new Batch { Apply = [Make.Memory("b", "n")] }, new Batch { Apply = [Make.Mac("n", "02:00:00:00:00:04", "b")] }, new Batch { Apply = [Make.Mac("n", "02:00:00:00:00:02", "b")] });
        await Settled(calls);
        Assert.Equal([1, 1, 2, 1, 2], _store.Saves);
        Assert.All(calls, c => Assert.True(c.IsCompletedSuccessfully, $"{c.Exception}"));
        Assert.Equal("b", _bench.Controller.State.StaticMacs["n/02:00:00:00:00:02"].Port);
        AssertConsistent("01 02 03 04");
    }

    [Fact]
    public async Task WhenTheyCannotBeSavedTogetherEachIsByItself()
    {
        _store.Saving = count =>
        {
            AwaitDisk();
            if (count > 1)
            {
                throw new StateStoreException("no space left on device");
            }
        };
        ulong known = _bench.Controller.State.StaticMacs["n/02:00:00:00:00:01"].Revision;
        Resource expecting = Make.Mac("n", "02:00:00:00:00:01"), outdated = Make.Mac("n", "02:00:00:00:00:01", "a");
        (expecting.Revision, outdated.Revision) = (known, known);
        Task<CommitResult>[] calls = Together(Macs(2), new Batch { Apply = [expecting], Owned = true }, new Batch { Apply = [outdated], Owned = true }, Macs(3));
        await Settled(calls);
        Assert.Equal([1, 1, 1, 1, 1], _store.Saves);
        // What was expected of revisions holds still, although they were planned before.
        Assert.Equal(StatusCode.Aborted, (await Assert.ThrowsAsync<ProblemException>(() => calls[3])).Code);
        Assert.Equal(3, calls.Skip(1).Count(c => c.IsCompletedSuccessfully));
        AssertConsistent("01 02 03");
    }

    [Fact]
    public async Task OneThatTheTablesCannotTakeIsRefusedAndTheOthersAreNot()
    {
        Task<CommitResult>[] calls = Together(Macs(2), Macs([.. Enumerable.Range(16, 200)]), Macs(3), Macs(2, 4));
        await Settled(calls);
        ProblemException full = await Assert.ThrowsAsync<ProblemException>(() => calls[2]);
        Assert.Equal(StatusCode.ResourceExhausted, full.Code);
        Assert.Equal([3ul, 4, 5], new[] { calls[1], calls[3], calls[4] }.Select(c => c.Result.Revision));
        AssertConsistent("01 02 03 04");
    }

    /// <summary>Packets do not wait for the disk. Whoever is told of a change, by an answer or by a listing, is told what is durable.</summary>
    [Fact]
    public async Task PacketsMeetItBeforeItIsDurableAndNobodyElseDoes()
    {
        Task<CommitResult>[] calls = [Begun(), Commit(Macs(2)), Commit(Macs(3))];
        Assert.True(SpinWait.SpinUntil(() => IsVisible(3), s_patience));
        Assert.True(IsVisible(0x0f) && IsVisible(2));
        Assert.DoesNotContain(calls, c => c.IsCompleted);
        Assert.Equal((1ul, 1), (_bench.Controller.State.Revision, _store.Saves.Sum()));
        _disk.Set();
        await Task.WhenAll(calls);
        Assert.Equal([1, 1, 2], _store.Saves);
        AssertConsistent("01 02 03");
    }

    /// <summary>Who waits for a quiet moment is told of it, and only then.</summary>
    [Fact]
    public async Task ItIsIdleWhenTheLastOneIsDurable()
    {
        int idle = 0;
        _bench.Controller.Idle += () => Interlocked.Increment(ref idle);
        long before = _bench.Controller.Begun;
        Task<CommitResult>[] calls = [Begun(), Commit(Macs(2)), Commit(Macs(3))];
        Assert.True(SpinWait.SpinUntil(() => IsVisible(3), s_patience));
        Assert.Equal((false, 0, before + 3), (_bench.Controller.IsIdle, Volatile.Read(ref idle), _bench.Controller.Begun));
        _disk.Set();
        await Task.WhenAll(calls);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref idle) > 0, s_patience));
        Assert.True(_bench.Controller.IsIdle);
    }

    /// <summary>Nor is any other batch shown before it is saved until the store takes one.</summary>
    [Fact]
    public async Task WhatCannotBeSavedIsTakenBackAndWithItWhatWasShownBehind()
    {
        bool full = true;
        List<bool> shown = [];
        _store.Saving = _ =>
        {
            shown.Add(IsVisible(2));
            AwaitDisk();
            if (full)
            {
                throw new StateStoreException("no space left on device");
            }
        };
        Task<CommitResult>[] calls = [Begun(), Commit(Macs(2))];
        Assert.True(SpinWait.SpinUntil(() => IsVisible(2), s_patience));
        _disk.Set();
        await Settled(calls);
        Assert.All(calls, c => Assert.IsType<ProblemException>(c.Exception?.InnerException));
        Assert.Equal((false, false, true), (IsVisible(2), IsVisible(0x0f), IsVisible(1)));
        await Settled([Commit(Macs(2))]);
        full = false;
        await Commit(Macs(0x0f));
        await Commit(Macs(2));
        // A group of one, it and what was shown behind it each by itself, one more, and one that is taken: only what comes then is shown before.
        Assert.Equal([false, false, false, false, false, true], shown);
        AssertConsistent("01 02");
    }

    [Fact]
    public async Task OneThatIsWithdrawnWhileItWaitsIsNotMade()
    {
        using var cancel = new CancellationTokenSource();
        // A port is not made before what came first is saved, and whoever comes behind it waits.
        Task first = Begun(), port = Commit(new Batch { Apply = [Make.Memory("b", "n")] });
        Task second = _bench.Controller.CommitAsync(Macs(3), dryRun: false, cancel.Token), third = Commit(Macs(2, 4));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        _disk.Set();
        await Task.WhenAll(first, port, third);
        AssertConsistent("01 02 04");
    }

    /// <summary>Batches that come while one is being saved; that one is the first of the calls.</summary>
    private Task<CommitResult>[] Together(params Batch[] batches)
    {
        Task<CommitResult>[] calls = [Begun(), .. batches.Select(Commit)];
        _disk.Set();
        return calls;
    }

    /// <summary>A batch that is being saved, and is not until the disk goes on.</summary>
    private Task<CommitResult> Begun()
    {
        _disk.Reset();
        _saving.Reset();
        Task<CommitResult> call = Commit(Macs(0x0f));
        _saving.Wait();
        return call;
    }

    private void AwaitDisk()
    {
        _saving.Set();
        _disk.Wait();
    }

    private Task<CommitResult> Commit(Batch batch) => _bench.Controller.CommitAsync(batch, dryRun: false, CancellationToken.None);

    private bool IsVisible(int number) => _bench.Segment.Macs.FindIn(_bench.Segment.Generation, MacTable.Key(1, MacAddress.Parse($"02:00:00:00:00:{number:x2}").Value)) != 0;

    private static Task Settled(Task[] calls) => Task.WhenAll(calls).ContinueWith(_ => { }, TaskScheduler.Default);

    private static Batch Macs(params int[] numbers) => new() { Apply = [.. numbers.Select(i => Make.Mac("n", $"02:00:00:00:00:{i:x2}", "a"))], Owned = true };

    /// <summary>State, store and tables agree.</summary>
    private void AssertConsistent(string macs)
    {
        Assert.Equal(macs.Split(' ').Append("0f").Order(), _bench.Controller.State.StaticMacs.Values.Select(m => m.Mac[^2..]).Order());
        Assert.Same(_store.Saved, _bench.Controller.State);
        Assert.Equal(new TableWriter.Outcome(0, 0, 0), new TableWriter(_bench.Segment).Commit(StateCompiler.Compile(_bench.Controller.State)));
    }
}
