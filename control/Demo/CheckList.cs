using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>
/// A demo as a list of checks, one line each as it is done:
/// <code>
/// ok   ping dp-demo-1 -> dp-demo-2  0.11 ms
/// FAIL accounting  port dp-demo-3: received 812 = forwarded 800 + consumed 0 + dropped 11
/// </code>
/// </summary>
internal sealed class CheckList(TextWriter output)
{
    public int Failures { get; private set; }

    /// <param name="check">What was looked at.</param>
    /// <param name="problem">What is wrong; null for nothing.</param>
    /// <param name="figure">What came out, when nothing is wrong.</param>
    public void Report(string check, string? problem, string figure)
    {
        Failures += problem is null ? 0 : 1;
        output.WriteLine(problem is null ? $"ok   {check}  {figure}".TrimEnd() : $"FAIL {check}  {problem}");
        output.Flush();
    }

    /// <summary>What each stage decided about packets.</summary>
    public void ReportHops(string check, IReadOnlyList<TracedPacket> packets)
    {
        Report(check, packets.Count == 0 ? "nothing was traced" : null, packets.Count == 0 ? "" : packets[0].Summary);
        foreach (TraceLine line in packets.SelectMany(p => p.Lines))
        {
            output.WriteLine($"       {line.Stage,-12} {line.Text}");
        }
    }
}
