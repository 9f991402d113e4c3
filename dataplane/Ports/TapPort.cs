using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.Ports;

/// <summary>A TAP device: the kernel on its other side is a container's or the host's network stack. Packets are read one by one.</summary>
public sealed unsafe class TapPort : KernelPort
{
    private const int HeaderSize = virtio_net_hdr.Size;

    private readonly nint[] _spareSmall;
    private readonly nint[] _spareLarge;

    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="fds">One descriptor per queue, non-blocking, with a 12-byte virtio-net header. Owned from now on.</param>
    /// <param name="small">Pool for ordinary packets.</param>
    /// <param name="large">Pool for what exceeds them.</param>
    /// <param name="mac">Address of the device in the kernel.</param>
    public TapPort(int index, string name, int[] fds, MbufPool small, MbufPool large, ulong mac)
        : base(index, name, fds, small, large, HeaderSize, mac)
    {
        _spareSmall = new nint[fds.Length];
        _spareLarge = new nint[fds.Length];
    }

    public override int Rx(int queue, rte_mbuf** mbufs, int count)
    {
        int fd = RxFd(queue);
        virtio_net_hdr vnet;
        iovec* parts = stackalloc iovec[3];
        parts[0] = new iovec { iov_base = &vnet, iov_len = HeaderSize };
        int n = 0;
        while (n < count)
        {
            if (!HaveSpares(ref _spareSmall[queue], ref _spareLarge[queue]))
            {
                break; // the packets wait in the kernel until buffers come back
            }
            rte_mbuf* small = (rte_mbuf*)_spareSmall[queue], large = (rte_mbuf*)_spareLarge[queue];
            parts[1] = new iovec { iov_base = Mbuf.Data(small), iov_len = (nuint)Mbuf.Tailroom(small) };
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
            rte_mbuf* packet = TakeSpares(ref _spareSmall[queue], ref _spareLarge[queue], (uint)got - HeaderSize);
            if (Accept(queue, packet, in vnet))
            {
                mbufs[n++] = packet;
            }
        }
        return n;
    }

    protected override void ReleaseSpares(int queue) => ReleaseSpares(ref _spareSmall[queue], ref _spareLarge[queue]);
}
