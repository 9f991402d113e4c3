using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Packet sockets on one network device, packet(7): what the device receives, besides what the kernel does with it, and what is written
/// is sent. Each message has a <see cref="virtio_net_hdr"/> in front, the first <see cref="HeaderSize"/> bytes of it, so that checksums
/// and large segments that a kernel, its receive offload or a virtual machine left to be done are told and taken. Several sockets share the
/// packets by their flows (PACKET_FANOUT_HASH).
/// </summary>
/// <remarks>A VLAN tag that the device took off is in the message's control data (PACKET_AUXDATA).</remarks>
public sealed unsafe partial class NetdevSockets : IDisposable
{
    /// <summary>Bytes of the virtio-net header in front of each message: without the number of buffers.</summary>
    public const int HeaderSize = 10;

    /// <summary>Bytes of packets, with what the kernel counts beside them, that wait to be read: some milliseconds at a million a second.</summary>
    private const int ReceiveBuffer = 8 * 1024 * 1024;

    /// <summary>Bytes on their way to the device.</summary>
    private const int SendBuffer = 4 * 1024 * 1024;

    internal const int AF_PACKET = 17, SOCK_RAW = 3, ETH_P_ALL = 3;
    internal const int SOL_SOCKET = 1, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33;
    internal const int SOL_PACKET = 263, PACKET_ADD_MEMBERSHIP = 1, PACKET_AUXDATA = 8, PACKET_VNET_HDR = 15, PACKET_FANOUT = 18,
        PACKET_IGNORE_OUTGOING = 23;
    internal const int PACKET_MR_PROMISC = 1, PACKET_FANOUT_HASH = 0, PACKET_FANOUT_FLAG_UNIQUEID = 0x2000, PACKET_FANOUT_FLAG_IGNORE_OUTGOING = 0x4000, ARPHRD_ETHER = 1;
    internal const int MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40;

    private readonly List<FileDescriptor> _sockets = [];

    private NetdevSockets(LinkInfo device)
    {
        Device = device;
    }

    /// <summary>The device as it was when the sockets were opened.</summary>
    public LinkInfo Device { get; }

