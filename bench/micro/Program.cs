using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using Dataplane.MicroBench;

// Micro-benchmarks of what the packet path is made of. `./build.sh bench micro` runs them all; options go to BenchmarkDotNet
// (`--filter "*Batch*"`, `--list flat`). `--quick` is ours: short runs, to see that everything works.

string[] rest = [.. args.Where(a => a != "--quick")];
var config = rest.Length == args.Length ? DefaultConfig.Instance : DefaultConfig.Instance.AddJob(Job.ShortRun);
if (rest.Length == 0)
{
    rest = ["--filter", "*"]; // without a choice BenchmarkDotNet asks on the terminal
}
BenchmarkSwitcher.FromAssembly(typeof(MacTableBenchmarks).Assembly).Run(rest, config);
