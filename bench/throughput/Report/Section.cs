namespace Dataplane.ThroughputBench.Report;

/// <summary>
/// One part of a report, as the terminal, the page and the file have it: a table, plots of the same figures, and the figures
/// themselves.
/// </summary>
public sealed record Section
{
    /// <summary>What was measured, in a few words.</summary>
    public required string Title { get; init; }

    /// <summary>How, and under which conditions: a figure means little without it.</summary>
    public required string Conditions { get; init; }

    /// <summary>Heads of the columns; a line break separates what the cells hold in turn ("Mpps", "best | median").</summary>
    public required IReadOnlyList<string> Columns { get; init; }

    /// <summary>Cells; a row with one cell is a heading for those that follow.</summary>
    public required IReadOnlyList<IReadOnlyList<string>> Rows { get; init; }

    public IReadOnlyList<Chart> Charts { get; init; } = [];

    /// <summary>How the measured programs were started, each once.</summary>
    public IReadOnlyList<string> Commands { get; init; } = [];

    /// <summary>What else a reader may want to know: who took no part, and why.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>What a reader should know besides: that counters did not balance, say.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>All figures, for the JSON file.</summary>
    public required object Figures { get; init; }
}
