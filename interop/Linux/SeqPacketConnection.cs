using System.Runtime.InteropServices;
using static Dataplane.Interop.Linux.SeqPacketSocket;

namespace Dataplane.Interop.Linux;

/// <summary>What one Receive brought.</summary>
/// <param name="Length">Bytes of the message; 0 only at the end.</param>
/// <param name="FdCount">File descriptors that came with it, the receiver's to close.</param>
public readonly record struct Received(int Length, int FdCount)
{
    /// <summary>The peer has closed its end, or died.</summary>
    public bool IsEnd => Length == 0;
}

/// <summary>
/// One end of a connection that carries messages of 1 byte to 64 KiB, each with up to 64 file descriptors (SCM_RIGHTS,
/// unix(7)). A message arrives whole or not at all, and messages arrive in order. Sending and receiving may happen on two
/// threads at once.
/// </summary>
public sealed unsafe class SeqPacketConnection : IDisposable
{
    /// <summary>The largest message, in bytes.</summary>
    public const int MaxMessageLength = 64 * 1024;

    /// <summary>The most descriptors with one message. The kernel's own limit is 253.</summary>
    public const int MaxFds = 64;

    private const int SCM_RIGHTS = 1;
    private const int MSG_CTRUNC = 0x08;
    private const int MSG_TRUNC = 0x20;
    private const int MSG_NOSIGNAL = 0x4000;
    private const int MSG_CMSG_CLOEXEC = 0x40000000;

    private readonly FileDescriptor _socket;

