using Dataplane.Interop.Linux;

namespace Dataplane.Interop.Dpdk;

/// <summary>
/// A pool of packet buffers (mbufs) of one size. Threads registered with <see cref="Eal.RegisterThread"/> allocate from
/// and free to a cache of their own.
/// </summary>
public sealed unsafe class MbufPool : IDisposable
{
    /// <summary>Bytes per buffer that hold any Ethernet frame up to an MTU of 1,500 in one piece, headroom included.</summary>
    public const int DefaultDataRoom = Rte.RTE_MBUF_DEFAULT_BUF_SIZE;

    private rte_mempool* pool;

    private MbufPool(string name, rte_mempool* pool, int dataRoom, int privateSize)
    {
        Name = name;
        this.pool = pool;
        DataRoom = dataRoom;
        PrivateSize = privateSize;
    }

    public string Name { get; }

    /// <summary>Bytes per buffer, headroom included.</summary>
    public int DataRoom { get; }

    /// <summary>Bytes of the private area of each buffer.</summary>
    public int PrivateSize { get; }

    /// <summary>The pool itself, for calls into <see cref="Shim"/>.</summary>
    public rte_mempool* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(pool == null, this);
            return pool;
        }
    }

    /// <summary>Buffers in the pool, free or not.</summary>
    public int Size => (int)Shim.dps_pool_size(Pointer);

    /// <summary>Free buffers, those in caches included. Slow, and a snapshot only while other threads use the pool.</summary>
    public int Available => (int)Shim.dps_pool_available(Pointer);

    /// <summary>Makes a pool.</summary>
    /// <param name="name">Unique among pools, at most 25 characters.</param>
    /// <param name="count">Buffers; a power of two less one wastes no memory.</param>
    /// <param name="cache">Free buffers each registered thread keeps for itself; at most 512, and count / 1.5.</param>
    /// <param name="privateSize">Bytes per buffer for the owner's notes; a multiple of 8.</param>
    /// <param name="dataRoom">Bytes per buffer for the packet, with <see cref="Mbuf.DefaultHeadroom"/> in front of it; at most 65,535.</param>
    /// <param name="socket">NUMA node of the memory; -1 for any.</param>
    /// <exception cref="DpdkException">The name is taken, the memory is used up, or a number is out of bounds.</exception>
    public static MbufPool Create(
        string name, int count, int cache = 256, int privateSize = 0, int dataRoom = DefaultDataRoom, int socket = -1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ArgumentOutOfRangeException.ThrowIfNegative(cache);
        ArgumentOutOfRangeException.ThrowIfNegative(privateSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(privateSize, ushort.MaxValue);
        ArgumentOutOfRangeException.ThrowIfLessThan(dataRoom, Mbuf.DefaultHeadroom);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(dataRoom, ushort.MaxValue);

        int error;
        fixed (byte* text = NativeText.Terminated(name))
        {
            var pool = Shim.dps_pool_create(text, (uint)count, (uint)cache, (ushort)privateSize, (ushort)dataRoom, socket, &error);
            if (pool != null) return new MbufPool(name, pool, dataRoom, privateSize);
        }
        var megabytes = ((long)count * (sizeof(rte_mbuf) + privateSize + dataRoom) >> 20) + 1;
        throw new DpdkException($"pool '{name}' of {count} buffers of {dataRoom} bytes cannot be made", error, -error switch
        {
            Errno.EEXIST => "the name is taken",
            Errno.ENOMEM => $"it needs some {megabytes} MiB in one piece: start with more memory, or make it smaller",
            Errno.ENAMETOOLONG => "at most 25 characters",
            Errno.EINVAL => "the cache may hold 512 and count / 1.5 buffers, and the private area must be a multiple of 8",
            _ => null,
        });
    }

    /// <summary>One buffer, reset, with one reference; null when the pool is empty.</summary>
    public rte_mbuf* Allocate() => Shim.dps_mbuf_alloc(Pointer);

    /// <summary>Buffers for a burst, all or none: false, and the array untouched, when the pool has fewer.</summary>
    public bool Allocate(rte_mbuf** mbufs, int count) => Shim.dps_mbuf_alloc_bulk(Pointer, mbufs, (uint)count) == 0;

    /// <summary>
    /// A packet with these bytes, in as many buffers as it takes, each with the default headroom; null when the pool has
    /// too few. For tests, control traffic and replies.
    /// </summary>
    public rte_mbuf* Allocate(ReadOnlySpan<byte> packet)
    {
        rte_mbuf* head = null, tail = null;
        do
        {
            var mbuf = Allocate();
            if (mbuf == null)
            {
                Shim.dps_mbuf_free(head);
                return null;
            }
            if (head == null)
            {
                head = mbuf;
            }
            else
            {
                tail->next = mbuf;
                head->nb_segs++;
            }
            tail = mbuf;
            var length = Math.Min(packet.Length, Mbuf.Tailroom(mbuf));
            packet[..length].CopyTo(new Span<byte>(Mbuf.Data(mbuf), length));
            mbuf->data_len = (ushort)length;
            head->pkt_len += (uint)length;
            packet = packet[length..];
        }
        while (packet.Length > 0);
        return head;
    }

    /// <summary>Frees the pool's memory. All buffers must be back, and no port may use it.</summary>
    public void Dispose()
    {
        if (pool == null) return;
        Shim.dps_pool_free(pool);
        pool = null;
    }
}
