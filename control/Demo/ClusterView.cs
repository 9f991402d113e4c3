using System.Globalization;
using Dataplane.Control.Api.V1;
using Spectre.Console;

namespace Dataplane.Control.Demo;

/// <summary>The cluster demo until Ctrl-C: the hops of one ping, then pings across and what the tunnels carry, again and again.</summary>
internal sealed class ClusterView(ClusterSession session)
{
    private static readonly TimeSpan Refresh = TimeSpan.FromSeconds(1);

    /// <summary>Until cancelled.</summary>
    public async Task RunAsync(bool terminal, CancellationToken cancel)
    {
        await new ClusterChecks(session, new CheckList(Console.Out)).ShowHopsAsync(cancel);
        Console.WriteLine($"Try: ip netns exec {ClusterPlan.Container(1).Namespace} ping {ClusterPlan.Container(2).Address}. End: Ctrl-C");
        if (!terminal)
        {
            while (true)
            {
                AnsiConsole.Write(await TableAsync(cancel));
                await Task.Delay(5 * Refresh, cancel);
            }
        }
        await AnsiConsole.Live(await TableAsync(cancel)).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(await TableAsync(cancel));
                await Task.Delay(Refresh, cancel);
            }
        });
    }

    private async Task<Table> TableAsync(CancellationToken cancel)
    {
        Node[] nodes = [.. ClusterPlan.Nodes];
        Table table = new Table().Border(TableBorder.Simple).AddColumn("ping ms");
        foreach (Node to in nodes)
        {
            table.AddColumn(new TableColumn($"{to.Name}\n{to.Address}").RightAligned());
        }
        table.AddColumn(new TableColumn("tunnel\nsent").RightAligned()).AddColumn(new TableColumn("\nreceived").RightAligned());
        foreach (Node from in nodes)
        {
            var cells = new List<string> { $"{from.Name} {from.Address}" };
            foreach (Node to in nodes)
            {
                PingResult? ping = to == from ? null : await Tools.PingAsync(from, to, 1, cancel);
                cells.Add(ping is null ? "" : ping.Milliseconds?.ToString("0.00", CultureInfo.InvariantCulture) ?? ping.Problem ?? "");
            }
            int number = Array.IndexOf(nodes, from) / 2 + 1;
            PortStats stats = await session.Daemon(number).PortCountersAsync(cancel);
            PortCounters[] tunnels = [.. stats.Ports.Where(p => ClusterPlan.Numbers.Any(n => ClusterPlan.TunnelPort(n) == p.Port))];
            bool isHost = from == ClusterPlan.Host(number);
            cells.Add(isHost ? $"{tunnels.Sum(t => (long)t.TxPackets):N0}" : "");
            cells.Add(isHost ? $"{tunnels.Sum(t => (long)t.RxPackets):N0}" : "");
            table.AddRow([.. cells.Select(Markup.Escape)]);
        }
        return table;
    }
}
