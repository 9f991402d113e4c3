using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// The C library as a packet loop wants it: blittable signatures over pointers and plain numbers, so the call is a
/// bare transition with nothing marshalled and nothing allocated. None of them sets the P/Invoke error; after a -1 ask
/// <see cref="Errno"/> before anything else. Calls with handles and strings are internal, in LibcInternal.cs.
/// </summary>
public static unsafe partial class Libc
{
    private const string Name = "libc";

    /// <summary>The largest number of <see cref="iovec"/> one readv or writev takes (UIO_MAXIOV).</summary>
    public const int UIO_MAXIOV = 1024;

    /// <summary>
    /// This thread's errno. Valid directly after a call of this class returned -1: the runtime preserves it across its
    /// own work on the way back from native code.
    /// </summary>
    public static int Errno() => Marshal.GetLastSystemError();

    /// <summary>read(2): bytes read, 0 at the end, -1 with an errno.</summary>
    [LibraryImport(Name)]
    public static partial nint read(int fd, void* buffer, nuint length);

    /// <summary>write(2): bytes written, or -1 with an errno.</summary>
    [LibraryImport(Name)]
    public static partial nint write(int fd, void* buffer, nuint length);

    /// <summary>readv(2), a scattered read of at most <see cref="UIO_MAXIOV"/> pieces.</summary>
    [LibraryImport(Name)]
    public static partial nint readv(int fd, iovec* vectors, int count);

    /// <summary>writev(2), a gathered write of at most <see cref="UIO_MAXIOV"/> pieces.</summary>
    [LibraryImport(Name)]
    public static partial nint writev(int fd, iovec* vectors, int count);

    /// <summary>recvmmsg(2): messages received, or -1 with an errno.</summary>
    [LibraryImport(Name)]
    public static partial int recvmmsg(int fd, mmsghdr* messages, uint count, int flags, timespec* timeout);

    /// <summary>getsockname(2): 0, or -1 with an errno.</summary>
    [LibraryImport(Name)]
    public static partial int getsockname(int fd, void* address, uint* length);

    /// <summary>poll(2); the timeout is in milliseconds, -1 for ever. May return -1 with EINTR.</summary>
    [LibraryImport(Name)]
    public static partial int poll(pollfd* fds, nuint count, int timeout);

    /// <summary>nanosleep(2): 0, or -1 with an errno (EINTR), and then what is left of the time, unless <paramref name="left"/> is null.</summary>
    [LibraryImport(Name)]
    public static partial int nanosleep(timespec* time, timespec* left);

    /// <summary>close(2). The number is free afterwards whatever it returns.</summary>
    [LibraryImport(Name)]
    public static partial int close(int fd);
}

#pragma warning disable CS8981 // C's name, kept so that manual pages and other people's code can be read beside it.
/// <summary>A piece of memory for readv and writev; readv(2).</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct iovec
{
    public void* iov_base;

    /// <summary>Bytes.</summary>
    public nuint iov_len;
}

/// <summary>A message of recvmmsg(2), 64-bit layout; msghdr and its length.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct mmsghdr
{
    public void* msg_name;
    public uint msg_namelen;
    public iovec* msg_iov;
    public nuint msg_iovlen;
    public void* msg_control;

    /// <summary>Bytes; the room before the call, what is there behind it.</summary>
    public nuint msg_controllen;
    public int msg_flags;
    private readonly int _padding;

    /// <summary>Bytes received.</summary>
    public uint msg_len;
}

/// <summary>A time; timespec(3).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct timespec
{
    /// <summary>Seconds.</summary>
    public nint tv_sec;

    /// <summary>Nanoseconds, less than a second.</summary>
    public nint tv_nsec;
}

/// <summary>A descriptor to wait for; poll(2).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct pollfd
{
    public const short POLLIN = 1;
    public const short POLLOUT = 4;
    public const short POLLERR = 8;
    public const short POLLHUP = 16;

    public int fd;
    public short events;
    public short revents;
}
#pragma warning restore CS8981
