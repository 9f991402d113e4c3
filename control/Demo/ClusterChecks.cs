using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>The cluster demo as a list of checks: pings within and across, a TCP stream across, what each hop did, and the books.</summary>
internal sealed class ClusterChecks(ClusterSession session, CheckList checks)
{
    /// <summary>
    /// Drops that a healthy network has: while ports are being made, kernels announce themselves to nobody, and by multicast that no
    /// router passes on; and the first packet into a tunnel is dropped while the other node is asked for its address.
    /// </summary>
    private static readonly string[] ExpectedDrops = ["no-flood-target", "port-disabled", "egress-no-tunnel-route", "multicast-not-routed", "not-for-router", "bad-neighbour-discovery", "split-horizon", "martian"];

    /// <summary>After which the pings that count say what is wrong.</summary>
    private static readonly TimeSpan MeetingPatience = TimeSpan.FromSeconds(10);

    public async Task RunAsync(int iperfSeconds, CancellationToken cancel)
    {
        await MeetAsync(cancel);
        foreach (Node from in ClusterPlan.Nodes)
        {
            foreach (Node to in ClusterPlan.Nodes.Where(n => n != from))
            {
                PingResult ping = await Tools.PingAsync(from, to, count: 5, cancel);
                checks.Report($"ping {from.Name} -> {to.Name}", ping.Problem, ping.Milliseconds?.ToString("0.00 ms", CultureInfo.InvariantCulture) ?? "");
            }
        }
        (Node client, Node server) = (ClusterPlan.Container(1), ClusterPlan.Container(2));
        IperfResult iperf = await Tools.IperfAsync(client, server, iperfSeconds, cancel);
        checks.Report($"iperf3 {client.Name} -> {server.Name}", iperf.Problem ?? (iperf.BitsPerSecond > 0 ? null : "nothing arrived"),
            $"{iperf.Figure}, one TCP stream, {iperfSeconds} s, {iperf.Retransmits} retransmits");

        await ShowHopsAsync(cancel);
        foreach (int number in ClusterPlan.Numbers)
        {
            await CheckTunnelAsync(number, cancel);
            await new SwitchChecks(session.Daemon(number), $"node{number}, ", ExpectedDrops, checks.Report).RunAsync(cancel);
        }
    }

    /// <summary>Pings across until one is answered: from then on each node knows the other's address on the link.</summary>
    private static async Task MeetAsync(CancellationToken cancel)
    {
        var patience = Stopwatch.StartNew();
        while ((await Tools.PingAsync(ClusterPlan.Container(1), ClusterPlan.Container(2), count: 1, cancel)).Problem is not null && patience.Elapsed < MeetingPatience)
        {
        }
    }

    /// <summary>One ping from container to container, with what each switch decided about it at each step.</summary>
    public async Task ShowHopsAsync(CancellationToken cancel)
    {
        (Node from, Node to) = (ClusterPlan.Container(1), ClusterPlan.Container(2));
        string filter = $"icmp and host {to.Address}";
        IReadOnlyList<TracedPacket> arriving = [];
        IReadOnlyList<TracedPacket> leaving = await session.Daemon(1).TraceAsync(from.Port, filter, 1, async () =>
            arriving = await session.Daemon(2).TraceAsync(ClusterPlan.UplinkPort, "udp", 1, () => Tools.PingAsync(from, to, 1, cancel), cancel), cancel);
        checks.ReportHops("hops on node1", leaving);
        checks.ReportHops("hops on node2", arriving);
    }

    private async Task CheckTunnelAsync(int number, CancellationToken cancel)
    {
        PortStats stats = await session.Daemon(number).PortCountersAsync(cancel);
        foreach (int other in ClusterPlan.Numbers.Where(n => n != number))
        {
            PortCounters? tunnel = stats.Ports.FirstOrDefault(p => p.Port == ClusterPlan.TunnelPort(other));
            checks.Report($"node{number}, tunnel to node{other}", tunnel is { RxPackets: > 0, TxPackets: > 0 } ? null : "nothing went through",
                $"{tunnel?.TxPackets} packets sent, {tunnel?.RxPackets} received");
        }
    }
}
