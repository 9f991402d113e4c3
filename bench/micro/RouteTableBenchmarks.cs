using BenchmarkDotNet.Attributes;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>
/// Look-ups of addresses that have a route, in random order, among random /24 and /64; the one prefix is the default route. Times are
/// per look-up. <c>Single</c> takes one address after the other, <c>Batch</c> bursts of 64, as the route stage does.
/// </summary>
[MemoryDiagnoser]
public unsafe class RouteTableBenchmarks
{
    private const int Burst = 64;
    private const int LookUps = 1 << 20;

    private RouteSet? _routes;
    private uint[] _addresses4 = [];
    private ulong[] _addresses6 = [];
    private RouteTable _table;
    private uint _root;

    /// <summary>Prefixes in the table.</summary>
    [Params(1, 1_000, 100_000, 1_000_000)]
    public int Prefixes { get; set; }

    /// <summary>Version of the Internet Protocol.</summary>
    [Params(4, 6)]
    public int Family { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _routes = new RouteSet(Prefixes == 1 ? "default" : Family == 4 ? "/24" : "/64", Prefixes, Family == 4);
        _table = _routes.Table;
        _root = _routes.Root;
        var random = new Random(2);
        RoutePrefix[] hit = [.. Enumerable.Range(0, LookUps).Select(_ => _routes.Prefixes[random.Next(Prefixes)])];
        _addresses4 = [.. hit.Select(p => p.Address4 | (uint)random.NextInt64(1L << (32 - Math.Min(p.Length, (byte)32))))];
        _addresses6 = [.. hit.SelectMany(p => new[] { p.High, (ulong)random.NextInt64() })];
    }

    [GlobalCleanup]
    public void Cleanup() => _routes?.Dispose();

    [Benchmark(Baseline = true, OperationsPerInvoke = LookUps)]
    public ulong Single()
    {
        ulong sum = 0;
        if (Family == 4)
        {
            foreach (uint address in _addresses4)
            {
                sum += _table.Find4(_root, address);
            }
            return sum;
        }
        for (int i = 0; i < _addresses6.Length; i += 2)
        {
            sum += _table.Find6(_root, _addresses6[i], _addresses6[i + 1]);
        }
        return sum;
    }

    [Benchmark(OperationsPerInvoke = LookUps)]
    public ulong Batch()
    {
        ulong sum = 0;
        uint* results = stackalloc uint[Burst];
        fixed (uint* addresses4 = _addresses4)
        fixed (ulong* addresses6 = _addresses6)
        {
            for (int first = 0; first < LookUps; first += Burst)
            {
                if (Family == 4)
                {
                    _table.Find4(_root, addresses4 + first, results, Burst);
                }
                else
                {
                    _table.Find6(_root, addresses6 + (2 * first), results, Burst);
                }
                sum += results[Burst - 1];
            }
        }
        return sum;
    }
}

/// <summary>
/// Changes of a table of a million routes. <c>One</c> is a commit of one changed route, and what it replaced freed; <c>Thousand</c> a
/// commit of a thousand, the time per route; <c>Default</c> a commit of a changed default route. What the routes take in memory is
/// printed before.
/// </summary>
[MemoryDiagnoser]
public class RouteUpdateBenchmarks
{
    private const int Routes = 1_000_000;
    private const int Batch = 1000;

    private RouteSet? _routes;
    private uint _nextHop;
    private int _at;

    /// <summary>What the routes are.</summary>
    [Params("/24", "/32", "/32 of 10/8", "/64", "/128")]
    public string Set { get; set; } = "";

    [GlobalSetup]
    public void Setup()
    {
        _routes = new RouteSet(Set, Routes, is4: Set is not ("/64" or "/128"));
        Console.WriteLine($"// {_routes.Count:n0} routes, {Set}: {_routes.Writer.UsedBytes:n0} bytes in nodes, {_routes.Writer.TakenBytes:n0} with what is free among them");
    }

    [GlobalCleanup]
    public void Cleanup() => _routes?.Dispose();

    [Benchmark]
    public void One()
    {
        Change();
        _routes!.Commit();
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public void Thousand()
    {
        for (int i = 0; i < Batch; i++)
        {
            Change();
        }
        _routes!.Commit();
    }

    [Benchmark]
    public void Default()
    {
        _routes!.Set(default, NextHop());
        _routes.Commit();
    }

    // Strides through the routes, which are in random order.
    private void Change() => _routes!.Set(_routes.Prefixes[_at = (_at + 1) % Routes], NextHop());

    private uint NextHop() => 1 + (++_nextHop & 0xFFFF);
}
