using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The control process may die, end, or be replaced: packets do not notice.</summary>
public sealed class ControlCrashTests : IDisposable
{
    /// <summary>1,000 per second.</summary>
    private const string Interval = "0.001";

    private readonly Switch _switch = Switch.Started();
    private readonly Lan _lan;

    public ControlCrashTests()
    {
        _lan = new Lan(_switch, "lan", 51);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b");
        _switch.Do("mac", "add", "02:00:00:00:07:01", "--network", _lan.Name, "--port", _lan["a"].Port);
    }

    [Fact]
    public void NoPingIsLostWhenItIsKilledAndReplaced()
    {
        EngineStatus before = _switch.Api.Status;
        string[] devices = Devices();
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["b"].Address, Interval);
        ping.WaitForMore(500);

        _switch.Stop(LinuxProcess.SIGKILL);
        ping.WaitForMore(1000);
        _switch.Start();
        ping.WaitForMore(1000);
        Assert.Empty(ping.End());

        // The next one found everything as it is, and says so.
        Assert.Contains($"Engine {before.EnginePid} is running, and taken over", _switch.Log, StringComparison.Ordinal);
        Assert.Contains("Took up 3 ports; 0 records and 0 static MACs had to be changed", _switch.Log, StringComparison.Ordinal);
        EngineStatus after = _switch.Api.Status;
        Assert.NotEqual(before.ControlPid, after.ControlPid);
        Assert.Equal((before.EnginePid, before.EngineStarts, before.Generation, before.Revision), (after.EnginePid, after.EngineStarts, after.Generation, after.Revision));
        Assert.Equal(devices, Devices());
        Accounts.Balance(_switch);
    }

    /// <summary>The new one does not only watch: it changes ports that it has not made, and makes others.</summary>
    [Fact]
    public void TheNextOneIsInCommand()
    {
        _switch.Stop(LinuxProcess.SIGKILL);
        _switch.Start();

        _lan.AddContainers("", "c");
        Ping.Reaches(_lan["c"], _lan["a"].Address);
        _switch.Do("port", "delete", _lan["b"].Port);
        Assert.DoesNotContain("eth0", _lan["b"].Namespace.Do("ip", "-o", "link"), StringComparison.Ordinal);
        _switch.Do("port", "disable", _lan["a"].Port);
        Ping.DoesNotReach(_lan["c"], _lan["a"].Address);
        _switch.Do("port", "enable", _lan["a"].Port);
        Ping.Reaches(_lan["c"], _lan["a"].Address);

        Assert.Equal(0, _switch.Stop(LinuxProcess.SIGTERM).ExitCode);
        Assert.DoesNotContain("eth0", _lan["a"].Namespace.Do("ip", "-o", "link"), StringComparison.Ordinal);
    }

    /// <summary>An upgrade: the daemon is asked to leave the engine alone.</summary>
    [Fact]
    public void NoPingIsLostInAnUpgrade()
    {
        uint engine = _switch.Api.Status.EnginePid;
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["host"].Address, Interval);
        _switch.Do("stop", "--keep-engine");
        ping.WaitForMore(300);
        _switch.Start();
        ping.WaitForMore(300);
        Assert.Empty(ping.End());
        Assert.Equal(engine, _switch.Api.Status.EnginePid);
    }

    public void Dispose() => _switch.Dispose();

    /// <summary>Index and address of each device: what changes when one is made anew.</summary>
    private string[] Devices() =>
        [.. _lan.Stations.Select(s => string.Join(' ', s.Namespace.Do("ip", "-o", "link", "show", "dev", s.Device).Split(' ', StringSplitOptions.RemoveEmptyEntries).Where((_, i) => i is 0 or 1) .Append(s.Mac)))];
}
