using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Compiler;

/// <summary>What the engine is to attach to a port.</summary>
public enum DeviceKind
{
    Tap, Netdev, Dpdk, Pcap, Memory,
}

/// <summary>The device behind a port, with every default filled in.</summary>
public sealed record DeviceSpec
{
    public required DeviceKind Kind { get; init; }

    /// <summary>Name of the TAP device, the network device, or the DPDK device.</summary>
    public required string Device { get; init; }

    /// <summary>What the engine's Attach takes: "tap:eth0", "netdev:eth1", "dpdk:net_null0", "pcap:rx=…,tx=…", "memory:name".</summary>
    public required string EngineSpec { get; init; }

    /// <summary>Largest layer-3 packet in bytes.</summary>
    public required int Mtu { get; init; }

    /// <summary>The PCI function behind a DPDK port, in the kernel's writing; null for a virtual device, and for other kinds.</summary>
    public string? PciAddress => Kind == DeviceKind.Dpdk ? Interop.Linux.PciAddress.OfDevargs(Device) : null;

    /// <summary>Take the PCI function from the kernel's driver, and give it back with the port.</summary>
    public bool Bind { get; init; }

    /// <summary>Namespace of a TAP device: a name, a path, or empty for this process's own.</summary>
    public string Netns { get; init; } = "";

    /// <summary>Address of a TAP device.</summary>
    public MacAddress Mac { get; init; }

    public IReadOnlyList<Cidr> Addresses { get; init; } = [];

    /// <summary>Next hops of default routes.</summary>
    public IReadOnlyList<IPAddress> DefaultRoutes { get; init; } = [];

    /// <summary>
    /// Of the host's port of a network with a router: the router's second address, to which the host sends what is to be routed.
    /// The host knows it as the neighbours <see cref="RouterIPv4"/> and <see cref="RouterIPv6"/>.
    /// </summary>
    public MacAddress? RouterMac { get; init; }

    /// <summary>
    /// A next hop that stands for the router on the host: of the part of 169.254.0.0/16 that nobody gives himself (RFC 3927, 2.1).
    /// It is on the link of every host port, each with its own router behind it.
    /// </summary>
    public static IPAddress RouterIPv4 { get; } = IPAddress.Parse("169.254.0.1");

    /// <summary>The same for IPv6: the link-local address that the router's second MAC address makes (RFC 4291, appendix A).</summary>
    public IPAddress? RouterIPv6 => RouterMac is { } mac ? LinkLocal(mac.ToBytes()) : null;

    private static IPAddress LinkLocal(byte[] mac) =>
        new([0xFE, 0x80, 0, 0, 0, 0, 0, 0, (byte)(mac[0] ^ 2), mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]]);

    /// <summary>Whether two specifications mean the same device, perhaps with other settings.</summary>
    public bool IsSameDevice(DeviceSpec other) =>
        Kind == other.Kind && Device == other.Device && Netns == other.Netns && EngineSpec == other.EngineSpec;

    /// <summary>Whether two specifications mean the same device with the same settings.</summary>
    public bool IsSame(DeviceSpec other) =>
        IsSameDevice(other) && Bind == other.Bind && Mtu == other.Mtu && Mac == other.Mac && RouterMac == other.RouterMac
        && Addresses.SequenceEqual(other.Addresses) && DefaultRoutes.SequenceEqual(other.DefaultRoutes);

    /// <summary>As it stands in messages: "eth0" in namespace "web".</summary>
    public override string ToString() => Netns.Length == 0 ? $"\"{Device}\"" : $"\"{Device}\" in namespace \"{Netns}\"";
}
