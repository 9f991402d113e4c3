using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>From leases to what must exist, without etcd and without a switch.</summary>
public sealed class FlannelPlannerTests
{
    private const string OwnJson = """{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"06:00:00:00:00:01"}}""";

    private static readonly Underlay Uplink = new("uplink", 1500, [Prefix("192.0.2.1/24"), Prefix("2001:db8::1/64")]);

    private static Cidr Prefix(string text) => Cidr.TryParse(text, out Cidr cidr) ? cidr : throw new FormatException(text);

    private static FlannelConfig Config(string backend = """{"Type": "vxlan"}""", bool ipv6 = false) => FlannelConfigReader.Read(
        ipv6 ? $$"""{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {{backend}}}""" : $$"""{"Network": "10.5.0.0/16", "Backend": {{backend}}}""");

    private static LeaseSubnets Subnets(string key) => LeaseSubnets.TryParse(key, out LeaseSubnets? s) ? s.Value : throw new FormatException(key);

    private static SubnetLease Lease(string key, string json, long created)
    {
        var pair = new Mvccpb.KeyValue { Value = Google.Protobuf.ByteString.CopyFromUtf8(json), Lease = 7, CreateRevision = created, ModRevision = created };
        return SubnetLease.Read(key, pair)!;
    }

    private static string Peer(int n, string type = "vxlan", int vni = 1, string? ip = null) => type == "vxlan"
        ? $$$"""{"PublicIP":"{{{ip ?? $"192.0.2.{n}"}}}","PublicIPv6":"2001:db8::{{{n}}}","BackendType":"vxlan","BackendData":{"VNI":{{{vni}}},"VtepMAC":"02:00:00:00:00:{{{n:x2}}}"},"BackendV6Data":{"VNI":{{{vni}}},"VtepMAC":"06:00:00:00:00:{{{n:x2}}}"}}"""
        : $$"""{"PublicIP":"{{ip ?? $"192.0.2.{n}"}}","PublicIPv6":null,"BackendType":"{{type}}"}""";

    private static FlannelPlan Plan(FlannelConfig config, string own, string[] retained, params (string Key, string Json)[] leases)
    {
        LeaseAttributes all = LeaseAttributes.Parse(OwnJson), node = config.IPv6 is null ? all with { PublicIPv6 = null, VtepV6 = null } : all;
        return FlannelPlanner.Plan(config, config.Backend == FlannelBackend.Vxlan ? node : node with { BackendType = "host-gw", Vtep = null, VtepV6 = null },
            Subnets(own), [.. retained.Select(Prefix)], [.. leases.Select((l, i) => Lease(l.Key, l.Json, i + 1))], Uplink);
    }

    private static string Text(FlannelPlan plan) => string.Join('\n',
    [
        .. plan.Pods.Subnets.Select(s => $"pods {s.Subnet} gateway {s.Gateway} mtu {plan.Pods.Mtu}"),
        .. plan.Overlays.SelectMany(o => (string[])
        [
            $"{o.Name} vni {o.Vni} port {o.Port} {o.Mac} {o.Address} at {o.Local} mtu {o.Mtu}",
            .. o.Tunnels.Select(t => $"{o.Name} tunnel {t.Remote} {t.Mac}"),
            .. o.Neighbours.Select(n => $"{o.Name} neighbour {n.Address} {n.Mac}"),
        ]),
        .. plan.Routes.Select(r => $"route {r.Prefix} via {r.Gateway} {r.Overlay ?? "underlay"}"),
        .. plan.Problems.Select(p => $"! {p}"),
    ]);

    [Fact]
    public void APeerIsATunnelANeighbourAndARoute() => Assert.Equal(
        """
        pods 10.5.1.0/24 gateway 10.5.1.1 mtu 1450
        flannel.1 vni 1 port 8472 02:00:00:00:00:01 10.5.1.0/32 at 192.0.2.1 mtu 1450
        flannel.1 tunnel 192.0.2.2 02:00:00:00:00:02
        flannel.1 tunnel 198.51.100.3 02:00:00:00:00:03
        flannel.1 neighbour 10.5.2.0 02:00:00:00:00:02
        flannel.1 neighbour 10.5.3.0 02:00:00:00:00:03
        route 10.5.2.0/24 via 10.5.2.0 flannel.1
        route 10.5.3.0/24 via 10.5.3.0 flannel.1
        """,
        Text(Plan(Config(), "10.5.1.0-24", [], ("10.5.1.0-24", OwnJson), ("10.5.2.0-24", Peer(2)), ("10.5.3.0-24", Peer(3, ip: "198.51.100.3")))));

