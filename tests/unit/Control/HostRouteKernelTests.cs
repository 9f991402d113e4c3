using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Dataplane.Packets;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Control;

/// <summary>A host port's routes in a real kernel, in a namespace of its own.</summary>
public sealed class HostRouteKernelTests : IDisposable
{
    private readonly TestNamespace _host = new();

    public void Dispose() => _host.Dispose();

    private DeviceSpec Spec => new()
    {
        Kind = DeviceKind.Tap,
        Device = "dp0",
        EngineSpec = "tap:dp0",
        Netns = _host.Name,
        Mtu = 1500,
        Mac = MacAddress.Parse("02:00:00:00:00:01"),
        Addresses = [Prefix("172.18.0.1/16"), Prefix("fd00::1/64")],
        RouterMac = MacAddress.Parse("02:00:00:00:00:02"),
    };

    private static Cidr Prefix(string text) => Cidr.TryParse(text, out Cidr cidr) ? cidr : throw new FormatException(text);

    private string Ip(string words) => string.Join('\n', _host.Exec(["ip", .. words.Split(' ')]).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    [RootFact]
    public void RoutesComeGoAndAreFoundAgain()
    {
        var devices = new TapDevices();
        using IPortDevice device = devices.Create(Spec, 1);
        device.Connect();
        device.Route([Prefix("10.7.0.0/16"), Prefix("2001:db8::/64")], remove: null);
        Assert.Contains("169.254.0.1 lladdr 02:00:00:00:00:02 PERMANENT", Ip("neigh show dev dp0"), StringComparison.Ordinal);
        Assert.Contains("fe80::ff:fe00:2 lladdr 02:00:00:00:00:02 PERMANENT", Ip("-6 neigh show dev dp0"), StringComparison.Ordinal);
        Assert.Contains("10.7.0.0/16 via 169.254.0.1 proto static metric 7411 onlink", Ip("route show dev dp0"), StringComparison.Ordinal);
        Assert.Contains("2001:db8::/64 via fe80::ff:fe00:2 proto static metric 7411", Ip("-6 route show dev dp0"), StringComparison.Ordinal);
        Assert.Contains("via 169.254.0.1 dev dp0 src 172.18.0.1", Ip("route get 10.7.1.2"), StringComparison.Ordinal);

        device.Route([Prefix("10.8.0.0/16"), Prefix("10.7.0.0/16")], [Prefix("2001:db8::/64"), Prefix("10.9.0.0/16")]);
        Assert.DoesNotContain("2001:db8", Ip("-6 route show dev dp0"), StringComparison.Ordinal);
        // As a process that takes over does, which knows only what it wants.
        Ip("route add 10.99.0.0/16 via 172.18.0.9 dev dp0");
        device.Route([Prefix("10.8.0.0/16")], remove: null);
        string routes = Ip("route show dev dp0");
        Assert.DoesNotContain("10.7.0.0/16", routes, StringComparison.Ordinal);
        Assert.Contains("10.8.0.0/16", routes, StringComparison.Ordinal);
        Assert.Contains("10.99.0.0/16 via 172.18.0.9", routes, StringComparison.Ordinal);
    }

    [RootFact]
    public void WhatOthersMadeComesFirst()
    {
        using IPortDevice device = new TapDevices().Create(Spec, 1);
        device.Connect();
        Ip("route add 10.7.0.0/16 via 172.18.0.9 dev dp0");
        device.Route([Prefix("10.7.0.0/16")], remove: null);
        Assert.Contains("via 172.18.0.9 dev dp0", Ip("route get 10.7.1.2"), StringComparison.Ordinal);
        device.Route([], remove: null);
        Assert.Contains("10.7.0.0/16 via 172.18.0.9", Ip("route show dev dp0"), StringComparison.Ordinal);
    }

    [RootFact]
    public void ARouterThatGoesTakesItsNeighboursAlong()
    {
        using IPortDevice device = new TapDevices().Create(Spec, 1);
        device.Update(Spec with { RouterMac = MacAddress.Parse("02:00:00:00:00:03") });
        Assert.Equal("169.254.0.1 lladdr 02:00:00:00:00:03 PERMANENT", Ip("-4 neigh show dev dp0"));
        Assert.Equal("fe80::ff:fe00:3 lladdr 02:00:00:00:00:03 PERMANENT", Ip("-6 neigh show dev dp0"));
        device.Update(Spec with { RouterMac = null });
        Assert.Equal("", Ip("neigh show dev dp0"));
    }
}
