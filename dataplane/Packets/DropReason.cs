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

    // Egress: counted on the port that the packet was meant for.
    EgressDetached,
    EgressFull,
    EgressMtu,
    EgressNoBuffer,
    EgressBadOffload,
    EgressDevice,
    EgressDisabled,

    Count,

    /// <summary>Room in the counters, so that a new reason does not move anything.</summary>
    Limit = 48,
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
        ("egress-detached", "output port has no device"),
        ("egress-full", "output queue is full"),
        ("egress-mtu", "larger than the output port's MTU"),
        ("egress-no-buffer", "no packet buffer for a copy or a segment"),
        ("egress-bad-offload", "cannot be segmented or checksummed in software"),
        ("egress-device", "output device refused the packet (it is down or gone)"),
        ("egress-disabled", "the switch has disabled the output port (BPDU guard)"),
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
