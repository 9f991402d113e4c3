using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Runtime;

namespace Dataplane.UnitTests.Control;

/// <summary>What is young is collected when batches have left something, and no other one has come.</summary>
public sealed class IdleCollectorTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30), s_moment = TimeSpan.FromMilliseconds(50);

    private readonly Bench _bench = new(new FakeStore());
    private int _batches;

    public void Dispose() => _bench.Dispose();

    [Fact]
    public async Task CollectsBehindBatches()
    {
        using var collected = new SemaphoreSlim(0);
        using var collector = new IdleCollector(_bench.Controller, () => collected.Release());
        // More than one batch if need be: the runtime may have collected itself what the first one left.
        bool done = false;
        for (long begin = Stopwatch.GetTimestamp(); !done && Stopwatch.GetElapsedTime(begin) < s_patience;)
        {
            await BatchAsync();
            done = await collected.WaitAsync(s_moment);
        }
        Assert.True(done);
    }

    [Fact]
    public async Task EndsWithItsOwner()
    {
        int collections = 0;
        var collector = new IdleCollector(_bench.Controller, () => Interlocked.Increment(ref collections));
        await BatchAsync();
        collector.Dispose();
        int before = collections;
        await BatchAsync();
        Assert.Equal(before, collections);
    }

    /// <summary>A batch, and some megabytes of what nobody needs any more, in pieces too small for the heap of large objects.</summary>
    private Task BatchAsync()
    {
        GC.KeepAlive(Enumerable.Range(0, 50).Select(_ => new byte[60_000]).ToList());
        return _bench.Apply(Make.Net((_batches++).ToString("'n'0", CultureInfo.InvariantCulture)));
    }
}
