namespace Dataplane.ThroughputBench.Harness;

/// <summary>What one subject did in one window of a run.</summary>
public sealed record Window
{
    /// <summary>Packets sent per second, over all ports.</summary>
    public required double PacketsPerSecond { get; init; }

    /// <summary>
    /// TSC clocks per packet of the polls that found packets, receive and transmit included; null where the subject does not tell.
    /// </summary>
    public double? BusyClocks { get; init; }

    /// <summary>TSC clocks per packet from the end of receive to the start of transmit; null where the subject does not tell.</summary>
    public double? StageClocks { get; init; }

    /// <summary>Share of polls that found nothing, 0 to 1; null where the subject does not tell.</summary>
    public double? EmptyPolls { get; init; }

    /// <summary>Share of the packets that each worker received, 0 to 1; null where the subject does not tell.</summary>
    public IReadOnlyList<double>? Shares { get; init; }
}

/// <summary>One run: a fresh process, warmed up, measured, stopped.</summary>
public sealed record RunResult
{
    public required IReadOnlyList<Window> Windows { get; init; }

    /// <summary>How the subject was started, so that anyone can repeat it.</summary>
    public required string CommandLine { get; init; }

    /// <summary>What else is worth to know of the run, by name.</summary>
    public IReadOnlyDictionary<string, object> Facts { get; init; } = new Dictionary<string, object>();
}
