using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>PCI functions of this machine.</summary>
internal sealed class PciPorts(SystemFiles files, PciBinder binder) : IPciPorts
{
    public DeviceProblem? Probe(DeviceSpec spec) => NeedsDriver(spec) is not { } function ? null
        : spec.Bind ? binder.WhyNot(function.Address, PciBinder.DefaultDriver, force: false) : IsTheKernels(function);

    public void Prepare(DeviceSpec spec, string port)
    {
        if (NeedsDriver(spec) is not { } function)
        {
            return;
        }
        if (!spec.Bind)
        {
            throw new DeviceException(IsTheKernels(function));
        }
        binder.Bind(function.Address, PciBinder.DefaultDriver, force: false, port);
    }

    public IReadOnlyList<string> GiveBack(IReadOnlySet<string> wanted) => binder.GiveBack(e => e.Port is not null && !wanted.Contains(e.Address)).Problems;

    /// <summary>
    /// The function behind a port when a driver of the kernel has it, or none has. What is missing is DPDK's to complain of, and
    /// so is what it uses beside the kernel's driver.
    /// </summary>
    private PciFunction? NeedsDriver(DeviceSpec spec) =>
        spec.PciAddress is { } address && PciFunction.Find(files, address) is { IsForPrograms: false } function && !BindingGuard.IsShared(function) ? function : null;

    private static DeviceProblem IsTheKernels(PciFunction function) => new(
        "dpdk.devargs",
        $"{function.Address} belongs to {(function.Driver is { } driver ? $"the kernel's driver {driver}" : "no driver")}",
        $"set dpdk.bind (--bind) to have it taken from there and given back with the port, or do it yourself: `dataplane device bind {function.Address}`");
}
