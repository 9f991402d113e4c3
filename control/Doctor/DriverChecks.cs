using System.Globalization;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>What lets a program drive a card: an IOMMU, VFIO, DPDK.</summary>
internal sealed class DriverChecks(SystemFiles files, Findings findings, DpdkAnswer dpdk)
{
    private const string UnsafeInterrupts = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

    public void Run()
    {
        Dpdk();
        Iommu();
        Vfio();
    }

    private void Dpdk()
    {
        if (dpdk.Release is { } release)
        {
            findings.Ok("dpdk", "", release);
        }
        else
        {
            findings.Problem("dpdk", "", dpdk.Problem!, "apt-get install libdpdk-dev; ./build.sh build");
        }
    }

    private void Iommu()
    {
        IReadOnlyList<string> units = files.List("/sys/class/iommu");
        int groups = files.List("/sys/kernel/iommu_groups").Count;
        if (groups == 0)
        {
            findings.CardsLack("iommu", "", "off, or none: vfio-pci needs one", HowToSwitchOn());
            return;
        }
        string[] unsafeUnits = [.. units.Where(u => RemapsInterrupts(u) == false)];
        if (unsafeUnits.Length == 0)
        {
            findings.Ok("iommu", "", $"{(units.Count > 0 ? string.Join(", ", units) : "on")}, {groups} groups");
        }
        else if (files.Read(UnsafeInterrupts) == "Y")
        {
            findings.Warning("iommu", string.Join(", ", unsafeUnits), "does not remap interrupts, and VFIO may be used nevertheless: a card can raise any interrupt", "switch interrupt remapping on in the firmware");
        }
        else
        {
            findings.CardsLack("iommu", string.Join(", ", unsafeUnits), "does not remap interrupts: VFIO refuses it", $"switch interrupt remapping on in the firmware; if you trust the card: modprobe vfio_iommu_type1 && echo 1 > {UnsafeInterrupts}");
        }
    }

    /// <summary>Intel's say so in their extended capabilities; the others always do.</summary>
    private bool? RemapsInterrupts(string unit) =>
        ulong.TryParse(files.Read($"/sys/class/iommu/{unit}/intel-iommu/ecap"), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong capabilities) ? (capabilities >> 3 & 1) != 0 : null;

    private string HowToSwitchOn()
    {
        string processor = files.Read("/proc/cpuinfo") ?? "";
        if (processor.Contains("hypervisor", StringComparison.Ordinal))
        {
            return "give the virtual machine one (QEMU: -device intel-iommu,intremap=on), or bind cards with: dataplane device bind --driver uio_pci_generic DEVICE";
        }
        if (processor.Contains("AuthenticAMD", StringComparison.Ordinal))
        {
            return "switch IOMMU (AMD-Vi) on in the firmware; Linux uses it by itself";
        }
        return (files.Read("/proc/cmdline") ?? "").Split(' ').Contains("intel_iommu=on")
            ? "switch VT-d on in the firmware: the kernel was told to use it" : $"switch VT-d on in the firmware, then: {BootArguments.Command("intel_iommu=on iommu=pt")}";
    }

    private void Vfio()
    {
        if (files.Exists($"/sys/bus/pci/drivers/{PciBinder.DefaultDriver}"))
        {
            if (files.Exists("/dev/vfio/vfio"))
            {
                findings.Ok("vfio", "", "vfio-pci is loaded");
            }
            else
            {
                findings.CardsLack("vfio", "", "/dev/vfio/vfio is missing, though vfio-pci is loaded", "of a container: docker run --device /dev/vfio; else: modprobe vfio");
            }
            return;
        }
        string modules = $"/lib/modules/{files.Read("/proc/sys/kernel/osrelease")}";
        string? place = new[] { "modules.dep", "modules.builtin" }.FirstOrDefault(f => files.Read($"{modules}/{f}")?.Contains("/vfio-pci.ko", StringComparison.Ordinal) == true);
        if (place is not null)
        {
            findings.Ok("vfio", "", "vfio-pci is not loaded yet: it is when a card is bound");
        }
        else
        {
            findings.CardsLack("vfio", "", "this kernel has no vfio-pci", "apt-get install linux-modules-extra-$(uname -r), or another kernel; in a container, first on the host: modprobe vfio-pci");
        }
    }
}
