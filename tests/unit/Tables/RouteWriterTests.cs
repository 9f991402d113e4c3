using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>What changes cost, what becomes of a full memory, and what a writer makes of what it finds.</summary>
public sealed unsafe class RouteWriterTests
{
    private const int Vrf = 1;
    private const int MiB = 1 << 20;

    /// <summary>Sets of routes: the number-th of each.</summary>
    private static RoutePrefix Route(string set, Random random, int number) => set switch
    {
        "/24" => RoutePrefix.Of4((uint)random.NextInt64(1L << 32), 24),
        "/32" => RoutePrefix.Of4((uint)random.NextInt64(1L << 32), 32),
        "/32 of one /16" => RoutePrefix.Of4(0x0A01_0000u | (uint)(number & 0xFFFF), 32),
        "/64" => RoutePrefix.Of6(0x2000ul << 48 | (ulong)random.NextInt64() >> 3, 0, 64),
        "/128" => RoutePrefix.Of6(0x2000ul << 48 | (ulong)random.NextInt64() >> 3, (ulong)random.NextInt64(), 128),
        _ => throw new ArgumentOutOfRangeException(nameof(set)),
    };

    private static void Set(TestRoutes routes, RoutePrefix prefix, uint nextHop, bool is4)
    {
        if (is4)
        {
            routes.Writer.Set4(Vrf, prefix, nextHop);
        }
        else
        {
            routes.Writer.Set6(Vrf, prefix, nextHop);
        }
    }

    private static RouteList List(TestRoutes routes, bool is4) => is4 ? routes.Writer.Prefixes4(Vrf) : routes.Writer.Prefixes6(Vrf);

    /// <summary>In a segment's memory: whole chunks, and what a block has more than the node in it needs.</summary>
    [Theory]
    [InlineData("/24", true, 50_000, 64)]
    [InlineData("/32", true, 50_000, 64)]
    [InlineData("/32 of one /16", true, 65_536, 8)]
    [InlineData("/64", false, 50_000, 80)]
    [InlineData("/128", false, 50_000, 80)]
    public void A_route_takes_some_bytes(string set, bool is4, int count, int most)
    {
        using var routes = new TestRoutes(16 * MiB);
        var random = new Random(1);
        for (int i = 0; i < count; i++)
        {
            Set(routes, Route(set, random, i), (uint)(1 + (i % 16)), is4);
        }
        routes.Commit();
        int n = List(routes, is4).Count;
        Assert.InRange(n, count - 1000, count); // some are there twice
        Assert.InRange(routes.Writer.TakenBytes, n, n * most);
        Assert.InRange(routes.Writer.UsedBytes, n, routes.Writer.TakenBytes);
    }

    [Theory]
    [InlineData("/24", true)]
    [InlineData("/64", false)]
    public void One_change_copies_a_few_nodes_of_a_large_table(string set, bool is4)
    {
        using var routes = new TestRoutes(16 * MiB);
        var random = new Random(2);
        for (int i = 0; i < 30_000; i++)
        {
            Set(routes, Route(set, random, i), 1, is4);
        }
        routes.Commit();
        for (int i = 0; i < 100; i++)
        {
            RoutePrefix prefix = Route(set, random, i);
            Assert.InRange(Copied(() => Set(routes, prefix, 2, is4)), 1, 8 << 10);
            Assert.InRange(Copied(() => _ = is4 ? routes.Writer.Remove4(Vrf, prefix) : routes.Writer.Remove6(Vrf, prefix)), 1, 8 << 10);
        }
        // The default route covers all: only the nodes right below the root are told.
        Assert.InRange(Copied(() => Set(routes, default, 3, is4)), 1, (256 + 1) * RouteArena.MaxBlock);
        Assert.InRange(Copied(() => Set(routes, default, 4, is4)), 1, (256 + 1) * RouteArena.MaxBlock);

        long Copied(Action change)
        {
            long before = routes.Writer.UsedBytes;
            change();
            long used = routes.Writer.UsedBytes;
            routes.Commit();
            return Math.Max(used - before, used - routes.Writer.UsedBytes);
        }
    }

    [Fact]
    public void What_is_set_again_or_not_there_to_be_removed_changes_nothing()
    {
        using var routes = new TestRoutes(MiB);
        routes.Set(Vrf, "10.0.0.0/8", 1);
        routes.Set(Vrf, "10.1.2.0/24", 2);
        routes.Set(Vrf, "10.1.3.0/24", 2);
        routes.Commit();
        long used = routes.Writer.UsedBytes;
        routes.Set(Vrf, "10.0.0.0/8", 1);
        routes.Set(Vrf, "10.1.2.0/24", 2);
        foreach (string prefix in new[] { "10.0.0.0/9", "10.1.2.0/25", "10.1.0.0/16", "10.1.4.0/24", "11.0.0.0/8", "0.0.0.0/0", "::/0" })
        {
            Assert.False(routes.Remove(Vrf, prefix));
        }
        Assert.Empty(routes.Writer.Touched);
        Assert.Equal(used, routes.Writer.UsedBytes);
    }