    internal SeqPacketConnection(FileDescriptor socket)
    {
        _socket = socket;
        // Room for a few of the largest messages, with the kernel's bookkeeping, whatever the system's default is.
        int size = 4 * MaxMessageLength;
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(int));
    }

    /// <summary>The descriptor, to be waited for: readable when Receive has a message or the end.</summary>
    public int Fd => _socket.Value;

    /// <summary>
    /// The process at the other end as it was when the connection was made; for an accepted connection the one that
    /// called connect, for a connecting one the one that called listen.
    /// </summary>
    public PeerCredentials Peer => SeqPacketSocket.Peer(_socket);

    /// <summary>Connects to a listener. While its backlog is full, tries again until the time is over.</summary>
    /// <param name="path">Of the listener's socket file.</param>
    /// <param name="timeout">Null waits for ever.</param>
    /// <exception cref="LinuxException">ENOENT: no such file. ECONNREFUSED: nobody listens there. EACCES: not allowed.
    /// ETIMEDOUT: the listener accepts nothing.</exception>
    public static SeqPacketConnection Connect(string path, TimeSpan? timeout = null)
    {
        ValidatePath(path);
        long deadline = timeout is { } t ? Environment.TickCount64 + (long)t.TotalMilliseconds : long.MaxValue;
        FileDescriptor socket = Create();
        while (true)
        {
            int error = WithAddress(path, socket, &connect);
            if (error == 0)
                return new SeqPacketConnection(socket);
            if (error is Errno.EAGAIN or Errno.EINTR)
            {
                // A full backlog cannot be waited for with poll on unix sockets.
                if (Environment.TickCount64 < deadline)
                {
                    Thread.Sleep(10);
                    continue;
                }
                error = Errno.ETIMEDOUT;
            }
            socket.Dispose();
            throw new LinuxException(error, $"connect to socket '{path}'", error switch
            {
                Errno.ENOENT => "The process that makes it is not running, or uses another path.",
                Errno.ECONNREFUSED => "The process that made it is not running any more.",
                Errno.EACCES => "The socket's file mode does not let this user connect.",
                Errno.ETIMEDOUT => "The process that listens there does not accept connections.",
                _ => null,
            });
        }
    }

    /// <summary>Two connected ends, for use within a process or with a child.</summary>
    public static (SeqPacketConnection First, SeqPacketConnection Second) CreatePair()
    {
        int* pair = stackalloc int[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
            throw LinuxException.Last("create a pair of unix sockets");
        return (new SeqPacketConnection(new FileDescriptor(pair[0])), new SeqPacketConnection(new FileDescriptor(pair[1])));
    }

    /// <summary>Takes over a connected socket of this type, an inherited one for instance, and makes it non-blocking.</summary>
    public static SeqPacketConnection Adopt(FileDescriptor socket)
    {
        int flags = Libc.fcntl(socket, Libc.F_GETFL, 0);
        if (flags < 0 || Libc.fcntl(socket, Libc.F_SETFL, flags | Libc.O_NONBLOCK) < 0)
            throw LinuxException.Last($"adopt socket {socket.Value}");
        return new SeqPacketConnection(socket);
    }

    /// <summary>
    /// Sends one message. While the peer's queue is full, waits until the peer has read most of it (the kernel wakes the
    /// sender when three quarters are free). Descriptors are copied: the sender keeps, and closes, its own.
    /// </summary>
    /// <exception cref="LinuxException">EPIPE or ECONNRESET: the peer has closed. ETIMEDOUT: it does not read.
    /// EBADF: a descriptor is not open. ETOOMANYREFS: too many descriptors are on their way.</exception>
    public void Send(ReadOnlySpan<byte> message, ReadOnlySpan<int> fds = default, TimeSpan? timeout = null)
    {
        // An empty message would look like the end to the receiver.
        ArgumentOutOfRangeException.ThrowIfZero(message.Length, nameof(message));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(message.Length, MaxMessageLength, nameof(message));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fds.Length, MaxFds, nameof(fds));

        byte* control = stackalloc byte[ControlLength(MaxFds)];
        fixed (byte* bytes = message)
        {
            var piece = new iovec { iov_base = bytes, iov_len = (nuint)message.Length };
            var header = new msghdr { msg_iov = &piece, msg_iovlen = 1 };
            if (fds.Length > 0)
            {
                header.msg_control = control;
                header.msg_controllen = (nuint)ControlLength(fds.Length);
                *(cmsghdr*)control = new cmsghdr
                {
                    cmsg_len = (nuint)(sizeof(cmsghdr) + fds.Length * sizeof(int)),
                    cmsg_level = SOL_SOCKET,
                    cmsg_type = SCM_RIGHTS,
                };
                fds.CopyTo(new Span<int>(control + sizeof(cmsghdr), fds.Length));
            }
            while (sendmsg(_socket, &header, MSG_NOSIGNAL) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                string what = $"send {message.Length} bytes and {fds.Length} file descriptors to the peer";
                if (errno == Errno.EAGAIN)
                {
                    if (!Libc.Wait(_socket, pollfd.POLLOUT, timeout))
                        throw new LinuxException(Errno.ETIMEDOUT, what, "The peer does not read.");
                }
                else if (errno != Errno.EINTR)
                {
                    throw new LinuxException(errno, what, errno is Errno.EPIPE or Errno.ECONNRESET ? "The peer has closed the connection." : null);
                }
            }
        }
    }

    /// <summary>
    /// Receives one message, waiting for it. Descriptors that came with it are close-on-exec and the caller's to close.
    /// When this throws, descriptors that had arrived are closed.
    /// </summary>
    /// <param name="message">Where it goes; <see cref="MaxMessageLength"/> bytes hold any.</param>
    /// <param name="fds">Where descriptors go; empty when none are expected.</param>
    /// <param name="timeout">Null waits for ever.</param>
    /// <exception cref="LinuxException">ETIMEDOUT: nothing came. EMSGSIZE: the message is larger than the buffer, or
    /// brought more descriptors than fit, or than this process may have open. ECONNRESET: the peer died with unread messages in
    /// its queue.</exception>
    public Received Receive(Span<byte> message, Span<int> fds = default, TimeSpan? timeout = null) =>
        TryReceive(message, fds, timeout, out Received received)
            ? received
            : throw new LinuxException(Errno.ETIMEDOUT, "receive a message from the peer");

    /// <summary>As Receive, but the end of the time is an answer (false) and not an error.</summary>
    public bool TryReceive(Span<byte> message, Span<int> fds, TimeSpan? timeout, out Received received)
    {
        ArgumentOutOfRangeException.ThrowIfZero(message.Length, nameof(message));
        // Room for one descriptor at least, always: that makes an unexpected one visible, and closable.
        int room = ControlLength(Math.Clamp(fds.Length, 1, MaxFds));
        byte* control = stackalloc byte[ControlLength(MaxFds)];
        msghdr header;
        iovec piece;
        nint length;
        fixed (byte* bytes = message)
        {
            while (true)
            {
                piece = new iovec { iov_base = bytes, iov_len = (nuint)message.Length };
                header = new msghdr { msg_iov = &piece, msg_iovlen = 1, msg_control = control, msg_controllen = (nuint)room };
                length = recvmsg(_socket, &header, MSG_CMSG_CLOEXEC);
                if (length >= 0)
                    break;
                int errno = Marshal.GetLastPInvokeError();
                if (errno == Errno.EAGAIN)
                {
                    if (!Libc.Wait(_socket, pollfd.POLLIN, timeout))
                    {
                        received = default;
                        return false;
                    }
                }
                else if (errno != Errno.EINTR)
                {
                    throw new LinuxException(errno, "receive a message from the peer", errno == Errno.ECONNRESET ? "The peer died." : null);
                }
            }
        }

        Span<int> arrived = Rights(control, header.msg_controllen);
        string? problem =
            (header.msg_flags & MSG_TRUNC) != 0 ? $"The message is longer than the {message.Length} bytes expected."
            // The kernel passes on what fits and drops the rest, also when this process has no free descriptors left.
            : (header.msg_flags & MSG_CTRUNC) != 0 || arrived.Length > fds.Length
                ? $"It brought more file descriptors than the {fds.Length} expected, or than this process may open (ulimit -n)."
            : length == 0 && arrived.Length > 0 ? "It has no bytes, only file descriptors."
            : null;
        if (problem is not null)
        {
            foreach (int fd in arrived)
                Libc.close(fd);
            throw new LinuxException(Errno.EMSGSIZE, "receive a message from the peer", problem);
        }
        arrived.CopyTo(fds);
        received = new Received((int)length, arrived.Length);
        return true;
    }

    public void Dispose() => _socket.Dispose();

    /// <summary>CMSG_SPACE for that many descriptors.</summary>
    private static int ControlLength(int fds) => sizeof(cmsghdr) + ((fds * sizeof(int) + 7) & ~7);

    /// <summary>
    /// The descriptors in received control data. The kernel puts all of a message's into one record, and no other kind is
    /// sent unless the socket asks for it, which these do not.
    /// </summary>
    private static Span<int> Rights(byte* control, nuint length)
    {
        var record = (cmsghdr*)control;
        if (length < (nuint)sizeof(cmsghdr) || record->cmsg_level != SOL_SOCKET || record->cmsg_type != SCM_RIGHTS)
            return [];
        return new Span<int>(control + sizeof(cmsghdr), (int)(record->cmsg_len - (nuint)sizeof(cmsghdr)) / sizeof(int));
    }
}
