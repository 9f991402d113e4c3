using System.Diagnostics;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>Packets received and sent by VPP's ports up to a moment.</summary>
internal readonly record struct VppReading(long Time, ulong Received, ulong Sent)
{
    /// <summary>Packets that may be on their way when the counters are read: a vector of each of two ports, at either end of a window.</summary>
    private const ulong MostOnTheWay = 2 * 2 * 256;

    public static VppReading Of(VppProcess vpp, IReadOnlyList<string> ports)
    {
        long before = Stopwatch.GetTimestamp();
        string answer = vpp.Ask("show interface");
        // Of some moment in between.
        long time = (before + Stopwatch.GetTimestamp()) / 2;
        IEnumerable<VppCounters> counters = VppOutput.Interfaces(answer).Where(i => ports.Contains(i.Name));
        return counters.Aggregate(new VppReading(time, 0, 0), (sum, i) => new VppReading(time, sum.Received + i.Received, sum.Sent + i.Sent - i.NotSent));
    }

    /// <summary>Packets per second between two moments.</summary>
    /// <exception cref="Harness.BenchException">There were none, or what was received was not sent.</exception>
    public static double Rate(VppProcess vpp, VppReading before, VppReading after)
    {
        ulong received = after.Received - before.Received, sent = after.Sent - before.Sent;
        if (received == 0 || Math.Max(received, sent) - Math.Min(received, sent) > MostOnTheWay)
        {
            throw vpp.Failure($"received {received} packets and sent {sent}: {Errors(vpp)}");
        }
        return sent / Stopwatch.GetElapsedTime(before.Time, after.Time).TotalSeconds;
    }

    /// <summary>What it has counted: drops by their reasons, and more.</summary>
    public static string Errors(VppProcess vpp) => string.Join(", ", VppOutput.Errors(vpp.Ask("show errors")).Select(error => $"{error.Key} ({error.Value})"));
}
