using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Grpc.Core;
using Spectre.Console;

namespace Dataplane.Control.Demo;

/// <summary>
/// The demo as a picture that moves: pings among all nodes in turn, one TCP stream, and what the switch says of itself.
/// Without a terminal the same as plain lines.
/// </summary>
internal sealed class DemoView(DemoSession session)
{
    private static readonly TimeSpan Refresh = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan PlainRefresh = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<(Node From, Node To), PingResult> _pings = new();
    private string _iperf = "";

    /// <summary>Until cancelled.</summary>
    public async Task RunAsync(int iperfSeconds, bool terminal, CancellationToken cancel)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task ping = PingAsync(terminal, ended.Token);
        Task show = ShowAsync(terminal, ended.Token);
        Task iperf = IperfAsync(iperfSeconds, terminal, ended.Token);
        try
        {
            // Neither ends by itself: the first that fails ends the view.
            await await Task.WhenAny(ping, show);
        }
        finally
        {
            // Nothing is left running behind the clean-up, and one failure is enough to report.
            await ended.CancelAsync();
            await Task.WhenAll(ping, show, iperf).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task PingAsync(bool terminal, CancellationToken cancel)
    {
        Node[] nodes = [.. session.Plan.Nodes];
        while (true)
        {
            foreach (Node from in nodes)
            {
                foreach (Node to in nodes.Where(n => n != from))
                {
                    PingResult result = await Tools.PingAsync(from, to, count: 1, cancel);
                    _pings[(from, to)] = result;
                    if (!terminal)
                    {
                        Console.WriteLine($"ping {from.Name} -> {to.Name}  {Milliseconds(result)}");
                    }
                    await Task.Delay(terminal ? 50 : 1000, cancel);
                }
            }
        }
    }

    private async Task IperfAsync(int seconds, bool terminal, CancellationToken cancel)
    {
        (Node from, Node to) = (session.Plan.Containers[0], session.Plan.Containers[1]);
        string name = $"iperf3 {from.Name} -> {to.Name}";
        await Task.Delay(TimeSpan.FromSeconds(2), cancel);
        _iperf = $"{name}  running for {seconds} s";
        IperfResult result = await Tools.IperfAsync(from, to, seconds, cancel);
        _iperf = $"{name}  {result.Problem ?? $"{result.Figure}, one TCP stream, {seconds} s, {result.Retransmits} retransmits"}";
        if (!terminal)
        {
            Console.WriteLine(_iperf);
        }
    }

    private async Task ShowAsync(bool terminal, CancellationToken cancel)
    {
        Snapshot? before = null;
        if (!terminal)
        {
            while (true)
            {
                await Task.Delay(PlainRefresh, cancel);
                Snapshot now = await SnapshotAsync(cancel);
                WritePlain(now);
            }
        }
        await AnsiConsole.Live(new Text("")).AutoClear(false).Overflow(VerticalOverflow.Crop).StartAsync(async live =>
        {
            while (true)
            {
                Snapshot now = await SnapshotAsync(cancel);
                live.UpdateTarget(Draw(now, before));
                before = now;
                await Task.Delay(Refresh, cancel);
            }
        });
    }

    /// <summary>What the switch says of itself at one moment.</summary>
    private sealed record Snapshot(
        long Time, EngineStatus Engine, PortStats Ports, DropStats Drops, IReadOnlyList<MacEntry> Macs, string? Problem);

    private Snapshot? _last;

    private async Task<Snapshot> SnapshotAsync(CancellationToken cancel)
    {
        try
        {
            return _last = new Snapshot(Stopwatch.GetTimestamp(), await session.Daemon.EngineAsync(cancel),
                await session.Daemon.PortCountersAsync(cancel), await session.Daemon.DropsAsync(cancel), await session.Daemon.MacsAsync(cancel), null);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable)
        {
            // Kill the control process and see: pings go on, only the numbers stand still.
            Snapshot empty = new(Stopwatch.GetTimestamp(), new EngineStatus(), new PortStats(), new DropStats(), [], null);
            return (_last ?? empty) with { Problem = "the control process does not answer; packets do not need it" };
        }
    }

    /// <summary>Fits a terminal of 80 by 24 with three containers.</summary>
    private Rows Draw(Snapshot now, Snapshot? before)
    {
        EngineStatus engine = now.Engine;
        string uptime = engine.EngineUptime?.ToTimeSpan().ToString(@"hh\:mm\:ss", CultureInfo.InvariantCulture) ?? "-";
        string shell = $"ip netns exec {session.Plan.Containers[0].Namespace} ping {session.Plan.Containers[^1].Address}";
        string workers = engine.Workers == 1 ? "1 worker" : $"{engine.Workers} workers";
        return new Rows(
            new Markup($"engine [green]{engine.State}[/] for {uptime}: pid {engine.EnginePid}, {workers}, " +
                $"{engine.GarbageCollections} garbage collections"),
            new Markup(now.Problem is null
                ? $"control pid {engine.ControlPid}. Try: [yellow]{shell}[/]. End: [yellow]Ctrl-C[/]"
                : $"[red]{Markup.Escape(now.Problem)}[/]"),
            new Text(""),
            new Grid().AddColumn().AddColumn().AddRow(DrawPings(), DrawMacs(now)),
            new Text(""),
            new Text(_iperf),
            new Text(""),
            DrawPorts(now, before),
            new Text(""),
            DrawDrops(now));
    }

    private Table DrawPings()
    {
        Node[] nodes = [.. session.Plan.Nodes];
        Table table = Heading(1, ["ping ms", .. nodes.Select(n => ">" + Short(n))]);
        foreach (Node from in nodes)
        {
            IEnumerable<string> cells = nodes.Select(to => from == to ? "" : Cell(_pings.GetValueOrDefault((from, to))));
            table.AddRow([$"{Short(from)} {from.Address}", .. cells]);
        }
        return table;

        static string Short(Node node) => node.Name.Replace(DemoPlan.NamespacePrefix, "", StringComparison.Ordinal);
        static string Cell(PingResult? result) => result switch
        {
            null => "[grey]...[/]",
            { Milliseconds: { } time } => time.ToString("0.00", CultureInfo.InvariantCulture),
            _ => "[red]lost[/]",
        };
    }

    private static Table DrawMacs(Snapshot now)
    {
        Table table = Heading(2, "MAC table", "port", ">age s");
        foreach (MacEntry entry in now.Macs.OrderBy(e => e.Port, StringComparer.Ordinal).Take(20))
        {
            table.AddRow(entry.Mac, Markup.Escape(entry.Drop ? "drop" : entry.Port), entry.IsStatic ? "static" : $"{entry.AgeSeconds}");
        }
        return table;
    }

    private static Table DrawPorts(Snapshot now, Snapshot? before)
    {
        Table table = Heading(2, "port", ">received", ">/s", ">Mb/s", ">forwarded", ">flooded", ">dropped", ">sent", ">dropped");
        double seconds = before is null ? 0 : Stopwatch.GetElapsedTime(before.Time, now.Time).TotalSeconds;
        foreach (PortCounters port in now.Ports.Ports)
        {
            PortCounters? old = before?.Ports.Ports.FirstOrDefault(p => p.Port == port.Port);
            table.AddRow(
                Markup.Escape(port.Port), Count(port.RxPackets), Rate(port.RxPackets, old?.RxPackets),
                Rate(port.RxBytes, old?.RxBytes, 8e-6), Count(port.Forwarded), Count(port.Flooded), Count(port.IngressDrops),
                Count(port.TxPackets), Count(port.EgressDrops));
        }
        return table;

        string Rate(ulong value, ulong? old, double scale = 1) =>
            old is { } o && seconds > 0 && value >= o ? Count((ulong)((value - o) * scale / seconds)) : "-";
    }

    private static Table DrawDrops(Snapshot now)
    {
        Table table = Heading(2, "dropped for", ">packets", "which means");
        foreach (DropCount drop in now.Drops.Drops)
        {
            table.AddRow(drop.Reason, Count(drop.Packets), Markup.Escape(drop.Text));
        }
        return now.Drops.Drops.Count == 0 ? table.AddRow("nothing", "0", "") : table;
    }

    /// <summary>An empty table without a frame; a heading that begins with "&gt;" is of a column of numbers.</summary>
    private static Table Heading(int gap, params string[] headings)
    {
        Table table = new Table().NoBorder();
        foreach (string heading in headings)
        {
            var column = new TableColumn($"[bold]{heading.TrimStart('>')}[/]") { NoWrap = true, Padding = new Padding(0, 0, gap, 0) };
            table.AddColumn(heading.StartsWith('>') ? column.RightAligned() : column);
        }
        return table;
    }

    private static void WritePlain(Snapshot now)
    {
        Console.WriteLine($"engine {now.Engine.State}  {now.Macs.Count} MACs  {now.Problem}".TrimEnd());
        foreach (PortCounters port in now.Ports.Ports)
        {
            Console.WriteLine($"port {port.Port}  received {port.RxPackets} = forwarded {port.Forwarded} + consumed {port.Consumed} + " +
                $"dropped {port.IngressDrops}; sent {port.TxPackets}");
        }
        foreach (DropCount drop in now.Drops.Drops)
        {
            Console.WriteLine($"drop {drop.Reason}  {drop.Packets}  {drop.Text}");
        }
    }

    private static string Count(ulong value) => value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Milliseconds(PingResult result) =>
        result.Problem ?? result.Milliseconds?.ToString("0.00 ms", CultureInfo.InvariantCulture) ?? "";
}
