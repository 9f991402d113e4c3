using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Stages;

namespace Dataplane.Workers;

/// <summary>
/// Packets that a stage has found inside others (decapsulated ones). Stages are not re-entrant, since they keep what they know of a
/// burst in the worker: such packets wait here until the stage is done, and then go through the bridge as if received.
/// </summary>
public sealed unsafe partial class Worker
{
    /// <summary>More than all stages can find between two calls of <see cref="RunInjected"/>: what fills a few buffers.</summary>
    private const int InjectCapacity = 16 * BurstSize;

    private struct Injected
    {
        public rte_mbuf* Mbuf;
        public nint Port;
    }

    private readonly Injected* _injected;
    private int _injectCount;

    /// <summary>Lets a packet enter by a port that has no device. The port counts it as received.</summary>
    public void Inject(int port, rte_mbuf* mbuf)
    {
        if (_injectCount == InjectCapacity)
        {
            _counters[port].RxPackets++;
            _counters[port].RxBytes += mbuf->pkt_len;
            Drop(port, mbuf, DropReason.NoBuffer);
            return;
        }
        _injected[_injectCount++] = new Injected { Mbuf = mbuf, Port = port };
    }

    /// <summary>Bridges what was injected: runs of packets of one port as bursts.</summary>
    private void RunInjected()
    {
        for (int i = 0; i < _injectCount;)
        {
            int port = (int)_injected[i].Port, n = 0;
            while (n < BurstSize && i < _injectCount && _injected[i].Port == port)
            {
                _rx[n++] = _injected[i++].Mbuf;
            }
            Enter(port, n);
            // What this injects is behind i.
            FlushFull();
        }
        _injectCount = 0;
    }
}
