using Dataplane.Observation;
using Dataplane.Interop.Linux;
using System.Runtime.CompilerServices;

namespace Dataplane.UnitTests.Observation;

/// <summary>The ring of records: order, the turn at its end, what is lost, and a reader on another thread.</summary>
public sealed unsafe class CaptureRingTests : IDisposable
{
    private readonly SharedMemory _memory = SharedMemory.CreatePrivate((nuint)sizeof(CaptureRing), alignment: 64);

    private CaptureRing* Ring => (CaptureRing*)_memory.Pointer;

    public void Dispose() => _memory.Dispose();

    [Fact]
    public void Records_come_out_as_they_went_in_through_many_turns()
    {
        var random = new Random(1);
        var waiting = new Queue<CaptureRecord>();
        ulong written = 0, turns = 0;
        while (turns < 20)
        {
            for (int i = random.Next(40); i > 0; i--)
            {
                var record = new CaptureRecord { Time = ++written, Kind = CaptureRecordKind.Out, Port = (ushort)random.Next(100), Code = (byte)random.Next(40), A = written * 3 };
                if (CaptureRing.TryWrite(Ring, record, null))
                {
                    waiting.Enqueue(record);
                }
            }
            for (int i = random.Next(40); i > 0 && CaptureRing.Peek(Ring) is var read && read != null; i--)
            {
                CaptureRecord expected = waiting.Dequeue() with { Length = CaptureRecord.SizeInBytes };
                Assert.Equal(expected, *read);
                CaptureRing.Release(Ring, read);
            }
            turns = written * CaptureRecord.SizeInBytes / CaptureRing.DataSize;
        }
        Assert.NotEmpty(waiting);
    }

    [Fact]
    public void A_full_ring_loses_the_newest_and_counts_them_by_session()
    {
        int fit = 0;
        while (CaptureRing.TryWrite(Ring, new CaptureRecord { Kind = CaptureRecordKind.In, Sessions = 0b101 }, null))
        {
            fit++;
        }
        Assert.Equal(CaptureRing.DataSize / CaptureRecord.SizeInBytes, fit);
        Assert.False(CaptureRing.TryWrite(Ring, new CaptureRecord { Kind = CaptureRecordKind.In, Sessions = 0b100 }, null));
        Assert.Equal((1ul, 0ul, 2ul), (CaptureRing.Lost(Ring, 0), CaptureRing.Lost(Ring, 1), CaptureRing.Lost(Ring, 2)));

        CaptureRing.Reset(Ring);
        Assert.True(CaptureRing.Peek(Ring) == null);
        Assert.True(CaptureRing.TryWrite(Ring, new CaptureRecord { Kind = CaptureRecordKind.In }, null));
    }

    [Theory]
    [InlineData(0u, 0u)]
    [InlineData(40u, 0u)]
    [InlineData(52u, 0u)]
    [InlineData(1u << 20, 0u)]
    [InlineData(48u, 1u)]
    public void A_damaged_record_is_noticed(uint length, uint captured)
    {
        CaptureRing.TryWrite(Ring, new CaptureRecord { Kind = CaptureRecordKind.In }, null);
        CaptureRecord* record = CaptureRing.Peek(Ring);
        record->Length = length;
        record->Captured = captured;
        Assert.Throws<InvalidDataException>(() => { _ = CaptureRing.Peek(Ring); });
        CaptureRing.Reset(Ring);
        Assert.True(CaptureRing.Peek(Ring) == null);
    }

    [Fact]
    public void A_reader_on_another_thread_sees_whole_records_in_order()
    {
        const ulong Count = 300_000;
        var writer = new Thread(() =>
        {
            for (ulong i = 1; i <= Count;)
            {
                i += CaptureRing.TryWrite(Ring, new CaptureRecord { Time = i, A = ~i, B = i * 7, Kind = CaptureRecordKind.Drop }, null) ? 1ul : 0;
            }
        });
        writer.Start();
        for (ulong i = 1; i <= Count;)
        {
            CaptureRecord* read = CaptureRing.Peek(Ring);
            if (read == null)
            {
                Thread.Yield();
                continue;
            }
            Assert.Equal((i, ~i, i * 7), (read->Time, read->A, read->B));
            CaptureRing.Release(Ring, read);
            i++;
        }
        writer.Join();
    }

    [Fact]
    public void Lines_of_writer_and_reader_are_apart()
    {
        Assert.Equal(192 + CaptureRing.DataSize, sizeof(CaptureRing));
        Assert.Equal(CaptureRecord.SizeInBytes, Unsafe.SizeOf<CaptureRecord>());
    }
}
