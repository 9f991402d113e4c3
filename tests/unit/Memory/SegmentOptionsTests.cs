using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

public sealed class SegmentOptionsTests
{
    [Fact]
    public void The_defaults_suit_a_laptop()
    {
        var options = new SegmentOptions();
        Assert.Empty(options.Problems());
        Assert.InRange(Segment.RequiredLength(options), 1ul << 20, 24ul << 20);
    }

    [Theory]
    [InlineData(nameof(SegmentOptions.MaxWorkers), 1, 64)]
    [InlineData(nameof(SegmentOptions.MaxPorts), 2, 1024)]
    [InlineData(nameof(SegmentOptions.MaxBridges), 2, 4096)]
    [InlineData(nameof(SegmentOptions.MacCapacity), 16, 1 << 26)]
    [InlineData(nameof(SegmentOptions.NeighbourCapacity), 16, 1 << 24)]
    [InlineData(nameof(SegmentOptions.MaxFrontends), 2, 1 << 22)]
    [InlineData(nameof(SegmentOptions.MaxBackends), 2, 1 << 24)]
    [InlineData(nameof(SegmentOptions.MaxNatPools), 2, 1024)]
    [InlineData(nameof(SegmentOptions.ConnectionCapacity), 1024, 1 << 24)]
    public void Every_size_has_its_range(string name, int min, int max)
    {
        foreach (int good in (int[])[min, min + 1, max - 1, max])
        {
            Assert.Empty(With(name, good).Problems());
            Assert.True(Segment.RequiredLength(With(name, good)) > SegmentHeader.SizeInBytes);
        }
        foreach (int bad in (int[])[int.MinValue, -1, min - 1, max + 1, int.MaxValue])
        {
            Assert.Equal([$"{name} is {bad}, must be from {min} to {max}"], With(name, bad).Problems());
            Assert.Throws<SegmentException>(() => Segment.RequiredLength(With(name, bad)));
            Assert.Throws<SegmentException>(() => Segment.CreatePrivate(With(name, bad)));
        }
    }

    [Fact]
    public void All_problems_are_told_at_once()
    {
        var options = new SegmentOptions { MaxWorkers = 65, MaxPorts = 1, MaxBridges = -7, MacCapacity = 0 };
        Assert.Equal(
            [
                "MaxWorkers is 65, must be from 1 to 64", "MaxPorts is 1, must be from 2 to 1024",
                "MaxBridges is -7, must be from 2 to 4096", "MacCapacity is 0, must be from 16 to 67108864",
            ],
            options.Problems());
        string text = Assert.Throws<SegmentException>(() => Segment.RequiredLength(options)).Message;
        Assert.Equal("segment: " + string.Join("; ", options.Problems()), text);
    }

    [Theory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(33)]
    [InlineData(34)]
    [InlineData(1_000)]
    [InlineData(16_384)]
    [InlineData(32_768)]
    [InlineData(32_769)] // a little more than a power of two: the table doubles
    [InlineData(1_000_000)]
    [InlineData(1 << 20)]
    [InlineData((1 << 20) + 1)]
    public void The_table_has_room_for_twice_the_addresses_asked_for(int capacity)
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { MacCapacity = capacity });
        int slots = segment.Macs.BucketCount * MacBucket.Ways;
        Assert.InRange(slots, 2 * capacity, Math.Max(4 * capacity, MacBucket.Ways << MacTable.MinBits));
    }

    [Theory]
    [InlineData(16)]
    [InlineData(33)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(1_000_000)]
    public void The_table_has_room_for_twice_the_neighbours_asked_for(int capacity)
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { NeighbourCapacity = capacity });
        int slots = segment.Neighbours.BucketCount * NeighbourBucket.Ways;
        Assert.InRange(slots, 2 * capacity, Math.Max(4 * capacity, NeighbourBucket.Ways << NeighbourTable.MinBits));
    }

    [Fact]
    public void The_largest_segment_has_a_size_that_did_not_overflow()
    {
        var options = new SegmentOptions { MaxWorkers = 64, MaxPorts = 1024, MaxBridges = 4096, MacCapacity = 1 << 26, NeighbourCapacity = 1 << 24 };
        // 2^25 buckets of 64 bytes, 2^23 of 192; for each of 64 workers the counters of 1,024 ports, 896 bytes each, and a ring of
        // 512 KiB.
        ulong large = (64ul << 25) + (192ul << 23) + (64ul * 1024 * 896) + (64ul << 19);
        Assert.InRange(Segment.RequiredLength(options), large, large + (32 << 20));
    }

    private static SegmentOptions With(string name, int value)
    {
        var options = new SegmentOptions();
        return name switch
        {
            nameof(SegmentOptions.MaxWorkers) => options with { MaxWorkers = value },
            nameof(SegmentOptions.MaxPorts) => options with { MaxPorts = value },
            nameof(SegmentOptions.MaxBridges) => options with { MaxBridges = value },
            nameof(SegmentOptions.NeighbourCapacity) => options with { NeighbourCapacity = value },
            nameof(SegmentOptions.MaxFrontends) => options with { MaxFrontends = value },
            nameof(SegmentOptions.MaxBackends) => options with { MaxBackends = value },
            nameof(SegmentOptions.MaxNatPools) => options with { MaxNatPools = value },
            nameof(SegmentOptions.ConnectionCapacity) => options with { ConnectionCapacity = value },
            _ => options with { MacCapacity = value },
        };
    }
}
