using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Grpc.Core;
using PushCall = Grpc.Core.AsyncDuplexStreamingCall<Dataplane.Control.Api.V1.PushRequest, Dataplane.Control.Api.V1.PushResponse>;

namespace Dataplane.UnitTests.Control;

/// <summary>Bulk updates as a stream: each batch by itself, in order, answered one by one.</summary>
public sealed class PushTests : IAsyncLifetime
{
    private ServedApi _api = null!;

    public async Task InitializeAsync() => _api = await ServedApi.StartAsync();

    public async Task DisposeAsync() => await _api.DisposeAsync();

    [Fact]
    public async Task BatchesAreCommittedAndAnsweredInOrder()
    {
        using PushCall call = Push();
        await SendAsync(call, 7, Make.Net("n"), Make.Memory("a", "n"));
        await SendAsync(call, 9, Make.Mac("n", "02:00:00:00:00:01", "a"));
        await SendAsync(call, 9, Make.Mac("n", "02:00:00:00:00:01", "a"));
        await call.RequestStream.WriteAsync(new PushRequest
        {
            Sequence = 1,
            Resources = { Make.Mac("n", "02:00:00:00:00:02") },
            Delete = { new ResourceKey { Kind = Kind.StaticMac, Name = "n/02:00:00:00:00:01" } },
        });
        await call.RequestStream.CompleteAsync();
        Assert.Equal(
            [Done(7, revision: 1, changed: 2), Done(9, revision: 2, changed: 1), Done(9, revision: 2, changed: 0), Done(1, revision: 3, changed: 2)],
            await ReadAsync(call));
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.Equal(["n/02:00:00:00:00:02"], _api.Bench.Controller.State.StaticMacs.Keys);
        Assert.Equal(["02:00:00:00:00:02"], _api.Bench.Segment.Macs.List().Select(e => new Dataplane.Packets.MacAddress(e.Mac).ToString()));
    }

    [Fact]
    public async Task ARefusedBatchChangesNothingAndTheNextOneHasItsTurn()
    {
        using PushCall call = Push();
        await SendAsync(call, 1, Make.Net("n"));
        await SendAsync(call, 2, Make.Memory("good", "n"), Make.Memory("bad", "nowhere"), Make.Memory("worse!", "n"));
        await SendAsync(call, 3, Make.Memory("a", "n"));
        await call.RequestStream.CompleteAsync();
        List<PushResponse> answers = await ReadAsync(call);
        Assert.Equal([(1ul, 1ul), (2, 1), (3, 2)], answers.Select(a => (a.Sequence, a.Revision)));
        Assert.Equal([null, StatusCode.InvalidArgument, null], answers.Select(a => (StatusCode?)a.Refusal?.Code));
        Assert.Equal([("bad", "network"), ("worse!", "name")], answers[1].Refusal.Problems.Select(p => (p.Name, p.Field)));
        Assert.Equal(["a"], _api.Bench.Controller.State.Ports.Keys);
    }

