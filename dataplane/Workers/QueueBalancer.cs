using Dataplane.Memory;

namespace Dataplane.Workers;

/// <summary>
/// Looks at the workers once per second, on a thread of its own, and gives a queue of the busiest one to the idlest one when the difference stays. What a queue
/// costs is estimated from its packets: a worker's time is divided among its queues by them.
/// </summary>
internal sealed unsafe class QueueBalancer(Engine engine)
{
    /// <summary>Looks in a row that must say the same: a second of a burst is no reason to move anything.</summary>
    private const int Looks = 3;

    private readonly double[] _loads = new double[engine.Workers.Count];
    private readonly ulong[] _cycles = new ulong[engine.Workers.Count];
    private readonly ulong[,] _packets = new ulong[engine.Workers.Count, engine.Segment.MaxPorts];
    private readonly ManualResetEvent _stop = new(false);
    private ulong _lookedAt;
    private int _wanted;
    private Thread? _thread;

    public void Start()
    {
        _thread = new Thread(Run) { Name = "balancer", IsBackground = true };
        _thread.Start();
    }

    public void Stop()
    {
        _stop.Set();
        _thread?.Join();
    }

    private void Run()
    {
        while (!_stop.WaitOne(TimeSpan.FromSeconds(1)))
        {
            RunOnce();
        }
    }

    private void RunOnce()
    {
        const double Second = 1e9;
        ulong now = engine.Clock.Nanoseconds, since = now - _lookedAt;
        bool first = _lookedAt == 0;
        _lookedAt = now;
        List<QueueLoad> queues = Look(since / Second);
        if (first || QueueBalance.Choose(_loads, queues) is not var (queue, worker))
        {
            _wanted = 0;
            return;
        }
        if (++_wanted < Looks)
        {
            return;
        }
        _wanted = 0;
        try
        {
            engine.Assign(queue.Port, queue.Queue, worker);
        }
        catch (Exception e) when (e is ArgumentException or TimeoutException)
        {
            // The port has gone meanwhile, or its worker hangs: it stays as it is.
        }
    }

    private List<QueueLoad> Look(double seconds)
    {
        Segment segment = engine.Segment;
        IReadOnlyList<(int Port, int Queue, int Worker)> queues = engine.Queues;
        var packets = new double[_loads.Length, segment.MaxPorts];
        var all = new double[_loads.Length];
        for (int worker = 0; worker < _loads.Length; worker++)
        {
            ulong cycles = segment.Workers[worker].BusyCycles;
            _loads[worker] = (cycles - _cycles[worker]) / (segment.Header.TscHz * seconds);
            _cycles[worker] = cycles;
            for (int port = 0; port < segment.MaxPorts; port++)
            {
                ulong received = segment.Counters(worker)[port].RxPackets;
                packets[worker, port] = received - _packets[worker, port];
                _packets[worker, port] = received;
            }
            all[worker] = queues.Where(q => q.Worker == worker).Select(q => q.Port).Distinct().Sum(port => packets[worker, port]);
        }
        return [.. queues.Where(q => q.Worker >= 0 && all[q.Worker] > 0).Select(q => new QueueLoad(q.Port, q.Queue, q.Worker,
            _loads[q.Worker] * packets[q.Worker, q.Port] / all[q.Worker] / queues.Count(other => (other.Port, other.Worker) == (q.Port, q.Worker))))];
    }
}
