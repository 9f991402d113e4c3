using System.Globalization;

namespace Dataplane.Interop.Linux;

/// <summary>A function of a PCI device as sysfs describes it: a network card's port, or a virtual function of one.</summary>
public sealed record PciFunction
{
    private const string Devices = "/sys/bus/pci/devices";

    /// <summary>"0000:03:00.0".</summary>
    public required string Address { get; init; }

    /// <summary>Class, subclass and programming interface, 24 bits; 0x02…… are network controllers.</summary>
    public required int Class { get; init; }

    public required int Vendor { get; init; }
    public required int Device { get; init; }

    /// <summary>The kernel's driver that has it now, or null.</summary>
    public string? Driver { get; init; }

    /// <summary>The one driver that may take it, whatever its identifiers; null for any that knows it.</summary>
    public string? DriverOverride { get; init; }

    /// <summary>What the IOMMU cannot tell apart from it, by number; null when no IOMMU looks after it.</summary>
    public int? IommuGroup { get; init; }

    /// <summary>-1 when the machine has one node, or does not say.</summary>
    public int NumaNode { get; init; } = -1;

    /// <summary>Network devices of it that this namespace sees.</summary>
    public IReadOnlyList<string> Interfaces { get; init; } = [];

    /// <summary>Of a virtual function: the physical one that it is part of.</summary>
    public string? PhysicalFunction { get; init; }

    /// <summary>Virtual functions that there are now, by address.</summary>
    public IReadOnlyList<string> VirtualFunctions { get; init; } = [];

    /// <summary>Virtual functions that it can have; 0 without SR-IOV.</summary>
    public int MaxVirtualFunctions { get; init; }

    /// <summary>The /dev/uioN of a function that a UIO driver has, by name: "uio0".</summary>
    public string? Uio { get; init; }

    public bool IsNetwork => Class >> 16 == 0x02;

    /// <summary>Whether a program has it, or may: the driver does nothing but let it.</summary>
    public bool IsForPrograms => Driver is "vfio-pci" or "uio_pci_generic" or "igb_uio";

    /// <summary>All functions of network controllers, in the order of their addresses.</summary>
    public static IReadOnlyList<PciFunction> ListNetwork(SystemFiles files) =>
        [.. files.List(Devices).Select(a => Find(files, a)).OfType<PciFunction>().Where(f => f.IsNetwork)];

    /// <summary>The function of an address in the kernel's writing, or null.</summary>
    public static PciFunction? Find(SystemFiles files, string address)
    {
        string directory = DirectoryOf(address);
        if (!files.Exists(directory))
        {
            return null;
        }
        string? chosen = files.Read($"{directory}/driver_override");
        IReadOnlyList<string> entries = files.List(directory);
        return new PciFunction
        {
            Address = address,
            Class = Hex(files.Read($"{directory}/class")),
            Vendor = Hex(files.Read($"{directory}/vendor")),
            Device = Hex(files.Read($"{directory}/device")),
            Driver = files.LinkName($"{directory}/driver"),
            DriverOverride = chosen is null or "" or "(null)" ? null : chosen,
            IommuGroup = int.TryParse(files.LinkName($"{directory}/iommu_group"), CultureInfo.InvariantCulture, out int group) ? group : null,
            NumaNode = (int)(files.ReadNumber($"{directory}/numa_node") ?? -1),
            // A virtio card's interface belongs to the virtio device below the function.
            Interfaces = [.. files.List($"{directory}/net"), .. entries.Where(e => e.StartsWith("virtio", StringComparison.Ordinal)).SelectMany(e => files.List($"{directory}/{e}/net"))],
            PhysicalFunction = files.LinkName($"{directory}/physfn"),
            VirtualFunctions = [.. entries.Where(e => e.StartsWith("virtfn", StringComparison.Ordinal))
                .OrderBy(e => int.Parse(e["virtfn".Length..], CultureInfo.InvariantCulture)).Select(e => files.LinkName($"{directory}/{e}")).OfType<string>()],
            MaxVirtualFunctions = (int)(files.ReadNumber($"{directory}/sriov_totalvfs") ?? 0),
            Uio = files.List($"{directory}/uio").FirstOrDefault(),
        };
    }

    /// <summary>The other functions of an IOMMU group, bridges aside: they are its program's too, or nobody's.</summary>
    public static IReadOnlyList<PciFunction> OthersInGroup(SystemFiles files, PciFunction function) => function.IommuGroup is not { } group ? []
        : [.. files.List($"/sys/kernel/iommu_groups/{group}/devices").Where(a => a != function.Address).Select(a => Find(files, a)).OfType<PciFunction>().Where(f => f.Class >> 16 != 0x06)];

    /// <summary>Where sysfs has a function.</summary>
    public static string DirectoryOf(string address) => $"{Devices}/{address}";

    private static int Hex(string? text) =>
        text is not null && int.TryParse(text.AsSpan(text.StartsWith("0x", StringComparison.Ordinal) ? 2 : 0), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out int value) ? value : 0;
}
