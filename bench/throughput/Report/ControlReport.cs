using System.Globalization;
using System.Text.Json;
using Dataplane.ThroughputBench.Commands;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Machine;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The tables of <c>bench control</c>, and its JSON file.</summary>
public sealed class ControlReport(ControlOptions options, MachineInfo machine)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    private readonly Dictionary<string, IReadOnlyList<LoadResult>> _loads = [];
    private readonly List<SteadyResult> _packets = [];
    private readonly Dictionary<string, double> _memory = [];

    public string? OvsVersion { get; set; }

    public void Add(string subject, IReadOnlyList<LoadResult> results) => _loads.Add(subject, results);

    public void Add(SteadyResult result) => _packets.Add(result);

    /// <summary>Notes what an entry takes, in bytes.</summary>
    public void Memory(string subject, double bytesPerEntry) => _memory.Add(subject, bytesPerEntry);

    public void Write()
    {
        if (!AnsiConsole.Profile.Out.IsTerminal)
        {
            AnsiConsole.Profile.Width = 160; // a file or a pipe has no width of its own
        }
        AnsiConsole.Write(Loads());
        if (_packets.Count > 0)
        {
            AnsiConsole.Write(Packets());
        }
        string memory = string.Join("; ", _memory.Select(m => Text($"{m.Key}: {m.Value:N0} bytes per entry")));
        AnsiConsole.WriteLine($"{machine.Cpu}, {machine.Cpus} CPUs{(OvsVersion is null ? "" : $"; {OvsVersion}")}");
        AnsiConsole.WriteLine(memory);
        string output = options.Output ?? Path.Combine(Repository.Root, "out", "bench", "control.json");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(output))!);
        File.WriteAllText(output, JsonSerializer.Serialize(
            new { Name = "control", Machine = machine, OvsVersion, Options = options, Loads = _loads, Packets = _packets, BytesPerEntry = _memory }, s_json));
        AnsiConsole.WriteLine($"All figures: {output}");
    }

    private Table Loads()
    {
        Table table = Columns("updates", "per second", "call, µs\n[grey]p50 | p99 | max[/]", "visible after, µs\n[grey]p50 | p99 | max[/]");
        foreach ((string subject, IReadOnlyList<LoadResult> results) in _loads)
        {
            table.AddRow($"[bold]{subject}[/]");
            foreach (LoadResult r in results)
            {
                table.AddRow(r.Name, Text($"{r.PerSecond:N0}"), Text(r.Acknowledged), Text(r.Visible));
            }
        }
        return table;
    }

    private Table Packets()
    {
        Table table = Columns("meanwhile", "updates/s", "packets/s", "packets", "lost", "of these dropped\nby the switch", "longest time between\ntwo polls, µs", "worker without\na CPU, µs");
        foreach (SteadyResult r in _packets)
        {
            table.AddRow(r.Name, Text($"{r.Updates:N0}"), Text($"{r.PerSecond:N0}"), Text($"{r.Sent:N0}"), Text($"{r.Lost:N0}"), Text($"{r.Dropped:N0}"), Text($"{r.LongestPoll:N0}"), Text($"{r.WaitedForCpu:N0}"));
        }
        return table;
    }

    private static Table Columns(string first, params string[] others)
    {
        Table table = new Table().Border(TableBorder.Rounded).AddColumn(first);
        foreach (string title in others)
        {
            table.AddColumn(new TableColumn(title).RightAligned());
        }
        return table;
    }

    private static string Text(Latencies l) => Text($"{l.Median:N0} | {l.P99:N0} | {l.Worst:N0}");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
