using System.Net;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

public sealed unsafe class RouteTableTests : IDisposable
{
    private const int Vrf = 1;
    private readonly TestRoutes _routes = new(4 << 20);

    public void Dispose() => _routes.Dispose();

    [Theory]
    [InlineData("0.0.0.0/0", "255.255.255.255", "", 7u)]
    [InlineData("10.0.0.0/8", "10.255.255.255", "", 7u)]
    [InlineData("10.0.0.0/8", "11.0.0.0", "", 0u)]
    [InlineData("10.1.2.3/32", "10.1.2.3", "", 7u)]
    [InlineData("10.1.2.3/32", "10.1.2.2", "", 0u)]
    [InlineData("10.1.2.0/23", "10.1.3.255", "", 7u)]
    [InlineData("10.1.2.0/23", "10.1.4.0", "", 0u)]
    [InlineData("10.1.0.0/16", "10.1.2.3", "10.1.2.0/24", 8u)]
    [InlineData("10.1.2.0/24", "10.1.2.3", "10.1.0.0/16", 7u)]
    [InlineData("10.1.2.0/24", "10.1.3.3", "0.0.0.0/0", 8u)]
    [InlineData("::/0", "ffff::1", "", 7u)]
    [InlineData("2001:db8::/32", "2001:db8:ffff::1", "", 7u)]
    [InlineData("2001:db8::/32", "2001:db9::1", "", 0u)]
    [InlineData("2001:db8::1/128", "2001:db8::1", "2001:db8::/64", 7u)]
    [InlineData("2001:db8::1/128", "2001:db8::2", "2001:db8::/64", 8u)]
    [InlineData("fd00:0:0:1::/64", "fd00:0:0:1:ffff::", "fd00::/8", 7u)]
    public void The_longest_prefix_wins(string prefix, string address, string other, uint expected)
    {
        _routes.Set(Vrf, prefix, 7);
        if (other.Length != 0)
        {
            _routes.Set(Vrf, other, 8);
        }
        _routes.Commit();
        Assert.Equal(expected, _routes.Find(Vrf, address));
    }

    [Fact]
    public void What_is_withdrawn_uncovers_what_was_below()
    {
        foreach ((string prefix, uint nextHop) in new[] { ("10.0.0.0/8", 1u), ("10.16.0.0/12", 2u), ("10.20.0.0/14", 3u), ("10.21.0.0/16", 4u) })
        {
            _routes.Set(Vrf, prefix, nextHop);
        }
        _routes.Commit();
        foreach ((string prefix, uint after) in new[] { ("10.20.0.0/14", 4u), ("10.21.0.0/16", 2u), ("10.16.0.0/12", 1u), ("10.0.0.0/8", 0u) })
        {
            Assert.True(_routes.Remove(Vrf, prefix));
            Assert.False(_routes.Remove(Vrf, prefix));
            _routes.Commit();
            Assert.Equal(after, _routes.Find(Vrf, "10.21.9.9"));
        }
        Assert.Equal(0, _routes.Writer.UsedBytes);
    }

    [Fact]
    public void VRFs_do_not_see_each_other()
    {
        _routes.Set(1, "10.0.0.0/8", 1);
        _routes.Set(2, "10.0.0.0/8", 2);
        _routes.Set(2, "fd00::/8", 3);
        _routes.Commit();
        Assert.Equal((1u, 2u), (_routes.Find(1, "10.0.0.1"), _routes.Find(2, "10.0.0.1")));
        Assert.Equal((0u, 3u), (_routes.Find(1, "fd00::1"), _routes.Find(2, "fd00::1")));
    }

    [Fact]
    public void Nothing_shows_before_the_commit_and_nothing_after_an_abandoned_one()
    {
        _routes.Set(Vrf, "10.0.0.0/8", 1);
        Assert.Equal(0u, _routes.Find(Vrf, "10.0.0.1"));
        _routes.Commit();
        long used = _routes.Writer.UsedBytes;

        _routes.Set(Vrf, "10.0.0.0/8", 2);
        _routes.Set(Vrf, "10.1.0.0/24", 3);
        _routes.Remove(Vrf, "10.0.0.0/8");
        _routes.Writer.Abandon();
        _routes.Writer.Reclaim();
        Assert.Equal(1u, _routes.Find(Vrf, "10.1.0.1"));
        Assert.Equal(used, _routes.Writer.UsedBytes);
        KeyValuePair<RoutePrefix, uint> only = Assert.Single(_routes.Writer.Prefixes4(Vrf));
        Assert.Equal((RoutePrefix.Of4(10u << 24, 8), 1u), (only.Key, only.Value));
    }

