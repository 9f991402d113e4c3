using System.CommandLine;
using Dataplane.Control.Api.V1;
using Spectre.Console;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane stats</c></summary>
internal static class StatsCommand
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    public static Command Build()
    {
        var drops = new Option<bool>("--drops", "-d") { Description = "Dropped packets by reason, in place of the counters of ports" };
        var workers = new Option<bool>("--workers", "-w") { Description = "What each worker did, in place of the counters of ports" };
        var watch = new Option<bool>("--watch") { Description = "Show it again every second, with rates, until Ctrl-C" };
        return new Command("stats", "Counters of ports, drop reasons, workers") { Options.Port, drops, workers, watch, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                OutputFormat format = parsed.GetValue(Options.Output);
                string port = parsed.GetValue(Options.Port) ?? "";
                Func<Task<View>> read = parsed.GetValue(drops) ? () => DropsAsync(client, port, cancel)
                    : parsed.GetValue(workers) ? () => WorkersAsync(client, cancel)
                    : PortsReader(client, port, cancel);
                if (parsed.GetValue(watch))
                {
                    await WatchAsync(read, format, cancel);
                }
                else
                {
                    (await read()).Print(format);
                }
            })
            .WithExamples(
                "dataplane stats",
                "dataplane stats --port web --drops",
                "dataplane stats --watch",
                "dataplane stats -o json | jq '.ports[] | {port, rx_packets, tx_packets}'");
    }

    /// <summary>A message, and the same as a table.</summary>
    private sealed record View(Google.Protobuf.IMessage Message, string[] Headers, IEnumerable<string[]> Rows)
    {
        public void Print(OutputFormat format)
        {
            if (!Output.TryPrint(format, Message))
            {
                Output.Table(Headers, Rows);
            }
        }
    }

    private static async Task WatchAsync(Func<Task<View>> read, OutputFormat format, CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            View view = await read();
            if (format == OutputFormat.Json)
            {
                Output.Line(Manifests.MessageWriter.ToJson(view.Message, compact: true));
            }
            else
            {
                if (!Console.IsOutputRedirected)
                {
                    AnsiConsole.Clear();
                }
                view.Print(format);
                Output.Line("");
            }
            await Task.Delay(Interval, cancel);
        }
    }

    /// <summary>Reads ports; from the second time on with the rates since the time before.</summary>
    private static Func<Task<View>> PortsReader(Client client, string port, CancellationToken cancel)
    {
        var request = new GetPortsRequest();
        if (port.Length > 0)
        {
            request.Ports.Add(port);
        }
        Dictionary<string, PortCounters>? before = null;
        long taken = 0;
        return async () =>
        {
            PortStats now = await client.Stats.GetPortsAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
            long time = System.Diagnostics.Stopwatch.GetTimestamp();
            double seconds = System.Diagnostics.Stopwatch.GetElapsedTime(taken, time).TotalSeconds;
            Dictionary<string, PortCounters>? last = before;
            before = now.Ports.ToDictionary(p => p.Port);
            taken = time;
            string[] headers = ["PORT", "NETWORK", ">RX PACKETS", ">RX BYTES", ">TX PACKETS", ">TX BYTES", ">DROPS IN", ">DROPS OUT", ">FLOODED", ">MACS"];
            return new View(now, last is null ? headers : [.. headers, ">RX/s", ">RX Mb/s", ">TX/s", ">TX Mb/s"], now.Ports.Select(p => Row(p, last, seconds)));
        };
    }

    private static string[] Row(PortCounters p, Dictionary<string, PortCounters>? last, double seconds)
    {
        string[] row =
        [
            p.Port, p.Network, Output.Number(p.RxPackets), Output.Number(p.RxBytes), Output.Number(p.TxPackets), Output.Number(p.TxBytes),
            Output.Number(p.IngressDrops), Output.Number(p.EgressDrops), Output.Number(p.Flooded), $"{p.LearnedMacs}",
        ];
        if (last is null)
        {
            return row;
        }
        PortCounters old = last.GetValueOrDefault(p.Port, p);
        return
        [
            .. row, Rate(p.RxPackets, old.RxPackets, seconds, 1), Rate(p.RxBytes, old.RxBytes, seconds, 8e-6),
            Rate(p.TxPackets, old.TxPackets, seconds, 1), Rate(p.TxBytes, old.TxBytes, seconds, 8e-6),
        ];
    }

    private static string Rate(ulong now, ulong before, double seconds, double factor) =>
        ((now - Math.Min(now, before)) * factor / seconds).ToString(factor < 1 ? "N1" : "N0", System.Globalization.CultureInfo.InvariantCulture);

    private static async Task<View> DropsAsync(Client client, string port, CancellationToken cancel)
    {
        DropStats drops = await client.Stats.GetDropsAsync(new GetDropsRequest { Port = port }, deadline: Client.Deadline, cancellationToken: cancel);
        return new View(drops, ["REASON", ">PACKETS", "WHERE", "MEANING"],
            drops.Drops.OrderByDescending(d => d.Packets).Select(d => new[] { d.Reason, Output.Number(d.Packets), d.Egress ? "out" : "in", d.Text }));
    }

    private static async Task<View> WorkersAsync(Client client, CancellationToken cancel)
    {
        WorkerStats stats = await client.Stats.GetWorkersAsync(new GetWorkersRequest(), deadline: Client.Deadline, cancellationToken: cancel);
        return new View(stats, [">WORKER", ">CPU", ">PACKETS", ">POLLS", ">EMPTY", ">SLEEPS", ">CYCLES/PACKET", ">LONGEST POLL", ">ALLOCATED"],
            stats.Workers.Select(w => new[]
            {
                $"{w.Worker}", w.Cpu < 0 ? "-" : $"{w.Cpu}", Output.Number(w.Packets), Output.Number(w.Polls), Output.Number(w.EmptyPolls),
                Output.Number(w.Sleeps), w.Packets == 0 ? "-" : Output.Number(w.BusyCycles / w.Packets),
                stats.TscHz == 0 ? "-" : $"{w.LongestPollCycles * 1e6 / stats.TscHz:N0} µs", Output.Number(w.AllocatedBytes),
            }));
    }
}
