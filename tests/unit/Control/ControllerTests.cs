using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Tables;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>Batches as a whole, take-over, and lost devices, over an engine and a kernel of cardboard.</summary>
public sealed class ControllerTests : IDisposable
{
    private readonly Bench _bench = new();

    public void Dispose() => _bench.Dispose();

    private static Resource Blue { get; } = Make.Net("blue", "172.18.0.0/16", "172.18.0.1");

    private static Resource Web { get; } = Make.Tap("web", "blue", "172.18.0.2/16", "web");

    [Fact]
    public async Task APortIsMadeAttachedCommittedAndConnected()
    {
        await _bench.Apply(Blue, Web);
        Assert.Equal("tap:eth0", _bench.Engine.Ports[1].Spec);
        FakeDevice device = _bench.Devices.Existing["web/eth0"];
        Assert.True(device.Connected);
        Assert.Equal(device.Fds, _bench.Engine.Descriptors[1]);
        Assert.Equal(PortFlags.Default, _bench.RecordOf("web").Flags);
        PortStatus status = _bench.StatusOf("web");
        Assert.Equal((PortStatus.Types.State.Up, "", 1u, 7u, "eth0", 1500u), (status.State, status.Reason, status.Index, status.Ifindex, status.Device, status.Mtu));
        Assert.Equal(["172.18.0.2/16"], status.Addresses);
        Assert.Equal(1ul, _bench.Store.Load().Revision);
    }

    [Fact]
    public async Task APortIsTakenDownAfterTheCommit()
    {
        await _bench.Apply(Blue, Web);
        await _bench.Delete((Kind.Port, "web"), (Kind.Network, "blue"));
        Assert.Equal(["attach web", "detach web"], _bench.Engine.Log);
        Assert.Empty(_bench.Devices.Existing);
        Assert.Equal(PortFlags.None, _bench.Segment.Port(1, _bench.Segment.Generation).Flags);
    }