    [Fact]
    public async Task ACallerCanAskToStopAtAnError()
    {
        using PushCall call = Push();
        await SendAsync(call, 1, Make.Net("n"));
        await call.RequestStream.WriteAsync(new PushRequest { Sequence = 2, StopOnError = true, Resources = { Make.Memory("bad", "nowhere") } });
        await SendAsync(call, 3, Make.Net("m"));
        var answers = new List<PushResponse>();
        RpcException end = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(call, answers));
        Assert.Equal((StatusCode.Aborted, 2), (end.StatusCode, answers.Count));
        Assert.StartsWith("batch 2 was refused: port \"bad\": network \"nowhere\" does not exist", end.Status.Detail, StringComparison.Ordinal);
        Assert.NotNull(answers[1].Refusal);
        Assert.Equal(["n"], _api.Bench.Controller.State.Networks.Keys);
    }

    [Fact]
    public async Task ACallerThatDoesNotReadIsNotReadFrom()
    {
        await _api.Bench.Apply(Make.Net("n"));
        using PushCall call = Push();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        // Each answer is large, each batch small: what stops the caller are the answers that it leaves.
        PushRequest bad = new() { Resources = { Enumerable.Range(0, 500).Select(i => Make.Memory($"p{i}", new string('x', 50))) } };
        int sent = 0;
        Task write;
        do
        {
            Assert.True(++sent < 5000, "nothing held the caller back");
            write = call.RequestStream.WriteAsync(bad, patience.Token);
        }
        while (await Task.WhenAny(write, Task.Delay(TimeSpan.FromSeconds(1), patience.Token)) == write);
        // As soon as it reads, it goes on.
        Task<List<PushResponse>> reading = ReadAsync(call);
        await write;
        await call.RequestStream.CompleteAsync();
        Assert.Equal(sent, (await reading.WaitAsync(patience.Token)).Count);
    }

    [Fact]
    public async Task ADeadlineEndsItAndWhatWasAnsweredStays()
    {
        // What a first call takes, to compile its code, is no matter of the deadline.
        using (PushCall first = Push())
        {
            await first.RequestStream.CompleteAsync();
            Assert.Empty(await ReadAsync(first));
        }
        using PushCall call = _api.Resources.Push(deadline: DateTime.UtcNow.AddSeconds(4));
        await SendAsync(call, 1, Make.Net("n"));
        var answers = new List<PushResponse>();
        RpcException end = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(call, answers));
        Assert.Equal((StatusCode.DeadlineExceeded, 1), (end.StatusCode, answers.Count));
        Assert.Single(_api.Bench.Controller.State.Networks);
    }

    /// <summary>What was committed in small steps is what the whole state compiles to.</summary>
    [Fact]
    public async Task ManyBatchesLeaveTheTablesAsOneWould()
    {
        var random = new Random(4711);
        await _api.Bench.Apply(Make.Net("n"), Make.Net("v", more: n => n.VlanFiltering = true), Make.Memory("a", "n"), Make.Memory("b", "n"), Make.Memory("t", "v"));
        using PushCall call = Push();
        var present = new HashSet<int>();
        for (int batch = 0; batch < 60; batch++)
        {
            var request = new PushRequest { Sequence = (ulong)batch };
            foreach (int i in Enumerable.Range(0, 20).Select(_ => random.Next(200)).Distinct())
            {
                if (random.Next(3) == 0 && present.Remove(i))
                {
                    request.Delete.Add(new ResourceKey { Kind = Kind.StaticMac, Name = ResourceKeys.StaticMacName(Of(i).StaticMac.Network, Of(i).StaticMac.Vlan, Of(i).StaticMac.Mac) });
                }
                else
                {
                    present.Add(i);
                    request.Resources.Add(Of(i, random));
                }
            }
            if (batch == 30)
            {
                request.Resources.Add(Make.Net("n", more: n => n.Mtu = 9000)); // records and entries in one
            }
            await call.RequestStream.WriteAsync(request);
        }
        await call.RequestStream.CompleteAsync();
        Assert.All(await ReadAsync(call), a => Assert.Null(a.Refusal));
        Assert.Equal(present.Count, _api.Bench.Segment.Macs.List().Count);
        AssertTablesAreAsDesired();
    }

    [Fact]
    public async Task ANetworkThatGetsVlansTakesItsEntriesAlong()
    {
        await _api.Bench.Apply(Make.Net("n"), Make.Net("m"), Make.Memory("a", "n"), Make.Mac("n", "02:00:00:00:00:01", "a"), Make.Mac("m", "02:00:00:00:00:01"));
        using PushCall call = Push();
        await call.RequestStream.WriteAsync(new PushRequest
        {
            Resources = { Make.Net("n", more: n => n.VlanFiltering = true), Make.Mac("n", "02:00:00:00:00:02", "a", vlan: 9) },
            Delete = { new ResourceKey { Kind = Kind.StaticMac, Name = "n/02:00:00:00:00:01" } },
        });
        await call.RequestStream.CompleteAsync();
        Assert.Equal([Done(0, revision: 2, changed: 3)], await ReadAsync(call));
        Assert.Equal([2, 4096 + 9], _api.Bench.Segment.Macs.List().Select(e => (int)e.Fid).Order());
        AssertTablesAreAsDesired();
    }

    /// <summary>One who compares everything finds nothing to do.</summary>
    private void AssertTablesAreAsDesired() => Assert.Equal(
        new TableWriter.Outcome(0, 0, 0), new TableWriter(_api.Bench.Segment).Commit(StateCompiler.Compile(_api.Bench.Controller.State)));

    private static Resource Of(int i, Random? random = null)
    {
        string mac = $"02:00:00:00:00:{i:x2}";
        return i % 3 == 0 ? Make.Mac("v", mac, random?.Next(2) == 0 ? "t" : "", vlan: (uint)(1 + (i % 7))) : Make.Mac("n", mac, random?.Next(3) switch { 0 => "a", 1 => "b", _ => "" });
    }

    private PushCall Push() => _api.Resources.Push(deadline: DateTime.UtcNow.AddMinutes(2));

    private static Task SendAsync(PushCall call, ulong sequence, params Resource[] resources) =>
        call.RequestStream.WriteAsync(new PushRequest { Sequence = sequence, Resources = { resources } });

    private static PushResponse Done(ulong sequence, ulong revision, uint changed) => new() { Sequence = sequence, Revision = revision, Changed = changed };

    private static async Task<List<PushResponse>> ReadAsync(PushCall call, List<PushResponse>? into = null)
    {
        into ??= [];
        await foreach (PushResponse answer in call.ResponseStream.ReadAllAsync())
        {
            into.Add(answer);
        }
        return into;
    }
}
