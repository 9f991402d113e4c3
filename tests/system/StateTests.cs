using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Desired state that is to outlive the switch does, and nothing else.</summary>
public sealed class StateTests : IDisposable
{
    private readonly string _directory = Path.Combine(Path.GetTempPath(), $"dataplane-state-{Guid.NewGuid():N}");
    private Switch _switch = new();

    /// <summary>As before and after a reboot: the segment, the sockets and the devices are gone, and come back.</summary>
    [Fact]
    public void NetworksAndPortsComeBackAfterAnOrderlyEnd()
    {
        _switch.Dispose();
        _switch = Switch.Started("--state-dir", Path.Combine(_directory, "made"));
        var lan = new Lan(_switch, "kept", 171);
        lan.AddHost();
        lan.AddContainers("", "a");
        Ping.Reaches(lan["a"], lan["host"].Address);

        _switch.Stop(LinuxProcess.SIGTERM).Succeeds();
        Assert.False(File.Exists(_switch.SegmentFile));
        Assert.False(Directory.Exists(_switch.RunDirectory));
        Assert.Equal($"{_switch.Instance}.db", Path.GetFileName(Directory.GetFiles(Path.Combine(_directory, "made")).Single()));

        _switch.Start();
        _switch.WaitFor(lan["a"].Port, PortStatus.Types.State.Up);
        Ping.Reaches(lan["a"], lan["host"].Address);
    }

    [Fact]
    public void ADirectoryThatCannotBeMadeIsNamed()
    {
        Directory.CreateDirectory(_directory);
        File.WriteAllText(Path.Combine(_directory, "file"), "");
        Tool.Run(_switch.RunCommand("--state-dir", Path.Combine(_directory, "file", "below"))).EndsWith(1).Says("--state-dir", "file/below");
    }

    public void Dispose()
    {
        _switch.Dispose();
        if (Directory.Exists(_directory))
        {
            Directory.Delete(_directory, recursive: true);
        }
    }
}
