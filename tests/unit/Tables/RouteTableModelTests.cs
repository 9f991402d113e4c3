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
                routes.Writer.Abandon();
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
            }
        }
        foreach (RoutePrefix prefix in pending.Keys)
        {
            Change(routes, is4, prefix, 0);
        }
        routes.Commit();
        Assert.Equal(0, routes.Writer.UsedBytes);
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

        uint* four = stackalloc uint[RouteTable.BatchLimit];
        ulong* six = stackalloc ulong[2 * RouteTable.BatchLimit];
        uint* results = stackalloc uint[RouteTable.BatchLimit];
        for (int at = 0; at < addresses.Count;)
        {
            int n = Math.Min(addresses.Count - at, 1 + random.Next(RouteTable.BatchLimit));
            for (int i = 0; i < n; i++)
            {
                four[i] = (uint)(addresses[at + i].High >> 32);
                (six[2 * i], six[(2 * i) + 1]) = addresses[at + i];
            }
            if (is4)
            {
                routes.Table.Find4(root4, four, results, n);
            }
            else
            {
                routes.Table.Find6(root6, six, results, n);
            }
            Assert.Equal(expected[at..(at + n)], new ReadOnlySpan<uint>(results, n).ToArray());
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
