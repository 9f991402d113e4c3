using Dataplane.Control.Flannel;

namespace Dataplane.UnitTests.Control.Flannel;

public sealed class FlannelOptionsTests
{
    [Theory]
    [InlineData("/coreos.com/network", "/coreos.com/network")]
    [InlineData("/coreos.com/network/", "/coreos.com/network")]
    [InlineData("//coreos.com//network/blue", "/coreos.com/network/blue")] // a network among several of old flannelds
    [InlineData("flannel/network", "flannel/network")]                     // without a slash it is another key
    public void APrefixIsThatOfGosPathJoin(string given, string prefix) => Assert.Equal(prefix, FlannelOptions.Clean(given));
}
