using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// What a received VXLAN packet is looked up by. There are three kinds of keys: a UDP port of a VRF, a network (VNI) at such a
/// port, and a peer (remote end point) of such a network. As with the sockets of an operating system, a VNI has a meaning of its
/// own at each UDP port and in each VRF.
/// </summary>
/// <param name="Place">Kind, family, VRF, UDP port and VNI.</param>
/// <param name="Remote">The peer's address, an IPv4 address in Low; zero for the other kinds.</param>
public readonly record struct TunnelKey(ulong Place, IPv6Number Remote)
{
    public const uint VniMask = 0xFF_FFFF;

    private const ulong PortKind = 1ul << 60, NetworkKind = 2ul << 60, PeerKind = 3ul << 60;
    private const ulong FamilyBit = 1ul << 56;

    public static TunnelKey UdpPort(ushort vrf, ushort udpPort) => new(PortKind | ((ulong)vrf << 40) | ((ulong)udpPort << 24), default);

    public static TunnelKey Network(ushort vrf, ushort udpPort, uint vni) =>
        new(NetworkKind | ((ulong)vrf << 40) | ((ulong)udpPort << 24) | (vni & VniMask), default);

    public static TunnelKey Peer(ushort vrf, ushort udpPort, uint vni, bool isIPv6, IPv6Number remote) =>
        new(PeerKind | (isIPv6 ? FamilyBit : 0) | ((ulong)vrf << 40) | ((ulong)udpPort << 24) | (vni & VniMask), remote);

    public static TunnelKey UdpPort(in TunnelRecord tunnel) => UdpPort(tunnel.Vrf, tunnel.UdpPort);
    public static TunnelKey Network(in TunnelRecord tunnel) => Network(tunnel.Vrf, tunnel.UdpPort, tunnel.Vni);

    public static TunnelKey Peer(in TunnelRecord tunnel) =>
        Peer(tunnel.Vrf, tunnel.UdpPort, tunnel.Vni, tunnel.Has(TunnelFlags.IPv6), tunnel.Remote);

    /// <summary>Whether it is one of a tunnel's three keys.</summary>
    public bool IsOf(in TunnelRecord tunnel) => tunnel.Has(TunnelFlags.Exists) && this == ((Place & PeerKind) switch
    {
        PortKind => UdpPort(in tunnel),
        NetworkKind => Network(in tunnel),
        _ => Peer(in tunnel),
    });
}
