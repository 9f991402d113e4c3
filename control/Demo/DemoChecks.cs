using System.Globalization;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>The demo as a list of checks: pings, a TCP stream, the MAC table, and the books.</summary>
internal sealed class DemoChecks(DemoSession session, CheckList checks)
{
    /// <summary>
    /// Drops that a healthy network has. A port that is alone floods to nobody: while the ports are being made, the first
    /// one's kernel already announces itself (IPv6 neighbour and multicast discovery).
    /// </summary>
    private static readonly string[] ExpectedDrops = ["no-flood-target"];

    public async Task RunAsync(int iperfSeconds, CancellationToken cancel)
    {
        DemoPlan plan = session.Plan;
        foreach (Node from in plan.Nodes)
        {
            foreach (Node to in plan.Nodes.Where(n => n != from))
            {
                PingResult ping = await Tools.PingAsync(from, to, count: 5, cancel);
                checks.Report($"ping {from.Name} -> {to.Name}", ping.Problem, Milliseconds(ping.Milliseconds));
            }
        }

        (Node client, Node server) = (plan.Containers[0], plan.Containers[1]);
        IperfResult iperf = await Tools.IperfAsync(client, server, iperfSeconds, cancel);
        checks.Report($"iperf3 {client.Name} -> {server.Name}", iperf.Problem ?? (iperf.BitsPerSecond > 0 ? null : "nothing arrived"),
            $"{iperf.Figure}, one TCP stream, {iperfSeconds} s, {iperf.Retransmits} retransmits");

        await CheckMacTableAsync(cancel);
        await new SwitchChecks(session.Daemon, "", ExpectedDrops, checks.Report).RunAsync(cancel);
    }

    private async Task CheckMacTableAsync(CancellationToken cancel)
    {
        IReadOnlyList<MacEntry> table = await session.Daemon.MacsAsync(cancel);
        IReadOnlyList<Port> ports = await session.Daemon.PortsAsync(cancel);
        foreach (Node container in session.Plan.Containers)
        {
            string mac = ports.First(p => p.Name == container.Port).Status.Mac;
            MacEntry? entry = table.FirstOrDefault(e => e.Mac == mac);
            checks.Report($"MAC table, {container.Name}",
                entry is null ? $"{mac} is not in it" : entry.Port == container.Port ? null : $"{mac} is on port {entry.Port}",
                $"{mac} on port {entry?.Port}");
        }
    }

    private static string Milliseconds(double? value) => value?.ToString("0.00 ms", CultureInfo.InvariantCulture) ?? "";
}
