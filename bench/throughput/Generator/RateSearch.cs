namespace Dataplane.ThroughputBench.Generator;

/// <summary>
/// The highest rate at which no more than a share of the packets is lost, by bisection (RFC 2544, section 26.1, whose share is 0).
/// A trial that fails is repeated once: on a machine with other tenants a single one says little.
/// </summary>
/// <param name="generator">Connected to a switch.</param>
/// <param name="trial">Length of a trial; RFC 2544 asks for 60 s.</param>
public sealed class RateSearch(PacketGenerator generator, TimeSpan trial)
{
    /// <summary>The search ends when it knows the rate to this share.</summary>
    private const double Precision = 0.02;

    /// <summary>Below this share of the highest rate nothing is searched.</summary>
    private const double Least = 0.01;

    /// <summary>What came through when more was sent than could: where searches begin.</summary>
    public Trial Highest(CancellationToken cancel) => generator.Run(double.PositiveInfinity, trial, cancel);

    /// <param name="highest">No switch forwards more.</param>
    /// <param name="loss">Share of packets that may be lost, 0 to 1.</param>
    /// <param name="cancel">The user has enough.</param>
    /// <returns>Packets per second; 0 when even the lowest rate loses too many.</returns>
    public double Run(double highest, double loss, CancellationToken cancel)
    {
        double low = 0, high = highest;
        if (Passes(highest, loss, cancel))
        {
            return highest;
        }
        while (high - low > Precision * high && high > Least * highest)
        {
            double middle = (low + high) / 2;
            (low, high) = Passes(middle, loss, cancel) ? (middle, high) : (low, middle);
        }
        return low;
    }

    private bool Passes(double rate, double loss, CancellationToken cancel) => PassesOnce(rate, loss, cancel) || PassesOnce(rate, loss, cancel);

    private bool PassesOnce(double rate, double loss, CancellationToken cancel) =>
        generator.Run(rate, trial, cancel) is var result && result.Loss <= loss && result.Offered >= (1 - Precision) * rate;
}
