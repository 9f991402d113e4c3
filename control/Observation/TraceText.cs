using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Dataplane.Observation;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Stages;
using Dataplane.Tables;

namespace Dataplane.Control.Observation;

/// <summary>A step of a traced packet in words, with the names that the operator gave.</summary>
public static class TraceText
{
    /// <summary>The stage, and what it decided.</summary>
    /// <param name="record">The step.</param>
    /// <param name="names">Names of what it has numbers of.</param>
    public static (string Stage, string Text) Of(in CaptureRecord record, TraceNames names)
    {
        string port = names.Port(record.Port);
        string mac = new MacAddress(record.A & MacAddress.Mask).ToString();
        return (TraceStep)record.Code switch
        {
            TraceStep.Received => ("receive", $"from {port}, by worker {record.A}{Network(names, record.Port)}"),
            TraceStep.Classified => ("vlan", Classified((ushort)record.A)),
            TraceStep.SourceKnown => ("learn", $"{mac} is known on {port}"),
            TraceStep.SourceStatic => ("learn", $"{mac} is fixed to {port}"),
            TraceStep.SourceIgnored => ("learn", $"{mac} is not learned: {port} does not learn"),
            TraceStep.SourceLearned => ("learn", $"{mac} is new, and learned on {port}"),
            TraceStep.SourceMoved => ("learn", $"{mac} moved from {names.Port((int)record.B)} to {port}"),
            TraceStep.SourceFlapping => ("learn", $"{mac} moved from {names.Port((int)record.B)} to {port}, too often: it flaps"),
            TraceStep.SourceLimited => ("learn", $"{mac} is not learned: the limit of {port} or of its network is reached"),
            TraceStep.SourceTableFull => ("learn", $"{mac} is not learned: the table is full near it"),
            TraceStep.DestinationKnown => ("lookup", $"{mac} is {(record.B != 0 ? "fixed to" : "known on")} {port}"),
            TraceStep.Flooded => ("flood", Flooded(record.A & MacAddress.Mask, mac)),
            TraceStep.FloodSkipped => ("flood", $"not to {port}: {Skipped(record.A)}"),
            TraceStep.Retagged => ("vlan", record.A != 0 ? $"leaves with tag of VLAN {record.B}" : "leaves without tag"),
            TraceStep.HandedOver => ("output", $"to {port}, handed to worker {record.A}, which owns its queue"),
            TraceStep.Output => ("output", $"to {port}, {record.A} bytes{Work((OutputWork)record.B)}"),
            TraceStep.Segmented => ("output", $"to {port}, cut into {record.A} packets"),
            TraceStep.Routed => ("route", Routed(record, port)),
            TraceStep.Delivered => ("route", record.A != 0 ? $"for the host, by {names.Port((int)record.A)}" : "for the switch itself"),
            TraceStep.Answered => ("route", "answered: echo reply"),
            TraceStep.ErrorSent => ("icmp", $"the sender is told by ICMP, type {record.A}, code {record.B}, by {port}"),
            TraceStep.MssClamped => ("route", $"maximum segment size lowered to {record.A}"),
            TraceStep.Fragmented => ("route", $"cut into {record.A} fragments for an MTU of {record.B}"),
            TraceStep.Encapsulated => ("vxlan", $"into {port}: network {record.A}, UDP source port {record.B}"),
            TraceStep.Decapsulated => ("vxlan", $"out of {port}: network {record.A}, {record.B} bytes of outer headers taken off"),
            TraceStep.Dropped => ("drop", Dropped(record, port)),
            TraceStep.NeighbourAwaited => ("neighbour", $"waits for the address of {Ip(record.A, record.B)} on {port}"),
            TraceStep.NeighbourFound => ("neighbour", $"goes on: {Ip(record.A, record.B)} on {port} has answered"),
            TraceStep.NeighbourLearned => ("neighbour", $"its sender on {port} is {mac}, {((NeighbourState)record.B).ToString().ToUpperInvariant()}"),
            TraceStep.NeighbourAnswered => ("neighbour", $"answered on {port} with {mac}{Answered((AnswerKind)record.B)}"),
            TraceStep.NeighbourForHost => ("neighbour", $"passed on to the host, {port}"),
            TraceStep.ConnectionFound => ("connection", $"of a known connection{Service(names, record.A)}{((record.B & (ulong)ConnectionFlags.Reply) != 0 ? ", coming back" : "")}"),
            TraceStep.ConnectionGone => ("connection", "of a service's connection that is gone"),
            TraceStep.BackendChosen => ("service", $"a new connection to {names.Frontend(record.A >> 32, (uint)record.B)}, by {names.Backend((uint)record.A)}"),
            TraceStep.SourceTranslated => ("nat", $"source becomes {Ip(record.A, record.B)}, port {record.Port}"),
            TraceStep.DestinationTranslated => ("nat", $"destination becomes {Ip(record.A, record.B)}, port {record.Port}"),
            TraceStep.Refused => ("service", $"the sender is told by a {(record.A == Wire.ProtocolTcp ? "TCP reset" : "SCTP abort")}, by {port}"),
            _ => ("unknown", string.Create(CultureInfo.InvariantCulture, $"step {record.Code}")),
        };
    }

