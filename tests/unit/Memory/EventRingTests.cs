using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

public sealed unsafe class EventRingTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2 });

    public void Dispose() => _segment.Dispose();

    private static EventRecord Record(ulong n) => new()
    {
        Time = n, Kind = EventKind.MacFlap, Port = (ushort)n, OtherPort = (ushort)(n + 1), Bridge = 3, Vlan = 4, Error = -5, Mac = ~n,
    };

    private bool Write(ulong n, int worker = 0) => EventRing.TryWrite(ref _segment.Events(worker), Record(n));

    private ulong? Read(int worker = 0)
    {
        if (!EventRing.TryRead(ref _segment.Events(worker), out EventRecord record))
        {
            Assert.Equal(default, record);
            return null;
        }
        Assert.Equal(Record(record.Time), record);
        return record.Time;
    }

    [Fact]
    public void A_new_ring_is_empty() => Assert.Null(Read());

    [Fact]
    public void Events_come_out_whole_and_in_order()
    {
        for (ulong n = 1; n <= 5; n++)
        {
            Assert.True(Write(n));
        }
        Assert.Equal([1ul, 2, 3, 4, 5, null], Enumerable.Range(0, 6).Select(_ => Read()));
    }

    [Fact]
    public void A_full_ring_refuses_and_keeps_what_it_has()
    {
        for (ulong n = 0; n < EventRing.Capacity; n++)
        {
            Assert.True(Write(n));
        }
        Assert.False(Write(1000));
        Assert.Equal(0ul, Read());
        Assert.True(Write(1001));
        Assert.False(Write(1002));
        for (ulong n = 1; n < EventRing.Capacity; n++)
        {
            Assert.Equal(n, Read());
        }
        Assert.Equal([1001ul, null], [Read(), Read()]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(EventRing.Capacity - 1)]
    [InlineData(EventRing.Capacity)]
    public void It_goes_round_and_round(int atOnce)
    {
        ulong written = 0, read = 0;
        while (read < 4 * EventRing.Capacity)
        {
            for (int i = 0; i < atOnce; i++)
            {
                Assert.True(Write(written++));
            }
            for (int i = 0; i < atOnce; i++)
            {
                Assert.Equal(read++, Read());
            }
            Assert.Null(Read());
        }
    }

    [Fact]
    public void Each_worker_has_its_own()
    {
        Write(1, worker: 0);
        Write(2, worker: 1);
        Assert.Equal([2ul, null, 1ul, null], [Read(1), Read(1), Read(0), Read(0)]);
    }

    [Fact]
    public void One_thread_writes_while_another_reads()
    {
        const ulong Count = 200_000;
        var writer = new Thread(() =>
        {
            for (ulong n = 0; n < Count;)
            {
                if (Write(n))
                {
                    n++;
                }
                else
                {
                    Thread.Yield();
                }
            }
        });
        writer.Start();
        ulong next = 0;
        long end = Environment.TickCount64 + 60_000;
        while (next < Count && Environment.TickCount64 < end)
        {
            if (Read() is { } n) // and none is torn: each field follows from the number
            {
                if (n != next)
                {
                    break;
                }
                next++;
            }
            else
            {
                Thread.Yield();
            }
        }
        // A writer that waits for room would wait for ever.
        while (writer.IsAlive && Environment.TickCount64 < end)
        {
            Read();
        }
        Assert.Equal(Count, next);
    }
}
