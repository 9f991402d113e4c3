using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>Batches that wait while another one is saved are saved together, and are what each would have been by itself.</summary>
public sealed class GroupCommitTests : IDisposable
{
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

    [Fact]
    public async Task OneThatIsWithdrawnWhileItWaitsIsNotMade()
    {
        using var cancel = new CancellationTokenSource();
        Task first = Begun(), second = _bench.Controller.CommitAsync(Macs(3), dryRun: false, cancel.Token), third = Commit(Macs(2, 4));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        _disk.Set();
        await Task.WhenAll(first, third);
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
