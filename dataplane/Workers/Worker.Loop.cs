using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Stages;

namespace Dataplane.Workers;

/// <summary>
/// The poll loop, and what a worker does when there is nothing to do: it spins for a while (the next packet of a busy flow is
/// microseconds away), then sleeps in epoll until a descriptor of its ports has something. A port that cannot wake it makes it
/// look every millisecond.
/// <para>
/// When many packets come, a few at a time, and all from kernels (TAP devices), it lets some gather before it looks again, as a network card moderates its
/// interrupts (<see cref="Moderation"/>).
/// </para>
/// </summary>
public sealed unsafe partial class Worker
{
    private const int ReadyCapacity = 64;
    private const ulong WakeToken = ulong.MaxValue;

    /// <summary>How long to spin before sleeping, in nanoseconds.</summary>
    private const ulong SpinTime = 50_000;

    /// <summary>Longest sleep, in milliseconds: the worker's statistics are this fresh at least.</summary>
    private const int LongSleep = 1000;
    private const int ShortSleep = 1;

    /// <summary>
    /// The clock is read around the stages in one poll of so many, and what they took there is taken for the others too: reading it
    /// for every burst was a fifth of all time at bursts of 4.
    /// </summary>
    private const uint TimedPolls = 8;

    /// <summary>While polled ports are busy, descriptors are looked at every so many polls.</summary>
    private const int FdInterval = 8;

    private readonly rte_mbuf** _rx;
    private readonly byte* _ready;
    private readonly Epoll _epoll = new();
    private readonly EventFd _wake = new();
    private readonly ulong _cyclesPerResolution;
    private Handover?[] _incoming = [];
    private Worker[] _siblings = [];
    private ReceiveSet _published = ReceiveSet.Empty;
    private ulong _clockCycles;
    private ulong _stageCycles;
    private uint _polls, _unsampled;
    private bool _isTimed, _foundWork;
    private ulong _inStagesSince;
    private ulong _lastPoll;
    private ulong _longestPoll;
    private int _sinceFds;
    private Moderation _moderation;
    private int _sleeping;
    private volatile bool _stopping;

    /// <summary>Makes the worker known to the others, before any of them runs.</summary>
    internal void Connect(Worker[] siblings)
    {
        _siblings = siblings;
        _incoming = new Handover?[siblings.Length];
        for (int i = 0; i < siblings.Length; i++)
        {
            _incoming[i] = i == Index ? null : new Handover();
        }
        ConnectDistributor(siblings.Length);
        _epoll.Add(_wake.Fd, EpollEvents.In, WakeToken);
    }

    /// <summary>Gives the worker a new set of ports, from any thread.</summary>
    internal void Publish(ReceiveSet set)
    {
        Volatile.Write(ref _published, set);
        _wake.Signal();
    }

    /// <summary>Adds a queue's descriptor to those that wake the worker.</summary>
    internal void Watch(RxQueue queue)
    {
        int fd = queue.Port.RxFd(queue.Queue);
        if (fd >= 0)
        {
            // A device driver signals once per arming and nobody reads its descriptor: watch for the edge.
            EpollEvents events = queue.Port.PollsByFd ? EpollEvents.In : EpollEvents.In | EpollEvents.EdgeTriggered;
            _epoll.Add(fd, events, Token(queue));
        }
    }

    /// <summary>
    /// Takes it out again. Closing alone would not do: the control process holds the same device open, and epoll watches open
    /// files, not descriptors.
    /// </summary>
    internal void Unwatch(RxQueue queue)
    {
        int fd = queue.Port.RxFd(queue.Queue);
        if (fd >= 0)
        {
            _epoll.TryRemove(fd);
        }
    }

    /// <summary>Ends <see cref="Run"/>, from any thread.</summary>
    public void Stop()
    {
        _stopping = true;
        _wake.Signal();
    }

