using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;

namespace Dataplane.Workers;

/// <summary>
/// A bounded ring of packets from one worker to another (one producer, one consumer, no lock): for an output port that has
/// fewer transmit queues than there are workers, or from an input port with one queue. An entry is an mbuf and the port it is for,
/// or from.
/// </summary>
public sealed unsafe class Handover : IDisposable
{
    private const int Capacity = 1024;

    private struct Entry
    {
        public rte_mbuf* Mbuf;
        public nint Port;
    }

    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Indices
    {
        [FieldOffset(0)] public ulong Head;  // producer's line
        [FieldOffset(64)] public ulong Tail; // consumer's line
    }

    private readonly Indices* _indices = (Indices*)NativeMemory.AlignedAlloc((nuint)sizeof(Indices), 64);
    private readonly Entry* _entries = (Entry*)NativeMemory.AlignedAlloc((nuint)(Capacity * sizeof(Entry)), 64);

    public Handover()
    {
        *_indices = default;
    }

    /// <summary>Called by the producer. Gives how many were taken.</summary>
    public int Put(int port, rte_mbuf** mbufs, int count)
    {
        ulong head = _indices->Head;
        int n = Math.Min(Room, count);
        for (int i = 0; i < n; i++)
        {
            _entries[(head + (uint)i) % Capacity] = new Entry { Mbuf = mbufs[i], Port = port };
        }
        Volatile.Write(ref _indices->Head, head + (uint)n);
        return n;
    }

    /// <summary>How many more the producer can put.</summary>
    public int Room => (int)(Capacity - (_indices->Head - Volatile.Read(ref _indices->Tail)));

    /// <summary>Called by the consumer. False when the ring is empty.</summary>
    public bool TryTake(out int port, out rte_mbuf* mbuf)
    {
        ulong tail = _indices->Tail;
        if (tail == Volatile.Read(ref _indices->Head))
        {
            port = 0;
            mbuf = null;
            return false;
        }
        port = (int)_entries[tail % Capacity].Port;
        mbuf = _entries[tail % Capacity].Mbuf;
        Volatile.Write(ref _indices->Tail, tail + 1);
        return true;
    }

    /// <summary>
    /// Called by the consumer: takes up to <paramref name="most"/> packets that follow one another and are of one port. Gives how many.
    /// </summary>
    public int TakeRun(rte_mbuf** mbufs, int most, out int port)
    {
        ulong tail = _indices->Tail;
        int waiting = (int)Math.Min((ulong)most, Volatile.Read(ref _indices->Head) - tail), n = 0;
        port = waiting == 0 ? 0 : (int)_entries[tail % Capacity].Port;
        while (n < waiting && (int)_entries[(tail + (uint)n) % Capacity].Port == port)
        {
            mbufs[n] = _entries[(tail + (uint)n) % Capacity].Mbuf;
            n++;
        }
        Volatile.Write(ref _indices->Tail, tail + (uint)n);
        return n;
    }

    /// <summary>Whether something waits; for a worker that is about to sleep.</summary>
    public bool IsEmpty => Volatile.Read(ref _indices->Head) == Volatile.Read(ref _indices->Tail);

    public void Dispose()
    {
        while (TryTake(out _, out rte_mbuf* mbuf))
        {
            Shim.dps_mbuf_free(mbuf);
        }
        NativeMemory.AlignedFree(_indices);
        NativeMemory.AlignedFree(_entries);
    }
}
