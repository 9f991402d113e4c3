using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>An IPv6 address as two numbers in host order; the first byte on the wire is the highest of <see cref="High"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct IPv6Number(ulong High, ulong Low);

/// <summary>An address of an interface, and the mask of its subnet.</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct InterfaceAddress4(uint Address, uint Mask)
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Contains(uint address) => ((address ^ Address) & Mask) == 0;
}

/// <summary>An address of an interface, and the mask of its subnet.</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct InterfaceAddress6(IPv6Number Address, IPv6Number Mask)
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Contains(ulong high, ulong low) =>
        (((high ^ Address.High) & Mask.High) | ((low ^ Address.Low) & Mask.Low)) == 0;
}

[InlineArray(InterfaceRecord.AddressLimit)]
public struct InterfaceAddresses4
{
    private InterfaceAddress4 _first;
}

[InlineArray(InterfaceRecord.AddressLimit)]
public struct InterfaceAddresses6
{
    private InterfaceAddress6 _first;
}

[Flags]
public enum InterfaceFlags : uint
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>Packets from ports other than the host's must have a source of one of the interface's subnets (RFC 2827).</summary>
    SourceCheck = 1 << 1,
    /// <summary>Answers ARP and neighbour solicitations for every address that is routed by another interface (RFC 1027).</summary>
    Proxy = 1 << 2,
    /// <summary>Answers ARP and neighbour solicitations for known neighbours on the interface itself, instead of flooding them.</summary>
    Suppress = 1 << 3,
    /// <summary>Lowers the maximum segment size in TCP SYNs to what the next hop's MTU allows.</summary>
    ClampMss = 1 << 4,
    /// <summary>Sources of packets from this interface are replaced on interfaces that have a <see cref="InterfaceRecord.NatPool"/>.</summary>
    Masqueraded = 1 << 5,
}

/// <summary>
/// The layer-3 side of a port: of a bridge's router port (<see cref="PortFlags.Router"/>) or of a device port that belongs to no
/// bridge (<see cref="PortFlags.Routed"/>). Has the port's index. See <see cref="Versioned{T}"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct InterfaceRecord
{
    public const int AddressLimit = 4;

    /// <summary>The interface's own address as a number whose lowest byte is the first on the wire.</summary>
    public ulong Mac;
    /// <summary>
    /// Another address that is the router's, 0 for none: the one that the host sends to, which has <see cref="Mac"/> itself.
    /// </summary>
    public ulong AliasMac;
    public InterfaceFlags Flags;
    /// <summary>Index of the VRF in which packets from this interface are looked up; 0 for none.</summary>
    public ushort Vrf;
    /// <summary>Largest layer-3 packet in bytes.</summary>
    public ushort Mtu;
    /// <summary>The host's port of the bridge, to which packets for the interface's own addresses go; 0 when the switch answers itself.</summary>
    public ushort HostPort;
    public byte Count4;
    public byte Count6;
    /// <summary>Index of the <see cref="NatPoolRecord"/> for packets to this interface, 0 for none.</summary>
    public ushort NatPool;
    public ushort Reserved;
    /// <summary>The first <see cref="Count4"/> are in use. The first one is the source of ARP requests and ICMP errors.</summary>
    public InterfaceAddresses4 Addresses4;
    /// <summary>The first <see cref="Count6"/> are in use. The first one is the source of solicitations and ICMPv6 errors.</summary>
    public InterfaceAddresses6 Addresses6;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(InterfaceFlags flags) => (Flags & flags) == flags;
}

[Flags]
public enum VrfFlags : uint
{
    None = 0,
    /// <summary>There is a service or NAT in it: every packet that is routed is looked up in the connection table.</summary>
    Tracks = 1 << 0,
}

/// <summary>A routing table of its own (virtual routing and forwarding). See <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct VrfRecord
{
    /// <summary>Root of the IPv4 trie, 0 when it is empty.</summary>
    public uint Root4;
    /// <summary>Root of the IPv6 trie, 0 when it is empty.</summary>
    public uint Root6;
    public VrfFlags Flags;
    /// <summary>
    /// Lower 32 bits of the generation in which something last changed that decides where packets of this VRF go: routes, which
    /// interface a next hop is on, interfaces. What a connection knows of its way is good as long as this stays the same
    /// (<see cref="Tables.ConnectionTable"/>). Services, backends, MAC addresses and neighbours do not change it.
    /// </summary>
    public uint Verdicts;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(VrfFlags flags) => (Flags & flags) == flags;
}

