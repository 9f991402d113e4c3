using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Report;

/// <summary>All that a run of the benchmarks found out, whichever they were.</summary>
public sealed record BenchReport
{
    /// <summary>How it was started.</summary>
    public required string Command { get; init; }

    public required DateTimeOffset Started { get; init; }
    public required DateTimeOffset Ended { get; init; }
    public required MachineInfo Machine { get; init; }

    /// <summary>Versions of the measured programs, by name.</summary>
    public required IReadOnlyDictionary<string, string> Versions { get; init; }

    public required IReadOnlyList<Section> Sections { get; init; }
}
