using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Ports;

namespace Dataplane.Workers;

/// <summary>
/// The packet engine: workers over a segment, the ports attached to them, and the housekeeping thread. Ports come and go while
/// traffic flows; a worker sees the change at its next poll and the others' packets are not touched.
/// <para>
/// With <see cref="Start"/> the workers run on threads of their own. Without it a test turns them by hand
/// (<see cref="Worker.PollOnce"/>), deterministically.
/// </para>
/// </summary>
public sealed unsafe class Engine : IDisposable
{
    /// <summary>How long a worker may take to finish its burst before it counts as hung.</summary>
    private static readonly TimeSpan GraceTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Least and most bytes of a packet in an ordinary buffer: its headers must lie in one, and the room is 16 bits.</summary>
    private const int MinBufferBytes = 1024, MaxBufferBytes = ushort.MaxValue - Mbuf.DefaultHeadroom;

    private readonly Lock _changes = new();
    private readonly SortedDictionary<int, EnginePort> _ports = [];
    private readonly Worker[] _workers;
    private readonly EngineOptions _options;
    private readonly QueueOwners _owners;
    private readonly QueueBalancer? _balancer;
    private readonly List<Thread> _threads = [];
    private bool _disposed;

    /// <param name="segment">The tables. The engine takes it over from a predecessor that crashed.</param>
    /// <param name="options">How to run.</param>
    /// <param name="clock">The time; CLOCK_MONOTONIC when not given.</param>
    public Engine(Segment segment, EngineOptions? options = null, EngineClock? clock = null)
    {
        _options = options ?? new EngineOptions();
        if (_options.Workers < 1 || _options.Workers > segment.MaxWorkers)
        {
            throw new ArgumentException($"{_options.Workers} workers asked for; this segment has room for 1 to {segment.MaxWorkers}", nameof(options));
        }
        if (_options.Burst is < 1 or > Worker.BurstSize)
        {
            throw new ArgumentException($"bursts of {_options.Burst} packets asked for; 1 to {Worker.BurstSize} are possible", nameof(options));
        }
        if (_options.BufferBytes is < MinBufferBytes or > MaxBufferBytes)
        {
            throw new ArgumentException($"buffers of {_options.BufferBytes} bytes asked for; {MinBufferBytes} to {MaxBufferBytes} are possible", nameof(options));
        }
        _owners = new QueueOwners(_options.Workers);
        Segment = segment;
        Clock = clock ?? new MonotonicClock();
        TakeOver();
        int[] nodes = [.. Enumerable.Range(0, _options.Workers).Select(NodeOf)];
        Pools = new BufferPools(_options, nodes);
        Place(segment, nodes);
        _workers = [.. nodes.Select((node, i) => new Worker(i, segment, Pools.Small(node), Pools.Large(node), Clock, _options.Burst, _options.Distribute && _options.Workers > 1))];
        foreach (Worker worker in _workers)
        {
            worker.Connect(_workers);
        }
        Housekeeping = new Housekeeping(this);
        _balancer = _options.Balance && _options.Workers > 1 ? new QueueBalancer(this) : null;
    }

    public Segment Segment { get; }
    public EngineClock Clock { get; }
    public BufferPools Pools { get; }

    /// <summary>For whoever belongs to no NUMA node.</summary>
    public MbufPool Small => Pools.Small(BufferPools.AnyNode);
    public MbufPool Large => Pools.Large(BufferPools.AnyNode);
    public IReadOnlyList<Worker> Workers => _workers;
    public Housekeeping Housekeeping { get; }

    /// <summary>The attached ports, by index.</summary>
    public IReadOnlyList<EnginePort> Ports
    {
        get
        {
            lock (_changes)
            {
                return [.. _ports.Values];
            }
        }
    }

    /// <summary>Starts the threads.</summary>
    public void Start()
    {
        for (int i = 0; i < _workers.Length; i++)
        {
            Worker worker = _workers[i];
            int cpu = CpuOf(i);
            var thread = new Thread(() => RunWorker(worker, cpu)) { Name = $"worker-{i}", IsBackground = true, Priority = ThreadPriority.Highest };
            _threads.Add(thread);
            thread.Start();
        }
        Housekeeping.Start();
        _balancer?.Start();
    }

