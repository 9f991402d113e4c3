using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Packets;

namespace Dataplane.Memory;

/// <summary>One count per <see cref="DropReason"/>.</summary>
[InlineArray((int)DropReason.Limit)]
public struct DropCounts
{
    private ulong _first;
}

/// <summary>
/// What one worker counted on one port; nobody else writes it. The sums over the workers hold, at any burst boundary:
/// <code>
/// RxPackets = Forwarded + Consumed + Held + Σ Drops[ingress reasons] (by the port a packet came from)
/// Offered   = TxPackets + Σ Drops[egress reasons]                  (by the port a packet is sent to)
/// Σ Forwarded + Σ Copies + Σ Originated = Σ Offered                (over all ports)
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128 + (8 * (int)DropReason.Limit))]
public struct PortCounters
{
    [FieldOffset(0)] public ulong RxPackets;
    /// <summary>Bytes from the destination address to the end of the payload, without frame check sequence.</summary>
    [FieldOffset(8)] public ulong RxBytes;
    /// <summary>Received packets that were handed to at least one output port.</summary>
    [FieldOffset(16)] public ulong Forwarded;
    /// <summary>Received packets that ended here as intended (an answer was made, or a protocol took them).</summary>
    [FieldOffset(24)] public ulong Consumed;
    /// <summary>Packets handed to this port for transmission.</summary>
    [FieldOffset(32)] public ulong Offered;
    [FieldOffset(40)] public ulong TxPackets;
    [FieldOffset(48)] public ulong TxBytes;
    /// <summary>Further packets made of a received one: flood copies beyond the first, and segments beyond the first.</summary>
    [FieldOffset(56)] public ulong Copies;
    /// <summary>Packets the switch itself made and sent to this port.</summary>
    [FieldOffset(64)] public ulong Originated;
    /// <summary>Received packets that were flooded.</summary>
    [FieldOffset(72)] public ulong Flooded;
    [FieldOffset(80)] public ulong RxMulticast;
    /// <summary>Packets whose checksum the switch completed in software for this port.</summary>
    [FieldOffset(88)] public ulong SoftwareChecksums;
    /// <summary>Packets that the switch segmented in software for this port.</summary>
    [FieldOffset(96)] public ulong SoftwareSegmented;
    /// <summary>Receive bursts that were not empty.</summary>
    [FieldOffset(104)] public ulong RxBursts;
    /// <summary>Received packets that wait for the address of a neighbour now.</summary>
    [FieldOffset(112)] public ulong Held;
    [FieldOffset(128)] public DropCounts Drops;

    /// <summary>Adds another worker's counts.</summary>
    public void Add(ref readonly PortCounters other)
    {
        Span<ulong> mine = MemoryMarshal.Cast<PortCounters, ulong>(new Span<PortCounters>(ref this));
        ReadOnlySpan<ulong> theirs = MemoryMarshal.Cast<PortCounters, ulong>(new ReadOnlySpan<PortCounters>(in other));
        for (int i = 0; i < mine.Length; i++)
        {
            mine[i] += theirs[i];
        }
    }

    /// <summary>Drops at the way in, of packets that came from this port.</summary>
    public readonly ulong IngressDrops => SumDrops(egress: false);

    /// <summary>Drops at the way out, of packets meant for this port.</summary>
    public readonly ulong EgressDrops => SumDrops(egress: true);

    private readonly ulong SumDrops(bool egress)
    {
        ulong sum = 0;
        for (int i = 0; i < (int)DropReason.Count; i++)
        {
            if (((DropReason)i).IsEgress() == egress)
            {
                sum += Drops[i];
            }
        }
        return sum;
    }
}

/// <summary>
/// A worker's own cache lines: the epoch it announces, and what it did. The first line is read by writers that wait for
/// a grace period, the rest by whoever looks at statistics.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct WorkerRecord
{
    public const int SizeInBytes = 256;

    /// <summary>See <see cref="Quiescence"/>. Must be the first field.</summary>
    [FieldOffset(0)] public ulong Epoch;

    [FieldOffset(64)] public ulong Polls;
    [FieldOffset(72)] public ulong EmptyPolls;
    /// <summary>TSC cycles of polls that found work.</summary>
    [FieldOffset(80)] public ulong BusyCycles;
    /// <summary>TSC cycles between the end of receive and the start of transmit, measured in some polls and taken for all.</summary>
    [FieldOffset(88)] public ulong StageCycles;
    [FieldOffset(96)] public ulong Packets;
    /// <summary>Times the worker slept because nothing was there to do.</summary>
    [FieldOffset(104)] public ulong Sleeps;
    /// <summary>Bytes this thread allocated on the managed heap since it began to forward; stays 0.</summary>
    [FieldOffset(112)] public ulong AllocatedBytes;
    /// <summary>Packets passed to the worker that owns the output queue.</summary>
    [FieldOffset(120)] public ulong HandedOver;
    /// <summary>CPU the worker is pinned to, or -1.</summary>
    [FieldOffset(128)] public int Cpu;
    /// <summary>Events lost because nobody read the ring.</summary>
    [FieldOffset(136)] public ulong EventsLost;
    /// <summary>CLOCK_MONOTONIC nanoseconds of the last poll or wake-up, coarse.</summary>
    [FieldOffset(144)] public ulong LastSeen;
    /// <summary>TSC cycles between the beginnings of two polls, the longest so far; sleeping does not count.</summary>
    [FieldOffset(152)] public ulong LongestPoll;
    /// <summary>Packets received here and passed to the worker of their flow.</summary>
    [FieldOffset(160)] public ulong Distributed;
}
