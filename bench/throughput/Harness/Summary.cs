namespace Dataplane.ThroughputBench.Harness;

/// <summary>
/// How some values are spread. The best is what a machine can do when nothing disturbs it, the median what it did; both are
/// compared between subjects that ran in turn, since the speed of a machine changes by the minute.
/// </summary>
/// <param name="Best">The highest or the lowest, whichever is wanted.</param>
/// <param name="Median">Half of the values are better.</param>
/// <param name="Worst">The other end.</param>
/// <param name="Lower">The first quartile.</param>
/// <param name="Upper">The third quartile.</param>
/// <param name="Count">How many values.</param>
public readonly record struct Summary(double Best, double Median, double Worst, double Lower, double Upper, int Count)
{
    /// <summary>Distance of the quartiles over the median: 0.1 means that half of the values lie within a tenth.</summary>
    public double Spread => Median == 0 ? 0 : (Upper - Lower) / Median;

    /// <summary>The same in another unit.</summary>
    public Summary Times(double factor) => new(Best * factor, Median * factor, Worst * factor, Lower * factor, Upper * factor, Count);

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
        (double lowest, double highest) = (sorted[0], sorted[^1]);
        return new Summary(
            highIsBest ? highest : lowest, Quantile(sorted, 0.5), highIsBest ? lowest : highest, Quantile(sorted, 0.25), Quantile(sorted, 0.75), sorted.Length);
    }

    /// <summary>Between the two nearest values, as far from each as the quantile is.</summary>
    private static double Quantile(double[] sorted, double share)
    {
        double at = share * (sorted.Length - 1);
        int below = (int)at;
        return below + 1 < sorted.Length ? sorted[below] + ((at - below) * (sorted[below + 1] - sorted[below])) : sorted[below];
    }
}
