using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;

namespace Dataplane.Ports;

/// <summary>
/// A TAP device: the kernel on its other side is a container's or the host's network stack.
/// <para>
/// Every packet is preceded by a virtio-net header (IFF_VNET_HDR), in which the sending kernel says what it left undone: a
/// checksum to complete, a segment of up to 64 KiB to cut. Between two TAPs that header is passed on as it came, so that
/// neither happens unless the packet leaves the machine. One TCP stream is several times as fast with it as without.
/// </para>
/// <para>
/// A packet is read into a small buffer and what does not fit into a spare large one, by one readv; the large buffer is
/// only replaced when it was used.
/// </para>
/// <para>
/// What is written are packets as they are, and where several of a flow follow each other, one large packet in their place
/// (<see cref="CoalescedPacket"/>): a write costs the kernel's way up to a socket, some microseconds, however many there are in it.
/// </para>
/// </summary>
public sealed unsafe class TapPort : EnginePort
{
    private const int HeaderSize = 12; // virtio_net_hdr with num_buffers
    private const int MaxParts = CoalescedPacket.MaxPackets + 2;
    private const int EINTR = 4, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, EINVAL = 22, EMSGSIZE = 90, ENOBUFS = 105;

    private readonly int[] _fds;
    private readonly MbufPool _small;
    private readonly MbufPool _large;
    private readonly nint[] _spareSmall;
    private readonly nint[] _spareLarge;
    private readonly int[] _refused;
    private int _open;

    /// <summary>What the kernel has not refused yet. Any worker may find out; all find the same.</summary>
    private bool _takesLarge = true, _takesDatagrams = true;

    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="fds">One descriptor per queue, non-blocking, with a 12-byte virtio-net header. Owned from now on.</param>
    /// <param name="small">Pool for ordinary packets.</param>
    /// <param name="large">Pool for what exceeds them.</param>
    /// <param name="mac">Address of the device in the kernel.</param>
    public TapPort(int index, string name, int[] fds, MbufPool small, MbufPool large, ulong mac)
        : base(index, name)
    {
        _fds = fds;
        _small = small;
        _large = large;
        _spareSmall = new nint[fds.Length];
        _spareLarge = new nint[fds.Length];
        _refused = new int[fds.Length];
        _open = 1;
        Mac = mac;
    }

    public override int RxQueues => _fds.Length;
    public override int TxQueues => _fds.Length;
    public override bool TakesOffloads => true;
    public override ulong Mac { get; }
    public override bool CanWake => true;
    public override bool PollsByFd => true;
    public override int RxFd(int queue) => _fds[queue];

    /// <summary>Copies of the descriptors' numbers, to pass them to a new control process.</summary>
    public ReadOnlySpan<int> Fds => _fds;

    public override int Rx(int queue, rte_mbuf** mbufs, int count)
    {
        int fd = _fds[queue];
        virtio_net_hdr vnet;
        iovec* parts = stackalloc iovec[3];
        parts[0] = new iovec { iov_base = &vnet, iov_len = HeaderSize };
        int n = 0;
        while (n < count)
        {
            rte_mbuf* small = Spare(ref _spareSmall[queue], _small);
            rte_mbuf* large = Spare(ref _spareLarge[queue], _large);
            if (small == null || large == null)
            {
                break; // the packets wait in the kernel until buffers come back
            }
            uint room = (uint)Mbuf.Tailroom(small);
            parts[1] = new iovec { iov_base = Mbuf.Data(small), iov_len = room };
            parts[2] = new iovec { iov_base = Mbuf.Data(large), iov_len = (nuint)Mbuf.Tailroom(large) };
            nint got = Libc.readv(fd, parts, 3);
            if (got < HeaderSize)
            {
                if (got >= 0)
                {
                    break; // the kernel never gives less than the header
                }
                int error = Libc.Errno();
                if (error == EINTR)
                {
                    continue;
                }
                if (error is not (EAGAIN or ENOMEM or ENOBUFS or EFAULT))
                {
                    LostError = error; // EBADFD: the device was deleted
                }
                break;
            }

            uint length = (uint)got - HeaderSize;
            _spareSmall[queue] = 0;
            small->pkt_len = length;
            small->port = (ushort)Index;
            if (length <= room)
            {
                small->data_len = (ushort)length;
            }
            else
            {
                _spareLarge[queue] = 0;
                small->data_len = (ushort)room;
                large->data_len = (ushort)(length - room);
                small->next = large;
                small->nb_segs = 2;
            }
            if (((uint)vnet.flags | vnet.gso_type) != 0 && !Offload.Accept(small, in vnet))
            {
                Shim.dps_mbuf_free(small);
                _refused[queue]++;
                continue;
            }
            mbufs[n++] = small;
        }
        return n;
    }

