using System.Diagnostics;
using Dataplane.Control.Api.V1;
using Dataplane.ThroughputBench.Harness;
using Grpc.Core;

namespace Dataplane.ThroughputBench.Control;

/// <summary>What a load of updates came to.</summary>
/// <param name="Name">What was done.</param>
/// <param name="Updates">Entries changed.</param>
/// <param name="PerSecond">Entries per second, from the first call until the last was acknowledged: durable, and visible to a worker.</param>
/// <param name="Acknowledged">Time of each call.</param>
/// <param name="Visible">From the beginning of a call until a worker would find its (last) entry.</param>
public sealed record LoadResult(string Name, int Updates, double PerSecond, Latencies Acknowledged, Latencies Visible);

/// <summary>Loads of static addresses on a daemon, and how long they took to be durable and visible.</summary>
public sealed class UpdateLoad(DaemonSubject daemon, CancellationToken cancel)
{
    private int _next;

    /// <summary>One entry after the other, each a call of its own.</summary>
    public Task<LoadResult> SingleAsync(int count) => CallsAsync("single", count, batch: 1);

    /// <summary>Batches, one call after the other.</summary>
    public Task<LoadResult> BatchAsync(int count, int batch) => CallsAsync($"batches of {batch:N0}", count, batch);

    /// <summary>As <see cref="SingleAsync"/>, among the many that are there.</summary>
    public Task<LoadResult> AmongManyAsync(int count) => CallsAsync($"single, among {_next:N0}", count, batch: 1);

    /// <summary>Batches as a stream, as many under way as the switch lets be.</summary>
    public async Task<LoadResult> PushAsync(int count, int batch)
    {
        List<(ApplyRequest Request, ulong Last)> batches = [.. Enumerable.Range(0, count / batch).Select(_ => Make(batch))];
        var begun = new TimeSpan[batches.Count];
        var acknowledged = new TimeSpan[batches.Count];
        var watch = Stopwatch.StartNew();
        using AsyncDuplexStreamingCall<PushRequest, PushResponse> call = daemon.Resources.Push(cancellationToken: cancel);
        Task send = Task.Run(async () =>
        {
            for (int i = 0; i < batches.Count; i++)
            {
                begun[i] = watch.Elapsed;
                await call.RequestStream.WriteAsync(new PushRequest { Sequence = (ulong)i, Resources = { batches[i].Request.Resources } }, cancel);
            }
            await call.RequestStream.CompleteAsync();
        }, cancel);
        await foreach (PushResponse response in call.ResponseStream.ReadAllAsync(cancel))
        {
            if (response.Refusal is { } refusal)
            {
                throw new BenchException($"a batch was refused: {refusal.Problems.FirstOrDefault()?.Message}");
            }
            acknowledged[response.Sequence] = watch.Elapsed - begun[response.Sequence];
        }
        await send;
        if (!batches.TrueForAll(b => daemon.IsVisible(b.Last)))
        {
            throw new BenchException("an entry was acknowledged that a worker does not find");
        }
        Latencies calls = Latencies.Of(acknowledged);
        return new LoadResult($"stream, batches of {batch:N0}", count, count / watch.Elapsed.TotalSeconds, calls, calls);
    }

    private async Task<LoadResult> CallsAsync(string name, int count, int batch)
    {
        var acknowledged = new List<TimeSpan>();
        var visible = new List<TimeSpan>();
        // Requests are made before the clock runs: what is measured is the switch, not this program.
        List<(ApplyRequest Request, ulong Last)> requests = [.. Enumerable.Range(0, count / batch).Select(_ => Make(batch))];
        var watch = Stopwatch.StartNew();
        foreach ((ApplyRequest request, ulong last) in requests)
        {
            cancel.ThrowIfCancellationRequested();
            TimeSpan begin = watch.Elapsed;
            Task<ApplyResponse> call = daemon.Resources.ApplyAsync(request, cancellationToken: cancel).ResponseAsync;
            TimeSpan? seen = null;
            while (!call.IsCompleted)
            {
                if (seen is null && daemon.IsVisible(last))
                {
                    seen = watch.Elapsed - begin;
                }
                Thread.Yield();
            }
            await call;
            acknowledged.Add(watch.Elapsed - begin);
            if (!daemon.IsVisible(last))
            {
                throw new BenchException("an entry was acknowledged that a worker does not find");
            }
            visible.Add(seen ?? acknowledged[^1]);
        }
        return new LoadResult(name, count, count / watch.Elapsed.TotalSeconds, Latencies.Of(acknowledged), Latencies.Of(visible));
    }

    private (ApplyRequest Request, ulong Last) Make(int batch)
    {
        var request = new ApplyRequest();
        for (int i = 0; i < batch; i++)
        {
            request.Resources.Add(Addresses.Resource(_next++));
        }
        return (request, Addresses.Value(_next - 1));
    }
}
