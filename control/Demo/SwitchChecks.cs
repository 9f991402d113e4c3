using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>What must hold of any instance of the switch after a demo's traffic: accounting, drops, no garbage.</summary>
/// <param name="daemon">The instance.</param>
/// <param name="where">What stands before the names of the checks.</param>
/// <param name="expectedDrops">Reasons that a healthy network of this kind has.</param>
/// <param name="report">Takes a check, what is wrong with it (null for nothing), and its figure.</param>
internal sealed class SwitchChecks(DemoDaemon daemon, string where, IReadOnlyList<string> expectedDrops, Action<string, string?, string> report)
{
    public async Task RunAsync(CancellationToken cancel)
    {
        await CheckAccountingAsync(cancel);
        await CheckDropsAsync(cancel);
        await CheckEngineAsync(cancel);
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
            stats = await daemon.PortCountersAsync(cancel);
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
        report(where + "accounting", problems.Count == 0 ? null : string.Join("; ", problems),
            $"received {received} = forwarded {forwarded} + consumed {consumed} + dropped {dropped}");
    }

    private async Task CheckDropsAsync(CancellationToken cancel)
    {
        DropStats drops = await daemon.DropsAsync(cancel);
        string[] unexpected = [.. drops.Drops.Where(d => !expectedDrops.Contains(d.Reason)).Select(Text)];
        report(where + "drops", unexpected.Length == 0 ? null : "unexpected: " + string.Join("; ", unexpected),
            drops.Drops.Count == 0 ? "none" : "only expected ones: " + string.Join("; ", drops.Drops.Select(Text)));

        static string Text(DropCount drop) => $"{drop.Reason} {drop.Packets} ({drop.Text})";
    }

    private async Task CheckEngineAsync(CancellationToken cancel)
    {
        EngineStatus engine = await daemon.EngineAsync(cancel);
        WorkerStats workers = await daemon.WorkersAsync(cancel);
        ulong allocated = 0;
        foreach (WorkerCounters worker in workers.Workers)
        {
            allocated += worker.AllocatedBytes;
        }
        string figure = $"{allocated} bytes allocated by workers, {engine.GarbageCollections} garbage collections";
        string? problem = engine.State != EngineStatus.Types.State.Running ? $"{engine.State}: {engine.Reason}"
            : allocated > 0 || engine.GarbageCollections > 0 ? figure : null;
        report(where + "engine", problem, figure);
    }
}
