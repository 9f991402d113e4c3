using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Stages;
using Dataplane.Tables;

namespace Dataplane.Workers;

/// <summary>
/// One forwarding thread: receive a burst, run it through the stages, send what came of it, and again.
/// <para>
/// A worker owns its receive and transmit queues, its counters, its buffers and its event ring; of what it shares it only reads,
/// or changes single words with one atomic instruction. Between two polls it announces a quiescent state
/// (<see cref="Quiescence"/>) and reads the committed generation, which holds for the whole of the next poll.
/// </para>
/// <para>This file is what stages use; the loop is in <c>Worker.Loop.cs</c>.</para>
/// </summary>
public sealed unsafe partial class Worker : OwnCacheLines, IDisposable
{
    /// <summary>Packets received at once, at most.</summary>
    public const int BurstSize = 64;

    /// <summary>How many packets ahead of the one at hand a loop asks for headers.</summary>
    public const int PrefetchAhead = 4;

    private readonly PortCounters* _counters;
    private readonly WorkerRecord* _record;
    private readonly Versioned<PortRecord>* _ports;
    private readonly Versioned<BridgeRecord>* _bridges;
    private readonly Versioned<InterfaceRecord>* _interfaces;
    private readonly Versioned<VrfRecord>* _vrfs;
    private readonly Versioned<NextHopRecord>* _nextHops;
    private readonly Versioned<TunnelRecord>* _tunnels;
    private readonly Versioned<FrontendRecord>* _frontends;
    private readonly Versioned<BackendRecord>* _backends;
    private readonly byte* _backendSets;
    private readonly PortRuntime* _runtime;
    private readonly TxBuffer* _tx;
    private readonly ushort* _flushList;
    private readonly rte_mbuf** _freeList;
    private readonly EngineClock _clock;
    private readonly int _burst;
    private int _flushCount;
    private int _freeCount;
    private ulong _generation;
    private ReceiveSet _set = ReceiveSet.Empty;
    private uint _eventSecond;
    private readonly int[] _eventsThisSecond = new int[(int)EventKind.LearnLimit + 1];

