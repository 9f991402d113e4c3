using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>The rules of services, published ports and masquerade, one row each: a batch on top of a small network, and what is said about it.</summary>
public sealed class ServiceValidationTests
{
    /// <summary>
    /// <see cref="RoutingValidationTests.Before"/>, and: shop at 10.96.0.10 port 80, node port 30080, backend 172.18.0.2; dns at 10.96.0.53
    /// (ports "udp" and "tcp"), shared external IP 198.51.100.7; direct: with dsr at 10.96.0.20; "pub": port 8080 of the node to 172.18.0.2.
    /// </summary>
    internal static DesiredState Before { get; } = ValidationTests.Plan(
        RoutingValidationTests.Before,
        Make.Service("shop", "10.96.0.10", "80^30080"),
        Make.Service("dns", "10.96.0.53", "udp:53/udp tcp:53", s => s.ExternalIps.Add("198.51.100.7")),
        Make.Service("direct", "10.96.0.20", "443", s => s.Dsr = true),
        Make.Backend("shop", "172.18.0.2"),
        Make.Published("pub", "172.18.0.2", 80, 8080),
        Make.Published("one", "172.18.0.2", 80, 8081, p => p.HostAddress = "192.0.2.10")).After;

    /// <summary>What is wrong, in words; the resource; its field; a part of the message.</summary>
    public static TheoryData<string, Resource, string, string> Refused { get; } = new()
    {
        { "no name", Make.Service("", "10.96.0.1"), "name", "has no name" },
        { "no address", Make.Service("s", ""), "cluster_ips", "is reached nowhere; give cluster_ips" },
        { "no port", Make.Service("s", "10.96.0.1", ""), "ports", "has no port" },
        { "bad address", Make.Service("s", "10.96.0"), "cluster_ips[0]", "\"10.96.0\" is not an IP address" },
        { "address with prefix", Make.Service("s", "10.96.0.1/32"), "cluster_ips[0]", "leave the prefix length out" },
        { "multicast address", Make.Service("s", "224.0.0.1"), "cluster_ips[0]", "cannot be the address of a service" },
        { "mapped address", Make.Service("s", "::ffff:10.96.0.1"), "cluster_ips[0]", "cannot be the address of a service" },
        { "address twice", Make.Service("s", "10.96.0.1", more: s => s.ExternalIps.Add("10.96.0.1")), "external_ips[0]", "named twice" },
        { "the switch's own address", Make.Service("s", "192.0.2.10"), "cluster_ips[0]", "is the switch's own address, on \"uplink\"" },
        { "address in a network", Make.Service("s", "172.18.9.9"), "cluster_ips[0]", "is in network \"blue\"" },
        { "port 0", Make.Service("s", "10.96.0.1", "0"), "ports[0].port", "0 is no port" },
        { "large port", Make.Service("s", "10.96.0.1", "65536"), "ports[0].port", "65536 is no port" },
        { "large target port", Make.Service("s", "10.96.0.1", "80->70000"), "ports[0].target_port", "70000 is no port" },
        { "large node port", Make.Service("s", "10.96.0.1", "80^70000"), "ports[0].node_port", "70000 is no port" },
        { "nameless ports", Make.Service("s", "10.96.0.1", "80 81"), "ports[1].name", "name each port" },
        { "name twice", Make.Service("s", "10.96.0.1", "a:80 a:81"), "ports[1].name", "two ports are called \"a\"" },
        { "port twice", Make.Service("s", "10.96.0.1", "a:80 b:80"), "ports[1].port", "tcp port 80 is named twice" },
        { "node port twice", Make.Service("s", "10.96.0.1", "a:80^30001 b:81^30001"), "ports[1].node_port", "named twice" },
        { "VRF twice", Make.Service("s", "10.96.0.1", more: s => s.Vrfs.Add(["main", "main"])), "vrfs[1]", "named twice" },
        { "bad VRF", Make.Service("s", "10.96.0.1", more: s => s.Vrfs.Add("a b")), "vrfs[0]", "no name of a VRF" },
        { "port of another service", Make.Service("s", "10.96.0.10"), "ports[0].port", "tcp port 80 of 10.96.0.10 is that of service \"shop\"" },
        { "port of a shared address", Make.Service("s", "", "53/udp", s => s.LoadBalancerIps.Add("198.51.100.7")), "ports[0].port", "udp port 53 of 198.51.100.7 is that of service \"dns\"" },
        { "node port of another service", Make.Service("s", "10.96.0.1", "80^30080"), "ports[0].node_port", "taken by service \"shop\", as a node port" },
        { "node port that is published", Make.Service("s", "10.96.0.1", "80^8080"), "ports[0].node_port", "taken by published port \"pub\"" },
        { "node port that is published at one address", Make.Service("s", "10.96.0.1", "80^8081"), "ports[0].node_port", "taken by published port \"one\" at 192.0.2.10" },
        { "node port of the tunnels", Make.Service("s", "10.96.0.1", "80^4789/udp"), "ports[0].node_port", "taken by the tunnels of network \"far\" at 192.0.2.10" },
        { "external IP of the node, published port", Make.Service("s", "", "8081", s => s.ExternalIps.Add("192.0.2.10")), "ports[0].port", "taken by published port \"one\"" },
        { "policy", Make.Service("s", "10.96.0.1", more: s => s.InternalPolicy = (Service.Types.Policy)7), "internal_policy", "CLUSTER, LOCAL" },
        { "ping", Make.Service("s", "10.96.0.1", more: s => s.Ping = (Service.Types.Ping)7), "ping", "NEVER, ALWAYS, IF_READY" },
        { "distribution", Make.Service("s", "10.96.0.1", more: s => s.Distribution = (Service.Types.Distribution)7), "distribution", "RANDOM, MAGLEV" },
        { "removal", Make.Service("s", "10.96.0.1", more: s => s.BackendRemoval = (Service.Types.Removal)7), "backend_removal", "DRAIN, RESET" },
        { "long affinity", Make.Service("s", "10.96.0.1", more: s => s.Affinity = new Affinity { Seconds = 31_536_001 }), "affinity.seconds", "a year" },
        { "long time", Make.Service("s", "10.96.0.1", more: s => s.Timeouts = new Timeouts { UdpSeconds = uint.MaxValue }), "timeouts.udp_seconds", "a year" },
        { "dsr with another port", Make.Service("s", "10.96.0.1", "80->81", s => s.Dsr = true), "ports[0].target_port", "leave target_port out" },
        { "dsr with node port", Make.Service("s", "10.96.0.1", "80^30081", s => s.Dsr = true), "ports[0].node_port", "a node port has none" },
        { "dsr with source NAT", Make.Service("s", "10.96.0.1", more: s => { s.Dsr = true; s.SourceNat = true; }), "source_nat", "exclude each other" },

        { "backend of nothing", Make.Backend("", "172.18.0.9"), "service", "is of no service" },
        { "backend of an unknown service", Make.Backend("x", "172.18.0.9"), "service", "service \"x\" does not exist; services: direct, dns, shop" },
        { "backend of another name", Make.Backend("shop", "172.18.0.9", b => b.Name = "dns/a"), "name", "begins with \"shop/\"" },
        { "bad id", Make.Backend("shop", "172.18.0.9", b => b.Name = "shop/a b"), "name", "A-Z a-z 0-9" },
        { "bad address of a backend", Make.Backend("shop", "x", b => b.Name = "shop/a"), "address", "\"x\" is not an IP address" },
        { "multicast backend", Make.Backend("shop", "224.0.0.1"), "address", "cannot be the address of a backend" },
        { "backend that is its service", Make.Backend("shop", "10.96.0.10"), "address", "is itself the address of a service" },
        { "backend that is another service", Make.Backend("shop", "10.96.0.53"), "address", "is itself the address of a service" },
        { "backend of the other family", Make.Backend("dns", "fd00::9"), "address", "is IPv6, service \"dns\" has no such address" },
        { "the same server again", Make.Backend("shop", "172.18.0.2", b => b.Name = "shop/again"), "address", "172.18.0.2 port 80 is also that of backend" },
        { "unknown port of a backend", Make.Backend("dns", "172.18.0.9", b => b.Ports.Add(new BackendPort { Name = "x", Port = 5 })), "ports[0].name", "has no port \"x\"; ports: udp, tcp" },
        { "backend's port twice", Make.Backend("dns", "172.18.0.9", b => b.Ports.Add([new BackendPort { Name = "udp", Port = 5 }, new BackendPort { Name = "udp", Port = 6 }])), "ports[1].name", "named twice" },
        { "backend's port 0", Make.Backend("dns", "172.18.0.9", b => b.Ports.Add(new BackendPort { Name = "udp" })), "ports[0].port", "0 is no port" },
        { "backend's own port with dsr", Make.Backend("direct", "172.18.0.9", b => b.Ports.Add(new BackendPort { Port = 444 })), "ports[0].port", "has dsr" },
        { "large weight", Make.Backend("shop", "172.18.0.9", b => b.Weight = 65_536), "weight", "above 65535" },
        { "state of a backend", Make.Backend("shop", "172.18.0.9", b => b.State = (Backend.Types.State)7), "state", "READY, DRAINING, DOWN" },

        { "published nowhere", Make.Published("p", "", 80), "address", "leads nowhere" },
        { "published twofold", Make.Published("p", "172.18.0.2", 80, more: p => p.Port = "web"), "address", "names both" },
        { "published port of nobody", Make.Published("p", "", 80, more: p => p.Port = "x"), "port", "port \"x\" does not exist" },
        { "published port without address", Make.Published("p", "", 80, more: p => p.Port = "tagged"), "port", "has no address that the switch knows" },
        { "published gateway", Make.Published("p", "172.18.0.1", 80), "address", "it is the switch's own" },
        { "no published port", Make.Published("p", "172.18.0.2", 0), "target_port", "says no port" },
        { "large host port", Make.Published("p", "172.18.0.2", 80, 65_536), "host_port", "65536 is no port" },
        { "host address of somebody else", Make.Published("p", "172.18.0.2", 80, 81, p => p.HostAddress = "192.0.2.11"), "host_address", "192.0.2.11 is no address of the node; addresses:" },
        { "families", Make.Published("p", "172.18.0.2", 80, 81, p => p.HostAddress = "2001:db8::10"), "address", "172.18.0.2 is IPv4, host_address 2001:db8::10 is IPv6" },
        { "VRF that is not", Make.Published("p", "172.18.0.2", 80, 81, p => p.Vrf = "x"), "vrf", "VRF \"x\" does not exist" },

        { "masquerade without router", Make.Net("plain", "10.8.0.0/16", more: n => n.Masquerade = true), "masquerade", "set router: {}" },
        { "pool on the link", Nat(n => n.Addresses.Add("192.0.2.99")), "routed.nat.addresses[0]", "add it to routed.addresses" },
        { "pool address", Nat(n => n.Addresses.Add("x")), "routed.nat.addresses[0]", "is not an IP address" },
        { "pool address twice", Nat(n => n.Addresses.Add(["198.51.100.1", "198.51.100.1"])), "routed.nat.addresses[1]", "named twice" },
        { "large pool", Nat(n => n.Addresses.Add(Enumerable.Range(1, 9).Select(i => $"198.51.100.{i}"))), "routed.nat.addresses", "9 IPv4 addresses, a pool has at most 8" },
        { "backward ports", Nat(n => { n.FirstPort = 5000; n.LastPort = 4000; }), "routed.nat.last_port", "the range ends before it begins" },
        { "large port of a pool", Nat(n => n.LastPort = 65_536), "routed.nat.last_port", "they go from 1 to 65535" },
        { "network over a cluster IP", Make.Net("n", "10.96.0.0/24"), "subnets[0]", "cluster IP 10.96.0." },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void IsRefused(string what, Resource resource, string field, string message)
    {
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(Before, resource));
        Assert.Contains(error.Problems, p => p.Field == field && ProblemText.Line(p).Contains(message, StringComparison.Ordinal));
        Assert.NotEmpty(what);
        Assert.Equal(StatusCode.InvalidArgument, error.Code);
    }

