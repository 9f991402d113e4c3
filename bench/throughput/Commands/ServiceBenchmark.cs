using System.CommandLine;
using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Kernel;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// <c>bench service</c>: services by their virtual addresses, with known connections and with nothing but new ones, beside Open vSwitch with ct(nat), VPP
/// with NAT44 and with cnat, and Linux with nftables; and what a packet costs with more and more of the switch's features on.
/// </summary>
internal sealed class ServiceBenchmark : Benchmark
{
    private static readonly string[] s_parts = ["known", "new", "features"];

    private readonly Option<int[]> _flows, _new, _features;
    private readonly Option<string[]> _only;
    private readonly Axes _axes;

    public ServiceBenchmark()
        : base("service", "Packets per second and clocks per packet of services, addresses and ports rewritten both ways; connections begun per second. Beside Open vSwitch with "
            + "ct(nat), VPP with NAT44 and with cnat, and Linux with nftables. Connections begin in a full table, in the place of others, which Linux does too; and in an emptied one that "
            + "fills, beside Open vSwitch and VPP, which make no room in a full one.")
    {
        _flows = Add(new Option<int[]>("--flows")
        {
            Description = "Known connections, comma-separated",
            CustomParser = NumberList.Parser(1, 1 << 22),
            DefaultValueFactory = _ => [1, 1_000, 100_000, 1_000_000],
        });
        _new = Add(new Option<int[]>("--new")
        {
            Description = "Clients that begin a connection with every packet: more than there is room for, and in a table with room for all. Open vSwitch takes part up to 200,000, Linux from 524,288 on",
            CustomParser = NumberList.Parser(65_536, 1 << 22),
            DefaultValueFactory = _ => [100_000, 1_000_000],
        });
        _features = Add(new Option<int[]>("--features")
        {
            Description = "Flows of a service, and of one in a VXLAN network; addresses on each side of a bridge; prefixes of a router, without services and with some; flows of a service and as many others",
            CustomParser = NumberList.Parser(2, 100_000),
            DefaultValueFactory = _ => [1_000, 100_000],
        });
        _only = Add(new Option<string[]>("--only")
        {
            Description = $"Of {string.Join(", ", s_parts)} only these",
            DefaultValueFactory = _ => s_parts,
            AllowMultipleArgumentsPerToken = true,
        });
        _only.AcceptOnlyFromAmong(s_parts);
        _axes = new Axes(Command);
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        string[] only = options.GetValue(_only)!;
        List<Subject> subjects = [.. run.Engines()];
        if (run.Options.Peers)
        {
            subjects.AddRange([.. BenchRun.Ovs(), .. BenchRun.Vpp()]);
            if (LinuxProcess.EffectiveUserId == 0)
            {
                subjects.Add(new NftablesSubject(run.TscHz));
            }
        }
        AxisValues axes = _axes.Read(run, options);
        List<Point> points = [];
        if (only.Contains("known"))
        {
            points.AddRange(axes.Points(options.GetValue(_flows)!, n => Text($"{n:N0} flow{(n == 1 ? "" : "s")}"), (n, packets) => new ServiceScenario(n, packets)));
        }
        if (only.Contains("new"))
        {
            // What is in the packets matters little to who begins connections, and how many begin them at once does.
            AxisValues some = axes.Named with { Workers = axes.Workers };
            foreach ((string table, ServiceTraffic traffic) in new[] { ("full table", ServiceTraffic.Evicting), ("emptied table", ServiceTraffic.Filling) })
            {
                points.AddRange(some.Points(options.GetValue(_new)!, n => Text($"new, {n:N0} clients, {table}"), (n, packets) => new ServiceScenario(n, packets, traffic)));
            }
        }
        if (points.Count > 0)
        {
            run.Forward("Service", subjects, points);
        }
        if (only.Contains("features"))
        {
            run.Forward("Service, by what is on", subjects, Features(axes.Named, options.GetValue(_features)!));
        }
    }

    /// <summary>Each of the features for all sizes, and with the values that the user has asked for at one of them.</summary>
    private static List<Point> Features(AxisValues axes, int[] sizes)
    {
        (Func<int, string> Label, Func<int, PacketSizes, Scenario> Scenario)[] features =
        [
            (n => Text($"bridge only, {n:N0}"), (n, packets) => new SharedBridgeScenario(n, packets)),
            (n => Text($"router, {n:N0} prefixes"), (n, packets) => new RouteScenario(n, packets, v6: false)),
            (n => Text($"router beside services, {n:N0} prefixes"), (n, packets) => new RouteScenario(n, packets, v6: false, services: true)),
            (n => Text($"VIP, {n:N0}"), (n, packets) => new ServiceScenario(n, packets)),
            (n => Text($"VIP and as many others, {n:N0}"), (n, packets) => new ServiceScenario(n, packets, ServiceTraffic.Mixed)),
            (n => Text($"VIP + VXLAN, {n:N0}"), (n, packets) => new ServiceOverVxlanScenario(n, packets)),
        ];
        int usual = AxisValues.UsualOf(sizes);
        return
        [
            .. sizes.SelectMany(n => features.Select(feature => axes.Base(feature.Label(n), packets => feature.Scenario(n, packets)))),
            .. features.SelectMany(feature => axes.Around(feature.Label(usual), packets => feature.Scenario(usual, packets))),
        ];
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
