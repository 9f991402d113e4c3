using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control.Flannel;

public sealed class AddressesTests
{
    [Theory]
    [InlineData("10.5.34.0", "10.5.34.0")]
    [InlineData("fd00:0:0:7:0:0:0:0", "fd00:0:0:7::")]
    [InlineData("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1")]     // a single zero stays
    [InlineData("2001:0:0:1:0:0:0:1", "2001:0:0:1::1")]              // the longer run
    [InlineData("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1")]        // the first of equals
    [InlineData("::", "::")]
    [InlineData("::1", "::1")]
    [InlineData("::1:2", "::1:2")]                                   // .NET: ::0.1.0.2
    [InlineData("fd00::5efe:102:304", "fd00::5efe:102:304")]         // .NET: fd00::5efe:1.2.3.4
    [InlineData("FD00:ABCD::", "fd00:abcd::")]
    public void AreWrittenAsGoDoes(string text, string written) => Assert.Equal(written, IPAddress.Parse(text).GoText);

    [Theory]
    [InlineData("10.255.255.255", 1u, "11.0.0.0")]
    [InlineData("255.255.255.255", 1u, "0.0.0.0")]
    [InlineData("fd00::ffff:ffff:ffff:ffff", 1u, "fd00:0:0:1::")]
    public void Count(string from, uint steps, string to) => Assert.Equal(IPAddress.Parse(to), IPAddress.Parse(from).Plus(steps));

    [Theory]
    [InlineData("10.5.0.0/16", "10.5.0.0", "10.5.255.255")]
    [InlineData("10.5.7.9/32", "10.5.7.9", "10.5.7.9")]
    [InlineData("0.0.0.0/0", "0.0.0.0", "255.255.255.255")]
    [InlineData("fd00::/8", "fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
    [InlineData("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
    public void APrefixHasAFirstAndALast(string prefix, string first, string last)
    {
        Assert.True(Cidr.TryParse(prefix, out Cidr cidr));
        Assert.Equal((IPAddress.Parse(first), IPAddress.Parse(last)), (Addresses.FromNumber(cidr.Range.First, cidr.Bits), Addresses.FromNumber(cidr.Range.Last, cidr.Bits)));
    }
}
