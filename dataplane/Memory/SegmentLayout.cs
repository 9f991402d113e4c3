using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Observation;

namespace Dataplane.Memory;

/// <summary>The tables of a segment, in the order in which they lie behind the header.</summary>
public enum SectionId
{
    Workers, Ports, PortRuntime, Bridges, BridgeRuntime, Macs, PortCounters, Events, CaptureSessions, CaptureRings,
    Interfaces, Vrfs, NextHops, NextHopGroups, Tunnels, RouteArena, TunnelBuckets, Neighbours,
    Frontends, Backends, BackendSets, ServiceBuckets, Endpoints, NatPools,
    Connections4, Connections6, ConnectionCounters, ConnectionSweep, ConnectionMarks,
    Count,
}

/// <summary>Where a section lies, in bytes from the start of the segment.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct SectionEntry
{
    public ulong Offset;
    public ulong Length;
}

/// <summary>
/// The first page of a segment. It holds what a process must know before it may touch anything else (magic, layout,
/// sizes), and the few words that every process shares, each on a cache line of its own.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct SegmentHeader
{
    public const int SizeInBytes = 4096;

    /// <summary>"DPLNSEG1", little-endian. Written last when a segment is made: a half-made segment has none.</summary>
    public const ulong MagicValue = 0x3147_4553_4E4C_5044;

    /// <summary>Raised by every change of a struct in the segment, whatever its size, and of where a key lies in a table.</summary>
    public const uint CurrentLayoutVersion = 7;

    [FieldOffset(0)] public ulong Magic;
    [FieldOffset(8)] public uint LayoutVersion;
    [FieldOffset(12)] public uint HeaderSize;
    /// <summary>A hash of the sizes of all records; see <see cref="SegmentLayout.Hash"/>.</summary>
    [FieldOffset(16)] public ulong LayoutHash;
    /// <summary>Bytes of the whole segment.</summary>
    [FieldOffset(24)] public ulong Length;
    [FieldOffset(32)] public uint MaxWorkers;
    [FieldOffset(36)] public uint MaxPorts;
    [FieldOffset(40)] public uint MaxBridges;
    /// <summary>Base-2 logarithm of the number of MAC buckets.</summary>
    [FieldOffset(44)] public uint MacBucketBits;
    /// <summary>Random per segment, so that nobody outside can choose addresses that collide.</summary>
    [FieldOffset(48)] public ulong HashSeed;
    [FieldOffset(56)] public ulong CreatedUnixSeconds;

    /// <summary>One <see cref="SectionEntry"/> per <see cref="SectionId"/>.</summary>
    [FieldOffset(64)] public SectionTable Sections;

    /// <summary>VRFs, next hops and next-hop groups that fit.</summary>
    [FieldOffset(576)] public uint MaxVrfs;
    [FieldOffset(580)] public uint MaxNextHops;
    [FieldOffset(584)] public uint MaxNextHopGroups;
    /// <summary>Base-2 logarithm of the number of neighbour buckets.</summary>
    [FieldOffset(588)] public uint NeighbourBucketBits;
    /// <summary>Bytes for the routes of all VRFs.</summary>
    [FieldOffset(592)] public ulong RouteBytes;
    /// <summary>Frontends and backends of services, and NAT pools that fit.</summary>
    [FieldOffset(600)] public uint MaxFrontends;
    [FieldOffset(604)] public uint MaxBackends;
    [FieldOffset(608)] public uint MaxNatPools;
    /// <summary>IPv4 connections that fit; IPv6: see <see cref="SegmentOptions.ConnectionCapacity6"/>.</summary>
    [FieldOffset(612)] public uint ConnectionCapacity;
    /// <summary>Bytes for the sets of backends.</summary>
    [FieldOffset(616)] public ulong BackendSetBytes;

    /// <summary>The committed generation: a worker reads it once per burst and sees records up to it. Writer: control.</summary>
    [FieldOffset(1024)] public ulong Generation;

    /// <summary>
    /// One bit per <see cref="CaptureSession"/> that wants packets in the lowest byte, and above it a count of changes: a session
    /// that was closed and opened while a worker slept is another one. Read once per poll. Writer: control.
    /// </summary>
    [FieldOffset(1032)] public ulong ActiveCaptures;

    /// <summary>The global epoch of <see cref="Quiescence"/>. Writers: control and the engine's housekeeping, atomically.</summary>
    [FieldOffset(1088)] public ulong Epoch;

    /// <summary>Process id of the engine, 0 when it stopped in order. Writer of this line: engine.</summary>
    [FieldOffset(1152)] public uint EnginePid;
    /// <summary>Number of workers the engine runs.</summary>
    [FieldOffset(1156)] public uint EngineWorkers;
    /// <summary>CLOCK_MONOTONIC nanoseconds of the last sign of life of the housekeeping thread.</summary>
    [FieldOffset(1160)] public ulong EngineHeartbeat;
    /// <summary>CLOCK_MONOTONIC nanoseconds at which the engine began to forward.</summary>
    [FieldOffset(1168)] public ulong EngineStarted;
    /// <summary>Garbage collections of the engine process since it began to forward, all generations.</summary>
    [FieldOffset(1176)] public ulong EngineCollections;
    /// <summary>Times the engine process was started on this segment.</summary>
    [FieldOffset(1184)] public ulong EngineStarts;
    /// <summary>TSC frequency in Hz, to turn worker cycles into time.</summary>
    [FieldOffset(1192)] public ulong TscHz;
    /// <summary>Packet buffers in the small pool, and of these free at the last heartbeat.</summary>
    [FieldOffset(1200)] public uint BuffersTotal;
    [FieldOffset(1204)] public uint BuffersFree;
}

