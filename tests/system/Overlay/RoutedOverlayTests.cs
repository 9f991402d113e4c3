using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>An overlay in flannel's way: each node has a subnet of its own, and routes to those of the others.</summary>
public abstract class RoutedPair(bool ipv6Underlay) : OverlayPair
{
    public bool IPv6Underlay { get; } = ipv6Underlay;

    /// <summary>The first node.</summary>
    public Overlay Ours { get; protected set; } = null!;
    public override Station Here => Ours.Container;
    public override int Mtu => IPv6Underlay ? 1430 : 1450;
    public override uint Vni => Overlay.Vni;
    public override int UdpPort => Overlay.UdpPort;
    public override (string Here, string There) EndPoints => (Ours.EndPoint(1), Ours.EndPoint(2));

    protected override string IPv6Of(Station station) => Overlay.IPv6Of(station);
}

/// <summary>What a routed overlay is for besides.</summary>
public abstract class RoutedOverlayTests(RoutedPair pair) : OverlayTests(pair)
{
    [Fact]
    public void TheHostReachesContainersHereAndThereAndIsReached()
    {
        Station host = pair.Ours.Host;
        Ping.Reaches(host, pair.Here.Address);
        Ping.Reaches(host, pair.There.Address);
        Ping.Reaches(pair.There, host.Address);
        Ping.Reaches(pair.Here, host.Address);
    }

    /// <summary>A packet too large for the way is answered with the size that fits.</summary>
    [Fact]
    public void ThePathMtuIsFound() => pair.Ours.WithPodMtu(1500, () =>
    {
        foreach (Station to in new[] { pair.There, pair.ThereByIPv6 })
        {
            Finished tooLarge = Ping.Once(pair.Here, to.Address, 1500, ["-M", "do"]);
            Assert.Contains($"mtu={pair.Mtu}", (tooLarge.Output + tooLarge.Error).Replace(" = ", "=", StringComparison.Ordinal).Replace("mtu: ", "mtu=", StringComparison.Ordinal), StringComparison.Ordinal);
            Ping.Reaches(pair.Here, to.Address, pair.Mtu, "-M", "do");
        }
        // And TCP finds it by itself.
        new Conversation(pair.Here, pair.There).StreamTcp(1 << 24);
    });
}
