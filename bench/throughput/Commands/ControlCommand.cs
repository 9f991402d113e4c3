using System.CommandLine;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench control</c>: updates per second, and how long one takes.</summary>
public static class ControlCommand
{
    public static Command Create()
    {
        var entries = new Option<int>("--entries") { Description = "Entries to load in batches, and again as a stream", DefaultValueFactory = _ => 100_000 };
        var singles = new Option<int>("--singles") { Description = "Calls with one entry each", DefaultValueFactory = _ => 1_000 };
        var batch = new Option<int>("--batch") { Description = "Entries of a batch", DefaultValueFactory = _ => 1_000 };
        var million = new Option<int>("--push") { Description = "Entries to push while packets are forwarded; 0 for none of that, which needs no root", DefaultValueFactory = _ => 1_000_000 };
        var rate = new Option<int>("--rate") { Description = "Packets per second that are forwarded meanwhile", DefaultValueFactory = _ => 20_000 };
        var noPeers = new Option<bool>("--no-peers") { Description = "Leave out Open vSwitch" };
        var core = new Option<int?>("--core") { Description = "CPU of the worker [default: the last one]" };
        var directory = new Option<string?>("--directory") { Description = "Where the daemon keeps its state; on a disk, for figures that mean something [default: out/bench]" };
        var output = new Option<string?>("--output") { Description = "JSON file [default: out/bench/control.json]" };
        var command = new Command("control", "Updates per second end to end (API in, durable, visible to a worker), and the time until visible.")
        {
            entries, singles, batch, million, rate, noPeers, core, directory, output,
        };
        command.SetAction((parsed, cancel) => ControlBenchmark.RunAsync(
            new ControlOptions
            {
                Entries = parsed.GetValue(entries),
                Singles = parsed.GetValue(singles),
                Batch = parsed.GetValue(batch),
                Push = parsed.GetValue(million),
                PacketRate = parsed.GetValue(rate),
                Peers = !parsed.GetValue(noPeers),
                Core = parsed.GetValue(core),
                Directory = parsed.GetValue(directory),
                Output = parsed.GetValue(output),
            },
            cancel));
        return command;
    }
}

/// <summary>What the user asked for.</summary>
public sealed record ControlOptions
{
    public required int Entries { get; init; }
    public required int Singles { get; init; }
    public required int Batch { get; init; }
    public required int Push { get; init; }
    public required int PacketRate { get; init; }
    public required bool Peers { get; init; }
    public int? Core { get; init; }
    public string? Directory { get; init; }
    public string? Output { get; init; }
}
