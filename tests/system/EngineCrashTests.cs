using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The engine dies: another one is on the same segment at once, and has forgotten nothing.</summary>
public sealed class EngineCrashTests : IDisposable
{
    private const string Silent = "02:00:00:00:08:01", Static = "02:00:00:00:08:02", Dropped = "02:00:00:00:08:03";

    private readonly Switch _switch = Switch.Started();
    private readonly Lan _lan;

    public EngineCrashTests()
    {
        _lan = new Lan(_switch, "lan", 52);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b");
    }

    /// <summary>What is lost is lost while no engine runs: one piece, and nothing once the next one has its ports.</summary>
    [Fact]
    public void ForwardingIsInterruptedOnceAndBackWithTheNextEngine()
    {
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["b"].Address, "0.01");
        ping.WaitForMore(20);
        Kill();
        _switch.Shows("the engine was started again, and has its ports", "events");
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        ping.WaitForMore(100);
        IReadOnlyList<int> lost = ping.End();
        Assert.Equal(Enumerable.Range(lost.FirstOrDefault(), lost.Count), lost);
    }

    [Fact]
    public void TheMacTableIsIntact()
    {
        _switch.Do("mac", "add", Static, "--network", _lan.Name, "--port", _lan["b"].Port);
        _switch.Do("mac", "drop", Dropped, "--network", _lan.Name);
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        using RawSocket b = _lan["b"].OpenRaw();
        b.Send(Frame.Of(Frame.Broadcast, Silent));
        Until.True(() => Entry(Silent)?.AgeSeconds >= 2, "the silent address is known, and 2 s old");
        string[] before = Table();
        ulong received = _switch.Api.Counters(_lan["b"].Port).RxPackets, aged = _switch.Api.NetworkStatus(_lan.Name).Aged;

        Kill();

        string[] after = Table();
        Assert.Equal(before, before.Intersect(after));
        Assert.Equal(5, after.Count(e => !e.Contains(_lan["host"].Mac, StringComparison.Ordinal)));
        // Its age goes on from where it was: had it been learned anew, it would be younger.
        Assert.InRange(Entry(Silent)!.AgeSeconds, 2u, 300u);
        uint age = Entry(Silent)!.AgeSeconds;
        Until.True(() => Entry(Silent)!.AgeSeconds > age, "it grows older");
        Assert.Equal(aged, _switch.Api.NetworkStatus(_lan.Name).Aged);
        Assert.True(_switch.Api.Counters(_lan["b"].Port).RxPackets >= received, "counters go on too");

        // And it is used: a frame to the silent address goes to one port, not to all.
        using RawSocket a = _lan["a"].OpenRaw();
        using Recording atB = _lan["b"].Record(), atHost = _lan["host"].Record();
        a.Send(Frame.Of(Silent, _lan["a"].Mac, 1));
        a.Send(Frame.Of(Dropped, _lan["a"].Mac, 2));
        a.Send(Frame.Of(Frame.Broadcast, _lan["a"].Mac, 3));
        atB.WaitFor(Frame.Of(Silent, _lan["a"].Mac, 1));
        atHost.WaitFor(Frame.Of(Frame.Broadcast, _lan["a"].Mac, 3));
        Assert.Equal([3u], atHost.Frames.Where(f => Frame.IsOurs(f, out _)).Select(f => Frame.IsOurs(f, out uint number) ? number : 0));
        Accounts.Balance(_switch);
    }

    /// <summary>No device disappears from a container; the API goes on; what happened is told.</summary>
    [Fact]
    public void EverythingElseStays()
    {
        EngineStatus before = _switch.Api.Status;
        string device = _lan["a"].Namespace.Do("cat", "/sys/class/net/eth0/ifindex");
        Kill();

        EngineStatus after = _switch.Api.Status;
        Assert.Equal((before.ControlPid, before.EngineStarts + 1), (after.ControlPid, after.EngineStarts));
        Assert.Equal(device, _lan["a"].Namespace.Do("cat", "/sys/class/net/eth0/ifindex"));
        Until.True(() => _lan.Stations.All(s => _switch.Api.PortStatus(s.Port).State == PortStatus.Types.State.Up), "all ports are up");
        Assert.All(_lan.Stations, s => Assert.Equal(0u, _switch.Api.PortStatus(s.Port).Recoveries));
        _switch.Shows($"the engine (pid {before.EnginePid}) ended unexpectedly", "events");
        _switch.Shows("the engine was started again", "events");
        _lan.AddContainers("", "new");
        Ping.Reaches(_lan["new"], _lan["a"].Address);
    }

    /// <summary>The control process, killed too, finds the segment on which no engine runs, and starts one.</summary>
    [Fact]
    public void BothDie()
    {
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        string[] before = Table();
        int engine = _switch.EnginePid;
        _switch.Stop(LinuxProcess.SIGKILL);
        LinuxProcess.Kill(engine, LinuxProcess.SIGKILL);
        Until.True(() => !File.Exists($"/proc/{engine}/exe"), "the engine has ended");
        Assert.DoesNotContain("eth0", _lan["a"].Namespace.Do("ip", "-o", "link"), StringComparison.Ordinal);

        _switch.Start();
        foreach (Station station in _lan.Stations)
        {
            _switch.WaitFor(station.Port, PortStatus.Types.State.Up);
        }
        Assert.Equal(before, before.Intersect(Table()));
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        Ping.Reaches(_lan["host"], _lan["a"].Address);
    }

    public void Dispose() => _switch.Dispose();

    /// <summary>Kills the engine and waits for the next one.</summary>
    private void Kill()
    {
        uint pid = _switch.Api.Status.EnginePid;
        LinuxProcess.Kill((int)pid, LinuxProcess.SIGKILL);
        Until.True(
            () => _switch.Api.Status is { State: EngineStatus.Types.State.Running } status && status.EnginePid != pid,
            "another engine runs", () => _switch.Log);
    }

    private MacEntry? Entry(string mac) => _switch.Api.Macs(_lan.Name, mac).FirstOrDefault();

    /// <summary>All entries, without their age.</summary>
    private string[] Table() => [.. _switch.Api.Macs(_lan.Name).Select(e => $"{e.Mac} {e.Port} {e.IsStatic} {e.Drop}").Order(StringComparer.Ordinal)];
}
