using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench bridge</c>: the learning bridge beside testpmd.</summary>
public static class BridgeCommand
{
    public static Command Create()
    {
        var macs = new Option<int[]>("--macs")
        {
            Description = "Addresses on each side, comma-separated",
            CustomParser = ParseNumbers,
            DefaultValueFactory = _ => [1, 1_000, 100_000],
        };
        var runs = new Option<int?>("--runs") { Description = "Runs of each program, in turn [default: 5]" };
        var seconds = new Option<int?>("--seconds") { Description = "Seconds measured per run [default: 3]" };
        var window = new Option<int>("--window")
        {
            Description = "With --no-peers: measure in windows of so many milliseconds",
            DefaultValueFactory = _ => 1000,
        };
        var core = new Option<int?>("--core") { Description = "CPU that forwards [default: the last one]" };
        var quick = new Option<bool>("--quick") { Description = "A first impression: 2 runs of 1 second, unless told otherwise" };
        var engine = new Option<string[]>("--engine")
        {
            Description = "Engine program, as PATH or NAME=PATH; repeat it to compare builds",
            DefaultValueFactory = _ => [],
        };
        var alone = new Option<bool>("--no-peers") { Description = "Only the engine, without testpmd" };
        var hugepages = new Option<bool>("--hugepages") { Description = "Packet buffers from hugepages, for all programs alike" };
        var reserve = new Option<bool>("--reserve-hugepages") { Description = "Reserve the hugepages that are missing, and give them back (as root)" };
        var output = new Option<string?>("--output") { Description = "JSON file [default: out/bench/bridge.json]" };

        var command = new Command("bridge", "Packets per second and clocks per packet of one worker bridging 64-byte packets between two ports.")
        {
            macs, runs, seconds, window, core, quick, engine, alone, hugepages, reserve, output,
        };
        command.SetAction(parsed => BridgeBenchmark.Run(new BridgeOptions
        {
            Macs = parsed.GetValue(macs)!,
            Runs = parsed.GetValue(runs) ?? (parsed.GetValue(quick) ? 2 : 5),
            Seconds = parsed.GetValue(seconds) ?? (parsed.GetValue(quick) ? 1 : 3),
            WindowMilliseconds = parsed.GetValue(window),
            Core = parsed.GetValue(core),
            Engines = parsed.GetValue(engine)!,
            Peers = !parsed.GetValue(alone),
            Hugepages = parsed.GetValue(hugepages) || parsed.GetValue(reserve),
            ReserveHugepages = parsed.GetValue(reserve),
            Output = parsed.GetValue(output),
        }));
        return command;
    }

    private static int[] ParseNumbers(ArgumentResult argument)
    {
        const int Most = 1 << 24; // the addresses that the traffic has numbers for
        var numbers = new List<int>();
        foreach (string text in argument.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.TrimEntries)))
        {
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number is < 1 or > Most)
            {
                argument.AddError($"\"{text}\" is not a number from 1 to {Most}");
            }
            numbers.Add(number);
        }
        return [.. numbers];
    }
}
