using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench bridge</c>: the learning bridge beside other switches, with so many addresses and by what <see cref="Axes"/> varies.</summary>
internal sealed class BridgeBenchmark : Benchmark
{
    private readonly Option<int[]> _macs;
    private readonly Axes _axes;

    public BridgeBenchmark()
        : base("bridge", "Packets per second and clocks per packet of a learning bridge between two ports, beside dpdk-testpmd, Open vSwitch and VPP.")
    {
        _macs = Add(new Option<int[]>("--macs")
        {
            Description = "Addresses on each side, comma-separated",
            CustomParser = NumberList.Parser(1, 1 << 24), // the addresses that the traffic has numbers for
            DefaultValueFactory = _ => [1, 1_000, 100_000, 1_000_000],
        });
        _axes = new Axes(Command);
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        AxisValues axes = _axes.Read(run, options);
        List<Subject> subjects = [.. run.Engines()];
        if (run.Options.Peers)
        {
            subjects.AddRange(BenchRun.Testpmd("io"), BenchRun.Testpmd("macswap"));
            subjects.AddRange([.. BenchRun.Ovs(), .. BenchRun.Vpp()]);
        }
        run.Forward("Bridge", subjects, axes.Points(options.GetValue(_macs)!, n => string.Create(CultureInfo.InvariantCulture, $"{n:N0} MAC{(n == 1 ? "" : "s")}"), Bridge, isOnlyOne: true));
    }

    private static BridgeScenario Bridge(int addresses, PacketSizes packets) =>
        addresses <= SharedBridgeScenario.MostAddresses ? new SharedBridgeScenario(addresses, packets) : new BridgeScenario(addresses, packets);
}
