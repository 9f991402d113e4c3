using System.Globalization;
using Dataplane.ThroughputBench.Control;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The part of a report about many services.</summary>
public sealed class ServicesSection(ServiceLoad load)
{
    private readonly List<(string Where, ServiceLoadResult Result)> _results = [];

    public void Add(string where, ServiceLoadResult result) => _results.Add((where, result));

    public Section ToSection() => new()
    {
        Title = "Many services",
        Conditions = Text($"{load.Services:N0} services with {load.Backends} backends each, one batch; then {load.Changes:N0} changes of one backend. Each until it is durable and a worker would find it."),
        Columns = ["state", "batch, s", "heap, MiB", "bytes per backend", "segment, MiB", "one change, µs\np50 | p99 | max", "taken over, s"],
        Rows =
        [
            .. _results.Select(r => (IReadOnlyList<string>)[r.Where, Text($"{r.Result.Loaded.TotalSeconds:N1}"), Text($"{r.Result.Heap >> 20:N0}"),
                Text($"{(double)r.Result.Heap / load.Services / load.Backends:N0}"), Text($"{r.Result.Segment >> 20:N0}"),
                Text($"{r.Result.Changes.Median:N0} | {r.Result.Changes.P99:N0} | {r.Result.Changes.Worst:N0}"), Text($"{r.Result.TakenOver.TotalSeconds:N1}")]),
        ],
        Figures = new { Load = load, Results = _results.ToDictionary(r => r.Where, r => r.Result) },
    };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
