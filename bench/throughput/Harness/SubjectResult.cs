namespace Dataplane.ThroughputBench.Harness;

/// <summary>All runs of one subject in one scenario.</summary>
public sealed class SubjectResult(Subject subject)
{
    private readonly List<RunResult> _runs = [];

    public Subject Subject { get; } = subject;
    public IReadOnlyList<RunResult> Runs => _runs;

    public Summary? PacketsPerSecond => Summary.OfHigh(Windows.Select(w => w.PacketsPerSecond));
    public Summary? BusyClocks => Summary.OfLow(Windows.Where(w => w.BusyClocks.HasValue).Select(w => w.BusyClocks!.Value));
    public Summary? StageClocks => Summary.OfLow(Windows.Where(w => w.StageClocks.HasValue).Select(w => w.StageClocks!.Value));

    /// <summary>
    /// TSC clocks per packet of a core that never idles: the clock rate over the packet rate. Defined alike for every subject, so
    /// that it can be compared.
    /// </summary>
    public Summary? Clocks(ulong tscHz) =>
        Summary.OfLow(Windows.Where(w => w.PacketsPerSecond > 0).Select(w => tscHz / w.PacketsPerSecond));

    private IEnumerable<Window> Windows => _runs.SelectMany(run => run.Windows);

    internal void Add(RunResult run) => _runs.Add(run);
}

/// <summary>All subjects in one scenario.</summary>
public sealed record ScenarioResult(Scenario Scenario, IReadOnlyList<SubjectResult> Subjects);
