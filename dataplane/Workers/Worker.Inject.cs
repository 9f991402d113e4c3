using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Workers;

/// <summary>
/// Packets that a stage has found inside others (decapsulated ones). Stages are not re-entrant, since they keep what they know of a
/// burst in the worker: such packets wait here until the stage is done, and then go through the bridge as if received.
/// </summary>
public sealed unsafe partial class Worker
{
    /// <summary>More than all stages can find between two calls of <see cref="RunInjected"/>: what fills a few buffers.</summary>
    private const int InjectCapacity = 16 * BurstSize;

    private readonly rte_mbuf** _injected;
    private readonly ushort* _injectedPorts;
    private int _injectCount;

    /// <summary>Lets a packet enter by a port that has no device. The port counts it as received.</summary>
    public void Inject(int port, rte_mbuf* mbuf)
    {
        if (!TryInject(port, mbuf))
        {
            RefuseInjected(port, mbuf);
        }
    }

    /// <summary>As <see cref="Inject"/>; false when there is no room.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryInject(int port, rte_mbuf* mbuf)
    {
        int n = _injectCount;
        if (n == InjectCapacity)
        {
            return false;
        }
        _injected[n] = mbuf;
        _injectedPorts[n] = (ushort)port;
        _injectCount = n + 1;
        return true;
    }

    private void RefuseInjected(int port, rte_mbuf* mbuf)
    {
        _counters[port].RxPackets++;
        _counters[port].RxBytes += mbuf->pkt_len;
        Drop(port, mbuf, DropReason.NoBuffer);
    }

    /// <summary>Bridges what was injected: runs of packets of one port as bursts.</summary>
    private void RunInjected()
    {
        for (int i = 0; i < _injectCount;)
        {
            int first = i, port = _injectedPorts[i];
            while (++i < _injectCount && _injectedPorts[i] == port && i - first < BurstSize)
            {
            }
            Enter(port, _injected + first, i - first);
            // What this injects is behind i.
            FlushFull();
        }
        _injectCount = 0;
    }
}
