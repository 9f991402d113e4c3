using System.Globalization;
using Dataplane.ThroughputBench.Commands;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The parts of a report about updates through the API.</summary>
public sealed class ControlSection(ControlLoad load)
{
    private readonly List<(string Subject, IReadOnlyList<LoadResult> Results)> _loads = [];
    private readonly List<SteadyResult> _packets = [];
    private readonly Dictionary<string, double> _memory = [];

    public void Add(string subject, IReadOnlyList<LoadResult> results) => _loads.Add((subject, results));

    public void Add(SteadyResult result) => _packets.Add(result);

    /// <summary>Notes what an entry takes, in bytes.</summary>
    public void Memory(string subject, double bytesPerEntry) => _memory.Add(subject, bytesPerEntry);

    public Section Loads()
    {
        var rows = new List<IReadOnlyList<string>>();
        foreach ((string subject, IReadOnlyList<LoadResult> results) in _loads)
        {
            rows.Add([subject]);
            rows.AddRange(results.Select(r => (IReadOnlyList<string>)[r.Name, Text($"{r.PerSecond:N0}"), Text($"{r.Cpu:N1}"), Text(r.Acknowledged), Text(r.Visible)]));
        }
        return new Section
        {
            Title = "Updates",
            Conditions = Text($"Static addresses, {load.Entries:N0} in batches of {load.Batch:N0} and {load.Singles:N0} one by one. Visible: from the call until a worker would find the entry.") + Memories(),
            Columns = ["updates", "per second", "CPU of the switch\nper update, µs", "call, µs\np50 | p99 | max", "visible after, µs\np50 | p99 | max"],
            Rows = rows,
            Figures = new { Load = load, Loads = _loads.ToDictionary(l => l.Subject, l => l.Results), BytesPerEntry = _memory },
        };
    }

    public Section Packets() => new()
    {
        Title = "Packets while entries are pushed",
        Conditions = Text($"{load.PacketRate:N0} packets per second between two containers; {load.Push:N0} entries pushed in batches of {load.Batch:N0}.") + Memories(),
        Columns = ["meanwhile", "updates/s", "packets/s", "packets", "lost", "of these dropped\nby the switch", "longest time between\ntwo polls, µs", "worker without\na CPU, µs"],
        Rows =
        [
            .. _packets.Select(r => (IReadOnlyList<string>)[r.Name, Text($"{r.Updates:N0}"), Text($"{r.PerSecond:N0}"), Text($"{r.Sent:N0}"), Text($"{r.Lost:N0}"), Text($"{r.Dropped:N0}"),
                Text($"{r.LongestPoll:N0}"), Text($"{r.WaitedForCpu:N0}")]),
        ],
        Figures = new { Load = load, Packets = _packets, BytesPerEntry = _memory },
    };

    private string Memories() => _memory.Count == 0 ? "" : $" Memory: {string.Join("; ", _memory.Select(m => Text($"{m.Key}, {m.Value:N0} bytes per entry")))}.";

    private static string Text(Latencies l) => Text($"{l.Median:N0} | {l.P99:N0} | {l.Worst:N0}");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
