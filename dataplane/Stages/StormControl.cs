using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Stages;

/// <summary>
/// A token bucket per port for packets that are flooded. Each worker has its own buckets, so nothing is shared; a port whose
/// queues are spread over several workers has its rate divided among them.
/// </summary>
public sealed unsafe class StormControl : IDisposable
{
    private const ulong Second = 1_000_000_000;

    private struct Bucket
    {
        public ulong Updated;      // ns
        public ulong Nanopackets;  // tokens, in 10^-9 packets
    }

    private readonly Bucket* _buckets;

    public StormControl(Segment segment)
    {
        _buckets = (Bucket*)NativeMemory.AllocZeroed((nuint)segment.MaxPorts, (nuint)sizeof(Bucket));
    }

    /// <summary>The worker's time in nanoseconds, set before each burst.</summary>
    public ulong Now { get; set; }

    /// <summary>Takes one token. False when the bucket is empty.</summary>
    /// <param name="port">Index of the input port.</param>
    /// <param name="rate">Packets per second; at least 1.</param>
    /// <param name="burst">Depth in packets; 0 means one second's worth.</param>
    /// <param name="shares">Workers among which the port's rate is divided.</param>
    public bool TryTake(int port, uint rate, uint burst, uint shares)
    {
        ref Bucket bucket = ref _buckets[port];
        ulong depth = Math.Max(1, (burst == 0 ? rate : burst) / (ulong)shares) * Second;
        ulong perSecond = Math.Max(1, rate / shares);
        ulong elapsed = bucket.Updated == 0 ? ulong.MaxValue : Now - bucket.Updated;
        // A bucket is full after depth/rate seconds; do not multiply what would overflow.
        bucket.Nanopackets = elapsed >= depth / perSecond
            ? depth
            : Math.Min(depth, bucket.Nanopackets + (elapsed * perSecond));
        bucket.Updated = Now;
        if (bucket.Nanopackets < Second)
        {
            return false;
        }
        bucket.Nanopackets -= Second;
        return true;
    }

    public void Dispose() => NativeMemory.Free(_buckets);
}
