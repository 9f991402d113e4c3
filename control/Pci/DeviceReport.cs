using Dataplane.Control.Cli.V1;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>The network devices on the PCI bus, for people.</summary>
internal static class DeviceReport
{
    /// <summary>All of them, in the order of their addresses.</summary>
    /// <param name="files">Where they are described.</param>
    /// <param name="network">What the host does with their interfaces.</param>
    /// <param name="entries">What this instance took.</param>
    public static IEnumerable<Device> All(SystemFiles files, IHostNetwork network, IReadOnlyList<BindingEntry> entries)
    {
        IReadOnlyList<HostInterface> interfaces = network.List();
        foreach (PciFunction function in PciFunction.ListNetwork(files))
        {
            BindingEntry? entry = entries.FirstOrDefault(e => e.Address == function.Address && e.VirtualFunctions is null);
            var device = new Device
            {
                Address = function.Address,
                Id = $"{function.Vendor:x4}:{function.Device:x4}",
                Driver = function.Driver ?? "",
                NumaNode = function.NumaNode,
                IommuGroup = function.IommuGroup ?? -1,
                PhysicalFunction = function.PhysicalFunction ?? "",
                MaxVirtualFunctions = function.MaxVirtualFunctions,
                User = PciUsers.Of(files, function) ?? "",
                GivenBackTo = entry is null ? "" : entry.Driver ?? "none",
                Port = entry?.Port ?? "",
            };
            device.Interfaces.Add(function.Interfaces);
            device.VirtualFunctions.Add(function.VirtualFunctions);
            device.Uses.Add(interfaces.Where(i => function.Interfaces.Contains(i.Name)).SelectMany(Uses));
            yield return device;
        }
    }

    private static IEnumerable<string> Uses(HostInterface used)
    {
        if (used.CarriesDefaultRoute)
        {
            yield return "default route";
        }
        if (used.Upper is { } upper)
        {
            yield return $"in {upper}";
        }
        foreach (string address in used.Addresses)
        {
            yield return address;
        }
        if (used is { IsUp: true, CarriesDefaultRoute: false, Upper: null, Addresses.Count: 0 })
        {
            yield return "up";
        }
    }
}
