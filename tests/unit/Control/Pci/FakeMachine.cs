using Dataplane.Control;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Control.Pci;

/// <summary>
/// A machine in a directory: a tree of /sys and /proc that answers writes as the kernel does. Drivers come and go, virtual
/// functions appear, interfaces with them.
/// </summary>
internal sealed class FakeMachine : SystemFiles, IHostNetwork, IKernelModules, IDisposable
{
    private readonly Dictionary<string, string> _native = [];

    public FakeMachine()
        : base(System.IO.Directory.CreateTempSubdirectory("dpfake").FullName)
    {
        Put("/proc/sys/kernel/random/boot_id", "b00t");
        foreach (string driver in new[] { "ixgbe", "ixgbevf", "mlx5_core" })
        {
            AddDriver(driver);
        }
        Paths = new InstancePaths("default", Path.Combine(Root, "run/dataplane/default"), Path.Combine(Root, "dev/shm"));
        Binder = NewBinder();
    }

    public InstancePaths Paths { get; }

    public PciBinder Binder { get; }

    /// <summary>What the host does with interfaces, by name.</summary>
    public Dictionary<string, HostInterface> Used { get; } = [];

    /// <summary>Modules that can be loaded.</summary>
    public HashSet<string> Loadable { get; } = ["vfio-pci", "vfio_iommu_type1", "uio_pci_generic"];

    /// <summary>Every write, as "file=text".</summary>
    public List<string> Writes { get; } = [];

    /// <summary>Drivers that refuse every function.</summary>
    public HashSet<string> Refusing { get; } = [];

    /// <summary>As another process would have it.</summary>
    public PciBinder NewBinder() => new(this, this, this, Paths);

    /// <summary>Adds a function with a driver, an interface of that driver, and an IOMMU group.</summary>
    public void AddFunction(string address, string? driver = "ixgbe", string? interfaceName = null, int? group = null, int totalVfs = 0, int pciClass = 0x020000, int node = 0)
    {
        string directory = PciFunction.DirectoryOf(address);
        Put($"{directory}/class", $"0x{pciClass:x6}");
        Put($"{directory}/vendor", "0x8086");
        Put($"{directory}/device", "0x10fb");
        Put($"{directory}/driver_override", "(null)");
        Put($"{directory}/numa_node", $"{node}");
        if (totalVfs > 0)
        {
            Put($"{directory}/sriov_totalvfs", $"{totalVfs}");
            Put($"{directory}/sriov_numvfs", "0");
        }
        if (group is { } number)
        {
            Link($"{directory}/iommu_group", $"/sys/kernel/iommu_groups/{number}");
            Link($"/sys/kernel/iommu_groups/{number}/devices/{address}", directory);
        }
        if (driver is not null)
        {
            _native[address] = driver;
            _interfaces[address] = interfaceName;
            Take(address, driver);
        }
    }

    private readonly Dictionary<string, string?> _interfaces = [];

    public string? DriverOf(string address) => LinkName($"{PciFunction.DirectoryOf(address)}/driver");

    public PciFunction Function(string address) => PciFunction.Find(this, address)!;

    public void Use(string name, bool up = true, string? upper = null, bool defaultRoute = false, params string[] addresses) =>
        Used[name] = new HostInterface(name, up, addresses, upper, defaultRoute);

    /// <summary>A process has a file open.</summary>
    public void Open(int pid, string comm, string file)
    {
        Put($"/proc/{pid}/comm", comm);
        Link($"/proc/{pid}/fd/7", file);
    }

    public void Close(int pid) => System.IO.Directory.Delete(Of($"/proc/{pid}"), recursive: true);

    public IReadOnlyList<HostInterface> List() => [.. Used.Values];

    public string? Load(string module)
    {
        if (!Loadable.Contains(module))
        {
            return $"FATAL: Module {module} not found";
        }
        Put($"/sys/module/{module.Replace('-', '_')}/refcnt", "0");
        if (module != "vfio_iommu_type1")
        {
            AddDriver(module);
        }
        return null;
    }

