using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>An entry of the table, in one of its lives; 0 for none. What it names may be gone at any time: then it does nothing.</summary>
public readonly record struct ConnectionHandle(ulong Value)
{
    private const uint FamilyBit = 0x8000_0000;

    internal ConnectionHandle(uint index, bool isIPv6, ulong control)
        : this(((ulong)(uint)control << 32) | (isIPv6 ? FamilyBit : 0) | index)
    {
    }

    public bool IsNone => Value == 0;
    internal uint Index => (uint)Value & ~FamilyBit;
    internal bool IsIPv6 => ((uint)Value & FamilyBit) != 0;

    /// <summary>Of the same life, and an entry.</summary>
    internal bool Matches(ulong control) => (uint)control == (uint)(Value >> 32) && ConnectionControl.Phase(control) == ConnectionPhase.Valid;
}

/// <summary>A copy of an entry whose parts belong together.</summary>
public struct ConnectionEntry
{
    /// <summary>Of packets that it is for.</summary>
    public ConnectionKey Key;
    public ConnectionState State;
    public ConnectionFlags Flags;
    /// <summary>
    /// What takes the place of the packet's addresses and ports. Of an affinity nothing; of a fragment the ports of the datagram's first
    /// one; of an endpoint's original direction the outer endpoint as source.
    /// </summary>
    public IPv6Number NewSource;
    public IPv6Number NewDestination;
    public ushort NewSourcePort;
    public ushort NewDestinationPort;
    /// <summary>
    /// What the new addresses add to the sum that a checksum is the complement of (RFC 1624), in native byte order as in
    /// <see cref="Packets.Checksum"/>, for the IPv4 header. Never 0: of addresses that stay it is all ones.
    /// </summary>
    public ushort AddressDelta;
    /// <summary>As <see cref="AddressDelta"/>, what new addresses and ports (or echo identifier) add together, for TCP, UDP and ICMPv6.</summary>
    public ushort TransportDelta;
    /// <summary>Index of the next hop; 0 for none.</summary>
    public uint Route;
    /// <summary>Lower 32 bits of the generation of verdicts in which the route was found.</summary>
    public uint VerdictGeneration;
    /// <summary>Index of the frontend, 0 for none.</summary>
    public uint Frontend;
    /// <summary>Index of the backend, 0 for none.</summary>
    public uint Backend;
    /// <summary>Seconds of the workers' clock.</summary>
    public uint LastSeen;

    public readonly bool IsReply => (Flags & ConnectionFlags.Reply) != 0;
    public readonly bool Rewrites => (Flags & (ConnectionFlags.RewritesSource | ConnectionFlags.RewritesDestination)) != 0;

    /// <summary>Whether a frontend is the one at which the connection began: its number may be another one's by now.</summary>
    public readonly bool IsOf(in FrontendRecord frontend) => frontend.Began(IsReply ? OtherKey : Key);

    /// <summary>Whether a backend is the one that the connection has: its number may be another one's by now.</summary>
    public readonly bool IsBy(in BackendRecord backend)
    {
        (IPv6Number address, ushort port) = IsReply ? (Key.Source, Key.SourcePort) : (NewDestination, NewDestinationPort);
        // With direct server return its address is not in the entry.
        return backend.Has(BackendFlags.Exists) && ((Flags & ConnectionFlags.Dsr) != 0 || (backend.Address == address && backend.Port == port));
    }

    /// <summary>The key of the other direction, if it is looked up in the same VRF.</summary>
    public readonly ConnectionKey OtherKey =>
        new(Key.Vrf, Key.Protocol, Key.IsIPv6, NewDestination, NewSource, NewDestinationPort, NewSourcePort, Key.Kind);
}

/// <summary>A connection to be made.</summary>
public struct NewConnection
{
    /// <summary>Of packets as the client sends them.</summary>
    public ConnectionKey Original;
    /// <summary>
    /// Of packets as they come back. It says all about the translation: its source is the new destination, its destination the new source.
    /// </summary>
    public ConnectionKey Reply;
    /// <summary>Of <see cref="ConnectionFlags.OfCaller"/>.</summary>
    public ConnectionFlags Flags;
    /// <summary>Index of the frontend and the backend, 0 for none.</summary>
    public uint Frontend;
    public uint Backend;
    /// <summary>Of the packet that begins it; see <see cref="ConnectionTracking"/>.</summary>
    public byte Signal;

    /// <summary>
    /// An endpoint mapping: found by its inner side (<see cref="ConnectionKey.OfEndpoint"/>) its outer side is the new source. It lives as long
    /// as connections with <see cref="ConnectionFlags.EndpointMapped"/> from there do, and a while longer.
    /// </summary>
    public static NewConnection OfEndpoint(ushort vrf, byte protocol, bool isIPv6, IPv6Number inner, ushort innerPort, IPv6Number outer, ushort outerPort) => new()
    {
        Original = ConnectionKey.OfEndpoint(vrf, protocol, isIPv6, inner, innerPort),
        Reply = ConnectionKey.OfOuterEndpoint(vrf, protocol, isIPv6, outer, outerPort),
    };
}

/// <summary>What became of a connection to be made.</summary>
public enum InsertResult
{
    Inserted,
    /// <summary>
    /// There is one with the key of the original direction. Its handle is 0 when another worker is making it in this instant: look it up
    /// again, and drop the packet when it is not there.
    /// </summary>
    Exists,
    /// <summary>Packets that come back would be taken for another connection's: choose another port.</summary>
    ReplyTaken,
    /// <summary>The table is full, and nothing near is half-open.</summary>
    Full,
}

/// <summary>What a packet meant to its connection.</summary>
public enum TouchResult
{
    /// <summary>It belongs to it.</summary>
    Known,
    /// <summary>As <see cref="Known"/>, and the connection is <see cref="ConnectionFlags.HalfOpen"/> no more.</summary>
    Proven,
    /// <summary>It begins another one between the same ports. The old one is gone.</summary>
    Restart,
    /// <summary>There is no such connection any more.</summary>
    Gone,
}

/// <summary>The verdict on an IPv4 packet of a known connection.</summary>
public struct ConnectionVerdict4
{
    public ConnectionRewrite4 Rewrite;
    /// <summary>Index of the next hop.</summary>
    public uint Route;
    public ConnectionFlags Flags;
}

/// <summary>The verdict on an IPv6 packet of a known connection.</summary>
public struct ConnectionVerdict6
{
    public ConnectionRewrite6 Rewrite;
    /// <inheritdoc cref="ConnectionVerdict4.Route"/>
    public uint Route;
    public ConnectionFlags Flags;
}
