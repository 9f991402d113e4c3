namespace Dataplane.ThroughputBench.Harness;

/// <summary>Many times, in microseconds.</summary>
public sealed record Latencies(int Count, double Median, double P99, double P999, double Worst)
{
    public static Latencies Of(IEnumerable<TimeSpan> times) => OfMicroseconds(times.Select(t => t.TotalMicroseconds));

    public static Latencies OfMicroseconds(IEnumerable<double> times)
    {
        double[] sorted = [.. times.Order()];
        return sorted.Length == 0
            ? new Latencies(0, double.NaN, double.NaN, double.NaN, double.NaN)
            : new Latencies(sorted.Length, At(sorted, 0.5), At(sorted, 0.99), At(sorted, 0.999), sorted[^1]);
    }

    private static double At(double[] sorted, double share) => sorted[Math.Min((int)(sorted.Length * share), sorted.Length - 1)];
}
