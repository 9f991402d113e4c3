using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control;

/// <summary>What the host reaches by way of a router, through changes, failures and a new control process.</summary>
public sealed class HostRouteTests : IDisposable
{
    private readonly Bench _bench = new();

    public void Dispose() => _bench.Dispose();

    private FakeDevice Device(string name) => _bench.Devices.Existing[$"/{name}"];

    private string Routes(string device = "dp0") => string.Join(' ', Device(device).Routes.Order(StringComparer.Ordinal));

    private Task Start() => _bench.Apply(
        Routed("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1"), Routed("green", "10.7.0.0/16", "10.7.0.1"),
        Make.Tap("dp0", "blue", more: p => p.Tap.Host = true), Make.Routed("uplink", "192.0.2.10/24 2001:db8::10/64"));

    private static Resource Routed(string name, string subnets, string gateways, string vrf = "") =>
        Make.Net(name, subnets, gateways, n => n.Router = new Router { Vrf = vrf });

    [Fact]
    public async Task SubnetsAndRoutesOfTheVrfAreReachedByTheRouter()
    {
        await Start();
        Network blue = _bench.Controller.State.Networks["blue"].Spec;
        Assert.Equal(blue.SecondMac, Device("dp0").Spec.RouterMac);
        Assert.True(Device("dp0").Spec.RouterIPv6!.IsIPv6LinkLocal);
        Assert.Equal("10.7.0.0/16 192.0.2.0/24 2001:db8::/64", Routes());
        await _bench.Apply(Make.Route("10.50.0.0/16", "192.0.2.1"), Make.Route("0.0.0.0/0", "192.0.2.1"), Make.Route("10.51.0.0/16", more: r => r.Type = Route.Types.Type.Blackhole),
            Make.Route("10.96.0.0/12", more: r => r.Type = Route.Types.Type.Services));
        Assert.Equal("10.50.0.0/16 10.7.0.0/16 10.96.0.0/12 192.0.2.0/24 2001:db8::/64", Routes()); // the host's default route is its own
        await _bench.Apply(Routed("guests", "10.9.0.0/16", "10.9.0.1", "guests"));
        Assert.DoesNotContain("10.9.0.0/16", Routes(), StringComparison.Ordinal);
        await _bench.Delete((Kind.Route, "main/10.50.0.0/16"), (Kind.Route, "main/10.96.0.0/12"), (Kind.Network, "green"));
        Assert.Equal("192.0.2.0/24 2001:db8::/64", Routes());
    }

    [Fact]
    public async Task OneHostPortOfAVrfCarriesThem()
    {
        await Start();
        await _bench.Apply(Make.Tap("dp1", "green", more: p => p.Tap.Host = true));
        Assert.Equal(("192.0.2.0/24 2001:db8::/64", ""), (Routes(), Routes("dp1")));
        await _bench.Delete((Kind.Port, "dp0"));
        Assert.Equal("172.18.0.0/16 192.0.2.0/24", Routes("dp1")); // green has no IPv6 address
    }

    [Fact]
    public async Task WithoutRouterThereIsNothingToReach()
    {
        await Start();
        await _bench.Apply(Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1"));
        Assert.Null(Device("dp0").Spec.RouterMac);
        Assert.Empty(Device("dp0").Routes);
    }

    [Fact]
    public async Task WhatCannotBeSetIsTriedAgainAndRefusesNothing()
    {
        await Start();
        _bench.Devices.Fails.Add("route dp0");
        await _bench.Apply(Make.Route("10.50.0.0/16", "192.0.2.1"));
        Assert.DoesNotContain("10.50", Routes(), StringComparison.Ordinal);
        _bench.Devices.Fails.Clear();
        await _bench.Controller.TickAsync(CancellationToken.None);
        Assert.Contains("10.50.0.0/16", Routes(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ANewDeviceAndANewProcessHaveThemToo()
    {
        await Start();
        string routes = Routes();
        Device("dp0").Routes.Clear();
        Device("dp0").Routes.Add("10.99.0.0/16"); // of an earlier state
        _bench.Controller = _bench.NewController();
        await _bench.Controller.ResumeAsync(CancellationToken.None);
        Assert.Equal(routes, Routes());
        Device("dp0").Lost = "deleted";
        await _bench.Controller.TickAsync(CancellationToken.None);
        Assert.Equal(routes, Routes());
    }
}
