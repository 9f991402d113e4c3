using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Control;

/// <summary>Routers, tunnels, routes and neighbours to records, and changes to the steps they cost.</summary>
public sealed class RouteCompilerTests
{
    /// <summary>The state of <see cref="RoutingValidationTests"/>, compiled.</summary>
    private static CompiledState Compiled { get; } = StateCompiler.Compile(Before);

    private static DesiredState Before => RoutingValidationTests.Before;

    private static int Index(string port) => Before.Topology.Find(port)!.Index;

    [Fact]
    public void ARouterIsAPortOfItsBridge()
    {
        PortRecord record = Compiled.InnerPorts[Index("blue.router")];
        Assert.Equal(PortFlags.Exists | PortFlags.Enabled | PortFlags.Router | PortFlags.FloodMulticast | PortFlags.FloodBroadcast | PortFlags.AcceptUntagged, record.Flags);
        BridgeRecord bridge = Compiled.Bridges[Before.Networks["blue"].Index];
        Assert.Equal((Index("blue.router"), Index("dp0"), Before.Networks["blue"].Index), ((int)bridge.RouterPort, (int)bridge.HostPort, (int)record.Bridge));
        Assert.Equal(
            new[] { "blue.router", "dp0", "web" }.Select(Index).Order(),
            Enumerable.Range(0, SegmentOptions.PortLimit).Where(p => PortSet.Contains(in bridge.Members, p)));
        Assert.Equal((0, 0), (Compiled.Bridges[Before.Networks["plain"].Index].RouterPort, Compiled.Bridges[Before.Networks["plain"].Index].HostPort));
    }