    [Fact]
    public async Task ADryRunChangesNothing()
    {
        var result = await _bench.Apply(dryRun: true, Blue, Web);
        Assert.Equal(2, result.Changes.Count);
        AssertUntouched();
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => _bench.Apply(dryRun: true, Blue, Make.Tap("x", "blue", "", "nowhere")));
        Assert.Equal("port \"x\": network namespace \"nowhere\" does not exist", error.Message);
    }

    [Fact]
    public async Task TheKernelsObjectionsComeAllAtOnce()
    {
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() =>
            _bench.Apply(Blue, Make.Tap("a", "blue", "", "nowhere"), Web, Make.Tap("b", "blue", "", "elsewhere")));
        Assert.Equal(StatusCode.FailedPrecondition, error.Code);
        Assert.Equal(["a", "b"], error.Problems.Select(p => p.Name));
        Assert.All(error.Problems, p => Assert.Equal("tap.netns", p.Field));
        AssertUntouched();
    }

    public static TheoryData<string, Action<Bench_>, StatusCode, string> Failures { get; } = new()
    {
        { "the last device", b => b.Devices.Fails.Add("third"), StatusCode.FailedPrecondition, "port \"third\": device \"third\": no room; make room" },
        { "the last attachment", b => b.Engine.Refuses.Add("third"), StatusCode.FailedPrecondition, "port \"third\": no device for third" },
        { "the disk", b => ((FakeStore)b.Store).Fails = true, StatusCode.Internal, "no space left on device" },
        { "the engine", b => b.Engine.WhyUnavailable = "the engine is away", StatusCode.Unavailable, "the engine is away; try again in a moment" },
    };

    /// <summary>The bench under a name that a public test can show.</summary>
    public sealed class Bench_
    {
        internal Bench_(Bench bench)
        {
            Engine = bench.Engine;
            Devices = bench.Devices;
            Store = bench.Store;
        }

        internal FakeEngine Engine { get; }
        internal FakeDevices Devices { get; }
        internal IStateStore Store { get; }
    }

    [Theory]
    [MemberData(nameof(Failures))]
    public async Task ABatchThatFailsAtTheEndLeavesNothing(string what, Action<Bench_> breakIt, StatusCode code, string message)
    {
        breakIt(new Bench_(_bench));
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => _bench.Apply(Blue, Web, Make.Memory("second", "blue"), Make.Tap("third", "blue")));
        Assert.NotEmpty(what);
        Assert.Equal((code, message), (error.Code, error.Message));
        AssertUntouched();
    }

    [Fact]
    public async Task AChangeThatFailsIsTakenBack()
    {
        await _bench.Apply(Blue, Web, Make.Tap("db", "blue", "172.18.0.3/16", "db"));
        ulong generation = _bench.Segment.Generation;
        _bench.Devices.Fails.Add("third");
        await Assert.ThrowsAsync<ProblemException>(() => _bench.Apply(
            Make.Tap("db", "blue", "172.18.0.9/16", "db"),        // other settings of the same device
            Make.Tap("web", "blue", "172.18.0.2/16"),             // another device at the same index
            Make.Tap("third", "blue")));
        Assert.Equal(["172.18.0.3/16"], _bench.Devices.Existing["db/eth0"].Spec.Addresses.Select(a => a.ToString()));
        Assert.Equal(["db/eth0", "web/eth0"], _bench.Devices.Existing.Keys.Order());
        Assert.Equal("tap:eth0", _bench.Engine.Ports[1].Spec);
        Assert.Equal(2, _bench.Engine.Ports.Count);
        Assert.Equal(generation, _bench.Segment.Generation);
        Assert.Equal(1ul, _bench.Controller.State.Revision);
        Assert.Equal(PortStatus.Types.State.Up, _bench.StatusOf("web").State);
    }

    [Fact]
    public async Task ADeviceCanBeReplacedAndASettingChanged()
    {
        await _bench.Apply(Blue, Web);
        FakeDevice first = _bench.Devices.Existing["web/eth0"];
        await _bench.Apply(Make.Tap("web", "blue", "172.18.0.7/16", "web"));
        Assert.Same(first, _bench.Devices.Existing["web/eth0"]);
        Assert.Equal("172.18.0.7/16", first.Spec.Addresses[0].ToString());
        await _bench.Apply(Make.Tap("web", "blue", "172.18.0.7/16", "db"));
        Assert.Equal(["db/eth0"], _bench.Devices.Existing.Keys);
        Assert.Equal(["attach web", "detach web", "attach web"], _bench.Engine.Log);
        Assert.True(_bench.Devices.Existing["db/eth0"].Connected);
    }

    [Fact]
    public async Task ANetworksChangeReachesItsPorts()
    {
        await _bench.Apply(Blue, Web, Make.Tap("dp0", "blue", more: p => p.Tap.Host = true));
        await _bench.Apply(Make.Net("blue", "172.18.0.0/16", "172.18.0.254", n => n.Mtu = 9000));
        Assert.Equal(9000, _bench.Devices.Existing["web/eth0"].Spec.Mtu);
        Assert.Equal("172.18.0.254/16", _bench.Devices.Existing["/dp0"].Spec.Addresses[0].ToString());
        Assert.Equal(9000, _bench.RecordOf("dp0").Mtu);
    }

    [Fact]
    public async Task ANewControlProcessTakesOverWithoutTouchingAnything()
    {
        await _bench.Apply(Blue, Web, Make.Memory("m", "blue"));
        ulong generation = _bench.Segment.Generation;
        _bench.Engine.Log.Clear();
        _bench.Devices.Log.Clear();

        _bench.Controller = _bench.NewController(); // the one before was killed: it closed nothing
        await _bench.Controller.ResumeAsync(CancellationToken.None);
        Assert.Empty(_bench.Engine.Log);
        Assert.Empty(_bench.Devices.Log);
        Assert.Equal(generation, _bench.Segment.Generation);
        Assert.Equal(PortStatus.Types.State.Up, _bench.StatusOf("web").State);
        await _bench.Delete((Kind.Port, "web"));
        Assert.Empty(_bench.Devices.Existing);
    }

    [Fact]
    public async Task ANewControlProcessRepairsOnlyWhatDiffers()
    {
        await _bench.Apply(Blue, Web, Make.Memory("m", "blue"), Make.Tap("db", "blue", "", "db"));
        _bench.Engine.Detach(_bench.Controller.State.Ports["m"].Index);
        _bench.Engine.Ports.Add(9, new(9, "stranger", "memory:stranger", [0]));
        _bench.Devices.Existing.Remove("db/eth0");
        var writer = new SegmentWriter(_bench.Segment);
        writer.Begin();
        writer.SetPort(1, default);
        writer.Commit();
        _bench.Engine.Log.Clear();

        _bench.Controller = _bench.NewController();
        await _bench.Controller.ResumeAsync(CancellationToken.None);
        Assert.Equal(["attach db", "attach m", "detach db", "detach stranger"], _bench.Engine.Log.Order());
        Assert.Equal(PortFlags.Default, _bench.RecordOf("web").Flags);
        Assert.All(new[] { "web", "m", "db" }, p => Assert.Equal(PortStatus.Types.State.Up, _bench.StatusOf(p).State));
    }

    [Fact]
    public async Task ARestartedEngineGetsEveryPortAgain()
    {
        await _bench.Apply(Blue, Web, Make.Memory("m", "blue"));
        FakeDevice device = _bench.Devices.Existing["web/eth0"];
        _bench.Engine.WhyUnavailable = "the engine ended";
        Assert.Equal((PortStatus.Types.State.Down, "the engine ended"), (_bench.StatusOf("web").State, _bench.StatusOf("web").Reason));
        await _bench.Controller.TickAsync(CancellationToken.None);
        _bench.Engine.Ports.Clear();
        _bench.Engine.Descriptors.Clear();
        _bench.Engine.WhyUnavailable = null;
        await _bench.Controller.ReattachAsync(CancellationToken.None);
        Assert.Equal(2, _bench.Engine.Ports.Count);
        Assert.Equal(device.Fds, _bench.Engine.Descriptors[1]);
        Assert.Equal(PortStatus.Types.State.Up, _bench.StatusOf("web").State);
    }

    [Fact]
    public async Task ALostDeviceIsReportedAndMadeAgainWithPatience()
    {
        await _bench.Apply(Blue, Web);
        _bench.Segment.Macs.Learn(MacTable.Key(1, 0x02), 1, 1, allowNew: true, out _);
        FakeDevice device = _bench.Devices.Existing["web/eth0"];
        device.Lost = "network namespace \"web\" is gone";
        _bench.Devices.Namespaces.Remove("web");

        await _bench.Controller.TickAsync(CancellationToken.None);
        PortStatus status = _bench.StatusOf("web");
        Assert.Equal((PortStatus.Types.State.Lost, "network namespace \"web\" does not exist"), (status.State, status.Reason));
        Assert.Empty(_bench.Devices.Existing);
        Assert.Empty(_bench.Segment.Macs.List());
        Assert.Equal([Event.Types.Type.PortLost], _bench.Controller.Events.Recent().Select(e => e.Type));

        _bench.Devices.Namespaces.Add("web");
        await _bench.Controller.TickAsync(CancellationToken.None); // not yet: it failed a moment ago
        Assert.Equal(PortStatus.Types.State.Lost, _bench.StatusOf("web").State);
        _bench.Clock.Advance(TimeSpan.FromSeconds(1));
        await _bench.Controller.TickAsync(CancellationToken.None);
        status = _bench.StatusOf("web");
        Assert.Equal((PortStatus.Types.State.Up, 1u), (status.State, status.Recoveries));
        Assert.True(_bench.Devices.Existing["web/eth0"].Connected);
        Assert.Equal(Event.Types.Type.PortRecovered, _bench.Controller.Events.Recent()[^1].Type);
    }

    [Fact]
    public async Task ADeletedDeviceIsMadeAgainAtOnce()
    {
        await _bench.Apply(Blue, Web);
        _bench.Devices.Existing["web/eth0"].Lost = "device \"eth0\" was deleted";
        await _bench.Controller.TickAsync(CancellationToken.None);
        Assert.Equal(PortStatus.Types.State.Up, _bench.StatusOf("web").State);
        Assert.Equal(1u, _bench.StatusOf("web").Recoveries);
    }

    [Fact]
    public async Task AnErrDisabledPortIsEnabledByTheOperator()
    {
        await _bench.Apply(Blue, Make.Memory("m", "blue", p => p.BpduGuard = true));
        SetState(1, PortState.ErrDisabled);
        Assert.Equal(PortStatus.Types.State.ErrDisabled, _bench.StatusOf("m").State);
        Port enabled = await _bench.Controller.EnablePortAsync("m", CancellationToken.None);
        Assert.Equal(PortStatus.Types.State.Up, enabled.Status.State);
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => _bench.Controller.EnablePortAsync("x", CancellationToken.None));
        Assert.Equal(StatusCode.NotFound, error.Code);
    }

    [Fact]
    public async Task AQueueGoesToAnotherWorker()
    {
        await _bench.Apply(Blue, Make.Memory("m", "blue"), Make.Memory("n", "blue"));
        Assert.Equal("m 0 1", Text(await _bench.Controller.AssignQueueAsync("m", 0, 1, CancellationToken.None)));
        Assert.Equal("m 0 1, n 0 0", Text(await _bench.Controller.QueuesAsync([], CancellationToken.None)));
        Assert.Equal("n 0 0", Text(await _bench.Controller.QueuesAsync(["n"], CancellationToken.None)));
        Assert.Equal(StatusCode.NotFound, (await Refused("x", 0, 1)).Code);
        ProblemException refused = await Refused("m", 1, 0);
        Assert.Equal((StatusCode.FailedPrecondition, "no queue 1 or no worker 0"), (refused.Code, refused.Message));
        _bench.Engine.WhyUnavailable = "the engine is not running";
        Assert.Equal(StatusCode.Unavailable, (await Refused("m", 0, 0)).Code);

        Task<ProblemException> Refused(string port, uint queue, uint worker) =>
            Assert.ThrowsAsync<ProblemException>(() => _bench.Controller.AssignQueueAsync(port, queue, worker, CancellationToken.None));
        static string Text(QueueList list) => string.Join(", ", list.Queues.Select(q => $"{q.Port} {q.Queue_} {q.Worker}"));
    }

    [Fact]
    public async Task ABlockDoesNotOutliveItsPort()
    {
        await _bench.Apply(Blue, Make.Memory("m", "blue"));
        SetState(1, PortState.ErrDisabled);
        _bench.Engine.KeepsErrDisabled = true;
        await _bench.Delete((Kind.Port, "m"));
        await _bench.Apply(Make.Memory("n", "blue"));
        Assert.Equal((1u, PortStatus.Types.State.Up), (_bench.StatusOf("n").Index, _bench.StatusOf("n").State));
    }

    [Fact]
    public async Task StatusSaysDisabled()
    {
        await _bench.Apply(Blue, Make.Memory("m", "blue", p => p.Enabled = false));
        Assert.Equal((PortStatus.Types.State.Down, "disabled by the operator"), (_bench.StatusOf("m").State, _bench.StatusOf("m").Reason));
    }

    [Fact]
    public async Task BatchesThatComeTogetherAreDoneOneByOne()
    {
        await _bench.Apply(Blue);
        await Task.WhenAll(Enumerable.Range(0, 50).Select(i => _bench.Apply(Make.Memory($"m{i}", "blue"))));
        Assert.Equal(50, _bench.Controller.State.Ports.Values.Select(p => p.Index).Distinct().Count());
        Assert.Equal(51ul, _bench.Controller.State.Revision);
        Assert.Equal(50, _bench.Engine.Ports.Count);
    }

    private unsafe void SetState(int index, PortState state) => _bench.Segment.PortRuntime[index].State = state;

    private void AssertUntouched()
    {
        Assert.Empty(_bench.Devices.Existing);
        Assert.Empty(_bench.Engine.Ports);
        Assert.Equal(DesiredState.Empty, _bench.Controller.State);
        Assert.Equal(DesiredState.Empty, _bench.Store.Load());
        Assert.Equal(1ul, _bench.Segment.Generation);
    }
}
