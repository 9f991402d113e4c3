using Dataplane.Control.Ports;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>What must not be taken from the host, whoever asks for it.</summary>
internal static class BindingGuard
{
    /// <summary>Drivers whose cards DPDK uses beside the kernel: taken away from them, they would not work.</summary>
    private static readonly string[] s_shared = ["mlx4_core", "mlx5_core", "mana"];

    /// <summary>Whether DPDK uses the function as it is, with the kernel's driver.</summary>
    public static bool IsShared(PciFunction function) => s_shared.Contains(function.Driver);

    /// <summary>Why the function is not bound to a driver for programs, or null.</summary>
    /// <param name="function">The function.</param>
    /// <param name="network">Who uses its interfaces.</param>
    /// <param name="force">Also from a host that uses it; never its way to the rest of the world.</param>
    public static DeviceProblem? WhyNotBind(PciFunction function, IHostNetwork network, bool force)
    {
        if (!function.IsNetwork)
        {
            return Problem($"{function.Address} is not a network device (class 0x{function.Class:x6})", "`dataplane device list` shows those that are");
        }
        if (IsShared(function))
        {
            return Problem($"{function.Address} is not taken from its driver {function.Driver}: DPDK uses it beside the kernel", $"name it as it is: --dpdk {function.Address}");
        }
        if (function.VirtualFunctions.Count > 0)
        {
            return Problem(
                $"{function.Address} has {function.VirtualFunctions.Count} virtual functions, which end with its driver",
                $"bind one of them ({function.VirtualFunctions[0]}), or remove them: `dataplane device vfs {function.Address} 0`");
        }
        return WhyInUse(function, network, force);
    }

    /// <summary>Why the host's use of a function's interfaces forbids to disturb it, or null.</summary>
    public static DeviceProblem? WhyInUse(PciFunction function, IHostNetwork network, bool force)
    {
        List<HostInterface> interfaces = function.Interfaces.Count == 0 ? [] : [.. network.List().Where(i => function.Interfaces.Contains(i.Name))];
        if (interfaces.Find(i => i.CarriesDefaultRoute) is { } carrier)
        {
            return Problem($"{Name(function, carrier)} carries this machine's default route and is not touched, with --force neither", "use another device");
        }
        if (force)
        {
            return null;
        }
        foreach (HostInterface used in interfaces)
        {
            string? use = used.Upper is { } upper ? $"is a port of {upper}" : used.Addresses.Count > 0 ? $"has {string.Join(", ", used.Addresses)}" : used.IsUp ? "is up" : null;
            if (use is not null)
            {
                return Problem($"{Name(function, used)} {use}: the host uses it", $"`ip link set {used.Name} down`, or --force, which takes it with its addresses");
            }
        }
        return function.Interfaces.Count == 0 && function.Driver is { } driver && !function.IsForPrograms
            ? Problem($"{function.Address} has driver {driver} but no interface here: it may be in a container's namespace", "--force takes it nevertheless")
            : null;
    }

    private static string Name(PciFunction function, HostInterface interfaceOf) => $"{interfaceOf.Name} ({function.Address})";

    private static DeviceProblem Problem(string message, string fix) => new("dpdk.devargs", message, fix);
}
