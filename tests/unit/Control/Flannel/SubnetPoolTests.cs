using Dataplane.Control.Flannel;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>The choice among free subnets.</summary>
public sealed class SubnetPoolTests
{
    private readonly Random _random = new(20260101);

    private static Cidr Prefix(string text) => Cidr.TryParse(text, out Cidr cidr) ? cidr : throw new FormatException(text);

    private static SubnetPool Pool(string network, int length, string first, string last)
    {
        Cidr prefix = Prefix(network);
        return new SubnetPool(prefix, length, System.Net.IPAddress.Parse(first).Number, System.Net.IPAddress.Parse(last).Number);
    }

    [Theory]
    [InlineData("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0", 255)]
    [InlineData("10.3.0.0/26", 30, "10.3.0.4", "10.3.0.60", 15)]
    [InlineData("255.255.0.0/16", 22, "255.255.4.0", "255.255.252.0", 63)]
    [InlineData("fc00::/56", 64, "fc00:0:0:1::", "fc00:0:0:ff::", 255)]
    public void EverySubnetIsGivenOnceAndNoOther(string network, int length, string first, string last, int count)
    {
        SubnetPool pool = Pool(network, length, first, last);
        Assert.Equal((UInt128)count, pool.Count);
        var taken = new List<Cidr>();
        while (pool.Choose(taken, _random) is { } subnet)
        {
            Assert.True(pool.Allows(subnet));
            Assert.DoesNotContain(taken, subnet.Overlaps);
            taken.Add(subnet);
        }
        Assert.Equal(count, taken.Count);
    }

    [Fact]
    public void EachFreeOneIsAsLikely()
    {
        SubnetPool pool = Pool("10.3.0.0/16", 24, "10.3.1.0", "10.3.16.0");
        // What is taken may be larger, smaller, outside, overlapping, of another family.
        Cidr[] taken = [Prefix("10.3.2.0/23"), Prefix("10.3.3.0/24"), Prefix("10.3.9.64/26"), Prefix("10.3.9.128/26"), Prefix("10.3.0.0/24"), Prefix("10.3.200.0/24"), Prefix("10.3.16.0/20"), Prefix("fd00::/64")];
        var seen = new Dictionary<string, int>();
        for (int i = 0; i < 12_000; i++)
        {
            string subnet = pool.Choose(taken, _random)!.Value.ToString();
            seen[subnet] = seen.GetValueOrDefault(subnet) + 1;
        }
        Assert.Equal(["1", "10", "11", "12", "13", "14", "15", "4", "5", "6", "7", "8"], seen.Keys.Select(k => k.Split('.')[2]).Order(StringComparer.Ordinal));
        Assert.All(seen.Values, n => Assert.InRange(n, 800, 1200)); // 1000 and 6 standard deviations; the seed is fixed
    }

    [Fact]
    public void AHugePoolIsNotWalked()
    {
        SubnetPool pool = Pool("fc00::/8", 126, "fc00::4", "fcff:ffff:ffff:ffff:ffff:ffff:ffff:fffc");
        Cidr[] seen = [.. Enumerable.Range(0, 100).Select(_ => pool.Choose([Prefix("fc00::/9")], _random)!.Value)];
        Assert.Equal(100, seen.Distinct().Count());
        Assert.All(seen, s => Assert.False(s.Overlaps(Prefix("fc00::/9"))));
        Assert.Null(pool.Choose([Prefix("::/0")], _random));
    }

    [Theory]
    [InlineData("10.3.1.0/24", true)]
    [InlineData("10.3.16.0/24", true)]
    [InlineData("10.3.0.0/24", false)]
    [InlineData("10.3.17.0/24", false)]
    [InlineData("10.3.4.0/25", false)]
    [InlineData("fd00::/24", false)]
    public void OnlySubnetsOfItsRangeAndLengthAreAllowed(string subnet, bool allowed) =>
        Assert.Equal(allowed, Pool("10.3.0.0/16", 24, "10.3.1.0", "10.3.16.0").Allows(Prefix(subnet)));
}
