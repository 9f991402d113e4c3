using System.Runtime.CompilerServices;
using Dataplane.Observation;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>The segment in private memory: where its tables lie, and that they lie apart.</summary>
public sealed unsafe class SegmentTests
{
    public static TheoryData<int, int, int, int> Sizes => new()
    {
        { 1, 2, 2, 16 }, { 2, 3, 5, 17 }, { 3, 63, 63, 1000 }, { 8, 256, 64, 16_384 }, { 64, 1024, 4096, 100_000 },
    };

    [Fact]
    public void The_first_bytes_are_readable_in_a_dump()
    {
        using Segment segment = Segment.CreatePrivate();
        fixed (SegmentHeader* header = &segment.Header)
        {
            Assert.Equal("DPLNSEG1", System.Text.Encoding.ASCII.GetString((byte*)header, 8));
        }
    }

    [Fact]
    public void A_new_segment_is_of_this_layout_and_empty()
    {
        var before = (ulong)DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        using Segment segment = Segment.CreatePrivate();
        ref SegmentHeader header = ref segment.Header;
        Assert.Equal((SegmentHeader.CurrentLayoutVersion, (uint)SegmentHeader.SizeInBytes), (header.LayoutVersion, header.HeaderSize));
        Assert.Equal(SegmentLayout.Hash, header.LayoutHash);
        Assert.InRange(header.CreatedUnixSeconds, before, before + 60);
        Assert.Equal((1ul, 1ul, 0u), (header.Generation, header.Epoch, header.EnginePid));
        Assert.Empty(segment.Macs.List());
        Assert.Empty(segment.Neighbours.List());
        for (int i = 0; i < segment.MaxPorts; i++)
        {
            Assert.Equal(PortFlags.None, segment.Port(i, segment.Generation).Flags);
        }
    }

