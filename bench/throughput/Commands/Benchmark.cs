using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Subjects;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>What the benchmarks that forward packets have in common.</summary>
internal static class Benchmark
{
    /// <summary>Runs one until it is through or the user has enough. Exit codes: 0 measured, 1 could not, 130 interrupted.</summary>
    public static int Run(Action<CancellationToken> measure)
    {
        using var cancel = new CancellationTokenSource();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        try
        {
            measure(cancel.Token);
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

    /// <summary>The forwarding CPU and one for everything else.</summary>
    public static (int Core, int Other) Cores(int? wanted)
    {
        int[] usable = CpuAffinity.Get();
        int core = wanted ?? usable[^1];
        if (!usable.Contains(core))
        {
            throw new BenchException($"CPU {core} cannot be used; these can: {CpuAffinity.Format(usable)}");
        }
        return (core, usable.FirstOrDefault(cpu => cpu != core, core));
    }

    public static List<EngineSubject> Engines(IReadOnlyList<string> wanted)
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

    public static TestpmdSubject Testpmd(string mode)
    {
        string program = ProgramPath.Find(TestpmdSubject.Program) ?? throw new BenchException(
            $"{TestpmdSubject.Program} is missing, which the engine is compared with. Install it with `./build.sh setup bench` "
            + $"(package {TestpmdSubject.Package}), or measure the engine alone with --no-peers");
        return new TestpmdSubject(program, mode);
    }
}
