using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>Routes in commits: with everything else of the commit or not at all, to a reader of one generation or the other.</summary>
public sealed unsafe class SegmentRoutesTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2, MaxPorts = 8, MaxBridges = 8, MacCapacity = 64 });

    public void Dispose() => _segment.Dispose();

    private uint Find(uint address, ulong generation) => _segment.Routes.Find4(_segment.Vrf(1, generation).Root4, address);

    private static RoutePrefix Net(byte first, int length = 8) => RoutePrefix.Of4((uint)first << 24, length);

    [Fact]
    public void A_route_becomes_visible_with_the_records_of_its_commit()
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        writer.SetNextHop(3, new NextHopRecord { Kind = NextHopKind.Blackhole });
        writer.SetRoute4(1, Net(10), 3);
        writer.SetRoute6(1, RoutePrefix.Of6(0xFD00ul << 48, 0, 8), 3);
        ulong before = _segment.Generation;
        Assert.Equal(0u, Find(0x0A000001, before));
        writer.Commit();
        Assert.Equal(0u, Find(0x0A000001, before));
        Assert.Equal(3u, Find(0x0A000001, _segment.Generation));
        Assert.Equal(3u, _segment.Routes.Find6(_segment.Vrf(1, _segment.Generation).Root6, 0xFD01ul << 48, 1));
    }

    [Fact]
    public void An_abandoned_commit_leaves_no_trace()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, () => writer.SetRoute4(1, Net(10), 1));
        long used = writer.RouteBytesUsed;
        writer.Begin();
        writer.SetRoute4(1, Net(10), 2);
        writer.SetRoute4(2, Net(11), 2);
        writer.Abandon();
        Assert.Equal((1u, used, 1), (Find(0x0A000001, _segment.Generation), writer.RouteBytesUsed, writer.Routes4(1).Count));
        Assert.Empty(writer.Routes4(2));
    }

    [Fact]
    public void Routes_need_a_commit_and_indexes_that_exist()
    {
        var writer = new SegmentWriter(_segment);
        Assert.Throws<InvalidOperationException>(() => writer.SetRoute4(1, Net(10), 1));
        Assert.Throws<InvalidOperationException>(() => writer.RemoveRoute6(1, RoutePrefix.Of6(0, 0, 0)));
        writer.Begin();
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetRoute4(0, Net(10), 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetRoute4(_segment.MaxVrfs, Net(10), 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetRoute4(1, Net(10), _segment.MaxNextHops));
    }

    [Fact]
    public void The_next_writer_finds_the_routes_of_the_last()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, () => writer.SetRoute4(1, Net(10), 1));
        writer.Begin();
        writer.SetRoute4(1, Net(10), 2); // it dies here
        var next = new SegmentWriter(_segment);
        KeyValuePair<RoutePrefix, uint> route = Assert.Single(next.Routes4(1));
        Assert.Equal((Net(10), 1u), (route.Key, route.Value));
        Commit(next, () => Assert.True(next.RemoveRoute4(1, Net(10))));
        Assert.Equal(0u, Find(0x0A000001, _segment.Generation));
        next.Begin();
        Assert.Equal(0, next.RouteBytesUsed);
    }

    [Fact]
    public void A_commit_for_which_the_routes_have_no_room_is_none_at_all()
    {
        using Segment small = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 1, MaxPorts = 8, MaxBridges = 8, MacCapacity = 64, RouteBytes = 64 << 10 });
        var writer = new SegmentWriter(small);
        Commit(writer, () => writer.SetRoute4(1, Net(10), 1));
        ulong generation = small.Generation;
        writer.Begin();
        writer.SetNextHop(1, new NextHopRecord { Kind = NextHopKind.Blackhole });
        Assert.Throws<RouteMemoryException>(() =>
        {
            for (int i = 0; i < 10_000; i++)
            {
                writer.SetRoute4(1, RoutePrefix.Of4((uint)i * 0x9E3779B1, 32), 2);
            }
        });
        Assert.Throws<InvalidOperationException>(() => writer.Commit());
        Assert.Equal(generation, small.Generation);
        writer.Abandon();
        Commit(writer, () => writer.SetRoute4(1, Net(11), 2));
        uint root = small.Vrf(1, small.Generation).Root4;
        Assert.Equal((1u, 2u, 0u), (small.Routes.Find4(root, 0x0A000001), small.Routes.Find4(root, 0x0B000001), small.Routes.Find4(root, 0x9E3779B1)));
        Assert.Equal(NextHopKind.None, small.NextHop(1, small.Generation).Kind);
    }

    [Fact]
    public void A_segment_whose_routes_are_damaged_is_refused_by_a_writer()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, () => writer.SetRoute4(1, Net(10), 1));
        Versioned<VrfRecord>.Write(ref _segment.Vrfs[2], new VrfRecord { Root6 = 0xAFFF_FFFF }, _segment.Generation);
        Assert.Contains("dataplane clean", Assert.Throws<SegmentException>(() => new SegmentWriter(_segment)).Message);
    }

    /// <summary>
    /// Two sets of routes are flipped at full speed. A reader, in bursts as a worker, must find all of one set or all of the other;
    /// nodes that are reused too early would show as a third answer.
    /// </summary>
    [Fact]
    public void A_burst_sees_one_set_of_routes()
    {
        const int Flips = 500;
        var writer = new SegmentWriter(_segment);
        Commit(writer, () => SetAll(writer, 1));
        using var stop = new ManualResetEventSlim();
        using var ready = new CountdownEvent(2);
        long bursts = 0;
        string? torn = null;
        Thread[] readers = [.. Enumerable.Range(0, 2).Select(worker => new Thread(() =>
        {
            uint* addresses = stackalloc uint[64];
            uint* results = stackalloc uint[64];
            for (uint i = 0; i < 64; i++)
            {
                addresses[i] = 0x0A000000 + (i * 0x010101);
            }
            _segment.Quiescence.Online(worker);
            ready.Signal();
            while (!stop.IsSet)
            {
                _segment.Quiescence.Quiescent(worker);
                uint root = _segment.Vrf(1, _segment.Generation).Root4;
                _segment.Routes.Find4(root, addresses, results, 64);
                for (int i = 0; i < 64; i++)
                {
                    uint single = _segment.Routes.Find4(root, addresses[i]);
                    if (single != results[0] || results[i] != results[0] || single is not (1 or 2))
                    {
                        torn = $"{results[0]}, {results[i]}, {single} at {i}";
                    }
                }
                Interlocked.Increment(ref bursts);
            }
            _segment.Quiescence.Offline(worker);
        }))];
        Array.ForEach(readers, r => r.Start());
        ready.Wait();
        for (int flip = 0; flip < Flips && torn == null; flip++)
        {
            Commit(writer, () => SetAll(writer, 1 + (flip & 1)));
        }
        stop.Set();
        Array.ForEach(readers, r => r.Join());
        Assert.Null(torn);
        Assert.True(bursts >= 2);

        void SetAll(SegmentWriter w, int nextHop)
        {
            w.SetRoute4(1, RoutePrefix.Of4(0x0A000000, 8), nextHop);
            for (uint i = 0; i < 64; i += 7)
            {
                w.SetRoute4(1, RoutePrefix.Of4(0x0A000000 + (i * 0x010101), 24 + (int)(i % 9)), nextHop);
            }
        }
    }

    private static void Commit(SegmentWriter writer, Action change)
    {
        writer.Begin();
        change();
        writer.Commit();
    }
}
