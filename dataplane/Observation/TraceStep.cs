namespace Dataplane.Observation;

/// <summary>
/// What a stage decided about a traced packet. Comments say what <see cref="CaptureRecord.Port"/>, A and B hold; the text of each
/// step is made by the control process, which knows the names.
/// </summary>
public enum TraceStep : byte
{
    /// <summary>Port: from which. A: the worker. The packet's first bytes follow.</summary>
    Received,
    /// <summary>A: VLAN word of <see cref="Stages.VlanTag"/>.</summary>
    Classified,
    /// <summary>The source tells nothing new. A: key.</summary>
    SourceKnown,
    /// <summary>The source is fixed to this port. A: key.</summary>
    SourceStatic,
    /// <summary>The source was not looked at: the port does not learn. A: key.</summary>
    SourceIgnored,
    /// <summary>The source is learned. A: key.</summary>
    SourceLearned,
    /// <summary>The source was on another port before. A: key, B: that port.</summary>
    SourceMoved,
    /// <summary>As <see cref="SourceMoved"/>, too often in a short time.</summary>
    SourceFlapping,
    /// <summary>The source is not learned because the port's, or the bridge's, limit is reached. A: key.</summary>
    SourceLimited,
    /// <summary>The source is not learned because the table is full near it. A: key.</summary>
    SourceTableFull,
    /// <summary>The destination is known. Port: where. A: key, B: 1 for a static entry.</summary>
    DestinationKnown,
    /// <summary>The destination is unknown, or a group. A: key.</summary>
    Flooded,
    /// <summary>Flooding leaves a port out. Port: which. A: drop reason that a packet addressed to it would have, or one of <see cref="FloodSkip"/>.</summary>
    FloodSkipped,
    /// <summary>For an output port. A: 1 when the packet leaves with a VLAN tag.</summary>
    Retagged,
    /// <summary>Handed to the worker that owns the queue. Port: output, A: that worker.</summary>
    HandedOver,
    /// <summary>Handed to the device. Port: output, A: length, B: one of <see cref="OutputWork"/>.</summary>
    Output,
    /// <summary>Segmented in software. Port: output, A: number of packets.</summary>
    Segmented,
    /// <summary>
    /// The route to the destination. Port: its interface. A: the next hop's index, and its <see cref="Memory.NextHopKind"/> above the
    /// lower 32 bits, B: 1 when it was chosen among several.
    /// </summary>
    Routed,
    /// <summary>For an address of the router. Port: the interface that has it, A: the host's port that gets it, 0 for the switch itself.</summary>
    Delivered,
    /// <summary>The switch answers. Port: the interface.</summary>
    Answered,
    /// <summary>The sender is told by ICMP. Port: the interface, A: type, B: code.</summary>
    ErrorSent,
    /// <summary>The maximum segment size of a TCP SYN is lowered. Port: the interface by which it leaves, A: to what.</summary>
    MssClamped,
    /// <summary>Cut into fragments. Port: the interface by which they leave, A: number of packets, B: the MTU.</summary>
    Fragmented,
    /// <summary>Got outer headers. Port: of the tunnel, A: VNI, B: UDP source port.</summary>
    Encapsulated,
    /// <summary>Lost its outer headers. Port: of the tunnel, A: VNI, B: bytes of the headers.</summary>
    Decapsulated,
    /// <summary>Dropped. Port: on which it is counted, A: the reason.</summary>
    Dropped,
    /// <summary>The packet waits for a neighbour's address. Port: interface, A, B: the upper and the lower half of its IP address; A is 0 for IPv4.</summary>
    NeighbourAwaited,
    /// <summary>The packet goes on, for the address is known. Port, A, B as above.</summary>
    NeighbourFound,
    /// <summary>The packet told something of its sender. Port: interface, A: MAC address, B: one of <see cref="Tables.NeighbourState"/>.</summary>
    NeighbourLearned,
    /// <summary>The packet is a question that is answered. Port: interface, A: the MAC address given, B: one of <see cref="Stages.AnswerKind"/>.</summary>
    NeighbourAnswered,
    /// <summary>The packet is an answer that the host may want, too. Port: the host's.</summary>
    NeighbourForHost,
    /// <summary>
    /// The packet, or the one that an ICMP error quotes, is of a known connection. A: frontend above the lower 32 bits, and backend; 0 where
    /// it is masqueraded only, and for what is gone. B: <see cref="Tables.ConnectionFlags"/>.
    /// </summary>
    ConnectionFound,
    /// <summary>A backend is chosen for a new connection. A: frontend above the lower 32 bits, and backend. B: the number of the service.</summary>
    BackendChosen,
    /// <summary>The source is replaced. Port: the new port. A, B: the upper and the lower half of the new address; A is 0 for IPv4.</summary>
    SourceTranslated,
    /// <summary>The destination is replaced. Port, A, B as above.</summary>
    DestinationTranslated,
    /// <summary>The sender's connection is refused in the name of its destination. Port: the interface, A: the protocol.</summary>
    Refused,
    /// <summary>The packet, or the one that an ICMP error quotes, is of a service's connection that is gone.</summary>
    ConnectionGone,

    Count,
}

/// <summary>Why flooding leaves a port out, beside the drop reasons.</summary>
public enum FloodSkip : byte
{
    /// <summary>The port does not take packets of this kind.</summary>
    NotWanted = 254,
    /// <summary>The port does not carry the VLAN.</summary>
    OtherVlan = 255,
}

/// <summary>What was left to do for a packet at its output.</summary>
public enum OutputWork : byte
{
    Nothing,
    /// <summary>The device completes the checksum, or cuts the segment.</summary>
    ByDevice,
    /// <summary>The switch completed the checksum.</summary>
    Checksum,
}
