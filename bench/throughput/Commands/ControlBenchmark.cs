using System.Globalization;
using System.Text.Json;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Grpc.Core;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>Loads a daemon with static addresses, and reports. Exit codes: 0 measured, 1 could not, 130 interrupted.</summary>
public static class ControlBenchmark
{
    public static async Task<int> RunAsync(ControlOptions options, CancellationToken cancel)
    {
        try
        {
            await MeasureAsync(options, cancel);
            return 0;
        }
        catch (Exception) when (cancel.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("interrupted");
            return 130;
        }
        catch (Exception e) when (e is BenchException or LinuxException or RpcException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"error: {e.Message}");
            return 1;
        }
    }

    private static async Task MeasureAsync(ControlOptions options, CancellationToken cancel)
    {
        int core = options.Core ?? CpuAffinity.Get()[^1];
        string root = Path.GetFullPath(options.Directory ?? Path.Combine(Repository.Root, "out", "bench"));
        string directory = Directory.CreateDirectory(Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"control-{Environment.ProcessId}"))).FullName;
        try
        {
            int most = (2 * options.Entries) + (3 * options.Singles);
            using var daemon = new DaemonSubject(directory, most, core, cancel);
            daemon.MakeNetwork();
            var load = new UpdateLoad(daemon, cancel);
            await load.SingleAsync(Math.Min(200, options.Singles)); // first calls compile code
            long before = daemon.ResidentBytes;
            List<LoadResult> results = [await Show(load.SingleAsync(options.Singles))];
            results.Add(await Show(load.BatchAsync(options.Entries / options.Batch * options.Batch, options.Batch)));
            results.Add(await Show(load.PushAsync(options.Entries / options.Batch * options.Batch, options.Batch)));
            results.Add(await Show(load.AmongManyAsync(options.Singles)));
            double perEntry = (daemon.ResidentBytes - before) / (2.0 * options.Entries);
            double longest = daemon.LongestPoll * 1e6 / daemon.Segment.Header.TscHz;
            Write(options, results, perEntry, daemon, longest);
        }
        finally
        {
            // The daemon removes it too, when it was the last thing in there.
            if (Directory.Exists(directory))
            {
                Directory.Delete(directory, recursive: true);
            }
        }
    }

    private static async Task<LoadResult> Show(Task<LoadResult> load)
    {
        LoadResult result = await load;
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Name,-24} {result.Updates,9:N0} updates, {result.PerSecond,9:N0} per second"));
        return result;
    }

    private static void Write(ControlOptions options, List<LoadResult> results, double perEntry, DaemonSubject daemon, double longestPoll)
    {
        if (!AnsiConsole.Profile.Out.IsTerminal)
        {
            AnsiConsole.Profile.Width = 140; // a file or a pipe has no width of its own
        }
        var table = new Table().Border(TableBorder.Rounded).AddColumn("updates");
        foreach (string title in new[] { "per second", "call, µs\n[grey]p50 | p99 | max[/]", "visible after, µs\n[grey]p50 | p99 | max[/]" })
        {
            table.AddColumn(new TableColumn(title).RightAligned());
        }
        foreach (LoadResult r in results)
        {
            table.AddRow(r.Name, r.PerSecond.ToString("N0", CultureInfo.InvariantCulture), Text(r.Acknowledged), Text(r.Visible));
        }
        AnsiConsole.Write(table);
        MachineInfo machine = MachineInfo.Read(options.Core ?? CpuAffinity.Get()[^1]);
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{machine.Cpu}; {perEntry:N0} bytes of the control process per entry, segment {daemon.Segment.Length / 1048576.0:N0} MiB; longest time between two polls of the worker {longestPoll:N0} µs"));

        string output = options.Output ?? Path.Combine(Repository.Root, "out", "bench", "control.json");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(output))!);
        var report = new { Name = "control", Machine = machine, daemon.CommandLine, options.Entries, options.Batch, options.Singles, Results = results, BytesPerEntry = perEntry, LongestPollMicroseconds = longestPoll };
        File.WriteAllText(output, JsonSerializer.Serialize(report, new JsonSerializerOptions(JsonSerializerDefaults.Web) { WriteIndented = true }));
        AnsiConsole.WriteLine($"All figures: {output}");
    }

    private static string Text(Latencies l) => string.Create(CultureInfo.InvariantCulture, $"{l.Median:N0} | {l.P99:N0} | {l.Worst:N0}");
}
