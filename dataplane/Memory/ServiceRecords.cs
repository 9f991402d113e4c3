using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Tables;

namespace Dataplane.Memory;

[Flags]
public enum FrontendFlags : uint
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>
    /// Not a service's port but its address as such, whatever protocol and port (<see cref="FrontendKey.IsAddress"/>): who sends to
    /// it otherwise is told that there is nobody.
    /// </summary>
    Address = 1 << 1,
    /// <summary>Of an address: echo requests are answered.</summary>
    AnswersPing = 1 << 2,
    /// <summary>A client keeps its backend for <see cref="FrontendRecord.AffinitySeconds"/>.</summary>
    Affinity = 1 << 3,
    /// <summary>The client's address is replaced by the router's, for the backend may be reached by a way that replies do not take back.</summary>
    SourceNat = 1 << 4,
    /// <summary>Direct server return: the packet goes the backend's way unchanged, and the backend answers as the service.</summary>
    Dsr = 1 << 5,
}

/// <summary>
/// A port at which a service, a node port or a published port is reached. Index 0 is none. See <see cref="Versioned{T}"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct FrontendRecord
{
    public FrontendKey Key;
    public FrontendFlags Flags;
    /// <summary>Where its backends are in the arena (<see cref="BackendSet.At"/>); 0 when it has none: connections are refused.</summary>
    public uint Set;
    /// <summary>Number of the service, the same for all of its frontends.</summary>
    public uint Service;
    /// <summary>How long a client keeps its backend after it last began a connection.</summary>
    public uint AffinitySeconds;
    /// <summary>Idle time after which an established TCP or SCTP connection is forgotten; 0 for the default, as with all that follow.</summary>
    public uint EstablishedSeconds;
    /// <summary>Of a TCP connection that was not answered.</summary>
    public uint HalfOpenSeconds;
    /// <summary>Of a TCP connection that is being closed.</summary>
    public uint ClosingSeconds;
    /// <summary>Of a UDP flow that was not answered.</summary>
    public uint UdpSeconds;
    /// <summary>Of a UDP flow that was answered.</summary>
    public uint UdpAnsweredSeconds;
    public uint Reserved;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(FrontendFlags flags) => (Flags & flags) == flags;

    /// <summary>
    /// Whether it is the one at which a connection began. Connections outlive their frontend, whose number may be another one's by then.
    /// </summary>
    /// <param name="original">Key of the original direction.</param>
    public readonly bool Began(in ConnectionKey original) => Has(FrontendFlags.Exists)
        && Key == FrontendKey.Of(original.Vrf, original.Protocol, original.IsIPv6, original.Destination, original.DestinationPort);
}

[Flags]
public enum BackendFlags : byte
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>Gets no new connections; those it has go on.</summary>
    Draining = 1 << 1,
    /// <summary>Of its address.</summary>
    IPv6 = 1 << 2,
}

/// <summary>One port of one backend of a service. Index 0 is none. See <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct BackendRecord
{
    /// <summary>An IPv4 address is in Low.</summary>
    public IPv6Number Address;
    /// <summary>Number of the service, as <see cref="FrontendRecord.Service"/>.</summary>
    public uint Service;
    public ushort Port;
    public BackendFlags Flags;
    /// <summary>As in the IP header.</summary>
    public byte Protocol;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(BackendFlags flags) => (Flags & flags) == flags;
}

[InlineArray(NatPoolRecord.AddressLimit)]
public struct NatAddresses4
{
    private uint _first;
}

[InlineArray(NatPoolRecord.AddressLimit)]
public struct NatAddresses6
{
    private IPv6Number _first;
}

[Flags]
public enum NatPoolFlags : uint
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>A source keeps its outer address and port towards all destinations (endpoint-independent mapping, RFC 4787, 4.1).</summary>
    EndpointIndependent = 1 << 1,
}

/// <summary>
/// Addresses and ports that take the place of those of <see cref="InterfaceFlags.Masqueraded"/> sources on an output interface
/// (<see cref="InterfaceRecord.NatPool"/>). Index 0 is none. See <see cref="Versioned{T}"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct NatPoolRecord
{
    public const int AddressLimit = 8;

    public NatPoolFlags Flags;
    /// <summary>First and last port, and ICMP identifier, that are given out.</summary>
    public ushort FirstPort;
    public ushort LastPort;
    public byte Count4;
    public byte Count6;
    public ushort Reserved0;
    public uint Reserved1;
    /// <summary>The first <see cref="Count4"/> are in use.</summary>
    public NatAddresses4 Addresses4;
    /// <summary>The first <see cref="Count6"/> are in use.</summary>
    public NatAddresses6 Addresses6;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(NatPoolFlags flags) => (Flags & flags) == flags;

    /// <summary>Addresses of a family.</summary>
    public readonly int Count(bool isIPv6) => isIPv6 ? Count6 : Count4;

    /// <summary>One of the addresses of a family; an IPv4 address is in Low.</summary>
    public readonly IPv6Number Address(int index, bool isIPv6) => isIPv6 ? Addresses6[index] : new IPv6Number(0, Addresses4[index]);

    /// <summary>Whether there is a pool, with addresses of a family: one without is none for it.</summary>
    public readonly bool Serves(bool isIPv6) => Has(NatPoolFlags.Exists) && Count(isIPv6) != 0;
}
