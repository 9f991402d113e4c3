using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A network namespace, held open; network_namespaces(7). Names are those of <c>ip netns</c>: bind mounts under
/// /run/netns. Everything here that changes a namespace needs CAP_SYS_ADMIN.
/// </summary>
/// <remarks>
/// A namespace lives as long as something refers to it: a process, a mount, a handle like this one, or any socket made
/// in it (netlink sockets and the descriptors of a TAP that was created inside it included). To see a container's
/// namespace go away, hold none of these.
/// </remarks>
public sealed unsafe partial class NetNs : IDisposable
{
    private const string Directory = "/run/netns";
    private const int CLONE_NEWNET = 0x40000000;
    private const nuint MS_BIND = 0x1000;
    private const nuint MS_REC = 0x4000;
    private const nuint MS_SHARED = 0x100000;
    private const int MNT_DETACH = 2;
    private const int UMOUNT_NOFOLLOW = 8;
    private const string NeedsAdmin = "This needs root or CAP_SYS_ADMIN.";

    private readonly FileDescriptor _handle;
    private readonly string _label;

    private NetNs(FileDescriptor handle, string label)
    {
        _handle = handle;
        _label = label;
        Identity = Libc.Stat(handle, $"inspect network namespace {label}").Identity;
    }

    /// <summary>Tells namespaces apart: equal for all handles of one namespace, while one of them is open.</summary>
    public FileIdentity Identity { get; }

    /// <summary>The namespace's inode, the number in <c>net:[4026531840]</c>.</summary>
    public ulong Inode => Identity.Inode;

    /// <summary>The descriptor, for netlink requests that take a namespace.</summary>
    public FileDescriptor Handle => _handle;

    /// <summary>The calling thread's namespace.</summary>
    public static NetNs Current() => OpenPath("/proc/thread-self/ns/net");

    /// <summary>A namespace that <c>ip netns</c> or <see cref="Create"/> has named.</summary>
    /// <exception cref="LinuxException">ENOENT: there is none of that name.</exception>
    public static NetNs OpenNamed(string name) => OpenPath(PathOf(name));

    /// <summary>The namespace of a process.</summary>
    /// <exception cref="LinuxException">ENOENT: no such process.</exception>
    public static NetNs OpenProcess(int pid) => OpenPath($"/proc/{pid}/ns/net");

    /// <summary>A namespace by the path of a bind mount or of /proc/PID/ns/net, as container runtimes hand it over.</summary>
    /// <exception cref="LinuxException">ENOENT: nothing there. EINVAL: the file is not a network namespace.</exception>
    public static NetNs OpenPath(string path)
    {
        FileDescriptor fd = Libc.Open(path, Libc.O_RDONLY, $"open network namespace '{path}'");
        // Any file opens; NS_GET_NSTYPE tells at once whether it is a network namespace, rather than at the first setns.
        const nuint NS_GET_NSTYPE = 0xb703;
        if (Libc.ioctl(fd, NS_GET_NSTYPE, null) != CLONE_NEWNET)
        {
            fd.Dispose();
            throw new LinuxException(Errno.EINVAL, $"open network namespace '{path}'", "The file is not a network namespace.");
        }
        return new NetNs(fd, $"'{path}'");
    }

    /// <summary>Takes over a namespace's descriptor, received over a socket for instance.</summary>
    public static NetNs Adopt(FileDescriptor handle) => new(handle, $"of file descriptor {handle.Value}");

    /// <summary>Makes a namespace without a name: it ends with its last handle, process and socket.</summary>
    /// <exception cref="LinuxException">EPERM: needs CAP_SYS_ADMIN. ENOSPC: too many namespaces.</exception>
    public static NetNs CreateAnonymous() => OnThread("unshare", () =>
    {
        Unshare("create a network namespace");
        return Current();
    });