    internal Worker(int index, Segment segment, MbufPool small, MbufPool large, EngineClock clock, int burst, bool distribute)
    {
        Index = index;
        Segment = segment;
        Small = small;
        Large = large;
        _clock = clock;
        _burst = burst;
        _distribute = distribute;
        _counters = segment.Counters(index);
        _record = segment.Workers + index;
        _ports = segment.Ports;
        _bridges = segment.Bridges;
        _interfaces = segment.Interfaces;
        _vrfs = segment.Vrfs;
        _nextHops = segment.NextHops;
        _tunnels = segment.Tunnels;
        _frontends = segment.Frontends;
        _backends = segment.Backends;
        _backendSets = segment.BackendSets;
        _runtime = segment.PortRuntime;
        Macs = segment.Macs;
        Neighbours = segment.Neighbours;
        Routes = segment.Routes;
        Services = segment.ServiceTable;
        Endpoints = segment.Endpoints;
        Connections = segment.ConnectionsOf(index);
        PortWords = (segment.MaxPorts + 63) / 64;
        Bridged = (BridgeEntry*)NativeMemory.AlignedAlloc((nuint)(sizeof(BridgeEntry) * BurstSize), 64);
        FloodTargets = (FloodTargets*)NativeMemory.AlignedAlloc((nuint)(sizeof(FloodTargets) * Stages.FloodTargets.MaxDepth), 64);
        SegmentScratch = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)(OutputStage.MaxSegments * sizeof(nint)), 64);
        _tx = (TxBuffer*)NativeMemory.AlignedAlloc((nuint)(sizeof(TxBuffer) * segment.MaxPorts), 64);
        NativeMemory.Clear(_tx, (nuint)(sizeof(TxBuffer) * segment.MaxPorts));
        _flushList = (ushort*)NativeMemory.AlignedAlloc((nuint)(2 * sizeof(ushort) * segment.MaxPorts), 64);
        _freeList = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)(BurstSize * sizeof(nint)), 64);
        // What lies behind a burst is only prefetched.
        _rx = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)((BurstSize + PrefetchAhead) * sizeof(nint)), 64);
        NativeMemory.Clear(_rx, (nuint)((BurstSize + PrefetchAhead) * sizeof(nint)));
        _ready = (byte*)NativeMemory.AlignedAlloc((nuint)Interop.Linux.Epoll.BufferSize(ReadyCapacity), 64);
        _injected = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)((InjectCapacity + PrefetchAhead) * sizeof(nint)), 64);
        NativeMemory.Clear(_injected, (nuint)((InjectCapacity + PrefetchAhead) * sizeof(nint)));
        _injectedPorts = (ushort*)NativeMemory.AlignedAlloc(InjectCapacity * sizeof(ushort), 64);
        Egress = new EgressMatrix(segment);
        Storm = new StormControl(segment);
        Policer = new Policer(segment.MaxPorts);
        Routing = new RouteState(segment);
        Tunnels = new TunnelState(segment);
        Watcher = new PacketWatch(segment, index, clock);
        _cyclesPerResolution = (ulong)(clock.Resolution * (decimal)Shim.dps_tsc_hz() / 1_000_000_000);
        _moderation = new Moderation(Shim.dps_tsc_hz() / 1000);
        RefreshClock();
    }

    /// <summary>0 for the first worker.</summary>
    public int Index { get; }

    public Segment Segment { get; }

    /// <summary>Buffers for ordinary packets, and for what exceeds them.</summary>
    public MbufPool Small { get; }
    public MbufPool Large { get; }

    public MacTable Macs { get; }
    public NeighbourTable Neighbours { get; }
    public RouteTable Routes { get; }
    public ServiceTable Services { get; }
    public EndpointSet Endpoints { get; }
    public ConnectionTable Connections { get; }
    public EgressMatrix Egress { get; }
    public StormControl Storm { get; }

    /// <summary>What ports may still send.</summary>
    public Policer Policer { get; }
    public RouteState Routing { get; }
    public NatState Nat { get; set; } = new();
    public TunnelState Tunnels { get; }
    public PacketWatch Watcher { get; }
    public BridgeEntry* Bridged { get; }
    public FloodTargets* FloodTargets { get; }

    /// <summary>How many packets are being flooded, one within the other.</summary>
    public int FloodDepth { get; set; }
    public rte_mbuf** SegmentScratch { get; }

    /// <summary>64-bit words of a <see cref="PortSet"/> that can have a bit set.</summary>
    public int PortWords { get; }

    /// <summary>The committed generation, for the whole of this poll.</summary>
    public ulong Generation => _generation;

    /// <summary>Time of this poll.</summary>
    public uint NowSeconds { get; private set; }

    /// <summary>A port's configuration, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly PortRecord Port(int index) => ref Versioned<PortRecord>.Read(in _ports[index], _generation);

    /// <summary>A bridge's configuration, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly BridgeRecord Bridge(int index) => ref Versioned<BridgeRecord>.Read(in _bridges[index], _generation);

    /// <summary>A port's layer-3 side, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly InterfaceRecord Interface(int port) => ref Versioned<InterfaceRecord>.Read(in _interfaces[port], _generation);

    /// <summary>A VRF, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly VrfRecord Vrf(int index) => ref Versioned<VrfRecord>.Read(in _vrfs[index], _generation);

    /// <summary>A next hop, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly NextHopRecord NextHop(int index) => ref Versioned<NextHopRecord>.Read(in _nextHops[index], _generation);

    /// <summary>The tunnel behind a port, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly TunnelRecord Tunnel(int port) => ref Versioned<TunnelRecord>.Read(in _tunnels[port], _generation);

    /// <summary>A next-hop group, as it is for the whole of this poll.</summary>
    public ref readonly NextHopGroup NextHopGroup(int index) => ref Segment.NextHopGroup(index, _generation);

    /// <summary>A service's port, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly FrontendRecord Frontend(int index) => ref Versioned<FrontendRecord>.Read(in _frontends[index], _generation);

    /// <summary>A backend, as it is for the whole of this poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly BackendRecord Backend(int index) => ref Versioned<BackendRecord>.Read(in _backends[index], _generation);

    /// <summary>The backend for a new connection to a frontend whose set is not 0; see <see cref="BackendSet.Choose"/>.</summary>
    public int ChooseBackend(in FrontendRecord frontend, uint flowHash) => (int)BackendSet.Choose(_backendSets, frontend.Set, flowHash);

    /// <summary>A pool of addresses for NAT, as it is for the whole of this poll.</summary>
    public ref readonly NatPoolRecord NatPool(int index) => ref Segment.NatPool(index, _generation);

    /// <summary>The device of a port, or null when none is attached.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public EnginePort? PortObject(int index) => (uint)index < (uint)_set.ByIndex.Length ? _set.ByIndex[index] : null;

    /// <summary>How many workers receive from a port.</summary>
    public uint PollersOf(int port) => (uint)Math.Clamp(PortObject(port)?.RxQueues ?? 1, 1, _siblings.Length);

    /// <summary>This worker's counters of a port.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public PortCounters* Counters(int port) => _counters + port;

    /// <summary>Verdicts for packets from a port, by output port.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* EgressVerdicts(int inPort) => Egress.Row(inPort, _generation);

    /// <summary>Whether the switch itself has disabled the port.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsErrDisabled(int port) => _runtime[port].State == PortState.ErrDisabled;

    /// <summary>Puts a packet into the transmit buffer of a port.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Send(int outPort, rte_mbuf* mbuf)
    {
        TxBuffer* buffer = _tx + outPort;
        int n = buffer->Count;
        buffer->Mbufs[n] = (nint)mbuf;
        buffer->Count = n + 1;
        if (n == 0)
        {
            List(outPort, buffer);
        }
        if (n == TxBuffer.Capacity - 1)
        {
            Flush(outPort, buffer);
        }
    }

    /// <summary>Puts packets into the transmit buffer of a port, in their order.</summary>
    public void Send(int outPort, rte_mbuf** mbufs, int count)
    {
        TxBuffer* buffer = _tx + outPort;
        while (count > 0)
        {
            int n = buffer->Count, take = Math.Min(count, TxBuffer.Capacity - n);
            new ReadOnlySpan<nint>(mbufs, take).CopyTo(new Span<nint>(buffer->Mbufs + n, take));
            buffer->Count = n + take;
            List(outPort, buffer);
            if (n + take == TxBuffer.Capacity)
            {
                Flush(outPort, buffer);
            }
            mbufs += take;
            count -= take;
        }
    }

    /// <summary>
    /// As <see cref="Send(int, rte_mbuf*)"/>, at most <see cref="BurstSize"/> times between two calls of <see cref="FlushFull"/>, which leaves that
    /// much room in every buffer. It calls nothing.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SendRoomy(int outPort, rte_mbuf* mbuf)
    {
        TxBuffer* buffer = _tx + outPort;
        int n = buffer->Count;
        buffer->Mbufs[n] = (nint)mbuf;
        buffer->Count = n + 1;
        if (n == 0)
        {
            List(outPort, buffer);
        }
    }

    /// <summary>Whether <see cref="SendRoomy"/> may be called once more without a look at the count of packets since the last flush.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasRoom(int outPort) => _tx[outPort].Count < TxBuffer.Capacity - 1;

    /// <summary>
    /// The buffer of a port, which will be flushed: for loops that put packets there themselves, as long as it has room for one more
    /// than that (<see cref="HasRoom"/>).
    /// </summary>
    public TxBuffer* Output(int outPort)
    {
        TxBuffer* buffer = _tx + outPort;
        List(outPort, buffer);
        return buffer;
    }

    /// <summary>Counts and frees a packet: on the port it came from, or for one that is to be sent, on the output port.</summary>
    public void Drop(int port, rte_mbuf* mbuf, DropReason reason)
    {
        _counters[port].Drops[(int)reason]++;
        if (Watcher.IsActive)
        {
            Watcher.Dropped(port, mbuf, reason);
        }
        Free(mbuf);
    }

    /// <summary>Counts and frees a burst. Gives its bytes.</summary>
    public ulong DropAll(int inPort, rte_mbuf** mbufs, int count, DropReason reason)
    {
        ulong bytes = 0;
        for (int i = 0; i < count; i++)
        {
            bytes += mbufs[i]->pkt_len;
            Drop(inPort, mbufs[i], reason);
        }
        return bytes;
    }

    /// <summary>Counts packets that never had a buffer, or have none any more.</summary>
    public void CountDrops(int port, DropReason reason, int count)
    {
        _counters[port].Drops[(int)reason] += (uint)count;
        if (Watcher.IsActive)
        {
            Watcher.DroppedUnseen(port, reason, count);
        }
    }

    /// <summary>Counts and frees packets that an output port was offered.</summary>
    public void EgressDrop(int outPort, rte_mbuf** mbufs, int count, DropReason reason)
    {
        for (int i = 0; i < count; i++)
        {
            Drop(outPort, mbufs[i], reason);
        }
    }

    /// <summary>Offers a packet to an output port, which drops it.</summary>
    public void EgressDropOffered(int outPort, rte_mbuf* mbuf, DropReason reason)
    {
        _counters[outPort].Offered++;
        Drop(outPort, mbuf, reason);
    }

    /// <summary>Frees a chain, together with others.</summary>
    public void Free(rte_mbuf* mbuf)
    {
        _freeList[_freeCount++] = mbuf;
        if (_freeCount == BurstSize)
        {
            FreeAll();
        }
    }

    /// <summary>A copy that may be changed, or null.</summary>
    public rte_mbuf* DeepCopy(rte_mbuf* mbuf) => MbufCopy.Deep(mbuf, Small, Large);

    /// <summary>The switch disables a port, until the administrator enables it again.</summary>
    public void ErrDisable(int port, int bridge)
    {
        ref uint state = ref Unsafe.As<PortState, uint>(ref _runtime[port].State);
        if (Interlocked.CompareExchange(ref state, (uint)PortState.ErrDisabled, (uint)PortState.Up) == (uint)PortState.Up)
        {
            WriteEvent(new EventRecord { Kind = EventKind.BpduGuard, Port = (ushort)port, Bridge = (ushort)bridge });
        }
    }

    /// <summary>Tells the control plane about an address. At most <see cref="EventsPerSecond"/> of a kind a second; the rest is counted as lost.</summary>
    public void Event(EventKind kind, int port, ulong key, int bridge, int otherPort = 0)
    {
        if (_eventSecond != NowSeconds)
        {
            _eventSecond = NowSeconds;
            Array.Clear(_eventsThisSecond);
        }
        if (++_eventsThisSecond[(int)kind] > EventsPerSecond)
        {
            _record->EventsLost++;
            return;
        }
        WriteEvent(new EventRecord
        {
            Kind = kind,
            Port = (ushort)port,
            OtherPort = (ushort)otherPort,
            Bridge = (ushort)bridge,
            Vlan = Fids.VlanOf((ushort)(key >> 48)),
            Mac = key & MacAddress.Mask,
        });
    }

    /// <summary>
    /// Events about addresses that a worker reports per second and kind: an attacker must neither fill the ring nor, with many of
    /// one kind, hide those of another.
    /// </summary>
    public const int EventsPerSecond = 32;

    private void WriteEvent(EventRecord record)
    {
        record.Time = Storm.Now;
        if (!EventRing.TryWrite(ref Segment.Events(Index), in record))
        {
            _record->EventsLost++;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void List(int outPort, TxBuffer* buffer)
    {
        if (!buffer->IsListed)
        {
            buffer->IsListed = true;
            _flushList[_flushCount++] = (ushort)outPort;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Flush(int outPort, TxBuffer* buffer)
    {
        int n = buffer->Count;
        buffer->Count = 0;
        if (n != 0)
        {
            OutputStage.Flush(this, outPort, (rte_mbuf**)buffer->Mbufs, n);
        }
    }

    /// <summary>
    /// Sends whole bursts at once, while their packets are still in the cache. A port without a device passes them on to others,
    /// perhaps to one that was looked at before: so until no buffer is full.
    /// </summary>
    private void FlushFull()
    {
        bool passedOn;
        do
        {
            passedOn = false;
            for (int i = 0; i < _flushCount; i++)
            {
                TxBuffer* buffer = _tx + _flushList[i];
                if (buffer->Count >= BurstSize)
                {
                    Flush(_flushList[i], buffer);
                    passedOn |= PortObject(_flushList[i]) == null;
                }
            }
        }
        while (passedOn);
    }

    /// <summary>Sends everything, in rounds: what a port without a device passes on is of the next round.</summary>
    private void FlushAll()
    {
        while (_flushCount != 0)
        {
            int round = _flushCount;
            for (int i = 0; i < round; i++)
            {
                TxBuffer* buffer = _tx + _flushList[i];
                buffer->IsListed = false;
                Flush(_flushList[i], buffer);
            }
            // A port is listed once in a round, so twice as many as there are ports have room.
            new ReadOnlySpan<ushort>(_flushList + round, _flushCount - round).CopyTo(new Span<ushort>(_flushList, _flushCount));
            _flushCount -= round;
            RunInjected();
        }
        FreeAll();
    }

    private void FreeAll()
    {
        if (_freeCount != 0)
        {
            Shim.dps_mbuf_free_bulk(_freeList, (uint)_freeCount);
            _freeCount = 0;
        }
    }

    public void Dispose()
    {
        NeighbourStage.GiveUpAll(this);
        Nat.Fragments.GiveUp(this);
        FlushAll();
        Resolutions.Dispose();
        foreach (Handover? handover in _incoming)
        {
            handover?.Dispose();
        }
        DisposeDistributor();
        Egress.Dispose();
        Storm.Dispose();
        Policer.Dispose();
        Routing.Dispose();
        Tunnels.Dispose();
        _epoll.Dispose();
        _wake.Dispose();
        foreach (nint memory in (ReadOnlySpan<nint>)[(nint)Bridged, (nint)FloodTargets, (nint)SegmentScratch, (nint)_tx,
            (nint)_flushList, (nint)_freeList, (nint)_rx, (nint)_ready, (nint)_injected, (nint)_injectedPorts])
        {
            NativeMemory.AlignedFree((void*)memory);
        }
    }
}