    [Fact]
    public void ARouterOfAVlanIsItsAccessPort()
    {
        DesiredState state = ValidationTests.Plan(DesiredState.Empty, Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => { n.VlanFiltering = true; n.Router = new Router { Vlan = 7 }; })).After;
        PortRecord record = StateCompiler.Compile(state).InnerPorts[1];
        Assert.Equal((7, true), (record.Pvid, VlanSet.Contains(in record.Vlans, 7)));
        Assert.Equal([new CompiledMac(MacTable.Key(4096 + 7, state.Networks["n"].Spec.MacInForce.Value), 1, MacFlags.Static)], StateCompiler.Compile(state).StaticMacs);
    }

    [Fact]
    public void InterfacesAre()
    {
        InterfaceRecord blue = Compiled.Interfaces[Index("blue.router")], uplink = Compiled.Interfaces[Index("uplink")], far = Compiled.Interfaces[Index("far.router")];
        Assert.Equal((Before.Networks["blue"].Spec.MacInForce.Value, (ushort)1, (ushort)1500, (ushort)Index("dp0")), (blue.Mac, blue.Vrf, blue.Mtu, blue.HostPort));
        Assert.Equal((1, 1), (blue.Count4, blue.Count6));
        Assert.Equal(new InterfaceAddress4(0xAC12_0001, 0xFFFF_0000), blue.Addresses4[0]);
        Assert.Equal(new InterfaceAddress6(new(0xFD00_0000_0000_0000, 1), new(ulong.MaxValue, 0)), blue.Addresses6[0]);
        // The overlay's MTU is smaller than the others', so segments are kept small everywhere in the VRF.
        Assert.Equal(InterfaceFlags.Exists | InterfaceFlags.ClampMss, blue.Flags);
        Assert.Equal(InterfaceFlags.Exists | InterfaceFlags.ClampMss | InterfaceFlags.Suppress, far.Flags);
        Assert.Equal((0, (ushort)1450), (far.HostPort, far.Mtu));
        Assert.Equal(InterfaceFlags.Exists, Compiled.Interfaces[Index("guests.router")].Flags);
        Assert.Equal(2, Compiled.Interfaces[Index("guests.router")].Vrf);
        Assert.Equal((Before.Ports["uplink"].Spec.RoutedMacInForce.Value, (ushort)1), (uplink.Mac, uplink.Vrf));
        Assert.Equal(PortFlags.Exists | PortFlags.Enabled | PortFlags.Routed | PortFlags.AcceptUntagged, Compiled.Ports[Index("uplink")].Record.Flags);
        Assert.Equal(0, Compiled.Ports[Index("uplink")].Record.Bridge);
    }

    [Fact]
    public void FlagsOfInterfacesAreTheOperators()
    {
        DesiredState state = ValidationTests.Plan(
            DesiredState.Empty,
            Make.Net("n", "10.7.0.0/16", "10.7.0.1", n => n.Router = new Router { SourceCheck = true, ProxyArp = true, Suppress = true, ClampMss = true }),
            Make.Routed("p", "10.6.0.1/24", p => p.Routed.ClampMss = true),
            Make.Routed("q", "10.5.0.1/24", p => { p.Mtu = 9000; p.Routed.ClampMss = false; })).After;
        CompiledState compiled = StateCompiler.Compile(state);
        Assert.Equal(InterfaceFlags.Exists | InterfaceFlags.SourceCheck | InterfaceFlags.Proxy | InterfaceFlags.Suppress | InterfaceFlags.ClampMss, compiled.Interfaces[state.Networks["n"].RouterPort].Flags);
        Assert.Equal(InterfaceFlags.Exists | InterfaceFlags.ClampMss, compiled.Interfaces[state.Ports["p"].Index].Flags);
        Assert.Equal((InterfaceFlags.Exists, (ushort)9000), (compiled.Interfaces[state.Ports["q"].Index].Flags, compiled.Interfaces[state.Ports["q"].Index].Mtu));
    }

    [Fact]
    public void TunnelsAre()
    {
        TunnelRecord tunnel = Compiled.Tunnels[Index("node2")];
        Assert.Equal((TunnelFlags.Exists, 100u, (ushort)1, (ushort)4789, (byte)64), (tunnel.Flags, tunnel.Vni, tunnel.Vrf, tunnel.UdpPort, tunnel.Ttl));
        Assert.Equal((new IPv6Number(0, 0xC000_020A), new IPv6Number(0, 0xC000_0214)), (tunnel.Local, tunnel.Remote));
        PortRecord port = Compiled.InnerPorts[Index("node2")];
        Assert.Equal(PortFlags.Default | PortFlags.Tunnel, port.Flags);
        Assert.Equal((Before.Networks["far"].Index, 1450), (port.Bridge, port.Mtu));
    }

    [Fact]
    public void ATunnelOverIPv6ThatFloodsNothing()
    {
        DesiredState state = ValidationTests.Plan(
            Before, Make.Net("six", more: n => n.Vxlan = new Vxlan { Vni = 6, Local = "::", Port = 8472, Ttl = 9, ZeroChecksum6 = true, Flood = false }),
            Make.Peer("p", "six", "2001:db8::20"), Make.Peer("q", "six", "2001:db8::21", more: p => p.Flood = true)).After;
        CompiledState compiled = StateCompiler.Compile(state);
        TunnelRecord tunnel = compiled.Tunnels[state.Peers["p"].Index];
        Assert.Equal((TunnelFlags.Exists | TunnelFlags.IPv6 | TunnelFlags.ZeroChecksum6, (ushort)8472, (byte)9), (tunnel.Flags, tunnel.UdpPort, tunnel.Ttl));
        Assert.Equal((new IPv6Number(0x2001_0DB8_0000_0000, 0x10), new IPv6Number(0x2001_0DB8_0000_0000, 0x20)), (tunnel.Local, tunnel.Remote));
        Assert.Equal(PortFlags.Exists | PortFlags.Enabled | PortFlags.AcceptUntagged | PortFlags.Tunnel, compiled.InnerPorts[state.Peers["p"].Index].Flags);
        Assert.Equal(PortFlags.Default | PortFlags.Tunnel, compiled.InnerPorts[state.Peers["q"].Index].Flags);
    }

    [Fact]
    public void ATunnelWithoutEndPointHereIsOff()
    {
        DesiredState state = ValidationTests.Plan(DesiredState.Empty, Make.Net("n", more: n => n.Vxlan = new Vxlan { Vni = 7 }), Make.Peer("p", "n", "192.0.2.20")).After;
        CompiledState compiled = StateCompiler.Compile(state);
        Assert.Empty(compiled.Tunnels);
        Assert.Equal(PortFlags.Default & ~PortFlags.Enabled | PortFlags.Tunnel, compiled.InnerPorts[1].Flags);
    }

    [Fact]
    public void MacsLeadToRoutersAndPeers()
    {
        Network blue = Before.Networks["blue"].Spec;
        ulong fid = (ulong)Before.Networks["blue"].Index << 48;
        Dictionary<ulong, ushort> macs = Compiled.StaticMacs.ToDictionary(m => m.Key, m => m.Port);
        Assert.Equal(5, macs.Count); // blue twice, for it has a host port; guests, far, node2
        Assert.Equal(Index("blue.router"), macs[fid | blue.MacInForce.Value]);
        Assert.Equal(Index("blue.router"), macs[fid | blue.SecondMac.Value]);
        Assert.Equal(Index("node2"), macs[((ulong)Before.Networks["far"].Index << 48) | MacAddress.Parse("02:00:00:00:99:01").Value]);
    }

    [Fact]
    public void NeighboursAreTheAddressesOfDevicesAndTheOperators()
    {
        DesiredState state = ValidationTests.Plan(Before, Make.Neighbour("", "2001:db8::1", "02:00:00:00:00:77", n => n.Port = "uplink")).After;
        ulong web = Before.Ports["web"].Spec.MacInForce(Before.Networks["blue"].Spec).Value;
        ushort blue = (ushort)Index("blue.router");
        Assert.Equal(
            [
                new CompiledNeighbour(new LinkAddress(blue, false, 0xAC12_0002), web),
                new CompiledNeighbour(new LinkAddress(blue, true, Cidr.ToNumber(IPAddress.Parse("fd00::2"))), web),
                new CompiledNeighbour(new LinkAddress((ushort)Index("uplink"), true, Cidr.ToNumber(IPAddress.Parse("2001:db8::1"))), MacAddress.Parse("02:00:00:00:00:77").Value),
            ],
            StateCompiler.Compile(state).Neighbours);
    }

    public static TheoryData<string, string> Routes { get; } = new()
    {
        { "1 172.18.0.0/16", "Connected blue.router" },
        { "1 172.18.0.1/32", "Local blue.router" },
        { "1 172.18.0.0/32", "Blackhole" },
        { "1 172.18.255.255/32", "Blackhole" },
        { "1 fd00::/64", "Connected blue.router" },
        { "1 fd00::1/128", "Local blue.router" },
        { "1 192.0.2.0/24", "Connected uplink" },
        { "1 2001:db8::10/128", "Local uplink" },
        { "2 10.9.0.0/16", "Connected guests.router" },
        { "1 10.50.0.0/16", "Gateway4 uplink 192.0.2.1" },
        { "1 10.244.2.0/24", "Adjacency node2" },
        { "1 0.0.0.0/0", "Adjacency dp0" },
        { "1 ::/0", "Adjacency dp0" },
    };

    [Theory]
    [MemberData(nameof(Routes))]
    public void ARouteLeads(string prefix, string target) => Assert.Equal(target, Describe(Before, Table(Before)[prefix]));

    [Fact]
    public void AVrfWithoutHostPortHasNoDefaultRoute() => Assert.DoesNotContain(Table(Before).Keys, k => k.StartsWith("2 0.0.0.0/0", StringComparison.Ordinal));

    [Theory]
    [InlineData("10.0.0.0/8", "BLACKHOLE", "Blackhole")]
    [InlineData("10.0.0.0/8", "UNREACHABLE", "Unreachable")]
    [InlineData("0.0.0.0/0", "PROHIBITED", "Prohibited")]
    public void TypesAre(string prefix, string type, string target)
    {
        DesiredState state = ValidationTests.Plan(Before, Make.Route(prefix, more: r => r.Type = Enum.Parse<Route.Types.Type>(type, ignoreCase: true))).After;
        Assert.Equal(target, Describe(state, Table(state)["1 " + prefix]));
    }

    [Fact]
    public void AnAdjacencyHasItsAddresses()
    {
        Network blue = Before.Networks["blue"].Spec, far = Before.Networks["far"].Spec;
        Assert.Equal(new Adjacency(1450, MacAddress.Parse("02:00:00:00:99:01").Value, far.MacInForce.Value), Compiled.Adjacencies[Index("node2")]);
        Assert.Equal(new Adjacency(1500, blue.MacInForce.Value, blue.SecondMac.Value), Compiled.Adjacencies[Index("dp0")]);
        Assert.DoesNotContain(Index("node3"), Compiled.Adjacencies.Keys);
    }

    /// <summary>What changes; which routes it touches, and whether all of them.</summary>
    public static TheoryData<string, Resource[], string[]?> Changes { get; } = new()
    {
        { "a route", [Make.Route("10.60.0.0/16", "192.0.2.1")], ["1 10.60.0.0/16"] },
        { "another next hop", [Make.Route("10.50.0.0/16", "192.0.2.2")], ["1 10.50.0.0/16"] },
        { "the operator's default route", [Make.Route("0.0.0.0/0", "192.0.2.1")], ["1 0.0.0.0/0"] },
        { "a port", [Make.Memory("more", "plain")], [] },
        { "a new interface", [Make.Routed("more", "10.6.0.1/24")], ["1 10.6.0.0/24", "1 10.6.0.0/32", "1 10.6.0.1/32", "1 10.6.0.255/32"] },
        { "another MAC of a peer", [Make.Peer("node2", "far", "192.0.2.20", "02:00:00:00:99:02")], [] },
        { "another address of an interface", [Make.Routed("uplink", "192.0.2.11/24 2001:db8::10/64")], null },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void AChangeCostsWhatItNames(string what, Resource[] resources, string[]? routes)
    {
        Assert.NotEmpty(what);
        PlannedBatch plan = ValidationTests.Plan(Before, resources);
        CompiledChange change = StateCompiler.Compile(plan.From(Before), Compiled, everything: false);
        Assert.Equal(routes, change.Routes?.Select(s => Text(s.Key)).Order(StringComparer.Ordinal));
        // Whatever it says, the steps lead from the one table to the other.
        Dictionary<string, RouteTarget> table = Table(Before);
        foreach (RouteStep step in change.Routes ?? [])
        {
            Assert.Equal(step.Before, table.GetValueOrDefault(Text(step.Key)));
            _ = step.After is { } after ? table[Text(step.Key)] = after : table.Remove(Text(step.Key)) ? null : null;
        }
        if (routes is not null)
        {
            Assert.Equal(Table(plan.After), table);
        }
    }

    [Fact]
    public void ANetworkThatGoesTakesAllOfItsEntriesAlong()
    {
        ResourceKey[] keys = [new() { Kind = Kind.Network, Name = "blue" }, new() { Kind = Kind.Port, Name = "web" }, new() { Kind = Kind.Port, Name = "dp0" }];
        PlannedBatch plan = BatchPlanner.Plan(Before, new Batch { Delete = keys }, new Limits(255, 63));
        CompiledChange change = StateCompiler.Compile(plan.From(Before), Compiled, everything: false);
        Assert.Equal(8, change.Routes!.Count);
        Assert.All(change.Routes, s => Assert.Null(s.After));
        Assert.Equal(2, change.Neighbours!.Remove.Count);
        Assert.Equal(2, change.Macs!.Remove.Count);
    }

    [Fact]
    public void ADefaultRouteOfTheOperatorsGivesPlaceAgain()
    {
        DesiredState with = ValidationTests.Plan(Before, Make.Route("0.0.0.0/0", "192.0.2.1")).After;
        PlannedBatch plan = BatchPlanner.Plan(with, new Batch { Delete = [new() { Kind = Kind.Route, Name = "main/0.0.0.0/0" }] }, new Limits(255, 63));
        RouteStep step = Assert.Single(StateCompiler.Compile(plan.From(with), Compiled, everything: false).Routes!);
        Assert.Equal(("Gateway4 uplink 192.0.2.1", "Adjacency dp0"), (Describe(Before, step.Before!), Describe(Before, step.After!)));
    }

    private static Dictionary<string, RouteTarget> Table(DesiredState state) => StateCompiler.Compile(state).Routes.ToDictionary(r => Text(r.Key), r => r.Target);

    private static string Text(RouteKey key)
    {
        byte[] bytes = new byte[16];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt128BigEndian(bytes, key.Address);
        return $"{key.Vrf} {new IPAddress(key.IsIPv6 ? bytes : bytes[12..])}/{key.Length}";
    }

    private static string Describe(DesiredState state, RouteTarget target)
    {
        HopKey hop = Assert.Single(target.Members).Key;
        string port = hop.Port == 0 ? "" : " " + state.PortName(hop.Port);
        return $"{hop.Kind}{port}{(hop.Gateway == default ? "" : " " + new IPAddress([.. BitConverter.GetBytes((uint)hop.Gateway.Low).Reverse()]))}";
    }
}
