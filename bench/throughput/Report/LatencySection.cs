using System.Globalization;
using Dataplane.ThroughputBench.Generator;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The part of a report about the rate without loss, and latency below it.</summary>
public static class LatencySection
{
    public static Section Of(IReadOnlyList<LatencyResult> results, LatencySettings settings, string link, int runs) => new()
    {
        Title = "No-loss rate and latency",
        Conditions = Text($"{settings.Macs:N0} MACs on each side, packets of {settings.Packets.Name} bytes in both directions over {link}, {runs} runs in turn, trials of {settings.Trial.TotalMilliseconds:N0} ms; {RateSearch.Majority} of at most {RateSearch.Trials} at a rate decide. Latency is from the call that sends a packet to the call that receives it, generator and the drivers of both sides included, in {RateSearch.Trials} trials together; medians over the runs. Packets that were under way while the generator did not have its CPU ({results.SelectMany(r => r.Runs).Average(run => run.Away) * 100:0.0} % of the time) are not in it. What the machine takes by itself, with nothing but a loop that reads the clock: something that comes at any moment waits p99 | p99.9 | max {Machine(results, 0)} µs on the CPU that forwards, {Machine(results, 1)} on the generator's (medians over all runs). \"≥\": no packet was lost when the generator did all it could."),
        Columns =
        [
            "switch", "most, Mpps\nbest | median", "no loss, Mpps\nbest | median | spread", Text($"≤ {settings.Loss * 100:0.##} % loss, Mpps\nbest | median"),
            .. settings.Shares.Select(share => Text($"at {share * 100:0} %, µs\np50 | p99 | p99.9 | max")),
        ],
        Rows =
        [
            .. results.Select(r => (IReadOnlyList<string>)
            [
                r.Name,
                Pair(r, run => run.Highest),
                (r.Runs.All(run => run.NoLoss >= run.Offered) ? "≥ " : "") + Pair(r, run => run.NoLoss) + Text($" | {Of(r, run => run.NoLoss).Spread * 100:0}%"),
                Pair(r, run => run.SomeLoss),
                .. settings.Shares.Select((_, i) => string.Join(" | ", Quantiles(i).Select(q => Text($"{Summary.OfLow(r.Runs.Select(q))!.Value.Median:0.0}")))),
            ]),
        ],
        Charts =
        [
            new BoxChart("No-loss rate", "Mpps", [""], [.. results.Select(r => (r.Name, (IReadOnlyList<Summary?>)[Of(r, run => run.NoLoss).Times(1e-6)]))]),
            Times(results, settings, "Latency, median", l => l.Median), Times(results, settings, "Latency, p99", l => l.P99), Times(results, settings, "Latency, p99.9", l => l.P999),
        ],
        Figures = new { Settings = settings, Results = results },
    };

    private static string Machine(IReadOnlyList<LatencyResult> results, int cpu)
    {
        Latencies[] all = [.. results.SelectMany(r => r.Runs).Select(run => run.Machine[cpu])];
        return string.Join(" | ", ((Func<Latencies, double>[])[l => l.P99, l => l.P999, l => l.Worst]).Select(value => Text($"{Summary.OfLow(all.Select(value))!.Value.Median:0.0}")));
    }

    private static LineChart Times(IReadOnlyList<LatencyResult> results, LatencySettings settings, string title, Func<Latencies, double> value) => new(
        title, "µs", "% of the no-loss rate",
        [
            .. results.Select(r => (r.Name, (IReadOnlyList<(double, double)>)
                [.. settings.Shares.Select((share, i) => (share * 100, Summary.OfLow(r.Runs.Select(run => value(run.AtShares[i])))!.Value.Median))])),
        ],
        Logarithmic: true);

    private static IEnumerable<Func<LatencyRun, double>> Quantiles(int share) =>
        [run => run.AtShares[share].Median, run => run.AtShares[share].P99, run => run.AtShares[share].P999, run => run.AtShares[share].Worst];

    private static Summary Of(LatencyResult result, Func<LatencyRun, double> value) => Summary.OfHigh(result.Runs.Select(value))!.Value;

    private static string Pair(LatencyResult result, Func<LatencyRun, double> value) =>
        Of(result, value) is var s ? Text($"{s.Best / 1e6:0.00} | {s.Median / 1e6:0.00}") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