    /// <summary>Makes a port part of the switch. The engine owns it from now on; when this throws it is the caller's as before.</summary>
    /// <exception cref="InvalidOperationException">The index is taken.</exception>
    /// <exception cref="LinuxException">A descriptor of the port cannot be watched.</exception>
    public void Attach(EnginePort port)
    {
        lock (_changes)
        {
            if (port.Index <= 0 || port.Index >= Segment.MaxPorts)
            {
                throw new ArgumentException($"port \"{port.Name}\": index {port.Index} is not from 1 to {Segment.MaxPorts - 1}", nameof(port));
            }
            if (_ports.TryGetValue(port.Index, out EnginePort? there))
            {
                throw new InvalidOperationException($"port \"{port.Name}\": index {port.Index} is taken by \"{there.Name}\"");
            }
            ref PortRuntime runtime = ref Segment.PortRuntime[port.Index];
            runtime.Mac = port.Mac;
            runtime.Error = 0;
            // An err-disabled port stays so across a restart of the engine, until the administrator enables it.
            if (runtime.State != PortState.ErrDisabled)
            {
                runtime.State = PortState.Up;
            }
            _ports.Add(port.Index, port);
            try
            {
                foreach ((Worker worker, RxQueue queue) in PublishSets(port))
                {
                    worker.Watch(queue);
                }
            }
            catch
            {
                TakeOut(port);
                throw;
            }
        }
    }

    /// <summary>Takes a port out. When this returns no worker uses it and its device is closed. False when there is none.</summary>
    public bool Detach(int index)
    {
        lock (_changes)
        {
            if (!_ports.TryGetValue(index, out EnginePort? port))
            {
                return false;
            }
            TakeOut(port);
            port.Dispose();
            return true;
        }
    }

    /// <summary>All receive queues, with the worker that polls each.</summary>
    public IReadOnlyList<(int Port, int Queue, int Worker)> Queues
    {
        get
        {
            lock (_changes)
            {
                return [.. _ports.Values.SelectMany(port => Enumerable.Range(0, port.RxQueues).Select(queue => (port.Index, queue, _owners[port, queue])))];
            }
        }
    }

    /// <summary>The worker that polls each receive queue of a port; empty when there is no such port.</summary>
    public IReadOnlyList<int> OwnersOf(int index)
    {
        lock (_changes)
        {
            return _ports.TryGetValue(index, out EnginePort? port) ? [.. Enumerable.Range(0, port.RxQueues).Select(queue => _owners[port, queue])] : [];
        }
    }

    /// <summary>
    /// Gives a receive queue to another worker while traffic flows. For a moment nobody polls it, and its packets wait: first the old
    /// worker finishes what it has, and others what it had handed to them, then the new one begins. Nothing is lost or overtaken.
    /// </summary>
    /// <exception cref="ArgumentException">There is no such port, queue or worker.</exception>
    /// <exception cref="TimeoutException">The old worker hangs. It keeps the queue.</exception>
    public void Assign(int index, int queue, int worker)
    {
        lock (_changes)
        {
            if (!_ports.TryGetValue(index, out EnginePort? port))
            {
                throw new ArgumentException($"no port {index} is attached", nameof(index));
            }
            if (queue < 0 || queue >= port.RxQueues)
            {
                throw new ArgumentException($"port \"{port.Name}\" has no receive queue {queue}; it has {port.RxQueues}", nameof(queue));
            }
            if (worker < 0 || worker >= _workers.Length)
            {
                throw new ArgumentException($"there is no worker {worker}; they are numbered from 0 to {_workers.Length - 1}", nameof(worker));
            }
            int old = _owners[port, queue];
            if (old == worker)
            {
                return;
            }
            var moved = new RxQueue(port, queue);
            _owners.Assign(index, queue, QueueOwners.Nobody);
            PublishSets(port);
            _workers[old].Unwatch(moved);
            if (_threads.Count != 0 && !HasFinished(_workers[old]))
            {
                worker = old;
            }
            _owners.Assign(index, queue, worker);
            PublishSets(port);
            _workers[worker].Watch(moved);
            if (worker == old)
            {
                throw new TimeoutException($"port \"{port.Name}\": worker {old} has not finished a burst for {GraceTimeout.TotalSeconds:0} s");
            }
        }
    }

    /// <summary>
    /// Ends the threads. What a worker had handed to another one is sent first, and what waits for a neighbour is given up, so the
    /// counters balance. The workers can be turned by hand afterwards.
    /// </summary>
    public void Stop()
    {
        _balancer?.Stop();
        Housekeeping.Stop();
        foreach (Worker worker in _workers)
        {
            worker.Stop();
        }
        foreach (Thread thread in _threads)
        {
            thread.Join();
        }
        _threads.Clear();
        bool any;
        do
        {
            any = false;
            foreach (Worker worker in _workers)
            {
                any |= worker.Finish();
            }
        }
        while (any);
    }

