using Dataplane.Packets;

namespace Dataplane.Stages;

/// <summary>What a router tells a sender about a packet that it could not forward or deliver.</summary>
public enum IcmpError : byte
{
    /// <summary>Time to live (hop limit) exceeded in transit.</summary>
    TtlExceeded,
    /// <summary>No route to the destination.</summary>
    NoRoute,
    /// <summary>There is a route, and the host at its end cannot be reached.</summary>
    HostUnreachable,
    /// <summary>The administrator does not want it.</summary>
    Prohibited,
    /// <summary>An address of the router that does not serve the protocol.</summary>
    ProtocolUnreachable,
    /// <summary>An address of the router at which nobody listens on the port.</summary>
    PortUnreachable,
    /// <summary>Larger than the next hop's MTU; comes with it.</summary>
    TooBig,
    /// <summary>The source means something on its own link only, and the destination is elsewhere (IPv6).</summary>
    BeyondScope,
}

/// <summary>Types and codes of <see cref="IcmpError"/>.</summary>
public static class IcmpErrorCodes
{
    /// <summary>RFC 792, 1122 (3.2.2.1), 1191, 1812 (5.2.7.1).</summary>
    public static (byte Type, byte Code) Of4(IcmpError error) => error switch
    {
        IcmpError.TtlExceeded => (Icmp.TimeExceeded4, 0),
        IcmpError.NoRoute => (Icmp.Unreachable4, 0),
        IcmpError.HostUnreachable => (Icmp.Unreachable4, 1),
        IcmpError.ProtocolUnreachable => (Icmp.Unreachable4, 2),
        IcmpError.PortUnreachable => (Icmp.Unreachable4, 3),
        IcmpError.TooBig => (Icmp.Unreachable4, 4),
        IcmpError.Prohibited => (Icmp.Unreachable4, 13),
        _ => (Icmp.Unreachable4, 1),
    };

    /// <summary>RFC 4443, 3.</summary>
    public static (byte Type, byte Code) Of6(IcmpError error) => error switch
    {
        IcmpError.TtlExceeded => (Icmp.TimeExceeded6, 0),
        IcmpError.NoRoute => (Icmp.Unreachable6, 0),
        IcmpError.Prohibited => (Icmp.Unreachable6, 1),
        IcmpError.BeyondScope => (Icmp.Unreachable6, 2),
        IcmpError.PortUnreachable => (Icmp.Unreachable6, 4),
        IcmpError.TooBig => (Icmp.TooBig6, 0),
        IcmpError.ProtocolUnreachable => (Icmp.ParameterProblem6, 1),
        _ => (Icmp.Unreachable6, 3),
    };
}