    public override int TakeRxRefused(int queue)
    {
        int refused = _refused[queue];
        _refused[queue] = 0;
        return refused;
    }

    public override TxResult Tx(int queue, rte_mbuf** mbufs, int count)
    {
        int fd = _fds[queue];
        virtio_net_hdr none = default;
        Unsafe.SkipInit(out CoalescedPacket large);
        iovec* parts = stackalloc iovec[MaxParts];
        int refused = 0;
        ulong refusedBytes = 0;
        int i = 0;
        while (i < count)
        {
            rte_mbuf* mbuf = mbufs[i];
            int packets = i + 1 < count && _takesLarge ? large.Collect(mbufs + i, count - i, _takesDatagrams) : 1;
            int used;
            if (packets > 1)
            {
                used = Gather(&large, mbufs + i, packets, parts);
            }
            else
            {
                parts[0] = new iovec { iov_base = Offload.IsPending(mbuf) ? &Offload.Meta(mbuf)->Vnet : &none, iov_len = HeaderSize };
                used = 1;
                for (rte_mbuf* part = mbuf; part != null && used < MaxParts; part = part->next)
                {
                    parts[used++] = new iovec { iov_base = Mbuf.Data(part), iov_len = part->data_len };
                }
            }
            if (Libc.writev(fd, parts, used) >= 0)
            {
                i += packets;
                continue;
            }
            int error = Libc.Errno();
            if (error == EINTR)
            {
                continue;
            }
            if (error is EAGAIN or ENOBUFS)
            {
                break; // the caller counts the rest as "queue full"
            }
            if (packets > 1 && error is EINVAL or EMSGSIZE)
            {
                // A kernel that does not know this kind of large packet (datagrams: before Linux 6.2): one by one from now on.
                (_takesDatagrams, _takesLarge) = (false, large.IsUdp);
                continue;
            }
            refused += packets; // EIO: the interface is down; EBADFD: it is gone; EINVAL: the kernel rejects the packet
            for (; packets > 0; packets--)
            {
                refusedBytes += mbufs[i++]->pkt_len;
            }
        }
        Shim.dps_mbuf_free_bulk(mbufs, (uint)i);
        return new TxResult(i, refused, refusedBytes);
    }

    /// <summary>The pieces of a large packet: its headers, and the payloads of those it takes the place of.</summary>
    private static int Gather(CoalescedPacket* large, rte_mbuf** mbufs, int packets, iovec* parts)
    {
        int header = large->HeaderLength;
        parts[0] = new iovec { iov_base = &large->Vnet, iov_len = HeaderSize };
        parts[1] = new iovec { iov_base = large->Header, iov_len = (nuint)header };
        for (int i = 0; i < packets; i++)
        {
            parts[2 + i] = new iovec { iov_base = Mbuf.Data(mbufs[i]) + header, iov_len = (nuint)(mbufs[i]->data_len - header) };
        }
        return 2 + packets;
    }

    public override void Dispose()
    {
        if (Interlocked.Exchange(ref _open, 0) == 0)
        {
            return;
        }
        for (int q = 0; q < _fds.Length; q++)
        {
            Libc.close(_fds[q]);
            Release(ref _spareSmall[q]);
            Release(ref _spareLarge[q]);
        }
    }

    private static rte_mbuf* Spare(ref nint spare, MbufPool pool)
    {
        if (spare == 0)
        {
            spare = (nint)Shim.dps_mbuf_alloc(pool.Pointer);
        }
        return (rte_mbuf*)spare;
    }

    private static void Release(ref nint spare)
    {
        if (spare != 0)
        {
            Shim.dps_mbuf_free((rte_mbuf*)spare);
            spare = 0;
        }
    }
}
