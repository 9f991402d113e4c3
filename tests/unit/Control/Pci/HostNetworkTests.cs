using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Control.Pci;

/// <summary>Which devices a default route depends on.</summary>
public sealed class HostNetworkTests
{
    [Theory]
    [InlineData("1 eth0; 2 eth1", 1, "1")]
    [InlineData("1 eth0 master=3; 2 eth1 master=3; 3 bond0; 4 eth2", 3, "1,2,3")]
    [InlineData("1 eth0 master=3; 3 bond0 master=5; 5 br0; 6 eth1", 5, "1,3,5")]
    [InlineData("1 eth0; 2 eth0.10 link=1; 3 eth1", 2, "1,2")]
    [InlineData("1 eth0 master=2; 2 bond0; 3 bond0.10 link=2 master=4; 4 br0", 4, "1,2,3,4")]
    [InlineData("1 eth0; 2 veth0 link=1 kind=veth", 2, "2")]
    [InlineData("1 eth0", 9, "9")]
    public void TheRoutesWayDownIsFollowed(string links, int routed, string carriers) =>
        Assert.Equal(carriers, string.Join(',', HostNetwork.Carriers([.. links.Split("; ").Select(Link)], [routed]).Order()));

    [Fact]
    public void ThisMachinesInterfacesAreListed()
    {
        HostInterface loopback = Assert.Single(new HostNetwork().List(), i => i.Name == "lo");
        Assert.False(loopback.CarriesDefaultRoute);
        Assert.Null(loopback.Upper);
    }

    private static LinkInfo Link(string text)
    {
        string[] words = text.Split(' ');
        string? Word(string key) => words.FirstOrDefault(w => w.StartsWith(key, StringComparison.Ordinal))?[key.Length..];
        return new LinkInfo
        {
            Index = int.Parse(words[0], System.Globalization.CultureInfo.InvariantCulture), Name = words[1], Kind = Word("kind=") ?? "vlan",
            Master = int.Parse(Word("master=") ?? "0", System.Globalization.CultureInfo.InvariantCulture),
            Link = int.Parse(Word("link=") ?? "0", System.Globalization.CultureInfo.InvariantCulture),
        };
    }
}
