using System.Net;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Compiler;

/// <summary>What the engine is to attach to a port.</summary>
public enum DeviceKind
{
    Tap, Dpdk, Pcap, Memory,
}

/// <summary>The device behind a port, with every default filled in.</summary>
public sealed record DeviceSpec
{
    public required DeviceKind Kind { get; init; }

    /// <summary>Name of the TAP device, or of the DPDK device.</summary>
    public required string Device { get; init; }

    /// <summary>What the engine's Attach takes: "tap:eth0", "dpdk:net_null0", "pcap:rx=…,tx=…", "memory:name".</summary>
    public required string EngineSpec { get; init; }

    /// <summary>Largest layer-3 packet in bytes.</summary>
    public required int Mtu { get; init; }

    /// <summary>Namespace of a TAP device: a name, a path, or empty for this process's own.</summary>
    public string Netns { get; init; } = "";

    /// <summary>Address of a TAP device.</summary>
    public MacAddress Mac { get; init; }

    public IReadOnlyList<Cidr> Addresses { get; init; } = [];

    /// <summary>Next hops of default routes.</summary>
    public IReadOnlyList<IPAddress> DefaultRoutes { get; init; } = [];

    /// <summary>Whether two specifications mean the same device, perhaps with other settings.</summary>
    public bool IsSameDevice(DeviceSpec other) =>
        Kind == other.Kind && Device == other.Device && Netns == other.Netns && EngineSpec == other.EngineSpec;

    /// <summary>Whether two specifications mean the same device with the same settings.</summary>
    public bool IsSame(DeviceSpec other) =>
        IsSameDevice(other) && Mtu == other.Mtu && Mac == other.Mac
        && Addresses.SequenceEqual(other.Addresses) && DefaultRoutes.SequenceEqual(other.DefaultRoutes);

    /// <summary>As it stands in messages: "eth0" in namespace "web".</summary>
    public override string ToString() => Netns.Length == 0 ? $"\"{Device}\"" : $"\"{Device}\" in namespace \"{Netns}\"";
}
