using System.Runtime.Versioning;
using Dataplane.ThroughputBench.Generator;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>The search for the rate without loss, on switches that are functions.</summary>
[SupportedOSPlatform("linux")]
public sealed class RateSearchTests
{
    private const double Limit = 7.3e6, Most = 10e6;

    private static readonly LatencyHistogram s_none = new();

    [Fact]
    public void The_limit_is_found_from_below()
    {
        double found = new RateSearch(rate => Sent(rate, rate <= Limit ? 0 : 1)).Search(0, Most, 0);
        Assert.InRange(found, Limit * (1 - (2 * RateSearch.Precision)), Limit);
    }

    [Fact]
    public void A_switch_that_never_loses_is_as_fast_as_it_was_seen() =>
        Assert.Equal(Most, new RateSearch(rate => Sent(rate, 0)).Search(0, Most, 0));

    [Fact]
    public void A_switch_that_always_loses_has_no_rate() =>
        Assert.Equal(0, new RateSearch(rate => Sent(rate, 1)).Search(0, Most, 0));

    [Fact]
    public void Some_may_be_lost_where_that_is_asked_for()
    {
        // A thousandth of all, at any rate.
        var search = new RateSearch(rate => Sent(rate, 1_000));
        Assert.Equal(Most, search.Search(0, Most, 0.001));
        Assert.Equal(0, search.Search(0, Most, 0.0009));
    }

    /// <summary>Accidents are no property of the switch, as long as they are fewer than the trials without one.</summary>
    [Fact]
    public void Two_of_five_trials_may_meet_an_accident()
    {
        int trial = 0;
        double found = new RateSearch(rate => Sent(rate, rate <= Limit && ++trial % 5 is not (1 or 2) ? 0 : 1)).Search(0, Most, 0);
        Assert.InRange(found, Limit * (1 - (2 * RateSearch.Precision)), Limit);
    }

    [Fact]
    public void Luck_in_two_of_five_is_not_enough()
    {
        int trial = 0;
        Assert.Equal(0, new RateSearch(rate => Sent(rate, ++trial % 5 is 1 or 2 ? 0 : 1)).Search(0, Most, 0));
    }

    [Fact]
    public void A_rate_that_was_not_offered_does_not_pass() =>
        Assert.InRange(new RateSearch(rate => Sent(Math.Min(rate, Limit), 0)).Search(0, Most, 0), Limit * (1 - (2 * RateSearch.Precision)), Limit * (1 + (2 * RateSearch.Precision)));

    [Fact]
    public void A_trial_whose_generator_had_no_cpu_does_not_pass() =>
        Assert.Equal(0, new RateSearch(rate => Sent(rate, 0) with { Away = RateSearch.MostAway + 0.01 }).Search(0, Most, 0));

    [Fact]
    public void What_came_through_is_less_than_what_came_while_the_generator_was_there()
    {
        Trial trial = Sent(8e6, 500_000) with { Away = 0.25 };
        Assert.Equal((4e6, 3e6), (trial.WhileThere, trial.Forwarded));
    }

    [Fact]
    public void The_search_begins_at_a_rate_that_is_known_to_pass()
    {
        var tried = new List<double>();
        var search = new RateSearch(rate =>
        {
            tried.Add(rate);
            return Sent(rate, rate <= Limit ? 0 : 1);
        });
        Assert.InRange(search.Search(7e6, Most, 0), 7e6, Limit);
        Assert.All(tried, rate => Assert.InRange(rate, 7e6, Most));
    }

    [Fact]
    public void The_highest_rate_is_the_best_of_some_trials()
    {
        var received = new Queue<long>([400_000, 900_000, 700_000]);
        Assert.Equal(9e6, new RateSearch(_ => new Trial(10e6, 1_000_000, received.Dequeue(), s_none)).Highest().Forwarded, 1.0);
        Assert.Empty(received);
    }

    private static Trial Sent(double rate, long lost) => new(rate, 1_000_000, 1_000_000 - lost, s_none);
}
