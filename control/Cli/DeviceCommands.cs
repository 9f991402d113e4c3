using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Cli.V1;
using Dataplane.Control.Pci;
using Dataplane.Control.Ports;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane device list|bind|unbind|vfs</c>: network cards, between the kernel and DPDK. No daemon is needed.</summary>
internal static class DeviceCommands
{
    private static readonly Option<bool> Force = new("--force") { Description = "Also when the host uses the interface; never when it carries the default route" };
    private static readonly Option<string> Driver = new("--driver") { Description = "vfio-pci, uio_pci_generic or igb_uio", HelpName = "DRIVER", DefaultValueFactory = _ => PciBinder.DefaultDriver };
    private static readonly Argument<string[]> Devices = new("DEVICE") { Description = "PCI address or interface: 0000:03:00.1, eth1", Arity = ArgumentArity.OneOrMore };
    private static readonly Argument<string> Device = new("DEVICE") { Description = "PCI address or interface of the physical function" };
    private static readonly Argument<int> Count = new("COUNT") { Description = "Virtual functions it is to have, 0 for none" };

    public static Command Build()
    {
        Driver.AcceptOnlyFromAmong("vfio-pci", "uio_pci_generic", "igb_uio");
        return new Command("device", "Network cards: which driver has them, taking them for DPDK, virtual functions")
        {
            new Command("list", "List the network devices on the PCI bus") { Options.Output }
                .Does((parsed, _) => Task.FromResult(List(parsed)))
                .WithExamples("dataplane device list", "dataplane device list -o wide"),
            new Command("bind", "Take devices from the kernel's network driver for DPDK, until `device unbind`, the end of the switch, or `clean`") { Devices, Driver, Force }
                .Does((parsed, _) => Task.FromResult(Change(parsed, parsed.GetRequiredValue(Devices), Bind)))
                .WithExamples("dataplane device bind 0000:03:02.0 0000:03:02.1", "dataplane device bind eth2 --driver uio_pci_generic"),
            new Command("unbind", "Give devices back to the driver that they had before") { Devices }
                .Does((parsed, _) => Task.FromResult(Change(parsed, parsed.GetRequiredValue(Devices), Unbind)))
                .WithExamples("dataplane device unbind 0000:03:02.0"),
            new Command("vfs", "Make a card have so many virtual functions (SR-IOV)") { Device, Count, Force }
                .Does((parsed, _) => Task.FromResult(Change(parsed, [parsed.GetRequiredValue(Device)], SetCount)))
                .WithExamples("dataplane device vfs eth2 4", "dataplane device vfs 0000:03:00.0 0"),
        };
    }

    /// <summary>The address that a PCI address, or the name of an interface, means.</summary>
    /// <exception cref="CommandException">It means nothing.</exception>
    public static string Resolve(SystemFiles files, string name)
    {
        if (PciAddress.Parse(name) is { } address)
        {
            return address;
        }
        return PciFunction.ListNetwork(files).FirstOrDefault(f => f.Interfaces.Contains(name))?.Address
            ?? throw new CommandException(ExitCode.Failed, files.Exists($"/sys/class/net/{name}")
                ? $"\"{name}\" is a network device, but not one on the PCI bus"
                : $"\"{name}\" is neither a PCI address such as 0000:03:00.1 nor a network device");
    }

    private static string? Bind(ParseResult parsed, PciBinder binder, string address)
    {
        string driver = parsed.GetRequiredValue(Driver);
        if (!binder.Bind(address, driver, parsed.GetValue(Force)))
        {
            return $"{address} has driver {driver} already";
        }
        IEnumerable<string> others = PciFunction.Find(SystemFiles.Machine, address) is { } function && driver == PciBinder.DefaultDriver
            ? PciFunction.OthersInGroup(SystemFiles.Machine, function).Where(o => o.Driver is not null && !o.IsForPrograms).Select(o => $"{o.Address} ({o.Driver})") : [];
        string group = string.Join(", ", others);
        return $"{address} is bound to {driver}{(group.Length == 0 ? "" : $"; it can be used once the others of its IOMMU group are bound too: {group}")}";
    }