    /// <summary>Stops the threads and closes all ports.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }
        _disposed = true;
        Stop();
        foreach (int index in _ports.Keys.ToArray())
        {
            Detach(index);
        }
        foreach (Worker worker in _workers)
        {
            worker.Dispose();
        }
        Pools.Dispose();
        Segment.Header.EnginePid = 0;
    }

    /// <summary>CPU of a worker; -1 when it is not pinned.</summary>
    private int CpuOf(int worker) => _options.Cores.Count == 0 ? -1 : _options.Cores[worker % _options.Cores.Count];

    private int NodeOf(int worker) => CpuOf(worker) is >= 0 and var cpu ? CpuAffinity.NodeOf(cpu) : BufferPools.AnyNode;

    /// <summary>Puts the tables near the workers, or in turns near each where they are on several nodes. Where there is one node only, that is done.</summary>
    private static void Place(Segment segment, int[] nodes)
    {
        int[] known = [.. nodes.Where(n => n >= 0).Distinct()];
        if (known.Length > 0 && NumaMemory.Nodes.Count > 1)
        {
            segment.Place(known);
        }
    }

    /// <summary>When this returns no worker uses the port.</summary>
    private void TakeOut(EnginePort port)
    {
        _ports.Remove(port.Index);
        foreach ((Worker worker, RxQueue queue) in PublishSets(port))
        {
            worker.Unwatch(queue);
        }
        _owners.Forget(port.Index);
        ref PortRuntime runtime = ref Segment.PortRuntime[port.Index];
        if (runtime.State != PortState.ErrDisabled)
        {
            runtime.State = PortState.Detached;
        }
        if (_threads.Count != 0 && !Segment.Quiescence.Wait(Segment.Quiescence.Advance(), GraceTimeout))
        {
            // Closing would pull the device from under a worker that hangs in it. Better to leak it.
            throw new TimeoutException($"port \"{port.Name}\": a worker has not finished a burst for {GraceTimeout.TotalSeconds:0} s");
        }
    }

    /// <summary>Gives each worker its set of ports. Returns the queues of one port with the workers that poll them.</summary>
    private List<(Worker Worker, RxQueue Queue)> PublishSets(EnginePort changed)
    {
        var queues = new List<(Worker, RxQueue)>();
        foreach (Worker worker in _workers)
        {
            worker.Publish(ReceiveSet.For(worker.Index, _owners, _ports.Values, Segment.MaxPorts));
            foreach (RxQueue queue in _owners.Of(changed, worker.Index))
            {
                queues.Add((worker, queue));
            }
        }
        return queues;
    }

    /// <summary>Waits until a worker has sent what it received before now, and others what it gave to them. False when that takes too long.</summary>
    private bool HasFinished(Worker worker)
    {
        long end = Environment.TickCount64 + (long)GraceTimeout.TotalMilliseconds;
        if (!Segment.Quiescence.Wait(Segment.Quiescence.Advance(), GraceTimeout))
        {
            return false;
        }
        while (worker.HasPassedOn)
        {
            if (Environment.TickCount64 > end)
            {
                return false;
            }
            Thread.Yield();
        }
        // Taken is not yet sent.
        return Segment.Quiescence.Wait(Segment.Quiescence.Advance(), GraceTimeout);
    }

    private void RunWorker(Worker worker, int cpu)
    {
        if (cpu >= 0)
        {
            CpuAffinity.Set([cpu]);
        }
        Segment.Workers[worker.Index].Cpu = cpu;
        // An lcore id of its own gives the thread a cache in each pool.
        Eal.RegisterThread();
        try
        {
            worker.Run(_options.BusyPoll);
        }
        finally
        {
            Eal.UnregisterThread();
        }
    }

    /// <summary>What a predecessor on this segment left half done. No worker runs yet.</summary>
    private void TakeOver()
    {
        for (int i = 0; i < Segment.MaxWorkers; i++)
        {
            Segment.Workers[i].Epoch = Quiescence.OfflineEpoch;
        }
        Segment.Macs.FreeAllDead();
        Segment.Neighbours.Restart();
        if (Segment.Header.EnginePid != 0)
        {
            Segment.ConnectionsOf(Segment.MaxWorkers).Scrub();
        }
        LearnedCounts.Recount(Segment);
        for (int i = 0; i < Segment.MaxPorts; i++)
        {
            ref PortState state = ref Segment.PortRuntime[i].State;
            state = state == PortState.ErrDisabled ? state : PortState.Detached;
        }
        ref SegmentHeader header = ref Segment.Header;
        header.EnginePid = (uint)Environment.ProcessId;
        header.EngineWorkers = (uint)_options.Workers;
        header.EngineStarts++;
        header.TscHz = Shim.dps_tsc_hz();
        header.EngineStarted = Clock.Nanoseconds;
        header.EngineHeartbeat = Clock.Nanoseconds;
        header.EngineCollections = 0;
    }
}
