using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

// The calls that are not made per packet: they take handles and strings, and leave errno in the P/Invoke error. The
// constants are the generic ones of Linux (x86-64, arm64, riscv64); the unit tests compare them with the C headers.
public static unsafe partial class Libc
{
    internal const int O_RDONLY = 0;
    internal const int O_RDWR = 2;
    internal const int O_CREAT = 0x40;
    internal const int O_EXCL = 0x80;
    internal const int O_NONBLOCK = 0x800;
    internal const int O_CLOEXEC = 0x80000;

    internal const int F_SETFL = 4;
    internal const int F_GETFL = 3;
    internal const int F_DUPFD_CLOEXEC = 1030;
    internal const int F_ADD_SEALS = 1033;
    internal const int F_SEAL_SEAL = 1;
    internal const int F_SEAL_SHRINK = 2;
    internal const int F_SEAL_GROW = 4;

    internal const int AT_FDCWD = -100;
    internal const int AT_EMPTY_PATH = 0x1000;
    internal const int AT_SYMLINK_NOFOLLOW = 0x100;

    [LibraryImport(Name, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int open(string path, int flags, uint mode);

    [LibraryImport(Name, SetLastError = true)]
    internal static partial int fcntl(FileDescriptor fd, int command, nint argument);

    [LibraryImport(Name, SetLastError = true)]
    internal static partial int ioctl(FileDescriptor fd, nuint request, void* argument);

    [LibraryImport(Name, SetLastError = true)]
    internal static partial int ftruncate(FileDescriptor fd, nint length);

    [LibraryImport(Name, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int unlink(string path);

    [LibraryImport(Name, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int chmod(string path, uint mode);

    [LibraryImport(Name, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int lchown(string path, uint uid, uint gid);

    // statx rather than stat: its structure is the same on every architecture.
    [LibraryImport(Name, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int statx(int directory, string path, int flags, uint mask, statx_t* result);

    [LibraryImport(Name, SetLastError = true)]
    internal static partial int statx(FileDescriptor directory, byte* path, int flags, uint mask, statx_t* result);

    /// <summary>Opens a file close-on-exec; throws with <paramref name="what"/> when that fails.</summary>
    internal static FileDescriptor Open(string path, int flags, string what, uint mode = 0, Func<int, string?>? hint = null)
    {
        int fd = open(path, flags | O_CLOEXEC, mode);
        if (fd >= 0)
            return new FileDescriptor(fd);
        int errno = Marshal.GetLastPInvokeError();
        throw new LinuxException(errno, what, hint?.Invoke(errno));
    }

    /// <summary>The metadata of an open file.</summary>
    internal static statx_t Stat(FileDescriptor fd, string what)
    {
        statx_t result;
        byte empty = 0;
        return statx(fd, &empty, AT_EMPTY_PATH, statx_t.STATX_BASIC_STATS, &result) == 0
            ? result
            : throw LinuxException.Last(what);
    }

    /// <summary>The metadata of a path, symbolic links not followed; false when it does not exist or cannot be read.</summary>
    internal static bool TryStat(string path, out statx_t result)
    {
        statx_t found;
        bool ok = statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, statx_t.STATX_BASIC_STATS, &found) == 0;
        result = ok ? found : default;
        return ok;
    }

    /// <summary>
    /// Waits until <paramref name="events"/> or an error is pending on a descriptor. Signals (the runtime uses some
    /// itself) do not end the wait early. False when the time is over; null waits for ever.
    /// </summary>
    internal static bool Wait(FileDescriptor fd, short events, TimeSpan? timeout)
    {
        long deadline = timeout is { } t ? Environment.TickCount64 + (long)Math.Ceiling(t.TotalMilliseconds) : 0;
        bool held = false;
        try
        {
            fd.DangerousAddRef(ref held);
            while (true)
            {
                int milliseconds = timeout is null
                    ? -1
                    : (int)Math.Clamp(deadline - Environment.TickCount64, 0, int.MaxValue);
                var one = new pollfd { fd = fd.Value, events = events };
                int ready = poll(&one, 1, milliseconds);
                if (ready > 0)
                    return true;
                if (ready == 0)
                    return false;
                int errno = Errno();
                if (errno != Linux.Errno.EINTR)
                    throw new LinuxException(errno, "wait for a file descriptor");
            }
        }
        finally
        {
            if (held)
                fd.DangerousRelease();
        }
    }
}

/// <summary>struct statx of statx(2), the fields that are used here; 256 bytes in all.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct statx_t
{
    internal const uint STATX_BASIC_STATS = 0x7ff;
    internal const ushort S_IFMT = 0xf000;
    internal const ushort S_IFSOCK = 0xc000;

    [FieldOffset(20)] public uint stx_uid;
    [FieldOffset(24)] public uint stx_gid;
    [FieldOffset(28)] public ushort stx_mode;
    [FieldOffset(32)] public ulong stx_ino;
    [FieldOffset(40)] public ulong stx_size;
    [FieldOffset(136)] public uint stx_dev_major;
    [FieldOffset(140)] public uint stx_dev_minor;

    /// <summary>Device and inode: what makes a file, or a namespace, the same one.</summary>
    public readonly FileIdentity Identity => new(((ulong)stx_dev_major << 32) | stx_dev_minor, stx_ino);
}

/// <summary>What tells one kernel object behind a path or descriptor from another: device number and inode.</summary>
public readonly record struct FileIdentity(ulong Device, ulong Inode);
