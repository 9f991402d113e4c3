using System.CommandLine;
using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Containers;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench tap</c>: two containers, connected by our switch, by the kernel, and by Open vSwitch, in turn.</summary>
internal sealed class TapBenchmark : Benchmark
{
    /// <summary>Behind the traffic, until what it left to do is done, and then as long as what a switch takes that has nothing to do is measured.</summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(5), IdleTime = TimeSpan.FromSeconds(5);

    private readonly Option<int> _streams, _workers;
    private readonly Option<bool> _nodes;

    public TapBenchmark()
        : base("tap", "TCP, small UDP packets, round trips and idle CPU between two containers, beside Linux bridge + veth and Open vSwitch in user space.")
    {
        _streams = Add(new Option<int>("--streams") { Description = "TCP streams at once, besides one", DefaultValueFactory = _ => 8 });
        _workers = Add(new Option<int>("--workers") { Description = "Workers of our switch", DefaultValueFactory = _ => 1 });
        _nodes = Add(new Option<bool>("--nodes") { Description = "Two containers on two nodes, by VXLAN over a link of the kernel, beside Linux bridge + vxlan" });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        if (LinuxProcess.EffectiveUserId != 0)
        {
            throw new BenchException("containers are network namespaces, which only root makes");
        }
        int streams = options.GetValue(_streams), workers = options.GetValue(_workers);
        bool nodes = options.GetValue(_nodes);
        List<(string Name, Func<string, ContainerNetwork> Make)> networks =
            [.. run.Engines().Select(engine => (engine.Name, (Func<string, ContainerNetwork>)(directory => nodes
                ? new SwitchNodes(directory, engine.Program, workers, run.Cancel) : new SwitchNetwork(directory, engine.Program, workers, run.Cancel))))];
        if (run.Options.Peers && nodes)
        {
            networks.Add((KernelNodes.Name, _ => new KernelNodes()));
        }
        else if (run.Options.Peers)
        {
            networks.Add((KernelNetwork.Name, _ => new KernelNetwork()));
            networks.Add((OvsNetwork.Name, directory => new OvsNetwork(directory, run.Cancel)));
        }
        TapResult[] results = [.. networks.Select(network => new TapResult(network.Name, streams))];
        for (int i = 1; i <= run.Options.Runs; i++)
        {
            foreach (((string name, Func<string, ContainerNetwork> make), TapResult result) in networks.Zip(results))
            {
                string directory = run.Work.New("tap");
                using (ContainerNetwork network = make(directory))
                {
                    run.Version(name, network.Version);
                    network.WaitForPing();
                    foreach ((TapFigure figure, double value) in MeasureOne(network, streams, run.Options.Seconds, directory, run.Cancel))
                    {
                        result.Add(figure, value);
                    }
                }
                Directory.Delete(directory, recursive: true);
                BenchRun.Progress($"run {i}/{run.Options.Runs}  {name,-20} {result.Last(TapFigure.TcpOne),5:0.0} Gb/s, {result.Last(TapFigure.Udp) / 1e3,6:0} k packets/s, {result.Last(TapFigure.RoundTripMedian),5:0} µs");
            }
        }
        run.Add(TapSection.Of(results, run.Options, nodes ? "Two containers on two nodes" : "Two containers"));
    }

    private static IEnumerable<(TapFigure Figure, double Value)> MeasureOne(ContainerNetwork network, int streams, int seconds, string directory, CancellationToken cancel)
    {
        const double Giga = 1e9;
        yield return (TapFigure.TcpOne, Iperf.Run(network, 1, reverse: false, seconds, directory, cancel) / Giga);
        yield return (TapFigure.TcpOneBack, Iperf.Run(network, 1, reverse: true, seconds, directory, cancel) / Giga);
        yield return (TapFigure.TcpMany, Iperf.Run(network, streams, reverse: false, seconds, directory, cancel) / Giga);
        yield return (TapFigure.TcpManyBack, Iperf.Run(network, streams, reverse: true, seconds, directory, cancel) / Giga);
        (double sent, double received) = UdpFlood.Run(network, TimeSpan.FromSeconds(seconds), cancel);
        yield return (TapFigure.UdpSent, sent);
        yield return (TapFigure.Udp, received);
        Latencies trips = RoundTrips.Run(network, TimeSpan.FromSeconds(seconds), cancel);
        yield return (TapFigure.RoundTripMedian, trips.Median);
        yield return (TapFigure.RoundTripP99, trips.P99);
        yield return (TapFigure.RoundTripP999, trips.P999);
        yield return (TapFigure.RoundTripWorst, trips.Worst);
        cancel.WaitHandle.WaitOne(SettleTime);
        TimeSpan before = network.CpuTime;
        cancel.WaitHandle.WaitOne(IdleTime);
        yield return (TapFigure.IdleCpu, (network.CpuTime - before) / IdleTime);
    }
}
