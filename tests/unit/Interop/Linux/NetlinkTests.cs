using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class NetlinkTests : IDisposable
{
    private readonly TestNamespace _test = new();
    private readonly Netlink _net;

    public NetlinkTests()
    {
        _net = Netlink.Open(_test.Ns);
    }

    public void Dispose()
    {
        _net.Dispose();
        _test.Dispose();
    }

    [RootFact]
    public void Finds_links_by_name_and_index()
    {
        LinkInfo lo = Assert.Single(_net.ListLinks());
        Assert.Equal("lo", lo.Name);
        Assert.Equal(65536, lo.Mtu);
        Assert.False(lo.IsUp);
        Assert.Equal(lo, _net.GetLink("lo"));
        Assert.Equal(lo, _net.GetLink(lo.Index));
        Assert.Null(_net.FindLink("none"));
        Assert.Null(_net.FindLink(4711));
        Assert.Equal("find link 'none': No such device (errno 19)", Assert.Throws<LinuxException>(() => _net.GetLink("none")).Message);
    }

    [RootFact]
    public void Changes_a_link()
    {
        _net.CreateVeth("dpd0", "dpd0peer");
        int index = _net.GetLink("dpd0").Index;
        _net.SetMtu(index, 9000);
        _net.SetMac(index, PhysicalAddress.Parse("02-00-00-00-00-2A"));
        _net.Rename(index, "dpd1");
        _net.SetUp(index);
        LinkInfo link = _net.GetLink(index);
        Assert.Equal(("dpd1", "veth", 9000, "02000000002A", true), (link.Name, link.Kind, link.Mtu, link.Mac.ToString(), link.IsUp));
        _net.SetDown(index);
        Assert.False(_net.GetLink("dpd1").IsUp);
        _net.DeleteLink(index);
        Assert.Null(_net.FindLink(index));
    }

    [RootFact]
    public void Makes_bridges_with_veth_ports_and_moves_the_other_end()
    {
        using var other = new TestNamespace();
        using Netlink otherNet = Netlink.Open(other.Ns);
        _net.CreateBridge("dpbr0");
        _net.CreateVeth("dpv0", "eth0", other.Ns);
        int bridge = _net.GetLink("dpbr0").Index;
        int port = _net.GetLink("dpv0").Index;
        _net.SetMaster(port, bridge);
        LinkInfo link = _net.GetLink(port);
        Assert.Equal(("veth", bridge), (link.Kind, link.Master));
        Assert.Equal(otherNet.GetLink("eth0").Index, link.Link);

        _net.CreateVeth("dpv1", "dpv2");
        _net.MoveTo(_net.GetLink("dpv2").Index, other.Ns, "eth1");
        Assert.Null(_net.FindLink("dpv2"));
        Assert.Equal("veth", otherNet.GetLink("eth1").Kind);

        _net.SetMaster(port, 0);
        Assert.Equal(0, _net.GetLink(port).Master);
        _net.DeleteLink(port);
        Assert.Null(otherNet.FindLink("eth0"));
    }

    [RootFact]
    public void Adds_and_deletes_addresses()
    {
        int index = Up("dpd0");
        _net.AddAddress(index, IPAddress.Parse("10.1.2.3"), 24);
        _net.AddAddress(index, IPAddress.Parse("fd00::3"), 64, skipDuplicateDetection: true);
        IReadOnlyList<AddressInfo> addresses = _net.ListAddresses(index);
        Assert.Contains(addresses, a => a.Address.ToString() == "10.1.2.3" && a.PrefixLength == 24);
        // Not tentative: it can be used at once.
        Assert.Contains(addresses, a => a.Address.ToString() == "fd00::3" && a.PrefixLength == 64 && (a.Flags & 0x40) == 0);
        Assert.Contains("inet 10.1.2.3/24 brd 10.1.2.255", _test.Exec("ip", "address", "show", "dev", "dpd0"));
        Assert.All(_net.ListAddresses(index, AddressFamily.InterNetwork), a => Assert.Equal(AddressFamily.InterNetwork, a.Address.AddressFamily));
        Assert.Empty(_net.ListAddresses(4711));

        _net.DeleteAddress(index, IPAddress.Parse("10.1.2.3"), 24);
        _net.DeleteAddress(index, IPAddress.Parse("fd00::3"), 64);
        Assert.DoesNotContain(_net.ListAddresses(index), a => a.Address.ToString() is "10.1.2.3" or "fd00::3");
        Assert.Throws<ArgumentOutOfRangeException>(() => _net.AddAddress(index, IPAddress.Loopback, 33));
    }

    [RootFact]
    public void Adds_and_deletes_routes()
    {
        int index = Up("dpd0");
        _net.AddAddress(index, IPAddress.Parse("10.1.2.3"), 24);
        _net.AddAddress(index, IPAddress.Parse("fd00::3"), 64, skipDuplicateDetection: true);
        var network = IPNetwork.Parse("192.168.0.0/16");
        _net.AddRoute(Netlink.DefaultIPv4, IPAddress.Parse("10.1.2.1"), index);
        _net.AddRoute(Netlink.DefaultIPv6, IPAddress.Parse("fd00::1"), index, metric: 5);
        _net.AddRoute(network, null, index, metric: 7);
        _net.AddRoute(IPNetwork.Parse("172.16.0.0/12"), IPAddress.Parse("169.254.1.1"), index, onLink: true);

        IReadOnlyList<RouteInfo> routes = _net.ListRoutes();
        Assert.Contains(new RouteInfo(Netlink.DefaultIPv4, IPAddress.Parse("10.1.2.1"), index, 0) { Protocol = 4 }, routes);
        Assert.Contains(new RouteInfo(Netlink.DefaultIPv6, IPAddress.Parse("fd00::1"), index, 5) { Protocol = 4 }, routes);
        Assert.Contains(new RouteInfo(network, null, index, 7) { Protocol = 4 }, routes);
        Assert.Contains(new RouteInfo(IPNetwork.Parse("10.1.2.0/24"), null, index, 0) { Protocol = 2 }, routes);
        string theirs = _test.Exec("ip", "route");
        Assert.Contains("default via 10.1.2.1 dev dpd0 proto static", theirs);
        Assert.Contains("192.168.0.0/16 dev dpd0 proto static scope link metric 7", theirs);
        Assert.Contains("172.16.0.0/12 via 169.254.1.1 dev dpd0 proto static onlink", theirs);

        _net.AddRoute(Netlink.DefaultIPv4, IPAddress.Parse("10.1.2.254"), index, replace: true);
        Assert.Equal("10.1.2.254", Assert.Single(_net.ListRoutes(AddressFamily.InterNetwork), r => r.IsDefault).Gateway!.ToString());
        _net.DeleteRoute(Netlink.DefaultIPv4, IPAddress.Parse("10.1.2.254"), index);
        _net.DeleteRoute(network, null, index);
        _net.DeleteRoute(Netlink.DefaultIPv6, null, index);
        Assert.DoesNotContain(_net.ListRoutes(), r => r.IsDefault || r.Destination.Equals(network));
    }

    [RootFact]
    public void Lists_each_next_hop_of_a_multipath_route()
    {
        int index = Up("dpd0");
        _net.AddAddress(index, IPAddress.Parse("10.1.2.3"), 24);
        _test.Exec("ip", "route", "add", "10.9.0.0/16", "nexthop", "via", "10.1.2.1", "dev", "dpd0", "nexthop", "via", "10.1.2.2", "dev", "dpd0");
        _test.Exec("ip", "route", "add", "10.8.0.0/16", "via", "inet6", "fe80::1", "dev", "dpd0");
        _test.Exec("ip", "route", "add", "blackhole", "10.7.0.0/16");
        RouteInfo[] routes = [.. _net.ListRoutes(AddressFamily.InterNetwork).Where(r => r.Destination.BaseAddress.ToString() != "10.1.2.0")];
        Assert.Equal(["10.1.2.1", "10.1.2.2", "fe80::1"], routes.Select(r => r.Gateway!.ToString()).Order());
        Assert.All(routes, r => Assert.Equal(index, r.Index));
    }

    [RootFact]
    public void Sets_and_lists_neighbours()
    {
        int index = Up("dpd0");
        var mac = PhysicalAddress.Parse("02-00-00-00-00-2A");
        foreach (string address in (string[])["10.1.2.9", "fd00::9"])
        {
            _net.SetNeighbour(index, IPAddress.Parse(address), mac);
            Assert.Contains(new NeighbourInfo(index, IPAddress.Parse(address), mac, NeighbourStates.Permanent), _net.ListNeighbours(index));
            _net.DeleteNeighbour(index, IPAddress.Parse(address));
            Assert.DoesNotContain(_net.ListNeighbours(index), n => n.Address.ToString() == address && n.State == NeighbourStates.Permanent);
        }
    }

    [RootFact]
    public void Lists_longer_than_one_message_are_complete()
    {
        int index = Up("dpd0");
        for (int i = 0; i < 2000; i++)
            _net.SetNeighbour(index, new IPAddress(new byte[] { 10, 0, (byte)(i >> 8), (byte)i }), PhysicalAddress.Parse("02-00-00-00-00-2A"));
        Assert.Equal(2000, _net.ListNeighbours(index, AddressFamily.InterNetwork).Count);
    }

    [RootFact]
    public void The_kernels_explanation_is_in_the_message()
    {
        int index = Up("dpd0");
        var e = Assert.Throws<LinuxException>(() => _net.SetMtu(index, 1));
        Assert.Equal("set MTU 1 of link 'dpd0': Invalid argument (errno 22). The kernel says: mtu less than device minimum", e.Message);
        e = Assert.Throws<LinuxException>(() => _net.AddRoute(Netlink.DefaultIPv4, IPAddress.Parse("10.9.9.9"), index));
        Assert.Equal("add route to 0.0.0.0/0 via 10.9.9.9 on link 'dpd0': Network is unreachable (errno 101). The kernel says: Nexthop has invalid gateway", e.Message);
        // The socket is in step again afterwards.
        Assert.Equal("dpd0", _net.GetLink(index).Name);
        e = Assert.Throws<LinuxException>(() => _net.CreateBridge("dpd0"));
        Assert.Equal("create bridge link 'dpd0': File exists (errno 17)", e.Message);
        e = Assert.Throws<LinuxException>(() => _net.SetUp(4711));
        Assert.StartsWith("bring up link 4711: No such device (errno 19)", e.Message);
    }

    [RootFact]
    public void Who_may_not_is_told_so()
    {
        int index = Up("dpd0");
        string message = "";
        Unprivileged.Run(() => message = Assert.Throws<LinuxException>(() => _net.SetDown(index)).Message);
        Assert.Equal("take down link 'dpd0': Operation not permitted (errno 1). This needs root or CAP_NET_ADMIN.", message);
    }

    [RootFact]
    public async Task Many_threads_may_share_a_client()
    {
        int index = Up("dpd0");
        await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(() =>
        {
            for (int j = 0; j < 50; j++)
                Assert.Equal("dpd0", (j % 2 == 0 ? _net.GetLink(index) : _net.ListLinks().Single(l => l.Index == index)).Name);
        })));
    }

    /// <summary>A device that is up and has a carrier.</summary>
    private int Up(string name)
    {
        _net.CreateVeth(name, name + "peer");
        int index = _net.GetLink(name).Index;
        _net.SetUp(index);
        _net.SetUp(_net.GetLink(name + "peer").Index);
        return index;
    }
}
