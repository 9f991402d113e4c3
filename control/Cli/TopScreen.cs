using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Dataplane.Control.Cli;

/// <summary>All counters at one time.</summary>
internal sealed record TopSample(long Time, EngineStatus Engine, PortStats Ports, DropStats Drops, WorkerStats Workers)
{
    public static async Task<TopSample> TakeAsync(Client client, CancellationToken cancel)
    {
        // The counters first: what takes longer must not lie between two of them.
        Task<PortStats> ports = client.Stats.GetPortsAsync(new GetPortsRequest(), deadline: Client.Deadline, cancellationToken: cancel).ResponseAsync;
        Task<WorkerStats> workers = client.Stats.GetWorkersAsync(new GetWorkersRequest(), deadline: Client.Deadline, cancellationToken: cancel).ResponseAsync;
        Task<DropStats> drops = client.Stats.GetDropsAsync(new GetDropsRequest(), deadline: Client.Deadline, cancellationToken: cancel).ResponseAsync;
        await Task.WhenAll(ports, workers, drops);
        long time = Stopwatch.GetTimestamp();
        EngineStatus engine = await client.Stats.GetEngineAsync(new GetEngineRequest(), deadline: Client.Deadline, cancellationToken: cancel);
        return new TopSample(time, engine, await ports, await drops, await workers);
    }
}

/// <summary>What lies between two samples, as a screen.</summary>
internal static class TopScreen
{
    /// <param name="before">The earlier sample.</param>
    /// <param name="now">The later one.</param>
    /// <param name="height">Lines of the screen; ports that do not fit are left out, the busiest stay.</param>
    public static IRenderable Render(TopSample before, TopSample now, int height)
    {
        double seconds = Math.Max(Stopwatch.GetElapsedTime(before.Time, now.Time).TotalSeconds, 1e-3);
        Table workers = Workers(before, now, seconds), drops = Drops(before, now, seconds);
        int left = height - workers.Rows.Count - drops.Rows.Count - 9;
        return new Rows(Head(now), new Text(""), workers, new Text(""), Ports(before, now, seconds, Math.Max(left, 1)), new Text(""), drops);
    }

    private static Text Head(TopSample now)
    {
        EngineStatus e = now.Engine;
        string up = e.EngineUptime is { } uptime ? $" for {uptime.ToTimeSpan():d\\.hh\\:mm\\:ss}" : "";
        string text = $"dataplane {e.Version}, instance {e.Instance}: engine {e.State.ToString().ToLowerInvariant()}{up}, " +
            $"{e.PortsUp} of {e.Ports} ports up, {Number(e.MacEntries)} of {Number(e.MacCapacity)} MACs, {Number(e.BuffersFree)} of {Number(e.BuffersTotal)} buffers free, " +
            $"{e.GarbageCollections} garbage collections";
        return new Text(e.Reason.Length > 0 ? $"{text}\n{e.Reason}" : text);
    }

    private static Table Workers(TopSample before, TopSample now, double seconds)
    {
        Table table = Columns(">WORKER", ">CPU", ">LOAD", ">PACKETS/s", ">CYCLES/PACKET", ">IN STAGES", ">POLLS/s", ">SLEEPS/s", ">ALLOCATED");
        Dictionary<uint, WorkerCounters> old = before.Workers.Workers.ToDictionary(w => w.Worker);
        foreach (WorkerCounters w in now.Workers.Workers)
        {
            WorkerCounters o = old.GetValueOrDefault(w.Worker, w);
            ulong packets = Since(w.Packets, o.Packets), cycles = Since(w.BusyCycles, o.BusyCycles);
            double load = now.Workers.TscHz == 0 ? 0 : cycles / (now.Workers.TscHz * seconds);
            table.AddRow(Text(w.Worker), w.Cpu < 0 ? "-" : Text(w.Cpu), load.ToString("P0", CultureInfo.InvariantCulture), Rate(packets, seconds),
                packets == 0 ? "-" : Number(cycles / packets), packets == 0 ? "-" : Number(Since(w.StageCycles, o.StageCycles) / packets),
                Rate(Since(w.Polls, o.Polls), seconds), Rate(Since(w.Sleeps, o.Sleeps), seconds), Number(w.AllocatedBytes));
        }
        return table;
    }

    private static Table Ports(TopSample before, TopSample now, double seconds, int most)
    {
        Table table = Columns("PORT", "NETWORK", ">RX/s", ">RX Mb/s", ">TX/s", ">TX Mb/s", ">FLOODED/s", ">DROPS IN/s", ">DROPS OUT/s", ">MACS");
        Dictionary<string, PortCounters> old = before.Ports.Ports.ToDictionary(p => p.Port);
        var rows = now.Ports.Ports.Select(p => (Now: p, Old: old.GetValueOrDefault(p.Port, p)))
            .OrderByDescending(r => Since(r.Now.RxPackets, r.Old.RxPackets) + Since(r.Now.TxPackets, r.Old.TxPackets))
            .ThenBy(r => r.Now.Port, StringComparer.Ordinal).ToList();
        foreach ((PortCounters p, PortCounters o) in rows.Take(most))
        {
            table.AddRow(p.Port, p.Network, Rate(Since(p.RxPackets, o.RxPackets), seconds), Megabits(Since(p.RxBytes, o.RxBytes), seconds),
                Rate(Since(p.TxPackets, o.TxPackets), seconds), Megabits(Since(p.TxBytes, o.TxBytes), seconds), Rate(Since(p.Flooded, o.Flooded), seconds),
                Rate(Since(p.IngressDrops, o.IngressDrops), seconds), Rate(Since(p.EgressDrops, o.EgressDrops), seconds), Text(p.LearnedMacs));
        }
        if (rows.Count > most)
        {
            table.AddRow($"… {rows.Count - most} more");
        }
        return table;
    }

    private static Table Drops(TopSample before, TopSample now, double seconds)
    {
        Table table = Columns("DROPPED FOR", ">PACKETS", ">/s", "WHICH MEANS");
        Dictionary<string, DropCount> old = before.Drops.Drops.ToDictionary(d => d.Reason);
        foreach (DropCount d in now.Drops.Drops.OrderByDescending(d => d.Packets))
        {
            table.AddRow(d.Reason, Number(d.Packets), Rate(Since(d.Packets, old.GetValueOrDefault(d.Reason)?.Packets ?? 0), seconds), Markup.Escape(d.Text));
        }
        return now.Drops.Drops.Count == 0 ? table.AddRow("nothing", "0") : table;
    }

    private static Table Columns(params string[] headings)
    {
        Table table = new Table().NoBorder();
        foreach (string heading in headings)
        {
            var column = new TableColumn($"[bold]{heading.TrimStart('>')}[/]") { NoWrap = true, Padding = new Padding(0, 0, 2, 0) };
            table.AddColumn(heading.StartsWith('>') ? column.RightAligned() : column);
        }
        return table;
    }

    /// <summary>Counters begin again when the switch is started again.</summary>
    private static ulong Since(ulong now, ulong before) => now >= before ? now - before : now;

    private static string Rate(ulong count, double seconds) => (count / seconds).ToString("N0", CultureInfo.InvariantCulture);

    private static string Megabits(ulong bytes, double seconds) => (bytes * 8e-6 / seconds).ToString("N1", CultureInfo.InvariantCulture);

    private static string Number(ulong value) => value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
