using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>What the daemon cannot work with it says at its start, with the remedy, and leaves everything as it was.</summary>
public sealed class RefusalTests : IDisposable
{
    private readonly Switch _switch = new();

    [Fact]
    public void ASecondDaemonOfTheInstance()
    {
        _switch.Start();
        EngineStatus before = _switch.Api.Status;
        Refused(_switch.RunCommand()).Says(
            $"instance \"{_switch.Instance}\" is already run by process {_switch.ControlPid}", $"`dataplane stop --instance {_switch.Instance}`");
        EngineStatus after = _switch.Api.Status;
        Assert.Equal((before.ControlPid, before.EnginePid, before.EngineStarts), (after.ControlPid, after.EnginePid, after.EngineStarts));
    }

    /// <summary>Another version of the program left it, or something that is no segment at all has its name.</summary>
    [Theory]
    [InlineData("layout version", "was made by another version")]
    [InlineData("layout hash", "was made by another version")]
    [InlineData("magic number", "is not a segment")]
    [InlineData("length", "is damaged")]
    [InlineData("empty file", "is not a segment")]
    public void ASegmentOfAnotherLayout(string what, string reason)
    {
        _switch.Start();
        Remains.KillAll(_switch.Instance);
        Damage(what);
        byte[] stale = File.ReadAllBytes(_switch.SegmentFile);

        Refused(_switch.RunCommand()).Says(_switch.SegmentFile, reason, $"`dataplane clean --instance {_switch.Instance}`");
        Assert.True(stale.AsSpan().SequenceEqual(File.ReadAllBytes(_switch.SegmentFile)), "the segment is as it was");

        // The remedy helps.
        _switch.Run("clean").Succeeds();
        _switch.Start();
    }

    [Fact]
    public void NotRoot()
    {
        // May read everything, wherever the sources are; is nobody for the rest.
        string[] nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
        Refused([.. nobody, Programs.Control, "run", "--instance", _switch.Instance]).Says("not root", "sudo");
        Remains.AreNone(_switch.Instance, _switch.Host);

        // The commands of the operator too.
        _switch.Start();
        Refused([.. nobody, Programs.Control, "status", "--instance", _switch.Instance]).Says("is closed to this user", "sudo");
        Refused([.. nobody, Programs.Control, "demo", "--isolated", "--once"]).Says("need root", "sudo");
    }

    [Fact]
    public void NoTunDriver()
    {
        Refused(WithPrivateMounts("mount -t tmpfs none /dev/net")).Says("/dev/net/tun is missing", "modprobe tun");
        Remains.AreNone(_switch.Instance, _switch.Host);
    }

    [Fact]
    public void NoDpdk()
    {
        // A directory of links to all libraries but DPDK's takes the place of theirs.
        string directory = Path.GetFullPath(Tool.Do("pkg-config", "--variable=libdir", "libdpdk").Trim());
        Refused(WithPrivateMounts($"""
            mount -t tmpfs none /mnt && mkdir /mnt/all /mnt/some && mount --bind {directory} /mnt/all &&
            ln -s /mnt/all/* /mnt/some/ && rm -f /mnt/some/librte_* && mount --bind /mnt/some {directory}
            """)).Says("librte_", "cannot open shared object file", "apt-get install", "libdpdk-dev");
        Remains.AreNone(_switch.Instance, _switch.Host);
    }

    [Fact]
    public void NoEngine()
    {
        Finished refused = Tool.Run([.. _switch.RunCommand(), "--engine", "/bin/false"]).EndsWith(1);
        refused.Says("the engine ended at once with exit code 1");
        Tool.Run(_switch.RunCommand(), new Dictionary<string, string> { ["DATAPLANE_ENGINE"] = "/nowhere/dataplane-engine" }).EndsWith(1)
            .Says("dataplane-engine was not found", "./build.sh build");
        Remains.AreNone(_switch.Instance, _switch.Host);
    }

    [Fact]
    public void NoShell()
    {
        Refused(WithPrivateMounts("mount --bind /dev/null /bin/sh")).Says("/bin/sh, which starts the engine, cannot be started", "denied");
        Remains.AreNone(_switch.Instance, _switch.Host);
    }

    [Theory]
    [InlineData("no such group \"nogroupofthisname\"", "--socket-group", "nogroupofthisname", "groupadd nogroupofthisname")]
    [InlineData("too many workers", "--workers", "1000", "--workers goes from 1 to")]
    [InlineData("no number", "--workers", "many", "many")]
    [InlineData("no such file", "--config", "/nowhere/switch.yaml", "/nowhere/switch.yaml")]
    [InlineData("no such option", "--wrokers", "1", "--wrokers")]
    public void OptionsThatMakeNoSense(string what, string option, string value, string says)
    {
        Finished refused = Tool.Run(_switch.RunCommand(option, value));
        Assert.True(refused.ExitCode is 1 or 2, $"{what}: {refused}");
        refused.Says(says);
        Assert.DoesNotContain("Unhandled exception", refused.ToString(), StringComparison.Ordinal);
        Remains.AreNone(_switch.Instance, _switch.Host);
    }

    /// <summary>A configuration with problems does not start half of it.</summary>
    [Fact]
    public void AConfigurationWithProblems()
    {
        string config = Path.GetTempFileName();
        try
        {
            File.WriteAllText(config, """
                networks:
                - {name: one, subnets: [10.98.0.0/16]}
                - {name: two, subnets: [10.98.128.0/17]}
                ports:
                - {name: p, network: none, tap: {}}
                """);
            Refused(_switch.RunCommand("--config", config)).Says(
                $"{config}:3: network \"two\"", "subnet 10.98.128.0/17 overlaps 10.98.0.0/16 of network \"one\"",
                $"{config}:5: port \"p\"", "network \"none\" does not exist");
            Remains.AreNone(_switch.Instance, _switch.Host);
        }
        finally
        {
            File.Delete(config);
        }
    }

    public void Dispose() => _switch.Dispose();

    /// <summary>The daemon's command in mounts of its own, after a script has changed them.</summary>
    private string[] WithPrivateMounts(string script) => ["unshare", "--mount", "sh", "-ec", $"{script}\nexec \"$@\"", "sh", .. _switch.RunCommand()];

    /// <summary>A program says why and ends: it does not fall over.</summary>
    private static Finished Refused(string[] command)
    {
        Finished end = Tool.Run(command).EndsWith(1);
        Assert.DoesNotContain("Unhandled exception", end.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", end.Error, StringComparison.Ordinal);
        Assert.StartsWith("error: ", end.Error, StringComparison.Ordinal);
        return end;
    }

    /// <summary>Offsets as <see cref="SegmentHeader"/> has them.</summary>
    private void Damage(string what)
    {
        using FileStream segment = File.Open(_switch.SegmentFile, FileMode.Open, FileAccess.ReadWrite);
        switch (what)
        {
            case "empty file":
                segment.SetLength(0);
                return;
            case "length":
                segment.SetLength(segment.Length / 2);
                return;
        }
        segment.Position = what switch { "magic number" => 0, "layout version" => 8, "layout hash" => 16, _ => throw new ArgumentException(what, nameof(what)) };
        int old = segment.ReadByte();
        segment.Position--;
        segment.WriteByte((byte)(old ^ 1));
    }
}