    [Fact]
    public void A_full_memory_is_said_and_abandoned()
    {
        using var small = new TestRoutes(64 << 10);
        small.Set(Vrf, "10.0.0.0/8", 1);
        small.Commit();
        long used = small.Writer.UsedBytes;
        var full = Assert.Throws<RouteMemoryException>(() =>
        {
            for (uint i = 0; i < 10_000; i++)
            {
                small.Writer.Set4(Vrf, RoutePrefix.Of4(i * 0x9E3779B1, 32), 2);
            }
        });
        Assert.Contains("64 KiB", full.Message);
        small.Writer.Abandon();
        Assert.Equal(used, small.Writer.UsedBytes);
        Assert.Single(small.Writer.Prefixes4(Vrf));
        small.Set(Vrf, "11.0.0.0/8", 2);
        small.Commit();
        Assert.Equal((1u, 2u), (small.Find(Vrf, "10.9.9.9"), small.Find(Vrf, "11.9.9.9")));
    }

    [Fact]
    public void Another_writer_goes_on_with_the_same_memory()
    {
        var random = new Random(3);
        for (int i = 0; i < 2000; i++)
        {
            _routes.Set(Vrf, TestRoutes.RandomPrefix4(random), (uint)(1 + random.Next(100)));
            _routes.Set(Vrf, TestRoutes.RandomPrefix6(random), (uint)(1 + random.Next(100)));
        }
        _routes.Commit();
        _routes.Writer.Set4(Vrf, RoutePrefix.Of4(1, 32), 5); // not committed
        long committed = _routes.CommittedBytes;

        RouteWriter second = _routes.TakeOver();
        Assert.Equal(committed, second.UsedBytes);
        Assert.DoesNotContain(RoutePrefix.Of4(1, 32), second.Prefixes4(Vrf).Keys);
        foreach (RoutePrefix prefix in second.Prefixes4(Vrf).Keys.ToArray())
        {
            Assert.True(second.Remove4(Vrf, prefix));
        }
        foreach (RoutePrefix prefix in second.Prefixes6(Vrf).Keys.ToArray())
        {
            Assert.True(second.Remove6(Vrf, prefix));
        }
        _routes.Commit();
        Assert.Equal(0, second.UsedBytes);
        Assert.Equal(0u, _routes.Find(Vrf, "10.0.0.1"));
    }

    /// <summary>Prefixes of all lengths on the way to one address, each with its length as next hop: as many nodes as there can be.</summary>
    [Theory]
    [InlineData("203.0.113.77", 32)]
    [InlineData("2001:db8:7a5c:1:fedc:ba98:7654:3210", 128)]
    public void Every_length_is_found_on_one_way(string address, int bits)
    {
        for (int length = bits; length >= 0; length--)
        {
            _routes.Set(Vrf, $"{address}/{length}", (uint)length + 1);
        }
        _routes.Commit();
        // Addresses that have exactly so many bits in common with it.
        for (int common = 0; common <= bits; common++)
        {
            Assert.Equal((uint)common + 1, Find(Flipped(address, common)));
        }
        for (int length = bits; length >= 1; length--)
        {
            Assert.True(_routes.Remove(Vrf, $"{address}/{length}"));
            _routes.Commit();
            Assert.Equal((uint)length, Find(address));
        }

        uint Find(string text)
        {
            uint single = _routes.Find(Vrf, text);
            Assert.All(_routes.FindBurst(Vrf, [text, address, text]).Where((_, i) => i != 1), found => Assert.Equal(single, found));
            return single;
        }
    }

    /// <summary>The address with one bit changed; unchanged for the number of all bits.</summary>
    private static string Flipped(string address, int bit)
    {
        byte[] bytes = IPAddress.Parse(address).GetAddressBytes();
        if (bit < bytes.Length * 8)
        {
            bytes[bit / 8] ^= (byte)(0x80 >> (bit % 8));
        }
        return new IPAddress(bytes).ToString();
    }

    [Fact]
    public void A_burst_that_is_too_large_is_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => _routes.Table.Find4(0, null, null, RouteTable.BatchLimit + 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => _routes.Table.Find6(0, null, null, -1));
    }

    [Fact]
    public void A_look_up_allocates_nothing()
    {
        _routes.Set(Vrf, "10.0.0.0/8", 1);
        _routes.Set(Vrf, "fd00::/64", 2);
        _routes.Commit();
        uint* addresses = stackalloc uint[RouteTable.BatchLimit];
        ulong* addresses6 = stackalloc ulong[2 * RouteTable.BatchLimit];
        uint* results = stackalloc uint[RouteTable.BatchLimit];
        new Span<uint>(addresses, RouteTable.BatchLimit).Fill(0x0A00_0001);
        new Span<ulong>(addresses6, 2 * RouteTable.BatchLimit).Fill(0xFD00_0000_0000_0000);
        (uint root4, uint root6) = _routes.Roots(Vrf);
        _routes.Table.Find4(root4, addresses, results, 1);
        _routes.Table.Find6(root6, addresses6, results, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            _routes.Table.Find4(root4, addresses, results, RouteTable.BatchLimit);
            _routes.Table.Find6(root6, addresses6, results, RouteTable.BatchLimit);
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }
}
