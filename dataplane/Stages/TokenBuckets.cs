using System.Runtime.InteropServices;

namespace Dataplane.Stages;

/// <summary>A token bucket per port, of one worker: nobody else reads or writes it.</summary>
public sealed unsafe class TokenBuckets(int ports) : IDisposable
{
    private const ulong Second = 1_000_000_000;

    private struct Bucket
    {
        public ulong Updated;      // ns
        public ulong Nanopackets;  // tokens, in 10^-9 packets
    }

    private readonly Bucket* _buckets = (Bucket*)NativeMemory.AllocZeroed((nuint)ports, (nuint)sizeof(Bucket));

    /// <summary>Takes one token. False when the bucket is empty.</summary>
    /// <param name="port">Index of the port.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="rate">Packets per second; at least 1.</param>
    /// <param name="burst">Depth in packets; 0 means one second's worth.</param>
    /// <param name="shares">Workers among which the port's rate is divided.</param>
    public bool TryTake(int port, ulong now, uint rate, uint burst, uint shares)
    {
        ref Bucket bucket = ref _buckets[port];
        ulong depth = Math.Max(1, (burst == 0 ? rate : burst) / (ulong)shares) * Second;
        ulong perSecond = Math.Max(1, rate / shares);
        ulong elapsed = bucket.Updated == 0 ? ulong.MaxValue : now - bucket.Updated;
        // A bucket is full after depth/rate seconds; do not multiply what would overflow.
        bucket.Nanopackets = elapsed >= depth / perSecond
            ? depth
            : Math.Min(depth, bucket.Nanopackets + (elapsed * perSecond));
        bucket.Updated = now;
        if (bucket.Nanopackets < Second)
        {
            return false;
        }
        bucket.Nanopackets -= Second;
        return true;
    }

    public void Dispose() => NativeMemory.Free(_buckets);
}
