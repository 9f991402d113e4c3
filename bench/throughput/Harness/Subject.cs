using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>What a run needs to know.</summary>
/// <param name="Scenario">The workload.</param>
/// <param name="Settings">What is the same for every subject.</param>
/// <param name="Devices">What DPDK is to make of the ports.</param>
/// <param name="Directory">For the files of this run.</param>
public sealed record RunContext(Scenario Scenario, RunSettings Settings, IReadOnlyList<string> Devices, string Directory)
{
    /// <summary>A capture file for each port that receives something, where the packets come from files: those of all of its queues.</summary>
    public IReadOnlyList<string> Traffic { get; init; } = [];

    /// <summary>
    /// Ports with traffic replay their capture files in memory without end, one in each of as many queues as there are workers (<see cref="QueueFiles"/>), the
    /// others receive nothing; all of them throw away what is sent.
    /// </summary>
    /// <param name="scenario">The workload.</param>
    /// <param name="settings">How it is run.</param>
    /// <param name="traffic">A capture file per port.</param>
    public static IReadOnlyList<string> Replaying(Scenario scenario, RunSettings settings, IReadOnlyList<string> traffic) =>
    [
        .. traffic.Select((path, i) => string.Create(CultureInfo.InvariantCulture,
            $"net_pcap{i},{string.Join(',', QueueFiles.Spread(path, settings.Workers).Select(file => $"rx_pcap={file}"))},infinite_rx=1")),
        .. Enumerable.Range(traffic.Count, scenario.SendOnlyPorts).Select(i => string.Create(CultureInfo.InvariantCulture, $"net_null{i},no-rx=1")),
    ];

    /// <summary>Whether a port is a network card.</summary>
    public bool HasCards => Devices.Any(device => PciAddress.OfDevargs(device) is not null);

    /// <summary>See <see cref="Scenario.Buffers"/>.</summary>
    public int Buffers => Scenario.Buffers(Settings.Workers);

    /// <summary>See <see cref="Scenario.MemoryMegabytes"/>.</summary>
    public int MemoryMegabytes => Scenario.MemoryMegabytes(Settings.Workers, Settings.Hugepages);

    /// <summary>
    /// Where <see cref="Scenario.FillsConnections"/>: with so many connections the table is taken for full. Several queues are not equally fast, and none of
    /// them is to begin with its flows anew before.
    /// </summary>
    public int FilledAt => (int)((long)Scenario.Size * (Settings.Workers == 1 ? 9 : 7) / 10);
}

/// <summary>
/// Something that forwards packets: our engine, or a program to compare it with. A run starts it afresh, so that where its memory
/// happens to lie is drawn anew each time, and leaves nothing behind.
/// </summary>
public abstract class Subject(string name)
{
    /// <summary>Short, for tables.</summary>
    public string Name { get; } = name;

    /// <summary>Version, once it has run; null where it does not tell.</summary>
    public string? Version { get; protected set; }

    /// <summary>Why it cannot take part in a point of the benchmark: some programs have a burst size of their own, say. Null when it can.</summary>
    public virtual string? Obstacle(Scenario scenario, RunSettings settings) => null;

    /// <summary>Transmit queues that it makes on a port when one thread forwards.</summary>
    public virtual int TxQueues => 1;

    /// <summary>Starts it on its ports and lets it forward until it is disposed of. Nothing need have arrived yet.</summary>
    /// <exception cref="BenchException">It did not start.</exception>
    public abstract IDisposable Start(RunContext context, CancellationToken cancel);

    /// <summary>Starts, warms up, measures and stops.</summary>
    /// <exception cref="BenchException">It did not start or did not forward.</exception>
    /// <exception cref="OperationCanceledException">The user has enough.</exception>
    public abstract RunResult Run(RunContext context, CancellationToken cancel);
}
