using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A rtnetlink socket: sends a request, gathers what the kernel answers, and turns a refusal into an exception with the
/// kernel's own explanation; netlink(7).
/// </summary>
internal sealed unsafe partial class NetlinkSocket : IDisposable
{
    internal delegate void Handler(ushort type, ReadOnlySpan<byte> body);

    private const int AF_NETLINK = 16;
    private const int SOCK_RAW = 3;
    private const int NETLINK_ROUTE = 0;
    private const int SOL_NETLINK = 270;
    private const int NETLINK_CAP_ACK = 10;
    private const int NETLINK_EXT_ACK = 11;
    private const int SOL_SOCKET = 1;
    private const int SO_RCVBUF = 8;
    private const int MSG_TRUNC = 0x20;
    private const ushort NLMSG_ERROR = 2;
    private const ushort NLMSG_DONE = 3;
    private const ushort NLM_F_DUMP_INTR = 0x10;
    private const ushort NLM_F_CAPPED = 0x100;
    private const ushort NLM_F_ACK_TLVS = 0x200;
    private const ushort NLMSGERR_ATTR_MSG = 1;
    private const int MaxDumpAttempts = 10;

    // The kernel fills dump messages up to 32 KiB at most.
    private readonly byte[] _buffer = new byte[64 * 1024];
    private uint _sequence;

    private NetlinkSocket(FileDescriptor handle)
    {
        Handle = handle;
    }

    internal FileDescriptor Handle { get; }

    /// <summary>Opens a socket in a namespace, or in the calling thread's. It stays there, whatever thread uses it.</summary>
    internal static NetlinkSocket Open(NetNs? ns, uint groups, bool nonBlocking, int receiveBuffer = 0)
    {
        return ns is null ? OpenHere() : ns.Run(OpenHere);

        NetlinkSocket OpenHere()
        {
            int type = SOCK_RAW | SeqPacketSocket.SOCK_CLOEXEC | (nonBlocking ? SeqPacketSocket.SOCK_NONBLOCK : 0);
            int fd = SeqPacketSocket.socket(AF_NETLINK, type, NETLINK_ROUTE);
            if (fd < 0)
                throw LinuxException.Last("open a rtnetlink socket");
            var handle = new FileDescriptor(fd);
            var address = new sockaddr_nl { nl_family = AF_NETLINK, nl_groups = groups };
            if (SeqPacketSocket.bind(handle, &address, (uint)sizeof(sockaddr_nl)) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                handle.Dispose();
                throw new LinuxException(errno, "bind a rtnetlink socket");
            }
            // Both only improve error texts, so a kernel without them is no error. CAP_ACK: do not send the request back.
            int one = 1;
            SeqPacketSocket.setsockopt(handle, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(int));
            SeqPacketSocket.setsockopt(handle, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(int));
            int size = receiveBuffer;
            if (size > 0)
                SeqPacketSocket.setsockopt(handle, SOL_SOCKET, SO_RCVBUF, &size, sizeof(int));
            return new NetlinkSocket(handle);
        }
    }

    /// <summary>
    /// Sends a request and waits for its acknowledgement, giving each message that answers it to
    /// <paramref name="handler"/>. One request at a time.
    /// </summary>
    /// <exception cref="LinuxException">The kernel refused; <paramref name="what"/> begins the message.</exception>
    internal void Request(NetlinkRequest request, Func<string> what, Handler? handler = null)
    {
        uint sequence = Send(request, what);
        while (!Answer(sequence, what, handler, out _))
        {
        }
    }

    /// <summary>
    /// Asks for a list, one item per message of the answer. A list that changed while it was read is read again.
    /// </summary>
    internal List<T> Dump<T>(Func<NetlinkRequest> request, Func<string> what, Action<List<T>, ushort, ReadOnlySpan<byte>> parse)
    {
        for (int attempt = 1; ; attempt++)
        {
            var items = new List<T>();
            bool interrupted = false;
            uint sequence = Send(request(), what);
            bool done;
            do
            {
                done = Answer(sequence, what, (type, body) => parse(items, type, body), out bool torn);
                interrupted |= torn;
            }
            while (!done);
            if (!interrupted || attempt == MaxDumpAttempts)
                return items;
        }
    }

    /// <summary>
    /// Takes one datagram off a non-blocking socket that listens to a multicast group; false when there is none.
    /// <paramref name="overrun"/> says that the kernel had to drop messages before this one.
    /// </summary>
    internal bool TryReceiveEvents(Handler handler, out bool overrun)
    {
        overrun = false;
        int length = Receive(out int errno);
        if (length < 0)
        {
            overrun = errno == Errno.ENOBUFS;
            if (overrun || errno == Errno.EAGAIN)
                return overrun;
            throw new LinuxException(errno, "receive from a rtnetlink socket");
        }
        ReadOnlySpan<byte> rest = _buffer.AsSpan(0, length);
        while (Take(ref rest, out nlmsghdr header, out ReadOnlySpan<byte> body))
            handler(header.nlmsg_type, body);
        return true;
    }

