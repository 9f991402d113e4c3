using System.Runtime.Versioning;
using Dataplane.ThroughputBench.Generator;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.UnitTests.Benchmarks;

[SupportedOSPlatform("linux")]
public sealed class LatencyHistogramTests
{
    [Theory]
    [InlineData(0.5, 500ul)]
    [InlineData(0.99, 990ul)]
    [InlineData(0.999, 999ul)]
    [InlineData(1.0, 1000ul)]
    public void A_quantile_is_exact_to_a_thirty_second(double share, ulong expected)
    {
        var histogram = new LatencyHistogram();
        for (ulong i = 1; i <= 1000; i++)
        {
            histogram.Record(i);
        }
        Assert.InRange(histogram.Quantile(share), expected, expected + (expected / 32));
        Assert.Equal(1000ul, histogram.Worst);
    }

    [Fact]
    public void Two_together_are_one_that_counted_both()
    {
        var random = new Random(3);
        LatencyHistogram both = new(), one = new(), other = new();
        for (int i = 0; i < 10_000; i++)
        {
            ulong clocks = (ulong)random.NextInt64(1, 1L << random.Next(1, 40));
            both.Record(clocks);
            (i % 3 == 0 ? one : other).Record(clocks);
        }
        one.Add(other);
        Assert.Equal((both.Count, both.Worst), (one.Count, one.Worst));
        foreach (double share in (double[])[0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
        {
            Assert.Equal(both.Quantile(share), one.Quantile(share));
        }
    }

    [Fact]
    public void Figures_are_in_microseconds()
    {
        var histogram = new LatencyHistogram();
        histogram.Record(2_000);
        Assert.Equal(new Latencies(1, 1, 1, 1, 1), histogram.InMicroseconds(tscHz: 2_000_000_000));
    }

    [Fact]
    public void Nothing_counted_is_nothing() => Assert.Equal(0ul, new LatencyHistogram().Quantile(0.99));
}
