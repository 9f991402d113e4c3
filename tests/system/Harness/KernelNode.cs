namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A node whose containers' packets the Linux kernel bridges, routes and encapsulates: a bridge, and a vxlan device whose neighbours and
/// forwarding entries are set as flanneld sets them.
/// </summary>
public sealed class KernelNode
{
    private const string Vxlan = "flannel.1";

    private readonly string _local;
    private readonly bool _ipv6Underlay;

    /// <param name="on">The switch that the namespaces belong to.</param>
    /// <param name="number">10.244.NUMBER.0/24 and fd00:10:NUMBER::/64 are its containers'.</param>
    /// <param name="ipv6Underlay">Outer packets are IPv6.</param>
    /// <param name="mtu">Of the overlay.</param>
    public KernelNode(Switch on, int number, bool ipv6Underlay, int mtu)
    {
        Number = number;
        _ipv6Underlay = ipv6Underlay;
        _local = Overlay.UnderlayAddress(number, ipv6Underlay);
        Namespace = on.Container($"node{number}");
        Namespace.Do("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0");
        Container = AddContainer(on, mtu);
    }

    public int Number { get; }
    public Namespace Namespace { get; }
    public Station Container { get; }

    /// <summary>MAC address of the node in the overlay.</summary>
    public string VtepMac => $"02:aa:00:00:00:{Number:x2}";

    /// <summary>To be called when the link is there.</summary>
    public void ConnectUnderlay(int mtu)
    {
        Namespace.Do("ip", "address", "add", _local + (_ipv6Underlay ? "/64" : "/24"), "dev", Underlay.Device, "nodad");
        // flanneld leaves checksums of outer IPv6 packets to the kernel's defaults: computed, and expected.
        Namespace.Do("ip", "link", "add", Vxlan, "address", VtepMac, "mtu", $"{mtu}", "type", "vxlan", "id", "1", "dev", Underlay.Device,
            "local", _local, "dstport", "8472", "nolearning");
        Namespace.Do("ip", "address", "add", $"10.244.{Number}.0/32", "dev", Vxlan);
        Namespace.Do("ip", "address", "add", $"fd00:10:{Number}::/128", "dev", Vxlan);
        Namespace.Do("ip", "link", "set", Vxlan, "up");
    }

    /// <summary>Another node joins.</summary>
    public void AddPeer(int number, string vtepMac)
    {
        string remote = Overlay.UnderlayAddress(number, _ipv6Underlay);
        Namespace.Do("bridge", "fdb", "append", vtepMac, "dev", Vxlan, "dst", remote);
        foreach ((string gateway, string subnet) in new[] { ($"10.244.{number}.0", $"10.244.{number}.0/24"), ($"fd00:10:{number}::", $"fd00:10:{number}::/64") })
        {
            Namespace.Do("ip", "neighbour", "replace", gateway, "lladdr", vtepMac, "dev", Vxlan, "nud", "permanent");
            Namespace.Do("ip", "route", "replace", subnet, "via", gateway, "dev", Vxlan, "onlink");
        }
    }

    private Station AddContainer(Switch on, int mtu)
    {
        Namespace container = on.Container($"pod{Number}");
        Namespace.Do("ip", "link", "add", "cni0", "type", "bridge");
        Namespace.Do("ip", "link", "add", "pod", "mtu", $"{mtu}", "type", "veth", "peer", "name", "eth0", "mtu", $"{mtu}", "netns", container.Name);
        Namespace.Do("ip", "link", "set", "pod", "master", "cni0", "up");
        Namespace.Do("ip", "address", "add", $"10.244.{Number}.1/24", "dev", "cni0");
        Namespace.Do("ip", "address", "add", $"fd00:10:{Number}::1/64", "dev", "cni0", "nodad");
        Namespace.Do("ip", "link", "set", "cni0", "up");
        container.Do("ip", "address", "add", $"10.244.{Number}.2/24", "dev", "eth0");
        container.Do("ip", "address", "add", $"fd00:10:{Number}::2/64", "dev", "eth0", "nodad");
        container.Do("ip", "link", "set", "eth0", "up");
        container.Do("ip", "route", "add", "default", "via", $"10.244.{Number}.1");
        container.Do("ip", "-6", "route", "add", "default", "via", $"fd00:10:{Number}::1");
        return new Station("pod", container, "eth0", $"10.244.{Number}.2", "");
    }
}
