using System.CommandLine;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>A benchmark: a sub-command with options of its own, and what it measures.</summary>
internal abstract class Benchmark(string name, string description)
{
    /// <summary>As it is called on the command line.</summary>
    public Command Command { get; } = new(name, description);

    /// <summary>Measures, and adds sections to the report.</summary>
    /// <param name="run">What all benchmarks are told.</param>
    /// <param name="options">The options of <see cref="Command"/>.</param>
    /// <exception cref="Harness.BenchException">It cannot go on.</exception>
    /// <exception cref="OperationCanceledException">The user has enough.</exception>
    public abstract void Measure(BenchRun run, ParseResult options);

    /// <summary>Adds an option to the command.</summary>
    protected Option<T> Add<T>(Option<T> option)
    {
        Command.Add(option);
        return option;
    }
}