/// <summary>Room for <see cref="SectionEntry"/> values; more than are used, so that a new section does not move the rest.</summary>
[InlineArray(32)]
public struct SectionTable
{
    private SectionEntry _first;
}

/// <summary>Sizes and the layout hash of the segment.</summary>
public static class SegmentLayout
{
    public const int CacheLine = 64;

    /// <summary>FNV-1a over the layout version and the size of every record. Two builds that disagree refuse each other.</summary>
    public static ulong Hash { get; } = ComputeHash();

    private static ulong ComputeHash()
    {
        ReadOnlySpan<int> sizes =
        [
            (int)SegmentHeader.CurrentLayoutVersion, (int)SectionId.Count, SegmentHeader.SizeInBytes,
            Unsafe.SizeOf<SegmentHeader>(), Unsafe.SizeOf<WorkerRecord>(), Unsafe.SizeOf<PortRecord>(),
            Unsafe.SizeOf<Versioned<PortRecord>>(), Unsafe.SizeOf<PortRuntime>(), Unsafe.SizeOf<BridgeRecord>(),
            Unsafe.SizeOf<Versioned<BridgeRecord>>(), Unsafe.SizeOf<BridgeRuntime>(), Unsafe.SizeOf<Tables.MacBucket>(),
            Unsafe.SizeOf<PortCounters>(), Unsafe.SizeOf<EventRing>(), Unsafe.SizeOf<CaptureSession>(),
            Unsafe.SizeOf<CaptureRing>(), (int)Packets.DropReason.Count, Unsafe.SizeOf<Versioned<InterfaceRecord>>(),
            Unsafe.SizeOf<Versioned<VrfRecord>>(), Unsafe.SizeOf<Versioned<NextHopRecord>>(), Unsafe.SizeOf<Versioned<NextHopGroup>>(),
            Unsafe.SizeOf<Versioned<TunnelRecord>>(), Unsafe.SizeOf<Tables.TunnelBucket>(),
            Unsafe.SizeOf<Tables.NeighbourBucket>(), Unsafe.SizeOf<Tables.NeighbourDetail>(),
            Unsafe.SizeOf<Tables.RouteNode>(), Unsafe.SizeOf<Tables.RouteLeaf>(), Tables.RouteNode.LargeHeader,
            Unsafe.SizeOf<Versioned<FrontendRecord>>(), Unsafe.SizeOf<Versioned<BackendRecord>>(), Unsafe.SizeOf<Tables.BackendSet>(),
            Unsafe.SizeOf<Tables.ServiceBucket>(), Unsafe.SizeOf<Tables.EndpointBucket>(), Unsafe.SizeOf<Versioned<NatPoolRecord>>(),
            Unsafe.SizeOf<Tables.ConnectionSlot4>(), Unsafe.SizeOf<Tables.ConnectionSlot6>(), Unsafe.SizeOf<ConnectionCounters>(), Tables.ConnectionTable.Window,
            Tables.ConnectionControl.DistanceShift,
        ];
        ulong hash = 0xcbf2_9ce4_8422_2325;
        foreach (int size in sizes)
        {
            hash = (hash ^ (uint)size) * 0x100_0000_01b3;
        }
        return hash;
    }

