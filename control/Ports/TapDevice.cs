using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Ports;

/// <summary>A TAP device and the namespace it was put into.</summary>
internal sealed class TapDevice(Tap tap, int index, FileIdentity? home, DeviceSpec spec) : IPortDevice
{
    private DeviceSpec _spec = spec;

    public IReadOnlyList<int> Fds { get; } = [.. Enumerable.Range(0, tap.QueueCount).Select(tap.Fd)];

    public int IfIndex { get; } = index;

    public void Connect()
    {
        try
        {
            tap.SetCarrier(true);
        }
        catch (LinuxException)
        {
            // It is gone already; WhyLost tells.
        }
    }

    public void Update(DeviceSpec spec)
    {
        try
        {
            using NetNs? ns = TapNamespace.Open(_spec.Netns);
            using Netlink netlink = Netlink.Open(ns);
            TapSettings.Set(netlink, IfIndex, spec, _spec);
            _spec = spec;
        }
        catch (LinuxException e)
        {
            throw TapDevices.Explain(spec, e);
        }
    }

    public void Route(IReadOnlyCollection<Cidr> add, IReadOnlyCollection<Cidr>? remove)
    {
        try
        {
            using NetNs? ns = TapNamespace.Open(_spec.Netns);
            using Netlink netlink = Netlink.Open(ns);
            HostRoutes.Change(netlink, IfIndex, _spec, add, remove);
        }
        catch (LinuxException e)
        {
            throw TapDevices.Explain(_spec, e);
        }
    }

    public string? WhyLost()
    {
        FileIdentity? now = home is null ? null : TapNamespace.Identify(_spec.Netns);
        // A name that is gone is no reason: the namespace may live on by its processes. One that means another namespace is.
        if (now is not null && now != home)
        {
            return $"network namespace \"{_spec.Netns}\" was replaced by another one";
        }
        try
        {
            tap.ReadName();
            return null;
        }
        catch (LinuxException)
        {
            return home is not null && now is null
                ? $"network namespace \"{_spec.Netns}\" is gone, and device \"{_spec.Device}\" with it"
                : $"device {_spec} was deleted";
        }
    }

    public void Dispose() => tap.Dispose();
}
