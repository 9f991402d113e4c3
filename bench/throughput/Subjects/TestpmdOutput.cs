using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// Reads what testpmd prints with <c>--stats-period</c>: for each port, among other lines, the packets it sent per second since it
/// printed last ("  Tx-pps:     12570038          Tx-bps:   6033618520").
/// </summary>
public sealed partial class TestpmdOutput(int ports)
{
    private int _seen;
    private double _sum;

    /// <summary>"DPDK 22.11.11", once it was printed.</summary>
    public string? Version { get; private set; }

    /// <summary>Takes a line. True when it was the last port's, with the sum over all ports.</summary>
    public bool Take(string line, out double packetsPerSecond)
    {
        packetsPerSecond = 0;
        if (VersionLine().Match(line) is { Success: true } version)
        {
            Version = version.Groups[1].Value;
        }
        if (RateLine().Match(line) is not { Success: true } rate)
        {
            return false;
        }
        _sum += double.Parse(rate.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        if (++_seen < ports)
        {
            return false;
        }
        packetsPerSecond = _sum;
        (_seen, _sum) = (0, 0);
        return true;
    }

    [GeneratedRegex(@"^\s*Tx-pps:\s+(\d+)")]
    private static partial Regex RateLine();

    [GeneratedRegex(@"RTE Version: '([^']+)'")]
    private static partial Regex VersionLine();
}
