namespace Dataplane.Tables;

/// <summary>
/// Where a TCP connection or an SCTP association stands, as seen from the middle of the way: the states of Linux's nf_conntrack. Other
/// protocols have none.
/// </summary>
public enum ConnectionState : byte
{
    None,
    /// <summary>TCP: a SYN was seen.</summary>
    SynSent,
    /// <summary>TCP: the SYN was answered.</summary>
    SynReceived,
    /// <summary>TCP: the answer was acknowledged. SCTP: the cookie was.</summary>
    Established,
    /// <summary>TCP: a FIN was seen.</summary>
    FinWait,
    /// <summary>TCP: the FIN was acknowledged.</summary>
    CloseWait,
    /// <summary>TCP: a second FIN was seen.</summary>
    LastAck,
    /// <summary>TCP: the second FIN was acknowledged.</summary>
    TimeWait,
    /// <summary>TCP: reset. SCTP: not begun, aborted or shut down.</summary>
    Closed,
    /// <summary>TCP: a SYN from both sides (RFC 9293, 3.5).</summary>
    SynSent2,
    CookieWait,
    CookieEchoed,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    /// <summary>SCTP: a further path of an association that was begun elsewhere.</summary>
    HeartbeatSent,
}

/// <summary>What else there is to know of an entry.</summary>
[Flags]
public enum ConnectionFlags : uint
{
    None = 0,
    /// <summary>The entry is for packets that come back.</summary>
    Reply = 1 << 4,
    /// <summary>
    /// A packet that does not signal anything (<see cref="ConnectionTracking.IsQuiet"/>) changes nothing here but the time: it need
    /// not be told to <see cref="ConnectionTable.Touch"/>.
    /// </summary>
    Hot = 1 << 5,
    /// <summary>
    /// Nobody has shown yet that he receives what is sent to his address: the entry makes room for another when the table is full.
    /// Also of a fragment, and of the affinity of a client that has not come back.
    /// </summary>
    HalfOpen = 1 << 6,
    /// <summary>The backend is gone: both sides are to be sent a reset, and the connection is to be removed.</summary>
    Reset = 1 << 7,
    /// <summary>The source or its port is replaced.</summary>
    RewritesSource = 1 << 8,
    /// <summary>The destination or its port is replaced.</summary>
    RewritesDestination = 1 << 9,
    /// <summary>Direct server return: packets that come back do not come by here.</summary>
    Dsr = 1 << 10,
    /// <summary>The outer endpoint is that of an <see cref="ConnectionKind.Endpoint"/> mapping, which lives as long.</summary>
    EndpointMapped = 1 << 11,
    /// <summary>
    /// Packets are told by the client's side and not by the server's (<see cref="ConnectionMarks"/>): it is masqueraded, or the host. Not of
    /// a connection to a service.
    /// </summary>
    ByClient = 1 << 12,

    /// <summary>What the caller of <see cref="ConnectionTable.TryInsert"/> may say.</summary>
    OfCaller = Dsr | EndpointMapped | ByClient,
}
