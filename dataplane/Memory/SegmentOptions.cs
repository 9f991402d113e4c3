using System.Numerics;

namespace Dataplane.Memory;

/// <summary>Sizes of a segment. They are fixed for its life; the defaults suit a laptop (about 20 MiB).</summary>
public sealed record SegmentOptions
{
    /// <summary>The largest number of ports that <see cref="BridgeRecord.Members"/> can name.</summary>
    public const int PortLimit = 1024;
    public const int BridgeLimit = 4096;
    public const int WorkerLimit = 64;
    public const int MacLimit = 1 << 26;

    public const int VrfLimit = 4096;
    /// <summary>What 24 bits of a route can name.</summary>
    public const int NextHopLimit = 1 << 24;
    public const int NextHopGroupLimit = 1 << 16;
    public const long RouteBytesLimit = 4L << 30;
    public const int NeighbourLimit = 1 << 24;
    public const int FrontendLimit = 1 << 22;
    public const int BackendLimit = 1 << 24;
    public const int NatPoolLimit = 1024;
    public const int ConnectionLimit = 1 << 24;
    public const long BackendSetBytesLimit = 64L << 30;

    /// <summary>Of a table with room for twice <see cref="MacLimit"/>.</summary>
    internal const int MacBucketBitsLimit = 25;

    /// <summary>Of a table with room for twice <see cref="NeighbourLimit"/>.</summary>
    internal const int NeighbourBucketBitsLimit = 23;

    /// <summary>Workers, 1 to 64.</summary>
    public int MaxWorkers { get; init; } = 8;
    /// <summary>Ports, 2 to 1,024; index 0 means "no port" and is never used.</summary>
    public int MaxPorts { get; init; } = 256;
    /// <summary>Bridges, 2 to 4,096; index 0 means "no bridge" and is never used.</summary>
    public int MaxBridges { get; init; } = 64;
    /// <summary>MAC entries that must fit. The table has room for twice as many, so that a bucket rarely fills.</summary>
    public int MacCapacity { get; init; } = 16_384;

    /// <summary>Routing tables, 2 to 4,096; index 0 means "no VRF" and is never used.</summary>
    public int MaxVrfs { get; init; } = 16;
    /// <summary>Next hops, 2 to 16,777,216; index 0 means "no route" and is never used.</summary>
    public int MaxNextHops { get; init; } = 4096;
    /// <summary>Next-hop groups, 1 to 65,536.</summary>
    public int MaxNextHopGroups { get; init; } = 64;
    /// <summary>Bytes for the routes of all VRFs, 64 KiB at least.</summary>
    public long RouteBytes { get; init; } = 4 << 20;
    /// <summary>Neighbours of all interfaces that must fit, 16 to 16,777,216. The table has room for twice as many.</summary>
    public int NeighbourCapacity { get; init; } = 4096;

    /// <summary>Ports of services, 2 to 4,194,304: one per address, port and protocol; index 0 means "none" and is never used.</summary>
    public int MaxFrontends { get; init; } = 4096;
    /// <summary>Ports of backends, 2 to 16,777,216; index 0 means "none" and is never used.</summary>
    public int MaxBackends { get; init; } = 8192;
    /// <summary>Bytes for sets of backends, 64 KiB at least. Most take 16 and 8 for each member, one with a Maglev table 128 KiB more.</summary>
    public long BackendSetBytes { get; init; } = 2 << 20;
    /// <summary>Pools of addresses for NAT, 2 to 1,024; index 0 means "none" and is never used.</summary>
    public int MaxNatPools { get; init; } = 16;

    /// <summary>
    /// IPv4 connections that must fit, 1,024 to 16,777,216; a quarter as many of IPv6, but 1,024 at least. 256 bytes each, and of IPv6 512.
    /// </summary>
    public int ConnectionCapacity { get; init; } = 16_384;

    /// <summary>IPv6 connections that fit.</summary>
    public static int ConnectionCapacity6(int capacity) => Math.Max(1024, capacity / 4);

    /// <summary>Base-2 logarithm of the number of buckets.</summary>
    internal int MacBucketBits => BucketBits(MacCapacity, Tables.MacBucket.Ways, Tables.MacTable.MinBits);

    /// <summary>Base-2 logarithm of the number of buckets.</summary>
    internal int NeighbourBucketBits => BucketBits(NeighbourCapacity, Tables.NeighbourBucket.Ways, Tables.NeighbourTable.MinBits);

    /// <summary>Every problem of these options, none when they can be used.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Check(nameof(MaxWorkers), MaxWorkers, 1, WorkerLimit);
        Check(nameof(MaxPorts), MaxPorts, 2, PortLimit);
        Check(nameof(MaxBridges), MaxBridges, 2, BridgeLimit);
        Check(nameof(MacCapacity), MacCapacity, 16, MacLimit);
        Check(nameof(MaxVrfs), MaxVrfs, 2, VrfLimit);
        Check(nameof(MaxNextHops), MaxNextHops, 2, NextHopLimit);
        Check(nameof(MaxNextHopGroups), MaxNextHopGroups, 1, NextHopGroupLimit);
        Check(nameof(RouteBytes), RouteBytes, 64 << 10, RouteBytesLimit);
        Check(nameof(NeighbourCapacity), NeighbourCapacity, 16, NeighbourLimit);
        Check(nameof(MaxFrontends), MaxFrontends, 2, FrontendLimit);
        Check(nameof(MaxBackends), MaxBackends, 2, BackendLimit);
        Check(nameof(BackendSetBytes), BackendSetBytes, 64 << 10, BackendSetBytesLimit);
        Check(nameof(MaxNatPools), MaxNatPools, 2, NatPoolLimit);
        Check(nameof(ConnectionCapacity), ConnectionCapacity, 1024, ConnectionLimit);
        return problems;

        void Check(string name, long value, long min, long max)
        {
            if (value < min || value > max)
            {
                problems.Add($"{name} is {value}, must be from {min} to {max}");
            }
        }
    }

    /// <summary>Room for twice the entries that must fit, in a number of buckets that is a power of two.</summary>
    private static int BucketBits(int capacity, int ways, int min)
    {
        uint buckets = (((uint)capacity * 2) + (uint)ways - 1) / (uint)ways;
        return Math.Max(min, BitOperations.Log2(BitOperations.RoundUpToPowerOf2(buckets)));
    }
}
