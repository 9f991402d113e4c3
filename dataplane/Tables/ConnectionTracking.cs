using System.Runtime.CompilerServices;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>
/// What a packet does to the state of its connection. The transitions are those of Linux's nf_conntrack without its look at sequence
/// numbers: what is invalid there changes nothing here. So a forged RST shortens the life of an idle connection to that of
/// <see cref="ConnectionState.Closed"/>, as with every tracker that does not follow windows.
/// <para>
/// The signal of a packet is its TCP flags, or the type of an SCTP chunk (one call per control chunk, or for data the first one's);
/// 0 for other protocols.
/// </para>
/// </summary>
public static class ConnectionTracking
{
    private const byte CookieEcho = 10, CookieAck = 11, Heartbeat = 4, HeartbeatAck = 5, Error = 9;

    /// <summary>Whether a packet can change no state that is <see cref="ConnectionFlags.Hot"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsQuietTcp(byte flags) => (flags & (TcpHeader.Syn | TcpHeader.Fin | TcpHeader.Rst)) == 0;

    /// <summary>As <see cref="IsQuietTcp"/>, for any protocol.</summary>
    public static bool IsQuiet(byte protocol, byte signal) => protocol switch
    {
        Wire.ProtocolTcp => IsQuietTcp(signal),
        // Data and its acknowledgement.
        Wire.ProtocolSctp => signal is 0 or 3,
        _ => true,
    };

    /// <summary>The state of a connection that a packet begins.</summary>
    public static ConnectionState Begin(byte protocol, byte signal) => protocol switch
    {
        // Without SYN: one whose beginning was not seen.
        Wire.ProtocolTcp => (signal & TcpHeader.Rst) != 0 ? ConnectionState.Closed
            : (signal & TcpHeader.Syn) == 0 ? ConnectionState.Established
            : (signal & TcpHeader.Ack) != 0 ? ConnectionState.SynReceived : ConnectionState.SynSent,
        Wire.ProtocolSctp => signal switch
        {
            SctpHeader.ShutdownAck => ConnectionState.ShutdownAckSent,
            Heartbeat => ConnectionState.HeartbeatSent,
            _ => ConnectionState.Closed,
        },
        _ => ConnectionState.None,
    };

    /// <summary>The state and flags after a packet.</summary>
    /// <param name="protocol">Of the connection.</param>
    /// <param name="state">State before.</param>
    /// <param name="flags">Flags of the entry of the original direction before.</param>
    /// <param name="signal">Of the packet.</param>
    /// <param name="isReply">The packet comes back.</param>
    /// <param name="isNew">The packet begins another connection between the same ports.</param>
    internal static (ConnectionState State, ConnectionFlags Flags) Next(
        byte protocol, ConnectionState state, ConnectionFlags flags, byte signal, bool isReply, out bool isNew)
    {
        isNew = false;
        ConnectionState next;
        bool isProof;
        switch (protocol)
        {
            case Wire.ProtocolTcp:
                next = NextTcp(state, signal, isReply, (flags & ConnectionFlags.Dsr) != 0, out isNew);
                bool isAck = (signal & (TcpHeader.Syn | TcpHeader.Rst | TcpHeader.Ack)) == TcpHeader.Ack;
                // The third packet of the handshake shows that the client is where he says; for a connection whose beginning was not seen,
                // an answer.
                isProof = isAck && (isReply ? state == ConnectionState.Established : next != state && (state is ConnectionState.SynReceived or ConnectionState.SynSent));
                break;
            case Wire.ProtocolSctp:
                next = NextSctp(state, signal, isReply);
                isProof = next == ConnectionState.Established;
                break;
            default:
                next = state;
                isProof = isReply;
                break;
        }
        if (isProof)
        {
            flags &= ~ConnectionFlags.HalfOpen;
        }
        return (next, IsSteady(next) && (flags & ConnectionFlags.Reset) == 0 ? flags | ConnectionFlags.Hot : flags & ~ConnectionFlags.Hot);
    }

