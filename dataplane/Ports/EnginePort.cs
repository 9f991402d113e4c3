using Dataplane.Interop.Dpdk;

namespace Dataplane.Ports;

/// <summary>What became of packets handed to a device.</summary>
/// <param name="Taken">Packets taken from the front of the array; the device owns or has freed them.</param>
/// <param name="Refused">Of these, packets that the device would not send.</param>
/// <param name="RefusedBytes">Their bytes.</param>
public readonly record struct TxResult(int Taken, int Refused = 0, ulong RefusedBytes = 0);

/// <summary>
/// A device that a worker receives from and sends to, in bursts. Queues belong to workers: no queue is used by two threads,
/// so nothing here locks. Implementations allocate nothing in <see cref="Rx"/> and <see cref="Tx"/>.
/// </summary>
public abstract unsafe class EnginePort(int index, string name) : IDisposable
{
    /// <summary>Index of the port in the segment.</summary>
    public int Index { get; } = index;

    public string Name { get; } = name;

    /// <summary>Queues; queue q is polled by worker q modulo the number of workers.</summary>
    public abstract int RxQueues { get; }

    /// <summary>Queue w is used by worker w; a worker without one hands its packets over to worker w modulo this number.</summary>
    public abstract int TxQueues { get; }

    /// <summary>The device takes packets with checksums to complete and segments to cut (<see cref="Packets.Offload"/>).</summary>
    public virtual bool TakesOffloads => false;

    /// <summary>The device takes packets in more than one buffer.</summary>
    public virtual bool TakesChains => true;

    /// <summary>Address of the device, lowest byte first on the wire; 0 when it has none.</summary>
    public virtual ulong Mac => 0;

    /// <summary>
    /// Whether a worker that sleeps is woken by <see cref="RxFd"/>. A port that cannot makes its worker poll at intervals.
    /// </summary>
    public virtual bool CanWake => false;

    /// <summary>The file descriptor that becomes readable when queue q has packets; -1 without one.</summary>
    public virtual int RxFd(int queue) => -1;

    /// <summary>
    /// Whether an empty queue is known from <see cref="RxFd"/> alone, so that a worker looks at its descriptor (one system
    /// call for all such ports) before it calls <see cref="Rx"/>.
    /// </summary>
    public virtual bool PollsByFd => false;

    /// <summary>Makes queue q signal its descriptor, before a sleep. False: it has packets now.</summary>
    public virtual bool Arm(int queue) => true;

    /// <summary>Ends the signalling.</summary>
    public virtual void Disarm(int queue)
    {
    }

    /// <summary>errno of the failure that took the device away, 0 while it is there.</summary>
    public int LostError { get; protected set; }

    /// <summary>Looks whether the device is there, about once a second, where nothing tells that it went away; then sets <see cref="LostError"/>.</summary>
    public virtual void CheckDevice(int queue)
    {
    }

    /// <summary>Receives up to <paramref name="count"/> packets.</summary>
    public abstract int Rx(int queue, rte_mbuf** mbufs, int count);

    /// <summary>
    /// Packets that <see cref="Rx"/> freed since the last call because what their sender left undone contradicts itself.
    /// </summary>
    public virtual int TakeRxRefused(int queue) => 0;

    /// <summary>Sends packets.</summary>
    public abstract TxResult Tx(int queue, rte_mbuf** mbufs, int count);

    /// <summary>Called when no worker uses the port any more.</summary>
    public abstract void Dispose();
}