    /// <summary>Makes a named namespace, as <c>ip netns add</c> does. Its loopback device is down.</summary>
    /// <exception cref="LinuxException">EEXIST: the name is taken. EPERM: needs CAP_SYS_ADMIN.</exception>
    public static NetNs Create(string name)
    {
        string path = PathOf(name);
        using FileDescriptor _ = PrepareDirectory();
        // The mount point; O_EXCL is what makes two creators of one name safe.
        Libc.Open(path, Libc.O_RDONLY | Libc.O_CREAT | Libc.O_EXCL, $"create network namespace '{name}'", 0,
            e => e == Errno.EEXIST ? "A namespace of this name exists already; see 'ip netns list'." : null).Dispose();
        try
        {
            return OnThread("unshare", () =>
            {
                Unshare($"create network namespace '{name}'");
                if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, null) < 0)
                    throw LinuxException.Last($"bind network namespace '{name}' to {path}", NeedsAdmin);
                return new NetNs(Libc.Open(path, Libc.O_RDONLY, $"open network namespace '{name}'"), $"'{name}'");
            });
        }
        catch
        {
            Libc.unlink(path);
            throw;
        }
    }

    /// <summary>
    /// Removes a name, as <c>ip netns delete</c> does. The namespace itself goes, with its virtual devices, when nothing
    /// else refers to it; the kernel does that in the background.
    /// </summary>
    /// <exception cref="LinuxException">ENOENT: there is none of that name.</exception>
    public static void Delete(string name)
    {
        string path = PathOf(name);
        // EINVAL: a left-over file that nothing is mounted on; it is removed all the same.
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && Marshal.GetLastPInvokeError() != Errno.EINVAL)
            throw LinuxException.Last($"delete network namespace '{name}'");
        if (Libc.unlink(path) < 0)
            throw LinuxException.Last($"delete network namespace '{name}'");
    }

    /// <summary>The names under /run/netns, sorted.</summary>
    public static IReadOnlyList<string> List()
    {
        if (!System.IO.Directory.Exists(Directory))
            return [];
        return [.. System.IO.Directory.EnumerateFiles(Directory).Select(p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];
    }

    /// <summary>Whether both handles mean the same namespace.</summary>
    public bool IsSameAs(NetNs other) => Identity == other.Identity;

    /// <summary>
    /// Runs <paramref name="action"/> on a thread of its own inside the namespace and returns its result or throws its
    /// exception. The thread ends with it, so the namespace cannot follow later work of the thread pool. Sockets and
    /// devices made there stay in the namespace and can be used from any thread afterwards.
    /// </summary>
    /// <remarks>
    /// A new thread inherits the namespace of the one that starts it, and keeps the namespace alive. The action must
    /// therefore not start threads, tasks, timers or processes, nor use for the first time what starts a thread behind the
    /// scenes (the console, asynchronous sockets); results that are tasks are refused. Make the socket inside, use it
    /// outside.
    /// </remarks>
    /// <exception cref="LinuxException">EPERM: entering a namespace needs CAP_SYS_ADMIN.</exception>
    public T Run<T>(Func<T> action)
    {
        if (typeof(T).IsAssignableTo(typeof(Task)) || typeof(T) == typeof(ValueTask)
            || (typeof(T).IsGenericType && typeof(T).GetGenericTypeDefinition() == typeof(ValueTask<>)))
            throw new ArgumentException("asynchronous work would continue on the thread pool, outside the namespace", nameof(action));
        return OnThread($"netns {Inode}", () =>
        {
            if (setns(_handle, CLONE_NEWNET) < 0)
                throw LinuxException.Last($"enter network namespace {_label}", NeedsAdmin);
            return action();
        });
    }

    /// <inheritdoc cref="Run{T}"/>
    public void Run(Action action) => Run(() =>
    {
        action();
        return true;
    });

    public override string ToString() => $"net:[{Inode}] {_label}";

    public void Dispose() => _handle.Dispose();

    private static T OnThread<T>(string threadName, Func<T> action)
    {
        T? result = default;
        ExceptionDispatchInfo? error = null;
        var thread = new Thread(() =>
        {
            try
            {
                result = action();
            }
            catch (Exception e)
            {
                error = ExceptionDispatchInfo.Capture(e);
            }
        })
        { IsBackground = true, Name = threadName };
        thread.Start();
        thread.Join();
        error?.Throw();
        return result!;
    }

    private static void Unshare(string what)
    {
        if (unshare(CLONE_NEWNET) < 0)
            throw LinuxException.Last(what, NeedsAdmin);
    }

    private static string PathOf(string name)
    {
        if (name.Length is 0 or > 255 || name is "." or ".." || name.AsSpan().ContainsAny('/', '\0'))
            throw new ArgumentException($"'{name}' cannot be the name of a network namespace", nameof(name));
        return $"{Directory}/{name}";
    }

    /// <summary>
    /// Makes /run/netns a shared mount, as ip does, so that a name made or deleted here is made or deleted in other mount
    /// namespaces too; else a deleted namespace would live on in them. Returns the lock under which that is done.
    /// </summary>
    private static FileDescriptor PrepareDirectory()
    {
        System.IO.Directory.CreateDirectory(Directory);
        FileDescriptor directory = Libc.Open(Directory, Libc.O_RDONLY, $"open {Directory}");
        try
        {
            // Two programs that both find it unshared would mount it over itself twice. ip takes the same lock.
            FileLock.Lock(directory, $"lock {Directory}");
            if (mount("", Directory, "none", MS_SHARED | MS_REC, null) == 0)
                return directory;
            if (Marshal.GetLastPInvokeError() != Errno.EINVAL)
                throw LinuxException.Last($"make {Directory} a shared mount", NeedsAdmin);
            // EINVAL: not a mount point yet.
            if (mount(Directory, Directory, "none", MS_BIND | MS_REC, null) < 0
                || mount("", Directory, "none", MS_SHARED | MS_REC, null) < 0)
                throw LinuxException.Last($"make {Directory} a shared mount", NeedsAdmin);
            return directory;
        }
        catch
        {
            directory.Dispose();
            throw;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setns(FileDescriptor fd, int type);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unshare(int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string type, nuint flags, void* data);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int umount2(string target, int flags);
}
