using BenchmarkDotNet.Attributes;
using Dataplane.Interop.Linux;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>
/// Look-ups of present addresses in the MAC table, half full as the engine sizes it, in random order, so that the processor
/// can predict neither bucket nor way. Times are per look-up. <c>Single</c> takes one address after the other and pays for
/// a cache miss each time; <c>Batch</c> and <c>Refresh</c> hash and prefetch a burst of 64 first, as the bridge does.
/// </summary>
[MemoryDiagnoser]
public unsafe class MacTableBenchmarks
{
    private const int Burst = 64;
    private const int LookUps = 1 << 20; // per invocation: as many as the largest table has entries
    private const ushort Port = 3;
    private const uint Now = 1000;

    private SharedMemory? _memory;
    private ulong[] _keys = [];
    private MacTable _table;

    /// <summary>Addresses in the table.</summary>
    [Params(1_000, 100_000, 1_000_000)]
    public int Entries { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var random = new Random(1);
        int bits = int.Log2(Entries / MacBucket.Ways * 2 - 1) + 1;
        _memory = SharedMemory.CreatePrivate((nuint)sizeof(MacBucket) << bits);
        _table = new MacTable((MacBucket*)_memory.Pointer, bits, seed: 1);
        ulong[] present = [.. Enumerable.Range(0, Entries).Select(_ => MacTable.Key(1, (ulong)random.NextInt64() & ~1UL)).Distinct()];
        foreach (ulong key in present)
        {
            if (_table.Learn(key, Port, Now, allowNew: true, out _) != LearnResult.Learned)
            {
                throw new InvalidOperationException("the table is too small for the addresses");
            }
        }
        _keys = [.. Enumerable.Range(0, LookUps).Select(_ => present[random.Next(present.Length)])];
    }

    [GlobalCleanup]
    public void Cleanup() => _memory?.Dispose();

    /// <summary>One address after the other.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = LookUps)]
    public ulong Single()
    {
        ulong sum = 0;
        foreach (ulong key in _keys)
        {
            sum += _table.Find(key);
        }
        return sum;
    }

    /// <summary>A burst: hash and prefetch all of it, then look up.</summary>
    [Benchmark(OperationsPerInvoke = LookUps)]
    public ulong Batch()
    {
        ulong sum = 0;
        MacBucket** buckets = stackalloc MacBucket*[Burst];
        fixed (ulong* keys = _keys)
        {
            for (int first = 0; first < LookUps; first += Burst)
            {
                Prefetch(keys + first, buckets);
                for (int i = 0; i < Burst; i++)
                {
                    sum += _table.Find(keys[first + i], buckets[i]);
                }
            }
        }
        return sum;
    }

    /// <summary>As <see cref="Batch"/>, asking what a source address is asked: is it known here, in this second?</summary>
    [Benchmark(OperationsPerInvoke = LookUps)]
    public int Refresh()
    {
        int known = 0;
        ulong fresh = MacValue.Fresh(Port, Now);
        MacBucket** buckets = stackalloc MacBucket*[Burst];
        fixed (ulong* keys = _keys)
        {
            for (int first = 0; first < LookUps; first += Burst)
            {
                Prefetch(keys + first, buckets);
                for (int i = 0; i < Burst; i++)
                {
                    known += MacTable.IsFresh(keys + first + i, buckets[i], &fresh) ? 1 : 0;
                }
            }
        }
        return known;
    }

    private void Prefetch(ulong* keys, MacBucket** buckets)
    {
        for (int i = 0; i < Burst; i++)
        {
            buckets[i] = _table.Bucket(keys[i]);
            MacTable.Prefetch(buckets[i]);
        }
    }
}
