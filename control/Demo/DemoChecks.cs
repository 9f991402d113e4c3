using System.Globalization;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>
/// The demo as a list of checks, one line each as it is done:
/// <code>
/// ok   ping dp-demo-1 -> dp-demo-2  0.11 ms
/// FAIL accounting  port dp-demo-3: received 812 = forwarded 800 + consumed 0 + dropped 11
/// </code>
/// </summary>
internal sealed class DemoChecks(DemoSession session, TextWriter output)
{
    /// <summary>
    /// Drops that a healthy network has. A port that is alone floods to nobody: while the ports are being made, the first
    /// one's kernel already announces itself (IPv6 neighbour and multicast discovery).
    /// </summary>
    private static readonly string[] ExpectedDrops = ["no-flood-target"];

    public int Failures { get; private set; }

    public async Task RunAsync(int iperfSeconds, CancellationToken cancel)
    {
        DemoPlan plan = session.Plan;
        foreach (Node from in plan.Nodes)
        {
            foreach (Node to in plan.Nodes.Where(n => n != from))
            {
                PingResult ping = await Tools.PingAsync(from, to, count: 5, cancel);
                Report($"ping {from.Name} -> {to.Name}", ping.Problem, Milliseconds(ping.Milliseconds));
            }
        }

        (Node client, Node server) = (plan.Containers[0], plan.Containers[1]);
        IperfResult iperf = await Tools.IperfAsync(client, server, iperfSeconds, cancel);
        Report($"iperf3 {client.Name} -> {server.Name}", iperf.Problem ?? (iperf.BitsPerSecond > 0 ? null : "nothing arrived"),
            $"{iperf.Figure}, one TCP stream, {iperfSeconds} s, {iperf.Retransmits} retransmits");

        await CheckMacTableAsync(cancel);
        await new SwitchChecks(session.Daemon, "", ExpectedDrops, Report).RunAsync(cancel);
    }

    public void Report(string check, string? problem, string figure)
    {
        Failures += problem is null ? 0 : 1;
        output.WriteLine(problem is null ? $"ok   {check}  {figure}".TrimEnd() : $"FAIL {check}  {problem}");
        output.Flush();
    }

    private async Task CheckMacTableAsync(CancellationToken cancel)
    {
        IReadOnlyList<MacEntry> table = await session.Daemon.MacsAsync(cancel);
        IReadOnlyList<Port> ports = await session.Daemon.PortsAsync(cancel);
        foreach (Node container in session.Plan.Containers)
        {
            string mac = ports.First(p => p.Name == container.Port).Status.Mac;
            MacEntry? entry = table.FirstOrDefault(e => e.Mac == mac);
            Report($"MAC table, {container.Name}",
                entry is null ? $"{mac} is not in it" : entry.Port == container.Port ? null : $"{mac} is on port {entry.Port}",
                $"{mac} on port {entry?.Port}");
        }
    }

    private static string Milliseconds(double? value) => value?.ToString("0.00 ms", CultureInfo.InvariantCulture) ?? "";
}