    [Fact]
    public void WithTwoFamiliesThereAreTwoOverlays() => Assert.Equal(
        """
        pods 10.5.1.0/24 gateway 10.5.1.1 mtu 8930
        pods fd00:5:0:1::/64 gateway fd00:5:0:1::1 mtu 8930
        flannel.7 vni 7 port 4789 02:00:00:00:00:01 10.5.1.0/32 at 192.0.2.1 mtu 8950
        flannel.7 tunnel 192.0.2.2 02:00:00:00:00:02
        flannel.7 neighbour 10.5.2.0 02:00:00:00:00:02
        flannel-v6.7 vni 7 port 4789 06:00:00:00:00:01 fd00:5:0:1::/128 at 2001:db8::1 mtu 8930
        flannel-v6.7 tunnel 2001:db8::2 06:00:00:00:00:02
        flannel-v6.7 neighbour fd00:5:0:2:: 06:00:00:00:00:02
        route 10.5.2.0/24 via 10.5.2.0 flannel.7
        route fd00:5:0:2::/64 via fd00:5:0:2:: flannel-v6.7
        """,
        Text(Plan(Config("""{"Type": "vxlan", "VNI": 7, "Port": 4789, "MTU": 9000}""", ipv6: true), "10.5.1.0-24&fd00:5:0:1::-64", [],
            ("10.5.2.0-24&fd00:5:0:2::-64", Peer(2, vni: 7)))));

    [Fact]
    public void OnTheSameLinkAPeerIsRoutedDirectly() => Assert.Equal(
        """
        pods 10.5.1.0/24 gateway 10.5.1.1 mtu 1450
        flannel.1 vni 1 port 8472 02:00:00:00:00:01 10.5.1.0/32 at 192.0.2.1 mtu 1450
        flannel.1 tunnel 192.0.2.2 02:00:00:00:00:02
        flannel.1 tunnel 198.51.100.3 02:00:00:00:00:03
        flannel.1 neighbour 10.5.2.0 02:00:00:00:00:02
        flannel.1 neighbour 10.5.3.0 02:00:00:00:00:03
        route 10.5.2.0/24 via 192.0.2.2 underlay
        route 10.5.3.0/24 via 10.5.3.0 flannel.1
        """,
        Text(Plan(Config("""{"Type": "vxlan", "DirectRouting": true}"""), "10.5.1.0-24", [], ("10.5.2.0-24", Peer(2)), ("10.5.3.0-24", Peer(3, ip: "198.51.100.3")))));

    [Fact]
    public void HostGatewayHasRoutesAlone() => Assert.Equal(
        """
        pods 10.5.1.0/24 gateway 10.5.1.1 mtu 1500
        route 10.5.2.0/24 via 192.0.2.2 underlay
        ! 10.5.3.0/24: 198.51.100.3 is not on the layer-2 network of port "uplink", which host-gw needs
        ! 10.5.4.0/24: its backend is "vxlan", this network's is "host-gw"
        """,
        Text(Plan(Config("""{"Type": "host-gw"}"""), "10.5.1.0-24", [],
            ("10.5.2.0-24", Peer(2, "host-gw")), ("10.5.3.0-24", Peer(3, "host-gw", ip: "198.51.100.3")), ("10.5.4.0-24", Peer(4)))));

