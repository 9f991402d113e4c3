using System.Numerics;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>How memory is mapped. None of them is a condition: what the system refuses is left out.</summary>
[Flags]
public enum MemoryOptions
{
    None = 0,

    /// <summary>Fill in all pages now, so that no first touch costs a page fault later.</summary>
    Populate = 1,

    /// <summary>Ask for transparent huge pages (madvise). Unneeded on hugetlbfs, which has nothing else.</summary>
    HugePages = 2,

    /// <summary>Keep the pages in RAM (mlock). Refused without CAP_IPC_LOCK and a small RLIMIT_MEMLOCK; see
    /// <see cref="SharedMemory.IsLocked"/>.</summary>
    Lock = 4,
}

/// <summary>
/// A piece of mapped memory: a file that processes share (on /dev/shm or hugetlbfs), an anonymous file whose descriptor
/// can be sent over a socket, or private memory with an alignment; mmap(2). Unmapped by Dispose and by nothing else:
/// pointers into it are raw, so it must not go while they are in use.
/// </summary>
public sealed unsafe partial class SharedMemory : IDisposable
{
    private const int PROT_READ = 1;
    private const int PROT_WRITE = 2;
    private const int MAP_SHARED = 1;
    private const int MAP_PRIVATE = 2;
    private const int MAP_ANONYMOUS = 0x20;
    private const int MADV_HUGEPAGE = 14;
    private const int MADV_POPULATE_READ = 22;
    private const int MADV_POPULATE_WRITE = 23;
    private const uint MFD_CLOEXEC = 1;
    private const uint MFD_ALLOW_SEALING = 2;
    private const uint MFD_NOEXEC_SEAL = 8;
    private const uint HUGETLBFS_MAGIC = 0x958458f6;

    private byte* _mapping;
    private nuint _mappingLength;
    private readonly FileDescriptor? _handle;

    private SharedMemory(byte* mapping, nuint mappingLength, byte* pointer, nuint length, FileDescriptor? handle, bool readOnly)
    {
        _mapping = mapping;
        _mappingLength = mappingLength;
        Pointer = pointer;
        Length = length;
        _handle = handle;
        IsReadOnly = readOnly;
    }

    /// <summary>The first byte; page-aligned, or as asked for. Null after Dispose.</summary>
    public byte* Pointer { get; private set; }

    /// <summary>Bytes that may be used, beginning at <see cref="Pointer"/>.</summary>
    public nuint Length { get; private set; }

    /// <summary>Writing would end the process with SIGSEGV.</summary>
    public bool IsReadOnly { get; }

    /// <summary>All of it is kept in RAM.</summary>
    public bool IsLocked { get; private set; }

    /// <summary>The file behind it, to be sent to another process for instance; null for private memory.</summary>
    public FileDescriptor? Handle => _handle;

