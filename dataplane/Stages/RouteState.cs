using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>What a worker's router keeps between packets, and the room in which it works on a burst.</summary>
public sealed unsafe class RouteState : IDisposable
{
    /// <summary>Packets of a burst: what a transmit buffer holds.</summary>
    public const int BurstSize = TxBuffer.Capacity;

    private ushort _identification = (ushort)Random.Shared.Next();

    public RouteState(Segment segment)
    {
        Errors = new TokenBuckets(segment.MaxPorts);
        Numbered = new NumberedInterfaces(segment.MaxVrfs);
        Entries = Allocate<BurstPacket>(BurstSize);
        Addresses4 = Allocate<uint>(BurstSize);
        Addresses6 = Allocate<IPv6Number>(BurstSize);
        Results4 = Allocate<uint>(BurstSize);
        Results6 = Allocate<uint>(BurstSize);
        Hops = Allocate<RouteHop>(RouteHop.CacheSize);
        Keys6 = Allocate<ConnectionKey6>(BurstSize);
        Homes6 = (ConnectionSlot6**)Allocate<nint>(BurstSize);
        Verdicts6 = Allocate<ConnectionVerdict6>(BurstSize);
        Beginnings = Allocate<Beginning>(BurstSize + 1);
        Missed = Allocate<byte>(BurstSize);
        Asked = Allocate<byte>(BurstSize);
        Sieves = Allocate<SieveUse>(segment.MaxPorts);
        Fragments = (rte_mbuf**)Allocate<nint>(Fragmenter.MaxFragments);
        Segments = (rte_mbuf**)Allocate<nint>(OutputStage.MaxSegments);
    }

    /// <summary>How many ICMP errors may be sent, by interface.</summary>
    public TokenBuckets Errors { get; }

    /// <summary>By which of them interfaces without addresses speak.</summary>
    public NumberedInterfaces Numbered { get; }

    public BurstPacket* Entries { get; }

    /// <summary>Destinations of a burst and the next hops of their routes, by the packet's place in it.</summary>
    public uint* Addresses4 { get; }
    public IPv6Number* Addresses6 { get; }
    public uint* Results4 { get; }
    public uint* Results6 { get; }

    /// <summary>Of IPv6 packets in a VRF that tracks connections: keys, where their search begins, and what was found.</summary>
    public ConnectionKey6* Keys6 { get; }
    public ConnectionSlot6** Homes6 { get; }
    public ConnectionVerdict6* Verdicts6 { get; }

    /// <summary>Connections that a burst may begin. There is one more, for what is not counted.</summary>
    public Beginning* Beginnings { get; }
    public int BeginningCount { get; set; }

    /// <summary>Places in the burst of packets whose connection is not where its search begins.</summary>
    public byte* Missed { get; }

    /// <summary>Places in the burst of packets that are to be looked up among the connections, where not all are.</summary>
    public byte* Asked { get; }

    /// <summary>By port, whether its bursts are sifted first.</summary>
    internal SieveUse* Sieves { get; }

    /// <summary>Next hops as the worker has worked them out.</summary>
    public RouteHop* Hops { get; }

    /// <summary>Number of the burst that is being routed, never 0.</summary>
    public uint Burst { get; private set; }

    public rte_mbuf** Fragments { get; }
    public rte_mbuf** Segments { get; }

    /// <summary>Begins a burst: no hop is prepared for it yet, and no connection is to begin.</summary>
    public void NextBurst()
    {
        BeginningCount = 0;
        if (++Burst == 0)
        {
            // The numbers begin again, and none of those that hops have may come back.
            new Span<RouteHop>(Hops, RouteHop.CacheSize).Clear();
            Burst = 1;
        }
    }

    /// <summary>For a packet that the switch makes and others may have to fragment (RFC 6864).</summary>
    public ushort NextIdentification() => ++_identification;

    public void Dispose()
    {
        Errors.Dispose();
        Numbered.Dispose();
        foreach (nint memory in (ReadOnlySpan<nint>)[(nint)Entries, (nint)Addresses4, (nint)Addresses6, (nint)Results4, (nint)Results6,
            (nint)Hops, (nint)Fragments, (nint)Segments, (nint)Keys6, (nint)Homes6, (nint)Verdicts6, (nint)Beginnings, (nint)Missed, (nint)Asked, (nint)Sieves])
        {
            NativeMemory.AlignedFree((void*)memory);
        }
    }

    private static T* Allocate<T>(int count)
        where T : unmanaged
    {
        nuint bytes = (nuint)(sizeof(T) * count);
        void* memory = NativeMemory.AlignedAlloc(bytes, 64);
        NativeMemory.Clear(memory, bytes);
        return (T*)memory;
    }
}