    public void Dispose() => Handle.Dispose();

    /// <summary>Sends a request and returns the number that its answers will carry.</summary>
    private uint Send(NetlinkRequest request, Func<string> what)
    {
        uint sequence = ++_sequence;
        ReadOnlySpan<byte> message = request.Finish(sequence);
        fixed (byte* bytes = message)
        {
            while (send(Handle, bytes, (nuint)message.Length, 0) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                if (errno != Errno.EINTR)
                    throw new LinuxException(errno, what());
            }
        }
        return sequence;
    }

    /// <summary>Receives one datagram of an answer; true when it ends the answer.</summary>
    private bool Answer(uint sequence, Func<string> what, Handler? handler, out bool interrupted)
    {
        interrupted = false;
        int length = Receive(out int errno);
        if (length < 0)
            throw new LinuxException(errno, what());
        ReadOnlySpan<byte> rest = _buffer.AsSpan(0, length);
        while (Take(ref rest, out nlmsghdr header, out ReadOnlySpan<byte> body))
        {
            // What is left of an earlier request that ended in an exception.
            if (header.nlmsg_seq != sequence)
                continue;
            interrupted |= (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            switch (header.nlmsg_type)
            {
                case NLMSG_ERROR or NLMSG_DONE:
                    // DONE carries an error number as well when a list breaks off.
                    int error = body.Length >= 4 ? -MemoryMarshal.Read<int>(body) : 0;
                    if (error == 0)
                        return true;
                    // Before what(), which may ask the kernel for a name and so overwrite the buffer.
                    string? hint = Explain(header, body, error);
                    throw new LinuxException(error, what(), hint);
                default:
                    handler?.Invoke(header.nlmsg_type, body);
                    break;
            }
        }
        return false;
    }

    /// <summary>Receives a datagram of the kernel's (others may send to this socket, too); -1 with the error number.</summary>
    private int Receive(out int errno)
    {
        fixed (byte* bytes = _buffer)
        {
            while (true)
            {
                sockaddr_nl sender = default;
                var piece = new iovec { iov_base = bytes, iov_len = (nuint)_buffer.Length };
                var header = new SeqPacketSocket.msghdr
                {
                    msg_name = &sender,
                    msg_namelen = (uint)sizeof(sockaddr_nl),
                    msg_iov = &piece,
                    msg_iovlen = 1,
                };
                nint length = SeqPacketSocket.recvmsg(Handle, &header, 0);
                errno = length < 0 ? Marshal.GetLastPInvokeError() : 0;
                if (length < 0 && errno != Errno.EINTR)
                    return -1;
                if (length < 0 || sender.nl_pid != 0)
                    continue;
                if ((header.msg_flags & MSG_TRUNC) != 0)
                {
                    errno = Errno.EMSGSIZE;
                    return -1;
                }
                return (int)length;
            }
        }
    }

    private static bool Take(ref ReadOnlySpan<byte> rest, out nlmsghdr header, out ReadOnlySpan<byte> body)
    {
        header = default;
        body = default;
        if (rest.Length < sizeof(nlmsghdr))
            return false;
        header = MemoryMarshal.Read<nlmsghdr>(rest);
        if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > rest.Length)
            return false;
        int length = (int)header.nlmsg_len;
        body = rest[sizeof(nlmsghdr)..length];
        rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
        return true;
    }

    /// <summary>The kernel's text about an error, if it sent one, else our hint for well-known numbers.</summary>
    private static string? Explain(in nlmsghdr header, ReadOnlySpan<byte> body, int error)
    {
        if (header.nlmsg_type == NLMSG_ERROR && (header.nlmsg_flags & NLM_F_ACK_TLVS) != 0 && body.Length >= 4 + sizeof(nlmsghdr))
        {
            // After the error comes the request's header and, unless capped, the rest of the request.
            int skip = (header.nlmsg_flags & NLM_F_CAPPED) != 0
                ? sizeof(nlmsghdr)
                : (int)((MemoryMarshal.Read<nlmsghdr>(body[4..]).nlmsg_len + 3) & ~3u);
            var attributes = new NetlinkAttributes(body[Math.Min(4 + skip, body.Length)..]);
            while (attributes.Next())
            {
                if (attributes.Type == NLMSGERR_ATTR_MSG)
                    return $"The kernel says: {attributes.String}";
            }
        }
        return error == Errno.EPERM ? "This needs root or CAP_NET_ADMIN." : null;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(FileDescriptor socket, void* bytes, nuint length, int flags);

    [StructLayout(LayoutKind.Sequential)]
    private struct sockaddr_nl
    {
        public ushort nl_family;
        private ushort _pad;
        public uint nl_pid;
        public uint nl_groups;
    }
}
