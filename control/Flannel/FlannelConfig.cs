using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>How packets reach the other nodes.</summary>
internal enum FlannelBackend
{
    /// <summary>VXLAN (RFC 7348) with one VTEP per node.</summary>
    Vxlan,
    /// <summary>Routes by way of the other nodes' own addresses; all of them are on one layer-2 network.</summary>
    HostGateway,
}

/// <summary>What <c>PREFIX/config</c> says, checked, with flannel's defaults filled in.</summary>
internal sealed record FlannelConfig
{
    /// <summary>flannel's port where the configuration names none: that of Linux, not the one of RFC 7348.</summary>
    public const int DefaultPort = 8472;

    /// <summary>Null when IPv4 is off.</summary>
    public SubnetPool? IPv4 { get; init; }

    /// <summary>Null when IPv6 is off, which is the default.</summary>
    public SubnetPool? IPv6 { get; init; }

    public required FlannelBackend Backend { get; init; }

    /// <summary>VXLAN network identifier, 24 bits.</summary>
    public uint Vni { get; init; } = 1;

    /// <summary>UDP port of the VTEPs.</summary>
    public int Port { get; init; } = DefaultPort;

    /// <summary>Whether peers on the same layer-2 network are reached without a tunnel.</summary>
    public bool DirectRouting { get; init; }

    /// <summary>Largest packet of the underlay in bytes, headers of the tunnel included; 0 for that of the underlay's port.</summary>
    public int Mtu { get; init; }

    /// <summary>As leases name the backend.</summary>
    public string BackendType => Backend == FlannelBackend.Vxlan ? "vxlan" : "host-gw";

    /// <summary>Whether a lease has a subnet of every family in use, and each is one that may be leased.</summary>
    public bool Allows(LeaseSubnets subnets) => Allows(IPv4, subnets.IPv4) && Allows(IPv6, subnets.IPv6);

    private static bool Allows(SubnetPool? pool, Cidr? subnet) => pool is null ? subnet is null : subnet is { } s && pool.Allows(s);
}

/// <summary>The configuration cannot be used; everything that is wrong with it.</summary>
internal sealed class FlannelConfigException(IReadOnlyList<string> problems) : Exception(string.Join("; ", problems))
{
    public IReadOnlyList<string> Problems { get; } = problems;
}
