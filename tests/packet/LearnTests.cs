using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>What the bridge knows of addresses (IEEE 802.1D, 7.8 and 7.9): learn, age, move, limits, entries of the administrator.</summary>
public sealed class LearnTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void AnAddressThatMovesIsFollowedByTheNextPacket()
    {
        using TestSwitch sw = Three();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.Send(3, Of(Broadcast, B)).Outputs();
        sw.Send(1, Of(B, A));
        Assert.Equal("3", sw.Outputs());
        Assert.Equal(1ul, sw.Runtime(3).Moves);
        Assert.Equal(0, sw.Learned(2));
        Assert.Equal(1, sw.Learned(3));
    }

    [Fact]
    public void AMoveWithinABurstHoldsFromItsPacketOn()
    {
        using TestSwitch sw = Three();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        // The first two still find B on port 2; then B speaks from port 1, and what follows would go back where it came from.
        sw.Send(1, Of(B, A), Of(B, A), Of(A, B), Of(B, A));
        Assert.Equal("2 2", sw.Outputs());
        Assert.Equal(2ul, sw.Drops(1, DropReason.SamePort));
    }

    [Fact]
    public void APortThatDoesNotLearnForwardsAllTheSame()
    {
        using TestSwitch sw = Three();
        sw.Flags(2, clear: PortFlags.Learning);
        sw.Send(2, Of(Broadcast, B));
        Assert.Equal("1 3", sw.Outputs());
        Assert.Equal(0, sw.PortOf(B));
        Assert.Equal(0, sw.Learned(2));
    }

    [Fact]
    public void APacketThatIsDroppedForItsSourceTeachesNothing()
    {
        using TestSwitch sw = Three();
        sw.Flags(1, clear: PortFlags.Enabled);
        sw.Send(1, Of(B, A));
        Assert.Equal(0, sw.PortOf(A));
        Assert.Empty(sw.Macs.List());
    }

    [Theory]
    // ageing  last seen after  looked at after  known
    [InlineData(30, 0, 29.999, true)]
    [InlineData(30, 0, 30.0, false)]
    [InlineData(30, 29, 30.0, true)]
    [InlineData(30, 29, 58.9, true)]
    [InlineData(30, 29, 59.0, false)]
    [InlineData(1, 0, 0.9, true)]
    [InlineData(1, 0, 1.0, false)]
    [InlineData(300, 0, 299.0, true)]
    [InlineData(300, 0, 300.0, false)]
    [InlineData(0, 0, 1e9, true)]
    public void AddressesAgeByTheBridgesTime(uint ageing, double lastSeen, double lookedAt, bool known)
    {
        using TestSwitch sw = new TestSwitch(bridge: b => b with { AgeingSeconds = ageing }).Port(1).Port(2).Port(3);
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.Clock.Advance(TimeSpan.FromSeconds(lastSeen));
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.Age(TimeSpan.FromSeconds(lookedAt - lastSeen));
        Assert.Equal(known ? 2 : 0, sw.PortOf(B));
        Assert.Equal(known ? 1 : 0, sw.Learned(2));
        Assert.Equal(known ? 1 : 0, sw.BridgeRuntime.Learned);
        Assert.Equal(known ? 0ul : 1ul, sw.BridgeRuntime.Aged);
        sw.Send(1, Of(B, A));
        Assert.Equal(known ? "2" : "2 3", sw.Outputs());
    }

    [Fact]
    public void EachBridgeHasItsOwnAgeing()
    {
        using TestSwitch sw = Three();
        sw.Writer.Begin();
        sw.Writer.SetBridge(2, new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = 2, AgeingSeconds = 10 });
        sw.Writer.SetPort(3, sw.Writer.Port(3) with { Bridge = 2 });
        sw.Writer.Commit();
        sw.Send(2, Of(Broadcast, B)).Send(3, Of(Broadcast, B)).Outputs();
        Assert.Equal(2, sw.Macs.List().Count);
        sw.Age(10 * Second);
        MacEntry left = Assert.Single(sw.Macs.List());
        Assert.Equal((1, 2), (left.Fid, left.Port));
    }

    [Fact]
    public void AddressesOfANetworkThatIsGoneAgeTooWhenNobodyRemovesThem()
    {
        using TestSwitch sw = new TestSwitch(bridge: b => b with { AgeingSeconds = 0 }).Port(1).Port(2);
        sw.Send(1, Of(Broadcast, A));
        sw.Drain(2);
        BridgeRecord bridge = sw.Writer.Bridge(TestSwitch.Bridge);
        sw.SetBridge(default); // the writer dies before it removes what was learned
        sw.Age(TimeSpan.Zero);

        sw.Age(9 * Second);
        Assert.Single(sw.Macs.List());
        sw.Age(2 * Second);
        Assert.Empty(sw.Macs.List());
        Assert.Equal(0, sw.Learned(1));
        sw.SetBridge(bridge);
    }

    [Fact]
    public void AnAddressThatAgedIsLearnedAgain()
    {
        using TestSwitch sw = Three();
        for (int i = 0; i < 3; i++)
        {
            sw.Send(2, Of(Broadcast, B));
            Assert.Equal(2, sw.PortOf(B));
            sw.Age(300 * Second);
            Assert.Empty(sw.Macs.List());
        }
        Assert.Equal(3ul, sw.BridgeRuntime.Aged);
        Assert.Equal(0, sw.BridgeRuntime.Learned);
    }

    [Fact]
    public void AStaticAddressStaysWhereItIs()
    {
        using TestSwitch sw = Three();
        sw.SetStatic(B, 3);
        sw.Age(10_000 * Second);
        sw.Send(2, Of(A, B));
        Assert.Equal("", sw.Outputs());
        Assert.Equal(1ul, sw.Drops(2, DropReason.SourceStatic));
        sw.Send(3, Of(Broadcast, B));
        Assert.Equal("1 2", sw.Outputs());
        sw.Send(1, Of(B, A));
        Assert.Equal("3", sw.Outputs());
        Assert.Equal((0, 0), (sw.Learned(2), sw.Learned(3)));
    }

    [Fact]
    public void AStaticEntryTakesTheLearnedOnesPlaceAndGivesItBack()
    {
        using TestSwitch sw = Three();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        Assert.Equal((1, 1), (sw.Learned(2), sw.BridgeRuntime.Learned));
        sw.SetStatic(B, 3);
        Assert.Equal((0, 0), (sw.Learned(2), sw.BridgeRuntime.Learned));
        Assert.Equal(3, sw.PortOf(B));
        Assert.Single(sw.Macs.List());
        Assert.True(sw.Remove(B));
        Assert.False(sw.Remove(B));
        Assert.Empty(sw.Macs.List());
        sw.Send(1, Of(B, A));
        Assert.Equal("2 3", sw.Outputs());
        sw.Send(2, Of(A, B));
        Assert.Equal("1", sw.Outputs());
        Assert.Equal((2, 1), (sw.PortOf(B), sw.Learned(2)));
        Assert.Equal(2, sw.BridgeRuntime.Learned);
    }

    [Theory]
    [InlineData(MacFlags.Drop)]
    [InlineData(MacFlags.Drop | MacFlags.Static)]
    public void ADropEntrySwallowsPacketsToAndFromTheAddress(MacFlags flags)
    {
        using TestSwitch sw = Three();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.SetStatic(B, 0, flags);
        sw.Send(1, Of(B, A)).Send(2, Of(A, B)).Send(3, Of(Broadcast, B));
        Assert.Equal("", sw.Outputs());
        Assert.Equal("1 BlackHole 1, 2 BlackHole 1, 3 BlackHole 1", sw.Drops());
        Assert.True(sw.Remove(B));
        sw.Send(2, Of(Broadcast, B));
        Assert.Equal("1 3", sw.Outputs());
    }

    [Fact]
    public void ACountThatIsBelowZeroForAMomentIsNoLimit()
    {
        // An entry that is removed between being made and being counted.
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 2 });
        sw.Runtime(1).Learned = -1;
        sw.BridgeRuntime.Learned = -1;
        sw.SetBridge(sw.Writer.Bridge(TestSwitch.Bridge) with { LearnLimit = 2 });
        sw.Send(1, Of(Broadcast, Mac(1)));
        Assert.Equal((1, 0, 0), (sw.PortOf(Mac(1)), sw.Learned(1), sw.BridgeRuntime.Learned));
        Assert.Equal(0ul, sw.Runtime(1).LearnLimited);
    }

    [Fact]
    public void APortLearnsNoMoreThanItMay()
    {
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 2 });
        sw.Send(1, Of(Broadcast, Mac(1)), Of(Broadcast, Mac(2)), Of(Broadcast, Mac(3)), Of(Broadcast, Mac(1)));
        Assert.Equal("2 2 2 2 3 3 3 3", sw.Outputs());
        Assert.Equal((1, 1, 0), (sw.PortOf(Mac(1)), sw.PortOf(Mac(2)), sw.PortOf(Mac(3))));
        Assert.Equal((2, 1ul), (sw.Learned(1), sw.Runtime(1).LearnLimited));
        EventRecord told = Assert.Single(sw.Events());
        Assert.Equal((EventKind.LearnLimit, 1, Mac(3)), (told.Kind, told.Port, new MacAddress(told.Mac).ToString()));

        // Another port is free to learn the address, and when one is forgotten there is room again.
        sw.Send(2, Of(Broadcast, Mac(3)));
        Assert.Equal(2, sw.PortOf(Mac(3)));
        sw.Age(299 * Second);
        sw.Send(1, Of(Broadcast, Mac(2)));
        sw.Age(1 * Second);
        sw.Send(1, Of(Broadcast, Mac(4)));
        Assert.Equal((0, 1, 1), (sw.PortOf(Mac(1)), sw.PortOf(Mac(2)), sw.PortOf(Mac(4))));
    }

    [Fact]
    public void AMoveDoesNotGetRoundAPortsLimit()
    {
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 1 });
        sw.Send(2, Of(Broadcast, B)).Send(1, Of(Broadcast, A)).Outputs();
        sw.Send(1, Of(Broadcast, B));
        Assert.Equal("2 3", sw.Outputs());
        Assert.Equal(2, sw.PortOf(B));
        Assert.Equal((1, 1), (sw.Learned(1), sw.Learned(2)));
        // What leaves makes room.
        sw.Send(3, Of(Broadcast, A)).Send(1, Of(Broadcast, B));
        Assert.Equal((3, 1), (sw.PortOf(A), sw.PortOf(B)));
        Assert.Equal((1, 0, 1), (sw.Learned(1), sw.Learned(2), sw.Learned(3)));
    }

    [Fact]
    public void ABridgeLearnsNoMoreThanItMay()
    {
        using TestSwitch sw = new TestSwitch(bridge: b => b with { LearnLimit = 2 }).Port(1).Port(2).Port(3);
        sw.Send(1, Of(Broadcast, Mac(1))).Send(2, Of(Broadcast, Mac(2))).Send(3, Of(Broadcast, Mac(3))).Outputs();
        Assert.Equal((1, 2, 0), (sw.PortOf(Mac(1)), sw.PortOf(Mac(2)), sw.PortOf(Mac(3))));
        Assert.Equal((2, 1ul), (sw.BridgeRuntime.Learned, sw.BridgeRuntime.LearnLimited));
        Assert.Equal(EventKind.LearnLimit, Assert.Single(sw.Events()).Kind);
        // A known address may move: the bridge knows no more than before.
        sw.Send(3, Of(Broadcast, Mac(1)));
        Assert.Equal(3, sw.PortOf(Mac(1)));
        Assert.Equal(2, sw.BridgeRuntime.Learned);
        sw.Send(3, Of(Mac(3), Mac(1)));
        Assert.Equal(1ul, sw.BridgeRuntime.LearnLimited);
    }

    [Fact]
    public void AFullTableIsCountedAndPacketsAreFlooded()
    {
        using TestSwitch sw = new TestSwitch(options: new SegmentOptions { MacCapacity = 16, MaxPorts = 64, MaxWorkers = 1 }).Port(1).Port(2).Port(3);
        const int Addresses = 500;
        for (int i = 0; i < Addresses; i++)
        {
            sw.Send(1, Of(Broadcast, Mac(i)));
            sw.Outputs();
        }
        Assert.NotEqual(0ul, sw.Runtime(1).TableFull);
        Assert.Equal(Addresses, sw.Learned(1) + (int)sw.Runtime(1).TableFull);
        Assert.Equal(sw.Learned(1), sw.Macs.List().Count);
        sw.Send(2, Of(Mac(Addresses - 1), B));
        Assert.Equal(sw.PortOf(Mac(Addresses - 1)) == 0 ? "1 3" : "1", sw.Outputs());
        // All of it ages, and then there is room again.
        sw.Age(300 * Second);
        Assert.Empty(sw.Macs.List());
        sw.Send(1, Of(Broadcast, Mac(Addresses)));
        Assert.Equal(1, sw.PortOf(Mac(Addresses)));
    }

    [Theory]
    // moves, milliseconds between them, flaps
    [InlineData(MacTable.FlapThreshold - 1, 0, 0)]
    [InlineData(MacTable.FlapThreshold, 0, 1)]
    [InlineData(MacTable.FlapThreshold + 1, 0, 2)]
    [InlineData(MacTable.FlapThreshold, 1000, 1)]
    [InlineData(MacTable.FlapThreshold, 2000, 0)]
    [InlineData(100, 2000, 0)]
    [InlineData(30, 0, 26)]
    public void AnAddressThatMovesToAndFroIsReported(int moves, int milliseconds, int flaps)
    {
        using TestSwitch sw = Three();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        for (int i = 0; i < moves; i++)
        {
            sw.Send(i % 2 == 0 ? 3 : 2, Of(Broadcast, B)).Outputs();
            sw.Clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
        }
        Assert.Equal((ulong)moves, sw.Runtime(2).Moves + sw.Runtime(3).Moves);
        Assert.Equal((ulong)flaps, sw.Runtime(2).Flaps + sw.Runtime(3).Flaps);
        List<EventRecord> events = sw.Events();
        Assert.Equal(flaps, events.Count);
        foreach (EventRecord told in events)
        {
            Assert.Equal((EventKind.MacFlap, TestSwitch.Bridge, B), (told.Kind, told.Bridge, new MacAddress(told.Mac).ToString()));
            Assert.Equal(5, told.Port + told.OtherPort);
        }
        Assert.Equal(1, sw.Learned(2) + sw.Learned(3));
    }

    [Fact]
    public void MovesOfLongAgoAreNoFlapping()
    {
        using TestSwitch sw = new TestSwitch(bridge: b => b with { AgeingSeconds = 0 }).Port(1).Port(2).Port(3);
        sw.Send(2, Of(Broadcast, B)).Outputs();
        // Whatever the distance: the count of a window must not come back when its number does.
        for (int i = 0; i < 600; i++)
        {
            for (int move = 0; move < MacTable.FlapThreshold - 1; move++)
            {
                sw.Send(i % 2 == move % 2 ? 3 : 2, Of(Broadcast, B)).Outputs();
            }
            sw.Clock.Advance(i % 3 == 0 ? 128 * Second : TimeSpan.FromSeconds(i * 8));
            sw.Send(sw.PortOf(B), Of(Broadcast, B)).Outputs();
            sw.Clock.Advance(8 * Second);
        }
        Assert.Equal(0ul, sw.Runtime(2).Flaps + sw.Runtime(3).Flaps);
    }

    [Fact]
    public void EventsAboutAddressesAreBoundedAndTheRestIsCounted()
    {
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 1 });
        sw.Send(1, Of(Broadcast, A));
        for (int second = 0; second < 2; second++)
        {
            for (int i = 0; i < 100; i++)
            {
                sw.Send(1, Of(Broadcast, Mac(i))).Outputs();
            }
            sw.Clock.Advance(Second);
        }
        Assert.Equal(2 * Workers.Worker.EventsPerSecond, sw.Events().Count);
        Assert.Equal(200ul - (2 * Workers.Worker.EventsPerSecond), Lost(sw));
    }

    /// <summary>A port beyond its limit, which can tell that many times a second, does not drown a loop elsewhere.</summary>
    [Fact]
    public void EventsOfOneKindDoNotHideThoseOfAnother()
    {
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 1 });
        sw.Send(1, Of(Broadcast, A));
        for (int i = 0; i < 100; i++)
        {
            sw.Send(1, Of(Broadcast, Mac(i))).Outputs();
        }
        for (int move = 0; move <= MacTable.FlapThreshold; move++)
        {
            sw.Send(2 + (move % 2), Of(Broadcast, B)).Outputs();
        }
        Assert.Equal(1, sw.Events().Count(e => e.Kind == EventKind.MacFlap));
    }

    [Fact]
    public void ARingThatNobodyReadsLosesEventsAndCountsThem()
    {
        using TestSwitch sw = Three();
        sw.Change(1, record => record with { LearnLimit = 1 });
        sw.Send(1, Of(Broadcast, A));
        for (int i = 0; i < 1000; i++)
        {
            sw.Send(1, Of(Broadcast, Mac(i))).Outputs();
            sw.Clock.Advance(Second);
        }
        Assert.Equal(1000ul - EventRing.Capacity, Lost(sw));
        List<EventRecord> events = sw.Events();
        Assert.Equal(EventRing.Capacity, events.Count);
        Assert.True(events.Zip(events.Skip(1)).All(pair => pair.First.Time < pair.Second.Time));
    }

    private static TestSwitch Three() => new TestSwitch().Port(1).Port(2).Port(3);

    private static unsafe ulong Lost(TestSwitch sw) => sw.Segment.Workers[0].EventsLost;
}
