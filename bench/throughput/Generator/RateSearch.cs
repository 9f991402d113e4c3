namespace Dataplane.ThroughputBench.Generator;

/// <summary>
/// The highest rate at which no more than a share of the packets is lost, by bisection (RFC 2544, section 26.1, whose share is 0). A machine with other
/// tenants, or other work, loses packets at any rate now and then: by a single trial, and by a single repetition, accidents decide. So most of up to five trials
/// decide, as in MLRsearch (draft-ietf-bmwg-mlrsearch, with an exceed ratio of one half): less than half of the trials at the rate that is found lose more.
/// </summary>
/// <param name="run">Runs a trial at so many packets per second.</param>
public sealed class RateSearch(Func<double, Trial> run)
{
    /// <summary>Trials at a rate, at most, and how many of them decide.</summary>
    public const int Trials = 5, Majority = 3;

    /// <summary>The search ends when it knows the rate to this share.</summary>
    public const double Precision = 0.02;

    /// <summary>A trial in which the generator had no CPU for a larger share of the time says nothing about a constant rate.</summary>
    public const double MostAway = 0.2;

    /// <summary>Below this share of the highest rate nothing is searched.</summary>
    private const double Least = 0.01;

    /// <summary>What came through when more was sent than could, in the best of some trials: where searches begin.</summary>
    public Trial Highest() => Enumerable.Range(0, Majority).Select(_ => run(double.PositiveInfinity)).MaxBy(trial => trial.Forwarded)!;

    /// <param name="lowest">A rate that passes; 0 when none is known.</param>
    /// <param name="highest">No switch forwards more.</param>
    /// <param name="loss">Share of packets that may be lost, 0 to 1.</param>
    /// <returns>Packets per second; <paramref name="lowest"/> when no higher rate passes.</returns>
    public double Search(double lowest, double highest, double loss)
    {
        if (lowest >= highest || Passes(highest, loss))
        {
            return highest;
        }
        (double low, double high) = (lowest, highest);
        while (high - low > Precision * high && high > Least * highest)
        {
            double middle = (low + high) / 2;
            (low, high) = Passes(middle, loss) ? (middle, high) : (low, middle);
        }
        return low;
    }

    private bool Passes(double rate, double loss)
    {
        int passed = 0, failed = 0;
        while (passed < Majority && failed < Majority)
        {
            Trial trial = run(rate);
            bool passes = trial.Loss <= loss && trial.Offered >= (1 - Precision) * rate && trial.Away <= MostAway;
            (passed, failed) = passes ? (passed + 1, failed) : (passed, failed + 1);
        }
        return passed == Majority;
    }
}
