namespace Dataplane.ThroughputBench.Harness;

/// <summary>
/// Best and median of some values. The best is what a machine can do when nothing disturbs it, the median what it did; both are
/// compared between subjects that ran in turn, since the speed of a machine changes by the minute.
/// </summary>
public readonly record struct Summary(double Best, double Median, double Worst)
{
    /// <summary>Of values where more is better. Null when there are none.</summary>
    public static Summary? OfHigh(IEnumerable<double> values) => Of(values, highIsBest: true);

    /// <summary>Of values where less is better. Null when there are none.</summary>
    public static Summary? OfLow(IEnumerable<double> values) => Of(values, highIsBest: false);

    private static Summary? Of(IEnumerable<double> values, bool highIsBest)
    {
        double[] sorted = [.. values.Order()];
        if (sorted.Length == 0)
        {
            return null;
        }
        int middle = sorted.Length / 2;
        double median = sorted.Length % 2 != 0 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        return highIsBest ? new Summary(sorted[^1], median, sorted[0]) : new Summary(sorted[0], median, sorted[^1]);
    }
}
