using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>
/// An exclusive lock on a pid file: one process per instance; flock(2). The kernel releases it with the process, so a
/// left-over file blocks nobody. The file holds the owner's pid in decimal and stays when the lock is released, because
/// removing it would let two processes lock two different files of the same name.
/// </summary>
public sealed unsafe partial class FileLock : IDisposable
{
    private const int LOCK_EX = 2;
    private const int LOCK_NB = 4;

    private readonly FileDescriptor _file;

    private FileLock(FileDescriptor file, string path)
    {
        _file = file;
        Path = path;
    }

    public string Path { get; }

    /// <summary>Takes the lock and writes this process's pid into the file, which is created when missing (mode 0644).</summary>
    /// <exception cref="LinuxException">EAGAIN: another process has it; the message says which. Or why the file cannot
    /// be opened.</exception>
    public static FileLock Acquire(string path) =>
        TryAcquire(path, out FileLock? taken, out int holder)
            ? taken
            : throw new LinuxException(Errno.EAGAIN, $"lock '{path}'",
                holder > 0 ? $"It is held by process {Describe(holder)}." : "It is held by another process.");

    /// <summary>As <see cref="Acquire"/>, but a held lock is an answer and not an error.</summary>
    /// <param name="path">The pid file.</param>
    /// <param name="taken">The lock, when the result is true.</param>
    /// <param name="holder">Who has it otherwise; 0 when the file does not say.</param>
    public static bool TryAcquire(string path, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out FileLock? taken, out int holder)
    {
        taken = null;
        holder = 0;
        FileDescriptor fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT, $"open pid file '{path}'", 0x1a4 /* 0644 */);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            fd.Dispose();
            if (errno != Errno.EAGAIN)
                throw new LinuxException(errno, $"lock '{path}'");
            holder = ReadPid(path);
            return false;
        }
        byte[] text = Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n");
        fixed (byte* bytes = text)
        {
            if (Libc.ftruncate(fd, 0) < 0 || Libc.write(fd.Value, bytes, (nuint)text.Length) < 0)
            {
                int errno = Marshal.GetLastSystemError();
                fd.Dispose();
                throw new LinuxException(errno, $"write the pid into '{path}'");
            }
        }
        taken = new FileLock(fd, path);
        return true;
    }

    /// <summary>The pid in a pid file, or 0. A pid there means nothing unless the lock is held.</summary>
    public static int ReadPid(string path)
    {
        // Not a FileStream: it would lock the file itself, and fail while the owner has it locked.
        int number = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        if (number < 0)
            return 0;
        using var fd = new FileDescriptor(number);
        byte* text = stackalloc byte[16];
        int length = (int)Math.Max(0, Libc.read(fd.Value, text, 16));
        return int.TryParse(Encoding.ASCII.GetString(text, length).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int pid) ? pid : 0;
    }

    /// <summary>Empties the file and releases the lock.</summary>
    public void Dispose()
    {
        if (!_file.IsClosed)
            Libc.ftruncate(_file, 0);
        _file.Dispose();
    }

    /// <summary>Waits for an exclusive lock on an open file.</summary>
    internal static void Lock(FileDescriptor fd, string what)
    {
        while (flock(fd, LOCK_EX) < 0)
        {
            if (Marshal.GetLastPInvokeError() != Errno.EINTR)
                throw LinuxException.Last(what);
        }
    }

    private static string Describe(int pid)
    {
        try
        {
            return $"{pid} ({File.ReadAllText($"/proc/{pid}/comm").TrimEnd('\n')})";
        }
        catch (IOException)
        {
            return pid.ToString(CultureInfo.InvariantCulture);
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(FileDescriptor fd, int operation);
}
