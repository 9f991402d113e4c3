using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>The rules of desired state, one row each: a batch on top of a small network, and what is said about it.</summary>
public sealed class ValidationTests
{
    /// <summary>
    /// blue: 172.18.0.0/16 and fd00::/64 with gateways, ports "web" (172.18.0.2, namespace web) and "dp0" (host);
    /// tagged: VLAN filtering, port "uplink".
    /// </summary>
    private static DesiredState Before { get; } = Plan(
        DesiredState.Empty,
        Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1"),
        Make.Net("tagged", more: n => n.VlanFiltering = true),
        Make.Tap("web", "blue", "172.18.0.2/16 fd00::2/64", "web"),
        Make.Tap("dp0", "blue", more: p => p.Tap.Host = true),
        Make.Memory("uplink", "tagged", p => p.Trunk = new Trunk())).After;

    /// <summary>What is wrong, in words; the resource; its field; a part of the message.</summary>
    public static TheoryData<string, Resource, string, string> Refused { get; } = new()
    {
        { "no name", Make.Net(""), "name", "has no name" },
        { "bad name", Make.Net("a b"), "name", "1 to 63 characters" },
        { "long name", Make.Net(new string('a', 64)), "name", "1 to 63 characters" },
        { "no subnet", Make.Net("n", "172.19.0.0"), "subnets[0]", "is not a subnet" },
        { "prefix too long", Make.Net("n", "172.19.0.0/33"), "subnets[0]", "is not a subnet" },
        { "bits behind the prefix", Make.Net("n", "172.19.0.1/16"), "subnets[0]", "has bits set behind its prefix; write 172.19.0.0/16" },
        { "multicast subnet", Make.Net("n", "224.0.0.0/8"), "subnets[0]", "cannot be the subnet" },
        { "everything", Make.Net("n", "0.0.0.0/0"), "subnets[0]", "cannot be the subnet" },
        { "same subnet", Make.Net("n", "172.18.0.0/16"), "subnets[0]", "overlaps 172.18.0.0/16 of network \"blue\"" },
        { "inner subnet", Make.Net("n", "172.18.7.0/24"), "subnets[0]", "overlaps 172.18.0.0/16 of network \"blue\"" },
        { "outer subnet", Make.Net("n", "172.16.0.0/12"), "subnets[0]", "overlaps 172.18.0.0/16 of network \"blue\"" },
        { "inner IPv6 subnet", Make.Net("n", "fd00::/80"), "subnets[0]", "overlaps fd00::/64" },
        { "overlap within", Make.Net("n", "10.0.0.0/8 10.1.0.0/16"), "subnets[1]", "of the same network" },
        { "gateway outside", Make.Net("n", "10.0.0.0/8", "11.0.0.1"), "gateways[0]", "is outside the subnets" },
        { "gateway without subnet", Make.Net("n", "", "11.0.0.1"), "gateways[0]", "has no subnet" },
        { "gateway with prefix", Make.Net("n", "10.0.0.0/8", "10.0.0.1/8"), "gateways[0]", "leave it out" },
        { "network address", Make.Net("n", "10.0.0.0/8", "10.0.0.0"), "gateways[0]", "is the network address" },
        { "broadcast address", Make.Net("n", "10.0.0.0/8", "10.255.255.255"), "gateways[0]", "is the broadcast address" },
        { "two gateways", Make.Net("n", "10.0.0.0/8", "10.0.0.1 10.0.0.2"), "gateways[1]", "already has 10.0.0.1" },
        { "no MAC", Make.Net("n", more: n => n.Mac = "02:00"), "mac", "is not a MAC address" },
        { "multicast MAC", Make.Net("n", more: n => n.Mac = "01:00:5e:00:00:01"), "mac", "multicast" },
        { "zero MAC", Make.Net("n", more: n => n.Mac = "00:00:00:00:00:00"), "mac", "all zeroes" },
        { "small MTU", Make.Net("n", more: n => n.Mtu = 67), "mtu", "below 68" },
        { "large MTU", Make.Net("n", more: n => n.Mtu = 65_522), "mtu", "above 65521" },
        { "small MTU for IPv6", Make.Net("n", "fd01::/64", more: n => n.Mtu = 1279), "mtu", "RFC 8200" },
        { "long ageing", Make.Net("n", more: n => n.AgeingSeconds = 1_000_001), "ageing_seconds", "above 1000000" },
        { "port without network", Make.Tap("p", ""), "network", "belongs to no network" },
        { "unknown network", Make.Tap("p", "red"), "network", "network \"red\" does not exist" },
        { "nothing attached", ResourceKeys.Of(new Port { Name = "p", Network = "blue" }), "tap", "nothing attached" },
        { "long device name", Make.Tap("p", "blue", more: p => p.Tap.Device = "sixteencharacter"), "tap.device", "16 characters, at most 15" },
        { "port name too long for a device", Make.Tap("a-port-with-a-long-name", "blue"), "tap.device", "at most 15" },
        { "device name with slash", Make.Tap("p", "blue", more: p => p.Tap.Device = "a/b"), "tap.device", "is not a device name" },
        { "loopback", Make.Tap("p", "blue", more: p => p.Tap.Device = "lo"), "tap.device", "taken by the kernel" },
        { "device of another port", Make.Tap("p", "blue", "", "web"), "tap.device", "belongs to port \"web\"" },
        { "relative namespace", Make.Tap("p", "blue", "", "a/b"), "tap.netns", "neither" },
        { "address without prefix", Make.Tap("p", "blue", "172.18.0.3"), "tap.addresses[0]", "with a prefix length" },
        { "address outside", Make.Tap("p", "blue", "10.0.0.1/24"), "tap.addresses[0]", "address 10.0.0.1/24 is outside network \"blue\" (172.18.0.0/16, fd00::/64)" },
        { "address of another port", Make.Tap("p", "blue", "172.18.0.2/16"), "tap.addresses[0]", "is also that of port \"web\"" },
        { "IPv6 address of another port", Make.Tap("p", "blue", "fd00:0::2/64"), "tap.addresses[0]", "is also that of port \"web\"" },
        { "the gateway's address", Make.Tap("p", "blue", "172.18.0.1/16"), "tap.addresses[0]", "is the gateway" },
        { "address twice", Make.Tap("p", "blue", "172.18.0.3/16 172.18.0.3/16"), "tap.addresses[1]", "named twice" },
        { "multicast device MAC", Make.Tap("p", "blue", more: p => p.Tap.Mac = "ff:ff:ff:ff:ff:ff"), "tap.mac", "multicast" },
        { "MAC of another port", Make.Tap("p", "blue", more: p => p.Tap.Mac = Before.Ports["web"].Spec.MacInForce(Before.Networks["blue"].Spec).ToString().ToUpperInvariant()), "tap.mac", "also that of port \"web\"" },
        { "MAC of the network", Make.Tap("p", "blue", more: p => p.Tap.Mac = Before.Networks["blue"].Spec.MacInForce.ToString()), "tap.mac", "that of network \"blue\"" },
        { "default route without address", Make.Tap("p", "blue", more: p => p.Tap.DefaultRoute = true), "tap.default_route", "needs an address" },
        { "default route without gateway", Make.Tap("p", "tagged", "10.0.0.1/8", more: p => p.Tap.DefaultRoute = true), "tap.default_route", "has no gateway" },
        { "next hop elsewhere", Make.Tap("p", "blue", "172.18.0.3/16", more: p => { p.Tap.DefaultRoute = true; p.Tap.Gateways.Add("10.0.0.1"); }), "tap.gateways[0]", "in no subnet" },
        { "next hop without route", Make.Tap("p", "blue", "172.18.0.3/16", more: p => p.Tap.Gateways.Add("172.18.0.9")), "tap.gateways", "without a default route" },
        { "second host port", Make.Tap("p", "blue", more: p => p.Tap.Host = true), "tap.host", "already has host port \"dp0\"" },
        { "host port elsewhere", Make.Tap("p", "tagged", "", "web", p => { p.Tap.Host = true; p.Tap.Device = "x"; }), "tap.netns", "lives in the host's namespace" },
        { "no DPDK device", ResourceKeys.Of(new Port { Name = "p", Network = "blue", Dpdk = new Dpdk() }), "dpdk.devargs", "names no device" },
        { "DPDK with spaces", ResourceKeys.Of(new Port { Name = "p", Network = "blue", Dpdk = new Dpdk { Devargs = "net_null0 copy=1" } }), "dpdk.devargs", "white space" },
        { "no capture file", ResourceKeys.Of(new Port { Name = "p", Network = "blue", Pcap = new Pcap() }), "pcap", "names no file" },
        { "relative capture file", ResourceKeys.Of(new Port { Name = "p", Network = "blue", Pcap = new Pcap { RxFile = "a.pcap" } }), "pcap.rx_file", "absolute path" },
        { "access VLAN without filtering", Make.Memory("p", "blue", p => p.AccessVlan = 10), "access_vlan", "does not look at VLANs" },
        { "trunk without filtering", Make.Memory("p", "blue", p => p.Trunk = new Trunk()), "trunk", "does not look at VLANs" },
        { "VLAN 0", Make.Memory("p", "tagged", p => p.AccessVlan = 0), "access_vlan", "VLAN 0 is not from 1 to 4094" },
        { "VLAN 4095", Make.Memory("p", "tagged", p => p.AccessVlan = 4095), "access_vlan", "not from 1 to 4094" },
        { "no VLAN", Make.Memory("p", "tagged", p => p.Trunk = new Trunk { Vlans = { "x" } }), "trunk.vlans[0]", "is not a VLAN" },
        { "backward range", Make.Memory("p", "tagged", p => p.Trunk = new Trunk { Vlans = { "10", "30-20" } }), "trunk.vlans[1]", "ends before it begins" },
        { "range too far", Make.Memory("p", "tagged", p => p.Trunk = new Trunk { Vlans = { "4000-4095" } }), "trunk.vlans[0]", "from 1 to 4094" },
        { "bad native VLAN", Make.Memory("p", "tagged", p => p.Trunk = new Trunk { Native = 5000 }), "trunk.native", "not from 1 to 4094" },
        { "port MTU", Make.Memory("p", "blue", p => p.Mtu = 1000), "mtu", "RFC 8200" },
        { "storm control of nothing", Make.Memory("p", "blue", p => p.StormControl = new StormControl()), "storm_control.packets_per_second", "is not from 1" },
        { "static MAC nowhere", ResourceKeys.Of(new StaticMac { Network = "blue", Mac = "02:00:00:00:00:01" }), "port", "goes nowhere" },
        { "static MAC of unknown network", Make.Mac("red", "02:00:00:00:00:01"), "network", "does not exist" },
        { "static MAC to unknown port", Make.Mac("blue", "02:00:00:00:00:01", "x"), "port", "does not exist" },
        { "static MAC to another network", Make.Mac("blue", "02:00:00:00:00:01", "uplink"), "port", "is in network \"tagged\"" },
        { "static multicast MAC", Make.Mac("blue", "01:00:5e:00:00:01"), "mac", "multicast" },
        { "static MAC with VLAN", Make.Mac("blue", "02:00:00:00:00:01", vlan: 10), "vlan", "does not look at VLANs" },
        { "static MAC without VLAN", Make.Mac("tagged", "02:00:00:00:00:01"), "vlan", "none is named" },
        { "static MAC of another name", ResourceKeys.Of(new StaticMac { Name = "x", Network = "blue", Mac = "02:00:00:00:00:01", Drop = true }), "name", "is \"blue/02:00:00:00:00:01\"" },
        { "network that no longer fits its ports", Make.Net("blue", "10.0.0.0/8"), "tap.addresses[0]", "is outside network \"blue\"" },
        { "network that loses its VLANs", Make.Net("tagged"), "trunk", "does not look at VLANs" },
        { "nothing at all", new Resource(), "", "it is of no kind" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void IsRefused(string what, Resource resource, string field, string message)
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Plan(Before, resource));
        Problem problem = Assert.Single(error.Problems, p => p.Field == field && ProblemText.Line(p).Contains(message, StringComparison.Ordinal));
        Assert.NotEmpty(what);
        Assert.Equal(StatusCode.InvalidArgument, error.Code);
        Assert.DoesNotContain("\n", problem.Message, StringComparison.Ordinal);
    }