    [Fact]
    public void What_is_no_route_is_refused()
    {
        using var routes = new TestRoutes(MiB);
        RouteWriter writer = routes.Writer;
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Set4(Vrf, RoutePrefix.Of4(0, 0), 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Set4(Vrf, RoutePrefix.Of4(0, 0), 1 << 24));
        Assert.Throws<ArgumentOutOfRangeException>(() => RoutePrefix.Of4(0, 33));
        Assert.Throws<ArgumentOutOfRangeException>(() => RoutePrefix.Of6(0, 0, -1));
        Assert.Throws<ArgumentException>(() => writer.Set4(Vrf, RoutePrefix.Of6(0, 0, 33), 1));
        Assert.Throws<ArgumentException>(() => writer.Set6(Vrf, new RoutePrefix(1, 0, 63), 1));
        Assert.Throws<ArgumentException>(() => writer.Set6(Vrf, new RoutePrefix(0, 0, 129), 1));
        Assert.Throws<ArgumentException>(() => writer.Remove6(Vrf, new RoutePrefix(0, 1, 127)));
        Assert.Empty(writer.Touched);
        writer.Set4(Vrf, RoutePrefix.Of4(0, 0), (1 << 24) - 1);
        routes.Commit();
        Assert.Equal((1u << 24) - 1, routes.Find(Vrf, "1.2.3.4"));
    }

    /// <summary>Whichever change it is that finds no room, after Abandon everything is as before, and routes can be removed.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_commit_that_finds_no_room_leaves_no_trace(bool is4)
    {
        using var routes = new TestRoutes(512 << 10);
        routes.Writer.Poison = true;
        var random = new Random(4);
        var committed = new Dictionary<RoutePrefix, uint>();
        int failures = 0;
        for (int round = 0; round < 300; round++)
        {
            var pending = new Dictionary<RoutePrefix, uint>(committed);
            try
            {
                for (int i = random.Next(300); i >= 0; i--)
                {
                    string text = is4 ? $"{random.Next(1, 200)}.{random.Next(256)}.{random.Next(256)}.0/{random.Next(8, 25)}" : TestRoutes.RandomPrefix6(random);
                    RoutePrefix prefix = TestRoutes.Parse(text).Prefix;
                    pending[prefix] = (uint)(1 + random.Next(100));
                    Set(routes, prefix, pending[prefix], is4);
                }
                routes.Commit();
                committed = pending;
            }
            catch (RouteMemoryException)
            {
                failures++;
                Assert.Throws<InvalidOperationException>(() => Set(routes, default, 1, is4));
                Assert.Throws<InvalidOperationException>(routes.Writer.Commit);
                routes.Writer.Abandon();
                Assert.Equal(routes.CommittedBytes, routes.Writer.UsedBytes);
                // One at a time, what is replaced becomes free in between.
                foreach (RoutePrefix prefix in committed.Keys.Take(committed.Count / 2).ToArray())
                {
                    Assert.True(is4 ? routes.Writer.Remove4(Vrf, prefix) : routes.Writer.Remove6(Vrf, prefix));
                    routes.Commit();
                    committed.Remove(prefix);
                }
            }
            if (round % 10 == 0)
            {
                Assert.Equal(committed.OrderBy(r => r.Key.ToString()), List(routes, is4).OrderBy(r => r.Key.ToString()));
            }
        }
        Assert.InRange(failures, 3, 300);
    }

    [Fact]
    public void A_writer_that_takes_over_knows_also_prefixes_that_longer_ones_hide()
    {
        using var routes = new TestRoutes(MiB);
        (string, uint)[] all =
        [
            ("0.0.0.0/0", 1), ("0.0.0.0/1", 2), ("128.0.0.0/1", 3), ("10.0.0.0/8", 4), ("10.0.0.0/9", 5), ("10.128.0.0/9", 6),
            ("10.1.2.0/24", 7), ("10.1.2.0/25", 8), ("10.1.2.128/25", 9), ("10.1.3.4/32", 10), ("fd00::/7", 11), ("fc00::/8", 12), ("fd00::/8", 13),
        ];
        foreach ((string prefix, uint nextHop) in all)
        {
            routes.Set(Vrf, prefix, nextHop);
        }
        routes.Commit();
        RouteWriter next = routes.TakeOver();
        Assert.Equal(
            all.Select(r => (TestRoutes.Parse(r.Item1).Prefix, r.Item2)).ToHashSet(),
            next.Prefixes4(Vrf).Concat(next.Prefixes6(Vrf)).Select(r => (r.Key, r.Value)).ToHashSet());
        Assert.Equal((10, 3), (next.Prefixes4(Vrf).Count, next.Prefixes6(Vrf).Count));
        Assert.Equal(routes.CommittedBytes, next.UsedBytes);
        Assert.True(routes.Remove(Vrf, "10.0.0.0/9"));
        Assert.True(routes.Remove(Vrf, "10.1.2.0/25"));
        routes.Commit();
        Assert.Equal((4u, 7u, 6u), (routes.Find(Vrf, "10.5.0.1"), routes.Find(Vrf, "10.1.2.3"), routes.Find(Vrf, "10.200.0.1")));
    }

    /// <summary>Any word of the memory that leads to a route is made another one: it is noticed, or makes no difference to the writer.</summary>
    [Fact]
    public void A_damaged_memory_is_refused_and_never_written_over()
    {
        using var routes = new TestRoutes(256 << 10);
        var random = new Random(6);
        for (int i = 0; i < 300; i++)
        {
            routes.Set(Vrf, TestRoutes.RandomPrefix4(random), 1);
            routes.Set(Vrf, TestRoutes.RandomPrefix6(random), 1);
        }
        routes.Commit();
        int refused = 0;
        for (int round = 0; round < 4000; round++)
        {
            uint* word = (uint*)routes.Memory + random.Next((int)routes.Writer.TakenBytes / 4);
            uint was = *word;
            *word = random.Next(3) switch { 0 => was ^ (1u << random.Next(32)), 1 => (uint)random.NextInt64(1L << 32), _ => ~was };
            try
            {
                routes.TakeOver();
            }
            catch (InvalidDataException e)
            {
                refused++;
                Assert.Contains("damaged", e.Message);
            }
            *word = was;
        }
        Assert.InRange(refused, 100, 4000);
        Assert.Equal(routes.CommittedBytes, routes.TakeOver().UsedBytes);
    }
}
