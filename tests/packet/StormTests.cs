using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>The token bucket for flooded packets: its depth, its rate, what it is about, and how workers share it.</summary>
public sealed class StormTests
{
    [Theory]
    // packets per second, burst, milliseconds after the bucket was emptied, packets that pass of 1,000
    [InlineData(10, 5, 0, 0)]
    [InlineData(10, 5, 99, 0)]
    [InlineData(10, 5, 100, 1)]
    [InlineData(10, 5, 399, 3)]
    [InlineData(10, 5, 400, 4)]
    [InlineData(10, 5, 500, 5)]
    [InlineData(10, 5, 86_400_000, 5)]
    [InlineData(1, 1, 999, 0)]
    [InlineData(1, 1, 1000, 1)]
    [InlineData(100, 0, 10, 1)]
    [InlineData(100, 0, 2000, 100)]
    [InlineData(1000, 1, 1000, 1)]
    [InlineData(uint.MaxValue, 7, 0, 0)]
    [InlineData(uint.MaxValue, 7, 1, 7)]
    [InlineData(1, 500, 86_400_000, 500)]
    public void ABucketRefillsByTheClock(uint rate, uint burst, int milliseconds, int passes)
    {
        using TestSwitch sw = Two(rate, burst);
        uint depth = burst == 0 ? rate : burst;
        Assert.Equal((int)depth, Passes(sw, 1000));
        sw.Clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
        Assert.Equal(passes, Passes(sw, 1000));
        Assert.Equal(2000ul - depth - (ulong)passes, sw.Drops(1, DropReason.StormControl));
    }

    [Fact]
    public void PartsOfATokenAreKept()
    {
        using TestSwitch sw = Two(rate: 3, burst: 1);
        Assert.Equal(1, Passes(sw, 1));
        int passed = 0;
        for (int i = 0; i < 1000; i++)
        {
            sw.Clock.Advance(TimeSpan.FromMilliseconds(7));
            passed += Passes(sw, 1);
        }
        // 7 s at 3 per second; a bucket one deep loses what comes while it is full.
        Assert.InRange(passed, 20, 21);
    }

    [Theory]
    [InlineData(Broadcast)]
    [InlineData("01:00:5e:00:00:fb")]
    [InlineData(C)]
    public void WhateverIsFloodedTakesAToken(string destination)
    {
        using TestSwitch sw = Two(rate: 1, burst: 3);
        sw.Send(1, [.. Enumerable.Repeat(Of(destination, A), 10)]);
        Assert.Equal(3, sw.Drain(2));
    }

    [Fact]
    public void KnownDestinationsAndOtherPortsAreNotConcerned()
    {
        using TestSwitch sw = Two(rate: 1, burst: 1);
        sw.Send(2, Of(Broadcast, B)).Outputs();
        Assert.Equal(1, Passes(sw, 10));
        sw.Send(1, [.. Enumerable.Repeat(Of(B, A), 100)]);
        Assert.Equal(100, sw.Drain(2));
        sw.Send(2, [.. Enumerable.Repeat(Of(Broadcast, B), 100)]);
        Assert.Equal(100, sw.Drain(1));
    }

    [Fact]
    public void AnotherRateHoldsFromItsCommitOn()
    {
        using TestSwitch sw = Two(rate: 1, burst: 10);
        Assert.Equal(10, Passes(sw, 100));
        sw.Change(1, record => record with { StormRate = 1000, StormBurst = 100 });
        sw.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(100, Passes(sw, 200));
        sw.Change(1, record => record with { StormRate = 0 });
        Assert.Equal(200, Passes(sw, 200));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void APortWithOneQueueHasItsWholeRate(int workers)
    {
        using TestSwitch sw = Two(rate: 100, burst: 100, workers);
        Assert.Equal(100, Passes(sw, 500));
        sw.Clock.Advance(TimeSpan.FromMilliseconds(500));
        Assert.Equal(50, Passes(sw, 500));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void AQueuePerWorkerSharesTheRate(int workers)
    {
        using TestSwitch sw = new TestSwitch(workers).Port(2);
        sw.Tap(1, out TapWire wire, change: record => record with { StormRate = 100, StormBurst = 100 });
        Assert.Equal(100, Flood());
        sw.Clock.Advance(TimeSpan.FromMilliseconds(500));
        // Tokens are whole: each worker may keep a part of one.
        Assert.InRange(Flood(), 50 - workers, 50);
        wire.Dispose();

        int Flood()
        {
            for (int i = 0; i < 400; i++)
            {
                Assert.True(wire.Send(Of(Broadcast, A), queue: i % workers));
                sw.Poll();
            }
            return sw.Drain(2);
        }
    }

    private static TestSwitch Two(uint rate, uint burst, int workers = 1) => new TestSwitch(workers)
        .Port(1, change: record => record with { StormRate = rate, StormBurst = burst }).Port(2);

    /// <summary>How many of so many broadcasts from port 1 come out of port 2.</summary>
    internal static int Passes(TestSwitch sw, int offered)
    {
        byte[] frame = Of(Broadcast, A);
        int passed = 0;
        for (int left = offered; left > 0; left -= 500)
        {
            sw.Send(1, [.. Enumerable.Repeat(frame, Math.Min(left, 500))]);
            passed += sw.Drain(2);
        }
        return passed;
    }
}