    public static TheoryData<string, Resource> Accepted { get; } = new()
    {
        { "bare network", Make.Net("n") },
        { "neighbouring subnet", Make.Net("n", "172.19.0.0/16", "172.19.255.254") },
        { "point-to-point subnet", Make.Net("n", "10.0.0.0/31", "10.0.0.0") },
        { "no ageing", Make.Net("n", more: n => n.AgeingSeconds = 0) },
        { "smallest MTU", Make.Net("n", more: n => n.Mtu = 68) },
        { "same device name elsewhere", Make.Tap("p", "blue", "172.18.0.3/16", "db") },
        { "namespace by path", Make.Tap("p", "blue", "172.18.0.3/16", "/proc/1/ns/net") },
        { "default route", Make.Tap("p", "blue", "172.18.0.3/16", "db", p => p.Tap.DefaultRoute = true) },
        { "host port of another network", Make.Tap("dp1", "tagged", more: p => p.Tap.Host = true) },
        { "host port that names its gateway", Make.Tap("dp0", "blue", "172.18.0.1/16", more: p => p.Tap.Host = true) },
        { "address in a network without subnets", Make.Tap("p", "tagged", "10.0.0.1/8") },
        { "trunk of ranges", Make.Memory("p", "tagged", p => p.Trunk = new Trunk { Vlans = { "1", "10-4094" }, Native = 7 }) },
        { "access", Make.Memory("p", "tagged", p => p.AccessVlan = 4094) },
        { "static MAC in a VLAN", Make.Mac("tagged", "02:00:00:00:00:01", "uplink", 10) },
        { "the same again", Make.Tap("web", "blue", "172.18.0.2/16 fd00::2/64", "web") },
    };

