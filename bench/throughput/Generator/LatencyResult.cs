using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Generator;

/// <summary>What is sent.</summary>
/// <param name="Macs">Addresses on each side.</param>
/// <param name="Packets">Their size.</param>
/// <param name="Trial">Length of a trial.</param>
/// <param name="Loss">Share of packets that may be lost in the second search, 0 to 1.</param>
/// <param name="Shares">Of the rate without loss: where latency is measured.</param>
public sealed record LatencySettings(int Macs, PacketSizes Packets, TimeSpan Trial, double Loss, IReadOnlyList<double> Shares);

/// <summary>One run of one switch.</summary>
/// <param name="Highest">Packets per second that came through when as many were sent as can be.</param>
/// <param name="Offered">Packets per second that were sent then: a switch that forwards as many is faster than the generator.</param>
/// <param name="NoLoss">Packets per second without loss.</param>
/// <param name="SomeLoss">With no more than <see cref="LatencySettings.Loss"/>.</param>
/// <param name="AtShares">Times at each share.</param>
/// <param name="Away">Share of the trials' time in which the generator did not have its CPU, 0 to 1.</param>
/// <param name="Machine">What the machine took, just before, of the CPU that forwards and of the generator's; see <see cref="Machine.PauseProbe"/>.</param>
public sealed record LatencyRun(
    double Highest, double Offered, double NoLoss, double SomeLoss, IReadOnlyList<Latencies> AtShares, double Away, IReadOnlyList<Latencies> Machine);

/// <summary>All runs of one switch.</summary>
public sealed class LatencyResult(string name)
{
    private readonly List<LatencyRun> _runs = [];

    public string Name { get; } = name;
    public IReadOnlyList<LatencyRun> Runs => _runs;

    public void Add(LatencyRun run) => _runs.Add(run);
}