    private static string Unbind(ParseResult parsed, PciBinder binder, string address) =>
        binder.Unbind(address) ? $"{address} is given back to {PciFunction.Find(SystemFiles.Machine, address)?.Driver ?? "no driver"}" : $"{address} is with the kernel already";

    private static string SetCount(ParseResult parsed, PciBinder binder, string address)
    {
        int count = parsed.GetValue(Count);
        if (count < 0)
        {
            throw new CommandException(ExitCode.Usage, $"{count} is no number of virtual functions");
        }
        bool changed = binder.SetVirtualFunctions(address, count, parsed.GetValue(Force));
        IReadOnlyList<string> made = PciFunction.Find(SystemFiles.Machine, address)?.VirtualFunctions ?? [];
        return $"{address} has {made.Count} virtual functions{(changed ? "" : " already")}{(made.Count > 0 ? $": {string.Join(", ", made)}" : "")}";
    }

    /// <summary>Does something with each device. One that cannot does not keep the others from it.</summary>
    private static int Change(ParseResult parsed, string[] names, Func<ParseResult, PciBinder, string, string?> change)
    {
        string instance = parsed.GetRequiredValue(Options.Instance);
        PciBinder binder = PciBinder.Of(InstancePaths.Of(instance));
        int code = ExitCode.Success;
        foreach (string name in names)
        {
            try
            {
                Output.Line(change(parsed, binder, Resolve(SystemFiles.Machine, name))!);
            }
            catch (DeviceException e)
            {
                Output.Error($"{e.Problem.Message}{(e.Problem.Fix.Length > 0 ? $"; {e.Problem.Fix}" : "")}");
                code = ExitCode.Failed;
            }
        }
        return code;
    }

    private static int List(ParseResult parsed)
    {
        OutputFormat format = parsed.GetValue(Options.Output);
        PciBinder binder = PciBinder.Of(InstancePaths.Of(parsed.GetRequiredValue(Options.Instance)));
        var list = new DeviceList();
        list.Devices.AddRange(DeviceReport.All(SystemFiles.Machine, new HostNetwork(), binder.Entries));
        if (Output.TryPrint(format, list))
        {
            return ExitCode.Success;
        }
        if (list.Devices.Count == 0)
        {
            Output.Line("no network devices on a PCI bus");
        }
        else if (format == OutputFormat.Wide)
        {
            Output.Table(
                ["ADDRESS", "ID", "DRIVER", "INTERFACES", "USE", ">NUMA", ">GROUP", "PHYSICAL", ">VFS", ">MAX", "OPENED BY", "PORT", "BACK TO"],
                list.Devices.Select(d => new[]
                {
                    d.Address, d.Id, Or(d.Driver), Join(d.Interfaces), Join(d.Uses), Or(d.NumaNode), Or(d.IommuGroup), Or(d.PhysicalFunction), $"{d.VirtualFunctions.Count}", $"{d.MaxVirtualFunctions}",
                    Or(d.User), Or(d.Port), Or(d.GivenBackTo),
                }));
        }
        else
        {
            Output.Table(
                ["ADDRESS", "DRIVER", "INTERFACES", "USE", "VFS", "BACK TO"],
                list.Devices.Select(d => new[]
                {
                    d.Address, Or(d.Driver), Join(d.Interfaces), d.User.Length > 0 ? d.User : Join(d.Uses),
                    d.PhysicalFunction.Length > 0 ? $"of {d.PhysicalFunction}" : d.MaxVirtualFunctions > 0 ? $"{d.VirtualFunctions.Count} of {d.MaxVirtualFunctions}" : "-", Or(d.GivenBackTo),
                }));
        }
        return ExitCode.Success;
    }

    private static string Or(string text) => text.Length > 0 ? text : "-";

    private static string Or(int number) => number < 0 ? "-" : number.ToString(CultureInfo.InvariantCulture);

    private static string Join(IEnumerable<string> texts) => Or(string.Join(", ", texts));
}
