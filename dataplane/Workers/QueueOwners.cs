using Dataplane.Ports;

namespace Dataplane.Workers;

/// <summary>
/// Which worker polls which receive queue. A port with one queue per worker gives each its own, ports with one queue are spread over
/// the workers by their index, and a queue that was assigned stays where it was put. Used under the engine's lock.
/// </summary>
/// <param name="workers">Number of workers.</param>
public sealed class QueueOwners(int workers)
{
    /// <summary>Polled by nobody, while it goes from one worker to another.</summary>
    public const int Nobody = -1;

    private readonly Dictionary<(int Port, int Queue), int> _assigned = [];

    public int this[EnginePort port, int queue] => _assigned.TryGetValue((port.Index, queue), out int owner)
        ? owner
        : (port.RxQueues > 1 ? queue : port.Index) % workers;

    /// <summary>Puts a queue into a worker's hands, or <see cref="Nobody"/>'s.</summary>
    public void Assign(int port, int queue, int worker) => _assigned[(port, queue)] = worker;

    /// <summary>A port that goes takes with it what was assigned.</summary>
    public void Forget(int port)
    {
        foreach ((int Port, int Queue) key in _assigned.Keys.Where(key => key.Port == port).ToArray())
        {
            _assigned.Remove(key);
        }
    }

    /// <summary>The receive queues of a port that a worker polls.</summary>
    public IEnumerable<RxQueue> Of(EnginePort port, int worker) =>
        Enumerable.Range(0, port.RxQueues).Where(queue => this[port, queue] == worker).Select(queue => new RxQueue(port, queue));
}
