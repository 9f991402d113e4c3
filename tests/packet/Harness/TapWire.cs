using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// The kernel's side of a TAP, played by the test: a pair of sockets that keep message boundaries, one pair per queue. No
/// device and no root is needed, and the driver cannot tell.
/// </summary>
public sealed unsafe partial class TapWire : IDisposable
{
    private const int Unix = 1, SeqPacket = 5, NonBlocking = 0x800, CloseOnExec = 0x80000;

    private readonly int[] _testFds;
    private bool _open = true;

    /// <param name="queues">One pair each.</param>
    public TapWire(int queues)
    {
        SwitchFds = new int[queues];
        _testFds = new int[queues];
        int* pair = stackalloc int[2];
        for (int i = 0; i < queues; i++)
        {
            Assert.Equal(0, socketpair(Unix, SeqPacket | NonBlocking | CloseOnExec, 0, pair));
            SwitchFds[i] = pair[0];
            _testFds[i] = pair[1];
        }
    }

    /// <summary>The descriptors that the port owns.</summary>
    public int[] SwitchFds { get; }

    /// <summary>Gives a packet to the switch, behind its vnet header.</summary>
    /// <returns>False when the queue is full.</returns>
    public bool Send(ReadOnlySpan<byte> frame, virtio_net_hdr vnet = default, int queue = 0)
    {
        fixed (byte* data = frame)
        {
            iovec* parts = stackalloc iovec[2];
            parts[0] = new iovec { iov_base = &vnet, iov_len = virtio_net_hdr.Size };
            parts[1] = new iovec { iov_base = data, iov_len = (nuint)frame.Length };
            return Libc.writev(_testFds[queue], parts, 2) == virtio_net_hdr.Size + frame.Length;
        }
    }

    /// <summary>What the switch sent by a queue since the last call.</summary>
    public List<Unfinished> Take(int queue = 0)
    {
        var packets = new List<Unfinished>();
        byte[] buffer = new byte[1 << 17];
        fixed (byte* data = buffer)
        {
            virtio_net_hdr vnet;
            iovec* parts = stackalloc iovec[2];
            parts[0] = new iovec { iov_base = &vnet, iov_len = virtio_net_hdr.Size };
            parts[1] = new iovec { iov_base = data, iov_len = (nuint)buffer.Length };
            nint got;
            while ((got = Libc.readv(_testFds[queue], parts, 2)) >= virtio_net_hdr.Size)
            {
                packets.Add(new Unfinished(buffer[..(int)(got - virtio_net_hdr.Size)], vnet));
            }
        }
        return packets;
    }

    /// <summary>Has the kernel refuse messages that are longer (EMSGSIZE), while some shorter ones still find room.</summary>
    /// <param name="bytes">At least 4,608.</param>
    public void LimitMessages(int bytes)
    {
        const int SolSocket = 1, SendBuffer = 7;
        int half = bytes / 2; // the kernel doubles it
        foreach (int fd in SwitchFds)
        {
            Assert.Equal(0, setsockopt(fd, SolSocket, SendBuffer, &half, sizeof(int)));
        }
    }

    /// <summary>Takes the device away from under the switch.</summary>
    public void Dispose()
    {
        if (_open)
        {
            _open = false;
            foreach (int fd in _testFds)
            {
                Libc.close(fd);
            }
        }
    }

    [LibraryImport("libc")]
    private static partial int socketpair(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc")]
    private static partial int setsockopt(int fd, int level, int option, void* value, uint length);
}
