using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The switch on one node, the Linux kernel on the other, and an IPv4 network between them.</summary>
public sealed class KernelVtepNodes : IDisposable
{
    public const int OverlayMtu = 1450;

    public KernelVtepNodes() : this(ipv6Underlay: false, OverlayMtu)
    {
    }

    internal KernelVtepNodes(bool ipv6Underlay, int mtu)
    {
        Switch = new Switch();
        try
        {
            Kernel = new KernelNode(Switch, 2, ipv6Underlay, mtu);
            _ = new Underlay(Switch.Host, Kernel.Namespace);
            Kernel.ConnectUnderlay(mtu);
            Switch.Start();
            Ours = new Overlay(Switch, 1, ipv6Underlay);
            Ours.AddPeer(Kernel.Number, Kernel.VtepMac);
            Kernel.AddPeer(Ours.Number, Ours.VtepMac);
            // The first packets find that the nodes do not know each other's address on the link yet.
            Until.True(() => Ping.Once(Ours.Container, Kernel.Container.Address, 64, []).ExitCode == 0, "the nodes know each other", () => Switch.Log);
        }
        catch
        {
            Switch.Dispose();
            throw;
        }
    }

    public Switch Switch { get; }
    public Overlay Ours { get; }
    public KernelNode Kernel { get; }

    public void Dispose() => Switch.Dispose();
}

/// <summary>What an overlay is for, with the kernel's own VXLAN as the other side.</summary>
public sealed class KernelVtepTests(KernelVtepNodes nodes) : IClassFixture<KernelVtepNodes>, IDisposable
{
    private readonly Station _ours = nodes.Ours.Container, _host = nodes.Ours.Host, _theirs = nodes.Kernel.Container;

    [Theory]
    [InlineData(64)]
    [InlineData(1430)]
    [InlineData(4000)] // in fragments
    public void ContainersReachEachOther(int size)
    {
        Ping.Reaches(_ours, _theirs.Address, size);
        Ping.Reaches(_theirs, _ours.Address, size);
    }

    [Theory]
    [InlineData(64)]
    [InlineData(1430)]
    public void ContainersReachEachOtherByIPv6(int size)
    {
        Ping.Reaches(_ours, "fd00:10:2::2", size);
        Ping.Reaches(_theirs, "fd00:10:1::2", size);
    }

    [Fact]
    public void TheHostReachesContainersHereAndThereAndIsReached()
    {
        Ping.Reaches(_host, _ours.Address);
        Ping.Reaches(_host, _theirs.Address);
        Ping.Reaches(_theirs, _host.Address);
        Ping.Reaches(_ours, _host.Address);
    }

    /// <summary>Kubernetes' rules: no NAT between containers, none between node and container, and everyone is known by his own address.</summary>
    [Fact]
    public void EveryoneIsSeenByTheAddressHeHas()
    {
        Assert.Equal(_ours.Address, new Conversation(_ours, _theirs).StreamTcp(1000).ToString());
        Assert.Equal(_theirs.Address, new Conversation(_theirs, _ours).StreamTcp(1000).ToString());
        Assert.Equal(_host.Address, new Conversation(_host, _theirs).StreamTcp(1000).ToString());
        Assert.Equal(_theirs.Address, new Conversation(_theirs, _host).StreamTcp(1000).ToString());
        Assert.Equal(_host.Address, new Conversation(_host, _ours).StreamTcp(1000).ToString());
    }

    [Fact]
    public void AGigabyteArrivesAsItWasSent() => new Conversation(_ours, _theirs).StreamTcp(1L << 30);

    [Fact]
    public void AndTheOtherWay() => new Conversation(_theirs, _ours).StreamTcp(1L << 28);

    [Fact]
    public void DatagramsOfEverySizeArrive() => new Conversation(_ours, _theirs).EchoUdp(1, 9000);

    /// <summary>A packet too large for the way is answered with the size that fits.</summary>
    [Fact]
    public void ThePathMtuIsFound()
    {
        _ours.Namespace.Do("ip", "link", "set", _ours.Device, "mtu", "1500");
        nodes.Switch.Apply("""networks: [{name: pods, subnets: [10.244.1.0/24, "fd00:10:1::/64"], gateways: [10.244.1.1, "fd00:10:1::1"], mtu: 1500, router: {}}]""");
        try
        {
            Finished four = _ours.Namespace.Run("ping", "-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1472", _theirs.Address);
            Assert.Contains($"mtu = {KernelVtepNodes.OverlayMtu}", four.Output + four.Error, StringComparison.Ordinal);
            Ping.Reaches(_ours, _theirs.Address, KernelVtepNodes.OverlayMtu, "-M", "do");
            Finished six = _ours.Namespace.Run("ping", "-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1452", "fd00:10:2::2");
            Assert.Contains($"mtu: {KernelVtepNodes.OverlayMtu}", (six.Output + six.Error).Replace("mtu = ", "mtu: ", StringComparison.Ordinal), StringComparison.Ordinal);
            Ping.Reaches(_ours, "fd00:10:2::2", KernelVtepNodes.OverlayMtu, "-M", "do");
        }
        finally
        {
            nodes.Switch.Apply("""networks: [{name: pods, subnets: [10.244.1.0/24, "fd00:10:1::/64"], gateways: [10.244.1.1, "fd00:10:1::1"], mtu: 1430, router: {}}]""");
        }
    }

    [Fact]
    public void TsharkHasNothingToSayAgainstTheOuterPackets() => OuterPackets.AreAllWell(nodes, () =>
    {
        Ping.Reaches(_ours, _theirs.Address);
        Ping.Reaches(_theirs, "fd00:10:1::2");
        new Conversation(_ours, _theirs).StreamTcp(1 << 20);
    });

    public void Dispose() => Accounts.Balance(nodes.Switch);
}

/// <summary>The same over IPv6, whose outer packets have a checksum.</summary>
public sealed class KernelVtepIPv6Tests : IDisposable
{
    private readonly KernelVtepNodes _nodes = new(ipv6Underlay: true, mtu: 1430);

    [Fact]
    public void ContainersReachEachOtherOverIPv6()
    {
        OuterPackets.AreAllWell(_nodes, () =>
        {
            Ping.Reaches(_nodes.Ours.Container, _nodes.Kernel.Container.Address, 1430);
            Ping.Reaches(_nodes.Kernel.Container, _nodes.Ours.Container.Address, 1430);
            Ping.Reaches(_nodes.Ours.Container, "fd00:10:2::2", 1430);
            new Conversation(_nodes.Ours.Container, _nodes.Kernel.Container).StreamTcp(64 << 20);
            new Conversation(_nodes.Kernel.Container, _nodes.Ours.Container).StreamTcp(64 << 20);
        });
    }

    public void Dispose()
    {
        Accounts.Balance(_nodes.Switch);
        _nodes.Dispose();
    }
}
