using Dataplane.Control.Flannel;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>flannel's network configuration; the numbers are those of its own tests (pkg/subnet/config_test.go) where it has them.</summary>
public sealed class FlannelConfigTests
{
    private const string Vxlan = "\"Backend\": {\"Type\": \"vxlan\"}";

    [Theory]
    [InlineData("\"network\": \"10.3.0.0/16\"", "10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")]
    [InlineData("\"Network\": \"10.3.7.9/16\"", "10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")]
    [InlineData("\"Network\": \"10.3.0.0/16\", \"SubnetMin\": \"10.3.5.0\", \"SubnetMax\": \"10.3.8.0\", \"SubnetLen\": 28", "10.3.0.0/16", 28, "10.3.5.0", "10.3.8.0")]
    [InlineData("\"Network\": \"10.0.0.0/8\", \"SubnetLen\": 20, \"SubnetMin\": \"10.10.0.0\", \"SubnetMax\": \"10.99.0.0\"", "10.0.0.0/8", 20, "10.10.0.0", "10.99.0.0")]
    [InlineData("\"Network\": \"10.3.0.0/22\"", "10.3.0.0/22", 24, "10.3.1.0", "10.3.3.0")]
    [InlineData("\"Network\": \"10.3.0.0/23\"", "10.3.0.0/23", 25, "10.3.0.128", "10.3.1.128")]
    [InlineData("\"Network\": \"10.3.0.0/28\"", "10.3.0.0/28", 30, "10.3.0.4", "10.3.0.12")]
    [InlineData("\"Network\": \"10.3.0.0/16\", \"SubnetMin\": \"0.0.0.0\", \"SubnetLen\": 0", "10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")]
    [InlineData("\"Network\": \"255.0.0.0/8\"", "255.0.0.0/8", 24, "255.0.1.0", "255.255.255.0")] // the last of all
    public void IPv4(string json, string network, int length, string first, string last) => AssertPool(Read($"{{{json}, {Vxlan}}}").IPv4!, network, length, first, last);

    [Theory]
    [InlineData("\"ipv6Network\": \"fc00::/48\"", "fc00::/48", 64, "fc00:0:0:1::", "fc00:0:0:ffff::")]
    [InlineData("\"IPv6Network\": \"fc00::/48\", \"IPv6SubnetMin\": \"fc00:0:0:1::\", \"IPv6SubnetMax\": \"fc00:0:0:f::\", \"IPv6SubnetLen\": 124", "fc00::/48", 124, "fc00:0:0:1::", "fc00:0:0:f::")]
    [InlineData("\"IPv6Network\": \"fc00::/63\"", "fc00::/63", 65, "fc00::8000:0:0:0", "fc00:0:0:1:8000::")]
    [InlineData("\"IPv6Network\": \"fc00::/124\"", "fc00::/124", 126, "fc00::4", "fc00::c")]
    public void IPv6(string json, string network, int length, string first, string last)
    {
        FlannelConfig config = Read($"{{\"enableIPv6\": true, \"enableIPv4\": false, {json}, {Vxlan}}}");
        Assert.Null(config.IPv4);
        AssertPool(config.IPv6!, network, length, first, last);
    }

    [Fact]
    public void TheBackendHasFlannelsDefaults()
    {
        FlannelConfig plain = Read($"{{\"Network\": \"10.3.0.0/16\", {Vxlan}}}");
        Assert.Equal((FlannelBackend.Vxlan, "vxlan", 1u, 8472, false, 0), (plain.Backend, plain.BackendType, plain.Vni, plain.Port, plain.DirectRouting, plain.Mtu));
        FlannelConfig full = Read("""{"Network": "10.3.0.0/16", "Backend": {"type": "VXLAN", "vni": 4096, "port": 4789, "directRouting": true, "mtu": 9000, "learning": true, "gbp": false, "Name": "flannel.7"}}""");
        Assert.Equal((4096u, 4789, true, 9000), (full.Vni, full.Port, full.DirectRouting, full.Mtu));
        Assert.Equal(8472, Read("""{"Network": "10.3.0.0/16", "Backend": {"Type": "vxlan", "Port": 0}}""").Port);
        FlannelConfig routes = Read("""{"Network": "10.3.0.0/16", "Backend": {"Type": "host-gw"}}""");
        Assert.Equal((FlannelBackend.HostGateway, "host-gw"), (routes.Backend, routes.BackendType));
    }

