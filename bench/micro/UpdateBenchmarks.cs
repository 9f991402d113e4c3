using BenchmarkDotNet.Attributes;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>
/// What a commit of one static address costs the control process, in a table that has few or many: begin, write, make visible, and
/// clean up behind. No worker is there to be waited for, as when all of them sleep.
/// </summary>
[MemoryDiagnoser]
public class UpdateBenchmarks
{
    private const uint Fid = 1;

    private Segment? _segment;
    private SegmentWriter _writer = null!;
    private ulong[] _keys = [];
    private int _next;

    /// <summary>Addresses in the table.</summary>
    [Params(1_000, 1_000_000)]
    public int Entries { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _segment = Segment.CreatePrivate(new SegmentOptions { MacCapacity = Entries });
        _writer = new SegmentWriter(_segment);
        var random = new Random(1);
        _keys = [.. Enumerable.Range(0, Entries).Select(_ => MacTable.Key(Fid, (ulong)random.NextInt64(1L << 48) & ~1UL)).Distinct()];
        _writer.Begin();
        foreach (ulong key in _keys)
        {
            Set(key, port: 1);
        }
        _writer.Commit();
        _writer.Synchronize();
        random.Shuffle(_keys);
    }

    [GlobalCleanup]
    public void Cleanup() => _segment?.Dispose();

    /// <summary>One address moves to another port.</summary>
    [Benchmark]
    public ulong One()
    {
        int i = _next++;
        _writer.Begin();
        Set(_keys[i % _keys.Length], port: (ushort)(2 + (i / _keys.Length % 2)));
        ulong generation = _writer.Commit();
        _writer.TrySettle();
        return generation;
    }

    private void Set(ulong key, ushort port)
    {
        if (!_writer.SetStaticMac(key, port, MacFlags.Static))
        {
            throw new InvalidOperationException("the table is too small for the addresses");
        }
    }
}
