using System.CommandLine;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Generator;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// <c>bench latency</c>: the rate without loss (RFC 2544, section 26.1), and how long packets take at shares of it. A generator in this
/// process, on the CPU that does not forward, is connected with the switch by shared memory (memif), or by network cards.
/// </summary>
internal sealed class LatencyBenchmark : Benchmark
{
    private static readonly double[] s_shares = [0.1, 0.5, 0.9];

    /// <summary>How long it is looked what the machine takes, before each run.</summary>
    private static readonly TimeSpan s_probe = TimeSpan.FromSeconds(1);

    private readonly Option<int> _macs, _trial;
    private readonly Option<double> _loss;
    private readonly Option<PacketSizes> _packets;
    private readonly Option<string[]> _ports, _generator;

    public LatencyBenchmark()
        : base("latency", "The rate without loss by bisection (RFC 2544), and latency at 10, 50 and 90 % of it, over memif or between network cards.")
    {
        _macs = Add(new Option<int>("--macs") { Description = $"Addresses on each side, up to {SharedBridgeScenario.MostAddresses}", DefaultValueFactory = _ => 1_000 });
        _trial = Add(new Option<int>("--trial") { Description = "Milliseconds of a trial; RFC 2544 asks for 60,000 [default: 1,000, with --quick 200]" });
        _loss = Add(new Option<double>("--loss") { Description = "Percent of the packets that may be lost in the second search", DefaultValueFactory = _ => 0.1 });
        _packets = Add(new Option<PacketSizes>("--packets")
        {
            Description = "Size: 64 (the smallest frame), or of the layer-3 packet up to 1500",
            CustomParser = argument =>
            {
                if (PacketSizes.Parse(argument.Tokens[0].Value) is not { Lengths.Count: 1 } sizes || sizes.Mtu > PacketSizes.Smallest.Mtu)
                {
                    argument.AddError($"\"{argument.Tokens[0].Value}\" is not a size from 64 to 1500");
                    return PacketSizes.Smallest;
                }
                return sizes;
            },
            DefaultValueFactory = _ => PacketSizes.Smallest,
        });
        _ports = Add(new Option<string[]>("--port")
        {
            Description = "A port of the switch instead of memif: a PCI address (0000:03:00.0, which needs --hugepages), or a device as DPDK names it. Twice",
        });
        _generator = Add(new Option<string[]>("--generator") { Description = "The port at the other end of the first --port's cable, then of the second one's" });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        if (run.OtherCore == run.Cores[0])
        {
            throw new BenchException("a generator needs a CPU besides the one that forwards");
        }
        int trial = options.GetValue(_trial) is > 0 and var wanted ? wanted : run.Options.Quick ? 200 : 1_000;
        PacketSizes packets = options.GetValue(_packets)!;
        var settings = new LatencySettings(options.GetValue(_macs), packets, TimeSpan.FromMilliseconds(trial), options.GetValue(_loss) / 100, s_shares);
        List<Subject> subjects = [.. run.Engines()];
        if (run.Options.Peers)
        {
            subjects.Add(BenchRun.Testpmd("macswap"));
            subjects.AddRange(BenchRun.Ovs());
        }
        GeneratorLink? wired = options.GetValue(_ports) is { Length: > 0 } | options.GetValue(_generator) is { Length: > 0 }
            ? GeneratorLink.Wired(options.GetValue(_generator) ?? [], options.GetValue(_ports) ?? []) : null;
        if (wired is { HasCards: true } && !run.Options.Hugepages)
        {
            throw new BenchException("network cards need packet buffers from hugepages: add --hugepages or --reserve-hugepages");
        }
        if (wired is { HasInterfaces: true } && subjects.RemoveAll(subject => subject is OvsDpdkSubject) != 0)
        {
            BenchRun.Progress($"Open vSwitch runs in a network namespace of its own, where it does not see these interfaces: left out.");
        }
        using Hugepages? pages = run.Options.Hugepages
            ? new Hugepages(PacketGenerator.MemoryMegabytes + new SharedBridgeScenario(settings.Macs, packets).MemoryMegabytes(1, hugepages: true), run.Options.ReserveHugepages)
            : null;
        LatencyResult[] results = [.. subjects.Select(subject => new LatencyResult(subject.Name))];
        // Whatever else this process and the switches do is done elsewhere, if there are other CPUs.
        int[] usable = CpuAffinity.Get(), others = [.. usable.Except([run.Cores[0], run.OtherCore])];
        CpuAffinity.SetProcess(others.Length == 0 ? usable : others);
        RunSettings running = others.Length == 0 ? run.Settings : run.Settings with { Cpus = [run.Cores[0], .. others] };
        try
        {
            for (int i = 1; i <= run.Options.Runs; i++)
            {
                foreach ((Subject subject, LatencyResult result) in subjects.Zip(results))
                {
                    LatencyRun one = MeasureOne(run, running, subject, settings, wired);
                    result.Add(one);
                    BenchRun.Progress($"run {i}/{run.Options.Runs}  {subject.Name,-18} {one.NoLoss / 1e6,6:0.00} Mpps without loss, p99 at half of it {one.AtShares[1].P99,6:0.0} µs");
                }
            }
        }
        finally
        {
            CpuAffinity.SetProcess(usable);
        }
        foreach (Subject subject in subjects.Where(s => s.Version is not null))
        {
            run.Version(subject.Name, subject.Version!);
        }
        run.Add(LatencySection.Of(results, settings, wired?.Name ?? "memif", run.Options.Runs));
    }

    private static LatencyRun MeasureOne(BenchRun run, RunSettings running, Subject subject, LatencySettings settings, GeneratorLink? wired)
    {
        string directory = run.Work.New("latency");
        GeneratorLink link = wired ?? GeneratorLink.Memif(directory, subject.TxQueues);
        using var generator = new PacketGenerator(link, run.Options.Hugepages, settings.Macs, settings.Packets.Lengths[0], run.TscHz);
        var context = new RunContext(new SharedBridgeScenario(settings.Macs, settings.Packets), running, link.OfSwitch, directory);
        LatencyRun result;
        IReadOnlyList<Latencies> machine = PauseProbe.Run([run.Cores[0], run.OtherCore], s_probe, run.TscHz);
        using (subject.Start(context, run.Cancel))
        {
            result = PinnedThread.Run(run.OtherCore, () => Search(generator, settings, run.TscHz, machine, run.Cancel));
        }
        return result;
    }

    private static LatencyRun Search(PacketGenerator generator, LatencySettings settings, ulong tscHz, IReadOnlyList<Latencies> machine, CancellationToken cancel)
    {
        generator.Connect(cancel);
        CompilerRest.Wait(cancel);
        var search = new RateSearch(rate => generator.Run(rate, settings.Trial, cancel));
        Trial highest = search.Highest();
        double noLoss = search.Search(0, highest.WhileThere, 0), someLoss = search.Search(noLoss, highest.WhileThere, settings.Loss);
        double away = 0;
        var atShares = new List<Latencies>();
        foreach (double share in settings.Shares)
        {
            var times = new LatencyHistogram();
            for (int i = 0; i < RateSearch.Trials; i++)
            {
                Trial trial = generator.Run(share * noLoss, settings.Trial, cancel);
                times.Add(trial.Latency);
                away += trial.Away / RateSearch.Trials / settings.Shares.Count;
            }
            atShares.Add(times.InMicroseconds(tscHz));
        }
        return new LatencyRun(highest.Forwarded, highest.Offered, noLoss, someLoss, atShares, away, machine);
    }
}
