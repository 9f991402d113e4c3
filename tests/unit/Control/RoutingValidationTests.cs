using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>The rules of routing and tunnels, one row each: a batch on top of a small routed network, and what is said about it.</summary>
public sealed class RoutingValidationTests
{
    private const string PeerMac = "02:00:00:00:99:01";

    /// <summary>
    /// blue: 172.18.0.0/16 and fd00::/64 with a router, ports "web" (172.18.0.2) and "dp0" (host); guests: 10.9.0.0/16 in VRF
    /// "guests"; plain: no router; uplink: 192.0.2.10/24 and 2001:db8::10/64; far: VXLAN 100, 10.244.1.0/24, peers "node2" (with a
    /// MAC) and "node3"; routes to 10.50.0.0/16 by 192.0.2.1 and to 10.244.2.0/24 by node2.
    /// </summary>
    internal static DesiredState Before { get; } = ValidationTests.Plan(
        DesiredState.Empty,
        Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => n.Router = new Router()),
        Make.Net("guests", "10.9.0.0/16", "10.9.0.1", n => n.Router = new Router { Vrf = "guests" }),
        Make.Net("plain", "10.8.0.0/16"),
        Make.Net("far", "10.244.1.0/24", "10.244.1.1", n => { n.Router = new Router(); n.Vxlan = new Vxlan { Vni = 100 }; }),
        Make.Tap("web", "blue", "172.18.0.2/16 fd00::2/64", "web"),
        Make.Tap("dp0", "blue", more: p => p.Tap.Host = true),
        Make.Memory("tagged", "plain"),
        Make.Routed("uplink", "192.0.2.10/24 2001:db8::10/64"),
        Make.Peer("node2", "far", "192.0.2.20", PeerMac),
        Make.Peer("node3", "far", "192.0.2.30"),
        Make.Route("10.50.0.0/16", "192.0.2.1"),
        To("10.244.2.0/24", new NextHop { Peer = "node2" })).After;

    /// <summary>What is wrong, in words; the resource; its field; a part of the message.</summary>
    public static TheoryData<string, Resource, string, string> Refused { get; } = new()
    {
        { "router without address", Make.Net("n", "10.7.0.0/16", more: n => n.Router = new Router()), "router", "has no address; set gateways" },
        { "bad VRF name", Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => n.Router = new Router { Vrf = "a b" }), "router.vrf", "is no name of a VRF" },
        { "five addresses", Make.Net("n", Subnets(5), Gateways(5), n => n.Router = new Router()), "gateways", "5 IPv4 addresses, an interface has at most 4" },
        { "router in a VLAN that nobody looks at", Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => n.Router = new Router { Vlan = 7 }), "router.vlan", "does not look at VLANs" },
        { "router in no VLAN", Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => { n.VlanFiltering = true; n.Router = new Router { Vlan = 4095 }; }), "router.vlan", "not from 1 to 4094" },
        { "subnet in the same VRF", Make.Net("n", "172.18.7.0/24", "172.18.7.1", n => n.Router = new Router()), "subnets[0]", "overlaps 172.18.0.0/16 of network \"blue\"; put one of the two into another VRF" },
        { "subnet of a network without router", Make.Net("n", "10.8.1.0/24", "10.8.1.1", n => n.Router = new Router { Vrf = "x" }), "subnets[0]", "overlaps 10.8.0.0/16 of network \"plain\"" },
        { "host in both", Make.Tap("dp1", "twin", more: p => p.Tap.Host = true), "tap.host", "the host cannot tell 172.18.1.0/24 of network \"twin\" from 172.18.0.0/16 of network \"blue\", where it has port \"dp0\"" },
        { "VNI 0", Overlay(v => v.Vni = 0), "vxlan.vni", "VNI 0 is not from 1 to 16777215" },
        { "VNI of 25 bits", Overlay(v => v.Vni = 1 << 24), "vxlan.vni", "is not from 1" },
        { "VNI of another network", Overlay(v => v.Vni = 100), "vxlan.vni", "VNI 100 is that of network \"far\"" },
        { "no UDP port", Overlay(v => v.Port = 65_536), "vxlan.port", "is no UDP port" },
        { "large TTL", Overlay(v => v.Ttl = 256), "vxlan.ttl", "above 255" },
        { "no VTEP address", Overlay(v => v.Local = "192.0.2.10/24"), "vxlan.local", "is not an IP address; leave the prefix length out" },
        { "unknown VTEP address", Overlay(v => v.Local = "192.0.2.11"), "vxlan.local", "192.0.2.11 is no address of a routed port or a router; addresses: 172.18.0.1" },
        { "VTEP in an overlay", Overlay(v => v.Local = "10.244.1.1"), "vxlan.local", "is an address of \"far.router\", whose network itself goes through tunnels" },
        { "zero checksum of IPv4", Overlay(v => v.ZeroChecksum6 = true), "vxlan.zero_checksum6", "for tunnels over IPv6" },
        { "MTU above the underlay's", Make.Net("n", more: n => { n.Mtu = 1451; n.Vxlan = new Vxlan { Vni = 7 }; }), "mtu", "MTU 1451 and 50 bytes of outer headers are more than the MTU 1500 of \"uplink\"; set mtu to 1450 or less" },
        { "MTU above the IPv6 underlay's", Make.Net("n", more: n => { n.Mtu = 1431; n.Vxlan = new Vxlan { Vni = 7, Local = "::" }; }), "mtu", "MTU 1431 and 70 bytes" },
        { "VLANs over VXLAN", Make.Net("n", more: n => { n.VlanFiltering = true; n.Vxlan = new Vxlan { Vni = 7 }; }), "vxlan", "RFC 7348, section 6.1" },
        { "routed port in a network", Make.Routed("p", "10.6.0.1/24", p => p.Network = "blue"), "routed", "cannot be a routed port too" },
        { "routed address without prefix", Make.Routed("p", "10.6.0.1"), "routed.addresses[0]", "with a prefix length" },
        { "routed network address", Make.Routed("p", "10.6.0.0/24"), "routed.addresses[0]", "is the network address of 10.6.0.0/24" },
        { "routed multicast address", Make.Routed("p", "224.0.0.1/24"), "routed.addresses[0]", "cannot be the address of an interface" },
        { "routed address twice", Make.Routed("p", "10.6.0.1/24 10.6.0.1/24"), "routed.addresses[1]", "named twice" },
        { "routed subnet of another port", Make.Routed("p", "192.0.2.11/28"), "routed.addresses[0]", "in the same subnet as 192.0.2.10/24 of \"uplink\", in the same VRF" },
        { "routed subnet of a network", Make.Routed("p", "172.18.3.1/24"), "routed.addresses[0]", "in the same subnet as 172.18.0.1/16 of \"blue.router\"" },
        { "five IPv6 addresses", Make.Routed("p", "fd01::1/64 fd02::1/64 fd03::1/64 fd04::1/64 fd05::1/64"), "routed.addresses", "5 IPv6 addresses" },
        { "isolated routed port", Make.Routed("p", more: p => p.Isolated = true), "isolated", "has no meaning for a routed port" },
        { "routed port with VLAN", Make.Routed("p", more: p => p.AccessVlan = 7), "access_vlan", "has no meaning for a routed port" },
        { "routed multicast MAC", Make.Routed("p", more: p => p.Routed.Mac = "01:00:5e:00:00:01"), "routed.mac", "multicast" },
        { "small MTU of a routed port", Make.Routed("p", "fd01::1/64", p => p.Mtu = 1279), "mtu", "RFC 8200" },
        { "next hop of a routed TAP that is none", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed { Addresses = { "10.6.0.1/24" } }, Tap = new Tap { Addresses = { "10.6.0.2/24" }, DefaultRoute = true, Gateways = { "10.6.0.1", "10.6.0.300" } } }), "tap.gateways[1]", "is not an IP address" },
        { "address of a routed TAP that is none", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed { Addresses = { "10.6.0.1/24" } }, Tap = new Tap { Addresses = { "10.6.0.2" } } }), "tap.addresses[0]", "with a prefix length" },
        { "address of a routed TAP twice", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed { Addresses = { "10.6.0.1/24" } }, Tap = new Tap { Addresses = { "10.6.0.2/24", "10.6.0.2/24" } } }), "tap.addresses[1]", "named twice" },
        { "address of a routed TAP that is the switch's", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed { Addresses = { "10.6.0.1/24" } }, Tap = new Tap { Addresses = { "10.6.0.1/24" } } }), "tap.addresses[0]", "is the switch's end of the link" },
        { "routed host port", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed(), Tap = new Tap { Host = true } }), "tap.host", "a routed port has none" },
        { "port of the router's name", Make.Memory("blue.router", "blue"), "name", "already the name of the router's port of network \"blue\"" },
        { "port of a peer's name", Make.Memory("node2", "blue"), "name", "already the name of a tunnel peer" },
        { "static MAC to a routed port", Make.Mac("blue", "02:00:00:00:00:01", "uplink"), "port", "is a routed port, in no network" },
        { "static MAC of a peer", Make.Mac("far", PeerMac), "mac", "is that of tunnel peer \"node2\"" },
        { "peer without network", Make.Peer("p", "", "192.0.2.21"), "network", "does not exist; networks with vxlan: far" },
        { "peer of a plain network", Make.Peer("p", "blue", "192.0.2.21"), "network", "does not extend over VXLAN" },
        { "peer without address", Make.Peer("p", "far", ""), "address", "is not an IP address" },
        { "peer of the other family", Make.Peer("p", "far", "2001:db8::20"), "address", "is IPv6, the tunnels of network \"far\" go over IPv4" },
        { "peer that is this node", Make.Peer("p", "far", "192.0.2.10"), "address", "is this node's own address, on \"uplink\"" },
        { "peer twice", Make.Peer("p", "far", "192.0.2.20"), "address", "is also that of tunnel peer \"node2\"" },
        { "multicast peer", Make.Peer("p", "far", "239.0.0.1"), "address", "cannot be the address of another node" },
        { "peer of a port's name", Make.Peer("web", "far", "192.0.2.21"), "name", "already the name of a port" },
        { "peer with the network's MAC", Make.Peer("p", "far", "192.0.2.21", Before.Networks["far"].Spec.MacInForce.ToString()), "mac", "is that of network \"far\" on this node" },
        { "peer with another's MAC", Make.Peer("p", "far", "192.0.2.21", PeerMac), "mac", "also that of tunnel peer \"node2\"" },
        { "peer in an overlay's subnet", Make.Peer("p", "far", "10.244.1.9"), "address", "is in a subnet of \"far.router\", which itself goes through tunnels" },
        { "peer behind a tunnel", Make.Peer("p", "far", "10.244.2.9"), "address", "would be reached through a tunnel itself, by route main/10.244.2.0/24" },
        { "peer that loses its MAC", Make.Peer("node2", "far", "192.0.2.20"), "next_hops[0].peer", "the MAC address of tunnel peer \"node2\" is not known" },
        { "neighbour nowhere", Make.Neighbour("", "172.18.0.9", PeerMac), "network", "names no link" },
        { "neighbour on both", Make.Neighbour("blue", "172.18.0.9", PeerMac, n => n.Port = "uplink"), "network", "both a network and a port" },
        { "neighbour without router", Make.Neighbour("plain", "10.8.0.9", PeerMac), "network", "network \"plain\" has no router; networks with routers: blue, far, guests" },
        { "neighbour on a bridged port", Make.Neighbour("", "10.8.0.9", PeerMac, n => n.Port = "web"), "port", "port \"web\" is not a routed port; routed ports: uplink" },
        { "neighbour that is the router", Make.Neighbour("blue", "172.18.0.1", PeerMac), "address", "the switch's own address on \"blue.router\"" },
        { "neighbour that is a port", Make.Neighbour("blue", "172.18.0.2", PeerMac), "address", "is known already: it is that of port \"web\"" },
        { "neighbour without MAC", Make.Neighbour("blue", "172.18.0.9", ""), "mac", "is not a MAC address" },
        { "multicast neighbour", Make.Neighbour("blue", "ff02::1", PeerMac), "address", "cannot be the address of a neighbour" },
        { "neighbour of another name", Make.Neighbour("blue", "172.18.0.9", PeerMac, n => n.Name = "x"), "name", "is \"blue.router/172.18.0.9\"" },
        { "no prefix", Make.Route("10.0.0.0", "192.0.2.1"), "prefix", "is not a prefix" },
        { "bits behind the prefix", Make.Route("10.0.0.1/8", "192.0.2.1"), "prefix", "write 10.0.0.0/8" },
        { "multicast prefix", Make.Route("224.0.0.0/4", "192.0.2.1"), "prefix", "stay on their link" },
        { "link-local prefix", Make.Route("fe80::/10", "2001:db8::1"), "prefix", "stay on their link" },
        { "subnet on a link", Make.Route("172.18.0.0/16", "192.0.2.1"), "prefix", "is a subnet of \"blue.router\"" },
        { "own address", Make.Route("192.0.2.10/32", "172.18.0.2"), "prefix", "the switch's own address on \"uplink\"" },
        { "unknown VRF", Make.Route("10.0.0.0/8", "192.0.2.1", r => r.Vrf = "x"), "vrf", "VRF \"x\" does not exist: no router and no routed port names it; VRFs: guests, main" },
        { "no next hop", Make.Route("10.0.0.0/8"), "next_hops", "goes nowhere; give a next hop" },
        { "next hop of a black hole", Make.Route("10.0.0.0/8", "192.0.2.1", r => r.Type = Route.Types.Type.Blackhole), "next_hops", "type BLACKHOLE goes nowhere" },
        { "no type", Make.Route("10.0.0.0/8", more: r => r.Type = (Route.Types.Type)9), "type", "9 is no type" },
        { "65 next hops", Make.Route("10.0.0.0/8", string.Join(' ', Enumerable.Range(1, 66).Where(i => i != 10).Select(i => $"192.0.2.{i}"))), "next_hops", "65 next hops, at most 64" },
        { "next hop elsewhere", Make.Route("10.0.0.0/8", "198.51.100.1"), "next_hops[0].via", "198.51.100.1 is in no subnet of VRF \"main\"" },
        { "next hop of another VRF", Make.Route("10.0.0.0/8", "10.9.0.2"), "next_hops[0].via", "is in no subnet of VRF \"main\"" },
        { "next hop of the other family", Make.Route("10.0.0.0/8", "2001:db8::1"), "next_hops[0].via", "is IPv6, the route is IPv4" },
        { "next hop that is the switch", Make.Route("10.0.0.0/8", "192.0.2.10"), "next_hops[0].via", "the switch's own address" },
        { "no address", Make.Route("10.0.0.0/8", "here"), "next_hops[0].via", "is not an IP address" },
        { "empty next hop", To("10.0.0.0/8", new NextHop()), "next_hops[0].via", "names nothing" },
        { "unknown network", To("10.0.0.0/8", new NextHop { Network = "x" }), "next_hops[0].network", "network \"x\" does not exist" },
        { "network of another VRF", To("10.0.0.0/8", new NextHop { Network = "guests" }), "next_hops[0].network", "is in VRF \"guests\", not in \"main\"" },
        { "unknown peer", To("10.0.0.0/8", new NextHop { Peer = "x" }), "next_hops[0].peer", "does not exist; tunnel peers: node2, node3" },
        { "peer without MAC", To("10.0.0.0/8", new NextHop { Peer = "node3" }), "next_hops[0].peer", "the MAC address of tunnel peer \"node3\" is not known" },
        { "peer and more", To("10.0.0.0/8", new NextHop { Peer = "node2", Via = "192.0.2.1" }), "next_hops[0].peer", "a next hop by itself" },
        { "heavy next hop", To("10.0.0.0/8", new NextHop { Via = "192.0.2.1", Weight = 65 }), "next_hops[0].weight", "is not from 1 to 64" },
        { "next hop twice", To("10.0.0.0/8", new NextHop { Via = "192.0.2.1" }, new NextHop { Via = "192.0.2.1" }), "next_hops[1]", "named twice" },
        { "route that swallows a peer", To("192.0.2.20/32", new NextHop { Peer = "node2" }), "next_hops", "192.0.2.20 of tunnel peer \"node2\" would be reached through a tunnel itself" },
        { "route of another name", Make.Route("10.0.0.0/8", "192.0.2.1", r => r.Name = "10.0.0.0/8"), "name", "is \"main/10.0.0.0/8\"" },
        { "uplink that loses its subnet", Make.Routed("uplink", "192.0.3.10/24"), "next_hops[0].via", "192.0.2.1 is in no subnet" },
        { "network that loses its router", Make.Net("far", "10.244.1.0/24", "10.244.1.1", n => n.Vxlan = new Vxlan { Vni = 100 }), "next_hops[0].peer", "has no router" },
        { "network that loses its VXLAN", Make.Net("far", "10.244.1.0/24", "10.244.1.1", n => n.Router = new Router()), "network", "network \"far\" does not extend over VXLAN" },
        { "uplink with a smaller MTU", Make.Routed("uplink", "192.0.2.10/24", p => p.Mtu = 1400), "mtu", "more than the MTU 1400 of \"uplink\"" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void IsRefused(string what, Resource resource, string field, string message)
    {
        // A network that overlaps another one, kept apart by its VRF.
        DesiredState before = ValidationTests.Plan(Before, Make.Net("twin", "172.18.1.0/24", "172.18.1.1", n => n.Router = new Router { Vrf = "twin" })).After;
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(before, resource));
        Assert.Contains(error.Problems, p => p.Field == field && ProblemText.Line(p).Contains(message, StringComparison.Ordinal));
        Assert.NotEmpty(what);
        Assert.Equal(StatusCode.InvalidArgument, error.Code);
        Assert.All(error.Problems, p => Assert.DoesNotContain("\n", p.Message, StringComparison.Ordinal));
    }

    public static TheoryData<string, Resource> Accepted { get; } = new()
    {
        { "router of one family", Make.Net("n", "10.7.0.0/16 fd07::/64", "10.7.0.1", n => n.Router = new Router { SourceCheck = true, ProxyArp = true }) },
        { "router in a VLAN", Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => { n.VlanFiltering = true; n.Router = new Router { Vlan = 7 }; }) },
        { "same subnet in another VRF", Make.Net("n", "172.18.0.0/16", "172.18.0.1", n => n.Router = new Router { Vrf = "x" }) },
        { "overlay without address", Make.Net("n", more: n => { n.Router = new Router(); n.Vxlan = new Vxlan { Vni = 7, Port = 8472, Flood = false }; }) },
        { "overlay over IPv6", Make.Net("n", more: n => n.Vxlan = new Vxlan { Vni = 7, Local = "::", ZeroChecksum6 = true }) },
        { "overlay over the host's network", Make.Net("n", more: n => n.Vxlan = new Vxlan { Vni = 7, Local = "172.18.0.1" }) },
        { "routed port without address", Make.Routed("p") },
        { "point-to-point link", Make.Routed("p", "10.6.0.0/31 fd06::/127") },
        { "routed TAP", ResourceKeys.Of(new Port { Name = "p", Routed = new Routed { Addresses = { "10.6.0.1/24" } }, Tap = new Tap { Netns = "web", Device = "up", Addresses = { "10.6.0.2/24" }, DefaultRoute = true } }) },
        { "same address in another VRF", Make.Routed("p", "192.0.2.10/24", p => p.Routed.Vrf = "x") },
        { "peer that routes lead to already", Make.Peer("node2", "far", "192.0.2.21", PeerMac) },
        { "peer far away", Make.Peer("p", "far", "203.0.113.7") },
        { "neighbour off the subnets", Make.Neighbour("far", "10.244.2.0", PeerMac) },
        { "neighbour that is a port, with its MAC", Make.Neighbour("blue", "172.18.0.2", Before.Ports["web"].Spec.MacInForce(Before.Networks["blue"].Spec).ToString()) },
        { "default route", Make.Route("0.0.0.0/0", "192.0.2.1") },
        { "IPv6 default route", Make.Route("::/0", "2001:db8::1") },
        { "next hop that is on the link all the same", To("10.0.0.0/8", new NextHop { Via = "198.51.100.1", Port = "uplink" }) },
        { "destinations on the link", To("198.51.100.0/24", new NextHop { Port = "uplink" }) },
        { "several ways", To("10.0.0.0/8", new NextHop { Via = "192.0.2.1", Weight = 3 }, new NextHop { Via = "192.0.2.2" }, new NextHop { Peer = "node2" }) },
        { "black hole", Make.Route("10.0.0.0/8", more: r => r.Type = Route.Types.Type.Blackhole) },
        { "host route within a subnet", Make.Route("192.0.2.77/32", "192.0.2.1") },
        { "route of a VRF", Make.Route("10.0.0.0/8", "10.9.0.2", r => r.Vrf = "guests") },
        { "default route into a tunnel", To("0.0.0.0/0", new NextHop { Peer = "node2" }) },
        { "network that changes its addresses", Make.Net("blue", "172.19.0.0/16 fd00::/64", "172.19.0.1 fd00::1", n => n.Router = new Router()) },
    };

    [Theory]
    [MemberData(nameof(Accepted))]
    public void IsAccepted(string what, Resource resource)
    {
        // Nothing else in "blue", which one row changes.
        DesiredState before = BatchPlanner.Plan(Before, new Batch { Delete = what.Contains("changes", StringComparison.Ordinal) ? [Key(Kind.Port, "web")] : [] }, new Limits(255, 63)).After;
        PlannedBatch plan = ValidationTests.Plan(before, resource);
        Assert.NotNull(plan.After.Find(resource.Kind, plan.Changes[0].Resource.Name));
    }

    public static TheoryData<ResourceKey, string> Used { get; } = new()
    {
        { Key(Kind.TunnelPeer, "node2"), "tunnel peer \"node2\": is used by route \"main/10.244.2.0/24\"; delete these first, or in the same call" },
        { Key(Kind.Network, "far"), "network \"far\": is used by tunnel peer \"node2\", tunnel peer \"node3\"; delete these first, or in the same call" },
    };

    [Theory]
    [MemberData(nameof(Used))]
    public void WhatIsUsedCannotBeDeleted(ResourceKey key, string message)
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(Before, key));
        Assert.Equal(StatusCode.FailedPrecondition, error.Code);
        Assert.Equal(message, error.Message);
    }

    [Fact]
    public void AVrfGoesWithItsLastInterface()
    {
        DesiredState before = ValidationTests.Plan(Before, Make.Route("10.0.0.0/8", "10.9.0.2", r => r.Vrf = "guests")).After;
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(before, Key(Kind.Network, "guests")));
        Assert.Contains("route \"guests/10.0.0.0/8\": VRF \"guests\" does not exist", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("guests", Delete(before, Key(Kind.Network, "guests"), Key(Kind.Route, "guests/10.0.0.0/8")).Topology.Vrfs.Keys);
    }

    [Fact]
    public void ARouteThatIsGoneMustNotLeaveAPeerBehindATunnel()
    {
        DesiredState before = ValidationTests.Plan(
            Before, Make.Route("203.0.113.0/24", "192.0.2.1"), Make.Peer("p", "far", "203.0.113.7"), To("0.0.0.0/0", new NextHop { Peer = "node2" })).After;
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(before, Key(Kind.Route, "main/203.0.113.0/24")));
        Assert.Contains("tunnel peer \"p\": 203.0.113.7 of tunnel peer \"p\" would be reached through a tunnel itself, by route main/0.0.0.0/0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryProblemIsReportedAtOnce()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(
            Before,
            Make.Net("n", "10.7.0.0/16", more: n => { n.Router = new Router { Vrf = "-" }; n.Vxlan = new Vxlan { Vni = 100, Ttl = 300, Local = "x" }; }),
            Make.Peer("p", "nowhere", "x"),
            Make.Route("10.0.0.1/8", "198.51.100.1 fd00::9"),
            Make.Neighbour("plain", "y", "z")));
        Assert.Equal(
            ["router.vrf", "vxlan.vni", "vxlan.ttl", "vxlan.local", "network", "address", "network", "mac", "address", "prefix", "next_hops[0].via", "next_hops[1].via"],
            error.Problems.Select(p => p.Field));
    }

    [Fact]
    public void AnOverlaysPacketsAreSmaller()
    {
        Assert.Equal(1450u, new Network { Vxlan = new Vxlan { Vni = 1 } }.MtuInForce);
        Assert.Equal(1430u, new Network { Vxlan = new Vxlan { Vni = 1, Local = "2001:db8::10" } }.MtuInForce);
        Assert.Equal(1400u, new Network { Vxlan = new Vxlan { Vni = 1 }, Mtu = 1400 }.MtuInForce);
    }

    private static DesiredState Delete(DesiredState before, params ResourceKey[] keys) => BatchPlanner.Plan(before, new Batch { Delete = keys }, new Limits(255, 63)).After;

    private static ResourceKey Key(Kind kind, string name) => new() { Kind = kind, Name = name };

    internal static Resource To(string prefix, params NextHop[] hops) => Make.Route(prefix, more: r => r.NextHops.Add(hops));

    private static Resource Overlay(Action<Vxlan> more) => Make.Net("n", more: n => more(n.Vxlan = new Vxlan { Vni = 7 }));

    private static string Subnets(int count) => string.Join(' ', Enumerable.Range(1, count).Select(i => $"10.7.{i}.0/24"));

    private static string Gateways(int count) => string.Join(' ', Enumerable.Range(1, count).Select(i => $"10.7.{i}.1"));
}