    public static TheoryData<string, Resource> Accepted { get; } = new()
    {
        { "both families", Make.Service("s", "10.96.0.1 fd96::1") },
        { "another port of a shared address", Make.Service("s", "", "80", s => s.ExternalIps.Add("198.51.100.7")) },
        { "the same port by another protocol", Make.Service("s", "10.96.0.10", "80/udp") },
        { "the same address in another VRF", Make.Service("s", "10.96.0.10", more: s => s.Vrfs.Add("guests")) },
        { "a VRF that this node has not got", Make.Service("s", "10.96.0.1", more: s => s.Vrfs.Add("elsewhere")) },
        { "external IP of the node", Make.Service("s", "", "81", s => s.ExternalIps.Add("192.0.2.10")) },
        { "node port alone", Make.Service("s", "", "80^30081") },
        { "everything", Make.Service("s", "10.96.0.1", "a:80->8080^30081 b:53/udp c:9/sctp", s =>
            {
                s.Affinity = new Affinity();
                s.Distribution = Service.Types.Distribution.Maglev;
                s.ExternalPolicy = Service.Types.Policy.Local;
                s.Ping = Service.Types.Ping.IfReady;
                s.Timeouts = new Timeouts { EstablishedSeconds = 600 };
            }) },
        { "a second server at the same address", Make.Backend("shop", "172.18.0.2", b => { b.Name = "shop/second"; b.Ports.Add(new BackendPort { Port = 81 }); }) },
        { "drained", Make.Backend("shop", "172.18.0.2", b => b.State = Backend.Types.State.Draining) },
        { "weight 0", Make.Backend("shop", "172.18.0.9", b => b.Weight = 0) },
        { "by the name of a port", Make.Published("p", "", 80, more: p => p.Port = "web") },
        { "same port of another address", Make.Published("p", "172.18.0.2", 80, 8081, p => p.HostAddress = "172.18.0.1") },
        { "same port by another protocol", Make.Published("p", "172.18.0.2", 80, 8080, p => p.Protocol = TransportProtocol.Udp) },
        { "same again", Make.Published("pub", "172.18.0.2", 80, 8080) },
        { "port of the service's cluster IP", Make.Published("p", "172.18.0.2", 80, 80) },
        { "masquerade", Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => { n.Router = new Router(); n.Masquerade = true; }) },
        { "pool from elsewhere", Nat(n => { n.Addresses.Add("198.51.100.1"); n.FirstPort = 2000; n.EndpointIndependent = true; }) },
    };

    [Theory]
    [MemberData(nameof(Accepted))]
    public void IsAccepted(string what, Resource resource)
    {
        PlannedBatch plan = ValidationTests.Plan(Before, resource);
        Assert.NotEmpty(what);
        Assert.NotNull(plan.After.Find(resource.Kind, plan.Changes[0].Name));
    }

    public static TheoryData<string, Resource, string> Taken { get; } = new()
    {
        { "published port", Make.Published("p", "172.18.0.2", 80, 8080), "tcp port 8080 of the node is taken by published port \"pub\"; take another host_port, or leave it out for a free one" },
        { "published port at one address", Make.Published("p", "172.18.0.2", 80, 8081), "tcp port 8081 of the node is taken by published port \"one\" at 192.0.2.10" },
        { "at one address, published at all", Make.Published("p", "172.18.0.2", 80, 8080, p => p.HostAddress = "192.0.2.10"), "tcp port 8080 of 192.0.2.10 is taken by published port \"pub\"" },
        { "node port", Make.Published("p", "172.18.0.2", 80, 30080), "taken by service \"shop\", as a node port" },
        { "tunnels", Make.Published("p", "172.18.0.2", 80, 4789, p => p.Protocol = TransportProtocol.Udp), "taken by the tunnels of network \"far\" at 192.0.2.10" },
    };

    [Theory]
    [MemberData(nameof(Taken))]
    public void AConflictNamesTheHolder(string what, Resource resource, string message)
    {
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(Before, resource));
        Assert.NotEmpty(what);
        Assert.Contains(message, ProblemText.Line(Assert.Single(error.Problems)), StringComparison.Ordinal);
        Assert.Equal(StatusCode.AlreadyExists, error.Code);
    }

    [Fact]
    public void APortOfAServicesOwnAddressThatIsTheNodesIsTaken()
    {
        DesiredState with = ValidationTests.Plan(Before, Make.Service("s", "", "8082", s => s.ExternalIps.Add("192.0.2.10"))).After;
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(with, Make.Published("p", "172.18.0.2", 80, 8082)));
        Assert.Contains("taken by service \"s\" at 192.0.2.10", Assert.Single(error.Problems).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FreePortsAreChosenAndKept()
    {
        DesiredState state = ValidationTests.Plan(Before, Make.Published("a", "172.18.0.2", 1), Make.Published("b", "172.18.0.2", 2), Make.Published("c", "172.18.0.2", 3, 49_153)).After;
        ushort a = Port(state, "a"), b = Port(state, "b");
        Assert.Equal([49_152, 49_153, 49_154], new[] { a, b, Port(state, "c") }.Order().Select(p => (int)p));
        // It stays when the rest changes, and when it is applied again.
        state = ValidationTests.Plan(state, Make.Published("a", "172.18.0.9", 1)).After;
        Assert.Equal(a, Port(state, "a"));
        // One that was given back is not the next one to be given away.
        state = Delete(state, (Kind.PublishedPort, "a"));
        state = ValidationTests.Plan(state, Make.Published("d", "172.18.0.2", 1)).After;
        Assert.Equal(49_155, Port(state, "d"));
        // One that is asked for by number may be one that was chosen before, when that is gone.
        state = ValidationTests.Plan(state, Make.Published("e", "172.18.0.2", 1, a)).After;
        Assert.Equal(a, Port(state, "e"));
    }

    [Fact]
    public void WhenAllPortsAreTakenItIsSaid()
    {
        DesiredState full = BatchPlanner.Plan(Before, new Batch { Apply = [.. Enumerable.Range(49_152, 16_384).Select(p => Make.Published($"p{p}", "172.18.0.2", 80, (uint)p))] }, new Limits(255, 63)).After;
        ProblemException error = Assert.Throws<ProblemException>(() => ValidationTests.Plan(full, Make.Published("more", "172.18.0.2", 80)));
        Assert.Equal((StatusCode.ResourceExhausted, "all tcp ports from 49152 to 65535 are taken"), (error.Code, Assert.Single(error.Problems).Message));
        Assert.Equal(49_152, Port(ValidationTests.Plan(full, Make.Published("more", "172.18.0.2", 80, more: p => p.Protocol = TransportProtocol.Udp)).After, "more"));
    }

    [Fact]
    public void WhatOthersNameIsNotDeletedBeforeThem()
    {
        ProblemException error = Assert.Throws<ProblemException>(() => Delete(Before, (Kind.Service, "shop")));
        Assert.Contains("is used by backend \"shop/172.18.0.2\"", Assert.Single(error.Problems).Message, StringComparison.Ordinal);
        DesiredState with = ValidationTests.Plan(Before, Make.Published("p", "", 80, more: p => p.Port = "web")).After;
        error = Assert.Throws<ProblemException>(() => Delete(with, (Kind.Port, "web")));
        Assert.Contains("is used by published port \"p\"", Assert.Single(error.Problems).Message, StringComparison.Ordinal);
        Assert.Null(Delete(Before, (Kind.Backend, "shop/172.18.0.2"), (Kind.Service, "shop")).Find(Kind.Service, "shop"));
    }

    [Fact]
    public void NumbersOfServicesDoNotComeAgain()
    {
        uint shop = Before.Services.Services["shop"].Number;
        DesiredState state = Delete(Before, (Kind.Backend, "shop/172.18.0.2"), (Kind.Service, "shop"));
        state = ValidationTests.Plan(state, Make.Service("shop", "10.96.0.10")).After;
        Assert.True(state.Services.Services["shop"].Number > shop);
        Assert.Equal(Before.Services.Services["dns"].Number, state.Services.Services["dns"].Number);
    }

    [Fact]
    public void NothingIsLeftInTheIndexes()
    {
        ServiceState state = Delete(Before, [.. Before.Services.Published.Keys.Select(p => (Kind.PublishedPort, p)), (Kind.Backend, "shop/172.18.0.2"), .. Before.Services.Services.Keys.Select(s => (Kind.Service, s))]).Services;
        Assert.True(state.IsEmpty);
        Assert.True(state.Vips.IsEmpty && state.HostPorts.IsEmpty && state.PublishedOfPort.IsEmpty && state.WithNodePorts.IsEmpty);
    }

    private static ushort Port(DesiredState state, string name) => state.Services.Published[name].HostPort;

    private static DesiredState Delete(DesiredState state, params (Kind, string)[] keys) =>
        BatchPlanner.Plan(state, new Batch { Delete = [.. keys.Select(k => new ResourceKey { Kind = k.Item1, Name = k.Item2 })] }, new Limits(255, 63)).After;

    private static Resource Nat(Action<Nat> change) => Make.Routed("uplink", "192.0.2.10/24 2001:db8::10/64", p => change(p.Routed.Nat = new Nat()));
}
