using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Ports;

namespace Dataplane.Workers;

/// <summary>
/// A distributor in software, for ports that have one receive queue and so cannot spread their packets over the workers themselves
/// (receive-side scaling). The worker that polls such a queue looks at each packet's flow (<see cref="FlowHash"/>): what is another
/// worker's goes into a ring to it, and enters the switch there. A flow has one worker, so its packets keep their order.
/// <para>
/// A port is polled only while every ring has room for a whole burst: what the others do not get done waits in the device, and is
/// lost there as it would be with one worker that is too slow.
/// </para>
/// <para>
/// What it costs: a hash and one more pass for the worker that polls, and a cache line that goes from one core to another for
/// the other packets. It pays where the stages cost more than that, which bridging does not.
/// </para>
/// </summary>
public sealed unsafe partial class Worker
{
    private readonly bool _distribute;
    private rte_mbuf** _toOthers;
    private int* _toOthersCount;
    private Handover?[] _distributed = [];
    private int _passedOn;

    private void ConnectDistributor(int workers)
    {
        _distributed = new Handover?[workers];
        if (!_distribute)
        {
            return;
        }
        for (int i = 0; i < workers; i++)
        {
            _distributed[i] = i == Index ? null : new Handover();
        }
        _toOthers = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)(workers * BurstSize * sizeof(nint)), 64);
        _toOthersCount = (int*)NativeMemory.AlignedAlloc((nuint)(((workers * sizeof(int)) + 63) & ~63), 64);
    }

    /// <summary>Whether packets of a port are to be shared among the workers.</summary>
    private bool Distributes(EnginePort port) => _distribute && port.RxQueues == 1;

    /// <summary>Whether every other worker can be given a burst.</summary>
    private bool OthersHaveRoom()
    {
        foreach (Worker other in _siblings)
        {
            if (other._distributed[Index] is { } ring && ring.Room < BurstSize)
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>Passes on what is other workers'. Gives how many packets are left at the front of the array, in their order.</summary>
    private int Distribute(EnginePort port, rte_mbuf** mbufs, int count)
    {
        int workers = _siblings.Length, mine = 0;
        new Span<int>(_toOthersCount, workers).Clear();
        for (int i = 0; i < count; i++)
        {
            rte_mbuf* mbuf = mbufs[i];
            Stages.BridgeStage.Prefetch(mbufs[i + PrefetchAhead]);
            uint hash = mbuf->data_len < Wire.EthernetHeader ? 0 : FlowHash.OfFrame(Mbuf.Data(mbuf), mbuf->data_len, out _);
            int worker = (int)(((ulong)hash * (uint)workers) >> 32);
            if (worker == Index)
            {
                mbufs[mine++] = mbuf;
            }
            else
            {
                _toOthers[(worker * BurstSize) + _toOthersCount[worker]++] = mbuf;
            }
        }
        for (int worker = 0; worker < workers; worker++)
        {
            int n = _toOthersCount[worker];
            if (n != 0)
            {
                PassOn(port.Index, _siblings[worker], _toOthers + (worker * BurstSize), n);
            }
        }
        _passedOn += count - mine;
        return mine;
    }

    private void PassOn(int port, Worker worker, rte_mbuf** mbufs, int count)
    {
        _record->Distributed += (uint)worker._distributed[Index]!.Put(port, mbufs, count);
        Wake(worker);
    }

    /// <summary>Lets enter what other workers have received for this one: runs of packets of one port as bursts.</summary>
    private int TakeDistributed()
    {
        int all = 0;
        for (int from = 0; from < _distributed.Length; from++)
        {
            if (_distributed[from] is not { } ring)
            {
                continue;
            }
            int n = ring.TakeRun(_rx, BurstSize, out int port);
            if (n != 0)
            {
                // Room in every buffer for a burst.
                FlushFull();
                LeaveStages();
                EnterStages();
                Enter(port, _rx, n);
                FlushFull();
                RunInjected();
                all += n;
            }
        }
        return all;
    }

    /// <summary>Whether another worker has still to take what this one gave it. From any thread.</summary>
    internal bool HasPassedOn => _siblings.Any(other => other._incoming[Index] is { IsEmpty: false } || other._distributed[Index] is { IsEmpty: false });

    private void DisposeDistributor()
    {
        foreach (Handover? ring in _distributed)
        {
            ring?.Dispose();
        }
        NativeMemory.AlignedFree(_toOthers);
        NativeMemory.AlignedFree(_toOthersCount);
    }
}