    public override void Write(string path, string text)
    {
        Writes.Add($"{path}={text.TrimEnd('\n')}");
        text = text.Trim();
        string address = Path.GetFileName(Path.GetDirectoryName(path))!;
        switch (Path.GetFileName(path))
        {
            case "driver_override":
                Put(path, text.Length == 0 ? "(null)" : text);
                return;
            case "unbind":
                Release(text);
                return;
            case "drivers_probe":
                Probe(text);
                return;
            case "bind":
                Take(text, address); // the directory is the driver's here
                return;
            case "sriov_numvfs":
                SetCount(address, int.Parse(text, System.Globalization.CultureInfo.InvariantCulture));
                return;
            default:
                throw new IOException($"Permission denied : '{path}'");
        }
    }

    public void Put(string path, string text)
    {
        System.IO.Directory.CreateDirectory(Path.GetDirectoryName(Of(path))!);
        File.WriteAllText(Of(path), text + "\n");
    }

    public void Link(string path, string target)
    {
        System.IO.Directory.CreateDirectory(Path.GetDirectoryName(Of(path))!);
        File.CreateSymbolicLink(Of(path), target);
    }

    public void Remove(string path)
    {
        if (new FileInfo(Of(path)).LinkTarget is not null || File.Exists(Of(path)))
        {
            File.Delete(Of(path));
        }
        else if (System.IO.Directory.Exists(Of(path)))
        {
            System.IO.Directory.Delete(Of(path), recursive: true);
        }
    }

    public void Dispose() => System.IO.Directory.Delete(Root, recursive: true);

    private void AddDriver(string driver)
    {
        Put($"/sys/bus/pci/drivers/{driver}/bind", "");
        Put("/sys/bus/pci/drivers_probe", "");
    }

    private void Release(string address)
    {
        string directory = PciFunction.DirectoryOf(address);
        if (DriverOf(address) is null)
        {
            throw new IOException("No such device");
        }
        SetCountIfAny(address);
        Remove($"{directory}/driver");
        Remove($"{directory}/net");
        Remove($"{directory}/uio");
    }

    private void Probe(string address)
    {
        string chosen = Read($"{PciFunction.DirectoryOf(address)}/driver_override")!;
        string? driver = chosen == "(null)" ? _native.GetValueOrDefault(address) : chosen;
        if (driver is not null && DriverOf(address) is null && !Refusing.Contains(driver) && Exists($"/sys/bus/pci/drivers/{driver}"))
        {
            Take(address, driver);
        }
    }

    private void Take(string address, string driver)
    {
        if (Refusing.Contains(driver))
        {
            throw new IOException("No such device");
        }
        string directory = PciFunction.DirectoryOf(address);
        Link($"{directory}/driver", $"../../../bus/pci/drivers/{driver}");
        if (driver == _native.GetValueOrDefault(address) && _interfaces.GetValueOrDefault(address) is { } name)
        {
            System.IO.Directory.CreateDirectory(Of($"{directory}/net/{name}"));
            System.IO.Directory.CreateDirectory(Of($"/sys/class/net/{name}"));
        }
        if (driver == "uio_pci_generic")
        {
            System.IO.Directory.CreateDirectory(Of($"{directory}/uio/uio0"));
        }
    }

    private void SetCountIfAny(string address)
    {
        if (Exists($"{PciFunction.DirectoryOf(address)}/sriov_numvfs"))
        {
            SetCount(address, 0);
        }
    }

    private void SetCount(string address, int count)
    {
        string directory = PciFunction.DirectoryOf(address);
        long now = ReadNumber($"{directory}/sriov_numvfs") ?? 0;
        if (now != 0 && count != 0)
        {
            throw new IOException("Device or resource busy");
        }
        for (int i = 0; i < Math.Max(now, count); i++)
        {
            string part = $"{address[..^1].Replace(".", "", StringComparison.Ordinal)[..^2]}1{i % 8}.{i / 8}";
            if (i < count)
            {
                AddFunction(part, "ixgbevf", $"vf{i}", group: 50 + i);
                Link($"{PciFunction.DirectoryOf(part)}/physfn", directory);
                Link($"{directory}/virtfn{i}", PciFunction.DirectoryOf(part));
            }
            else
            {
                Remove($"{directory}/virtfn{i}");
                Remove(PciFunction.DirectoryOf(part));
                Remove($"/sys/kernel/iommu_groups/{50 + i}");
            }
        }
        Put($"{directory}/sriov_numvfs", $"{count}");
    }
}