    [Theory]
    [InlineData("", "it is no JSON")]
    [InlineData("7", "it is 7, not an object")]
    [InlineData("{\"EnableIPv4\": false, #}", "EnableIPv4 and EnableIPv6 are both off")]
    [InlineData("{#}", "Network is missing")]
    [InlineData("{\"EnableIPv6\": true, \"Network\": \"10.3.0.0/16\", #}", "IPv6Network is missing")]
    [InlineData("{\"Network\": \"fd00::/48\", #}", "Network is \"fd00::/48\", not an IPv4 prefix (10.5.0.0/16)")]
    [InlineData("{\"Network\": \"10.3.0.0/29\", #}", "Network 10.3.0.0/29 is too small: /28 at most")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetLen\": 31, #}", "SubnetLen is 31: with Network 10.3.0.0/16 it goes from 18 to 30")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetLen\": 17, #}", "SubnetLen is 17: with Network 10.3.0.0/16 it goes from 18 to 30")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetLen\": \"24\", #}", "SubnetLen is \"24\", not a whole number from 0 to 32")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetMin\": \"10.4.0.0\", #}", "SubnetMin 10.4.0.0 is outside Network 10.3.0.0/16|SubnetMin is above SubnetMax")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetMax\": \"10.3.9.1\", #}", "SubnetMax 10.3.9.1 is not the beginning of a /24")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"SubnetMin\": \"10.3.9.0\", \"SubnetMax\": \"10.3.8.0\", #}", "SubnetMin is above SubnetMax")]
    [InlineData("{\"EnableIPv6\": true, \"EnableIPv4\": false, \"IPv6Network\": \"fc00::/48\", \"IPv6SubnetLen\": 127, #}", "IPv6SubnetLen is 127: with IPv6Network fc00::/48 it goes from 50 to 126")]
    [InlineData("{\"Network\": \"10.3.0.0/16\"}", "Backend is missing, for which flanneld takes \"udp\"; it has to be {\"Type\": \"vxlan\"} or {\"Type\": \"host-gw\"}")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"Backend\": {}}", "Backend.Type is missing; it has to be {\"Type\": \"vxlan\"} or {\"Type\": \"host-gw\"}")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"Backend\": {\"Type\": \"wireguard\"}}", "Backend.Type is \"wireguard\", which this switch does not speak; it has to be {\"Type\": \"vxlan\"} or {\"Type\": \"host-gw\"}")]
    [InlineData("{\"Network\": \"10.3.0.0/16\", \"Backend\": {\"Type\": \"vxlan\", \"VNI\": 16777216, \"Port\": 65536, \"MTU\": 100, \"GBP\": true, \"Learning\": 1, \"DirectRouting\": \"yes\"}}",
        "Backend.GBP is on: this switch sends and takes the plain header of RFC 7348 only|Backend.Learning is 1, not true or false|Backend.VNI is 16777216, not a whole number from 1 to 16777215|"
        + "Backend.Port is 65536, not a whole number from 0 to 65535|Backend.DirectRouting is \"yes\", not true or false|Backend.MTU is 100: 118 at least, that of the tunnel included")]
    public void WhatIsWrongIsToldAllAtOnce(string json, string problems)
    {
        FlannelConfigException error = Assert.Throws<FlannelConfigException>(() => Read(json.Replace("#", Vxlan, StringComparison.Ordinal)));
        if (problems.StartsWith("it is no JSON", StringComparison.Ordinal))
        {
            Assert.StartsWith(problems, error.Problems[0], StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal(problems.Split('|'), json == "7" ? error.Problems.Take(1) : error.Problems);
        }
    }

    private static FlannelConfig Read(string json) => FlannelConfigReader.Read(json);

    private static void AssertPool(SubnetPool pool, string network, int length, string first, string last)
    {
        Assert.Equal((network, length), (pool.Network.ToString(), pool.SubnetLength));
        Assert.Equal((first, last), (Addresses.FromNumber(pool.First, pool.Network.Bits).GoText, Addresses.FromNumber(pool.Last, pool.Network.Bits).GoText));
    }
}
