using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Subjects;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>Runs the engine and testpmd in turn, and reports. Exit codes: 0 measured, 1 could not, 130 interrupted.</summary>
public static class BridgeBenchmark
{
    private static readonly string[] Modes = ["io", "macswap"];

    public static int Run(BridgeOptions options) => Benchmark.Run(cancel => Measure(options, cancel));

    private static void Measure(BridgeOptions options, CancellationToken cancel)
    {
        if (options.Peers && options.WindowMilliseconds != 1000)
        {
            throw new BenchException("--window needs --no-peers: testpmd tells its rate once per second");
        }
        DateTimeOffset started = DateTimeOffset.Now;
        (int core, int other) = Benchmark.Cores(options.Core);
        var settings = new RunSettings
        {
            Runs = options.Runs,
            Seconds = options.Seconds,
            Window = TimeSpan.FromMilliseconds(options.WindowMilliseconds),
            Core = core,
            OtherCore = other,
            Hugepages = options.Hugepages,
        };
        List<EngineSubject> engines = Benchmark.Engines(options.Engines);
        List<Subject> subjects = [.. engines, .. options.Peers ? Peers() : []];
        List<BridgeScenario> scenarios = [.. options.Macs.Select(macs => new BridgeScenario(macs))];
        if (other == core)
        {
            AnsiConsole.MarkupLine("[yellow]There is only one CPU to use: what else runs disturbs the measurement.[/]");
        }

        using Hugepages? pages = options.Hugepages
            ? new Hugepages(scenarios.Max(scenario => scenario.MemoryMegabytes(hugepages: true)), options.ReserveHugepages)
            : null;
        using var work = new WorkDirectory();
        var interleaved = new Interleaved(subjects, settings, work);
        var results = new List<ScenarioResult>();
        foreach (BridgeScenario scenario in scenarios)
        {
            results.Add(interleaved.Run(scenario, (subject, run, result) => ProgressLine.Write(scenario, subject, run, settings.Runs, result), cancel));
        }

        var report = new BenchReport
        {
            Name = "bridge",
            Started = started,
            Machine = MachineInfo.Read(core),
            TscHz = engines[0].TscHz,
            Settings = settings,
            Scenarios = results,
            References = [.. subjects.Except(engines.Take(1)).Select(subject => subject.Name)],
        };
        ResultTable.Write(report);
        string output = options.Output ?? Path.Combine(Repository.Root, "out", "bench", "bridge.json");
        JsonReport.Write(report, output);
        AnsiConsole.WriteLine($"Every run's figures: {output}");
    }

    private static IEnumerable<Subject> Peers() => Modes.Select(Benchmark.Testpmd);
}
