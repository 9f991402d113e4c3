using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.StormTests;

namespace Dataplane.PacketTests;

/// <summary>The policer: depth and rate of both buckets, debts, segments, what it is about, and how workers share it.</summary>
public sealed class PolicerTests
{
    /// <summary>Bytes of the frames that are sent.</summary>
    private const int Length = 60;

    [Theory]
    // packets per second, burst, milliseconds after the bucket was emptied, packets that pass of 1,000
    [InlineData(10, 5, 99, 0)]
    [InlineData(10, 5, 100, 1)]
    [InlineData(10, 5, 399, 3)]
    [InlineData(10, 5, 500, 5)]
    [InlineData(10, 5, 86_400_000, 5)]
    [InlineData(1, 1, 1000, 1)]
    [InlineData(100_000_000, 7, 0, 0)]
    [InlineData(100_000_000, 7, 1, 7)]
    public void PacketsRefillByTheClock(uint rate, uint burst, int milliseconds, int passes)
    {
        using TestSwitch sw = Two(packets: rate, packetBurst: burst);
        Assert.Equal((int)burst, Passes(sw, 1000));
        sw.Clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
        Assert.Equal(passes, Passes(sw, 1000));
        Assert.Equal(2000ul - burst - (ulong)passes, sw.Drops(1, DropReason.RateLimit));
    }

    [Theory]
    // bytes per second, burst in bytes, packets that pass at once, milliseconds, packets that pass then
    [InlineData(600ul, 600u, 10, 99, 0)]
    [InlineData(600ul, 600u, 10, 100, 1)]
    [InlineData(600ul, 659u, 10, 100, 1)]
    [InlineData(6000ul, 600u, 10, 1000, 10)]
    [InlineData(125_000_000_000ul, 2_000_000_000u, 1000, 1000, 1000)]
    public void BytesRefillByTheClock(ulong rate, uint burst, int atOnce, int milliseconds, int passes)
    {
        using TestSwitch sw = Two(bytes: rate, byteBurst: burst);
        Assert.Equal(atOnce, Passes(sw, 1000));
        sw.Clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
        Assert.Equal(passes, Passes(sw, 1000));
    }

    [Fact]
    public void BothBucketsMustHoldEnough()
    {
        using TestSwitch sw = Two(packets: 10, packetBurst: 8, bytes: 600, byteBurst: 5 * Length);
        Assert.Equal(5, Passes(sw, 100));
        // Of the packets' bucket three are left: what was dropped took nothing.
        sw.Change(1, record => record with { PoliceBytes = 0 });
        Assert.Equal(3, Passes(sw, 100));
    }

    [Fact]
    public void APacketLargerThanTheBurstPassesAtTheRateAllTheSame()
    {
        // Two packets a second; the bucket is full with a sixth of one.
        using TestSwitch sw = Two(bytes: 2 * Length, byteBurst: Length / 6);
        int passed = 0;
        for (int i = 0; i < 1000; i++)
        {
            passed += Passes(sw, 1);
            sw.Clock.Advance(TimeSpan.FromMilliseconds(10));
        }
        Assert.InRange(passed, 20, 21);
    }

    [Theory]
    // 4,500 bytes of payload in segments of 1,000: 5 frames, of 4,500 + 5 * 54 bytes together
    [InlineData(10, 0, 2)]
    [InlineData(9, 0, 1)]
    [InlineData(0, 2 * 4770, 2)]
    [InlineData(0, (2 * 4770) - 1, 1)]
    public void ASegmentCountsAsTheFramesThatItBecomes(uint packetBurst, uint byteBurst, int passes)
    {
        using TestSwitch sw = Two(packetBurst > 0 ? 1u : 0, packetBurst, byteBurst > 0 ? 1u : 0, byteBurst);
        for (int i = 0; i < 3; i++)
        {
            sw.Send(1, Inet.Tcp(payload: 4500, mss: 1000));
        }
        Assert.Equal(3ul - (ulong)passes, sw.Drops(1, DropReason.RateLimit));
        sw.Drain(2);
    }

    [Fact]
    public void OtherPortsAreNotConcernedAndDropsTeachNothing()
    {
        using TestSwitch sw = Two(packets: 1, packetBurst: 1);
        Assert.Equal(1, Passes(sw, 10));
        sw.Send(1, Of(Broadcast, C));
        Assert.Equal(1, sw.Learned(1));
        sw.Send(2, [.. Enumerable.Repeat(Of(Broadcast, B), 100)]);
        Assert.Equal(100, sw.Drain(1));
    }

    [Fact]
    public void AnotherRateHoldsFromItsCommitOn()
    {
        using TestSwitch sw = Two(packets: 1, packetBurst: 100);
        Assert.Equal(100, Passes(sw, 200));
        sw.Clock.Advance(TimeSpan.FromSeconds(50));
        sw.Change(1, record => record with { PolicePacketBurst = 10 });
        Assert.Equal(10, Passes(sw, 200));
        sw.Change(1, record => record with { Flags = record.Flags & ~PortFlags.Policed });
        Assert.Equal(200, Passes(sw, 200));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void AQueuePerWorkerSharesTheRate(int workers)
    {
        using TestSwitch sw = new TestSwitch(workers).Port(2);
        sw.Tap(1, out TapWire wire, change: record => Policed(record, 100, 100, 0, 0));
        Assert.Equal(100, Send());
        sw.Clock.Advance(TimeSpan.FromMilliseconds(500));
        Assert.InRange(Send(), 50 - workers, 50);
        wire.Dispose();

        int Send()
        {
            for (int i = 0; i < 400; i++)
            {
                Assert.True(wire.Send(Of(Broadcast, A), queue: i % workers));
                sw.Poll();
            }
            return sw.Drain(2);
        }
    }

    private static PortRecord Policed(PortRecord record, uint packets, uint packetBurst, ulong bytes, uint byteBurst) => record with
    {
        Flags = record.Flags | PortFlags.Policed, PolicePackets = packets, PolicePacketBurst = packetBurst, PoliceBytes = bytes, PoliceByteBurst = byteBurst,
    };

    private static TestSwitch Two(uint packets = 0, uint packetBurst = 0, ulong bytes = 0, uint byteBurst = 0) => new TestSwitch()
        .Port(1, change: record => Policed(record, packets, packetBurst, bytes, byteBurst)).Port(2);
}
