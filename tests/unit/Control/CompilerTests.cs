using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Control;

/// <summary>Desired state to records.</summary>
public sealed class CompilerTests
{
    private const PortFlags Plain = PortFlags.Default;

    public static TheoryData<string, Action<Port>, PortFlags> Flags { get; } = new()
    {
        { "default", _ => { }, Plain },
        { "disabled", p => p.Enabled = false, Plain & ~PortFlags.Enabled },
        { "enabled by name", p => p.Enabled = true, Plain },
        { "not learning", p => p.Learning = false, Plain & ~PortFlags.Learning },
        { "isolated", p => p.Isolated = true, Plain | PortFlags.Isolated },
        { "hairpin", p => p.Hairpin = true, Plain | PortFlags.Hairpin },
        { "no unknown unicast", p => p.FloodUnknownUnicast = false, Plain & ~PortFlags.FloodUnicast },
        { "no multicast", p => p.FloodMulticast = false, Plain & ~PortFlags.FloodMulticast },
        { "no broadcast", p => p.FloodBroadcast = false, Plain & ~PortFlags.FloodBroadcast },
        { "BPDU guard", p => p.BpduGuard = true, Plain | PortFlags.BpduGuard },
    };

    [Theory]
    [MemberData(nameof(Flags))]
    public void PortFlagsAre(string what, Action<Port> change, PortFlags expected)
    {
        Assert.NotEmpty(what);
        Assert.Equal(expected, Record(Make.Net("n"), Make.Memory("p", "n", change)).Flags);
    }

    [Fact]
    public void AHostPortIsMarked()
    {
        CompiledPort port = Compile(Make.Net("n", "10.0.0.0/8", "10.0.0.1"), Make.Tap("dp0", "n", more: p => p.Tap.Host = true)).Ports[1];
        Assert.Equal(Plain | PortFlags.Host, port.Record.Flags);
        Assert.Equal("dp0", port.Device.Device);
        Assert.Equal(["10.0.0.1/8"], port.Device.Addresses.Select(a => a.ToString()));
    }

    [Theory]
    [InlineData("10.2.0.9/24", "10.2.0.1")]                                    // not that of the other subnet, which it could not reach
    [InlineData("10.1.0.9/24 fd00::9/64", "10.1.0.1 fd00::1")]
    [InlineData("10.1.0.9/32", "10.1.0.1")]
    public void ADefaultRouteGoesByTheGatewayOfTheAddressesSubnet(string addresses, string gateways)
    {
        CompiledPort port = Compile(Make.Net("n", "10.1.0.0/24 10.2.0.0/24 fd00::/64", "10.1.0.1 10.2.0.1 fd00::1"), Make.Tap("p", "n", addresses, more: p => p.Tap.DefaultRoute = true)).Ports[1];
        Assert.Equal(gateways, string.Join(' ', port.Device.DefaultRoutes));
    }

    [Theory]
    [InlineData(0u, 0u, 0u, 0u)]
    [InlineData(1000u, 0u, 1000u, 100u)]
    [InlineData(10u, 0u, 10u, 32u)]
    [InlineData(10u, 5u, 10u, 5u)]
    public void StormControlIs(uint pps, uint burst, uint rate, uint depth)
    {
        PortRecord record = Record(Make.Net("n"), Make.Memory("p", "n", p =>
        {
            if (pps > 0)
            {
                p.StormControl = new StormControl { PacketsPerSecond = pps, Burst = burst };
            }
        }));
        Assert.Equal((rate, depth), (record.StormRate, record.StormBurst));
    }

    public static TheoryData<string, Action<Port>, ushort, int[], PortFlags> Vlans { get; } = new()
    {
        { "default", _ => { }, 1, [1], PortFlags.AcceptUntagged },
        { "access", p => p.AccessVlan = 20, 20, [20], PortFlags.AcceptUntagged },
        { "trunk", p => p.Trunk = new Trunk { Vlans = { "10", "20-22" } }, 0, [10, 20, 21, 22], PortFlags.Trunk },
        { "trunk with native", p => p.Trunk = new Trunk { Vlans = { "10" }, Native = 5 }, 5, [5, 10], PortFlags.Trunk | PortFlags.AcceptUntagged },
    };

    [Theory]
    [MemberData(nameof(Vlans))]
    public void VlansAre(string what, Action<Port> change, ushort pvid, int[] vlans, PortFlags flags)
    {
        Assert.NotEmpty(what);
        PortRecord record = Record(Make.Net("n", more: n => n.VlanFiltering = true), Make.Memory("p", "n", change));
        Assert.Equal(pvid, record.Pvid);
        Assert.Equal(vlans, Enumerable.Range(0, 4096).Where(v => VlanSet.Contains(in record.Vlans, v)));
        Assert.Equal(flags, record.Flags & (PortFlags.Trunk | PortFlags.AcceptUntagged));
    }

