using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>What an overlay is for, whoever is on the other side of it. Each kind of other side is a class of its own.</summary>
public abstract class OverlayTests(OverlayPair pair) : IDisposable
{
    protected OverlayPair Pair { get; } = pair;

    /// <summary>A gigabyte, and where what differs from another class has nothing to do with it, less.</summary>
    protected virtual long StreamBytes => 1L << 30;

    private Station Here => Pair.Here;
    private Station There => Pair.There;

    [Fact]
    public void ContainersReachEachOther()
    {
        foreach (int size in new[] { 64, Pair.Mtu, 4000 /* in fragments */ })
        {
            Ping.Reaches(Here, There.Address, size);
            Ping.Reaches(There, Here.Address, size);
        }
    }

    [Fact]
    public void ContainersReachEachOtherByIPv6()
    {
        foreach (int size in new[] { 64, Pair.Mtu, 4000 })
        {
            Ping.Reaches(Here, Pair.ThereByIPv6.Address, size);
            Ping.Reaches(There, Pair.HereByIPv6.Address, size);
        }
    }

    [Fact]
    public void AStreamArrivesAsItWasSent() => new Conversation(Here, There).StreamTcp(StreamBytes);

    [Fact]
    public void AndTheOtherWay() => new Conversation(There, Here).StreamTcp(1L << 28);

    [Fact]
    public void AndByIPv6() => new Conversation(Pair.HereByIPv6, Pair.ThereByIPv6).StreamTcp(1L << 26);

    [Fact]
    public void DatagramsOfEverySizeArrive() => new Conversation(Here, There).EchoUdp(1, 9000);

    /// <summary>The containers' MTU is the largest that crosses in one piece, and is told to them.</summary>
    [Fact]
    public void TheLargestPacketCrossesWhole()
    {
        foreach ((Station from, Station to) in new[] { (Here, There), (There, Here), (Pair.HereByIPv6, Pair.ThereByIPv6), (Pair.ThereByIPv6, Pair.HereByIPv6) })
        {
            Ping.Reaches(from, to.Address, Pair.Mtu, "-M", "do");
            Finished larger = Ping.Once(from, to.Address, Pair.Mtu + 1, ["-M", "do"]);
            Assert.Contains($"mtu: {Pair.Mtu}", (larger.Output + larger.Error).Replace("mtu=", "mtu: ", StringComparison.Ordinal), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void NobodyHasToSayAnythingAgainstTheOuterPackets() => OuterPackets.AreAllWell(Pair, () =>
    {
        Ping.Reaches(Here, There.Address);
        Ping.Reaches(There, Pair.HereByIPv6.Address);
        Ping.Reaches(There, Here.Address, 4000);
        new Conversation(Here, There).StreamTcp(1 << 20);
        new Conversation(There, Here).StreamTcp(1 << 20);
        new Conversation(Pair.HereByIPv6, Pair.ThereByIPv6).StreamTcp(1 << 20);
        new Conversation(Here, There).EchoUdp(1, 100);
    });

    public void Dispose()
    {
        foreach (Switch one in Pair.Switches)
        {
            Accounts.Balance(one);
        }
        GC.SuppressFinalize(this);
    }
}
