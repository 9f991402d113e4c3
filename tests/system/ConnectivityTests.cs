using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Three containers and the host on one network, with default settings.</summary>
public sealed class ConnectivityNetwork
{
    public ConnectivityNetwork(SharedSwitch shared)
    {
        Lan = new Lan(shared.Switch, "talk", 11);
        Lan.AddHost();
        Lan.AddContainers("", "a", "b", "c");
    }

    public Lan Lan { get; }
}

/// <summary>Who should be able to talk can, with every size and protocol.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class ConnectivityTests(ConnectivityNetwork network) : IClassFixture<ConnectivityNetwork>, IDisposable
{
    private readonly Lan _lan = network.Lan;

    [Theory]
    [InlineData(64)]
    [InlineData(1500)]
    [InlineData(8000)] // in fragments
    public void EveryoneReachesEveryone(int size) => ForEachPair((from, to) => Ping.Reaches(from, to.Address, size));

    [Fact]
    public void EveryoneReachesEveryoneByIPv6()
    {
        Dictionary<Station, string> addresses = _lan.Stations.ToDictionary(s => s, s => s.LinkLocal());
        ForEachPair((from, to) =>
        {
            Ping.Reaches(from, $"{addresses[to]}%{from.Device}");
            Ping.Reaches(from, $"{addresses[to]}%{from.Device}", 8000);
        });
    }

    [Fact]
    public void ArpIsAnswered() =>
        ForEachPair((from, to) => Assert.Contains(to.Mac, from.Namespace.Do("arping", "-c", "1", "-w", "5", "-I", from.Device, to.Address), StringComparison.OrdinalIgnoreCase));

    /// <summary>The kernel hands over segments of up to 64 KiB; cut in pieces they would cost many times as much.</summary>
    [Fact]
    public void TcpSegmentsStayLargeBetweenTaps()
    {
        PortCounters before = _lan.Api.Counters(_lan["a"].Port), sentBefore = _lan.Api.Counters(_lan["b"].Port);
        Assert.True(Iperf.Send(_lan["a"], _lan["b"], "-n", "64M") > 0);
        PortCounters after = _lan.Api.Counters(_lan["a"].Port), sentAfter = _lan.Api.Counters(_lan["b"].Port);

        // On average larger than the MTU, as seen where they come in and where they go out.
        Assert.InRange((after.RxBytes - before.RxBytes) / (after.RxPackets - before.RxPackets), 2000ul, 65_550ul);
        Assert.InRange((sentAfter.TxBytes - sentBefore.TxBytes) / (sentAfter.TxPackets - sentBefore.TxPackets), 2000ul, 65_550ul);
        Assert.Equal(0ul, sentAfter.SoftwareSegmented);
        Assert.Equal(0ul, sentAfter.SoftwareChecksums);
    }

    [Fact]
    public void TcpWorksBothWaysWithTheHost()
    {
        Assert.True(Iperf.Send(_lan["host"], _lan["a"], "-n", "8M") > 0);
        Assert.True(Iperf.Send(_lan["a"], _lan["host"], "-n", "8M") > 0);
    }

    [Fact]
    public void UdpWorks() => Assert.True(Iperf.Send(_lan["b"], _lan["c"], "-u", "-b", "20M", "-n", "1M") > 0);

    [Fact]
    public void TheMtuIsThatOfTheNetwork()
    {
        Ping.Reaches(_lan["a"], _lan["b"].Address, 1500, "-M", "do");
        Finished tooLarge = Ping.Once(_lan["a"], _lan["b"].Address, 1501, ["-M", "do"]);
        Assert.True(tooLarge.ExitCode == 1 && tooLarge.ToString().Contains("mtu=1500", StringComparison.Ordinal), tooLarge.ToString());
    }

    [Fact]
    public void JumboFramesPassWhereTheyFitAndAreCountedWhereTheyDoNot()
    {
        var jumbo = new Lan(_lan.Switch, "jumbo", 12, "mtu: 9000");
        jumbo.AddContainers("", "a", "b");
        jumbo.AddContainers("mtu: 1500", "small");
        Ping.Reaches(jumbo["a"], jumbo["b"].Address, 8000, "-M", "do");
        Ping.Reaches(jumbo["a"], jumbo["small"].Address, 1500, "-M", "do");

        Ping.DoesNotReach(jumbo["a"], jumbo["small"].Address, 8000, "-M", "do");
        Assert.Equal(3ul, jumbo.Api.Drops(jumbo["small"].Port, "egress-mtu"));
    }

    public void Dispose() => Accounts.Balance(_lan.Switch);

    private void ForEachPair(Action<Station, Station> action)
    {
        foreach (Station from in _lan.Stations)
        {
            foreach (Station to in _lan.Stations.Where(s => s != from))
            {
                action(from, to);
            }
        }
    }
}
