using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Accepts connections on a path in the file system. Two listeners that start at the same moment on one path are not
/// told apart reliably; hold a <see cref="FileLock"/> where that can happen.
/// </summary>
public sealed unsafe class SeqPacketListener : IDisposable
{
    private readonly FileDescriptor _socket;
    private readonly FileIdentity _file;

    private SeqPacketListener(FileDescriptor socket, string path, FileIdentity file)
    {
        _socket = socket;
        _file = file;
        Path = path;
    }

    public string Path { get; }

    /// <summary>The descriptor, to be waited for: readable when Accept has a connection.</summary>
    public int Fd => _socket.Value;

    /// <summary>Makes the socket file and listens. A socket file that nobody listens on any more is replaced.</summary>
    /// <param name="path">At most 107 bytes.</param>
    /// <param name="mode">Who may connect: needs write permission on the file. Set before anyone can connect.</param>
    /// <param name="uid">The file's owner, or null for this process's.</param>
    /// <param name="gid">The file's group, or null for this process's.</param>
    /// <param name="backlog">Connections that wait for Accept; more are made to wait in connect.</param>
    /// <exception cref="LinuxException">EADDRINUSE: someone listens there (the message says which process), or the path
    /// is something else than a socket. ENOENT, EACCES: the directory is missing or closed.</exception>
    public static SeqPacketListener Listen(string path, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        uint? uid = null, uint? gid = null, int backlog = 16)
    {
        SeqPacketSocket.ValidatePath(path);
        string what = $"listen on socket '{path}'";
        FileDescriptor socket = SeqPacketSocket.Create();
        bool bound = false;
        try
        {
            int error = SeqPacketSocket.WithAddress(path, socket, &SeqPacketSocket.bind);
            if (error == Errno.EADDRINUSE)
            {
                RemoveStale(path, what);
                error = SeqPacketSocket.WithAddress(path, socket, &SeqPacketSocket.bind);
            }
            if (error != 0)
                throw new LinuxException(error, what, error == Errno.ENOENT ? "Its directory does not exist." : null);
            bound = true;
            // In this order: until listen, a connect is refused, so nobody gets in under the wrong mode.
            if (Libc.chmod(path, (uint)mode) < 0)
                throw LinuxException.Last($"{what}: set its mode");
            if ((uid ?? gid) is not null && Libc.lchown(path, uid ?? uint.MaxValue, gid ?? uint.MaxValue) < 0)
                throw LinuxException.Last($"{what}: set its owner");
            if (SeqPacketSocket.listen(socket, backlog) < 0)
                throw LinuxException.Last(what);
            return new SeqPacketListener(socket, path, Libc.TryStat(path, out statx_t file) ? file.Identity : default);
        }
        catch
        {
            if (bound)
                Libc.unlink(path);
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Waits for a connection; null when the time is over. A null timeout waits for ever.</summary>
    /// <exception cref="LinuxException">EMFILE, ENFILE: too many descriptors.</exception>
    public SeqPacketConnection? Accept(TimeSpan? timeout = null)
    {
        while (true)
        {
            int fd = SeqPacketSocket.accept4(_socket, null, null, SeqPacketSocket.SOCK_NONBLOCK | SeqPacketSocket.SOCK_CLOEXEC);
            if (fd >= 0)
                return new SeqPacketConnection(new FileDescriptor(fd));
            int errno = Marshal.GetLastPInvokeError();
            if (errno == Errno.EAGAIN)
            {
                // With several acceptors, another may take the connection that woke this one: its wait begins anew.
                if (!Libc.Wait(_socket, pollfd.POLLIN, timeout))
                    return null;
            }
            else if (errno is not (Errno.EINTR or 103 /* ECONNABORTED: the peer gave up meanwhile */))
            {
                throw new LinuxException(errno, $"accept a connection on socket '{Path}'");
            }
        }
    }

    /// <summary>Stops listening and removes the socket file, unless another listener has replaced it.</summary>
    public void Dispose()
    {
        if (_socket.IsClosed)
            return;
        if (Libc.TryStat(Path, out statx_t file) && file.Identity == _file)
            Libc.unlink(Path);
        _socket.Dispose();
    }

    /// <summary>Removes a socket file that nobody listens on; throws when that is not what is there.</summary>
    private static void RemoveStale(string path, string what)
    {
        if (!Libc.TryStat(path, out statx_t file))
            return;
        if ((file.stx_mode & statx_t.S_IFMT) != statx_t.S_IFSOCK)
            throw new LinuxException(Errno.EADDRINUSE, what, "There is a file that is not a socket; it is left alone.");
        using FileDescriptor probe = SeqPacketSocket.Create();
        int error = SeqPacketSocket.WithAddress(path, probe, &SeqPacketSocket.connect);
        if (error == 0)
            throw new LinuxException(Errno.EADDRINUSE, what, $"Process {SeqPacketSocket.Peer(probe).Pid} is listening there.");
        // EAGAIN: its backlog is full. EPROTOTYPE: a socket of another type. Either way someone may be listening.
        if (error != Errno.ECONNREFUSED)
            throw new LinuxException(Errno.EADDRINUSE, what, "Another process is listening there.");
        Libc.unlink(path);
    }

    /// <summary>
    /// Removes the socket file of a listener that is gone, and does not disturb one that is there: it is asked for with a socket
    /// of another type, which the kernel refuses in one way when somebody listens and in another when nobody does.
    /// </summary>
    /// <param name="path">The file; there need not be one.</param>
    /// <param name="what">For messages: what the way is cleared for.</param>
    /// <returns>Whether the path is free; false when somebody listens.</returns>
    /// <exception cref="LinuxException">EADDRINUSE: there is a file that is no socket.</exception>
    public static bool Clear(string path, string what)
    {
        if (!Libc.TryStat(path, out statx_t file))
            return true;
        if ((file.stx_mode & statx_t.S_IFMT) != statx_t.S_IFSOCK)
            throw new LinuxException(Errno.EADDRINUSE, what, "There is a file that is not a socket; it is left alone.");
        using var probe = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return false;
        }
        catch (SocketException e)
        {
            if (e.SocketErrorCode != SocketError.ConnectionRefused)
                return false;
        }
        Libc.unlink(path);
        return true;
    }
}
