using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>However the switch ends, nothing is left: at once when it was told to end, at the next start or by `clean` when it crashed.</summary>
public sealed class CleanUpTests : IDisposable
{
    private readonly Switch _switch = new();
    private readonly Namespace _container;

    public CleanUpTests()
    {
        _container = _switch.Container("a");
    }

    private Namespace[] Places => [_switch.Host, _container];

    [Theory]
    [InlineData("SIGINT")]
    [InlineData("SIGTERM")]
    [InlineData("stop")]
    public void NothingIsLeftAtTheEnd(string way)
    {
        StartWithPorts();
        if (way == "stop")
        {
            _switch.Run("stop").Succeeds();
        }
        else
        {
            Finished end = _switch.Stop(way == "SIGINT" ? LinuxProcess.SIGINT : LinuxProcess.SIGTERM);
            Assert.True(end.ExitCode == 0, end.ToString());
        }
        Remains.AreNone(_switch.Instance, Places);
    }

    /// <summary>An impatient operator: Ctrl-C comes while the engine, the ports or the API are just being made.</summary>
    [Theory]
    [InlineData(50)]
    [InlineData(200)]
    [InlineData(350)]
    [InlineData(500)]
    [InlineData(700)]
    public void NothingIsLeftAfterCtrlCDuringTheStart(int milliseconds)
    {
        string config = Path.GetTempFileName();
        try
        {
            File.WriteAllText(config, Resources);
            using Tool daemon = Tool.Start(_switch.RunCommand("--config", config));
            Thread.Sleep(milliseconds);
            Finished end = daemon.Interrupt();
            // 130 when it came before there was anything to handle it.
            Assert.True(end.ExitCode is 0 or 1 or 130, end.ToString());
            Assert.DoesNotContain("Unhandled exception", end.ToString(), StringComparison.Ordinal);
            // A process that the signal has ended is seen for a moment still.
            Until.Holds(() => Remains.AreNone(_switch.Instance, Places));
        }
        finally
        {
            File.Delete(config);
        }
    }

    [Fact]
    public void CleanRemovesWhatACrashOfEverythingLeft()
    {
        StartWithPorts();
        Remains.KillAll(_switch.Instance);
        // Devices went with the processes that held them; files stay, and are what the next start goes on from.
        Until.Holds(() => Assert.Equal([$"/run/dataplane/{_switch.Instance}", $"/dev/shm/dataplane-{_switch.Instance}"], Remains.Of(_switch.Instance, Places)));

        string removed = _switch.Run("clean").Succeeds().Output;
        Assert.Contains($"removed /dev/shm/dataplane-{_switch.Instance}", removed, StringComparison.Ordinal);
        Remains.AreNone(_switch.Instance, Places);
        Assert.Equal("", _switch.Run("clean").Succeeds().Output);
    }

    [Fact]
    public void CleanEndsAnEngineWhoseDaemonIsNoMore()
    {
        StartWithPorts();
        int engine = _switch.EnginePid;
        _switch.Stop(LinuxProcess.SIGKILL);
        Assert.Contains(Remains.Processes(_switch.Instance), p => p.Id == engine);

        Assert.Contains($"removed engine process {engine}", _switch.Run("clean").Succeeds().Output, StringComparison.Ordinal);
        Remains.AreNone(_switch.Instance, Places);
    }

    [Fact]
    public void CleanDoesNotTouchWhatRuns()
    {
        StartWithPorts();
        _switch.Run("clean").EndsWith(1).Says($"is run by process {_switch.ControlPid}", $"`dataplane stop --instance {_switch.Instance}`");
        Assert.Equal(2, Remains.Processes(_switch.Instance).Count());
    }

    /// <summary>After a crash of everything the next start is as any other, and so is its end.</summary>
    [Fact]
    public void TheNextStartTakesUpWhatACrashLeft()
    {
        StartWithPorts();
        Remains.KillAll(_switch.Instance);

        _switch.Start();
        Assert.Equal(2u, _switch.Api.Status.PortsUp);
        Assert.Equal(0, _switch.Stop(LinuxProcess.SIGTERM).ExitCode);
        Remains.AreNone(_switch.Instance, Places);
    }

    public void Dispose() => _switch.Dispose();

    private string Resources => $$"""
        networks: [{name: n, subnets: [10.91.0.0/16], gateways: [10.91.0.1]}]
        ports:
        - {name: host, network: n, tap: {host: true} }
        - {name: a, network: n, tap: {netns: {{_container.Name}}, addresses: [10.91.0.2/16], default_route: true} }
        """;

    private void StartWithPorts()
    {
        _switch.Start();
        _switch.Apply(Resources);
        Assert.Equal(6, Remains.Of(_switch.Instance, Places).Count); // two processes, two paths, two devices
    }
}
