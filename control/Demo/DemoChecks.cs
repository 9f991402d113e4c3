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
        await CheckAccountingAsync(cancel);
        await CheckDropsAsync(cancel);
        await CheckEngineAsync(cancel);
    }

    public void Report(string check, string? problem, string figure)
    {
        Failures += problem is null ? 0 : 1;
        output.WriteLine(problem is null ? $"ok   {check}  {figure}".TrimEnd() : $"FAIL {check}  {problem}");
        output.Flush();
    }

    private async Task CheckMacTableAsync(CancellationToken cancel)
    {
        IReadOnlyList<MacEntry> table = await session.MacsAsync(cancel);
        IReadOnlyList<Port> ports = await session.PortsAsync(cancel);
        foreach (Node container in session.Plan.Containers)
        {
            string mac = ports.First(p => p.Name == container.Port).Status.Mac;
            MacEntry? entry = table.FirstOrDefault(e => e.Mac == mac);
            Report($"MAC table, {container.Name}",
                entry is null ? $"{mac} is not in it" : entry.Port == container.Port ? null : $"{mac} is on port {entry.Port}",
                $"{mac} on port {entry?.Port}");
        }
    }

    /// <summary>
    /// The counters of one moment always balance, but they are read while packets move: a difference must last to be one.
    /// </summary>
    private async Task CheckAccountingAsync(CancellationToken cancel)
    {
        IReadOnlyList<string> problems = [];
        PortStats stats = new();
        for (int attempt = 0; attempt < 10; attempt++)
        {
            stats = await session.PortCountersAsync(cancel);
            problems = Accounting.Problems(stats.Ports);
            if (problems.Count == 0)
            {
                break;
            }
            await Task.Delay(100, cancel);
        }
        ulong received = 0, forwarded = 0, consumed = 0, dropped = 0;
        foreach (PortCounters port in stats.Ports)
        {
            received += port.RxPackets;
            forwarded += port.Forwarded;
            consumed += port.Consumed;
            dropped += port.IngressDrops;
        }
        Report("accounting", problems.Count == 0 ? null : string.Join("; ", problems),
            $"received {received} = forwarded {forwarded} + consumed {consumed} + dropped {dropped}");
    }

    private async Task CheckDropsAsync(CancellationToken cancel)
    {
        DropStats drops = await session.DropsAsync(cancel);
        string[] unexpected = [.. drops.Drops.Where(d => !ExpectedDrops.Contains(d.Reason)).Select(Text)];
        Report("drops", unexpected.Length == 0 ? null : "unexpected: " + string.Join("; ", unexpected),
            drops.Drops.Count == 0 ? "none" : "only expected ones: " + string.Join("; ", drops.Drops.Select(Text)));

        static string Text(DropCount drop) => $"{drop.Reason} {drop.Packets} ({drop.Text})";
    }

    private async Task CheckEngineAsync(CancellationToken cancel)
    {
        EngineStatus engine = await session.EngineAsync(cancel);
        WorkerStats workers = await session.WorkersAsync(cancel);
        ulong allocated = 0;
        foreach (WorkerCounters worker in workers.Workers)
        {
            allocated += worker.AllocatedBytes;
        }
        string figure = $"{allocated} bytes allocated by workers, {engine.GarbageCollections} garbage collections";
        string? problem = engine.State != EngineStatus.Types.State.Running ? $"{engine.State}: {engine.Reason}"
            : allocated > 0 || engine.GarbageCollections > 0 ? figure : null;
        Report("engine", problem, figure);
    }

    private static string Milliseconds(double? value) => value?.ToString("0.00 ms", CultureInfo.InvariantCulture) ?? "";
}

/// <summary>The equations of the counters, as the API states them.</summary>
internal static class Accounting
{
    public static IReadOnlyList<string> Problems(IEnumerable<PortCounters> ports)
    {
        var problems = new List<string>();
        ulong handedOver = 0, offered = 0;
        foreach (PortCounters p in ports)
        {
            if (p.RxPackets != p.Forwarded + p.Consumed + p.Held + p.IngressDrops)
            {
                problems.Add($"port {p.Port}: received {p.RxPackets} is not " +
                    $"forwarded {p.Forwarded} + consumed {p.Consumed} + dropped {p.IngressDrops}");
            }
            if (p.Offered != p.TxPackets + p.EgressDrops)
            {
                problems.Add($"port {p.Port}: offered {p.Offered} is not sent {p.TxPackets} + dropped {p.EgressDrops}");
            }
            handedOver += p.Forwarded + p.Copies + p.Originated;
            offered += p.Offered;
        }
        if (handedOver != offered)
        {
            problems.Add($"forwarded, copied and originated packets are {handedOver} together, but {offered} were offered to ports");
        }
        return problems;
    }
}
