using Dataplane.Control.Compiler;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Ports;

/// <summary>
/// TAP devices by the kernel. A container's device is made here and moved into its namespace: a device made inside would
/// keep the namespace alive through its descriptors, and a stopped container would never quite go away.
/// </summary>
public sealed class TapDevices : IPortDevices
{
    /// <summary>Name of a device on its way to a namespace, where it gets its own; the kernel chooses the number.</summary>
    private const string TemporaryName = "dpnew%d";

    public DeviceProblem? Probe(DeviceSpec spec)
    {
        if (spec.Kind == DeviceKind.Netdev)
        {
            return ProbeNetdev(spec);
        }
        try
        {
            using NetNs? ns = TapNamespace.Open(spec.Netns);
            using Netlink netlink = Netlink.Open(ns);
            return netlink.FindLink(spec.Device) is null ? null : Exists(spec);
        }
        catch (LinuxException e)
        {
            return TapNamespace.Explain(spec.Netns, e);
        }
    }

    private static DeviceProblem? ProbeNetdev(DeviceSpec spec)
    {
        using Netlink netlink = Netlink.Open();
        return netlink.FindLink(spec.Device) switch
        {
            null => new DeviceProblem("netdev.device", $"there is no network device \"{spec.Device}\"", "`ip link` lists those that there are"),
            { Mtu: int mtu } when mtu < spec.Mtu => new DeviceProblem(
                "mtu", $"network device \"{spec.Device}\" sends packets of {mtu} bytes at most, and the port those of {spec.Mtu}",
                $"give the port an MTU of {mtu}, or the device a larger one (ip link set {spec.Device} mtu {spec.Mtu})"),
            _ => null,
        };
    }

    public IPortDevice Create(DeviceSpec spec, int queues)
    {
        Tap? tap = null;
        try
        {
            using NetNs? ns = TapNamespace.Open(spec.Netns);
            tap = Tap.Create(ns is null ? spec.Device : TemporaryName, queues);
            tap.SetCarrier(false);
            if (ns is not null)
            {
                using Netlink here = Netlink.Open();
                here.MoveTo(here.GetLink(tap.Name).Index, ns, spec.Device);
            }
            using Netlink netlink = Netlink.Open(ns);
            int index = netlink.GetLink(spec.Device).Index;
            TapSettings.Set(netlink, index, spec, before: null);
            return new TapDevice(tap, index, ns?.Identity, spec);
        }
        catch (LinuxException e)
        {
            tap?.Dispose();
            throw Explain(spec, e);
        }
    }

    public IPortDevice Adopt(DeviceSpec spec, IReadOnlyList<int> fds)
    {
        Tap? tap = null;
        try
        {
            tap = Tap.Adopt([.. fds], TapOffloads.All);
            using NetNs? ns = TapNamespace.Open(spec.Netns);
            using Netlink netlink = Netlink.Open(ns);
            LinkInfo link = netlink.FindLink(spec.Device)
                ?? throw new DeviceException(new DeviceProblem("tap.device", $"device {spec} is not where it was"));
            return new TapDevice(tap, link.Index, ns?.Identity, spec);
        }
        catch (Exception e) when (e is LinuxException or DeviceException)
        {
            if (tap is not null)
            {
                tap.Dispose();
            }
            else
            {
                foreach (int fd in fds)
                {
                    Libc.close(fd);
                }
            }
            throw e is LinuxException linux ? Explain(spec, linux) : e;
        }
    }

    /// <summary>A system call's failure as something about the port.</summary>
    internal static DeviceException Explain(DeviceSpec spec, LinuxException error) => error.Errno switch
    {
        Errno.EEXIST or Errno.EBUSY => new DeviceException(Exists(spec), error),
        _ when TapNamespace.Explain(spec.Netns, error) is { Field: "tap.netns" } netns && !TapNamespace.Exists(spec.Netns) => new DeviceException(netns, error),
        _ => new DeviceException(new DeviceProblem("tap", $"device {spec}: {error.Message}"), error),
    };

    private static DeviceProblem Exists(DeviceSpec spec) => new(
        "tap.device",
        $"device \"{spec.Device}\" exists already{(spec.Netns.Length > 0 ? $" in namespace \"{spec.Netns}\"" : "")}",
        "delete it, or choose another name with tap.device");
}
