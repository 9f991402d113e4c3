using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Report;

/// <summary>A plot.</summary>
/// <param name="Title">What it shows.</param>
/// <param name="Unit">Of the vertical axis.</param>
public abstract record Chart(string Title, string Unit);

/// <summary>
/// Groups of boxes: each from the first quartile to the third with the median in it, and whiskers to the best and the worst value.
/// </summary>
/// <param name="Title">What it shows.</param>
/// <param name="Unit">Of the vertical axis.</param>
/// <param name="Groups">Names below the groups.</param>
/// <param name="Boxes">What each of the compared things came to, by group; null where it took no part.</param>
public sealed record BoxChart(string Title, string Unit, IReadOnlyList<string> Groups, IReadOnlyList<(string Name, IReadOnlyList<Summary?> Values)> Boxes)
    : Chart(Title, Unit);

/// <summary>Lines through points.</summary>
/// <param name="Title">What it shows.</param>
/// <param name="Unit">Of the vertical axis.</param>
/// <param name="Horizontal">What the horizontal axis is.</param>
/// <param name="Lines">A line for each of the compared things.</param>
/// <param name="Logarithmic">Whether the vertical axis is: for times that differ by powers of ten.</param>
public sealed record LineChart(string Title, string Unit, string Horizontal, IReadOnlyList<(string Name, IReadOnlyList<(double X, double Y)> Points)> Lines, bool Logarithmic = false)
    : Chart(Title, Unit);
