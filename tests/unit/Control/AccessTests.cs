using Dataplane.Control.Api;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Interop.Linux;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Reflection.V1Alpha;

namespace Dataplane.UnitTests.Control;

/// <summary>Which calls need which role, who has which on the unix socket, and how much of the daemon a caller gets.</summary>
public sealed class AccessTests
{
    private static readonly IEnumerable<MethodDescriptor> Methods = new[] { DataplaneReflection.Descriptor, HealthReflection.Descriptor, ReflectionReflection.Descriptor }
        .SelectMany(f => f.Services).SelectMany(s => s.Methods);

    [Fact]
    public void EveryCallHasARule()
    {
        Assert.Equal(
            Methods.Select(m => $"{Path(m)} {(m.IsClientStreaming || m.IsServerStreaming ? "streams" : "")}").Order(StringComparer.Ordinal),
            MethodRules.All.Select(r => $"{r.Key} {(r.Value.Streams ? "streams" : "")}").Order(StringComparer.Ordinal));
        Assert.Equal(Role.ReadWrite, MethodRules.Of("/dataplane.v1.Resources/Unknown").Needs);
    }

    [Fact]
    public void WhatChangesAnythingOrShowsPacketsNeedsReadWrite() => Assert.Equal(
        [
            "/dataplane.v1.Admin/AssignQueue", "/dataplane.v1.Admin/EnablePort", "/dataplane.v1.Admin/Stop", "/dataplane.v1.Inspection/Capture", "/dataplane.v1.Inspection/Trace",
            "/dataplane.v1.Mac/Flush", "/dataplane.v1.Resources/Apply", "/dataplane.v1.Resources/Delete", "/dataplane.v1.Resources/Push",
        ],
        MethodRules.All.Where(r => r.Value.Needs == Role.ReadWrite).Select(r => r.Key).Order(StringComparer.Ordinal));

    public static TheoryData<string, uint, uint, uint[], uint?, Role> Peers { get; } = new()
    {
        { "root", 0, 0, [], null, Role.ReadWrite },
        { "the daemon's own user", LinuxProcess.EffectiveUserId, 77, [], null, Role.ReadWrite },
        { "somebody", 64_001, 64_001, [], null, Role.None },
        { "somebody in groups that do not count", 64_001, 64_002, [64_003, 0], 64_004, Role.None },
        { "somebody whose group it is", 64_001, 64_004, [], 64_004, Role.ReadWrite },
        { "somebody who is also in the group", 64_001, 64_001, [64_003, 64_004], 64_004, Role.ReadWrite },
        { "somebody in a group when none is given", 64_001, 0, [0, 64_004], null, Role.None },
    };

