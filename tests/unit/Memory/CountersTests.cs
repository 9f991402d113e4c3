using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.UnitTests.Memory;

public sealed unsafe class CountersTests
{
    /// <summary>Counters with a different number in each word.</summary>
    private static PortCounters Numbered(ulong factor)
    {
        PortCounters counters = default;
        Span<ulong> words = MemoryMarshal.Cast<PortCounters, ulong>(new Span<PortCounters>(ref counters));
        for (int i = 0; i < words.Length; i++)
        {
            words[i] = factor * (ulong)(i + 1);
        }
        return counters;
    }

    [Fact]
    public void The_sum_over_the_workers_has_every_counter()
    {
        PortCounters sum = default, one = Numbered(1), two = Numbered(1000);
        sum.Add(in one);
        sum.Add(in two);
        PortCounters expected = Numbered(1001);
        Assert.True(MemoryMarshal.AsBytes(new ReadOnlySpan<PortCounters>(ref sum)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<PortCounters>(ref expected))));
        Assert.Equal(1ul, one.RxPackets); // the other's stay
    }

    [Fact]
    public void Counters_wrap_and_do_not_throw()
    {
        var sum = new PortCounters { RxBytes = ulong.MaxValue };
        var other = new PortCounters { RxBytes = 3 };
        sum.Add(in other);
        Assert.Equal(2ul, sum.RxBytes);
    }

    [Fact]
    public void Every_reason_counts_on_its_way_in_or_out_and_not_twice()
    {
        PortCounters counters = default;
        foreach (DropReason reason in DropReasons.All)
        {
            ulong ingress = counters.IngressDrops, egress = counters.EgressDrops;
            counters.Drops[(int)reason] += 5;
            Assert.Equal(reason.IsEgress() ? (ingress, egress + 5) : (ingress + 5, egress), (counters.IngressDrops, counters.EgressDrops));
        }
        Assert.Equal(5ul * (ulong)DropReason.Count, counters.IngressDrops + counters.EgressDrops);
    }

    [Fact]
    public void A_reason_more_does_not_move_the_layout()
    {
        Assert.True(DropReason.Count <= DropReason.Limit);
        Assert.Equal(128 + (8 * (int)DropReason.Limit), sizeof(PortCounters));
        PortCounters counters = default;
        ref byte start = ref Unsafe.As<PortCounters, byte>(ref counters);
        ref byte drops = ref Unsafe.As<DropCounts, byte>(ref counters.Drops);
        Assert.Equal(128, Unsafe.ByteOffset(ref start, ref drops));
        Assert.Equal((int)DropReason.Limit * 8, Unsafe.SizeOf<DropCounts>());
    }

    [Fact]
    public void A_worker_announces_its_epoch_in_the_first_word_of_its_record()
    {
        // Whoever waits for workers reads it through a plain pointer.
        WorkerRecord record = default;
        Assert.True(Unsafe.AreSame(ref Unsafe.As<WorkerRecord, ulong>(ref record), ref record.Epoch));
        Assert.Equal(WorkerRecord.SizeInBytes, sizeof(WorkerRecord));
        // And that line is written at each poll: nothing else that a worker counts is on it.
        Assert.True(Marshal.OffsetOf<WorkerRecord>(nameof(WorkerRecord.Polls)) >= SegmentLayout.CacheLine);
    }
}
