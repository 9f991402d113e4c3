namespace Dataplane.ThroughputBench.Harness;

/// <summary>All runs of one subject at one point.</summary>
public sealed class SubjectResult(Subject subject)
{
    private readonly List<RunResult> _runs = [];

    public Subject Subject { get; } = subject;
    public IReadOnlyList<RunResult> Runs => _runs;

    public Summary? PacketsPerSecond => Summary.OfHigh(Windows.Select(w => w.PacketsPerSecond));
    public Summary? BusyClocks => Summary.OfLow(Windows.Where(w => w.BusyClocks.HasValue).Select(w => w.BusyClocks!.Value));
    public Summary? StageClocks => Summary.OfLow(Windows.Where(w => w.StageClocks.HasValue).Select(w => w.StageClocks!.Value));

    /// <summary>
    /// TSC clocks per packet of cores that never idle: the clock rate of all of them over the packet rate. Defined alike for every
    /// subject, so that it can be compared.
    /// </summary>
    public Summary? Clocks(ulong tscHz, int workers) =>
        Summary.OfLow(Windows.Where(w => w.PacketsPerSecond > 0).Select(w => workers * (double)tscHz / w.PacketsPerSecond));

    private IEnumerable<Window> Windows => _runs.SelectMany(run => run.Windows);

    internal void Add(RunResult run) => _runs.Add(run);
}

/// <summary>What is measured: a workload under certain settings.</summary>
/// <param name="Label">What distinguishes it from the other points of the benchmark, for tables: "1,000 MACs".</param>
/// <param name="Scenario">The workload.</param>
/// <param name="Settings">How it is run.</param>
public sealed record Point(string Label, Scenario Scenario, RunSettings Settings)
{
    /// <summary>The label of the point from which it differs in what its own label says; null where that says everything.</summary>
    public string? Of { get; init; }
}

/// <summary>All subjects at one point.</summary>
public sealed record PointResult(Point Point, IReadOnlyList<SubjectResult> Subjects);
