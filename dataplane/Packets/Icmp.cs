namespace Dataplane.Packets;

/// <summary>Numbers of ICMP (RFC 792, 1122, 1812) and ICMPv6 (RFC 4443, 4861).</summary>
public static class Icmp
{
    public const byte Protocol4 = 1, Protocol6 = 58;

    /// <summary>Type, code, checksum and four bytes that depend on the type.</summary>
    public const int Header = 8;

    // ICMP.
    public const byte EchoReply4 = 0, Unreachable4 = 3, SourceQuench4 = 4, Redirect4 = 5, Echo4 = 8, TimeExceeded4 = 11, ParameterProblem4 = 12;

    // ICMPv6. Errors have the high bit clear.
    public const byte Unreachable6 = 1, TooBig6 = 2, TimeExceeded6 = 3, ParameterProblem6 = 4, Echo6 = 128, EchoReply6 = 129;
    public const byte Redirect6 = 137;

    /// <summary>Neighbour discovery (RFC 4861, 4).</summary>
    public const byte RouterSolicitation6 = 133, RouterAdvertisement6 = 134, NeighbourSolicitation6 = 135, NeighbourAdvertisement6 = 136;

    /// <summary>Whether an ICMP message tells of an error, of which no error tells (RFC 1122, 3.2.2).</summary>
    public static bool IsError4(byte type) => type is Unreachable4 or SourceQuench4 or Redirect4 or TimeExceeded4 or ParameterProblem4;

    /// <summary>Whether an ICMPv6 message tells of an error or redirects, of which no error tells (RFC 4443, 2.4(e)).</summary>
    public static bool IsError6(byte type) => type is < 128 or Redirect6;
}
