using Dataplane.Interop.Linux;

namespace Dataplane.Interop.Dpdk;

/// <summary>A bounded queue of pointers between threads, without locks: several producers and consumers unless said otherwise.</summary>
public sealed unsafe class Ring : IDisposable
{
    private rte_ring* ring;

    private Ring(string name, rte_ring* ring)
    {
        Name = name;
        this.ring = ring;
    }

    public string Name { get; }

    /// <summary>The ring itself, for calls into <see cref="Shim"/>.</summary>
    public rte_ring* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(ring == null, this);
            return ring;
        }
    }

    /// <summary>Pointers in the ring; a snapshot while other threads use it.</summary>
    public int Count => (int)Shim.dps_ring_count(Pointer);

    /// <summary>Makes a ring.</summary>
    /// <param name="name">Unique among rings, at most 28 characters.</param>
    /// <param name="count">A power of two; the ring holds one pointer less.</param>
    /// <param name="singleProducer">Only one thread ever enqueues: cheaper, and unchecked.</param>
    /// <param name="singleConsumer">Only one thread ever dequeues: cheaper, and unchecked.</param>
    /// <param name="socket">NUMA node of the memory; -1 for any.</param>
    /// <exception cref="DpdkException">The name is taken, the memory is used up, or the count is no power of two.</exception>
    public static Ring Create(string name, int count, bool singleProducer = false, bool singleConsumer = false, int socket = -1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        var flags = (singleProducer ? 1u : 0u) | (singleConsumer ? 2u : 0u);
        int error;
        fixed (byte* text = NativeText.Terminated(name))
        {
            var ring = Shim.dps_ring_create(text, (uint)count, socket, flags, &error);
            if (ring != null) return new Ring(name, ring);
        }
        throw new DpdkException($"ring '{name}' of {count} cannot be made", error, -error switch
        {
            Errno.EEXIST => "the name is taken",
            Errno.EINVAL => "the count must be a power of two",
            Errno.ENAMETOOLONG => "at most 28 characters",
            _ => null,
        });
    }

    /// <summary>Puts in as many as fit, in order, and returns how many that were.</summary>
    public int Enqueue(void** objects, int count) => (int)Shim.dps_ring_enqueue_burst(Pointer, objects, (uint)count);

    /// <summary>Takes out as many as there are, up to a count, and returns how many that were.</summary>
    public int Dequeue(void** objects, int count) => (int)Shim.dps_ring_dequeue_burst(Pointer, objects, (uint)count);

    /// <summary>Frees the ring, not what is in it. No port and no thread may use it any more.</summary>
    public void Dispose()
    {
        if (ring == null) return;
        Shim.dps_ring_free(ring);
        ring = null;
    }
}
