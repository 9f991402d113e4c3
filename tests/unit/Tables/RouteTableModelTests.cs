using System.Runtime.InteropServices;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>Random changes, against a list of prefixes that is searched from the longest to the shortest.</summary>
public sealed unsafe class RouteTableModelTests
{
    private const int Vrf = 1;

    [Theory]
    [InlineData(1, true)]
    [InlineData(2, true)]
    [InlineData(3, true)]
    [InlineData(4, false)]
    [InlineData(5, false)]
    [InlineData(6, false)]
    public void Any_sequence_of_changes_gives_what_a_list_gives(int seed, bool is4)
    {
        using var routes = new TestRoutes(16 << 20);
        routes.Writer.Poison = true;
        var random = new Random(seed);
        var committed = new Dictionary<RoutePrefix, uint>();
        var pending = new Dictionary<RoutePrefix, uint>();
        for (int step = 0; step < 3000; step++)
        {
            string text = is4 ? TestRoutes.RandomPrefix4(random) : TestRoutes.RandomPrefix6(random);
            RoutePrefix prefix = random.Next(3) == 0 && pending.Count != 0
                ? pending.Keys.ElementAt(random.Next(pending.Count))
                : TestRoutes.Parse(text).Prefix;
            if (random.Next(5) < 3)
            {
                uint nextHop = (uint)(1 + random.Next(1000));
                pending[prefix] = nextHop;
                Change(routes, is4, prefix, nextHop);
            }
            else
            {
                Assert.Equal(pending.Remove(prefix), Change(routes, is4, prefix, 0));
            }
            if (random.Next(20) == 0)
            {
                if (random.Next(2) == 0)
                {
                    routes.Writer.Abandon();
                }
                else
                {
                    routes.TakeOver().Poison = true; // the writer has died
                }
                pending = new(committed);
            }
            else if (random.Next(4) == 0)
            {
                routes.Commit();
                committed = new(pending);
            }
            if (step % 25 == 0)
            {
                Compare(routes, is4, committed, random);
                AssertSame(pending, is4 ? routes.Writer.Prefixes4(Vrf) : routes.Writer.Prefixes6(Vrf));
            }
        }
        foreach (RoutePrefix prefix in pending.Keys)
        {
            Change(routes, is4, prefix, 0);
        }
        routes.Commit();
        Assert.Equal(0, routes.Writer.UsedBytes);
    }

    /// <summary>A table that is too large for the near caches, where bursts are looked up in another way.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_large_table_gives_what_a_list_gives(bool is4)
    {
        using var routes = new TestRoutes(32 << 20);
        var random = new Random(7);
        var model = new Dictionary<RoutePrefix, uint>();
        while (model.Count < 60_000)
        {
            // Dense in some places, and of all lengths.
            ulong high = (ulong)random.NextInt64() & (random.Next(2) == 0 ? 0x0303_7FFF_FFFF_FFFFul : 0x7F07_0303_0303_0303ul);
            RoutePrefix prefix = is4 ? RoutePrefix.Of4((uint)(high >> 32), random.Next(33)) : RoutePrefix.Of6(high, (ulong)random.NextInt64(), random.Next(129));
            model[prefix] = (uint)(1 + random.Next(100_000));
            Change(routes, is4, prefix, model[prefix]);
        }
        routes.Commit();
        for (int round = 0; round < 50; round++)
        {
            Compare(routes, is4, model, random);
        }
        AssertSame(model, is4 ? routes.Writer.Prefixes4(Vrf) : routes.Writer.Prefixes6(Vrf));
    }

