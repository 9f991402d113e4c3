using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>What an entry of the connection table is.</summary>
public enum ConnectionKind : byte
{
    /// <summary>A connection: one entry for each direction.</summary>
    Connection,
    /// <summary>Which backend a client of a service has.</summary>
    Affinity,
    /// <summary>Which flow the later fragments of a datagram belong to.</summary>
    Fragment,
    /// <summary>Endpoint-independent mapping (RFC 4787, 4.1): the outer address and port of an inner one, and the way back.</summary>
    Endpoint,
}

/// <summary>
/// What an entry is found by. Numbers in host order, an IPv4 address in Low. A packet that has no ports has 0; an echo request has its
/// identifier as source port, a reply as destination port (<see cref="PacketFlow"/>).
/// </summary>
/// <param name="Flow">VRF, protocol, kind and ports.</param>
/// <param name="Source">Source address.</param>
/// <param name="Destination">Destination address.</param>
/// <param name="IsIPv6">The family.</param>
public readonly record struct ConnectionKey(ulong Flow, IPv6Number Source, IPv6Number Destination, bool IsIPv6)
{
    private const int VrfShift = 48, ProtocolShift = 40, KindShift = 32, SourceShift = 16;

    public ConnectionKey(ushort vrf, byte protocol, bool isIPv6, IPv6Number source, IPv6Number destination, ushort sourcePort, ushort destinationPort,
        ConnectionKind kind = ConnectionKind.Connection)
        : this(FlowOf(vrf, protocol, ((uint)sourcePort << SourceShift) | destinationPort, kind), source, destination, isIPv6)
    {
    }

    /// <summary>The key of a packet's flow in a VRF.</summary>
    public static ConnectionKey Of(in PacketFlow flow, ushort vrf) =>
        new(vrf, flow.Protocol, flow.IsIPv6, flow.Source, flow.Destination, flow.SourcePort, flow.DestinationPort);

    /// <summary>The key of an IPv4 packet's flow.</summary>
    public static ConnectionKey Of4(ushort vrf, byte protocol, uint source, uint destination, ushort sourcePort, ushort destinationPort) =>
        new(vrf, protocol, false, new IPv6Number(0, source), new IPv6Number(0, destination), sourcePort, destinationPort);

    /// <summary>A client of something that is numbered: a service or a frontend, as the caller pleases.</summary>
    public static ConnectionKey OfAffinity(ushort vrf, bool isIPv6, IPv6Number client, uint number) =>
        new(vrf, 0, isIPv6, client, new IPv6Number(0, number), 0, 0, ConnectionKind.Affinity);

    /// <summary>The datagram that a fragment is of.</summary>
    public static ConnectionKey OfFragment(in PacketFlow fragment, ushort vrf) =>
        new(FlowOf(vrf, fragment.Protocol, fragment.Identification, ConnectionKind.Fragment), fragment.Source, fragment.Destination, fragment.IsIPv6);

    /// <summary>The inner side of an endpoint mapping.</summary>
    public static ConnectionKey OfEndpoint(ushort vrf, byte protocol, bool isIPv6, IPv6Number inner, ushort port) =>
        new(vrf, protocol, isIPv6, inner, default, port, 0, ConnectionKind.Endpoint);

    /// <summary>The outer side of an endpoint mapping: no two inner endpoints have the same one.</summary>
    public static ConnectionKey OfOuterEndpoint(ushort vrf, byte protocol, bool isIPv6, IPv6Number outer, ushort port) =>
        new(vrf, protocol, isIPv6, default, outer, 0, port, ConnectionKind.Endpoint);

    /// <summary>The first word of a key.</summary>
    /// <param name="vrf">VRF in which the packet is routed.</param>
    /// <param name="protocol">Protocol of the transport header.</param>
    /// <param name="ports">Source port in the upper half, destination port in the lower: as they stand in the packet.</param>
    /// <param name="kind">What the entry is.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong FlowOf(ushort vrf, byte protocol, uint ports, ConnectionKind kind = ConnectionKind.Connection) =>
        ((ulong)vrf << VrfShift) | ((ulong)protocol << ProtocolShift) | ((ulong)kind << KindShift) | ports;

    public ushort Vrf => (ushort)(Flow >> VrfShift);
    public byte Protocol => (byte)(Flow >> ProtocolShift);
    public ConnectionKind Kind => (ConnectionKind)(byte)(Flow >> KindShift);
    public ushort SourcePort => (ushort)(Flow >> SourceShift);
    public ushort DestinationPort => (ushort)Flow;
    internal uint Ports => (uint)Flow;

    /// <summary>The key of packets that come back, where nothing is translated.</summary>
    public ConnectionKey Reversed => new(Vrf, Protocol, IsIPv6, Destination, Source, DestinationPort, SourcePort, Kind);

    /// <summary>For messages; written out, because what a record prints of itself would include <see cref="Reversed"/>, and that its own.</summary>
    public override string ToString() => $"{Kind} in VRF {Vrf}, protocol {Protocol}, {Source} port {SourcePort} to {Destination} port {DestinationPort}";

    /// <summary>Source and destination as they stand in an IPv4 header.</summary>
    internal ulong Addresses4 => (Source.Low << 32) | (uint)Destination.Low;
}

/// <summary>A <see cref="ConnectionKey"/> of IPv4 as the packet loops have it.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ConnectionKey4
{
    /// <summary>See <see cref="ConnectionKey.FlowOf"/>.</summary>
    public ulong Flow;
    /// <summary>Source address in the upper half, destination in the lower: eight bytes of the header, in host order.</summary>
    public ulong Addresses;

    /// <summary>The part of keys that is the same for all packets of a VRF, for <see cref="Of"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<ulong> VrfOf(ushort vrf) => Vector128.Create(ConnectionKey.FlowOf(vrf, 0, 0), 0);

    /// <summary>The key of a packet's flow: <see cref="ConnectionKey.FlowOf"/> and the addresses, from protocol, addresses and ports where they stand in the packet.</summary>
    /// <param name="ip">A header without options, and four bytes of the transport header behind it.</param>
    /// <param name="vrf">See <see cref="VrfOf"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static unsafe Vector128<ulong> Of(byte* ip, Vector128<ulong> vrf)
    {
        const int Begin = 8;
        const byte None = 0xFF, Protocol = 9 - Begin, Source = 12 - Begin, Destination = 16 - Begin, Ports = 20 - Begin;
        return Vector128.Shuffle(Vector128.Load(ip + Begin), Vector128.Create(
            Ports + 3, Ports + 2, Ports + 1, Ports, None, Protocol, None, None,
            Destination + 3, Destination + 2, Destination + 1, Destination, Source + 3, Source + 2, Source + 1, Source)).AsUInt64() | vrf;
    }
}

/// <summary>A <see cref="ConnectionKey"/> of IPv6 as the packet loops have it.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ConnectionKey6
{
    /// <summary>See <see cref="ConnectionKey.FlowOf"/>.</summary>
    public ulong Flow;
    public IPv6Number Source;
    public IPv6Number Destination;
}
