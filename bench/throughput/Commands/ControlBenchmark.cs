using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;
using Grpc.Core;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>Loads a daemon with static addresses, and reports. Exit codes: 0 measured, 1 could not, 130 interrupted.</summary>
public static class ControlBenchmark
{
    /// <summary>A stream at a rate that leaves room: so many batches of so many entries, so many a second.</summary>
    private const int PacedBatches = 1_000, PacedBatch = 10, PacedRate = 200;

    private static readonly TimeSpan QuietTime = TimeSpan.FromSeconds(10);

    public static async Task<int> RunAsync(ControlOptions options, CancellationToken cancel)
    {
        try
        {
            if (options.Push > 0 && LinuxProcess.EffectiveUserId != 0)
            {
                throw new BenchException("packets go through network namespaces: run it as root, or with --push 0");
            }
            await MeasureAsync(options, cancel);
            return 0;
        }
        catch (Exception) when (cancel.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("interrupted");
            return 130;
        }
        catch (Exception e) when (e is BenchException or LinuxException or RpcException or IOException or UnauthorizedAccessException or TimeoutException)
        {
            await Console.Error.WriteLineAsync($"error: {e.Message}");
            return 1;
        }
    }

    private static async Task MeasureAsync(ControlOptions options, CancellationToken cancel)
    {
        int core = options.Core ?? CpuAffinity.Get()[^1];
        string root = Path.GetFullPath(options.Directory ?? Path.Combine(Repository.Root, "out", "bench"));
        string disk = Directory.CreateDirectory(Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"control-{Environment.ProcessId}"))).FullName;
        using var memory = new WorkDirectory();
        var report = new ControlReport(options, MachineInfo.Read(core));
        try
        {
            report.Add("dataplane, on a disk", await LoadAsync(options, disk, core, cancel));
            report.Add("dataplane, in memory", await LoadAsync(options, memory.Path, core, cancel));
            if (options.Peers)
            {
                LoadOvs(options, memory, report, cancel);
            }
            if (options.Push > 0)
            {
                var packets = new PacketsWhilePushing(disk, core, options.PacketRate, cancel);
                report.Add(Show(packets.Quiet(QuietTime)));
                (SteadyResult pushing, double bytes) = packets.Pushing(options.Push, options.Batch);
                report.Add(Show(pushing));
                report.Memory("dataplane, control process", bytes);
            }
        }
        finally
        {
            // The daemon removes it too, when it was the last thing in there.
            if (Directory.Exists(disk))
            {
                Directory.Delete(disk, recursive: true);
            }
        }
        report.Write();
    }

    private static async Task<IReadOnlyList<LoadResult>> LoadAsync(ControlOptions options, string directory, int core, CancellationToken cancel)
    {
        using var daemon = new DaemonSubject(directory, (2 * options.Entries) + (3 * options.Singles) + (PacedBatches * PacedBatch), core, cancel);
        daemon.MakeNetwork();
        using var probe = new VisibilityProbe(daemon.IsVisible);
        var load = new UpdateLoad(daemon, probe, cancel);
        await load.SingleAsync(Math.Min(200, options.Singles)); // first calls compile code
        int entries = options.Entries / options.Batch * options.Batch;
        return
        [
            Show(await load.SingleAsync(options.Singles)),
            Show(await load.BatchAsync(entries, options.Batch)),
            Show(await load.PushAsync(entries, options.Batch)),
            Show(await load.PacedAsync(PacedBatches, PacedBatch, PacedRate)),
            Show(await load.AmongManyAsync(options.Singles)),
        ];
    }

    private static void LoadOvs(ControlOptions options, WorkDirectory work, ControlReport report, CancellationToken cancel)
    {
        using var ovs = new OvsSubject(work.New("ovs"), cancel);
        report.OvsVersion = ovs.Version;
        int entries = options.Entries / options.Batch * options.Batch;
        List<LoadResult> results = [Show(ovs.Single(Math.Min(200, options.Singles)))];
        long before = ovs.ResidentBytes;
        results.Add(Show(ovs.Bundles(entries, options.Batch)));
        results.Add(Show(ovs.Stream(entries, bundle: true)));
        report.Memory("Open vSwitch", (ovs.ResidentBytes - before) / (2.0 * entries));
        results.Add(Show(ovs.Stream(entries, bundle: false)));
        report.Add("Open vSwitch, in memory", results);
    }

    private static LoadResult Show(LoadResult result)
    {
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Name,-40} {result.Updates,9:N0} updates, {result.PerSecond,9:N0} per second"));
        return result;
    }

    private static SteadyResult Show(SteadyResult result)
    {
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Name,-40} {result.Sent,9:N0} packets, {result.Lost,9:N0} lost"));
        return result;
    }
}