    /// <summary>Forwards until <see cref="Stop"/>.</summary>
    /// <param name="busyPoll">Never sleep.</param>
    public void Run(bool busyPoll)
    {
        Quiescence quiescence = Segment.Quiescence;
        quiescence.Online(Index);
        WarmUp();
        CpuAffinity.SetTimerSlack(1);
        (_lastPoll, _longestPoll) = (Shim.dps_rdtsc(), 0);
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        ulong idleSince = 0;
        uint second = 0;
        while (!_stopping)
        {
            int work = PollOnce();
            if (second != NowSeconds)
            {
                second = NowSeconds;
                _record->AllocatedBytes = (ulong)(GC.GetAllocatedBytesForCurrentThread() - allocated);
                _record->LastSeen = Storm.Now;
                CheckDevices();
            }
            if (work != 0)
            {
                idleSince = 0;
                // A queue that is polled fills faster than a kernel sends.
                if (!busyPoll && _set.Polled.Length == 0 && _moderation.IsEarly(work, _clockCycles))
                {
                    LetGather(quiescence);
                }
                continue;
            }
            if (busyPoll)
            {
                continue;
            }
            if (idleSince == 0)
            {
                idleSince = Storm.Now;
            }
            else if (Storm.Now - idleSince >= SpinTime)
            {
                Sleep(quiescence);
                RefreshClock();
                _lastPoll = _clockCycles;
            }
            else if (X86Base.IsSupported)
            {
                X86Base.Pause();
            }
        }
        quiescence.Offline(Index);
    }

    /// <summary>One turn over all queues. Gives the number of packets received.</summary>
    public int PollOnce()
    {
        Segment.Quiescence.Quiescent(Index);
        Connections.IsAlone = _siblings.Length == 1 && !Connections.IsClaimed;
        _generation = Segment.Generation;
        Watcher.Refresh(Volatile.Read(ref Segment.Header.ActiveCaptures));
        _set = Volatile.Read(ref _published);
        ReceiveSet set = _set;
        ulong start = Shim.dps_rdtsc();
        if (start - _lastPoll > _longestPoll)
        {
            _record->LongestPoll = _longestPoll = start - _lastPoll;
        }
        if (_foundWork)
        {
            _record->BusyCycles += start - _lastPoll;
        }
        _lastPoll = start;
        _isTimed = ++_polls % TimedPolls == 0;
        if (start - _clockCycles >= _cyclesPerResolution)
        {
            RefreshClock();
        }
        LookAfterNeighbours();

        int received = 0;
        foreach (ref readonly RxQueue queue in set.Polled.AsSpan())
        {
            received += Receive(queue.Port, queue.Queue);
        }
        if (set.ByFd.Length != 0 && (received == 0 || ++_sinceFds >= FdInterval))
        {
            _sinceFds = 0;
            received += ReceiveReady(0);
        }
        received += TakeHandedOver();
        if (_distribute)
        {
            received += TakeDistributed();
        }
        if (_flushCount + _freeCount != 0)
        {
            FlushAll();
        }

        _record->Polls++;
        LeaveStages();
        _foundWork = received != 0;
        if (_foundWork)
        {
            _record->Packets += (uint)(received - _passedOn);
            _passedOn = 0;
            _unsampled += (uint)received;
            if (_isTimed)
            {
                _record->StageCycles += _stageCycles * _unsampled / (uint)received;
                (_stageCycles, _unsampled) = (0, 0);
            }
        }
        else
        {
            _record->EmptyPolls++;
        }
        return received;
    }

    /// <summary>Passes packets to the worker that owns the transmit queue. Gives how many were taken.</summary>
    internal int HandOver(int worker, int outPort, rte_mbuf** mbufs, int count)
    {
        Worker owner = _siblings[worker];
        int n = owner._incoming[Index]!.Put(outPort, mbufs, count);
        _record->HandedOver += (uint)n;
        Wake(owner);
        return n;
    }

    /// <summary>Wakes a worker that was given packets.</summary>
    private static void Wake(Worker owner)
    {
        // Either the owner sees our packets when it looks once more before it sleeps, or we see that it sleeps.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref owner._sleeping) != 0)
        {
            owner._wake.Signal();
        }
    }

    /// <summary>
    /// Gives up what waits for neighbours, and sends what other workers have handed over. Only while no worker runs. False when there
    /// was nothing of theirs; otherwise one that has finished before may have been given something.
    /// </summary>
    internal bool Finish()
    {
        NeighbourStage.GiveUpAll(this);
        Nat.Fragments.GiveUp(this);
        FlushAll();
        bool any = false;
        while (TakeHandedOver() + TakeDistributed() != 0)
        {
            FlushAll();
            any = true;
        }
        return any;
    }

