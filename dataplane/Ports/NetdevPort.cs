using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;

namespace Dataplane.Ports;

/// <summary>
/// A network device that stays the kernel's: packet sockets receive what it receives, as the kernel does, too, and send by it. Where a network card's driver
/// can be taken from the kernel, a <see cref="DpdkPort"/> is faster; this is for all others, and for a card that the host needs.
/// <para>
/// Unlike DPDK's driver of this kind it takes part in the kernel's offloads (<see cref="KernelPort"/>): segments that the device's receive offload put together are one
/// packet, what leaves by it is cut by the device or just before it, and a worker that sleeps is woken by the first packet.
/// </para>
/// <para>
/// Packets are received some at a time, into spare buffers for each of them. A VLAN tag that the device took off is put back.
/// </para>
/// </summary>
public sealed unsafe class NetdevPort : KernelPort
{
    /// <summary>Bytes received at once after which there is no more asked for: each large packet may become some forty.</summary>
    private const uint EnoughBytes = 128 * 1024;

    private readonly Queue[] _queues;

    private sealed class Queue
    {
        public readonly PacketMessages Messages = new();
        public readonly nint[] Small = new nint[PacketMessages.Capacity];
        public readonly nint[] Large = new nint[PacketMessages.Capacity];
    }

    private NetdevPort(int index, string name, int[] fds, MbufPool small, MbufPool large, ulong mac)
        : base(index, name, fds, small, large, NetdevSockets.HeaderSize, mac)
    {
        _queues = new Queue[fds.Length];
        for (int i = 0; i < fds.Length; i++)
        {
            _queues[i] = new Queue();
        }
    }

    /// <summary>Opens a device, and receives from now on.</summary>
    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="device">Name of the device in this process's network namespace.</param>
    /// <param name="small">Pool for ordinary packets.</param>
    /// <param name="large">Pool for what exceeds them.</param>
    /// <param name="workers">Queues in each direction.</param>
    /// <param name="mtu">Layer-3 MTU of the port in bytes, 0 for the device's. The device's is left alone.</param>
    /// <exception cref="LinuxException">The device is not there, is no Ethernet device, or this process may not open it.</exception>
    /// <exception cref="FormatException">The device's MTU is smaller than the port's.</exception>
    public static NetdevPort Open(int index, string name, string device, MbufPool small, MbufPool large, int workers, int mtu)
    {
        using NetdevSockets sockets = NetdevSockets.Open(device, workers);
        if (mtu > sockets.Device.Mtu)
        {
            throw new FormatException($"packets of {mtu} bytes, and network device \"{device}\" sends {sockets.Device.Mtu} at most: give the port an MTU of {sockets.Device.Mtu}, or the device a larger one (ip link set {device} mtu {mtu})");
        }
        ulong mac = MacAddress.FromBytes(sockets.Device.Mac.GetAddressBytes()).Value;
        return new NetdevPort(index, name, sockets.DetachFds(), small, large, mac);
    }

    public override int Rx(int queue, rte_mbuf** mbufs, int count)
    {
        Queue q = _queues[queue];
        int fd = RxFd(queue), n = 0;
        uint bytes = 0;
        while (n < count && bytes < EnoughBytes)
        {
            int wanted = MakeReady(q, Math.Min(count - n, PacketMessages.Capacity));
            if (wanted == 0)
            {
                break; // the packets wait in the kernel until buffers come back
            }
            int got = q.Messages.Receive(fd, wanted);
            if (got < 0)
            {
                int error = Libc.Errno();
                if (error == EINTR)
                {
                    continue;
                }
                if (error is not (EAGAIN or ENOMEM or ENOBUFS or ENETDOWN))
                {
                    LostError = error; // one that is only down may come up again, or go away without a word
                }
                break;
            }
            for (int i = 0; i < got; i++)
            {
                if (TryTake(q, queue, i, out rte_mbuf* packet))
                {
                    bytes += packet->pkt_len;
                    mbufs[n++] = packet;
                }
            }
            if (got < wanted)
            {
                break;
            }
        }
        return n;
    }

    public override void CheckDevice(int queue)
    {
        if (!NetdevSockets.HasDevice(RxFd(queue)))
        {
            LostError = ENODEV;
        }
    }

    protected override void ReleaseSpares(int queue)
    {
        Queue q = _queues[queue];
        for (int i = 0; i < PacketMessages.Capacity; i++)
        {
            ReleaseSpares(ref q.Small[i], ref q.Large[i]);
        }
        q.Messages.Dispose();
    }

    /// <summary>Gives buffers to the first places. How many have them, at most <paramref name="count"/>.</summary>
    private int MakeReady(Queue q, int count)
    {
        for (int i = 0; i < count; i++)
        {
            if (q.Small[i] != 0 && q.Large[i] != 0)
            {
                continue;
            }
            if (!HaveSpares(ref q.Small[i], ref q.Large[i]))
            {
                return i;
            }
            rte_mbuf* small = (rte_mbuf*)q.Small[i], large = (rte_mbuf*)q.Large[i];
            q.Messages.SetBuffers(i, Mbuf.Data(small), (uint)Mbuf.Tailroom(small), Mbuf.Data(large), (uint)Mbuf.Tailroom(large));
        }
        return count;
    }

    private bool TryTake(Queue q, int queue, int place, out rte_mbuf* packet)
    {
        virtio_net_hdr vnet = q.Messages.Vnet(place);
        packet = TakeSpares(ref q.Small[place], ref q.Large[place], q.Messages.Length(place));
        if (!q.Messages.IsWhole(place) || (q.Messages.TryGetTag(place, out uint tag) && !TryPutTag(packet, tag, ref vnet)))
        {
            Refuse(queue, packet);
            return false;
        }
        return Accept(queue, packet, in vnet);
    }

    /// <summary>Puts a VLAN tag back behind the addresses.</summary>
    private static bool TryPutTag(rte_mbuf* packet, uint tag, ref virtio_net_hdr vnet)
    {
        const int Addresses = Wire.EtherTypeOffset;
        if (packet->data_len < Wire.EthernetHeader)
        {
            return false;
        }
        byte* data = Mbuf.Prepend(packet, Wire.VlanTag);
        if (data == null)
        {
            return false;
        }
        Buffer.MemoryCopy(data + Wire.VlanTag, data, Addresses, Addresses);
        Wire.Store32(data + Addresses, tag);
        if ((vnet.flags & virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        {
            vnet.csum_start += Wire.VlanTag;
            vnet.hdr_len += Wire.VlanTag;
        }
        return true;
    }
}