    /// <summary>Whether a connection has ended: it is kept for stragglers, and makes room for another when the table is full.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsOver(ConnectionState state, ConnectionFlags flags) =>
        state is ConnectionState.TimeWait or ConnectionState.Closed && (flags & ConnectionFlags.HalfOpen) == 0;

    /// <summary>Whether quiet packets leave the state as it is.</summary>
    internal static bool IsSteady(ConnectionState state) =>
        state is ConnectionState.None or ConnectionState.Established or ConnectionState.CloseWait or ConnectionState.TimeWait or ConnectionState.Closed;

    /// <summary>Whether the entry for packets that come back is <see cref="ConnectionFlags.Hot"/>.</summary>
    internal static bool IsReplyHot(ConnectionState state, ConnectionFlags original) =>
        IsSteady(state) && (original & (ConnectionFlags.Reset | ConnectionFlags.HalfOpen)) == 0;

    private static ConnectionState NextTcp(ConnectionState state, byte flags, bool isReply, bool isDsr, out bool isNew)
    {
        isNew = false;
        if ((flags & TcpHeader.Rst) != 0)
        {
            return ConnectionState.Closed;
        }
        if ((flags & TcpHeader.Syn) != 0)
        {
            if ((flags & TcpHeader.Ack) != 0)
            {
                return state == ConnectionState.SynSent2 || (isReply && state == ConnectionState.SynSent) ? ConnectionState.SynReceived : state;
            }
            // RFC 9293, 3.6.1: a connection in TIME-WAIT may be opened anew, by whichever side. The last packets before that may have got lost: what
            // the client begins is new as soon as one side has closed. (nf_conntrack lets it pass, and looks how the server answers.)
            isNew = state == ConnectionState.TimeWait
                || (!isReply && state is ConnectionState.FinWait or ConnectionState.CloseWait or ConnectionState.LastAck or ConnectionState.Closed);
            return isReply && state == ConnectionState.SynSent ? ConnectionState.SynSent2 : state;
        }
        if ((flags & TcpHeader.Fin) != 0)
        {
            return state switch
            {
                ConnectionState.SynReceived or ConnectionState.Established => ConnectionState.FinWait,
                ConnectionState.FinWait or ConnectionState.CloseWait => ConnectionState.LastAck,
                _ => state,
            };
        }
        if ((flags & TcpHeader.Ack) == 0)
        {
            return state;
        }
        return state switch
        {
            ConnectionState.SynReceived when !isReply => ConnectionState.Established,
            ConnectionState.SynSent when isDsr => ConnectionState.Established,
            ConnectionState.FinWait => ConnectionState.CloseWait,
            ConnectionState.LastAck => ConnectionState.TimeWait,
            _ => state,
        };
    }

    private static ConnectionState NextSctp(ConnectionState state, byte chunk, bool isReply) => (chunk, state) switch
    {
        (SctpHeader.Abort, _) => ConnectionState.Closed,
        (SctpHeader.Init, ConnectionState.HeartbeatSent) when !isReply => ConnectionState.CookieWait,
        (SctpHeader.Init, ConnectionState.ShutdownSent or ConnectionState.ShutdownReceived) when !isReply => ConnectionState.Closed,
        (SctpHeader.InitAck, ConnectionState.Closed) when isReply => ConnectionState.CookieWait,
        (CookieEcho, ConnectionState.CookieWait) when !isReply => ConnectionState.CookieEchoed,
        (CookieAck, ConnectionState.CookieEchoed) when isReply => ConnectionState.Established,
        (Error, ConnectionState.CookieEchoed) when isReply => ConnectionState.Closed,
        (HeartbeatAck, ConnectionState.HeartbeatSent) when isReply => ConnectionState.Established,
        (SctpHeader.Shutdown, ConnectionState.Established) => isReply ? ConnectionState.ShutdownReceived : ConnectionState.ShutdownSent,
        (SctpHeader.ShutdownAck, ConnectionState.ShutdownSent or ConnectionState.ShutdownReceived) => ConnectionState.ShutdownAckSent,
        (SctpHeader.ShutdownComplete, ConnectionState.ShutdownAckSent) => ConnectionState.Closed,
        _ => state,
    };
}
