using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench service</c>: services by their virtual addresses, with known connections and with nothing but new ones.</summary>
internal sealed class ServiceBenchmark : Benchmark
{
    private readonly Option<int[]> _flows, _tunnel;
    private readonly Option<int> _new;

    public ServiceBenchmark()
        : base("service", "Packets per second and clocks per packet of services: addresses and ports rewritten both ways.")
    {
        _flows = Add(new Option<int[]>("--flows")
        {
            Description = "Known connections, comma-separated",
            CustomParser = NumberList.Parser(1, 1 << 22),
            DefaultValueFactory = _ => [1, 1_000, 100_000, 1_000_000],
        });
        _tunnel = Add(new Option<int[]>("--tunnel")
        {
            Description = "Known connections whose clients are behind a bridge and whose backend is behind a VXLAN tunnel, comma-separated; 0 leaves them out",
            CustomParser = NumberList.Parser(0, 1 << 22),
            DefaultValueFactory = _ => [1, 1_000, 100_000],
        });
        _new = Add(new Option<int>("--new")
        {
            Description = "Clients that begin a connection with every packet, more than there is room for; 0 leaves that out",
            DefaultValueFactory = _ => 1_000_000,
        });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        List<Point> points =
        [
            .. options.GetValue(_flows)!.Select(n => new Point(Count(n), new ServiceScenario(n), run.Settings)),
            .. options.GetValue(_tunnel)!.Where(n => n > 0).Select(n => new Point($"{Count(n)} by VXLAN", new ServiceOverTunnelScenario(n), run.Settings)),
        ];
        if (options.GetValue(_new) is > 0 and int clients)
        {
            points.Add(new Point("new connections", new ServiceScenario(clients, known: false), run.Settings));
        }
        run.Forward("Service", [.. run.Engines()], points);
    }

    private static string Count(int n) => string.Create(CultureInfo.InvariantCulture, $"{n:N0} flow{(n == 1 ? "" : "s")}");
}
