using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>What an epoll registration waits for and reports; epoll_ctl(2).</summary>
[Flags]
public enum EpollEvents : uint
{
    None = 0,
    In = 0x001,
    Out = 0x004,

    /// <summary>Always reported, asked for or not, but what the kernel wakes a waiter for depends on the file: see
    /// <see cref="Tap"/>, where it means that the device was deleted.</summary>
    Error = 0x008,

    /// <summary>Always reported, asked for or not.</summary>
    HangUp = 0x010,

    ReadHangUp = 0x2000,
    Exclusive = 1u << 28,
    OneShot = 1u << 30,
    EdgeTriggered = 1u << 31,
}

/// <summary>
/// Waits for many descriptors; epoll(7). Events are written into unmanaged memory of the caller's, so that a wait
/// allocates nothing: <see cref="BufferSize"/> bytes for as many events as one wait shall return, read back with
/// <see cref="EventsAt"/> and <see cref="DataAt"/> (the record's layout differs between architectures).
/// </summary>
public sealed unsafe partial class Epoll : IDisposable
{
    private const int EPOLL_CLOEXEC = 0x80000;
    private const int EPOLL_CTL_ADD = 1;
    private const int EPOLL_CTL_DEL = 2;
    private const int EPOLL_CTL_MOD = 3;

    // struct epoll_event { uint32 events; uint64 data; }: packed on x86-64 only, so that 32-bit programs share it.
    private static readonly int DataOffset =
        RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.X86 ? 4 : 8;

    private static readonly int EventSize = DataOffset + sizeof(ulong);

    private readonly FileDescriptor _handle;

    /// <exception cref="LinuxException">EMFILE, ENFILE or ENOMEM: too many descriptors, no memory.</exception>
    public Epoll()
    {
        int fd = epoll_create1(EPOLL_CLOEXEC);
        if (fd < 0)
            throw LinuxException.Last("create an epoll instance");
        _handle = new FileDescriptor(fd);
    }

    /// <summary>The epoll descriptor itself, which can be waited for in turn.</summary>
    public int Fd => _handle.Value;

    /// <summary>Bytes of memory that a wait for up to <paramref name="capacity"/> events needs.</summary>
    public static int BufferSize(int capacity) => checked(capacity * EventSize);

    /// <summary>What happened, in the event at <paramref name="index"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static EpollEvents EventsAt(byte* buffer, int index) =>
        (EpollEvents)Unsafe.ReadUnaligned<uint>(buffer + (nint)index * EventSize);

    /// <summary>The number given at registration, in the event at <paramref name="index"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong DataAt(byte* buffer, int index) =>
        Unsafe.ReadUnaligned<ulong>(buffer + (nint)index * EventSize + DataOffset);

    /// <summary>Starts waiting for a descriptor. <paramref name="data"/> comes back with its events.</summary>
    /// <exception cref="LinuxException">EEXIST: it is registered already. EPERM: it is a file that is always ready.</exception>
    public void Add(int fd, EpollEvents events, ulong data) => Control(EPOLL_CTL_ADD, fd, events, data, "add");

    /// <summary>Changes what a registered descriptor is waited for, or arms a one-shot registration again.</summary>
    /// <exception cref="LinuxException">ENOENT: it is not registered.</exception>
    public void Modify(int fd, EpollEvents events, ulong data) => Control(EPOLL_CTL_MOD, fd, events, data, "modify");

    /// <summary>
    /// Stops waiting for a descriptor. To be called before the descriptor is closed: a registration belongs to the open
    /// file, and lives on while a duplicate of it (in another process, too) is open.
    /// </summary>
    /// <exception cref="LinuxException">ENOENT: it is not registered.</exception>
    public void Remove(int fd) => Control(EPOLL_CTL_DEL, fd, EpollEvents.None, 0, "remove");

    /// <summary>As <see cref="Remove"/>; false, and nothing else, when it is not watched. For the packet path.</summary>
    public bool TryRemove(int fd)
    {
        byte* unused = stackalloc byte[16];
        return epoll_ctl(_handle, EPOLL_CTL_DEL, fd, unused) == 0;
    }

    /// <summary>
    /// Waits until something happens and returns the number of events written, 0 when the time is over or a signal came
    /// in between. Allocates nothing.
    /// </summary>
    /// <param name="buffer">At least <see cref="BufferSize"/> of <paramref name="capacity"/> bytes.</param>
    /// <param name="capacity">At most this many events are returned; the rest wait for the next call. At least 1.</param>
    /// <param name="timeoutMilliseconds">0 only looks, -1 waits for ever.</param>
    public int Wait(byte* buffer, int capacity, int timeoutMilliseconds)
    {
        int count = epoll_wait(_handle, buffer, capacity, timeoutMilliseconds);
        if (count >= 0)
            return count;
        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.EINTR ? 0 : throw new LinuxException(errno, "wait for epoll events");
    }

    public void Dispose() => _handle.Dispose();

    private void Control(int operation, int fd, EpollEvents events, ulong data, string verb)
    {
        byte* record = stackalloc byte[16];
        Unsafe.WriteUnaligned(record, (uint)events);
        Unsafe.WriteUnaligned(record + DataOffset, data);
        if (epoll_ctl(_handle, operation, fd, record) < 0)
            throw LinuxException.Last($"epoll: {verb} file descriptor {fd}");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(FileDescriptor epoll, int operation, int fd, byte* record);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(FileDescriptor epoll, byte* records, int capacity, int timeout);
}
