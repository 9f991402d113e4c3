using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Packets;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>The values of leases, byte for byte as flanneld writes them.</summary>
public sealed class LeaseAttributesTests
{
    /// <summary>The first is the sample in flannel's Documentation/reservations.md.</summary>
    public static TheoryData<string, string?, string?, string, string?, string?> Samples { get; } = new()
    {
        {
            """{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}""",
            "192.168.64.3", null, "vxlan", "c6:d2:32:6f:8f:44", null
        },
        {
            """{"PublicIP":"192.168.64.3","PublicIPv6":"fd00:9::3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}}""",
            "192.168.64.3", "fd00:9::3", "vxlan", "c6:d2:32:6f:8f:44", "0a:00:00:00:00:01"
        },
        {
            """{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::5efe:102:304","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}}""",
            null, "2001:db8::5efe:102:304", "vxlan", null, "0a:00:00:00:00:01"
        },
        { """{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}""", "192.168.64.3", null, "host-gw", null, null },
        { """{"PublicIP":"192.168.64.3","PublicIPv6":null}""", "192.168.64.3", null, "", null, null },
    };

    [Theory]
    [MemberData(nameof(Samples))]
    public void AreFlanneldsBytes(string json, string? ipv4, string? ipv6, string type, string? mac, string? mac6)
    {
        LeaseAttributes read = LeaseAttributes.Parse(json);
        Assert.Equal((ipv4, ipv6, type), (read.PublicIP?.ToString(), read.PublicIPv6?.GoText, read.BackendType));
        Assert.Equal((mac, mac6), (read.Vtep?.Mac.ToString(), read.VtepV6?.Mac.ToString()));
        Assert.Equal(json, read.ToJson());
        var made = new LeaseAttributes
        {
            PublicIP = ipv4 is null ? null : IPAddress.Parse(ipv4),
            PublicIPv6 = ipv6 is null ? null : IPAddress.Parse(ipv6),
            BackendType = type,
            Vtep = mac is null ? null : new Vtep(1, MacAddress.Parse(mac)),
            VtepV6 = mac6 is null ? null : new Vtep(1, MacAddress.Parse(mac6)),
        };
        Assert.Equal(made, read);
    }

    [Theory]
    // Old flannelds say neither PublicIPv6 nor VNI; Go matches names whatever their case.
    [InlineData("""{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"c6:d2:32:6f:8f:44"}}""")]
    [InlineData("""{ "publicip": "10.0.0.1", "backendType": "vxlan", "backendData": {"vtepmac": "C6:D2:32:6F:8F:44", "more": 1}, "unknown": [] }""")]
    public void AreReadAsGoReads(string json)
    {
        LeaseAttributes read = LeaseAttributes.Parse(json);
        Assert.Equal(("10.0.0.1", "c6:d2:32:6f:8f:44", null), (read.PublicIP?.ToString(), read.Vtep?.Mac.ToString(), read.Vtep?.Vni));
    }

    [Fact]
    public void AnotherBackendsDataIsNoneOfOurs()
    {
        LeaseAttributes read = LeaseAttributes.Parse("""{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"wireguard","BackendData":{"PublicKey":"abc="}}""");
        Assert.Equal(("wireguard", null), (read.BackendType, read.Vtep));
        Assert.Null(LeaseAttributes.Parse("""{"PublicIP":"10.0.0.1","BackendType":"host-gw","BackendData":"dW5rbm93bg=="}""").Vtep);
    }

    [Theory]
    [InlineData("", "it is no JSON")]
    [InlineData("[]", "it is [], not an object")]
    [InlineData("""{"PublicIP":"10.0.0","BackendType":7}""", """BackendType is 7, not a text; PublicIP is "10.0.0", not an IPv4 address""")]
    [InlineData("""{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VNI":-1,"VtepMAC":"c6:d2"}}""",
        """BackendData.VtepMAC is "c6:d2", not the MAC address of a device; BackendData.VNI is -1, not a whole number from 0 to 16777215""")]
    [InlineData("""{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"ff:ff:ff:ff:ff:ff"}}""", "BackendData.VtepMAC is")]
    public void WhatIsNoneIsToldWhole(string json, string message) =>
        Assert.StartsWith(message, Assert.Throws<FormatException>(() => LeaseAttributes.Parse(json)).Message, StringComparison.Ordinal);
}
