namespace Dataplane.Tables;

/// <summary>How long things take between neighbours (RFC 4861, 10), in seconds.</summary>
public static class NeighbourTimes
{
    /// <summary>BASE REACHABLE_TIME: how long an answer proves a neighbour reachable, on average.</summary>
    public const uint Reachable = 30;

    /// <summary>DELAY_FIRST_PROBE_TIME: how long traffic to a stale neighbour may take to prove itself that it is reachable.</summary>
    public const uint Delay = 5;

    /// <summary>MAX_MULTICAST_SOLICIT: how often a link is asked for a neighbour.</summary>
    public const int MulticastSolicitations = 3;

    /// <summary>MAX_UNICAST_SOLICIT: how often a neighbour itself is asked.</summary>
    public const int UnicastSolicitations = 3;

    /// <summary>
    /// RETRANS_TIMER: how long after a solicitation the next one follows. Each one that asks a link waits twice as long as the one
    /// before (RFC 7048, 3): 1, 2 and 4 seconds.
    /// </summary>
    public const uint Retransmit = 1;

    /// <summary>After asking in vain: packets are refused so long before a link is asked again (RFC 1122, 2.3.2.1).</summary>
    public const uint Failed = 3;

    /// <summary>After that an entry that failed is forgotten.</summary>
    public const uint FailedIsForgotten = 10;

    /// <summary>After that an entry that nothing is sent to is forgotten.</summary>
    public const uint Unused = 600;

    /// <summary>An entry that is being asked for, or probed, by nobody any more.</summary>
    public const uint Orphaned = 60;

    /// <summary>
    /// REACHABLE_TIME of an entry: between half and one and a half of <see cref="Reachable"/> (MIN_RANDOM_FACTOR and
    /// MAX_RANDOM_FACTOR), so that entries made at the same time are not probed at the same time. The same for as long as the
    /// neighbour is not confirmed again.
    /// </summary>
    public static uint ReachableOf(in NeighbourEntry entry)
    {
        ulong mixed = KeyHash.Mix(entry.Key.Word ^ entry.Confirmed, KeyHash.Golden);
        return (Reachable / 2) + (uint)(mixed % (Reachable + 1));
    }
}
