using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
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
        bool hasNames = report.Scenarios.DistinctBy(s => s.Scenario.Name).Skip(1).Any(), hasGoals = report.Scenarios.Any(s => s.Scenario.Goal.HasValue);
        var table = new Table().Border(TableBorder.Rounded).AddColumn(hasNames ? "workload" : "size").AddColumn("switch");
        foreach (string title in (string[])["Mpps", "clocks/packet", "of these stages"])
        {
            table.AddColumn(new TableColumn($"{title}\n[grey]best | median[/]").RightAligned());
        }
        if (hasGoals)
        {
            table.AddColumn(new TableColumn("goal\n[grey]at most | aim[/]").RightAligned());
        }
        foreach (string name in references)
        {
            table.AddColumn(new TableColumn($"× {name.EscapeMarkup()}\n[grey]best | median[/]").RightAligned());
        }
        foreach (ScenarioResult scenario in report.Scenarios)
        {
            foreach (SubjectResult subject in scenario.Subjects)
            {
                bool isFirst = subject == scenario.Subjects[0];
                string size = !isFirst ? "" : (hasNames ? $"{scenario.Scenario.Name}, " : "") + Number(scenario.Scenario.Size, "N0");
                string[] goal = !hasGoals ? [] : [isFirst && scenario.Scenario.Goal is { } g ? $"{g.AtMost} | {g.Aim}" : ""];
                table.AddRow(
                [
                    size, subject.Subject.Name.EscapeMarkup(),
                    Pair(subject.PacketsPerSecond, 1e6, "0.00"), Pair(subject.Clocks(report.TscHz), 1, "0"), Pair(subject.StageClocks, 1, "0.0"), .. goal,
                    .. references.Select(name => Ratio(report.Ratio(scenario, subject, name))),
                ]);
            }
            table.AddEmptyRow();
        }
        AnsiConsole.Write(table);
        foreach (RouteScenario routes in report.Scenarios.Select(s => s.Scenario).OfType<RouteScenario>())
        {
            AnsiConsole.WriteLine(routes.MemoryLine);
        }
        AnsiConsole.MarkupLine(string.Create(CultureInfo.InvariantCulture,
            $"[grey]{report.Machine.Cpu.EscapeMarkup()}, TSC {report.TscHz / 1e9:0.00} GHz; 64-byte packets, bursts of {RunSettings.Burst}, one core; {report.Settings.Runs} runs of {report.Settings.Seconds} s in turn[/]"));
    }

    private static string Pair(Summary? summary, double unit, string format) =>
        summary is { } s ? $"{Number(s.Best / unit, format)} | {Number(s.Median / unit, format)}" : "";

    private static string Ratio((double Best, double Median)? ratio) =>
        ratio is { } r ? $"{Number(r.Best, "0.00")} | {Number(r.Median, "0.00")}" : "";

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
