using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The switch on one node, the Linux kernel on the other, and a link between them.</summary>
public class KernelVtepNodes : RoutedPair
{
    public KernelVtepNodes() : this(ipv6Underlay: false)
    {
    }

    protected KernelVtepNodes(bool ipv6Underlay) : base(ipv6Underlay)
    {
        Switch = Own(new Switch());
        Build(() =>
        {
            Kernel = new KernelNode(Switch, 2, ipv6Underlay, Mtu);
            _ = new Underlay(Switch.Host, Kernel.Namespace);
            Kernel.ConnectUnderlay(Mtu);
            Switch.Start();
            Ours = new Overlay(Switch, 1, ipv6Underlay, Mtu);
            Ours.AddPeer(Kernel.Number, Kernel.VtepMac);
            Kernel.AddPeer(Ours.Number, Ours.VtepMac);
        });
    }

    public Switch Switch { get; }
    public KernelNode Kernel { get; private set; } = null!;
    public override Station There => Kernel.Container;
    public override IReadOnlyList<Switch> Switches => [Switch];
    public override (Namespace Namespace, string Device) Tap => (Kernel.Namespace, Underlay.Device);
}

/// <summary>The kernel's own VXLAN as the other side, set as flannel sets it.</summary>
public sealed class KernelVtepTests(KernelVtepNodes nodes) : RoutedOverlayTests(nodes), IClassFixture<KernelVtepNodes>
{
    [Fact]
    public void EveryoneIsSeenByTheAddressHeHas() => KubernetesRules.Hold([nodes.Here, nodes.Ours.Host, nodes.There]);
}

/// <summary>The same nodes on an IPv6 link: outer packets have a checksum.</summary>
public sealed class KernelVtepIPv6Nodes() : KernelVtepNodes(ipv6Underlay: true);

public sealed class KernelVtepIPv6Tests(KernelVtepIPv6Nodes nodes) : RoutedOverlayTests(nodes), IClassFixture<KernelVtepIPv6Nodes>
{
    protected override long StreamBytes => 1L << 28;
}
