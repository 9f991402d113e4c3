namespace Dataplane.ThroughputBench.Control;

/// <summary>Times of many calls, in microseconds.</summary>
public sealed record Latencies(int Count, double Median, double P99, double Worst)
{
    public static Latencies Of(IEnumerable<TimeSpan> times)
    {
        double[] sorted = [.. times.Select(t => t.TotalMicroseconds).Order()];
        return new Latencies(sorted.Length, At(sorted, 0.5), At(sorted, 0.99), sorted[^1]);
    }

    private static double At(double[] sorted, double share) => sorted[Math.Min((int)(sorted.Length * share), sorted.Length - 1)];
}
