using Dataplane.Memory;

namespace Dataplane.Stages;

/// <summary>
/// A token bucket per port for packets that are flooded. Each worker has its own buckets, so nothing is shared; a port whose
/// queues are spread over several workers has its rate divided among them.
/// </summary>
public sealed class StormControl(Segment segment) : IDisposable
{
    private readonly TokenBuckets _buckets = new(segment.MaxPorts);

    /// <summary>The worker's time in nanoseconds, set before each burst.</summary>
    public ulong Now { get; set; }

    /// <summary>Takes one token. False when the bucket is empty. See <see cref="TokenBuckets.TryTake"/>.</summary>
    public bool TryTake(int port, uint rate, uint burst, uint shares) => _buckets.TryTake(port, Now, rate, burst, shares);

    public void Dispose() => _buckets.Dispose();
}
