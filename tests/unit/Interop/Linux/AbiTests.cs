using System.Runtime.InteropServices;
using System.Text;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>Compares numbers and layouts that are written down in C# with those of the system's C headers.</summary>
public sealed unsafe class AbiTests
{
    private const string Headers = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <poll.h>
        #include <sched.h>
        #include <signal.h>
        #include <stddef.h>
        #include <stdio.h>
        #include <sys/epoll.h>
        #include <sys/eventfd.h>
        #include <sys/ioctl.h>
        #include <sys/socket.h>
        #include <sys/stat.h>
        #include <sys/uio.h>
        #include <sys/un.h>
        #include <net/if.h>
        #include <linux/if_arp.h>
        #include <linux/if_ether.h>
        #include <linux/if_packet.h>
        #include <linux/if_tun.h>
        #include <linux/virtio_net.h>
        #include <linux/rtnetlink.h>
        """;

    private static readonly string[] s_recent = ["TUN_F_USO4", "TUN_F_USO6", "VIRTIO_NET_HDR_GSO_UDP_L4", "PACKET_FANOUT_FLAG_IGNORE_OUTGOING"];

    [Fact]
    public void Constants_and_layouts_are_those_of_the_C_headers()
    {
        // C expression -> our value
        var expected = new Dictionary<string, long>
        {
            ["TUNSETIFF"] = (long)Tap.TUNSETIFF,
            ["TUNSETPERSIST"] = (long)Tap.TUNSETPERSIST,
            ["TUNSETOFFLOAD"] = (long)Tap.TUNSETOFFLOAD,
            ["TUNGETIFF"] = (long)Tap.TUNGETIFF,
            ["TUNGETVNETHDRSZ"] = (long)Tap.TUNGETVNETHDRSZ,
            ["TUNSETVNETHDRSZ"] = (long)Tap.TUNSETVNETHDRSZ,
            ["TUNSETQUEUE"] = (long)Tap.TUNSETQUEUE,
            ["IFF_ATTACH_QUEUE"] = Tap.IFF_ATTACH_QUEUE,
            ["IFF_DETACH_QUEUE"] = Tap.IFF_DETACH_QUEUE,
            ["TUNSETVNETLE"] = (long)Tap.TUNSETVNETLE,
            ["TUNSETCARRIER"] = (long)Tap.TUNSETCARRIER,
            ["TUNGETDEVNETNS"] = (long)Tap.TUNGETDEVNETNS,
            ["IFF_TAP"] = Tap.IFF_TAP,
            ["IFF_MULTI_QUEUE"] = Tap.IFF_MULTI_QUEUE,
            ["IFF_NO_PI"] = Tap.IFF_NO_PI,
            ["IFF_VNET_HDR"] = Tap.IFF_VNET_HDR,
            ["IFF_TUN_EXCL"] = Tap.IFF_TUN_EXCL,
            ["IFNAMSIZ - 1"] = Tap.MaxNameLength,
            ["TUN_F_CSUM"] = (long)TapOffloads.Checksum,
            ["TUN_F_TSO4"] = (long)TapOffloads.Tso4,
            ["TUN_F_TSO6"] = (long)TapOffloads.Tso6,
            ["TUN_F_TSO_ECN"] = (long)TapOffloads.TsoEcn,
            ["TUN_F_USO4"] = (long)TapOffloads.Uso4,
            ["TUN_F_USO6"] = (long)TapOffloads.Uso6,
            ["sizeof(struct ifreq)"] = sizeof(Tap.ifreq),
            ["offsetof(struct ifreq, ifr_flags)"] = Offset<Tap.ifreq>("ifr_flags"),

            ["sizeof(struct virtio_net_hdr_v1)"] = sizeof(virtio_net_hdr),
            ["sizeof(struct virtio_net_hdr_mrg_rxbuf)"] = virtio_net_hdr.Size,
            ["offsetof(struct virtio_net_hdr_v1, hdr_len)"] = Offset<virtio_net_hdr>("hdr_len"),
            ["offsetof(struct virtio_net_hdr_v1, gso_size)"] = Offset<virtio_net_hdr>("gso_size"),
            ["offsetof(struct virtio_net_hdr_v1, csum_start)"] = Offset<virtio_net_hdr>("csum_start"),
            ["offsetof(struct virtio_net_hdr_v1, csum_offset)"] = Offset<virtio_net_hdr>("csum_offset"),
            ["offsetof(struct virtio_net_hdr_v1, num_buffers)"] = Offset<virtio_net_hdr>("num_buffers"),
            ["VIRTIO_NET_HDR_F_NEEDS_CSUM"] = virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM,
            ["VIRTIO_NET_HDR_F_DATA_VALID"] = virtio_net_hdr.VIRTIO_NET_HDR_F_DATA_VALID,
            ["VIRTIO_NET_HDR_GSO_TCPV4"] = virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV4,
            ["VIRTIO_NET_HDR_GSO_UDP"] = virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP,
            ["VIRTIO_NET_HDR_GSO_TCPV6"] = virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV6,
            ["VIRTIO_NET_HDR_GSO_UDP_L4"] = virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4,
            ["VIRTIO_NET_HDR_GSO_ECN"] = virtio_net_hdr.VIRTIO_NET_HDR_GSO_ECN,

            ["sizeof(struct iovec)"] = sizeof(iovec),
            ["offsetof(struct iovec, iov_len)"] = Offset<iovec>("iov_len"),
            ["sizeof(struct pollfd)"] = sizeof(pollfd),
            ["offsetof(struct pollfd, revents)"] = Offset<pollfd>("revents"),
            ["POLLIN"] = pollfd.POLLIN,
            ["POLLOUT"] = pollfd.POLLOUT,
            ["POLLERR"] = pollfd.POLLERR,
            ["POLLHUP"] = pollfd.POLLHUP,
            ["sizeof(struct epoll_event)"] = Epoll.BufferSize(1),
            ["EPOLLEXCLUSIVE"] = (long)EpollEvents.Exclusive,
            ["EPOLLONESHOT"] = (long)EpollEvents.OneShot,
            ["EPOLLET"] = (long)EpollEvents.EdgeTriggered,
            ["EPOLLRDHUP"] = (long)EpollEvents.ReadHangUp,

            ["sizeof(struct msghdr)"] = sizeof(SeqPacketSocket.msghdr),
            ["offsetof(struct msghdr, msg_control)"] = Offset<SeqPacketSocket.msghdr>("msg_control"),
            ["offsetof(struct msghdr, msg_flags)"] = Offset<SeqPacketSocket.msghdr>("msg_flags"),
            ["sizeof(struct cmsghdr)"] = sizeof(SeqPacketSocket.cmsghdr),
            ["sizeof(struct sockaddr_un)"] = sizeof(SeqPacketSocket.sockaddr_un),
            ["sizeof(struct ucred)"] = sizeof(PeerCredentials),
            ["SOCK_SEQPACKET"] = SeqPacketSocket.SOCK_SEQPACKET,
            ["SOCK_NONBLOCK"] = SeqPacketSocket.SOCK_NONBLOCK,
            ["SOCK_CLOEXEC"] = SeqPacketSocket.SOCK_CLOEXEC,
            ["SO_PEERCRED"] = SeqPacketSocket.SO_PEERCRED,

            ["sizeof(struct mmsghdr)"] = sizeof(mmsghdr),
            ["offsetof(struct mmsghdr, msg_hdr.msg_control)"] = Offset<mmsghdr>("msg_control"),
            ["offsetof(struct mmsghdr, msg_hdr.msg_flags)"] = Offset<mmsghdr>("msg_flags"),
            ["offsetof(struct mmsghdr, msg_len)"] = Offset<mmsghdr>("msg_len"),
            ["sizeof(struct sockaddr_ll)"] = sizeof(NetdevSockets.sockaddr_ll),
            ["offsetof(struct sockaddr_ll, sll_ifindex)"] = Offset<NetdevSockets.sockaddr_ll>("sll_ifindex"),
            ["offsetof(struct sockaddr_ll, sll_hatype)"] = Offset<NetdevSockets.sockaddr_ll>("sll_hatype"),
            ["sizeof(struct packet_mreq)"] = sizeof(NetdevSockets.packet_mreq),
            ["sizeof(struct tpacket_auxdata)"] = sizeof(PacketMessages.tpacket_auxdata),
            ["offsetof(struct tpacket_auxdata, tp_vlan_tci)"] = Offset<PacketMessages.tpacket_auxdata>("tp_vlan_tci"),
            ["offsetof(struct tpacket_auxdata, tp_vlan_tpid)"] = Offset<PacketMessages.tpacket_auxdata>("tp_vlan_tpid"),
            ["CMSG_SPACE(sizeof(struct tpacket_auxdata))"] = PacketMessages.ControlSize,
            ["TP_STATUS_VLAN_VALID"] = PacketMessages.TP_STATUS_VLAN_VALID,
            ["TP_STATUS_VLAN_TPID_VALID"] = PacketMessages.TP_STATUS_VLAN_TPID_VALID,
            ["sizeof(struct virtio_net_hdr)"] = NetdevSockets.HeaderSize,
            ["AF_PACKET"] = NetdevSockets.AF_PACKET,
            ["SOCK_RAW"] = NetdevSockets.SOCK_RAW,
            ["ETH_P_ALL"] = NetdevSockets.ETH_P_ALL,
            ["ARPHRD_ETHER"] = NetdevSockets.ARPHRD_ETHER,
            ["SOL_SOCKET"] = NetdevSockets.SOL_SOCKET,
            ["SO_SNDBUF"] = NetdevSockets.SO_SNDBUF,
            ["SO_RCVBUF"] = NetdevSockets.SO_RCVBUF,
            ["SO_SNDBUFFORCE"] = NetdevSockets.SO_SNDBUFFORCE,
            ["SO_RCVBUFFORCE"] = NetdevSockets.SO_RCVBUFFORCE,
            ["SOL_PACKET"] = NetdevSockets.SOL_PACKET,
            ["PACKET_ADD_MEMBERSHIP"] = NetdevSockets.PACKET_ADD_MEMBERSHIP,
            ["PACKET_AUXDATA"] = NetdevSockets.PACKET_AUXDATA,
            ["PACKET_VNET_HDR"] = NetdevSockets.PACKET_VNET_HDR,
            ["PACKET_FANOUT"] = NetdevSockets.PACKET_FANOUT,
            ["PACKET_FANOUT_HASH"] = NetdevSockets.PACKET_FANOUT_HASH,
            ["PACKET_FANOUT_FLAG_UNIQUEID"] = NetdevSockets.PACKET_FANOUT_FLAG_UNIQUEID,
            ["PACKET_FANOUT_FLAG_IGNORE_OUTGOING"] = NetdevSockets.PACKET_FANOUT_FLAG_IGNORE_OUTGOING,
            ["PACKET_IGNORE_OUTGOING"] = NetdevSockets.PACKET_IGNORE_OUTGOING,
            ["PACKET_MR_PROMISC"] = NetdevSockets.PACKET_MR_PROMISC,
            ["MSG_TRUNC"] = NetdevSockets.MSG_TRUNC,
            ["MSG_DONTWAIT"] = NetdevSockets.MSG_DONTWAIT,

            ["sizeof(struct statx)"] = sizeof(statx_t),
            ["offsetof(struct statx, stx_mode)"] = Offset<statx_t>("stx_mode"),
            ["offsetof(struct statx, stx_ino)"] = Offset<statx_t>("stx_ino"),
            ["offsetof(struct statx, stx_size)"] = Offset<statx_t>("stx_size"),
            ["offsetof(struct statx, stx_dev_major)"] = Offset<statx_t>("stx_dev_major"),
            ["offsetof(struct statx, stx_dev_minor)"] = Offset<statx_t>("stx_dev_minor"),
            ["STATX_BASIC_STATS"] = statx_t.STATX_BASIC_STATS,
            ["O_CLOEXEC"] = Libc.O_CLOEXEC,
            ["O_NONBLOCK"] = Libc.O_NONBLOCK,
            ["O_CREAT | O_EXCL"] = Libc.O_CREAT | Libc.O_EXCL,
            ["F_DUPFD_CLOEXEC"] = Libc.F_DUPFD_CLOEXEC,
            ["F_ADD_SEALS"] = Libc.F_ADD_SEALS,
            ["F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW"] = Libc.F_SEAL_SEAL | Libc.F_SEAL_SHRINK | Libc.F_SEAL_GROW,

            ["sizeof(struct nlmsghdr)"] = sizeof(nlmsghdr),
            ["sizeof(struct ifinfomsg)"] = sizeof(ifinfomsg),
            ["offsetof(struct ifinfomsg, ifi_index)"] = Offset<ifinfomsg>("ifi_index"),
            ["sizeof(struct ifaddrmsg)"] = sizeof(ifaddrmsg),
            ["sizeof(struct rtmsg)"] = sizeof(rtmsg),
            ["sizeof(struct rtnexthop)"] = sizeof(rtnexthop),
            ["sizeof(struct ndmsg)"] = sizeof(ndmsg),
            ["offsetof(struct ndmsg, ndm_state)"] = Offset<ndmsg>("ndm_state"),
            ["NLM_F_DUMP"] = NetlinkRequest.NLM_F_DUMP,
            ["NLM_F_CREATE | NLM_F_EXCL"] = NetlinkRequest.NLM_F_CREATE | NetlinkRequest.NLM_F_EXCL,
            ["RTM_SETLINK"] = NetlinkRequest.RTM_SETLINK,
            ["RTM_GETADDR"] = NetlinkRequest.RTM_GETADDR,
            ["RTM_DELROUTE"] = NetlinkRequest.RTM_DELROUTE,
            ["RTM_NEWNEIGH"] = NetlinkRequest.RTM_NEWNEIGH,
        };
        foreach (System.Reflection.FieldInfo errno in typeof(Errno).GetFields())
            expected[errno.Name] = (int)errno.GetRawConstantValue()!;

        Dictionary<string, long> actual = Evaluate(expected.Keys);
        // Constants that the installed headers are too old for are not compared; the rest must all be there.
        foreach ((string name, long value) in expected)
        {
            if (actual.TryGetValue(name, out long theirs))
                Assert.True(value == theirs, $"{name} is {value} here and {theirs} in C");
            else
                Assert.Contains(name, s_recent);
        }
    }

    private static int Offset<T>(string field) => (int)Marshal.OffsetOf<T>(field);

    private static Dictionary<string, long> Evaluate(IEnumerable<string> expressions)
    {
        using var directory = new TempDirectory();
        var program = new StringBuilder(Headers).Append("\nint main(void) {\n");
        foreach (string expression in expressions)
        {
            bool mayBeMissing = s_recent.Contains(expression);
            if (mayBeMissing)
                program.Append($"#ifdef {expression}\n");
            program.Append($"printf(\"%s=%lld\\n\", \"{expression}\", (long long)({expression}));\n");
            if (mayBeMissing)
                program.Append("#endif\n");
        }
        File.WriteAllText(directory.File("abi.c"), program.Append("return 0; }\n").ToString());
        Shell.Run("gcc", "-o", directory.File("abi"), directory.File("abi.c"));
        return Shell.Run(directory.File("abi"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split('='))
            .ToDictionary(parts => parts[0], parts => long.Parse(parts[1]));
    }
}
