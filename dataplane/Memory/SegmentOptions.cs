using System.Numerics;

namespace Dataplane.Memory;

/// <summary>Sizes of a segment. They are fixed for its life; the defaults suit a laptop (about 6 MiB).</summary>
public sealed record SegmentOptions
{
    /// <summary>The largest number of ports that <see cref="BridgeRecord.Members"/> can name.</summary>
    public const int PortLimit = 1024;
    public const int BridgeLimit = 4096;
    public const int WorkerLimit = 64;
    public const int MacLimit = 1 << 26;

    /// <summary>Of a table with room for twice <see cref="MacLimit"/>.</summary>
    internal const int MacBucketBitsLimit = 25;

    /// <summary>Workers, 1 to 64.</summary>
    public int MaxWorkers { get; init; } = 8;
    /// <summary>Ports, 2 to 1,024; index 0 means "no port" and is never used.</summary>
    public int MaxPorts { get; init; } = 256;
    /// <summary>Bridges, 2 to 4,096; index 0 means "no bridge" and is never used.</summary>
    public int MaxBridges { get; init; } = 64;
    /// <summary>MAC entries that must fit. The table has room for twice as many, so that a bucket rarely fills.</summary>
    public int MacCapacity { get; init; } = 16_384;

    /// <summary>Base-2 logarithm of the number of buckets.</summary>
    internal int MacBucketBits
    {
        get
        {
            uint buckets = (((uint)MacCapacity * 2) + Tables.MacBucket.Ways - 1) / Tables.MacBucket.Ways;
            return Math.Max(Tables.MacTable.MinBits, BitOperations.Log2(BitOperations.RoundUpToPowerOf2(buckets)));
        }
    }

    /// <summary>Every problem of these options, none when they can be used.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Check(nameof(MaxWorkers), MaxWorkers, 1, WorkerLimit);
        Check(nameof(MaxPorts), MaxPorts, 2, PortLimit);
        Check(nameof(MaxBridges), MaxBridges, 2, BridgeLimit);
        Check(nameof(MacCapacity), MacCapacity, 16, MacLimit);
        return problems;

        void Check(string name, int value, int min, int max)
        {
            if (value < min || value > max)
            {
                problems.Add($"{name} is {value}, must be from {min} to {max}");
            }
        }
    }
}
