using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A hold on one process that cannot end up meaning another one when its number is used again; pidfd_open(2), since
/// Linux 5.3. It need not be a child of this process. Readable, for epoll, once the process has ended.
/// </summary>
public sealed partial class PidFd : IDisposable
{
    // The same numbers on every architecture. By number, since not every C library has functions for them.
    private const nint SYS_pidfd_send_signal = 424;
    private const nint SYS_pidfd_open = 434;

    private readonly FileDescriptor _handle;

    private PidFd(int pid, FileDescriptor handle)
    {
        Pid = pid;
        _handle = handle;
    }

    public int Pid { get; }

    public int Fd => _handle.Value;

    /// <summary>The process has not ended.</summary>
    public bool IsAlive => !Libc.Wait(_handle, pollfd.POLLIN, TimeSpan.Zero);

    /// <summary>Takes hold of a process, or null when there is none of that number. (A child that has ended but was not
    /// waited for still counts.)</summary>
    public static PidFd? Open(int pid)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(pid);
        nint fd = syscall(SYS_pidfd_open, pid, 0, 0, 0);
        if (fd >= 0)
            return new PidFd(pid, new FileDescriptor((int)fd));
        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.ESRCH ? null : throw new LinuxException(errno, $"open process {pid}");
    }

    /// <summary>Waits for its end; false when the time is over first. A null timeout waits for ever.</summary>
    public bool WaitForExit(TimeSpan? timeout = null) => Libc.Wait(_handle, pollfd.POLLIN, timeout);

    /// <summary>Sends a signal; false when it has ended.</summary>
    /// <exception cref="LinuxException">EPERM: it belongs to another user.</exception>
    public bool Signal(int signal)
    {
        if (syscall(SYS_pidfd_send_signal, _handle.Value, signal, 0, 0) == 0)
            return true;
        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.ESRCH ? false : throw new LinuxException(errno, $"send signal {signal} to process {Pid}");
    }

    public void Dispose() => _handle.Dispose();

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint arg1, nint arg2, nint arg3, nint arg4);
}
