using Dataplane.Control.Flannel;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>The names of flannel's keys. Those of its own tests (pkg/subnet/subnet_test.go) are among the rows.</summary>
public sealed class LeaseSubnetsTests
{
    [Theory]
    [InlineData("10.5.34.0-24", "10.5.34.0/24", null)]
    [InlineData("10.12.13.0-24", "10.12.13.0/24", null)]
    [InlineData("10.12.13.0-24&fd00:12:13::-56", "10.12.13.0/24", "fd00:12:13::/56")]
    [InlineData("10.5.34.0-24&fd00:10:0:7::-64", "10.5.34.0/24", "fd00:10:0:7::/64")]
    [InlineData("0.0.0.0-0&fd00:10:0:7::-64", null, "fd00:10:0:7::/64")]
    [InlineData("10.5.34.4-30&fd00::4-126", "10.5.34.4/30", "fd00::4/126")]
    public void AKeyNamesThem(string key, string? ipv4, string? ipv6)
    {
        Assert.True(LeaseSubnets.TryParse(key, out LeaseSubnets? subnets));
        Assert.Equal((ipv4, ipv6), (subnets.Value.IPv4?.ToString(), subnets.Value.IPv6?.ToString()));
        Assert.Equal(key, subnets.Value.Key);
    }

    [Theory]
    [InlineData("10")]
    [InlineData("10.12.13.0")]
    [InlineData("10.12.13-24")]
    [InlineData("10.12.13.300-24")]
    [InlineData("10.12.13.0-24hi")]
    [InlineData("&2001::-56")]
    [InlineData("10.12.13.0-24&:12:13:-56")]
    [InlineData("10.12.13.0-24&20011::-56")]
    [InlineData("10.12.13.0-24&2001-56")]
    [InlineData("10.12.13.0-24&2001::")]
    [InlineData("10.12.13.0-24&2001::-56hi")]
    [InlineData("10.12.13.0-32")]
    [InlineData("10.12.13.7-24")]               // a host in it, not the subnet
    [InlineData("010.12.13.0-24")]
    [InlineData("10.12.13.0-024")]
    [InlineData("10.12.13.0-24&fd00:0::-64")]   // one lease, one key
    [InlineData("0.0.0.0-0")]
    [InlineData("")]
    [InlineData("nested/10.12.13.0-24")]
    public void OtherKeysAreNone(string key) => Assert.False(LeaseSubnets.TryParse(key, out _));
}