    /// <summary>
    /// Makes a new file of zeros and maps it for reading and writing. All of its storage is set aside here, so that a full
    /// file system is an error now and not a SIGBUS at some later write. A file that could not be completed is removed.
    /// </summary>
    /// <param name="path">Under /dev/shm or a hugetlbfs mount. Nothing may exist there.</param>
    /// <param name="length">Bytes; rounded up to whole huge pages on hugetlbfs.</param>
    /// <param name="mode">Who may open it. The process's umask is not applied.</param>
    /// <param name="options">How to map it.</param>
    /// <exception cref="LinuxException">EEXIST: the file exists. ENOSPC: the file system is too small, or there are too
    /// few huge pages. ENOENT, EACCES: the directory is missing or closed.</exception>
    public static SharedMemory Create(string path, nuint length, UnixFileMode mode, MemoryOptions options = MemoryOptions.None)
    {
        CheckLength(length);
        string what = $"create shared memory file '{path}'";
        FileDescriptor fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_EXCL, what, (uint)mode,
            e => e == Errno.EEXIST ? "The file exists already." : null);
        try
        {
            if (fchmod(fd, (uint)mode) < 0)
                throw LinuxException.Last($"{what}: set its mode");
            length = RoundToHugePages(fd, length);
            Allocate(fd, length, what);
            return Map(fd, length, readOnly: false, options, what);
        }
        catch
        {
            Libc.unlink(path);
            fd.Dispose();
            throw;
        }
    }

    /// <summary>Maps an existing file, all of it.</summary>
    /// <exception cref="LinuxException">ENOENT, EACCES; EINVAL: the file is empty, its creator has not finished yet.</exception>
    public static SharedMemory Open(string path, bool readOnly = false, MemoryOptions options = MemoryOptions.None)
    {
        string what = $"open shared memory file '{path}'";
        return FromHandle(Libc.Open(path, readOnly ? Libc.O_RDONLY : Libc.O_RDWR, what), readOnly, options, what);
    }

    /// <summary>Maps a file by its descriptor, received over a socket for instance; takes the descriptor over.</summary>
    public static SharedMemory FromHandle(FileDescriptor handle, bool readOnly = false, MemoryOptions options = MemoryOptions.None) =>
        FromHandle(handle, readOnly, options, $"map shared memory of file descriptor {handle.Value}");

    /// <summary>
    /// Makes a file of zeros without a path, to be shared by sending <see cref="Handle"/>; memfd_create(2). Its size is
    /// sealed: nobody who gets it can shrink it under our feet. It cannot be executed.
    /// </summary>
    /// <param name="name">Seen in /proc/PID/maps only; need not be unique.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="options">How to map it.</param>
    /// <exception cref="LinuxException">ENOMEM or ENOSPC: not enough memory.</exception>
    public static SharedMemory CreateMemFd(string name, nuint length, MemoryOptions options = MemoryOptions.None)
    {
        CheckLength(length);
        string what = $"create anonymous shared memory '{name}'";
        int number = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        if (number < 0 && Marshal.GetLastPInvokeError() == Errno.EINVAL)
            number = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); // before Linux 6.3
        if (number < 0)
            throw LinuxException.Last(what);
        var fd = new FileDescriptor(number);
        try
        {
            Allocate(fd, length, what);
            if (Libc.fcntl(fd, Libc.F_ADD_SEALS, Libc.F_SEAL_SHRINK | Libc.F_SEAL_GROW | Libc.F_SEAL_SEAL) < 0)
                throw LinuxException.Last($"{what}: seal its size");
            return Map(fd, length, readOnly: false, options, what);
        }
        catch
        {
            fd.Dispose();
            throw;
        }
    }

    /// <summary>Private memory of zeros that is not shared with anyone: for tests, benchmarks and one-process use.</summary>
    /// <param name="length">Bytes.</param>
    /// <param name="alignment">Of <see cref="Pointer"/>, in bytes: a power of two, such as 64 (a cache line; pages are
    /// aligned better than that anyhow) or 2 MiB (a huge page).</param>
    /// <param name="options">How to map it.</param>
    /// <exception cref="LinuxException">ENOMEM.</exception>
    public static SharedMemory CreatePrivate(nuint length, nuint alignment = 64, MemoryOptions options = MemoryOptions.None)
    {
        CheckLength(length);
        if (!BitOperations.IsPow2(alignment))
            throw new ArgumentException("the alignment must be a power of two", nameof(alignment));
        string what = $"allocate {length} bytes of memory";
        nuint page = (nuint)Environment.SystemPageSize;
        // mmap aligns to pages only; for more, map enough to find an aligned place inside, and give the rest back.
        nuint size = checked(RoundUp(length, page) + (alignment > page ? alignment : 0));
        byte* mapping = mmap(null, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((nint)mapping == -1)
            throw LinuxException.Last(what);
        byte* pointer = (byte*)RoundUp((nuint)mapping, alignment);
        byte* end = pointer + RoundUp(length, page);
        if (pointer > mapping)
            munmap(mapping, (nuint)(pointer - mapping));
        if (end < mapping + size)
            munmap(end, (nuint)(mapping + size - end));
        var memory = new SharedMemory(pointer, (nuint)(end - pointer), pointer, length, null, readOnly: false);
        memory.Apply(options);
        return memory;
    }

    /// <summary>Unmaps the memory and closes the descriptor. The file of <see cref="Create"/> stays.</summary>
    public void Dispose()
    {
        if (_mapping != null)
            munmap(_mapping, _mappingLength);
        _mapping = null;
        _mappingLength = 0;
        Pointer = null;
        Length = 0;
        _handle?.Dispose();
    }

    private static SharedMemory FromHandle(FileDescriptor fd, bool readOnly, MemoryOptions options, string what)
    {
        try
        {
            var length = (nuint)Libc.Stat(fd, what).stx_size;
            if (length == 0)
                throw new LinuxException(Errno.EINVAL, what, "The file is empty; its creator may not have finished yet.");
            return Map(fd, length, readOnly, options, what);
        }
        catch
        {
            fd.Dispose();
            throw;
        }
    }

    private static SharedMemory Map(FileDescriptor fd, nuint length, bool readOnly, MemoryOptions options, string what)
    {
        byte* mapping = mmap(null, length, readOnly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd.Value, 0);
        if ((nint)mapping == -1)
            throw LinuxException.Last($"{what}: map {length} bytes");
        var memory = new SharedMemory(mapping, length, mapping, length, fd, readOnly);
        memory.Apply(options);
        return memory;
    }

    private void Apply(MemoryOptions options)
    {
        // The advice first: it decides the kind of pages that the next two fill in.
        if (options.HasFlag(MemoryOptions.HugePages))
            madvise(_mapping, _mappingLength, MADV_HUGEPAGE);
        // Rather than MAP_POPULATE, which would come before the advice. Unknown before Linux 5.14: then faults come later.
        if (options.HasFlag(MemoryOptions.Populate))
            madvise(_mapping, _mappingLength, IsReadOnly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
        if (options.HasFlag(MemoryOptions.Lock))
            IsLocked = mlock(_mapping, _mappingLength) == 0;
    }

    private static void Allocate(FileDescriptor fd, nuint length, string what)
    {
        if (Libc.ftruncate(fd, checked((nint)length)) < 0)
            throw LinuxException.Last($"{what}: set its size to {length} bytes");
        // ftruncate makes a hole; a write into it on a full file system is a SIGBUS.
        int errno;
        do
            errno = posix_fallocate(fd, 0, (nint)length);
        while (errno == Errno.EINTR);
        if (errno != 0)
            throw new LinuxException(errno, $"{what}: allocate {length} bytes", errno is not (Errno.ENOSPC or Errno.ENOMEM)
                ? null
                : IsHugetlbfs(fd, out nuint pageSize)
                    ? $"There are too few free huge pages of {pageSize} bytes; see /proc/meminfo and vm.nr_hugepages."
                    : "The file system is too small; see 'df'. In a container, /dev/shm has 64 MiB unless '--shm-size' says more.");
    }

    private static nuint RoundToHugePages(FileDescriptor fd, nuint length) =>
        IsHugetlbfs(fd, out nuint pageSize) ? RoundUp(length, pageSize) : length;

    private static bool IsHugetlbfs(FileDescriptor fd, out nuint pageSize)
    {
        // struct statfs begins with two words, f_type and f_bsize, and is no longer than this.
        nint* statfs = stackalloc nint[32];
        bool huge = fstatfs(fd, statfs) == 0 && (uint)statfs[0] == HUGETLBFS_MAGIC;
        pageSize = huge ? (nuint)statfs[1] : 0;
        return huge;
    }

    private static void CheckLength(nuint length) => ArgumentOutOfRangeException.ThrowIfZero(length);

    private static nuint RoundUp(nuint value, nuint alignment) => checked(value + alignment - 1) & ~(alignment - 1);

    [LibraryImport("libc", SetLastError = true)]
    private static partial byte* mmap(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int munmap(void* address, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int madvise(void* address, nuint length, int advice);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mlock(void* address, nuint length);

    [LibraryImport("libc")] // returns the error instead of setting errno
    private static partial int posix_fallocate(FileDescriptor fd, nint offset, nint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fchmod(FileDescriptor fd, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fstatfs(FileDescriptor fd, void* result);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);
}
