using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Ports;

/// <summary>
/// A port for tests: packets are put in by <see cref="Inject(ReadOnlySpan{byte}, int)"/> and what was sent is read with
/// <see cref="TryTake"/>. One queue; deterministic; receive and send move pointers between two DPDK rings and allocate
/// nothing.
/// </summary>
public sealed unsafe class MemoryPort : EnginePort
{
    private static int s_serial;

    private readonly MbufPool _small;
    private readonly MbufPool _large;
    private readonly Ring _rx;
    private readonly Ring _tx;
    private readonly bool _takesOffloads;
    private int _open = 1;

    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="small">Pool for ordinary packets.</param>
    /// <param name="large">Pool for what exceeds them.</param>
    /// <param name="depth">Packets that each direction can hold; a power of two.</param>
    /// <param name="takesOffloads">Behave as a TAP does: packets may leave with work left undone.</param>
    public MemoryPort(int index, string name, MbufPool small, MbufPool large, int depth = 1024, bool takesOffloads = false)
        : base(index, name)
    {
        _small = small;
        _large = large;
        _takesOffloads = takesOffloads;
        int serial = Interlocked.Increment(ref s_serial);
        _rx = Ring.Create($"mem{serial}rx", depth, singleProducer: true, singleConsumer: true);
        _tx = Ring.Create($"mem{serial}tx", depth, singleProducer: true, singleConsumer: true);
    }

    public override int RxQueues => 1;
    public override int TxQueues => 1;
    public override bool TakesOffloads => _takesOffloads;

    /// <summary>Packets that wait to be received.</summary>
    public int RxPending => _rx.Count;

    public override int Rx(int queue, rte_mbuf** mbufs, int count) => _rx.Dequeue((void**)mbufs, count);

    public override TxResult Tx(int queue, rte_mbuf** mbufs, int count) => new(_tx.Enqueue((void**)mbufs, count));

    /// <summary>Puts a packet in, in buffers of at most <paramref name="firstBuffer"/> bytes for the first one.</summary>
    /// <returns>False when the port is full or the pools are empty.</returns>
    public bool Inject(ReadOnlySpan<byte> packet, int firstBuffer = int.MaxValue)
    {
        rte_mbuf* mbuf = MbufCopy.FromBytes(packet, _small, _large, firstBuffer);
        if (mbuf == null)
        {
            return false;
        }
        return Inject(mbuf);
    }

    /// <summary>Puts a ready mbuf in, which the port owns from now on, also on failure.</summary>
    public bool Inject(rte_mbuf* mbuf)
    {
        mbuf->port = (ushort)Index;
        void* item = mbuf;
        if (_rx.Enqueue(&item, 1) == 1)
        {
            return true;
        }
        Shim.dps_mbuf_free(mbuf);
        return false;
    }

    /// <summary>Takes the oldest packet that was sent.</summary>
    public bool TryTake(out byte[] packet)
    {
        rte_mbuf* mbuf = TakeMbuf();
        packet = mbuf == null ? [] : MbufCopy.ToBytes(mbuf);
        if (mbuf == null)
        {
            return false;
        }
        Shim.dps_mbuf_free(mbuf);
        return true;
    }

    /// <summary>As <see cref="TryTake"/>, the mbuf itself, which the caller frees; null when there is none.</summary>
    public rte_mbuf* TakeMbuf()
    {
        void* item;
        return _tx.Dequeue(&item, 1) == 1 ? (rte_mbuf*)item : null;
    }

    public override void Dispose()
    {
        if (Interlocked.Exchange(ref _open, 0) == 0)
        {
            return;
        }
        foreach (Ring ring in (ReadOnlySpan<Ring>)[_rx, _tx])
        {
            void* item;
            while (ring.Dequeue(&item, 1) == 1)
            {
                Shim.dps_mbuf_free((rte_mbuf*)item);
            }
            ring.Dispose();
        }
    }
}
