using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A file descriptor with an owner: closed once, by <see cref="SafeHandle.Dispose()"/> or by the finaliser. System
/// calls in this namespace take the handle rather than the number, so that a Dispose on another thread cannot close
/// (and the kernel reuse) a descriptor in the middle of a call. Code that needs the bare number, such as a packet loop,
/// keeps the owner alive itself.
/// </summary>
public sealed class FileDescriptor : SafeHandle
{
    /// <summary>Takes over a descriptor number; the caller no longer closes it.</summary>
    public FileDescriptor(int fd)
        : base(-1, ownsHandle: true)
    {
        SetHandle(fd);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle < 0;

    /// <summary>The descriptor's number.</summary>
    /// <exception cref="ObjectDisposedException">It is closed or was given away.</exception>
    public int Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (int)handle;
        }
    }

    /// <summary>Gives the descriptor away: returns its number and forgets it; the caller closes it from now on.</summary>
    public int Detach()
    {
        int fd = Value;
        SetHandleAsInvalid();
        return fd;
    }

    /// <summary>A second descriptor for the same open file, close-on-exec; dup(2).</summary>
    public FileDescriptor Duplicate()
    {
        int fd = Libc.fcntl(this, Libc.F_DUPFD_CLOEXEC, 3);
        return fd >= 0 ? new FileDescriptor(fd) : throw LinuxException.Last($"duplicate file descriptor {handle}");
    }

    // close(2) on Linux always releases the number, even when it reports EINTR or EIO: never retried.
    protected override bool ReleaseHandle() => Libc.close((int)handle) == 0;
}
