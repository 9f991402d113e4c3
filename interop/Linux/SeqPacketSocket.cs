using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Unix sockets that keep message boundaries and order and notice the other end's death; AF_UNIX with SOCK_SEQPACKET,
/// unix(7). What <see cref="SeqPacketListener"/> and <see cref="SeqPacketConnection"/> share: addresses and options.
/// </summary>
internal static unsafe partial class SeqPacketSocket
{
    internal const int AF_UNIX = 1;
    internal const int SOCK_SEQPACKET = 5;
    internal const int SOCK_NONBLOCK = 0x800;
    internal const int SOCK_CLOEXEC = 0x80000;
    internal const int SOL_SOCKET = 1;
    internal const int SO_SNDBUF = 7;
    internal const int SO_PEERCRED = 17;

    /// <summary>The longest path of a socket, in bytes of UTF-8 (sizeof sun_path less the final zero).</summary>
    internal const int MaxPathLength = 107;

    internal static FileDescriptor Create()
    {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        return fd >= 0 ? new FileDescriptor(fd) : throw LinuxException.Last("create a unix socket");
    }

    /// <summary>bind, or connect, to a path; returns 0 or the error number.</summary>
    internal static int WithAddress(string path, FileDescriptor socket, delegate*<FileDescriptor, void*, uint, int> call)
    {
        sockaddr_un address = default;
        address.sun_family = AF_UNIX;
        int length = Encoding.UTF8.GetBytes(path, new Span<byte>(address.sun_path, MaxPathLength));
        return call(socket, &address, (uint)(sizeof(ushort) + length + 1)) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <exception cref="ArgumentException">The path is empty, too long for a socket, or would name an abstract one.</exception>
    internal static void ValidatePath(string path)
    {
        if (path.Length == 0 || path.Contains('\0'))
            throw new ArgumentException("a socket needs a path in the file system", nameof(path));
        if (Encoding.UTF8.GetByteCount(path) > MaxPathLength)
            throw new ArgumentException($"the socket path '{path}' is longer than {MaxPathLength} bytes", nameof(path));
    }

    internal static PeerCredentials Peer(FileDescriptor socket)
    {
        PeerCredentials peer;
        uint length = (uint)sizeof(PeerCredentials);
        return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0
            ? peer
            : throw LinuxException.Last("read the credentials of a unix socket's peer");
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int socketpair(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int bind(FileDescriptor socket, void* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int connect(FileDescriptor socket, void* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int listen(FileDescriptor socket, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int accept4(FileDescriptor socket, void* address, uint* length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int getsockopt(FileDescriptor socket, int level, int option, void* value, uint* length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int setsockopt(FileDescriptor socket, int level, int option, void* value, uint length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint sendmsg(FileDescriptor socket, msghdr* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint recvmsg(FileDescriptor socket, msghdr* message, int flags);

#pragma warning disable CS8981 // C's names
    [StructLayout(LayoutKind.Sequential)]
    internal struct sockaddr_un
    {
        public ushort sun_family;
        public fixed byte sun_path[108];
    }

    /// <summary>struct msghdr of recvmsg(2), 64-bit layout.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct msghdr
    {
        public void* msg_name;
        public uint msg_namelen;
        public iovec* msg_iov;
        public nuint msg_iovlen;
        public void* msg_control;
        public nuint msg_controllen;
        public int msg_flags;
    }

    /// <summary>struct cmsghdr of cmsg(3), 64-bit layout; the data follows at once, padded to 8 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct cmsghdr
    {
        public nuint cmsg_len;
        public int cmsg_level;
        public int cmsg_type;
    }
}