    /// <summary>The length of each section for the given options, in bytes, rounded up to whole pages.</summary>
    internal static ulong SectionLength(SectionId id, SegmentOptions o)
    {
        ulong raw = id switch
        {
            SectionId.Workers => (ulong)Unsafe.SizeOf<WorkerRecord>() * (ulong)o.MaxWorkers,
            SectionId.Ports => (ulong)Unsafe.SizeOf<Versioned<PortRecord>>() * (ulong)o.MaxPorts,
            SectionId.PortRuntime => (ulong)Unsafe.SizeOf<PortRuntime>() * (ulong)o.MaxPorts,
            SectionId.Bridges => (ulong)Unsafe.SizeOf<Versioned<BridgeRecord>>() * (ulong)o.MaxBridges,
            SectionId.BridgeRuntime => (ulong)Unsafe.SizeOf<BridgeRuntime>() * (ulong)o.MaxBridges,
            SectionId.Macs => (ulong)Unsafe.SizeOf<Tables.MacBucket>() << o.MacBucketBits,
            SectionId.PortCounters => (ulong)Unsafe.SizeOf<PortCounters>() * (ulong)(o.MaxWorkers * o.MaxPorts),
            SectionId.Events => (ulong)Unsafe.SizeOf<EventRing>() * (ulong)o.MaxWorkers,
            SectionId.CaptureSessions => (ulong)Unsafe.SizeOf<CaptureSession>() * CaptureSession.Limit,
            SectionId.CaptureRings => (ulong)Unsafe.SizeOf<CaptureRing>() * (ulong)o.MaxWorkers,
            SectionId.Interfaces => (ulong)Unsafe.SizeOf<Versioned<InterfaceRecord>>() * (ulong)o.MaxPorts,
            SectionId.Vrfs => (ulong)Unsafe.SizeOf<Versioned<VrfRecord>>() * (ulong)o.MaxVrfs,
            SectionId.NextHops => (ulong)Unsafe.SizeOf<Versioned<NextHopRecord>>() * (ulong)o.MaxNextHops,
            SectionId.NextHopGroups => (ulong)Unsafe.SizeOf<Versioned<NextHopGroup>>() * (ulong)o.MaxNextHopGroups,
            SectionId.Tunnels => (ulong)Unsafe.SizeOf<Versioned<TunnelRecord>>() * (ulong)o.MaxPorts,
            SectionId.RouteArena => (ulong)o.RouteBytes,
            SectionId.TunnelBuckets => (ulong)Unsafe.SizeOf<Tables.TunnelBucket>() * (ulong)Tables.TunnelTable.BucketsFor(o.MaxPorts),
            SectionId.Neighbours => Tables.NeighbourTable.SizeInBytes(o.NeighbourBucketBits),
            SectionId.Frontends => (ulong)Unsafe.SizeOf<Versioned<FrontendRecord>>() * (ulong)o.MaxFrontends,
            SectionId.Backends => (ulong)Unsafe.SizeOf<Versioned<BackendRecord>>() * (ulong)o.MaxBackends,
            SectionId.BackendSets => (ulong)o.BackendSetBytes,
            SectionId.ServiceBuckets => Tables.ServiceTable.SizeInBytes(o.MaxFrontends),
            SectionId.Endpoints => Tables.EndpointSet.SizeInBytes(o.MaxBackends),
            SectionId.NatPools => (ulong)Unsafe.SizeOf<Versioned<NatPoolRecord>>() * (ulong)o.MaxNatPools,
            SectionId.Connections4 => (ulong)Unsafe.SizeOf<Tables.ConnectionSlot4>() * (ulong)Tables.ConnectionTable.SlotsFor(o.ConnectionCapacity),
            SectionId.Connections6 => (ulong)Unsafe.SizeOf<Tables.ConnectionSlot6>() * (ulong)Tables.ConnectionTable.SlotsFor(SegmentOptions.ConnectionCapacity6(o.ConnectionCapacity)),
            SectionId.ConnectionCounters => (ulong)Unsafe.SizeOf<ConnectionCounters>() * (ulong)(o.MaxWorkers + 1),
            SectionId.ConnectionSweep => ConnectionSweep.SizeInBytes(o.MaxBackends),
            SectionId.ConnectionMarks => Tables.ConnectionMarks.SizeInBytes(o.ConnectionCapacity),
            _ => throw new ArgumentOutOfRangeException(nameof(id)),
        };
        return (raw + 4095) & ~4095ul;
    }
}