    [Fact]
    public void Two_segments_hash_differently()
    {
        // Otherwise somebody outside could choose addresses that collide.
        using Segment a = Segment.CreatePrivate(), b = Segment.CreatePrivate();
        Assert.NotEqual(a.Header.HashSeed, b.Header.HashSeed);
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Sections_follow_each_other_and_none_shares_a_cache_line(int workers, int ports, int bridges, int macs)
    {
        var options = new SegmentOptions { MaxWorkers = workers, MaxPorts = ports, MaxBridges = bridges, MacCapacity = macs };
        using Segment segment = Segment.CreatePrivate(options);
        (SectionId Id, nint Start, ulong Bytes)[] sections =
        [
            (SectionId.Workers, (nint)segment.Workers, (ulong)(sizeof(WorkerRecord) * workers)),
            (SectionId.Ports, (nint)segment.Ports, (ulong)(sizeof(Versioned<PortRecord>) * ports)),
            (SectionId.PortRuntime, (nint)segment.PortRuntime, (ulong)(sizeof(PortRuntime) * ports)),
            (SectionId.Bridges, (nint)segment.Bridges, (ulong)(sizeof(Versioned<BridgeRecord>) * bridges)),
            (SectionId.BridgeRuntime, (nint)segment.BridgeRuntime, (ulong)(sizeof(BridgeRuntime) * bridges)),
            (SectionId.Macs, (nint)Macs(segment), (ulong)segment.Macs.BucketCount * 64),
            (SectionId.PortCounters, (nint)segment.Counters(0), (ulong)(sizeof(PortCounters) * ports) * (ulong)workers),
            (SectionId.Events, (nint)Unsafe.AsPointer(ref segment.Events(0)), (ulong)(sizeof(EventRing) * workers)),
            (SectionId.CaptureSessions, (nint)segment.CaptureSessions, (ulong)(sizeof(CaptureSession) * CaptureSession.Limit)),
            (SectionId.CaptureRings, (nint)segment.CaptureRing(0), (ulong)sizeof(CaptureRing) * (ulong)workers),
            (SectionId.Interfaces, (nint)segment.Interfaces, (ulong)(sizeof(Versioned<InterfaceRecord>) * ports)),
            (SectionId.Vrfs, (nint)segment.Vrfs, (ulong)(sizeof(Versioned<VrfRecord>) * options.MaxVrfs)),
            (SectionId.NextHops, (nint)segment.NextHops, (ulong)(sizeof(Versioned<NextHopRecord>) * options.MaxNextHops)),
            (SectionId.NextHopGroups, (nint)segment.NextHopGroups, (ulong)(sizeof(Versioned<NextHopGroup>) * options.MaxNextHopGroups)),
            (SectionId.Tunnels, (nint)segment.Tunnels, (ulong)(sizeof(Versioned<TunnelRecord>) * ports)),
            (SectionId.RouteArena, (nint)segment.RouteArena, (ulong)options.RouteBytes),
            (SectionId.TunnelBuckets, At(segment, SectionId.TunnelBuckets), (ulong)(TunnelBucket.SizeInBytes * TunnelTable.BucketsFor(ports))),
            (SectionId.Neighbours, At(segment, SectionId.Neighbours), (ulong)segment.Neighbours.BucketCount * (64 + (4 * NeighbourDetail.SizeInBytes))),
            (SectionId.Frontends, (nint)segment.Frontends, (ulong)(sizeof(Versioned<FrontendRecord>) * options.MaxFrontends)),
            (SectionId.Backends, (nint)segment.Backends, (ulong)(sizeof(Versioned<BackendRecord>) * options.MaxBackends)),
            (SectionId.BackendSets, (nint)segment.BackendSets, (ulong)options.BackendSetBytes),
            (SectionId.ServiceBuckets, At(segment, SectionId.ServiceBuckets), ServiceTable.SizeInBytes(options.MaxFrontends)),
            (SectionId.Endpoints, At(segment, SectionId.Endpoints), EndpointSet.SizeInBytes(options.MaxBackends)),
            (SectionId.NatPools, (nint)segment.NatPools, (ulong)(sizeof(Versioned<NatPoolRecord>) * options.MaxNatPools)),
            (SectionId.Connections4, At(segment, SectionId.Connections4), (ulong)ConnectionTable.SlotsFor(options.ConnectionCapacity) * 64),
            (SectionId.Connections6, At(segment, SectionId.Connections6), (ulong)ConnectionTable.SlotsFor(SegmentOptions.ConnectionCapacity6(options.ConnectionCapacity)) * 128),
            (SectionId.ConnectionCounters, At(segment, SectionId.ConnectionCounters), (ulong)(ConnectionCounters.SizeInBytes * (workers + 1))),
            (SectionId.ConnectionSweep, At(segment, SectionId.ConnectionSweep), ConnectionSweep.SizeInBytes(options.MaxBackends)),
            (SectionId.ConnectionMarks, At(segment, SectionId.ConnectionMarks), ConnectionMarks.SizeInBytes(options.ConnectionCapacity)),
        ];
        Assert.Equal((int)SectionId.Count, sections.Length);

        var start = (byte*)Unsafe.AsPointer(ref segment.Header);
        ulong free = SegmentHeader.SizeInBytes;
        foreach ((SectionId id, nint at, ulong bytes) in sections)
        {
            SectionEntry entry = segment.Header.Sections[(int)id];
            Assert.Equal((nint)(start + entry.Offset), at);
            Assert.True(entry.Offset % SegmentLayout.CacheLine == 0, $"{id} begins at {entry.Offset}");
            Assert.True(entry.Offset >= free, $"{id} begins at {entry.Offset}, before {free}");
            Assert.True(entry.Length >= bytes, $"{id} has {entry.Length} bytes for {bytes}");
            free = entry.Offset + entry.Length;
        }
        Assert.Equal(segment.Length, free);
        Assert.Equal(Segment.RequiredLength(options), free);
        Assert.Equal(0, (nint)start % SegmentLayout.CacheLine);
    }

    [Fact]
    public void What_different_threads_write_lies_on_cache_lines_of_its_own()
    {
        Assert.Equal(0, sizeof(WorkerRecord) % SegmentLayout.CacheLine);
        Assert.Equal(0, sizeof(PortCounters) % SegmentLayout.CacheLine);
        Assert.Equal(0, sizeof(EventRing) % SegmentLayout.CacheLine);
        Assert.Equal((64, 64, 64, 64), (sizeof(PortRuntime), sizeof(BridgeRuntime), sizeof(MacBucket), sizeof(NeighbourBucket)));
        Assert.Equal((32, NeighbourDetail.SizeInBytes), (sizeof(NeighbourDetail), sizeof(NeighbourDetail)));
        Assert.Equal(SegmentHeader.SizeInBytes, sizeof(SegmentHeader));
        using Segment segment = Segment.CreatePrivate();
        ref SegmentHeader header = ref segment.Header;
        // Generation: control; epoch: anyone; the rest: engine. A worker reads the first two at every poll.
        long[] lines = [Line(ref header.Sections), Line(ref header.Generation), Line(ref header.Epoch), Line(ref header.EnginePid)];
        Assert.Equal(lines.Length, lines.Distinct().Count());
        Assert.Equal(Line(ref header.EnginePid), Line(ref header.BuffersFree));
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Every_record_keeps_what_was_written_into_it(int workers, int ports, int bridges, int macs)
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions
        {
            MaxWorkers = workers, MaxPorts = ports, MaxBridges = bridges, MacCapacity = macs,
        });
        // Each record full of a number of its own: one that overlaps with another loses it.
        byte mark = 0;
        ForEachRecord(segment, bytes => bytes.Fill(++mark));
        mark = 0;
        ForEachRecord(segment, bytes => Assert.False(bytes.ContainsAnyExcept(++mark)));
        Assert.Equal(SegmentHeader.MagicValue, segment.Header.Magic);
    }