/// <summary>What is to be done with a packet that a route matches.</summary>
public enum NextHopKind : byte
{
    /// <summary>No route. The value of an entry that was never written.</summary>
    None,
    /// <summary>An address of the router itself, on the interface <see cref="NextHopRecord.Port"/>.</summary>
    Local,
    /// <summary>The destination is on the link of <see cref="NextHopRecord.Port"/>: it is its own next hop.</summary>
    Connected,
    /// <summary>By way of the router <see cref="NextHopRecord.Gateway"/> (an IPv4 address in Low) on the link of Port.</summary>
    Gateway4,
    /// <summary>By way of the router <see cref="NextHopRecord.Gateway"/> on the link of Port.</summary>
    Gateway6,
    /// <summary>To <see cref="NextHopRecord.Port"/> with the addresses given here: a tunnel, the host, a neighbour that never changes.</summary>
    Adjacency,
    /// <summary>One of several, <see cref="NextHopRecord.Group"/>.</summary>
    Group,
    /// <summary>Dropped silently.</summary>
    Blackhole,
    /// <summary>Answered with "destination unreachable" (host; no route for IPv6).</summary>
    Unreachable,
    /// <summary>Answered with "communication administratively prohibited".</summary>
    Prohibited,
}

/// <summary>Where packets of a route go. Shared by all routes that go there. See <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NextHopRecord
{
    public NextHopKind Kind;
    public byte Reserved;
    /// <summary>The interface (a router or routed port) or, of an adjacency, the output port.</summary>
    public ushort Port;
    /// <summary>Largest layer-3 packet in bytes; 0 for that of the interface.</summary>
    public ushort Mtu;
    /// <summary>Index of the <see cref="NextHopGroup"/>.</summary>
    public ushort Group;
    /// <summary>Destination address of an adjacency, lowest byte first on the wire.</summary>
    public ulong Mac;
    /// <summary>Source address of an adjacency.</summary>
    public ulong SourceMac;
    public IPv6Number Gateway;
}

[InlineArray(NextHopGroup.Buckets)]
public struct GroupBuckets
{
    private uint _first;
}

/// <summary>
/// Equal-cost multi-path (RFC 2992): the flow's hash chooses a bucket, and the bucket names a next hop. The control plane fills the
/// buckets so that a member's coming or going moves no other flows than it must. See <see cref="Versioned{T}"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct NextHopGroup
{
    public const int Buckets = 64;

    /// <summary>Indexes of next hops; none of them is a group.</summary>
    public GroupBuckets Members;
}

[Flags]
public enum TunnelFlags : uint
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>The underlay is IPv6.</summary>
    IPv6 = 1 << 1,
    /// <summary>Sends IPv6 outer packets without a UDP checksum and accepts them (RFC 6935, RFC 6936).</summary>
    ZeroChecksum6 = 1 << 2,
}

/// <summary>One remote VXLAN tunnel end point of one network (RFC 7348). Has its port's index. See <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TunnelRecord
{
    public TunnelFlags Flags;
    /// <summary>VXLAN network identifier, 24 bits.</summary>
    public uint Vni;
    /// <summary>VRF in which the remote end point is looked up.</summary>
    public ushort Vrf;
    /// <summary>Destination port of outer packets, and the one on which they are received.</summary>
    public ushort UdpPort;
    /// <summary>Time to live (hop limit) of outer packets.</summary>
    public byte Ttl;
    public byte Reserved0;
    public ushort Reserved1;
    /// <summary>This node's end point; an IPv4 address in Low.</summary>
    public IPv6Number Local;
    /// <summary>The other node's; an IPv4 address in Low.</summary>
    public IPv6Number Remote;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(TunnelFlags flags) => (Flags & flags) == flags;
}