    /// <summary>One wrong lease each: it is reported, and the good one beside it has what it needs.</summary>
    [Theory]
    [InlineData("10.5.9.0-24", "{", "10.5.9.0/24: the lease cannot be read: it is no JSON")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"vxlan"}""", "10.5.9.0/24: the lease names no address of its node")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"192.0.2.9","BackendType":"vxlan"}""", "10.5.9.0/24: the lease says no VTEP for 10.5.9.0/24")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"192.0.2.9","BackendType":"udp"}""", "10.5.9.0/24: its backend is \"udp\", this network's is \"vxlan\"")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}""", "10.5.9.0/24: its VTEP has the MAC address 02:00:00:00:00:02, which is that of 192.0.2.2")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}""", "10.5.9.0/24: its VTEP has the MAC address 02:00:00:00:00:01, which is that of 192.0.2.1")]
    [InlineData("10.5.9.0-24", """{"PublicIP":"224.0.0.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}""", "10.5.9.0/24: 10.5.9.0/24 at 224.0.0.9 cannot be the address of a node")]
    [InlineData("10.5.1.0-25", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}""", "10.5.1.0/25: another node has leased what containers of this node use (10.5.1.0/24): remove them")]
    [InlineData("10.5.2.0-25", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}""", "10.5.2.0/25: 10.5.2.0/25 overlaps 10.5.2.0/24 of an older lease")]
    [InlineData("192.0.2.0-24", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}""", "192.0.2.0/24: a node's own address 192.0.2.1 is in it, and no tunnel leads through itself")]
    [InlineData("224.5.9.0-24", """{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}""", "224.5.9.0/24: 224.5.9.0/24 at 192.0.2.9 cannot be the address of a node")]
    public void AWrongLeaseIsLeftOutAndReported(string key, string json, string problem)
    {
        FlannelPlan plan = Plan(Config(), "10.5.1.0-24", [], ("10.5.2.0-24", Peer(2)), (key, json));
        Assert.StartsWith(problem, Assert.Single(plan.Problems), StringComparison.Ordinal);
        FlannelPlan without = Plan(Config(), "10.5.1.0-24", [], ("10.5.2.0-24", Peer(2)));
        Assert.Equal(Text(without), Text(plan with { Problems = [] }));
    }

    [Fact]
    public void OfTwoLeasesOfANodeTheNewerHolds()
    {
        FlannelPlan plan = Plan(Config(), "10.5.1.0-24", [], ("10.5.2.0-24", Peer(2)), ("10.5.3.0-24", Peer(2)), ("10.5.4.0-24", OwnJson));
        Assert.Equal(["10.5.3.0/24"], plan.Routes.Select(r => r.Prefix.ToString()));
        Assert.Equal(["10.5.2.0/24: its node 192.0.2.2 has a newer lease, 10.5.3.0/24"], plan.Problems);
    }

    [Fact]
    public void AnotherVniIsReportedAndNothingElse()
    {
        FlannelPlan plan = Plan(Config(), "10.5.1.0-24", [], ("10.5.2.0-24", Peer(2, vni: 9)));
        Assert.Single(plan.Routes);
        Assert.Equal(["10.5.2.0/24: its VNI is 9, this network's is 1; its packets will be dropped"], plan.Problems);
    }

    [Fact]
    public void ASubnetWithContainersStaysUntilTheyAreGone()
    {
        FlannelPlan plan = Plan(Config(), "10.5.1.0-24", ["10.5.7.0/24"], ("10.5.7.0-24", Peer(2)));
        Assert.Equal(["10.5.1.0/24", "10.5.7.0/24"], plan.Pods.Subnets.Select(s => s.Subnet.ToString()));
        Assert.Empty(plan.Routes);
        Assert.Equal(["10.5.7.0/24: another node has leased what containers of this node use (10.5.7.0/24): remove them"], plan.Problems);
    }

    [Fact]
    public void BehindANatThePortsOwnAddressIsUsed()
    {
        LeaseAttributes node = LeaseAttributes.Parse(OwnJson) with { PublicIP = IPAddress.Parse("203.0.113.1"), PublicIPv6 = null, VtepV6 = null };
        PlannedOverlay overlay = Assert.Single(FlannelPlanner.Plan(Config(), node, Subnets("10.5.1.0-24"), [], [], Uplink).Overlays);
        Assert.Equal("192.0.2.1", overlay.Local.ToString());
    }

    [Fact]
    public void AVtepsMacAddressIsItsOwnForGood()
    {
        FlannelConfig config = Config(ipv6: true);
        LeaseAttributes[] nodes = [.. Enumerable.Range(1, 2000).Select(i => FlannelPlanner.Describe(config, "/coreos.com/network", Addresses.FromNumber((uint)(0x0A000000 + i), 32), Addresses.FromNumber((UInt128)i, 128)))];
        Assert.Equal(4000, nodes.SelectMany(n => new[] { n.Vtep!.Value.Mac, n.VtepV6!.Value.Mac }).Distinct().Count());
        Assert.Equal(nodes[0], FlannelPlanner.Describe(config, "/coreos.com/network", IPAddress.Parse("10.0.0.1"), IPAddress.Parse("::1")));
        Assert.NotEqual(nodes[0].Vtep, FlannelPlanner.Describe(config, "/other", IPAddress.Parse("10.0.0.1"), null).Vtep);
        Assert.All(nodes, n => Assert.False(n.Vtep!.Value.Mac.IsGroup));
    }

    [Fact]
    public void AThousandPeersAreAThousandRoutes()
    {
        FlannelPlan plan = FlannelPlanner.Plan(Config(), LeaseAttributes.Parse(OwnJson) with { PublicIPv6 = null, VtepV6 = null }, Subnets("10.5.0.0-30"), [],
            [.. Enumerable.Range(1, 4000).Select(i => Lease($"10.5.{i / 64}.{i % 64 * 4}-30", FlannelPlanner.Describe(Config(), "/p", Addresses.FromNumber((uint)(0x0B000000 + i), 32), null).ToJson(), i))], Uplink);
        Assert.Equal((4000, 4000, 0), (plan.Routes.Count, plan.Overlays[0].Tunnels.Count, plan.Problems.Count));
    }
}
