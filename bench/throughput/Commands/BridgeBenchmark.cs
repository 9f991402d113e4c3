using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// <c>bench bridge</c>: the learning bridge beside other switches. One thing is varied at a time: the number of addresses, the
/// size of the packets, the burst, the number of workers; the others are as in the first value of their lists, and 1,000 addresses.
/// </summary>
internal sealed class BridgeBenchmark : Benchmark
{
    private const int UsualMacs = 1_000;

    private readonly Option<int[]> _macs, _bursts, _workers;
    private readonly Option<PacketSizes[]> _packets;

    public BridgeBenchmark()
        : base("bridge", "Packets per second and clocks per packet of a learning bridge between two ports, beside dpdk-testpmd, Open vSwitch and VPP.")
    {
        _macs = Add(new Option<int[]>("--macs")
        {
            Description = "Addresses on each side, comma-separated",
            CustomParser = NumberList.Parser(1, 1 << 24), // the addresses that the traffic has numbers for
            DefaultValueFactory = _ => [1, 1_000, 100_000, 1_000_000],
        });
        _packets = Add(new Option<PacketSizes[]>("--packets")
        {
            Description = "Sizes: 64 (the smallest frame), imix, or of the layer-3 packet",
            CustomParser = argument => [.. NumberList.Texts(argument).Select(text =>
            {
                if (PacketSizes.Parse(text) is not { } sizes)
                {
                    argument.AddError($"\"{text}\" is neither a size from 64 to 9000 nor imix");
                    return PacketSizes.Smallest;
                }
                return sizes;
            })],
            DefaultValueFactory = _ => [.. new[] { "64", "imix", "1500", "9000" }.Select(text => PacketSizes.Parse(text)!)],
        });
        _bursts = Add(new Option<int[]>("--bursts")
        {
            Description = "Packets received at once",
            CustomParser = NumberList.Parser(1, RunSettings.FullBurst),
            DefaultValueFactory = _ => [RunSettings.FullBurst, 16, 4, 1],
        });
        _workers = Add(new Option<int[]>("--workers")
        {
            Description = "Workers, each with queues of its own [default: 1, and as many as there are CPUs]",
            CustomParser = NumberList.Parser(1, 32),
        });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        int[] macs = options.GetValue(_macs)!, bursts = options.GetValue(_bursts)!;
        PacketSizes[] packets = options.GetValue(_packets)!;
        int[] workers = options.GetValue(_workers) is { Length: > 0 } wanted ? wanted : [.. new[] { 1, run.Cores.Count }.Distinct()];
        if (workers.Max() > run.Cores.Count)
        {
            throw new BenchException($"{workers.Max()} workers need as many CPUs; there are {run.Cores.Count}");
        }
        int usual = macs.Contains(UsualMacs) ? UsualMacs : macs[0];
        RunSettings settings = run.Settings with { Burst = bursts[0], Workers = workers[0] };
        List<Point> points =
        [
            .. macs.Select(n => new Point(Count(n, "MAC"), Bridge(n, packets[0]), settings)),
            .. packets.Skip(1).Select(p => new Point($"{p.Name}{(p.Name == "imix" ? "" : " bytes")}", Bridge(usual, p), settings)),
            .. bursts.Skip(1).Select(n => new Point(string.Create(CultureInfo.InvariantCulture, $"burst {n}"), Bridge(usual, packets[0]), settings with { Burst = n })),
            .. workers.Skip(1).Select(n => new Point(Count(n, "worker"), Bridge(usual, packets[0]), settings with { Workers = n })),
        ];
        List<Subject> subjects = [.. run.Engines()];
        if (run.Options.Peers)
        {
            subjects.AddRange(BenchRun.Testpmd("io"), BenchRun.Testpmd("macswap"));
            subjects.AddRange([.. BenchRun.Ovs(), .. BenchRun.Vpp()]);
        }
        run.Forward("Bridge", subjects, points);
    }

    private static BridgeScenario Bridge(int addresses, PacketSizes packets) =>
        addresses <= SharedBridgeScenario.MostAddresses ? new SharedBridgeScenario(addresses, packets) : new BridgeScenario(addresses, packets);

    private static string Count(int n, string what) => string.Create(CultureInfo.InvariantCulture, $"{n:N0} {what}{(n == 1 ? "" : "s")}");
}
