using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Scenarios;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// <c>bench overlay</c>: routes, beside testpmd, which looks nothing up, and what they take in memory; VXLAN beside Open vSwitch, each
/// direction by itself; VPP beside all of it. Of one size of the table also by what <see cref="Axes"/> varies.
/// </summary>
internal sealed class OverlayBenchmark : Benchmark
{
    private static readonly string[] s_parts = ["route4", "route6", "encapsulation", "decapsulation"];

    private readonly Option<int[]> _prefixes, _macs;
    private readonly Option<string[]> _only;
    private readonly Axes _axes;

    public OverlayBenchmark()
        : base("overlay", "Packets per second and clocks per packet of routing, VXLAN encapsulation and decapsulation; memory of routes.")
    {
        _prefixes = Add(new Option<int[]>("--prefixes")
        {
            Description = "Routes, comma-separated",
            CustomParser = NumberList.Parser(2, 4_000_000),
            DefaultValueFactory = _ => [2, 1_000, 100_000, 1_000_000],
        });
        _macs = Add(new Option<int[]>("--macs")
        {
            Description = "Addresses on each side of a tunnel, comma-separated",
            CustomParser = NumberList.Parser(1, 1 << 23), // 10.0.0.0/9 has so many
            DefaultValueFactory = _ => [1, 1_000, 100_000],
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
        int[] prefixes = options.GetValue(_prefixes)!, macs = options.GetValue(_macs)!;
        AxisValues axes = _axes.Read(run, options);
        Subject[] vpp = run.Options.Peers ? [.. BenchRun.Vpp()] : [];
        List<RouteScenario> routes = [];
        foreach ((string part, string title, bool v6) in new[] { ("route4", "Route, IPv4", false), ("route6", "Route, IPv6", true) })
        {
            if (only.Contains(part))
            {
                List<Point> points = axes.Points(prefixes, n => Count(n, "prefixes"), (n, packets) => new RouteScenario(n, packets, v6), isOnlyOne: true);
                Forward(title, () => [BenchRun.Testpmd("macswap"), .. vpp], points);
                routes.AddRange(points.Take(prefixes.Length).Select(point => (RouteScenario)point.Scenario));
            }
        }
        if (routes.Count > 0)
        {
            run.Add(Memory(routes));
        }
        if (only.Contains("encapsulation"))
        {
            Forward("VXLAN encapsulation", () => [new OvsDpdkSubject(), .. vpp], axes.Points(macs, n => Count(n, "MACs"), (n, packets) => new EncapsulationScenario(n, packets), isOnlyOne: true));
        }
        if (only.Contains("decapsulation"))
        {
            Forward("VXLAN decapsulation", () => [new OvsDpdkSubject(), .. vpp], axes.Points(macs, n => Count(n, "MACs"), (n, packets) => new DecapsulationScenario(n, packets), isOnlyOne: true));
        }

        void Forward(string title, Func<IEnumerable<Subject>> peers, List<Point> points) =>
            run.Forward(title, [.. run.Engines(), .. run.Options.Peers ? peers() : []], points);
    }

    /// <summary>What the tables take for routes like those of the Internet, nodes and all.</summary>
    private static Section Memory(IReadOnlyList<RouteScenario> routes) => new()
    {
        Title = "Memory of routes",
        Conditions = "The part of the segment that holds the prefixes of all VRFs; random prefixes, of lengths as in the Internet's routing table, and two next hops.",
        Columns = ["", "prefixes", "MB", "bytes per prefix"],
        Rows = [.. routes.Select(r => (string[])[r.Name, Text($"{r.Size:N0}"), Text($"{r.RouteBytes / 1e6:0.0}"), Text($"{(double)r.RouteBytes / r.Size:0.0}")])],
        Figures = routes.Select(r => new { r.Name, Prefixes = r.Size, Bytes = r.RouteBytes }).ToArray(),
    };

    private static string Count(int n, string what) => Text($"{n:N0} {(n == 1 ? what.TrimEnd('s') : what)}");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
