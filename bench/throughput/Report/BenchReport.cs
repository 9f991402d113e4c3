using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Report;

/// <summary>All that a benchmark found out.</summary>
public sealed record BenchReport
{
    public required string Name { get; init; }
    public required DateTimeOffset Started { get; init; }
    public required MachineInfo Machine { get; init; }

    /// <summary>Time-stamp counter frequency in Hz, as the engine measured it.</summary>
    public required ulong TscHz { get; init; }

    public required RunSettings Settings { get; init; }
    public required IReadOnlyList<ScenarioResult> Scenarios { get; init; }

    /// <summary>Names of the subjects that others are compared with.</summary>
    public required string[] References { get; init; }

    /// <summary>Packets per second over those of a reference in the same scenario: of the best, and of the medians.</summary>
    public (double Best, double Median)? Ratio(ScenarioResult scenario, SubjectResult subject, string reference)
    {
        Summary? other = scenario.Subjects.FirstOrDefault(s => s.Subject.Name == reference)?.PacketsPerSecond;
        return subject.PacketsPerSecond is { } mine && other is { } theirs && subject.Subject.Name != reference
            ? (mine.Best / theirs.Best, mine.Median / theirs.Median)
            : null;
    }
}
