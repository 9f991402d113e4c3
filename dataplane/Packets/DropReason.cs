namespace Dataplane.Packets;

/// <summary>
/// Why a packet ended without being sent. One list for counters, traces, captures and the API; no packet disappears
/// without one. Values are part of the segment's layout: append, never reorder. The texts are in
/// <see cref="DropReasons"/>.
/// </summary>
public enum DropReason : byte
{
    // Ingress: counted on the port that the packet came from.
    Truncated,
    SourceMulticast,
    SourceZero,
    SourceOwn,
    SourceStatic,
    PortDisabled,
    NoBridge,
    LinkLocal,
    BpduGuard,
    VlanNotAllowed,
    VlanTagged,
    VlanUntagged,
    BlackHole,
    SamePort,
    Isolated,
    NoFloodTarget,
    StormControl,
    BadOffload,
    Oversized,
    OutputGone,
    OutputDisabled,
    NoBuffer,
    NotForRouter,
    NotIp,
    BadIpHeader,
    BadIpChecksum,
    Martian,
    SpoofedSource,
    MulticastNotRouted,
    TtlExceeded,
    NoRoute,
    RouteBlackHole,
    RouteUnreachable,
    RouteProhibited,
    NeedsFragmentation,
    NeighbourUnresolved,
    NeighbourQueueFull,
    BadArp,
    BadNeighbourDiscovery,
    BadIcmp,
    NotServed,
    RouterLoop,
    SplitHorizon,
    VxlanTruncated,
    VxlanFlags,
    VxlanVni,
    VxlanVtep,
    VxlanChecksum,
    VxlanFragment,
    VxlanCongestion,
    ServiceNoBackend,
    ServiceNotServed,
    NoConnection,
    ConnectionTableFull,
    NatPoolExhausted,
    NatUnreadable,
    NatFragment,
    ConnectionReset,
    RateLimit,

    // Egress: counted on the port that the packet was meant for.
    EgressDetached,
    EgressFull,
    EgressMtu,
    EgressNoBuffer,
    EgressBadOffload,
    EgressDevice,
    EgressDisabled,
    EgressNoTunnelRoute,
    EgressTunnelMtu,
    EgressTunnelLoop,

    Count,

    /// <summary>Room in the counters, so that a new reason does not move anything.</summary>
    Limit = 96,
}