    private static string Service(TraceNames names, ulong frontendAndBackend) =>
        (frontendAndBackend >> 32 != 0 ? $" to {names.Frontend(frontendAndBackend >> 32)}" : "") + ((uint)frontendAndBackend != 0 ? $", by {names.Backend((uint)frontendAndBackend)}" : "");

    private static string Network(TraceNames names, int index) => names.Network(index) is { } network ? $", network {network}" : "";

    private static string Classified(ushort tag) => $"VLAN {tag & VlanTag.VidMask}, " + ((tag & VlanTag.Priority) != 0 ? "by the port, with a priority tag"
        : (tag & VlanTag.Tagged) != 0 ? "by its tag" : "by the port, without tag");

    private static string Flooded(ulong destination, string mac) =>
        destination == MacAddress.Mask ? "broadcast" : (destination & 1) != 0 ? $"{mac} is a multicast group" : $"{mac} is unknown";

    private static string Skipped(ulong why) => (FloodSkip)why switch
    {
        FloodSkip.NotWanted => "it takes no flooded packets of this kind",
        FloodSkip.OtherVlan => "it does not carry the VLAN",
        _ when why == (ulong)DropReason.SamePort => "the packet came from it",
        _ => why < (ulong)DropReason.Count ? ((DropReason)why).Text() : "",
    };

    private static string Ip(ulong high, ulong low)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, high);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], low);
        return new IPAddress(high == 0 && low <= uint.MaxValue ? bytes[12..] : bytes).ToString();
    }

    private static string Answered(AnswerKind kind) => kind switch
    {
        AnswerKind.Own => ", the interface's own address",
        AnswerKind.Proxy => ", for it is routed elsewhere",
        _ => ", a neighbour that is known",
    };

    private static string Routed(in CaptureRecord record, string port)
    {
        uint hop = (uint)record.A;
        string how = (NextHopKind)(record.A >> 32) switch
        {
            NextHopKind.None => "no route to the destination",
            NextHopKind.Local => $"an address of the router, on {port}",
            NextHopKind.Connected => $"to a neighbour on {port}",
            NextHopKind.Gateway4 or NextHopKind.Gateway6 => $"by a gateway on {port}",
            NextHopKind.Adjacency => $"to {port}",
            NextHopKind.Blackhole => "to a black hole",
            NextHopKind.Unreachable => "to what is unreachable",
            NextHopKind.Prohibited => "to what is prohibited",
            _ => "to what makes no sense",
        };
        return $"{how} (next hop {hop}{(record.B != 0 ? ", one of several by its flow" : "")})";
    }

    private static string Work(OutputWork work) => work switch
    {
        OutputWork.ByDevice => ", segmentation and checksum left to the device",
        OutputWork.Checksum => ", checksum completed",
        _ => "",
    };

    private static string Dropped(in CaptureRecord record, string port) => record.A < (ulong)DropReason.Count
        ? $"{((DropReason)record.A).Name()}: {((DropReason)record.A).Text()} (counted on {port})"
        : $"reason {record.A}";
}
