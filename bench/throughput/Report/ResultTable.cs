using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The result as a table for the terminal: in each cell the best and the median.</summary>
public static class ResultTable
{
    public static void Write(BenchReport report)
    {
        if (!AnsiConsole.Profile.Out.IsTerminal)
        {
            AnsiConsole.Profile.Width = 140; // a file or a pipe has no width of its own
        }
        string[] references = report.References;
        var table = new Table().Border(TableBorder.Rounded).AddColumn("size").AddColumn("switch");
        foreach (string title in (string[])["Mpps", "clocks/packet", "of these stages", .. references.Select(name => $"× {name}")])
        {
            table.AddColumn(new TableColumn($"{title}\n[grey]best | median[/]").RightAligned());
        }
        foreach (ScenarioResult scenario in report.Scenarios)
        {
            foreach (SubjectResult subject in scenario.Subjects)
            {
                string size = subject == scenario.Subjects[0] ? Number(scenario.Scenario.Size, "N0") : "";
                table.AddRow(
                [
                    size, subject.Subject.Name.EscapeMarkup(),
                    Pair(subject.PacketsPerSecond, 1e6, "0.00"), Pair(subject.Clocks(report.TscHz), 1, "0"), Pair(subject.StageClocks, 1, "0.0"),
                    .. references.Select(name => Ratio(report.Ratio(scenario, subject, name))),
                ]);
            }
            table.AddEmptyRow();
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLine(string.Create(CultureInfo.InvariantCulture,
            $"[grey]{report.Machine.Cpu.EscapeMarkup()}, TSC {report.TscHz / 1e9:0.00} GHz; 64-byte packets, bursts of {RunSettings.Burst}, one core; {report.Settings.Runs} runs of {report.Settings.Seconds} s in turn[/]"));
    }

    private static string Pair(Summary? summary, double unit, string format) =>
        summary is { } s ? $"{Number(s.Best / unit, format)} | {Number(s.Median / unit, format)}" : "";

    private static string Ratio((double Best, double Median)? ratio) =>
        ratio is { } r ? $"{Number(r.Best, "0.00")} | {Number(r.Median, "0.00")}" : "";

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
