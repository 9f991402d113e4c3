namespace Dataplane.Workers;

/// <summary>A receive queue, and what it costs the worker that polls it.</summary>
/// <param name="Port">Index of the port.</param>
/// <param name="Queue">Its number.</param>
/// <param name="Worker">Who polls it.</param>
/// <param name="Load">Share of the worker's time, 0 to 1.</param>
public readonly record struct QueueLoad(int Port, int Queue, int Worker, double Load);

/// <summary>Which queue should go to another worker, if any.</summary>
public static class QueueBalance
{
    /// <summary>A worker with less to do than this is not worth a move.</summary>
    public const double Busy = 0.6;

    /// <summary>Nor are loads that are closer than this.</summary>
    public const double Gap = 0.3;

    /// <summary>
    /// A queue that costs more than this share of the gap would only change which worker is the busy one, and come back.
    /// </summary>
    private const double MostOfGap = 0.8;

    /// <summary>
    /// From the busiest worker to the idlest one: the queue that brings their loads closest to each other. Null when none would help.
    /// </summary>
    /// <param name="loads">Of each worker, 0 to 1.</param>
    /// <param name="queues">All queues.</param>
    public static (QueueLoad Queue, int Worker)? Choose(ReadOnlySpan<double> loads, IEnumerable<QueueLoad> queues)
    {
        int busiest = 0, idlest = 0;
        for (int worker = 1; worker < loads.Length; worker++)
        {
            busiest = loads[worker] > loads[busiest] ? worker : busiest;
            idlest = loads[worker] < loads[idlest] ? worker : idlest;
        }
        double gap = loads[busiest] - loads[idlest];
        if (loads[busiest] < Busy || gap < Gap)
        {
            return null;
        }
        QueueLoad best = default;
        foreach (QueueLoad queue in queues)
        {
            if (queue.Worker == busiest && queue.Load > 0 && queue.Load <= MostOfGap * gap
                && (best.Load == 0 || Math.Abs((gap / 2) - queue.Load) < Math.Abs((gap / 2) - best.Load)))
            {
                best = queue;
            }
        }
        return best.Load == 0 ? null : (best, idlest);
    }
}
