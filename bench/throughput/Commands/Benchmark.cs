using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Subjects;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>What the benchmarks that forward packets have in common.</summary>
internal static class Benchmark
{
    /// <summary>A workload, and with what the engine is compared there: modes of testpmd, or Open vSwitch.</summary>
    public sealed record Entry(Scenario Scenario, IReadOnlyList<string> Peers);

    /// <summary>
    /// Runs the engine and other programs in turn, workload by workload, and reports. Exit codes: 0 measured, 1 could not, 130
    /// interrupted.
    /// </summary>
    /// <param name="name">Of the benchmark.</param>
    /// <param name="options">How to run it.</param>
    /// <param name="entries">Makes the workloads.</param>
    public static int Run(string name, RunOptions options, Func<IReadOnlyList<Entry>> entries)
    {
        using var cancel = new CancellationTokenSource();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        try
        {
            Measure(name, options, entries(), cancel.Token);
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

    private static void Measure(string name, RunOptions options, IReadOnlyList<Entry> entries, CancellationToken cancel)
    {
        if (options.Peers && options.WindowMilliseconds != 1000)
        {
            throw new BenchException("--window needs --no-peers: the other programs are asked once per second");
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
        Dictionary<string, Subject> peers = options.Peers ? entries.SelectMany(e => e.Peers).Distinct().ToDictionary(peer => peer, Peer) : [];
        if (other == core)
        {
            AnsiConsole.MarkupLine("[yellow]There is only one CPU to use: what else runs disturbs the measurement.[/]");
        }

        using Hugepages? pages = options.Hugepages
            ? new Hugepages(entries.Max(e => e.Scenario.MemoryMegabytes(hugepages: true)), options.ReserveHugepages)
            : null;
        using var work = new WorkDirectory();
        var results = new List<ScenarioResult>();
        foreach (Entry entry in entries)
        {
            var interleaved = new Interleaved([.. engines, .. entry.Peers.Where(peers.ContainsKey).Select(peer => peers[peer])], settings, work);
            results.Add(interleaved.Run(entry.Scenario, (subject, run, result) => ProgressLine.Write(entry.Scenario, subject, run, settings.Runs, result), cancel));
        }

        var report = new BenchReport
        {
            Name = name,
            Started = started,
            Machine = MachineInfo.Read(core),
            TscHz = engines[0].TscHz,
            Settings = settings,
            Scenarios = results,
            References = [.. engines.Skip(1).Select(engine => engine.Name), .. peers.Values.Select(peer => peer.Name)],
        };
        ResultTable.Write(report);
        string output = options.Output ?? Path.Combine(Repository.Root, "out", "bench", $"{name}.json");
        JsonReport.Write(report, output);
        AnsiConsole.WriteLine($"Every run's figures: {output}");
    }

    private static Subject Peer(string name) => name == OvsDpdkSubject.SubjectName ? new OvsDpdkSubject() : Testpmd(name);

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

    private static TestpmdSubject Testpmd(string mode)
    {
        string program = ProgramPath.Find(TestpmdSubject.Program) ?? throw new BenchException(
            $"{TestpmdSubject.Program} is missing, which the engine is compared with. Install it with `./build.sh setup bench` "
            + $"(package {TestpmdSubject.Package}), or measure the engine alone with --no-peers");
        return new TestpmdSubject(program, mode);
    }
}
