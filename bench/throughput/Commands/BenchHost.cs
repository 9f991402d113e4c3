using System.CommandLine;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Report;
using Grpc.Core;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// Runs one benchmark, or all of them one after the other, and writes one report. Exit codes: 0 measured, 1 something could not be
/// measured, 130 interrupted.
/// </summary>
internal static class BenchHost
{
    private const int Interrupted = 130;

    /// <summary>The command line of the program.</summary>
    public static RootCommand Commands(string description, IReadOnlyList<Benchmark> benchmarks)
    {
        var common = new CommonOptions();
        var root = new RootCommand(description);
        common.AddTo(root);
        root.SetAction(parsed => Run("all", common.Read(parsed), run =>
        {
            bool all = true;
            foreach (Benchmark benchmark in benchmarks)
            {
                all &= Try(benchmark, run, benchmark.Command.Parse([]));
            }
            return all;
        }));
        foreach (Benchmark benchmark in benchmarks)
        {
            common.AddTo(benchmark.Command);
            benchmark.Command.SetAction(parsed => Run(benchmark.Command.Name, common.Read(parsed), run => Try(benchmark, run, parsed)));
            root.Add(benchmark.Command);
        }
        return root;
    }

    private static int Run(string name, CommonValues options, Func<BenchRun, bool> measure)
    {
        using var cancel = new CancellationTokenSource();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        DateTimeOffset started = DateTimeOffset.Now;
        bool all;
        BenchReport report;
        try
        {
            using var work = new WorkDirectory();
            var run = new BenchRun(options, work, cancel.Token);
            all = measure(run);
            report = new BenchReport
            {
                Command = string.Join(' ', ["./build.sh", "bench", .. Environment.GetCommandLineArgs().Skip(1)]),
                Started = started,
                Ended = DateTimeOffset.Now,
                Machine = MachineInfo.Read(run.Cores[0], run.TscHz),
                Versions = run.Versions,
                Sections = run.Sections,
            };
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("interrupted");
            return Interrupted;
        }
        catch (BenchException e)
        {
            Console.Error.WriteLine($"error: {e.Message}");
            return 1;
        }
        if (report.Sections.Count > 0)
        {
            string output = Path.GetFullPath(options.Output ?? Path.Combine(Repository.Root, "out", "bench", name));
            Directory.CreateDirectory(Path.GetDirectoryName(output)!);
            JsonReport.Write(report, output + ".json");
            HtmlReport.Write(report, output + ".html");
            AnsiConsole.WriteLine($"{report.Machine.Cpu}, {report.Machine.Cpus} CPUs; {string.Join("; ", report.Versions.Select(v => $"{v.Key}: {v.Value}"))}");
            AnsiConsole.WriteLine($"Plots: {output}.html; every run's figures: {output}.json");
        }
        return all ? 0 : 1;

        void Cancel(PosixSignalContext context)
        {
            context.Cancel = true;
            cancel.Cancel();
        }
    }

    /// <summary>Runs a benchmark. False when it could not be measured; what it had measured before stays in the report.</summary>
    private static bool Try(Benchmark benchmark, BenchRun run, ParseResult options)
    {
        try
        {
            benchmark.Measure(run, options);
            return true;
        }
        // A Ctrl-C in the terminal reaches the measured programs too, and may end one before we hear of it.
        catch (Exception) when (run.Cancel.IsCancellationRequested)
        {
            throw new OperationCanceledException(run.Cancel);
        }
        catch (Exception e) when (e is BenchException or LinuxException or DpdkException or DpdkUnavailableException or SegmentException
            or EngineException or RpcException or IOException or UnauthorizedAccessException or TimeoutException or SocketException or JsonException)
        {
            Console.Error.WriteLine($"error: {benchmark.Command.Name}: {e.Message}");
            return false;
        }
    }
}