    /// <summary>Opens sockets that do not block. From now on the device receives what is addressed to anybody (promiscuous), until they are closed.</summary>
    /// <param name="name">The device, in the calling thread's network namespace.</param>
    /// <param name="count">How many, at least one.</param>
    /// <exception cref="LinuxException">ENODEV: there is no such device. EPERM: this needs CAP_NET_RAW.</exception>
    public static NetdevSockets Open(string name, int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        using Netlink netlink = Netlink.Open();
        LinkInfo device = netlink.FindLink(name)
            ?? throw new LinuxException(Errno.ENODEV, $"open network device '{name}'", "'ip link' lists those that there are.");
        var opened = new NetdevSockets(device);
        try
        {
            int group = 0;
            for (int i = 0; i < count; i++)
            {
                opened._sockets.Add(OpenOne(device));
                if (count > 1)
                {
                    Join(opened._sockets[i], device, ref group);
                }
            }
            // What came to one of them before the others shared it may have come to several.
            for (int i = 0; count > 1 && i < count; i++)
            {
                byte nothing;
                while (recv(opened._sockets[i], &nothing, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0)
                {
                }
            }
            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>Whether a socket's device is there still, up or down. Allocates nothing.</summary>
    public static bool HasDevice(int fd)
    {
        sockaddr_ll address = default;
        uint length = (uint)sizeof(sockaddr_ll);
        return Libc.getsockname(fd, &address, &length) < 0 || address.sll_ifindex > 0;
    }

    /// <summary>Gives the descriptors away: the caller closes them from now on, and this object has none left.</summary>
    public int[] DetachFds()
    {
        int[] fds = [.. _sockets.Select(s => s.Detach())];
        _sockets.Clear();
        return fds;
    }

    public void Dispose()
    {
        _sockets.ForEach(s => s.Dispose());
        _sockets.Clear();
    }

    private static FileDescriptor OpenOne(LinkInfo device)
    {
        string what = $"open network device '{device.Name}'";
        // Of no protocol at first: nothing is received before all is set.
        int fd = SeqPacketSocket.socket(AF_PACKET, SOCK_RAW | SeqPacketSocket.SOCK_CLOEXEC | SeqPacketSocket.SOCK_NONBLOCK, 0);
        if (fd < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            throw new LinuxException(errno, what, errno == Errno.EPERM ? "This needs root or CAP_NET_RAW." : null);
        }
        var handle = new FileDescriptor(fd);
        try
        {
            Set(handle, SOL_PACKET, PACKET_VNET_HDR, 1, what);
            Set(handle, SOL_PACKET, PACKET_AUXDATA, 1, what);
            // What the host sends is not what the device receives.
            Set(handle, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, what);
            SetBuffer(handle, SO_RCVBUFFORCE, SO_RCVBUF, ReceiveBuffer);
            SetBuffer(handle, SO_SNDBUFFORCE, SO_SNDBUF, SendBuffer);
            var request = new packet_mreq { mr_ifindex = device.Index, mr_type = PACKET_MR_PROMISC };
            if (SeqPacketSocket.setsockopt(handle, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, (uint)sizeof(packet_mreq)) < 0)
                throw LinuxException.Last($"{what}: receive what is addressed to others");
            var address = new sockaddr_ll
            {
                sll_family = AF_PACKET,
                sll_protocol = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness((ushort)ETH_P_ALL),
                sll_ifindex = device.Index,
            };
            uint length = (uint)sizeof(sockaddr_ll);
            if (SeqPacketSocket.bind(handle, &address, length) < 0)
                throw LinuxException.Last(what);
            if (Libc.getsockname(handle.Value, &address, &length) < 0)
                throw new LinuxException(Libc.Errno(), what);
            if (address.sll_hatype != ARPHRD_ETHER)
                throw new LinuxException(Errno.EINVAL, what, "It is no Ethernet device.");
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Makes a socket share packets with the others of a group; with group 0 makes one.</summary>
    private static void Join(FileDescriptor socket, LinkInfo device, ref int group)
    {
        string what = $"share packets of network device '{device.Name}'";
        // What holds for a socket alone does not for the group.
        const int Type = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
        int value = group | ((Type | (group == 0 ? PACKET_FANOUT_FLAG_UNIQUEID : 0)) << 16);
        Set(socket, SOL_PACKET, PACKET_FANOUT, value, what);
        if (group == 0)
        {
            uint length = sizeof(int);
            if (SeqPacketSocket.getsockopt(socket, SOL_PACKET, PACKET_FANOUT, &value, &length) < 0)
                throw LinuxException.Last(what);
            group = value & 0xFFFF;
        }
    }

    private static void Set(FileDescriptor socket, int level, int option, int value, string what)
    {
        if (SeqPacketSocket.setsockopt(socket, level, option, &value, sizeof(int)) < 0)
            throw LinuxException.Last($"{what}: option {option}", "Linux 5.11 or later is needed.");
    }

    /// <summary>More than net.core.rmem_max and wmem_max allow takes CAP_NET_ADMIN; without it they are as large as may be.</summary>
    private static void SetBuffer(FileDescriptor socket, int force, int option, int bytes)
    {
        if (SeqPacketSocket.setsockopt(socket, SOL_SOCKET, force, &bytes, sizeof(int)) < 0)
            SeqPacketSocket.setsockopt(socket, SOL_SOCKET, option, &bytes, sizeof(int));
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(FileDescriptor socket, void* buffer, nuint length, int flags);

    /// <summary>struct sockaddr_ll of packet(7); 20 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct sockaddr_ll
    {
        public ushort sll_family;
        public ushort sll_protocol;
        public int sll_ifindex;
        public ushort sll_hatype;
        public byte sll_pkttype;
        public byte sll_halen;
        public fixed byte sll_addr[8];
    }

    /// <summary>struct packet_mreq of packet(7); 16 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct packet_mreq
    {
        public int mr_ifindex;
        public ushort mr_type;
        public ushort mr_alen;
        public ulong mr_address;
    }
}
