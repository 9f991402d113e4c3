using System.Globalization;
using System.Text.Json;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>TCP streams between two containers, by iperf3.</summary>
public static class Iperf
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Bits per second that arrived.</summary>
    /// <param name="network">The containers: the client is in the first.</param>
    /// <param name="streams">Parallel connections.</param>
    /// <param name="reverse">From the second to the first.</param>
    /// <param name="seconds">How long; the second before is not counted.</param>
    /// <param name="directory">For files.</param>
    /// <param name="cancel">The user has enough.</param>
    public static double Run(ContainerNetwork network, int streams, bool reverse, int seconds, string directory, CancellationToken cancel)
    {
        using var server = new ChildProcess(ProgramPath.Find("ip") ?? "ip", ["netns", "exec", network.Second, "iperf3", "-s", "-1", "--forceflush"], directory);
        while (server.ReadLine(Patience, cancel) is { } line && !line.Contains("listening", StringComparison.Ordinal))
        {
        }
        string output = Tool.Run("ip",
        [
            "netns", "exec", network.First, "iperf3", "-c", ContainerNetwork.SecondAddress, "-J", "-O", "1", "-t", Text(seconds), "-P", Text(streams), .. reverse ? ["-R"] : Array.Empty<string>(),
        ]);
        cancel.ThrowIfCancellationRequested();
        using JsonDocument json = JsonDocument.Parse(output);
        return json.RootElement.GetProperty("end").GetProperty("sum_received").GetProperty("bits_per_second").GetDouble();
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