    /// <summary>From here on the clock counts for the stages, not for a driver.</summary>
    private void EnterStages()
    {
        if (_isTimed)
        {
            _inStagesSince = Shim.dps_rdtsc();
        }
    }

    private void LeaveStages()
    {
        if (_inStagesSince != 0)
        {
            _stageCycles += Shim.dps_rdtsc() - _inStagesSince;
            _inStagesSince = 0;
        }
    }

    /// <summary>Hands packets to a device.</summary>
    internal TxResult Transmit(EnginePort port, rte_mbuf** mbufs, int count)
    {
        LeaveStages();
        TxResult result = port.Tx(Index, mbufs, count);
        EnterStages();
        return result;
    }

    private int Receive(EnginePort port, int queue)
    {
        LeaveStages();
        if (Distributes(port) && !OthersHaveRoom())
        {
            return 0;
        }
        int n = port.Rx(queue, _rx, _burst);
        if (n == 0)
        {
            return 0;
        }
        EnterStages();
        int mine = Distributes(port) ? Distribute(port, _rx, n) : n;
        if (mine != 0)
        {
            Enter(port.Index, _rx, mine);
            FlushFull();
            RunInjected();
        }
        return n;
    }

    /// <summary>Lets a burst enter by a port, in an array as <see cref="BridgeStage.Run"/> wants it.</summary>
    private void Enter(int port, rte_mbuf** mbufs, int count)
    {
        if (Watcher.IsActive)
        {
            Watcher.Received(port, mbufs, count);
        }
        PortCounters* counters = _counters + port;
        counters->RxPackets += (uint)count;
        counters->RxBursts++;
        counters->RxBytes += BridgeStage.Run(this, port, mbufs, count);
    }

    /// <summary>Receives from the queues whose descriptors say that they have something.</summary>
    private int ReceiveReady(int timeout)
    {
        int ready = _epoll.Wait(_ready, ReadyCapacity, timeout);
        int received = 0;
        for (int i = 0; i < ready; i++)
        {
            ulong token = Epoll.DataAt(_ready, i);
            if (token == WakeToken)
            {
                _wake.Drain();
                continue;
            }
            if (PortObject((int)(token >> 16)) is not { PollsByFd: true } port)
            {
                continue; // detached meanwhile, or polled anyway
            }
            int queue = (int)(token & 0xFFFF);
            received += Receive(port, queue);
            int refused = port.TakeRxRefused(queue);
            if (refused != 0)
            {
                _counters[port.Index].RxPackets += (uint)refused;
                CountDrops(port.Index, DropReason.BadOffload, refused);
            }
            if (port.LostError != 0)
            {
                Lose(port, queue);
            }
        }
        return received;
    }

    private int TakeHandedOver()
    {
        int n = 0;
        foreach (Handover? handover in _incoming)
        {
            while (handover != null && n < BurstSize && handover.TryTake(out int outPort, out rte_mbuf* mbuf))
            {
                Send(outPort, mbuf);
                n++;
            }
        }
        return n;
    }

    /// <summary>Waits for a descriptor. The worker reads nothing meanwhile, so no writer waits for it.</summary>
    private void Sleep(Quiescence quiescence)
    {
        ReceiveSet set = _set;
        bool canSleep = set.CanSleep, armed = false;
        foreach (ref readonly RxQueue queue in set.Polled.AsSpan())
        {
            armed |= queue.Port.CanWake;
            canSleep &= !queue.Port.CanWake || queue.Port.Arm(queue.Queue);
        }
        // A packet that came between the last poll and the arming signals nothing: look once more.
        if (armed && PollOnce() != 0)
        {
            Disarm(set);
            return;
        }
        Volatile.Write(ref _sleeping, 1);
        Interlocked.MemoryBarrier();
        bool somethingCame = ReferenceEquals(set, Volatile.Read(ref _published)) is false || _stopping;
        foreach (Handover? handover in _incoming)
        {
            somethingCame |= handover is { IsEmpty: false };
        }
        foreach (Handover? ring in _distributed)
        {
            somethingCame |= ring is { IsEmpty: false };
        }
        somethingCame |= Resolutions.Count != 0 && HasNeighbourNews;
        if (!somethingCame)
        {
            quiescence.Offline(Index);
            _record->Sleeps++;
            // What is ready is not handled here but by the next poll, which sees it again.
            int ready = _epoll.Wait(_ready, 1, SleepFor(canSleep ? LongSleep : ShortSleep));
            if (ready == 1 && Epoll.DataAt(_ready, 0) == WakeToken)
            {
                _wake.Drain();
            }
            quiescence.Online(Index);
        }
        Volatile.Write(ref _sleeping, 0);
        Disarm(set);
    }