    [Fact]
    public void A_million_addresses_fit()
    {
        const int Million = 1_000_000;
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { MacCapacity = Million });
        segment.Header.HashSeed = 1; // the same collisions in every run
        MacTable table = segment.Macs;
        for (int i = 0; i < Million; i++)
        {
            Assert.Equal(LearnResult.Learned, table.Learn(Key(i), (ushort)(i % 200), 1, allowNew: true, out _));
        }
        for (int i = 0; i < Million; i++)
        {
            Assert.Equal(i % 200, MacValue.Port(table.Find(Key(i))));
        }
        Assert.InRange(segment.Length - Segment.RequiredLength(new SegmentOptions { MacCapacity = 16 }), 31ul << 20, 33ul << 20);

        static ulong Key(int i) => MacTable.Key(1, 2 + ((ulong)i << 8));
    }

    [Fact]
    public void It_may_be_disposed_of_twice()
    {
        Segment segment = Segment.CreatePrivate();
        segment.Dispose();
        segment.Dispose();
    }

    [Fact]
    public void Every_address_belongs_into_a_bucket_of_the_table()
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { MacCapacity = 64 });
        var homes = new HashSet<long>();
        for (ulong mac = 0; mac < 2000; mac += 2)
        {
            homes.Add(segment.Macs.Bucket(MacTable.Key(1, mac)) - Macs(segment));
        }
        Assert.Equal((0, segment.Macs.BucketCount - 1, segment.Macs.BucketCount), (homes.Min(), homes.Max(), homes.Count));
    }

    private static MacBucket* Macs(Segment segment) => (MacBucket*)At(segment, SectionId.Macs);

    private static nint At(Segment segment, SectionId id) =>
        (nint)Unsafe.AsPointer(ref segment.Header) + (nint)segment.Header.Sections[(int)id].Offset;

    private static void ForEachRecord(Segment segment, Action<Span<byte>> action)
    {
        for (int i = 0; i < segment.MaxPorts; i++)
        {
            action(new Span<byte>(segment.Ports + i, sizeof(Versioned<PortRecord>)));
            action(new Span<byte>(segment.PortRuntime + i, sizeof(PortRuntime)));
        }
        for (int i = 0; i < segment.MaxBridges; i++)
        {
            action(new Span<byte>(segment.Bridges + i, sizeof(Versioned<BridgeRecord>)));
            action(new Span<byte>(segment.BridgeRuntime + i, sizeof(BridgeRuntime)));
        }
        for (int i = 0; i < segment.Macs.BucketCount; i++)
        {
            action(new Span<byte>(Macs(segment) + i, sizeof(MacBucket)));
        }
        for (int worker = 0; worker < segment.MaxWorkers; worker++)
        {
            action(new Span<byte>(segment.Workers + worker, sizeof(WorkerRecord)));
            action(new Span<byte>(Unsafe.AsPointer(ref segment.Events(worker)), sizeof(EventRing)));
            for (int i = 0; i < segment.MaxPorts; i++)
            {
                action(new Span<byte>(segment.Counters(worker) + i, sizeof(PortCounters)));
            }
        }
    }

    private static long Line<T>(ref T field)
        where T : struct => (nint)Unsafe.AsPointer(ref field) / SegmentLayout.CacheLine;
}