/// <summary>Names and texts of the drop reasons.</summary>
public static class DropReasons
{
    private static readonly (string Name, string Text)[] Table =
    [
        ("truncated", "shorter than an Ethernet header, or a header runs past the end"),
        ("source-multicast", "source address is a group address"),
        ("source-zero", "source address is all zeroes"),
        ("source-own", "source address is the bridge's own"),
        ("source-static", "source address is fixed to another port"),
        ("port-disabled", "input port is disabled"),
        ("no-bridge", "input port belongs to no network"),
        ("link-local", "destination 01:80:C2:00:00:0X is never forwarded (IEEE 802.1D 7.12.6)"),
        ("bpdu-guard", "bridge protocol data unit on a guarded port"),
        ("vlan-not-allowed", "VLAN is not allowed on the input port"),
        ("vlan-tagged", "tagged frame on an access port"),
        ("vlan-untagged", "untagged frame on a trunk without native VLAN"),
        ("black-hole", "source or destination address is a drop entry"),
        ("same-port", "destination is on the input port"),
        ("isolated", "input and output port are isolated from each other"),
        ("no-flood-target", "no port would take the flooded packet"),
        ("storm-control", "input port floods more than it may"),
        ("bad-offload", "segmentation or checksum request of the sender makes no sense"),
        ("oversized", "larger than any packet may be"),
        ("output-gone", "the address is known on a port that left the network"),
        ("output-disabled", "output port is disabled"),
        ("no-buffer", "no packet buffer for a copy"),
        ("not-for-router", "destination address is not the router's"),
        ("not-ip", "neither IPv4 nor IPv6 nor ARP, so not for a router"),
        ("bad-ip-header", "version, header length or total length of the IP header makes no sense"),
        ("bad-ip-checksum", "checksum of the IPv4 header is wrong"),
        ("martian", "source or destination that no packet on a link may have (RFC 1812, 5.3.7)"),
        ("spoofed-source", "source address does not belong to the network the packet came from (RFC 2827)"),
        ("multicast-not-routed", "multicast and broadcast stay on their link"),
        ("ttl-exceeded", "time to live (hop limit) is used up"),
        ("no-route", "no route to the destination"),
        ("route-black-hole", "the route to the destination is a black hole"),
        ("route-unreachable", "the route to the destination says unreachable"),
        ("route-prohibited", "the route to the destination says prohibited"),
        ("needs-fragmentation", "larger than the next hop's MTU, and must not be fragmented"),
        ("neighbour-unresolved", "nobody answers for the address of the next hop"),
        ("neighbour-queue-full", "too many packets wait for the address of the next hop"),
        ("bad-arp", "the ARP packet makes no sense (RFC 826)"),
        ("bad-neighbour-discovery", "neighbour discovery message that is not valid (RFC 4861, 7.1)"),
        ("bad-icmp", "the ICMP message is truncated or has a wrong checksum"),
        ("not-served", "no such protocol or port at an address of the router"),
        ("router-loop", "the next hop is a router of this switch again"),
        ("split-horizon", "from a tunnel of the network and for another one: every node has its own"),
        ("vxlan-truncated", "outer packet too short for a VXLAN header and an Ethernet frame"),
        ("vxlan-flags", "the flags of the VXLAN header do not say that it has a VNI (RFC 7348, 5)"),
        ("vxlan-vni", "the VXLAN network identifier is unknown"),
        ("vxlan-vtep", "outer source address is no peer of the VXLAN network"),
        ("vxlan-checksum", "outer UDP checksum is wrong, or missing where there must be one (RFC 6935)"),
        ("vxlan-fragment", "outer packet is a fragment (RFC 7348, 4.3)"),
        ("vxlan-congestion", "outer packet says congestion, and the inner one has no way to be told (RFC 6040, 4.2)"),
        ("service-no-backend", "the service has no backend"),
        ("service-not-served", "an address of services, at which none has this protocol and port"),
        ("no-connection", "not the first packet of a connection, and nothing is known of that here"),
        ("connection-table-full", "no room for a new connection, or two workers were making the same one"),
        ("nat-pool-exhausted", "no port is left towards this destination"),
        ("nat-unreadable", "to be translated, and without a transport header that could be read"),
        ("nat-fragment", "a fragment whose datagram's first fragment did not come"),
        ("connection-reset", "the connection's backend is gone, and its connections end with it"),
        ("rate-limit", "more than the policy of the input port lets it send"),
        ("egress-detached", "output port has no device"),
        ("egress-full", "output queue is full"),
        ("egress-mtu", "larger than the output port's MTU"),
        ("egress-no-buffer", "no packet buffer for a copy or a segment"),
        ("egress-bad-offload", "cannot be segmented or checksummed in software"),
        ("egress-device", "output device refused the packet (it is down or gone)"),
        ("egress-disabled", "the switch has disabled the output port (BPDU guard)"),
        ("egress-no-tunnel-route", "no route, or no neighbour's address, to the remote tunnel end point"),
        ("egress-tunnel-mtu", "with its outer headers larger than the underlay's MTU"),
        ("egress-tunnel-loop", "the remote tunnel end point is reached by a tunnel, or is this switch itself"),
    ];

    /// <summary>Short name with hyphens, as counters and the command line show it.</summary>
    public static string Name(this DropReason reason) => Table[(int)reason].Name;

    /// <summary>One sentence for people.</summary>
    public static string Text(this DropReason reason) => Table[(int)reason].Text;

    /// <summary>Whether the drop is counted on the output port.</summary>
    public static bool IsEgress(this DropReason reason) => reason >= DropReason.EgressDetached;

    /// <summary>All reasons, in order.</summary>
    public static IEnumerable<DropReason> All => Enumerable.Range(0, (int)DropReason.Count).Select(i => (DropReason)i);
}
