using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using Dataplane.MicroBench;

// Micro-benchmarks of what the packet path is made of. `./build.sh bench micro` runs them all; options go to BenchmarkDotNet
// (`--filter "*Batch*"`, `--list flat`). `--quick` is ours: short runs, to see that everything works. Exits with 1 when one of
// them gave no result.

string[] rest = [.. args.Where(a => a != "--quick")];
var config = rest.Length == args.Length ? DefaultConfig.Instance : DefaultConfig.Instance.AddJob(Job.ShortRun);
if (rest.Length == 0)
{
    rest = ["--filter", "*"]; // without a choice BenchmarkDotNet asks on the terminal
}
IEnumerable<Summary> summaries = BenchmarkSwitcher.FromAssembly(typeof(MacTableBenchmarks).Assembly).Run(rest, config);
return summaries.All(s => !s.HasCriticalValidationErrors && s.Reports.All(r => r.Success)) ? 0 : 1;
