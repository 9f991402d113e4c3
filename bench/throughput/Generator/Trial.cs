namespace Dataplane.ThroughputBench.Generator;

/// <summary>What became of packets that were sent at a constant rate; the trial of RFC 2544, section 24.</summary>
/// <param name="Offered">Packets per second that were sent, over both ports, while the generator had its CPU. Below what was asked for, it was too slow.</param>
/// <param name="Sent">Packets, those included that the switch's ring had no room for.</param>
/// <param name="Received">Of these, packets that came out at the other port.</param>
/// <param name="Latency">Times from the call that sent a packet until the call that received it, in clocks of the time-stamp counter; not of packets that were under way
/// while the generator did not have its CPU.</param>
/// <param name="Away">Share of the time in which the generator did not have its CPU, 0 to 1.</param>
public sealed record Trial(double Offered, long Sent, long Received, LatencyHistogram Latency, double Away = 0)
{
    /// <summary>Share of the packets that was lost, 0 to 1.</summary>
    public double Loss => Sent == 0 ? 0 : (Sent - Received) / (double)Sent;

    /// <summary>Packets per second that came through while the generator had its CPU. The switch may have had more time than that for them.</summary>
    public double WhileThere => Offered * (1 - Loss);

    /// <summary>Packets per second that came through.</summary>
    public double Forwarded => WhileThere * (1 - Away);
}
