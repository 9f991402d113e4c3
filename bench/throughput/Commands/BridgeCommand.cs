using System.CommandLine;
using Dataplane.ThroughputBench.Scenarios;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench bridge</c>: the learning bridge beside testpmd, which knows where each packet goes.</summary>
public static class BridgeCommand
{
    private const string Name = "bridge";

    public static Command Create()
    {
        // The traffic has numbers for 2^24 addresses.
        Option<int[]> macs = RunOptionSet.Sizes("--macs", "Addresses on each side, comma-separated", [1, 1_000, 100_000]);
        var run = new RunOptionSet(Name);
        var command = new Command(Name, "Packets per second and clocks per packet of one worker bridging 64-byte packets between two ports.") { macs };
        foreach (Option option in run.All)
        {
            command.Add(option);
        }
        command.SetAction(parsed => Benchmark.Run(Name, run.Read(parsed), () => [.. parsed.GetValue(macs)!.Select(count => new Benchmark.Entry(new BridgeScenario(count), ["io", "macswap"]))]));
        return command;
    }
}