    /// <summary>Of lengths as in the Internet's tables: most are /24 and /48, within shorter ones.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_million_routes_are_found_by_the_longest_prefix(bool is4)
    {
        const int Routes = 1_000_000, Addresses = 20_000;
        using var routes = new TestRoutes(512 << 20);
        var random = new Random(8);
        var model = new Dictionary<RoutePrefix, uint>(Routes);
        while (model.Count < Routes)
        {
            int length = (is4, random.Next(4)) switch { (true, 0) => random.Next(8, 33), (true, _) => 24, (false, 0) => random.Next(20, 65), (false, _) => 48 };
            ulong high = (ulong)random.NextInt64();
            RoutePrefix prefix = is4 ? RoutePrefix.Of4((uint)(high >> 32), length) : RoutePrefix.Of6(high & 0x3FFF_FFFF_FFFF_FFFF, 0, length);
            if (model.TryAdd(prefix, (uint)(1 + random.Next(100_000))))
            {
                Change(routes, is4, prefix, model[prefix]);
            }
        }
        routes.Commit();
        RoutePrefix[] prefixes = [.. model.Keys];
        (ulong High, ulong Low)[] addresses = [.. Enumerable.Range(0, Addresses).Select(_ =>
        {
            RoutePrefix prefix = prefixes[random.Next(Routes)];
            return (prefix.High | ((ulong)random.NextInt64() >> (prefix.Length - 1)), (ulong)random.NextInt64());
        })];
        (uint root4, uint root6) = routes.Roots(Vrf);
        foreach ((ulong High, ulong Low)[] burst in addresses.Chunk(RouteTable.BatchLimit))
        {
            Assert.Equal(burst.Select(a => Search(model, a.High, a.Low, is4)), routes.FindBurst(is4, is4 ? root4 : root6, burst));
        }
    }

    private static void AssertSame(Dictionary<RoutePrefix, uint> model, RouteList list)
    {
        Assert.Equal(model.Count, list.Count);
        Assert.Equal(model.ToHashSet(), list.ToHashSet());
        foreach ((RoutePrefix prefix, uint nextHop) in model)
        {
            Assert.True(list.TryGetValue(prefix, out uint value));
            Assert.Equal(nextHop, value);
        }
    }

    private static bool Change(TestRoutes routes, bool is4, RoutePrefix prefix, uint nextHop)
    {
        if (nextHop == 0)
        {
            return is4 ? routes.Writer.Remove4(Vrf, prefix) : routes.Writer.Remove6(Vrf, prefix);
        }
        if (is4)
        {
            routes.Writer.Set4(Vrf, prefix, nextHop);
        }
        else
        {
            routes.Writer.Set6(Vrf, prefix, nextHop);
        }
        return true;
    }

    /// <summary>At the borders of all prefixes, one by one and as bursts.</summary>
    private static void Compare(TestRoutes routes, bool is4, Dictionary<RoutePrefix, uint> model, Random random)
    {
        List<(ulong High, ulong Low)> addresses = [(0, 0), (ulong.MaxValue, ulong.MaxValue)];
        foreach (RoutePrefix prefix in model.Keys.OrderBy(_ => random.Next()).Take(60))
        {
            var first = new UInt128(prefix.High, prefix.Low);
            UInt128 last = first | (prefix.Length == 128 ? 0 : UInt128.MaxValue >> prefix.Length);
            UInt128 one = is4 ? UInt128.One << 96 : 1;
            addresses.AddRange(new[] { first, last, first - one, last + one }.Select(a => ((ulong)(a >> 64), (ulong)a)));
        }
        (uint root4, uint root6) = routes.Roots(Vrf);
        uint[] expected = [.. addresses.Select(a => Search(model, a.High, a.Low, is4))];
        uint[] single = [.. addresses.Select(a => is4 ? routes.Table.Find4(root4, (uint)(a.High >> 32)) : routes.Table.Find6(root6, a.High, a.Low))];
        Assert.Equal(expected, single);

        for (int at = 0; at < addresses.Count;)
        {
            int n = Math.Min(addresses.Count - at, 1 + random.Next(RouteTable.BatchLimit));
            Assert.Equal(expected[at..(at + n)], routes.FindBurst(is4, is4 ? root4 : root6, CollectionsMarshal.AsSpan(addresses).Slice(at, n)));
            at += n;
        }
    }

    private static uint Search(Dictionary<RoutePrefix, uint> model, ulong high, ulong low, bool is4)
    {
        for (int length = is4 ? 32 : 128; length >= 0; length--)
        {
            if (model.TryGetValue(RoutePrefix.Of6(high, low, length), out uint nextHop))
            {
                return nextHop;
            }
        }
        return 0;
    }
}