    [Theory]
    [MemberData(nameof(Peers))]
    public void OnTheSocketItIs(string who, uint user, uint group, uint[] groups, uint? welcome, Role role)
    {
        Caller caller = SocketCaller.Of(new PeerCredentials(4711, user, group), welcome, () => groups);
        Assert.True(caller.Role == role, $"{who}: {caller}");
        Assert.Equal(role == Role.None, caller.Why.Contains($"user {user} is neither root nor", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TooManyChangesAreRefusedWithATimeToComeBack()
    {
        await using ServedApi api = await ServedApi.StartAsync(access: new ApiAccess { Limits = new CallLimits { ChangesPerSecond = 10, ChangesAtOnce = 3 } });
        // All at once: one after the other they might come no faster than they may.
        Task<ApplyResponse>[] calls = [.. Enumerable.Range(0, 100).Select(i => ApplyAsync(api, Make.Net($"n{i}")))];
        await Task.WhenAll(calls).ContinueWith(_ => { }, TaskScheduler.Default);
        Assert.Contains(calls, c => c.IsCompletedSuccessfully);
        RpcException refused = calls.Where(c => c.IsFaulted).Select(c => Assert.IsType<RpcException>(c.Exception!.InnerException)).First();
        Assert.Equal(StatusCode.ResourceExhausted, refused.StatusCode);
        Problem problem = Assert.Single(Errors.Problems(refused));
        Assert.Matches("^user [0-9]+, process [0-9]+ makes more than 10 changing calls per second$", problem.Message);
        Assert.Matches("try again in [0-9]+ ms", problem.Fix);
        Assert.True(int.Parse(refused.Trailers.GetValue("grpc-retry-pushback-ms")!, null) > 0);
        // Reading costs nothing of this, and a stream of batches waits instead of failing.
        await api.Resources.ListAsync(new ListRequest { Kind = Kind.Network });
        var watch = System.Diagnostics.Stopwatch.StartNew();
        using AsyncDuplexStreamingCall<PushRequest, PushResponse> push = api.Resources.Push(deadline: DateTime.UtcNow.AddMinutes(1));
        for (ulong i = 0; i < 10; i++)
        {
            await push.RequestStream.WriteAsync(new PushRequest { Sequence = i, Resources = { Make.Net($"m{i}") } });
        }
        await push.RequestStream.CompleteAsync();
        ulong answers = 0;
        await foreach (PushResponse answer in push.ResponseStream.ReadAllAsync())
        {
            Assert.True(answer.Refusal is null && answer.Sequence == answers++, $"{answer}");
        }
        Assert.Equal(10ul, answers);
        Assert.True(watch.Elapsed > TimeSpan.FromMilliseconds(500), $"10 changes at 10 per second took {watch.Elapsed}");
    }

    [Fact]
    public async Task TooManyStreamsAreRefusedUntilOneEnds()
    {
        await using ServedApi api = await ServedApi.StartAsync(access: new ApiAccess { Limits = new CallLimits { Streams = 2 } });
        using AsyncServerStreamingCall<WatchEvent> one = await WatchAsync(api), two = await WatchAsync(api);
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => WatchAsync(api));
        Assert.Equal(StatusCode.ResourceExhausted, refused.StatusCode);
        Assert.Contains("has 2 streams open; end one first", refused.Status.Detail, StringComparison.Ordinal);
        one.Dispose();
        for (int i = 0; ; i++)
        {
            try
            {
                (await WatchAsync(api)).Dispose();
                break;
            }
            catch (RpcException) when (i < 1500)
            {
                await Task.Delay(20);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ARequestThatIsTooLargeIsToldHowLargeItMayBe(bool push)
    {
        await using ServedApi api = await ServedApi.StartAsync();
        Resource large = Make.Net(new string('x', CallLimits.LargestMessage));
        RpcException refused = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            if (!push)
            {
                await ApplyAsync(api, large);
                return;
            }
            using AsyncDuplexStreamingCall<PushRequest, PushResponse> call = api.Resources.Push();
            try
            {
                await call.RequestStream.WriteAsync(new PushRequest { Resources = { large } });
            }
            catch (RpcException)
            {
                // The answer came while it was being sent.
            }
            await call.ResponseStream.MoveNext(CancellationToken.None);
        });
        Assert.Equal(StatusCode.ResourceExhausted, refused.StatusCode);
        Assert.Equal("the request is larger than 16 MiB; make smaller batches, or send them with Resources.Push", refused.Status.Detail);
    }

    /// <summary>Any number of MiB go through one stream, as long as each message is small enough.</summary>
    [Fact]
    public async Task AStreamMayBeLargerThanAMessage()
    {
        await using ServedApi api = await ServedApi.StartAsync();
        using AsyncDuplexStreamingCall<PushRequest, PushResponse> call = api.Resources.Push(deadline: DateTime.UtcNow.AddMinutes(1));
        for (ulong i = 0; i < 10; i++)
        {
            await call.RequestStream.WriteAsync(new PushRequest
            {
                Sequence = i,
                Delete = { new ResourceKey { Kind = Kind.Port, Name = new string('x', 8 << 20) } },
                IgnoreMissing = true,
            });
            Assert.True(await call.ResponseStream.MoveNext(CancellationToken.None));
            Assert.Equal(new PushResponse { Sequence = i }, call.ResponseStream.Current);
        }
    }

    [Fact]
    public async Task AChangeWhoseDeadlinePassesBeforeItsTurnIsNotMade()
    {
        using var store = new SlowStore();
        var log = new KeptLog();
        await using ServedApi api = await ServedApi.StartAsync(store, logging: log);
        Task<ApplyResponse> first = ApplyAsync(api, Make.Net("first"));
        await store.Begun.Task.WaitAsync(TimeSpan.FromSeconds(10));
        RpcException late = await Assert.ThrowsAsync<RpcException>(
            () => api.Resources.ApplyAsync(new ApplyRequest { Resources = { Make.Net("late") } }, deadline: DateTime.UtcNow.AddMilliseconds(300)).ResponseAsync);
        Assert.Equal(StatusCode.DeadlineExceeded, late.StatusCode);
        // The client's clock ended the call; the server's own must have too, before there is a turn to be had.
        Assert.True(SpinWait.SpinUntil(() => log.Lines.Any(IsEndOfCall), TimeSpan.FromSeconds(30)), string.Join('\n', log.Lines));
        store.GoOn.Set();
        await first;
        await ApplyAsync(api, Make.Net("next"));
        Assert.Equal(["first", "next"], api.Bench.Controller.State.Networks.Keys);

        static bool IsEndOfCall(string line) => line.StartsWith("Request finished", StringComparison.Ordinal);
    }

    private static string Path(MethodDescriptor method) => $"/{method.Service.FullName}/{method.Name}";

    private static Task<ApplyResponse> ApplyAsync(ServedApi api, Resource resource) =>
        api.Resources.ApplyAsync(new ApplyRequest { Resources = { resource } }).ResponseAsync;

    private static async Task<AsyncServerStreamingCall<WatchEvent>> WatchAsync(ServedApi api)
    {
        AsyncServerStreamingCall<WatchEvent> call = api.Resources.Watch(new WatchRequest());
        await call.ResponseStream.MoveNext(CancellationToken.None);
        return call;
    }

    /// <summary>A disk that takes its time.</summary>
    private sealed class SlowStore : IStateStore
    {
        public TaskCompletionSource Begun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public ManualResetEventSlim GoOn { get; } = new();

        public string Location => "a slow disk";

        public DesiredState Load() => DesiredState.Empty;

        public void Save(StateChange change)
        {
            Begun.TrySetResult();
            GoOn.Wait();
        }

        public void Dispose() => GoOn.Dispose();
    }
}