    [Fact]
    public void BridgesAre()
    {
        CompiledState state = Compile(
            Make.Net("plain", more: n => { n.AgeingSeconds = 0; n.LearnLimit = 9; n.Mac = "02:00:00:00:00:0a"; }),
            Make.Net("tagged", more: n => n.VlanFiltering = true),
            Make.Memory("a", "plain"), Make.Memory("b", "tagged"), Make.Memory("c", "plain"));
        BridgeRecord plain = state.Bridges[1], tagged = state.Bridges[2];
        Assert.Equal((BridgeFlags.Exists, (ushort)1, (ushort)0), (plain.Flags, plain.FidBase, plain.FidMask));
        Assert.Equal((0u, 9u, 0x0a_00_00_00_00_02ul), (plain.AgeingSeconds, plain.LearnLimit, plain.Mac));
        Assert.Equal((BridgeFlags.Exists | BridgeFlags.VlanAware, (ushort)4096, (ushort)0xFFF), (tagged.Flags, tagged.FidBase, tagged.FidMask));
        Assert.Equal(300u, tagged.AgeingSeconds);
        Assert.Equal([1, 3], Members(plain));
        Assert.Equal([2], Members(tagged));
    }

    [Fact]
    public void MtuComesFromTheNetwork()
    {
        CompiledState state = Compile(Make.Net("n", more: n => n.Mtu = 9000), Make.Memory("a", "n"), Make.Memory("b", "n", p => p.Mtu = 1400));
        Assert.Equal((9000, 9000), (state.Ports[1].Record.Mtu, state.Ports[1].Device.Mtu));
        Assert.Equal((1400, 1400), (state.Ports[2].Record.Mtu, state.Ports[2].Device.Mtu));
    }

    [Fact]
    public void StaticMacsAre()
    {
        CompiledState state = Compile(
            Make.Net("plain"), Make.Net("tagged", more: n => n.VlanFiltering = true), Make.Memory("a", "plain"), Make.Memory("b", "tagged"),
            Make.Mac("plain", "02:00:00:00:00:01", "a"), Make.Mac("tagged", "02:00:00:00:00:01", "b", 7), Make.Mac("plain", "02:00:00:00:00:02"));
        ulong one = MacAddress.Parse("02:00:00:00:00:01").Value, two = MacAddress.Parse("02:00:00:00:00:02").Value;
        CompiledMac[] expected =
        [
            new(MacTable.Key(1, one), 1, MacFlags.Static),
            new(MacTable.Key(1, two), 0, MacFlags.Static | MacFlags.Drop),
            new(MacTable.Key(4103, one), 2, MacFlags.Static),
        ];
        Assert.Equal(expected, state.StaticMacs);
    }

    public static TheoryData<Port, string> Specs { get; } = new()
    {
        { new Port { Tap = new Tap { Netns = "web" } }, "tap:eth0" },
        { new Port { Tap = new Tap() }, "tap:p" },
        { new Port { Tap = new Tap { Device = "x0", Netns = "web" } }, "tap:x0" },
        { new Port { Dpdk = new Dpdk { Devargs = "net_memif0,role=server" } }, "dpdk:net_memif0,role=server" },
        { new Port { Pcap = new Pcap { RxFile = "/a", TxFile = "/b", Loop = true } }, "pcap:rx=/a,tx=/b,loop" },
        { new Port { Pcap = new Pcap { TxFile = "/b" } }, "pcap:tx=/b" },
        { new Port { Memory = new Dataplane.Control.Api.V1.Memory() }, "memory:p" },
    };

    [Theory]
    [MemberData(nameof(Specs))]
    public void TheEngineIsTold(Port port, string expected)
    {
        port.Name = "p";
        port.Network = "n";
        Assert.Equal(expected, Compile(Make.Net("n"), ResourceKeys.Of(port)).Ports[1].Device.EngineSpec);
    }

    [Fact]
    public void DerivedMacsAreLocalUnicastStableAndDifferent()
    {
        var network = new Network { Name = "n" };
        List<MacAddress> macs = [.. Enumerable.Range(0, 1000).Select(i => new Port { Name = $"p{i}", Tap = new Tap() }.MacInForce(network))];
        Assert.Equal(1000, macs.Distinct().Count());
        Assert.All(macs, m => Assert.Equal(2ul, m.Value & 0xFF));
        Assert.Equal(macs[7], new Port { Name = "p7", Tap = new Tap() }.MacInForce(network));
        Assert.NotEqual(network.MacInForce, new Port { Name = "n", Tap = new Tap() }.MacInForce(network));
    }

    private static CompiledState Compile(params Resource[] resources) =>
        StateCompiler.Compile(ValidationTests.Plan(DesiredState.Empty, resources).After);

    private static PortRecord Record(params Resource[] resources) => Compile(resources).Ports[1].Record;

    private static IEnumerable<int> Members(BridgeRecord record) =>
        Enumerable.Range(0, SegmentOptions.PortLimit).Where(p => PortSet.Contains(in record.Members, p));
}
