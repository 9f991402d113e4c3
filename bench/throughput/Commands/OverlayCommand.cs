using System.CommandLine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Scenarios;

namespace Dataplane.ThroughputBench.Commands;

/// <summary><c>bench overlay</c>: routing beside testpmd, and VXLAN beside Open vSwitch on the same ports.</summary>
public static class OverlayCommand
{
    private const string Name = "overlay";

    private static readonly string[] s_parts = ["route4", "route6", "encapsulation", "decapsulation"];

    public static Command Create()
    {
        Option<int[]> prefixes = RunOptionSet.Sizes("--prefixes", "Routes, comma-separated", [2, 1_000, 100_000, 1_000_000], least: 2, most: 4_000_000);
        Option<int[]> macs = RunOptionSet.Sizes("--macs", "Addresses on each side of a tunnel, comma-separated", [1, 1_000, 100_000], most: 1 << 23);
        var only = new Option<string[]>("--only") { Description = $"Of {string.Join(", ", s_parts)} these alone", DefaultValueFactory = _ => s_parts, AllowMultipleArgumentsPerToken = true };
        only.AcceptOnlyFromAmong(s_parts);
        var run = new RunOptionSet(Name);
        var command = new Command(Name, "Packets per second and clocks per packet of one worker that routes, encapsulates and decapsulates; memory of the routes.")
        {
            prefixes, macs, only,
        };
        foreach (Option option in run.All)
        {
            command.Add(option);
        }
        command.SetAction(parsed =>
        {
            string[] parts = parsed.GetValue(only)!;
            int[] routes = parsed.GetValue(prefixes)!, addresses = parsed.GetValue(macs)!;
            return Benchmark.Run(Name, run.Read(parsed), () =>
            [
                .. routes.Where(_ => parts.Contains("route4")).Select(count => new Benchmark.Entry(new RouteScenario(count, v6: false), ["macswap"])),
                .. routes.Where(_ => parts.Contains("route6")).Select(count => new Benchmark.Entry(new RouteScenario(count, v6: true), ["macswap"])),
                .. addresses.Where(_ => parts.Contains("encapsulation")).Select(count => new Benchmark.Entry(new EncapsulationScenario(count), [OvsDpdkSubject.SubjectName])),
                .. addresses.Where(_ => parts.Contains("decapsulation")).Select(count => new Benchmark.Entry(new DecapsulationScenario(count), [OvsDpdkSubject.SubjectName])),
            ]);
        });
        return command;
    }
}
