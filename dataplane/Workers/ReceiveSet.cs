using Dataplane.Ports;

namespace Dataplane.Workers;

/// <summary>A port's receive queue that a worker polls.</summary>
public readonly record struct RxQueue(EnginePort Port, int Queue);

/// <summary>
/// The ports that a worker knows. Immutable: attaching or detaching a port publishes a new one, which the worker picks up at its
/// next poll, and what was in the old one is released after a grace period.
/// </summary>
public sealed class ReceiveSet
{
    public static ReceiveSet Empty { get; } = new([], [], []);

    private ReceiveSet(EnginePort?[] byIndex, RxQueue[] polled, RxQueue[] byFd)
    {
        ByIndex = byIndex;
        Polled = polled;
        ByFd = byFd;
        CanSleep = polled.All(q => q.Port.CanWake);
    }

    /// <summary>All attached ports, whoever polls them: any worker may send to any port.</summary>
    public EnginePort?[] ByIndex { get; }

    /// <summary>Queues that are polled each time.</summary>
    public RxQueue[] Polled { get; }

    /// <summary>Queues whose descriptor says when there is something.</summary>
    public RxQueue[] ByFd { get; }

    /// <summary>Whether every queue can wake the worker.</summary>
    public bool CanSleep { get; }

    /// <summary>The set of one worker.</summary>
    public static ReceiveSet For(int worker, QueueOwners owners, IReadOnlyCollection<EnginePort> ports, int maxPorts)
    {
        var byIndex = new EnginePort?[maxPorts];
        var polled = new List<RxQueue>();
        var byFd = new List<RxQueue>();
        foreach (EnginePort port in ports)
        {
            byIndex[port.Index] = port;
            foreach (RxQueue queue in owners.Of(port, worker))
            {
                (port.PollsByFd ? byFd : polled).Add(queue);
            }
        }
        return new ReceiveSet(byIndex, [.. polled], [.. byFd]);
    }
}
