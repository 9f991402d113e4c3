using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Readers on real threads while a writer goes from one set of routes to another and back. All routes of a set have one next hop, so
/// that a look-up which meets nodes of both, or one that was freed (they are poisoned), shows it.
/// </summary>
public sealed unsafe class RouteTableConcurrencyTests : IDisposable
{
    private const int Vrf = 1;
    private const int Commits = 300;
    private static readonly TimeSpan s_hangs = TimeSpan.FromSeconds(60);

    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(64 * 1024);
    private readonly TestRoutes _routes = new(4 << 20);
    private readonly Quiescence _quiescence;
    private volatile string? _problem;
    private volatile bool _stop;
    private ulong _roots; // IPv4 above, IPv6 below

    public RouteTableConcurrencyTests()
    {
        var global = (ulong*)_memory.Pointer;
        *global = 1;
        _quiescence = new Quiescence(global, (WorkerRecord*)(_memory.Pointer + 4096), 8);
        _routes.Writer.Poison = true;
    }

    public void Dispose()
    {
        _routes.Dispose();
        _memory.Dispose();
    }

    private void Reader(int worker)
    {
        var random = new Random(worker);
        uint* four = stackalloc uint[RouteTable.BatchLimit];
        ulong* six = stackalloc ulong[2 * RouteTable.BatchLimit];
        uint* results4 = stackalloc uint[RouteTable.BatchLimit];
        uint* results6 = stackalloc uint[RouteTable.BatchLimit];
        _quiescence.Online(worker);
        while (!_stop)
        {
            _quiescence.Quiescent(worker);
            ulong roots = Volatile.Read(ref _roots);
            uint expected = 0;
            int n = random.Next(1, RouteTable.BatchLimit + 1);
            for (int i = 0; i < n; i++)
            {
                four[i] = (uint)random.NextInt64(1L << 32) & 0x8383_FFFF;
                six[2 * i] = (ulong)four[i] << 32;
                six[(2 * i) + 1] = (ulong)random.Next(4) << 62;
            }
            _routes.Table.Find4((uint)(roots >> 32), four, results4, n);
            _routes.Table.Find6((uint)roots, six, results6, n);
            for (int i = 0; i < n; i++)
            {
                uint single4 = _routes.Table.Find4((uint)(roots >> 32), four[i]);
                uint single6 = _routes.Table.Find6((uint)roots, six[2 * i], six[(2 * i) + 1]);
                expected = i == 0 ? single4 : expected;
                if (expected is not (1 or 2) || single4 != expected || single6 != expected || results4[i] != expected || results6[i] != expected)
                {
                    _problem ??= $"{four[i]:x8}: {single4}, {results4[i]}, {single6}, {results6[i]} and not {expected}";
                    _stop = true;
                }
            }
        }
        _quiescence.Offline(worker);
    }

    /// <summary>From one set of routes to the other; both have a default route, so that every address has a next hop.</summary>
    private void Flip(Random random, uint nextHop)
    {
        RouteWriter writer = _routes.Writer;
        foreach (RoutePrefix prefix in writer.Prefixes4(Vrf).Keys)
        {
            writer.Remove4(Vrf, prefix);
        }
        foreach (RoutePrefix prefix in writer.Prefixes6(Vrf).Keys)
        {
            writer.Remove6(Vrf, prefix);
        }
        for (int i = random.Next(200); i >= 0; i--)
        {
            writer.Set4(Vrf, RoutePrefix.Of4((uint)random.NextInt64(1L << 32) & 0x8383_FFFF, random.Next(33)), nextHop);
            writer.Set6(Vrf, RoutePrefix.Of6(((ulong)random.NextInt64() & 0x0183_FFFF) << 32, (ulong)random.Next(4) << 62, random.Next(129)), nextHop);
        }
        writer.Set4(Vrf, RoutePrefix.Of4(0, 0), nextHop);
        writer.Set6(Vrf, RoutePrefix.Of6(0, 0, 0), nextHop);
    }

    private void Publish()
    {
        foreach ((int _, uint root4, uint root6) in _routes.Writer.Touched)
        {
            Volatile.Write(ref _roots, ((ulong)root4 << 32) | root6);
        }
        _routes.Writer.Commit();
        Assert.True(_quiescence.Wait(_quiescence.Advance(), s_hangs));
        _routes.Writer.Reclaim();
    }

    [Fact]
    public void A_burst_sees_one_set_of_routes()
    {
        var random = new Random(1);
        Flip(random, 1);
        Publish();
        Thread[] readers = [.. Enumerable.Range(0, 2).Select(worker => new Thread(() => Reader(worker)) { IsBackground = true })];
        Array.ForEach(readers, reader => reader.Start());
        for (int i = 0; i < Commits && !_stop; i++)
        {
            Flip(random, 1 + ((uint)i & 1));
            if (random.Next(8) == 0)
            {
                _routes.Writer.Abandon();
                continue;
            }
            Publish();
        }
        _stop = true;
        Assert.All(readers, reader => Assert.True(reader.Join(s_hangs), "a reader hangs"));
        Assert.Null(_problem);
    }
}
