using System.Numerics;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Generator;

/// <summary>
/// Counts of times, each with an error of at most 1/64: every power of two is divided into 32 equal parts, as HdrHistogram
/// does. Recording one is a few instructions and allocates nothing.
/// </summary>
public sealed class LatencyHistogram
{
    private const int PartBits = 5, Parts = 1 << PartBits;

    private readonly long[] _counts = new long[(64 - PartBits + 1) * Parts];
    private ulong _worst;

    public long Count { get; private set; }

    /// <summary>The longest one, exactly.</summary>
    public ulong Worst => _worst;

    public void Record(ulong clocks)
    {
        _counts[Index(clocks)]++;
        Count++;
        _worst = Math.Max(_worst, clocks);
    }

    /// <summary>Takes in what another one has counted.</summary>
    public void Add(LatencyHistogram other)
    {
        for (int i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }
        Count += other.Count;
        _worst = Math.Max(_worst, other._worst);
    }

    /// <summary>A time that is exceeded by at most this share of all; 0 when there are none.</summary>
    public ulong Quantile(double share)
    {
        long wanted = (long)Math.Ceiling(share * Count), seen = 0;
        for (int i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= wanted && seen != 0)
            {
                return Math.Min(Upper(i), _worst);
            }
        }
        return 0;
    }

    /// <summary>The figures for a report.</summary>
    /// <param name="tscHz">Clocks per second.</param>
    public Latencies InMicroseconds(ulong tscHz)
    {
        double microsecond = tscHz / 1e6;
        return new Latencies((int)Count, Quantile(0.5) / microsecond, Quantile(0.99) / microsecond, Quantile(0.999) / microsecond, Worst / microsecond);
    }

    private static int Index(ulong clocks)
    {
        int power = BitOperations.Log2(clocks | 1);
        return power < PartBits ? (int)clocks : ((power - PartBits + 1) << PartBits) + (int)((clocks >> (power - PartBits)) & (Parts - 1));
    }

    /// <summary>The largest time that is counted there.</summary>
    private static ulong Upper(int index)
    {
        int block = index >> PartBits;
        return block == 0 ? (ulong)index : (((ulong)(Parts + (index & (Parts - 1))) + 1) << (block - 1)) - 1;
    }
}
