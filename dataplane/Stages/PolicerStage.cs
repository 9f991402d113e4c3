using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// The policer of a port: what may come from it, in packets and in bytes per second, each a token bucket with a burst (the single
/// rate of RFC 2697, with one colour). It is the first stage, so what it drops costs nothing else and tells the switch nothing.
/// <para>
/// A packet passes when both buckets hold what it is, and takes it from both; else it is dropped and takes nothing. One that is
/// larger than a bucket passes when that is full, and leaves a debt, which is paid before the next one passes: so the rate holds
/// whatever the burst is. A packet that is to be segmented counts as the frames that it becomes, headers and all.
/// </para>
/// <para>
/// Each worker has its own buckets: nothing is shared, and a port whose queues are spread over several workers has its rate divided
/// among them. The buckets are filled once per burst.
/// </para>
/// </summary>
public static unsafe class PolicerStage
{
    private const long NoLimit = long.MaxValue;

    /// <summary>Takes out of a burst what is too much. Gives how many packets are left, at the beginning of the array.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="inPort">Index of the port that all of them came from.</param>
    /// <param name="port">Its record, with <see cref="PortFlags.Policed"/>.</param>
    /// <param name="mbufs">The packets.</param>
    /// <param name="count">How many.</param>
    /// <param name="dropped">Bytes of those taken out.</param>
    public static int Run(Worker w, int inPort, ref readonly PortRecord port, rte_mbuf** mbufs, int count, out ulong dropped)
    {
        uint shares = w.PollersOf(inPort);
        ref Policer.Bucket bucket = ref w.Policer.Filled(inPort, w.Storm.Now, in port, shares);
        long packets = port.PolicePackets != 0 ? Policer.Depth(port.PolicePacketBurst, shares) : NoLimit;
        long bytes = port.PoliceBytes != 0 ? Policer.Depth(port.PoliceByteBurst, shares) : NoLimit;
        dropped = 0;
        int left = 0;
        for (int i = 0; i < count; i++)
        {
            rte_mbuf* mbuf = mbufs[i];
            (uint frames, ulong length) = (mbuf->ol_flags & Offload.SegmentFlag) == 0 ? (1u, (ulong)mbuf->pkt_len) : Segments(mbuf);
            long takesPackets = packets == NoLimit ? 0 : frames * Policer.Second, takesBytes = bytes == NoLimit ? 0 : (long)length * Policer.Second;
            if (bucket.Packets < Math.Min(takesPackets, packets) || bucket.Bytes < Math.Min(takesBytes, bytes))
            {
                dropped += mbuf->pkt_len;
                Drop(w, inPort, mbuf);
                continue;
            }
            bucket.Packets -= takesPackets;
            bucket.Bytes -= takesBytes;
            mbufs[left++] = mbuf;
        }
        return left;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(Worker w, int inPort, rte_mbuf* mbuf)
    {
        if (w.Watcher.IsTracing)
        {
            w.Watcher.Begin(mbuf);
            w.Drop(inPort, mbuf, DropReason.RateLimit);
            w.Watcher.End();
            return;
        }
        w.Drop(inPort, mbuf, DropReason.RateLimit);
    }

    /// <summary>What a packet becomes when it is cut: frames, and their bytes together.</summary>
    private static (uint Frames, ulong Bytes) Segments(rte_mbuf* mbuf)
    {
        uint size = Offload.Meta(mbuf)->Vnet.gso_size, longest = Offload.SegmentLength(mbuf);
        if (longest <= size || mbuf->pkt_len <= longest)
        {
            return (1, mbuf->pkt_len);
        }
        uint headers = longest - size;
        uint frames = (mbuf->pkt_len - headers + size - 1) / size;
        return (frames, mbuf->pkt_len + ((ulong)(frames - 1) * headers));
    }
}

/// <summary>The buckets of <see cref="PolicerStage"/>, two per port, of one worker.</summary>
public sealed unsafe class Policer(int ports) : IDisposable
{
    /// <summary>Tokens of one packet, or byte: they are counted in 10^-9, as time is in nanoseconds.</summary>
    public const long Second = 1_000_000_000;

    private readonly Bucket* _buckets = (Bucket*)NativeMemory.AllocZeroed((nuint)ports, (nuint)sizeof(Bucket));

    /// <summary>What may still come. Below 0 it is a debt.</summary>
    public struct Bucket
    {
        public ulong Updated;
        public long Packets;
        public long Bytes;
    }

    /// <summary>A port's buckets, with what has run into them since they were looked at last.</summary>
    /// <param name="index">Index of the port.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="port">Its record.</param>
    /// <param name="shares">Workers among which the port's rate is divided.</param>
    public ref Bucket Filled(int index, ulong now, ref readonly PortRecord port, uint shares)
    {
        ref Bucket bucket = ref _buckets[index];
        ulong elapsed = bucket.Updated == 0 ? ulong.MaxValue : now - bucket.Updated;
        bucket.Updated = now;
        bucket.Packets = Fill(bucket.Packets, elapsed, Rate(port.PolicePackets, shares), Depth(port.PolicePacketBurst, shares));
        bucket.Bytes = Fill(bucket.Bytes, elapsed, Rate(port.PoliceBytes, shares), Depth(port.PoliceByteBurst, shares));
        return ref bucket;
    }

    public void Dispose() => NativeMemory.Free(_buckets);

    /// <summary>What a worker's bucket holds when it is full.</summary>
    public static long Depth(uint burst, uint shares) => Math.Max(1, burst / shares) * Second;

    private static ulong Rate(ulong rate, uint shares) => rate == 0 ? 0 : Math.Max(1, rate / shares);

    private static long Fill(long tokens, ulong elapsed, ulong rate, long depth)
    {
        // It is full after so many nanoseconds; do not multiply what would overflow. A burst that was made smaller is full at once.
        return rate == 0 ? 0 : tokens >= depth || elapsed >= (ulong)(depth - tokens) / rate ? depth : tokens + (long)(elapsed * rate);
    }
}