    /// <summary>Leaves the CPU to others for a moment. The worker reads nothing meanwhile, so no writer waits for it.</summary>
    private void LetGather(Quiescence quiescence)
    {
        _record->BusyCycles += Shim.dps_rdtsc() - _lastPoll;
        _foundWork = false;
        _record->Sleeps++;
        quiescence.Offline(Index);
        var time = new timespec { tv_nsec = Moderation.GatherTime };
        _ = Libc.nanosleep(&time, null);
        quiescence.Online(Index);
        RefreshClock();
        _lastPoll = _clockCycles;
    }

    private static void Disarm(ReceiveSet set)
    {
        foreach (ref readonly RxQueue queue in set.Polled.AsSpan())
        {
            queue.Port.Disarm(queue.Queue);
        }
    }

    /// <summary>
    /// Calls each native function of the loop once. The runtime allocates when it binds a function at its first call; after this
    /// the thread allocates nothing.
    /// </summary>
    private void WarmUp()
    {
        rte_mbuf* mbuf = Shim.dps_mbuf_alloc(Small.Pointer);
        if (mbuf != null)
        {
            rte_mbuf* copy = MbufCopy.Deep(mbuf, Small, Large);
            Shim.dps_mbuf_ref(mbuf, 1);
            _ = Shim.dps_mbuf_refcnt(mbuf);
            Shim.dps_mbuf_ref(mbuf, -1);
            Free(mbuf);
            if (copy != null)
            {
                Free(copy);
            }
            FreeAll();
        }
        rte_mbuf* one;
        if (Shim.dps_mbuf_alloc_bulk(Small.Pointer, &one, 1) == 0)
        {
            Shim.dps_mbuf_free(one);
        }
        _ = Libc.readv(-1, null, 0);
        _ = Libc.writev(-1, null, 0);
        _ = Libc.recvmmsg(-1, null, 0, 0, null);
        _ = Libc.getsockname(-1, null, null);
        _ = Libc.Errno();
        timespec none = default;
        _ = Libc.nanosleep(&none, null);
        _wake.Signal();
        _ = _epoll.Wait(_ready, 1, 0);
        _wake.Drain();
        _ = _epoll.TryRemove(-1);
        PollOnce();
    }

    private void CheckDevices()
    {
        foreach (ref readonly RxQueue queue in _set.ByFd.AsSpan())
        {
            if (queue.Port.LostError == 0)
            {
                queue.Port.CheckDevice(queue.Queue);
                if (queue.Port.LostError != 0)
                {
                    Lose(queue.Port, queue.Queue);
                }
            }
        }
    }

    /// <summary>A device went away under its port: stop looking at it, and say so.</summary>
    private void Lose(EnginePort port, int queue)
    {
        _epoll.TryRemove(port.RxFd(queue)); // it would stay readable for ever
        ref uint state = ref System.Runtime.CompilerServices.Unsafe.As<PortState, uint>(ref _runtime[port.Index].State);
        if (Interlocked.Exchange(ref state, (uint)PortState.Lost) != (uint)PortState.Lost)
        {
            _runtime[port.Index].Error = port.LostError;
            WriteEvent(new EventRecord { Kind = EventKind.PortLost, Port = (ushort)port.Index, Error = port.LostError });
        }
    }

    private void RefreshClock()
    {
        _clockCycles = Shim.dps_rdtsc();
        ulong now = _clock.Nanoseconds;
        Storm.Now = now;
        NowSeconds = (uint)(now / 1_000_000_000);
    }

    private static ulong Token(RxQueue queue) => ((ulong)queue.Port.Index << 16) | (uint)queue.Queue;
}
