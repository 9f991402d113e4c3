using System.Net;
using Dataplane.Control.State;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Control;

public sealed class CidrTests
{
    [Theory]
    [InlineData("172.18.0.2/16", "172.18.0.0/16")]
    [InlineData("172.18.255.255/12", "172.16.0.0/12")]
    [InlineData("10.1.2.3/32", "10.1.2.3/32")]
    [InlineData("10.1.2.3/0", "0.0.0.0/0")]
    [InlineData("10.1.2.255/25", "10.1.2.128/25")]
    [InlineData("fd00::1:2/64", "fd00::/64")]
    [InlineData("fd00::ffff/121", "fd00::ff80/121")]
    public void HasAPrefix(string text, string prefix)
    {
        Assert.True(Cidr.TryParse(text, out Cidr cidr));
        Assert.Equal(text, cidr.ToString());
        Assert.Equal(prefix, cidr.Prefix.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("172.18.0.2")]
    [InlineData("172.18.0.2/")]
    [InlineData("172.18.0.2/33")]
    [InlineData("172.18.0.2/-1")]
    [InlineData("172.18.0.2/+1")]
    [InlineData("172.18/16")]
    [InlineData("0x7f.1.1.1/8")]
    [InlineData("010.0.0.1/8")]
    [InlineData("fd00::1/129")]
    [InlineData("fe80::1%eth0/64")]
    [InlineData("[fd00::1]/64")]
    [InlineData("host/24")]
    public void IsRefused(string text) => Assert.False(Cidr.TryParse(text, out _));

    [Theory]
    [InlineData("10.0.0.0/8", "10.255.0.1", true)]
    [InlineData("10.0.0.0/8", "11.0.0.0", false)]
    [InlineData("fd00::/64", "fd00::1", true)]
    [InlineData("fd00::/64", "10.0.0.1", false)]
    [InlineData("0.0.0.0/0", "::1", false)]
    public void Contains(string prefix, string address, bool inside)
    {
        Assert.True(Cidr.TryParse(prefix, out Cidr cidr));
        Assert.Equal(inside, cidr.Contains(IPAddress.Parse(address)));
    }

    [Theory]
    [InlineData("10")]
    [InlineData("1-4094")]
    [InlineData("100 - 199")]
    public void RangesAreRead(string text) => Assert.Null(VlanRanges.TryParse(text, out _));

    [Fact]
    public void RangesBecomeSets()
    {
        VlanSet set = VlanRanges.ToSet(["5", "62-65", "4094"]);
        Assert.Equal([5, 62, 63, 64, 65, 4094], Enumerable.Range(0, 4096).Where(v => VlanSet.Contains(in set, v)));
        VlanSet all = VlanRanges.ToSet([]);
        Assert.Equal(4094, Enumerable.Range(0, 4096).Count(v => VlanSet.Contains(in all, v)));
    }
}
