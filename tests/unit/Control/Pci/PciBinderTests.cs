using Dataplane.Control.Pci;
using Dataplane.Control.Ports;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Control.Pci;

/// <summary>Taking functions from the kernel and giving them back, on a machine in a directory.</summary>
public sealed class PciBinderTests : IDisposable
{
    private const string Card = "0000:03:00.0", Second = "0000:03:00.1", Vfio = PciBinder.DefaultDriver;

    private readonly FakeMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void AFunctionIsBoundAndGivenBackAsItWas()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        Assert.True(_machine.Binder.Bind(Card, Vfio, force: false));
        Assert.Equal(Vfio, _machine.DriverOf(Card));
        Assert.Equal(new BindingEntry(Card, "ixgbe", null, null, null), Assert.Single(_machine.Binder.Entries));

        Assert.False(_machine.Binder.Bind(Card, Vfio, force: false));
        Assert.Single(_machine.Binder.Entries);

        Assert.True(_machine.Binder.Unbind(Card));
        Assert.Equal("ixgbe", _machine.DriverOf(Card));
        Assert.Equal(["eth1"], _machine.Function(Card).Interfaces);
        Assert.Null(_machine.Function(Card).DriverOverride);
        Assert.False(File.Exists(_machine.Paths.Devices));

        Assert.False(_machine.Binder.Unbind(Card));
    }

    [Fact]
    public void TheKernelIsToldInTheRightOrder()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        _machine.Binder.Bind(Card, Vfio, force: false);
        _machine.Binder.Unbind(Card);
        string function = PciFunction.DirectoryOf(Card);
        Assert.Equal(
            [
                $"{function}/driver_override=vfio-pci", $"{function}/driver/unbind={Card}", $"/sys/bus/pci/drivers_probe={Card}",
                $"{function}/driver_override=", $"{function}/driver/unbind={Card}", $"/sys/bus/pci/drivers_probe={Card}",
            ],
            _machine.Writes);
    }

    public static TheoryData<string, bool, Action<object>, string?> Refusals() => new()
    {
        { "nothing against it", false, _ => { }, null },
        { "down, no addresses", false, m => Of(m).Use("eth1", up: false), null },
        { "up", false, m => Of(m).Use("eth1"), "eth1 (0000:03:00.0) is up: the host uses it" },
        { "up, forced", true, m => Of(m).Use("eth1"), null },
        { "has addresses", false, m => Of(m).Use("eth1", addresses: ["192.0.2.1/24"]), "eth1 (0000:03:00.0) has 192.0.2.1/24: the host uses it" },
        { "has addresses and is down", false, m => Of(m).Use("eth1", up: false, addresses: ["192.0.2.1/24"]), "has 192.0.2.1/24" },
        { "in a bridge", false, m => Of(m).Use("eth1", upper: "br0"), "is a port of br0" },
        { "in a bridge, forced", true, m => Of(m).Use("eth1", upper: "br0"), null },
        { "default route", false, m => Of(m).Use("eth1", defaultRoute: true), "eth1 (0000:03:00.0) carries this machine's default route and is not touched" },
        { "default route, forced", true, m => Of(m).Use("eth1", defaultRoute: true), "carries this machine's default route and is not touched" },
        { "the second interface has it", true, m => { Of(m).Put($"{PciFunction.DirectoryOf(Card)}/net/eth2/flags", "0x1003"); Of(m).Use("eth2", defaultRoute: true); }, "eth2 (0000:03:00.0) carries" },
        { "interface elsewhere", false, m => Of(m).Remove($"{PciFunction.DirectoryOf(Card)}/net"), "has driver ixgbe but no interface here" },
        { "interface elsewhere, forced", true, m => Of(m).Remove($"{PciFunction.DirectoryOf(Card)}/net"), null },
        { "no network device", true, m => Of(m).Put($"{PciFunction.DirectoryOf(Card)}/class", "0x010802"), "is not a network device (class 0x010802)" },
        { "shared driver", true, m => Of(m).AddFunction("0000:03:00.0", "mlx5_core"), "DPDK uses it beside the kernel" },
        { "no such module", false, m => Of(m).Loadable.Clear(), "the kernel has no driver vfio-pci (FATAL: Module vfio-pci not found)" },
        { "no IOMMU", false, m => Of(m).Remove($"{PciFunction.DirectoryOf(Card)}/iommu_group"), "is behind no IOMMU, which vfio-pci needs" },
        { "no IOMMU, and allowed", false, m => { Of(m).Remove($"{PciFunction.DirectoryOf(Card)}/iommu_group"); Of(m).Put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y"); }, null },
        { "the driver refuses", false, m => Of(m).Refusing.Add("vfio-pci"), "No such device" },
    };

    [Theory]
    [MemberData(nameof(Refusals))]
    public void TheHostKeepsWhatItUses(string name, bool force, Action<object> prepare, string? refused)
    {
        if (name != "shared driver")
        {
            _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        }
        prepare(_machine);
        string? before = _machine.DriverOf(Card);
        if (refused is null)
        {
            Assert.True(_machine.Binder.Bind(Card, Vfio, force), name);
            Assert.Equal(Vfio, _machine.DriverOf(Card));
            return;
        }
        DeviceException e = Assert.Throws<DeviceException>(() => _machine.Binder.Bind(Card, Vfio, force));
        Assert.Contains(refused, e.Problem.Message, StringComparison.Ordinal);
        Assert.Equal(before, _machine.DriverOf(Card));
        Assert.Null(_machine.Function(Card).DriverOverride);
        Assert.Empty(_machine.Binder.Entries);
    }

    [Theory]
    [InlineData(false, null, true)] // nobody knows before it is loaded
    [InlineData(true, "N", true)]
    [InlineData(true, null, false)]
    public void AModeWithoutIommuIsAdvisedWhereTheKernelHasIt(bool loaded, string? mode, bool advised)
    {
        _machine.AddFunction(Card, "ixgbe", "eth1");
        if (loaded)
        {
            _machine.Put("/sys/module/vfio/refcnt", "0");
        }
        if (mode is not null)
        {
            _machine.Put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", mode);
        }
        string fix = _machine.Binder.WhyNot(Card, Vfio, force: false)!.Fix;
        Assert.Equal(advised, fix.Contains("enable_unsafe_noiommu_mode", StringComparison.Ordinal));
        Assert.Contains($"`dataplane device bind --driver uio_pci_generic {Card}`", fix, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatIsNotThereIsNamed()
    {
        DeviceException e = Assert.Throws<DeviceException>(() => _machine.Binder.Bind("0000:09:00.0", Vfio, force: true));
        Assert.Equal("there is no PCI device 0000:09:00.0", e.Problem.Message);
        Assert.Throws<DeviceException>(() => _machine.Binder.Unbind("0000:09:00.0"));
    }

    [Fact]
    public void AnotherProcessGivesBackAfterACrash()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        _machine.AddFunction(Second, "ixgbe", "eth2", group: 8);
        _machine.Binder.Bind(Card, Vfio, force: false, port: "uplink");
        _machine.Binder.Bind(Second, "uio_pci_generic", force: false);

        (IReadOnlyList<string> done, IReadOnlyList<string> problems) = _machine.NewBinder().GiveBack(e => e.Port is not null);
        Assert.Equal([$"{Card} is given back to ixgbe"], done);
        Assert.Empty(problems);
        Assert.Equal(("ixgbe", "uio_pci_generic"), (_machine.DriverOf(Card), _machine.DriverOf(Second)));

        Assert.Equal([$"{Second} is given back to ixgbe"], _machine.NewBinder().GiveBack(_ => true).Done);
        Assert.Equal("ixgbe", _machine.DriverOf(Second));
        Assert.False(File.Exists(_machine.Paths.Devices));
        Assert.Empty(_machine.NewBinder().GiveBack(_ => true).Done);
    }

    [Theory]
    [InlineData("before anything was written")]
    [InlineData("override written")]
    [InlineData("taken from its driver")]
    public void ACrashInTheMidstIsGivenBackToo(string when)
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        BindingLedger.Open(Ready(), _machine).Add(new BindingEntry(Card, "ixgbe", null, null, "uplink"));
        string function = PciFunction.DirectoryOf(Card);
        if (when != "before anything was written")
        {
            _machine.Write($"{function}/driver_override", Vfio);
        }
        if (when == "taken from its driver")
        {
            _machine.Write($"{function}/driver/unbind", Card);
        }
        Assert.Empty(_machine.Binder.GiveBack(_ => true).Problems);
        Assert.Equal("ixgbe", _machine.DriverOf(Card));
        Assert.Null(_machine.Function(Card).DriverOverride);
        Assert.False(File.Exists(_machine.Paths.Devices));
    }

    [Fact]
    public void WhatAProgramHasOpenIsLeftToIt()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        _machine.Binder.Bind(Card, Vfio, force: false, port: "uplink");
        _machine.Open(4711, "dataplane-engin", "/dev/vfio/7");
        DeviceException e = Assert.Throws<DeviceException>(() => _machine.Binder.Unbind(Card));
        Assert.Equal($"{Card} is in use by process 4711 (dataplane-engin)", e.Problem.Message);
        Assert.Single(_machine.Binder.GiveBack(_ => true).Problems);
        Assert.Equal(Vfio, _machine.DriverOf(Card));
        Assert.Single(_machine.Binder.Entries);

        _machine.Close(4711);
        Assert.Empty(_machine.Binder.GiveBack(_ => true).Problems);
        Assert.Equal("ixgbe", _machine.DriverOf(Card));
    }

    [Fact]
    public void OneThatSomebodyElseGaveBackIsLeftAlone()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        _machine.Binder.Bind(Card, Vfio, force: false);
        string function = PciFunction.DirectoryOf(Card);
        _machine.Write($"{function}/driver/unbind", Card);
        _machine.Write($"{function}/driver_override", "ixgbe");
        _machine.Write("/sys/bus/pci/drivers_probe", Card);
        _machine.Writes.Clear();
        Assert.Empty(_machine.Binder.GiveBack(_ => true).Problems);
        Assert.Equal("ixgbe", _machine.DriverOf(Card));
        Assert.DoesNotContain(_machine.Writes, w => w.Contains("unbind", StringComparison.Ordinal));
    }

    [Fact]
    public void AListOfAnEarlierBootSaysNothing()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        _machine.Binder.Bind(Card, Vfio, force: false);
        _machine.Put("/proc/sys/kernel/random/boot_id", "an0ther");
        Assert.Empty(_machine.Binder.Entries);
        Assert.Empty(_machine.Binder.GiveBack(_ => true).Done);
        Assert.False(File.Exists(_machine.Paths.Devices));
    }

    [Fact]
    public void ADamagedListIsNotThrownAway()
    {
        File.WriteAllText(Ready(), "{");
        Assert.Contains(_machine.Paths.Devices, Assert.Single(_machine.Binder.GiveBack(_ => true).Problems), StringComparison.Ordinal);
        Assert.True(File.Exists(_machine.Paths.Devices));
    }

    [Fact]
    public void VirtualFunctionsAreMadeAndRemovedAgain()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7, totalVfs: 8);
        Assert.True(_machine.Binder.SetVirtualFunctions(Card, 2, force: false));
        IReadOnlyList<string> made = _machine.Function(Card).VirtualFunctions;
        Assert.Equal(2, made.Count);
        Assert.Equal(Card, _machine.Function(made[0]).PhysicalFunction);
        Assert.False(_machine.Binder.SetVirtualFunctions(Card, 2, force: false));

        Assert.Contains("has 2 virtual functions, which end with its driver", Assert.Throws<DeviceException>(() => _machine.Binder.Bind(Card, Vfio, force: true)).Problem.Message, StringComparison.Ordinal);
        Assert.Contains("can have 8 virtual functions, not 9", Assert.Throws<DeviceException>(() => _machine.Binder.SetVirtualFunctions(Card, 9, force: false)).Problem.Message, StringComparison.Ordinal);

        Assert.True(_machine.Binder.SetVirtualFunctions(Card, 4, force: false)); // by way of none
        Assert.Equal(4, _machine.Function(Card).VirtualFunctions.Count);
        _machine.Binder.Bind(_machine.Function(Card).VirtualFunctions[1], Vfio, force: false, port: "uplink");

        (IReadOnlyList<string> done, IReadOnlyList<string> problems) = _machine.NewBinder().GiveBack(_ => true);
        Assert.Empty(problems);
        Assert.Equal(2, done.Count);
        Assert.Contains("given back to ixgbevf", done[0], StringComparison.Ordinal); // before it goes
        Assert.Empty(_machine.Function(Card).VirtualFunctions);
        Assert.False(File.Exists(_machine.Paths.Devices));
    }

    [Fact]
    public void VirtualFunctionsOfACardInUseStayAsTheyAre()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7, totalVfs: 8);
        _machine.Use("eth1", defaultRoute: true);
        Assert.Throws<DeviceException>(() => _machine.Binder.SetVirtualFunctions(Card, 2, force: true));
        _machine.Use("eth1", defaultRoute: false);
        Assert.Throws<DeviceException>(() => _machine.Binder.SetVirtualFunctions(Card, 2, force: false));
        Assert.True(_machine.Binder.SetVirtualFunctions(Card, 2, force: true));
        _machine.Use("vf1", defaultRoute: true);
        Assert.Contains("vf1", Assert.Throws<DeviceException>(() => _machine.Binder.SetVirtualFunctions(Card, 0, force: true)).Problem.Message, StringComparison.Ordinal);
        Assert.Equal(2, _machine.Function(Card).VirtualFunctions.Count);
    }

    [Fact]
    public void ACardWithoutVirtualFunctionsSaysSo()
    {
        _machine.AddFunction(Card, "ixgbe", "eth1", group: 7);
        Assert.Contains("has no virtual functions", Assert.Throws<DeviceException>(() => _machine.Binder.SetVirtualFunctions(Card, 1, force: false)).Problem.Message, StringComparison.Ordinal);
    }

    private static FakeMachine Of(object machine) => (FakeMachine)machine;

    private string Ready()
    {
        Directory.CreateDirectory(_machine.Paths.Directory);
        return _machine.Paths.Devices;
    }
}
