using Dataplane.Memory;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>A workload: the packets that arrive at the two ports, and what the engine's tables say about them.</summary>
public abstract class Scenario(string name, int size)
{
    /// <summary>Index of the first port in the segment; the second has the next.</summary>
    public const int FirstPort = 1;

    public string Name { get; } = name;

    /// <summary>Addresses, prefixes or flows.</summary>
    public int Size { get; } = size;

    /// <summary>Lengths of the packets.</summary>
    public virtual PacketSizes Packets => PacketSizes.Smallest;

    /// <summary>Ports behind those with traffic that receive nothing.</summary>
    public virtual int SendOnlyPorts => 0;

    /// <summary>Ports of the segment whose counters must balance besides those of the devices: tunnels, say.</summary>
    public virtual IReadOnlyList<int> InnerPorts => [];

    /// <summary>Of the ports, in bytes.</summary>
    public virtual ushort Mtu => Packets.Mtu;

    /// <summary>Clocks per packet in the stages that are wished for, at full bursts.</summary>
    public virtual Goal? Goal => null;

    /// <summary>The same at other bursts.</summary>
    public virtual Goal? GoalAt(int burst) => burst == RunSettings.FullBurst ? Goal : null;

    /// <summary>
    /// What is measured is how fast the table of connections fills, which is emptied over and over. As many packets as <see cref="Size"/>, one
    /// after the other, are of different connections.
    /// </summary>
    public virtual bool FillsConnections => false;

    /// <summary>What is worth to know of the tables, by name.</summary>
    public virtual IReadOnlyDictionary<string, object> Facts => new Dictionary<string, object>();

    /// <summary>Packets in each port's capture file. They are received over and over.</summary>
    public abstract int PacketsPerPort { get; }

    /// <summary>Flows in each port's capture file, or more. No more queues than that can be given packets.</summary>
    public int FlowsPerPort => Math.Min(Size, PacketsPerPort);

    /// <summary>Sizes of the engine's tables.</summary>
    public abstract SegmentOptions SegmentOptions { get; }

    /// <summary>Writes a capture file per port into a directory. Gives their paths.</summary>
    public abstract IReadOnlyList<string> WriteTraffic(string directory);

    /// <summary>Fills the engine's tables; a commit is begun, and committed by the caller.</summary>
    public abstract void Configure(SegmentWriter writer);

    /// <summary>Whether the engine has learned what it will; <paramref name="progress"/> tells how far it is.</summary>
    public abstract bool IsSettled(Segment segment, out string progress);

    /// <summary>
    /// Packet buffers that all subjects get: each capture driver keeps the packets of its files in memory, and what is in flight in the queues
    /// comes on top.
    /// </summary>
    public int Buffers(int workers) => (2 * PacketsPerPort) + (workers * 16_384);

    /// <summary>
    /// Memory in MiB for these buffers and what DPDK itself needs. On ordinary pages a pool puts no buffer across two pages unless
    /// it is larger than one.
    /// </summary>
    public int MemoryMegabytes(int workers, bool hugepages)
    {
        const int Around = 512, Page = 4096;
        int buffer = Packets.BufferBytes + Around;
        return 256 + (int)((long)Buffers(workers) * (hugepages ? buffer : (buffer + Page - 1) / Page * Page) >> 20);
    }
}

/// <summary>Clocks per packet.</summary>
/// <param name="AtMost">What it must not exceed.</param>
/// <param name="Aim">What would be better.</param>
public readonly record struct Goal(int AtMost, int Aim);
