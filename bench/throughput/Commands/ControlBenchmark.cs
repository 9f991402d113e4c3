using System.CommandLine;
using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench control</c>: loads a daemon with static addresses.</summary>
internal sealed class ControlBenchmark : Benchmark
{
    /// <summary>A stream at a rate that leaves room: so many batches of so many entries, so many a second.</summary>
    private const int PacedBatches = 1_000, PacedBatch = 10, PacedRate = 200;

    /// <summary>Entries that are loaded before anything is measured.</summary>
    private const int WarmUp = 100_000;

    /// <summary>With <c>--quick</c>, everything is so many times less.</summary>
    private const int QuickFactor = 10;

    private static readonly TimeSpan QuietTime = TimeSpan.FromSeconds(10);

    private readonly Option<int> _entries, _singles, _batch, _push, _rate;
    private readonly Option<string?> _directory;

    public ControlBenchmark()
        : base("control", "Updates per second end to end (API in, durable, visible to a worker), and the time until visible, beside Open vSwitch.")
    {
        _entries = Add(new Option<int>("--entries") { Description = "Entries to load in batches, and again as a stream", DefaultValueFactory = _ => 100_000 });
        _singles = Add(new Option<int>("--singles") { Description = "Calls with one entry each", DefaultValueFactory = _ => 1_000 });
        _batch = Add(new Option<int>("--batch") { Description = "Entries of a batch", DefaultValueFactory = _ => 1_000 });
        _push = Add(new Option<int>("--push") { Description = "Entries to push while packets are forwarded; 0 for none of that, which needs no root", DefaultValueFactory = _ => 1_000_000 });
        _rate = Add(new Option<int>("--rate") { Description = "Packets per second that are forwarded meanwhile", DefaultValueFactory = _ => 20_000 });
        _directory = Add(new Option<string?>("--directory") { Description = "Where the daemon keeps its state; on a disk, for figures that mean something [default: out/bench]" });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        int factor = run.Options.Quick ? QuickFactor : 1;
        var load = new ControlLoad(options.GetValue(_entries) / factor, options.GetValue(_singles) / factor, options.GetValue(_batch), options.GetValue(_push) / factor, options.GetValue(_rate));
        if (load.Push > 0 && LinuxProcess.EffectiveUserId != 0)
        {
            throw new BenchException("packets go through network namespaces: run it as root, or with --push 0");
        }
        MeasureAsync(run, load, options.GetValue(_directory)).GetAwaiter().GetResult();
    }

    private static async Task MeasureAsync(BenchRun run, ControlLoad load, string? directory)
    {
        int core = run.Cores[0];
        string root = Path.GetFullPath(directory ?? Path.Combine(Repository.Root, "out", "bench"));
        string disk = Directory.CreateDirectory(Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"control-{Environment.ProcessId}"))).FullName;
        var section = new ControlSection(load);
        try
        {
            section.Add("dataplane, on a disk", await LoadAsync(load, disk, run.Cancel));
            section.Add("dataplane, in memory", await LoadAsync(load, run.Work.New("control"), run.Cancel));
            if (run.Options.Peers)
            {
                LoadOvs(load, run, section);
            }
            run.Add(section.Loads());
            if (load.Push > 0)
            {
                var packets = new PacketsWhilePushing(disk, core, load.PacketRate, run.Cancel);
                section.Add(Show(packets.Quiet(QuietTime)));
                (SteadyResult pushing, double bytes) = packets.Pushing(load.Push, load.Batch);
                section.Add(Show(pushing));
                section.Memory("dataplane, control process", bytes);
                run.Add(section.Packets());
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
    }

    /// <summary>With a worker as it is by default: there are no packets, so it sleeps, and leaves its CPU to the client.</summary>
    private static async Task<IReadOnlyList<LoadResult>> LoadAsync(ControlLoad load, string directory, CancellationToken cancel)
    {
        string capacity = ((2 * load.Entries) + WarmUp + (4 * load.Singles) + (2 * PacedBatches * PacedBatch)).ToString(CultureInfo.InvariantCulture);
        using var daemon = new DaemonSubject(directory, ["--mac-capacity", capacity], cancel);
        daemon.MakeNetwork();
        daemon.MakeTarget();
        using var probe = new VisibilityProbe(daemon.IsVisible);
        var updates = new UpdateLoad(daemon, probe, cancel);
        int entries = load.Entries / load.Batch * load.Batch;
        // First calls compile code, and some more of them compile it well.
        await updates.SingleAsync(2 * load.Singles);
        await updates.PushAsync(Math.Min(WarmUp, entries) / load.Batch * load.Batch, load.Batch);
        await updates.PacedAsync(PacedBatches, PacedBatch, PacedRate);
        return
        [
            Show(await updates.SingleAsync(load.Singles)),
            Show(await updates.BatchAsync(entries, load.Batch)),
            Show(await updates.PushAsync(entries, load.Batch)),
            Show(await updates.PacedAsync(PacedBatches, PacedBatch, PacedRate)),
            Show(await updates.AmongManyAsync(load.Singles)),
        ];
    }

    private static void LoadOvs(ControlLoad load, BenchRun run, ControlSection section)
    {
        using var ovs = new OvsSubject(run.Work.New("ovs"), run.Cancel);
        run.Version("Open vSwitch", ovs.Version);
        int entries = load.Entries / load.Batch * load.Batch;
        List<LoadResult> results = [Show(ovs.Single(Math.Min(200, load.Singles)))];
        long before = ovs.ResidentBytes;
        results.Add(Show(ovs.Bundles(entries, load.Batch)));
        results.Add(Show(ovs.Stream(entries, bundle: true)));
        section.Memory("Open vSwitch", (ovs.ResidentBytes - before) / (2.0 * entries));
        results.Add(Show(ovs.Stream(entries, bundle: false)));
        section.Add("Open vSwitch, in memory", results);
    }

    private static LoadResult Show(LoadResult result)
    {
        BenchRun.Progress($"{result.Name,-40} {result.Updates,9:N0} updates, {result.PerSecond,9:N0} per second, {result.Cpu,7:N1} µs of CPU each");
        return result;
    }

    private static SteadyResult Show(SteadyResult result)
    {
        BenchRun.Progress($"{result.Name,-40} {result.Sent,9:N0} packets, {result.Lost,9:N0} lost");
        return result;
    }
}

/// <summary>How much is loaded.</summary>
/// <param name="Entries">Entries in batches, and again as a stream.</param>
/// <param name="Singles">Calls with one entry each.</param>
/// <param name="Batch">Entries of a batch.</param>
/// <param name="Push">Entries pushed while packets are forwarded.</param>
/// <param name="PacketRate">Packets per second meanwhile.</param>
public sealed record ControlLoad(int Entries, int Singles, int Batch, int Push, int PacketRate);
