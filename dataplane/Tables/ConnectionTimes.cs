using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>
/// How long an entry lives after its last packet, in seconds. The defaults are those of Linux's nf_conntrack; a frontend may have its own.
/// </summary>
public static class ConnectionTimes
{
    public const uint SynSent = 120, SynReceived = 60, Established = 432_000, FinWait = 120, CloseWait = 60, LastAck = 30, TimeWait = 120, Closed = 10;
    public const uint Udp = 30, UdpAnswered = 120, Icmp = 30, Other = 600;
    public const uint SctpBeginning = 3, SctpEstablished = 210, SctpShutdown = 3, SctpHeartbeat = 30;

    /// <summary>
    /// How long what comes from the backend of a connection that is gone is taken for a late answer, where it may as well begin something
    /// else between the same ports.
    /// </summary>
    public const uint Late = 30;

    /// <summary>How long later fragments find their flow, from the first one on (RFC 791, 3.2; Linux has the same).</summary>
    public const uint Fragment = 30;
    /// <summary>Endpoint mappings without a connection: what RFC 4787, 4.3 recommends.</summary>
    public const uint Endpoint = 300;

    /// <summary>Of a connection.</summary>
    /// <param name="protocol">Its protocol.</param>
    /// <param name="state">As in the entry of its original direction.</param>
    /// <param name="flags">As in the entry of its original direction.</param>
    /// <param name="frontend">Its frontend, or an empty record.</param>
    public static uint Of(byte protocol, ConnectionState state, ConnectionFlags flags, in FrontendRecord frontend)
    {
        bool isHalfOpen = (flags & ConnectionFlags.HalfOpen) != 0;
        return protocol switch
        {
            Wire.ProtocolTcp => OfTcp(state, isHalfOpen, in frontend),
            Wire.ProtocolSctp => state switch
            {
                ConnectionState.Established => Or(frontend.EstablishedSeconds, SctpEstablished),
                ConnectionState.HeartbeatSent => SctpHeartbeat,
                ConnectionState.CookieWait or ConnectionState.CookieEchoed => SctpBeginning,
                ConnectionState.ShutdownSent or ConnectionState.ShutdownReceived or ConnectionState.ShutdownAckSent => SctpShutdown,
                _ => Closed,
            },
            Wire.ProtocolUdp => isHalfOpen ? Or(frontend.UdpSeconds, Udp) : Or(frontend.UdpAnsweredSeconds, UdpAnswered),
            Packets.Icmp.Protocol4 or Packets.Icmp.Protocol6 => Icmp,
            _ => Other,
        };
    }

    private static uint OfTcp(ConnectionState state, bool isHalfOpen, in FrontendRecord frontend) => state switch
    {
        ConnectionState.SynReceived => Or(frontend.HalfOpenSeconds, SynReceived),
        ConnectionState.Established when !isHalfOpen => Or(frontend.EstablishedSeconds, Established),
        ConnectionState.FinWait => Or(frontend.ClosingSeconds, FinWait),
        ConnectionState.CloseWait => Or(frontend.ClosingSeconds, CloseWait),
        ConnectionState.LastAck => Or(frontend.ClosingSeconds, LastAck),
        ConnectionState.TimeWait => Or(frontend.ClosingSeconds, TimeWait),
        ConnectionState.Closed => Closed,
        _ => Or(frontend.HalfOpenSeconds, SynSent),
    };

    private static uint Or(uint seconds, uint otherwise) => seconds != 0 ? seconds : otherwise;
}
