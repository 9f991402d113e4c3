using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Pci;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Control.Pci;

/// <summary>Ports on PCI functions: who may have them, from a port's creation to its end.</summary>
public sealed class PciPortsTests
{
    private const string Card = "0000:03:00.0";

    [Theory]
    [InlineData("0000:03:00.0", "0000:03:00.0")]
    [InlineData("03:00.1,mac=02:00:00:00:00:01", "0000:03:00.1")]
    [InlineData("pci:0000:AF:1f.7", "0000:af:1f.7")]
    [InlineData("net_null0", null)]
    [InlineData("net_af_packet0,iface=eth1", null)]
    [InlineData("0000:03:00", null)]
    [InlineData("0000:03:00.8", null)]
    [InlineData("0000:03:20.0", null)]
    public void DeviceArgumentsNameAFunction(string devargs, string? address) => Assert.Equal(address, PciAddress.OfDevargs(devargs));

    [Theory]
    [InlineData("net_null0", false, null)]
    [InlineData("0000:03:00.0", true, null)]
    [InlineData("0000:03:00.0", false, "0000:03:00.0 belongs to the kernel's driver ixgbe")]
    [InlineData("0000:04:00.0", false, null)] // for programs already
    [InlineData("0000:05:00.0", false, null)] // DPDK uses it beside the kernel
    [InlineData("0000:06:00.0", true, "carries this machine's default route")]
    [InlineData("0000:09:00.0", true, null)] // not there: the engine says so
    public void OnlyAPortThatSaysSoTakesAFunction(string devargs, bool bind, string? refused)
    {
        using var machine = new FakeMachine();
        machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        machine.Load("vfio-pci");
        machine.AddFunction("0000:04:00.0", "vfio-pci", group: 8);
        machine.AddFunction("0000:05:00.0", "mlx5_core", "eth2", group: 9);
        machine.AddFunction("0000:06:00.0", "ixgbe", "eth3", group: 10);
        machine.Use("eth3", defaultRoute: true);
        var ports = new PciPorts(machine, machine.Binder);
        DeviceSpec spec = Spec(devargs, bind);
        if (refused is not null)
        {
            Assert.Contains(refused, ports.Probe(spec)!.Message, StringComparison.Ordinal);
            Assert.Contains(refused, Assert.Throws<DeviceException>(() => ports.Prepare(spec, "uplink")).Problem.Message, StringComparison.Ordinal);
            Assert.Empty(machine.Writes);
            return;
        }
        Assert.Null(ports.Probe(spec));
        ports.Prepare(spec, "uplink");
        ports.Prepare(spec, "uplink");
        Assert.Equal(devargs == Card ? 1 : 0, machine.Binder.Entries.Count(e => e.Port == "uplink"));
        Assert.Equal(devargs == Card ? "vfio-pci" : "ixgbe", machine.DriverOf(Card));
        ports.GiveBack(new HashSet<string> { Card });
        Assert.Equal(devargs == Card ? "vfio-pci" : "ixgbe", machine.DriverOf(Card));
        ports.GiveBack(new HashSet<string>());
        Assert.Equal("ixgbe", machine.DriverOf(Card));
        Assert.Equal("vfio-pci", machine.DriverOf("0000:04:00.0"));
    }

    [Fact]
    public async Task APortTakesItsFunctionAndItsEndGivesItBack()
    {
        using var bench = new Bench();
        await bench.Apply(Make.Net("blue"), Uplink(bind: true));
        Assert.Equal("uplink", bench.Pci.Bound[Card]);
        Assert.Equal(PortStatus.Types.State.Up, bench.StatusOf("uplink").State);

        await bench.Apply(Uplink(bind: true, mtu: 1400)); // its driver is given the device anew
        Assert.True(bench.Pci.Bound.ContainsKey(Card));

        await bench.Delete((Kind.Port, "uplink"));
        Assert.Empty(bench.Pci.Bound);
    }

    [Fact]
    public async Task ARefusedPortLeavesItsFunctionToTheKernel()
    {
        using var bench = new Bench();
        await bench.Apply(Make.Net("blue"));
        bench.Engine.Refuses.Add("uplink");
        await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(Uplink(bind: true)));
        Assert.Empty(bench.Pci.Bound);

        ProblemException e = await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(Uplink(bind: false)));
        Assert.Equal("dpdk.devargs", Assert.Single(e.Problems).Field);

        bench.Pci.Busy.Add(Card);
        await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(dryRun: true, Uplink(bind: true)));
    }

    [Fact]
    public async Task AFunctionIsOnePortsOnlyHoweverItIsWritten()
    {
        using var bench = new Bench();
        await bench.Apply(Make.Net("blue"), Uplink(bind: true));
        ProblemException e = await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(
            ResourceKeys.Of(new Port { Name = "again", Network = "blue", Dpdk = new Dpdk { Devargs = "pci:03:00.0", Bind = true } }),
            ResourceKeys.Of(new Port { Name = "null", Network = "blue", Dpdk = new Dpdk { Devargs = "net_null0", Bind = true } })));
        Assert.Contains(e.Problems, p => p is { Name: "again", Field: "dpdk.devargs" });
        Assert.Contains(e.Problems, p => p is { Name: "null", Field: "dpdk.bind" });
    }

    [Fact]
    public async Task ANewDaemonGoesOnWithBoundFunctionsAndGivesBackWhatNoPortHas()
    {
        using var bench = new Bench();
        await bench.Apply(Make.Net("blue"), Uplink(bind: true));
        bench.Pci.Bound["0000:04:00.0"] = "port of a batch that was never saved";
        bench.Controller.Dispose();
        bench.Controller = bench.NewController();
        await bench.Controller.ResumeAsync(CancellationToken.None);
        Assert.Equal([Card], bench.Pci.Bound.Keys);
        Assert.Equal(PortStatus.Types.State.Up, bench.StatusOf("uplink").State);

        await bench.Controller.TearDownAsync();
        Assert.Empty(bench.Pci.Bound);
    }

    private static Resource Uplink(bool bind, uint mtu = 0) =>
        ResourceKeys.Of(new Port { Name = "uplink", Network = "blue", Mtu = mtu, Dpdk = new Dpdk { Devargs = Card, Bind = bind } });

    private static DeviceSpec Spec(string devargs, bool bind) =>
        new() { Kind = DeviceKind.Dpdk, Device = devargs.Split(',')[0], EngineSpec = $"dpdk:{devargs}", Mtu = 1500, Bind = bind };
}
