using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
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

    public static int Run(BridgeOptions options)
    {
        using var cancel = new CancellationTokenSource();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        try
        {
            Measure(options, cancel.Token);
            return 0;
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("interrupted");
            return 130;
        }
        // A Ctrl-C in the terminal reaches the measured programs too, and may end one before we hear of it.
        catch (Exception) when (cancel.IsCancellationRequested)
        {
            Console.Error.WriteLine("interrupted");
            return 130;
        }
        catch (Exception e) when (e is BenchException or LinuxException or SegmentException or EngineException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"error: {e.Message}");
            return 1;
        }

        void Cancel(PosixSignalContext context)
        {
            context.Cancel = true;
            cancel.Cancel();
        }
    }

    private static void Measure(BridgeOptions options, CancellationToken cancel)
    {
        if (options.Peers && options.WindowMilliseconds != 1000)
        {
            throw new BenchException("--window needs --no-peers: testpmd tells its rate once per second");
        }
        DateTimeOffset started = DateTimeOffset.Now;
        (int core, int other) = Cores(options.Core);
        var settings = new RunSettings
        {
            Runs = options.Runs,
            Seconds = options.Seconds,
            Window = TimeSpan.FromMilliseconds(options.WindowMilliseconds),
            Core = core,
            OtherCore = other,
            Hugepages = options.Hugepages,
        };
        List<EngineSubject> engines = Engines(options.Engines);
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

    /// <summary>The forwarding CPU and one for everything else.</summary>
    private static (int Core, int Other) Cores(int? wanted)
    {
        int[] usable = CpuAffinity.Get();
        int core = wanted ?? usable[^1];
        if (!usable.Contains(core))
        {
            throw new BenchException($"CPU {core} cannot be used; these can: {CpuAffinity.Format(usable)}");
        }
        return (core, usable.FirstOrDefault(cpu => cpu != core, core));
    }

    private static List<EngineSubject> Engines(IReadOnlyList<string> wanted)
    {
        string standard = Environment.GetEnvironmentVariable("DATAPLANE_ENGINE") is { Length: > 0 } path
            ? path
            : Path.Combine(Repository.Root, "out", "engine", "dataplane-engine");
        var engines = new List<EngineSubject>();
        foreach (string text in wanted.Count == 0 ? [$"dataplane={standard}"] : wanted)
        {
            int equals = text.IndexOf('=', StringComparison.Ordinal);
            string program = text[(equals + 1)..];
            string name = equals > 0 ? text[..equals] : $"dataplane {engines.Count + 1}";
            if (!File.Exists(program))
            {
                throw new BenchException($"there is no engine at {program}: build it with `./build.sh build`, or name it with --engine");
            }
            engines.Add(new EngineSubject(name, Path.GetFullPath(program)));
        }
        return engines;
    }

    private static IEnumerable<Subject> Peers()
    {
        string program = ProgramPath.Find(TestpmdSubject.Program) ?? throw new BenchException(
            $"{TestpmdSubject.Program} is missing, which the engine is compared with. Install it with `./build.sh setup bench` "
            + $"(package {TestpmdSubject.Package}), or measure the engine alone with --no-peers");
        return Modes.Select(mode => new TestpmdSubject(program, mode));
    }
}