    [Theory]
    [MemberData(nameof(Accepted))]
    public void IsAccepted(string what, Resource resource)
    {
        PlannedBatch plan = Plan(Before, resource);
        Assert.NotEmpty(what);
        Assert.NotNull(plan.After.Find(resource.Kind, plan.Changes[0].Resource.Name));
    }

    [Fact]
    public void EveryProblemIsReportedAtOnce()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Plan(
            Before,
            Make.Net("n", "172.18.0.0/24 x", "1.2.3.4", n => n.Mac = "y"),
            Make.Tap("p", "red", more: p => { p.Tap.Device = "sixteencharacter"; p.Mtu = 1; })));
        Assert.Equal(
            ["subnets[0]", "subnets[1]", "gateways[0]", "mac", "network", "tap.device", "mtu"],
            error.Problems.Select(p => p.Field));
        Assert.Equal(7, error.Message.Split('\n').Length);
    }

    /// <summary>One problem does not hide what is wrong whatever the network is like.</summary>
    [Fact]
    public void ProblemsOfAPortInNoNetworkAreReportedToo()
    {
        Port port = Make.Tap("p", "red", "nonsense 10.0.0.1/8 10.0.0.1/16", more: p =>
        {
            p.Tap.Mac = "zz";
            p.Tap.DefaultRoute = true;
            p.Tap.Gateways.Add("10.0.0.300");
            p.AccessVlan = 5000;
        }).Port;
        Assert.Equal(["network", "tap.mac", "tap.addresses[0]", "tap.addresses[2]", "tap.gateways[0]", "access_vlan"], Fields());
        // Here two addresses are outside too, and VLANs are not looked at.
        port.Network = "blue";
        Assert.Equal(
            ["tap.mac", "tap.addresses[0]", "tap.addresses[1]", "tap.addresses[2]", "tap.addresses[2]", "tap.gateways[0]", "access_vlan", "access_vlan"],
            Fields());

        IEnumerable<string> Fields()
        {
            ProblemException error = Assert.Throws<ProblemException>(() => Plan(Before, ResourceKeys.Of(port)));
            return error.Problems.Select(p => p.Field);
        }
    }

    [Fact]
    public void AProblemReadsAsASentence()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Plan(
            Plan(DesiredState.Empty, Make.Net("blue", "172.18.0.0/16")).After, Make.Tap("web", "blue", "10.0.0.1/24")));
        Assert.Equal("port \"web\": address 10.0.0.1/24 is outside network \"blue\" (172.18.0.0/16)", error.Message);
    }

    [Fact]
    public void WhatIsUsedCannotBeDeleted()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(Before, (Kind.Network, "blue")));
        Assert.Equal(StatusCode.FailedPrecondition, error.Code);
        Assert.Equal("network \"blue\": is used by port \"dp0\", port \"web\"; delete these first, or in the same call", error.Message);

        DesiredState withMac = Plan(Before, Make.Mac("blue", "02:00:00:00:00:01", "web")).After;
        Assert.Throws<ProblemException>(() => Delete(withMac, (Kind.Port, "web")));
        Assert.Empty(Delete(withMac, (Kind.StaticMac, "blue/02:00:00:00:00:01"), (Kind.Port, "web"), (Kind.Port, "dp0"), (Kind.Network, "blue")).After.PortsOf("blue"));
    }

    [Fact]
    public void WhatDoesNotExistCannotBeDeleted()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(Before, (Kind.Port, "x"), (Kind.Network, "y")));
        Assert.Equal(StatusCode.NotFound, error.Code);
        Assert.Equal(2, error.Problems.Count);
        var batch = new Batch { Delete = [new ResourceKey { Kind = Kind.Port, Name = "x" }], IgnoreMissing = true };
        Assert.False(BatchPlanner.Plan(Before, batch, new Limits(255, 63)).HasEffect);
    }

    internal static PlannedBatch Plan(DesiredState before, params Resource[] resources) =>
        BatchPlanner.Plan(before, new Batch { Apply = resources }, new Limits(255, 63));

    private static PlannedBatch Delete(DesiredState before, params (Kind Kind, string Name)[] keys) => BatchPlanner.Plan(
        before, new Batch { Delete = [.. keys.Select(k => new ResourceKey { Kind = k.Kind, Name = k.Name })] }, new Limits(255, 63));
}
