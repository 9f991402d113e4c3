using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;

namespace Dataplane.Ports;

/// <summary>
/// A device of the kernel, by descriptors that take and give a packet per call with a virtio-net header in front, in which the sender says what it
/// left undone: a checksum to complete, a segment of up to 64 KiB to cut. Between two such devices that header is passed on as it
/// came, so that neither happens unless the packet leaves the machine.
/// <para>
/// A packet is read into a small buffer and what does not fit into a spare large one, which is only replaced when it was used.
/// </para>
/// <para>
/// What is written are packets as they are, and where several of a flow follow each other, one large packet in their place
/// (<see cref="CoalescedPacket"/>): a write costs the kernel's way up to a socket or down to a device, some microseconds, however many there are in it.
/// </para>
/// </summary>
public abstract unsafe class KernelPort : EnginePort
{
    private const int MaxParts = CoalescedPacket.MaxPackets + 2;
    protected const int EINTR = 4, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, ENODEV = 19, EINVAL = 22, EMSGSIZE = 90, ENETDOWN = 100, ENOBUFS = 105;

    private readonly int[] _fds;
    private readonly MbufPool _small, _large;
    private readonly int[] _refused;
    private readonly uint _headerSize;
    private int _open;

    /// <summary>What the kernel has not refused yet. Any worker may find out; all find the same.</summary>
    private bool _takesLarge = true, _takesDatagrams = true;

    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="fds">One descriptor per queue, non-blocking. Owned from now on.</param>
    /// <param name="small">Pool for ordinary packets.</param>
    /// <param name="large">Pool for what exceeds them.</param>
    /// <param name="headerSize">Bytes of the virtio-net header.</param>
    /// <param name="mac">Address of the device in the kernel.</param>
    protected KernelPort(int index, string name, int[] fds, MbufPool small, MbufPool large, int headerSize, ulong mac)
        : base(index, name)
    {
        _fds = fds;
        _refused = new int[fds.Length];
        _small = small;
        _large = large;
        _headerSize = (uint)headerSize;
        _open = 1;
        Mac = mac;
    }

    public override int RxQueues => _fds.Length;
    public override int TxQueues => _fds.Length;
    public override bool TakesOffloads => true;
    public override ulong Mac { get; }
    public override bool CanWake => true;
    public override bool PollsByFd => true;
    public sealed override int RxFd(int queue) => _fds[queue];

    /// <summary>Copies of the descriptors' numbers, to pass them to a new control process.</summary>
    public ReadOnlySpan<int> Fds => _fds;

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
                parts[0] = new iovec { iov_base = Offload.IsPending(mbuf) ? &Offload.Meta(mbuf)->Vnet : &none, iov_len = _headerSize };
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
            refused += packets; // EIO, ENETDOWN: the interface is down; EBADFD, ENXIO: it is gone; EINVAL: the kernel rejects the packet
            for (; packets > 0; packets--)
            {
                refusedBytes += mbufs[i++]->pkt_len;
            }
        }
        Shim.dps_mbuf_free_bulk(mbufs, (uint)i);
        return new TxResult(i, refused, refusedBytes);
    }

    /// <summary>The pieces of a large packet: its headers, and the payloads of those it takes the place of.</summary>
    private int Gather(CoalescedPacket* large, rte_mbuf** mbufs, int packets, iovec* parts)
    {
        int header = large->HeaderLength;
        parts[0] = new iovec { iov_base = &large->Vnet, iov_len = _headerSize };
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
            ReleaseSpares(q);
        }
    }

    /// <summary>Gives back what was kept ready to receive into.</summary>
    protected abstract void ReleaseSpares(int queue);

    /// <summary>A packet that was read into a spare small buffer, and the rest of it into a spare large one. Those that it is made of are spare no more.</summary>
    /// <param name="small">The small buffer.</param>
    /// <param name="large">The large one.</param>
    /// <param name="length">Bytes of the packet.</param>
    protected rte_mbuf* TakeSpares(ref nint small, ref nint large, uint length)
    {
        var first = (rte_mbuf*)small;
        uint room = (uint)Mbuf.Tailroom(first);
        small = 0;
        first->pkt_len = length;
        first->port = (ushort)Index;
        first->data_len = (ushort)Math.Min(length, room);
        if (length > room)
        {
            var rest = (rte_mbuf*)large;
            large = 0;
            rest->data_len = (ushort)(length - room);
            first->next = rest;
            first->nb_segs = 2;
        }
        return first;
    }

    /// <summary>Takes over what the sender left undone. False when that contradicts itself; the packet was freed and counted then.</summary>
    protected bool Accept(int queue, rte_mbuf* mbuf, in virtio_net_hdr vnet)
    {
        if (((uint)vnet.flags | vnet.gso_type) == 0 || Offload.Accept(mbuf, in vnet))
        {
            return true;
        }
        Refuse(queue, mbuf);
        return false;
    }

    protected void Refuse(int queue, rte_mbuf* mbuf)
    {
        Shim.dps_mbuf_free(mbuf);
        _refused[queue]++;
    }

    /// <summary>Sees to it that there is a spare small buffer and a spare large one. False when there are none.</summary>
    protected bool HaveSpares(ref nint small, ref nint large) => HaveSpare(ref small, _small) && HaveSpare(ref large, _large);

    /// <summary>Gives both back.</summary>
    protected static void ReleaseSpares(ref nint small, ref nint large)
    {
        Release(ref small);
        Release(ref large);
    }

    private static bool HaveSpare(ref nint spare, MbufPool pool)
    {
        if (spare == 0)
        {
            spare = (nint)Shim.dps_mbuf_alloc(pool.Pointer);
        }
        return spare != 0;
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
