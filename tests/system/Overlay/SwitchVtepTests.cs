using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Two switches of ours, a link between them, and two containers on each.</summary>
public class SwitchVtepNodes : RoutedPair
{
    private readonly Wire _wire;

    public SwitchVtepNodes() : this(ipv6Underlay: false)
    {
    }

    internal SwitchVtepNodes(UplinkKind uplink) : this(ipv6Underlay: false, uplink)
    {
    }

    protected SwitchVtepNodes(bool ipv6Underlay, UplinkKind uplink = UplinkKind.Netdev) : base(ipv6Underlay)
    {
        _wire = Own(new Wire());
        Switches = [Own(new Switch()), Own(new Switch())];
        Build(() =>
        {
            foreach ((Switch one, int number) in Switches.Zip([1, 2]))
            {
                _wire.Connect(one.Host, number);
                one.Start();
            }
            Ours = new Overlay(Switches[0], 1, ipv6Underlay, Mtu, uplink);
            Theirs = new Overlay(Switches[1], 2, ipv6Underlay, Mtu, uplink);
            Ours.AddPeer(Theirs.Number, Theirs.VtepMac);
            Theirs.AddPeer(Ours.Number, Ours.VtepMac);
            Stations = [Here, Ours.AddContainer("second", 3), Ours.Host, There, Theirs.AddContainer("second", 3), Theirs.Host];
        });
    }

    public Overlay Theirs { get; private set; } = null!;

    /// <summary>Both nodes' containers and hosts.</summary>
    public IReadOnlyList<Station> Stations { get; private set; } = [];

    public override Station There => Theirs.Container;
    public override IReadOnlyList<Switch> Switches { get; }
    public override (Namespace Namespace, string Device) Tap => (_wire.Namespace, Wire.End(1));
}

/// <summary>Another switch of ours as the other side.</summary>
public sealed class SwitchVtepTests(SwitchVtepNodes nodes) : RoutedOverlayTests(nodes), IClassFixture<SwitchVtepNodes>
{
    /// <summary>Containers on one node and on two, nodes and containers, in all directions and both address families.</summary>
    [Fact]
    public void EveryoneIsSeenByTheAddressHeHas() =>
        KubernetesRules.Hold([.. nodes.Stations, .. nodes.Stations.Select(s => s with { Address = Overlay.IPv6Of(s) })]);
}

/// <summary>The same nodes on an IPv6 link.</summary>
public sealed class SwitchVtepIPv6Nodes() : SwitchVtepNodes(ipv6Underlay: true);

public sealed class SwitchVtepIPv6Tests(SwitchVtepIPv6Nodes nodes) : RoutedOverlayTests(nodes), IClassFixture<SwitchVtepIPv6Nodes>
{
    protected override long StreamBytes => 1L << 28;
}
