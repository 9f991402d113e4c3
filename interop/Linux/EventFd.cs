using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A wake-up that can be waited for with poll or epoll; eventfd(2). Non-blocking and close-on-exec. Signal and Drain
/// allocate nothing and may be called from any thread.
/// </summary>
public sealed unsafe partial class EventFd : IDisposable
{
    private const int EFD_NONBLOCK = 0x800;
    private const int EFD_CLOEXEC = 0x80000;

    /// <exception cref="LinuxException">EMFILE, ENFILE or ENOMEM: too many descriptors, no memory.</exception>
    public EventFd()
    {
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0)
            throw LinuxException.Last("create an eventfd");
        Handle = new FileDescriptor(fd);
    }

    /// <summary>Takes over an eventfd received from another process. It must be non-blocking.</summary>
    public EventFd(FileDescriptor handle)
    {
        Handle = handle;
    }

    public FileDescriptor Handle { get; }

    /// <summary>The descriptor's number, to be waited for; readable while signalled.</summary>
    public int Fd => Handle.Value;

    /// <summary>Makes the descriptor readable. Signals are counted, not queued: one Drain takes all of them.</summary>
    public void Signal()
    {
        ulong one = 1;
        // EAGAIN means the counter is at its maximum: the descriptor is readable already, which is all that was asked.
        if (write(Handle, &one, sizeof(ulong)) < 0 && Marshal.GetLastPInvokeError() is not Errno.EAGAIN and int errno)
            throw new LinuxException(errno, "signal an eventfd");
    }

    /// <summary>Takes all pending signals; returns how many there were, 0 when none. Never waits.</summary>
    public ulong Drain()
    {
        ulong count;
        if (read(Handle, &count, sizeof(ulong)) == sizeof(ulong))
            return count;
        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.EAGAIN ? 0UL : throw new LinuxException(errno, "drain an eventfd");
    }

    public void Dispose() => Handle.Dispose();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(FileDescriptor fd, void* buffer, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(FileDescriptor fd, void* buffer, nuint length);
}
