using System.CommandLine;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench control</c>: updates per second, and how long one takes.</summary>
public static class ControlCommand
{
    public static Command Create()
    {
        var entries = new Option<int>("--entries") { Description = "Entries to load in batches", DefaultValueFactory = _ => 100_000 };
        var singles = new Option<int>("--singles") { Description = "Calls with one entry each", DefaultValueFactory = _ => 1_000 };
        var batch = new Option<int>("--batch") { Description = "Entries of a batch", DefaultValueFactory = _ => 1_000 };
        var core = new Option<int?>("--core") { Description = "CPU of the worker [default: the last one]" };
        var directory = new Option<string?>("--directory") { Description = "Where the daemon keeps its state; on a disk, for figures that mean something [default: out/bench]" };
        var output = new Option<string?>("--output") { Description = "JSON file [default: out/bench/control.json]" };
        var command = new Command("control", "Updates per second end to end (API in, durable, visible to a worker), and the time until visible.")
        {
            entries, singles, batch, core, directory, output,
        };
        command.SetAction((parsed, cancel) => ControlBenchmark.RunAsync(
            new ControlOptions(parsed.GetValue(entries), parsed.GetValue(singles), parsed.GetValue(batch), parsed.GetValue(core), parsed.GetValue(directory), parsed.GetValue(output)), cancel));
        return command;
    }
}

/// <summary>What the user asked for.</summary>
public sealed record ControlOptions(int Entries, int Singles, int Batch, int? Core, string? Directory, string? Output);
