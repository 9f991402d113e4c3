using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Report;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench services</c>: the control plane with as many services as a large cluster has.</summary>
internal sealed class ServicesBenchmark : Benchmark
{
    /// <summary>With <c>--quick</c>, everything is so many times less.</summary>
    private const int QuickFactor = 10;

    private readonly Option<int> _services, _backends, _changes;
    private readonly Option<string?> _directory;

    public ServicesBenchmark()
        : base("services", "Loads services with their backends in one batch, then changes one backend at a time: time and memory.")
    {
        _services = Add(new Option<int>("--services") { Description = "Services to load", DefaultValueFactory = _ => 100_000 });
        _backends = Add(new Option<int>("--backends") { Description = "Backends of each", DefaultValueFactory = _ => 10 });
        _changes = Add(new Option<int>("--changes") { Description = "Changes of one backend each", DefaultValueFactory = _ => 2_000 });
        _directory = Add(new Option<string?>("--directory") { Description = "Where the state is kept durable; on a disk, for figures that mean something [default: out/bench]" });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        int factor = run.Options.Quick ? QuickFactor : 1;
        var load = new ServiceLoad(options.GetValue(_services) / factor, options.GetValue(_backends), options.GetValue(_changes) / factor);
        string root = Path.GetFullPath(options.GetValue(_directory) ?? Path.Combine(Repository.Root, "out", "bench"));
        string disk = Directory.CreateDirectory(Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"services-{Environment.ProcessId}"))).FullName;
        try
        {
            var section = new ServicesSection(load);
            section.Add("on a disk", Load(load, disk, run));
            section.Add("in memory", Load(load, run.Work.New("services"), run));
            run.Add(section.ToSection());
        }
        finally
        {
            Directory.Delete(disk, recursive: true);
        }
    }

    private static ServiceLoadResult Load(ServiceLoad load, string directory, BenchRun run)
    {
        ServiceLoadResult result = ServiceLoader.Run(load, Path.Combine(directory, "state.db"), run.Cancel);
        BenchRun.Progress($"{load.Services:N0} services x {load.Backends} backends in {result.Loaded.TotalSeconds:N1} s; one change {result.Changes.Median:N0} µs");
        return result;
    }
}
