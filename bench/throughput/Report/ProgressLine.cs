using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Report;

/// <summary>One line per run while the benchmark goes on.</summary>
public static class ProgressLine
{
    public static void Write(Scenario scenario, Subject subject, int run, int runs, RunResult result)
    {
        Window best = result.Windows.MaxBy(w => w.PacketsPerSecond)!;
        string stage = best.StageClocks is { } clocks ? string.Create(CultureInfo.InvariantCulture, $", stages {clocks:0.0} clocks") : "";
        string line = string.Create(CultureInfo.InvariantCulture,
            $"{scenario.Name} {scenario.Size,7:N0}  run {run}/{runs}  {subject.Name,-18} {best.PacketsPerSecond / 1e6,6:0.00} Mpps{stage}");
        AnsiConsole.WriteLine(line);
        if (result.Facts.TryGetValue("countersBalance", out object? balance) && balance is false)
        {
            AnsiConsole.MarkupLine("[red]  the engine's counters do not balance: see the JSON file[/]");
        }
    }
}
