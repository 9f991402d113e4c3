using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The host, a container anyone may reach, and two that may not see each other.</summary>
public sealed class IsolationNetwork
{
    public IsolationNetwork(SharedSwitch shared)
    {
        Lan = new Lan(shared.Switch, "iso", 21);
        Lan.AddHost();
        Lan.AddContainers("", "open");
        Lan.AddContainers("isolated: true", "a", "b");
    }

    public Lan Lan { get; }
}

/// <summary>Isolated ports share a network and a gateway, and know nothing of each other.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class IsolationTests(IsolationNetwork network) : IClassFixture<IsolationNetwork>, IDisposable
{
    private readonly Lan _lan = network.Lan;

    [Theory]
    [InlineData("a", "host", true)]
    [InlineData("host", "a", true)]
    [InlineData("b", "host", true)]
    [InlineData("a", "open", true)]
    [InlineData("open", "b", true)]
    [InlineData("a", "b", false)]
    [InlineData("b", "a", false)]
    public void WhoReachesWhom(string from, string to, bool reaches)
    {
        if (reaches)
        {
            Ping.Reaches(_lan[from], _lan[to].Address);
        }
        else
        {
            Ping.DoesNotReach(_lan[from], _lan[to].Address);
        }
    }

    /// <summary>Knowing the neighbour's address without asking for it does not help.</summary>
    [Fact]
    public void AKnownAddressIsNoWayAround()
    {
        Station a = _lan["a"], b = _lan["b"];
        Ping.Reaches(b, _lan["host"].Address);
        ulong before = _lan.Api.Drops(a.Port, "isolated");
        a.Namespace.Do("ip", "neighbour", "replace", b.Address, "lladdr", b.Mac, "dev", a.Device);
        try
        {
            Ping.DoesNotReach(a, b.Address);
            // More than these three when pings of an earlier test waited for the neighbour's address.
            Until.True(() => _lan.Api.Drops(a.Port, "isolated") >= before + 3, "three pings are dropped as isolated");
        }
        finally
        {
            a.Namespace.Do("ip", "neighbour", "delete", b.Address, "dev", a.Device);
        }
    }

    /// <summary>Broadcast, multicast, unknown and known addresses: the neighbour's device is silent while the host hears all but its own.</summary>
    [Fact]
    public void NoFrameLeaks()
    {
        Station a = _lan["a"], b = _lan["b"], host = _lan["host"], open = _lan["open"];
        Ping.Reaches(b, host.Address);
        using Recording atB = b.Record(), atHost = host.Record();
        using RawSocket fromA = a.OpenRaw(), fromOpen = open.OpenRaw();

        fromA.Send(Frame.Of(Frame.Broadcast, a.Mac, 1));
        fromA.Send(Frame.Of("01:00:5e:00:00:fb", a.Mac, 2));
        fromA.Send(Frame.Of("02:00:00:00:00:77", a.Mac, 3));
        fromA.Send(Frame.Of(b.Mac, a.Mac, 4));
        fromA.Send(Frame.Of(Frame.Broadcast, a.Mac, 5));
        atHost.WaitFor(Frame.Of(Frame.Broadcast, a.Mac, 5));
        // A worker does things in order: what was to reach b has reached it before this does.
        fromOpen.Send(Frame.Of(Frame.Broadcast, open.Mac, 6));
        atB.WaitFor(Frame.Of(Frame.Broadcast, open.Mac, 6));

        Assert.Equal([1, 2, 3, 5, 6], Numbers(atHost));
        Assert.Equal([6], Numbers(atB));
    }

    [Fact]
    public void IsolationCanBeTakenBackWhileTheyTalk()
    {
        var lan = new Lan(_lan.Switch, "isoset", 22);
        lan.AddContainers("isolated: true", "a", "b");
        Ping.DoesNotReach(lan["a"], lan["b"].Address);

        Change("true", "false");
        Ping.Reaches(lan["a"], lan["b"].Address);

        Change("false", "true");
        Ping.DoesNotReach(lan["a"], lan["b"].Address);

        void Change(string from, string to)
        {
            string port = lan.Switch.Do("get", "port", lan["a"].Port, "-o", "json"), was = $"\"isolated\": {from}";
            Assert.Contains(was, port, StringComparison.Ordinal);
            lan.Switch.Apply(port.Replace(was, $"\"isolated\": {to}", StringComparison.Ordinal));
        }
    }

    public void Dispose() => Accounts.Balance(_lan.Switch);

    private static uint[] Numbers(Recording capture) =>
        [.. capture.Frames.Select(f => Frame.IsOurs(f, out uint number) ? number : 0).Where(n => n != 0)];
}
