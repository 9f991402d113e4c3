using System.Diagnostics;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class LinuxProcessTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);

    [Fact]
    public void A_process_is_watched_and_ended()
    {
        using Process child = Shell.Start("sleep", "60");
        using PidFd held = PidFd.Open(child.Id)!;
        Assert.True(held.IsAlive);
        Assert.False(held.WaitForExit(TimeSpan.FromMilliseconds(20)));
        Assert.True(held.Signal(0));
        Assert.True(held.Signal(LinuxProcess.SIGTERM));
        Assert.True(held.WaitForExit(Soon));
        Assert.False(held.IsAlive);
        child.WaitForExit();
        Assert.Equal(128 + LinuxProcess.SIGTERM, child.ExitCode);
        Assert.False(held.Signal(LinuxProcess.SIGTERM));
        Assert.Null(PidFd.Open(child.Id));
        Assert.False(LinuxProcess.Kill(child.Id, 0));
    }

    [Fact]
    public void Kill_takes_process_numbers_only()
    {
        Assert.True(LinuxProcess.Kill(Environment.ProcessId, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => LinuxProcess.Kill(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => LinuxProcess.Kill(-1, 0));
    }

    [RootFact]
    public void Another_users_process_cannot_be_ended()
    {
        using Process child = Shell.Start("sleep", "60");
        var e = Assert.Throws<LinuxException>(() => Unprivileged.Run(() => LinuxProcess.Kill(child.Id, LinuxProcess.SIGTERM)));
        Assert.Equal($"send signal 15 to process {child.Id}: Operation not permitted (errno 1)", e.Message);
        child.Kill();
    }

    [Fact]
    public void Numbers_are_those_of_proc()
    {
        Assert.Equal(File.ReadAllText("/proc/thread-self/stat").Split(' ')[0], $"{LinuxProcess.ThreadId}");
        string uids = File.ReadLines("/proc/self/status").First(l => l.StartsWith("Uid:", StringComparison.Ordinal));
        Assert.Equal(uids.Split('\t')[2], $"{LinuxProcess.EffectiveUserId}");
    }

    [Fact]
    public void Sigpipe_is_ignored_already() // the runtime does it; a broken pipe is an error number, not our end
    {
        string ignored = File.ReadLines("/proc/self/status").First(l => l.StartsWith("SigIgn:", StringComparison.Ordinal));
        Assert.NotEqual(0UL, Convert.ToUInt64(ignored["SigIgn:".Length..].Trim(), 16) & (1UL << (LinuxProcess.SIGPIPE - 1)));
        LinuxProcess.Ignore(LinuxProcess.SIGPIPE);
        Assert.Throws<LinuxException>(() => LinuxProcess.Ignore(LinuxProcess.SIGKILL));
    }
}
