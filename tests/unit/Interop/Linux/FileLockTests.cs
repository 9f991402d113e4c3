using System.Diagnostics;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class FileLockTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string PidFile => _directory.File("test.pid");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Is_held_once_and_says_by_whom()
    {
        using (FileLock taken = FileLock.Acquire(PidFile))
        {
            Assert.Equal(Environment.ProcessId, FileLock.ReadPid(PidFile));
            Assert.Equal($"{Environment.ProcessId}\n", Shell.Run("cat", PidFile));
            Assert.False(FileLock.TryAcquire(PidFile, out _, out int holder));
            Assert.Equal(Environment.ProcessId, holder);
            var e = Assert.Throws<LinuxException>(() => FileLock.Acquire(PidFile));
            Assert.Equal(Errno.EAGAIN, e.Errno);
            Assert.Contains($"It is held by process {Environment.ProcessId} (", e.Message);
        }
        Assert.Equal(0, FileLock.ReadPid(PidFile));
        FileLock.Acquire(PidFile).Dispose();
    }

    [Fact]
    public void A_left_over_file_blocks_nobody()
    {
        File.WriteAllText(PidFile, "123456789\n");
        using FileLock taken = FileLock.Acquire(PidFile);
        Assert.Equal(Environment.ProcessId, FileLock.ReadPid(PidFile));
    }

    [Fact]
    public void Another_process_is_noticed_and_its_end_too()
    {
        File.WriteAllText(PidFile, "");
        using Process other = Shell.Start("flock", PidFile, "sh", "-c", $"echo $PPID > {PidFile}; exec sleep 60");
        try
        {
            Assert.True(SpinWait.SpinUntil(() => FileLock.ReadPid(PidFile) != 0, TimeSpan.FromSeconds(10)));
            Assert.False(FileLock.TryAcquire(PidFile, out _, out int holder));
            Assert.Equal(other.Id, holder);
        }
        finally
        {
            other.Kill(entireProcessTree: true);
        }
        other.WaitForExit();
        Assert.True(SpinWait.SpinUntil(() =>
        {
            bool ok = FileLock.TryAcquire(PidFile, out FileLock? taken, out _);
            taken?.Dispose();
            return ok;
        }, TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void A_missing_directory_is_named()
    {
        string path = _directory.File("none/test.pid");
        Assert.Equal($"open pid file '{path}': No such file or directory (errno 2)", Assert.Throws<LinuxException>(() => FileLock.Acquire(path)).Message);
    }
}
