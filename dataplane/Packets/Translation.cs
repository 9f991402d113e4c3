using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>
/// Addresses and ports that a packet has behind network address translation (RFC 2663, 3022), all four, changed or not. In host
/// order; an IPv4 address in Low. Of an echo request the source port is the identifier, of a reply the destination port, as in <see cref="PacketFlow"/>.
/// </summary>
public record struct Translation(IPv6Number Source, IPv6Number Destination, ushort SourcePort, ushort DestinationPort)
{
    /// <summary>A packet's own numbers: nothing changes.</summary>
    public static Translation Of(in PacketFlow flow) => new(flow.Source, flow.Destination, flow.SourcePort, flow.DestinationPort);

    /// <summary>Of the packet that an ICMP error quotes, which went the other way.</summary>
    public readonly Translation Reverse() => new(Destination, Source, DestinationPort, SourcePort);
}
