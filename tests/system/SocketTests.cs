using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Who may use the API is decided by the permissions of its socket, and by who the kernel says is calling.</summary>
public sealed class SocketTests
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite, Group = UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    /// <summary>Numbers that no account of a distribution has.</summary>
    private const int SomeUser = 64_321, SomeGroup = 64_322, OtherGroup = 64_323;

    [Fact]
    public void OnlyRootByDefault()
    {
        using Switch running = Switch.Started();
        string socket = $"{running.RunDirectory}/api.sock";
        Assert.Equal(Owner, File.GetUnixFileMode(socket));
        Assert.Equal("0 0", OwnersOf(socket));
        As(SomeGroup, running).EndsWith(1).Says("is closed to this user", "--socket-group");
    }

    [Fact]
    public void AGroupWhenAskedFor()
    {
        using Switch running = Switch.Started("--socket-group", $"{SomeGroup}");
        string socket = $"{running.RunDirectory}/api.sock";
        Assert.Equal(Owner | Group, File.GetUnixFileMode(socket));
        Assert.Equal($"0 {SomeGroup}", OwnersOf(socket));
        As(SomeGroup, running).Succeeds();
        As(OtherGroup, running).EndsWith(1).Says("is closed to this user");
        // The engine's own socket is nobody else's business.
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode($"{running.RunDirectory}/engine.sock") & ~(Owner | UnixFileMode.UserExecute));
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode(running.SegmentFile) & ~Owner);
    }

    /// <summary>One whom no permission keeps out (CAP_DAC_OVERRIDE) connects, and is refused call by call.</summary>
    [Fact]
    public void PassingByPermissionsDoesNotHelp()
    {
        using Switch running = Switch.Started("--socket-group", $"{SomeGroup}");
        As(OtherGroup, running, "dac_override").EndsWith(1).Says("is not permitted", $"user {SomeUser} is neither root nor a member of group {SomeGroup}");
        As(SomeGroup, running, "dac_override").Succeeds();
    }

    private static string OwnersOf(string path) => Tool.Do("stat", "-c", "%u %g", path).Trim();

    /// <summary>The status, asked for by somebody who may read all files, wherever the programs are, and write none.</summary>
    private static Finished As(int group, Switch running, string capability = "dac_read_search") => Tool.Run(
    [
        "setpriv", $"--reuid={SomeUser}", $"--regid={group}", "--clear-groups", $"--inh-caps=+{capability}", $"--ambient-caps=+{capability}",
        Programs.Control, "status", "--instance", running.Instance,
    ]);
}
