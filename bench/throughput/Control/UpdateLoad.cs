using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.ThroughputBench.Harness;
using Grpc.Core;

namespace Dataplane.ThroughputBench.Control;

/// <summary>What a load of updates came to.</summary>
/// <param name="Name">What was done.</param>
/// <param name="Updates">Entries changed.</param>
/// <param name="PerSecond">Entries per second, from the first call until the last was acknowledged and visible to a worker.</param>
/// <param name="Cpu">CPU time of the switch's control process per entry, in microseconds.</param>
/// <param name="Acknowledged">Time of each call, or of each batch of a stream.</param>
/// <param name="Visible">From the beginning of a call until a worker would find its (last) entry.</param>
public sealed record LoadResult(string Name, int Updates, double PerSecond, double Cpu, Latencies Acknowledged, Latencies Visible);

/// <summary>Loads of static addresses on a daemon, and how long they took to be acknowledged and visible.</summary>
public sealed class UpdateLoad(DaemonSubject daemon, VisibilityProbe probe, CancellationToken cancel)
{
    /// <summary>A call that has no answer by then has none.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private int _next;

    /// <summary>Entries made so far.</summary>
    public int Count => _next;

    /// <summary>One entry after the other, each a call of its own.</summary>
    public Task<LoadResult> SingleAsync(int count) => CallsAsync("single", count, batch: 1);

    /// <summary>Batches, one call after the other.</summary>
    public Task<LoadResult> BatchAsync(int count, int batch) => CallsAsync(Text($"batches of {batch:N0}"), count, batch);

    /// <summary>As <see cref="SingleAsync"/>, among the many that are there.</summary>
    public Task<LoadResult> AmongManyAsync(int count) => CallsAsync(Text($"single, among {_next:N0}"), count, batch: 1);

    /// <summary>Batches as a stream, as many under way as the switch lets be. The time of each is that of waiting in line, mostly.</summary>
    public Task<LoadResult> PushAsync(int count, int batch) => StreamAsync(Text($"stream, batches of {batch:N0}"), count, batch, null);

    /// <summary>Batches as a stream, at a rate that leaves it room to breathe: how long one takes when none waits in line.</summary>
    public Task<LoadResult> PacedAsync(int batches, int batch, int perSecond) =>
        StreamAsync(Text($"stream, {perSecond:N0} batches of {batch:N0} a second"), batches * batch, batch, TimeSpan.FromSeconds(1.0 / perSecond));

    private async Task<LoadResult> StreamAsync(string name, int count, int batch, TimeSpan? interval)
    {
        // Requests are made before the clock runs: what is measured is the switch, not this program.
        List<(PushRequest Request, ulong Last)> batches = [.. Enumerable.Range(0, count / batch).Select(i => Make(batch) is var (resources, last)
            ? (new PushRequest { Sequence = (ulong)i, Resources = { resources } }, last) : default)];
        var begun = new long[batches.Count];
        var acknowledged = new TimeSpan[batches.Count];
        var visible = new Task<long>[batches.Count];
        GC.Collect(); // nor what this program does about its own memory
        probe.Pause = interval is null ? VisibilityProbe.Loosely : VisibilityProbe.Closely;
        TimeSpan cpu = daemon.Cpu;
        long start = Stopwatch.GetTimestamp();
        using AsyncDuplexStreamingCall<PushRequest, PushResponse> call = daemon.Resources.Push(cancellationToken: cancel);
        Task send = interval is { } pace ? Task.Factory.StartNew(() => SendAll(pace), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default) : Task.Run(SendAllAsync, cancel);
        for (int i = 0; i < batches.Count; i++)
        {
            if (!await call.ResponseStream.MoveNext(cancel).WaitAsync(Patience, cancel))
            {
                throw new BenchException($"{name}: the stream ended after {i} of {batches.Count} batches");
            }
            PushResponse response = call.ResponseStream.Current;
            if (response.Refusal is { } refusal)
            {
                throw new BenchException($"a batch was refused: {refusal.Problems.FirstOrDefault()?.Message}");
            }
            acknowledged[response.Sequence] = Stopwatch.GetElapsedTime(begun[response.Sequence]);
        }
        await send;
        await Task.WhenAll(visible).WaitAsync(Patience, cancel);
        TimeSpan all = Stopwatch.GetElapsedTime(start);
        return new LoadResult(name, count, count / all.TotalSeconds, (daemon.Cpu - cpu).TotalMicroseconds / count, Latencies.Of(acknowledged),
            Latencies.Of(visible.Select((v, i) => Stopwatch.GetElapsedTime(begun[i], v.Result))));

        async Task SendAsync(int i)
        {
            begun[i] = Stopwatch.GetTimestamp();
            visible[i] = probe.When(batches[i].Last);
            await call.RequestStream.WriteAsync(batches[i].Request, cancel);
        }

        async Task SendAllAsync()
        {
            for (int i = 0; i < batches.Count; i++)
            {
                await SendAsync(i);
            }
            await call.RequestStream.CompleteAsync();
        }

        // In a thread of its own: the runtime's timers have the kernel's tick, of several milliseconds, which sends batches in pairs.
        void SendAll(TimeSpan pace)
        {
            for (int i = 0; i < batches.Count; i++)
            {
                Microseconds.Sleep((pace * i) - Stopwatch.GetElapsedTime(start));
                SendAsync(i).GetAwaiter().GetResult();
            }
            call.RequestStream.CompleteAsync().GetAwaiter().GetResult();
        }
    }

    private async Task<LoadResult> CallsAsync(string name, int count, int batch)
    {
        var acknowledged = new List<TimeSpan>();
        var visible = new List<TimeSpan>();
        probe.Pause = VisibilityProbe.Closely;
        List<(ApplyRequest Request, ulong Last)> requests = [.. Enumerable.Range(0, count / batch).Select(_ => Make(batch) is var (resources, last)
            ? (new ApplyRequest { Resources = { resources } }, last) : default)];
        GC.Collect();
        TimeSpan cpu = daemon.Cpu;
        long start = Stopwatch.GetTimestamp();
        foreach ((ApplyRequest request, ulong last) in requests)
        {
            long begin = Stopwatch.GetTimestamp();
            Task<long> seen = probe.When(last);
            await daemon.Resources.ApplyAsync(request, deadline: DateTime.UtcNow + Patience, cancellationToken: cancel).ResponseAsync;
            acknowledged.Add(Stopwatch.GetElapsedTime(begin));
            visible.Add(Stopwatch.GetElapsedTime(begin, await seen.WaitAsync(Patience, cancel)));
        }
        return new LoadResult(name, count, count / Stopwatch.GetElapsedTime(start).TotalSeconds, (daemon.Cpu - cpu).TotalMicroseconds / count, Latencies.Of(acknowledged), Latencies.Of(visible));
    }

    private (List<Resource> Resources, ulong Last) Make(int batch)
    {
        List<Resource> resources = [.. Enumerable.Range(_next, batch).Select(Addresses.Resource)];
        _next += batch;
        return (resources, Addresses.Value(_next - 1));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
