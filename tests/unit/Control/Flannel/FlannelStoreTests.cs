using Dataplane.Control.Api.V1;
using Dataplane.Control.Flannel;
using Dataplane.UnitTests.Control.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>flannel's network beside a cluster's desired state in the same etcd.</summary>
public sealed class FlannelStoreTests : IDisposable
{
    private readonly EtcdServer _etcd = new();
    private readonly TempDirectory _directory = new();

    public FlannelStoreTests() => _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""");

    public void Dispose()
    {
        _etcd.Dispose();
        _directory.Dispose();
    }

    private EtcdNode Node(string name) => new(FlannelNode.Etcd(_etcd.Address) with { Node = name }, _directory.File($"{name}.db"), FlannelResources.PodNetwork);

    private (FlannelService Service, Func<Task> End) Join(EtcdNode node, string name)
    {
        var end = new CancellationTokenSource();
        var options = new FlannelOptions { Underlay = "uplink", SubnetFile = _directory.File($"{name}.env"), Interval = TimeSpan.FromMilliseconds(20) };
        var service = new FlannelService(FlannelNode.Etcd(_etcd.Address), options, node.Bench.Controller, TimeProvider.System, NullLogger.Instance);
        Task running = service.RunAsync(end.Token);
        return (service, async () =>
        {
            await end.CancelAsync();
            await running;
            end.Dispose();
        });
    }

    [Fact]
    public async Task EveryNodeHasItsOwnAndTheStoreHasNone()
    {
        await using EtcdNode a = Node("a"), b = Node("b");
        await a.Store.InStep;
        await b.Store.InStep;
        await a.Bench.Apply(Make.Routed("uplink", "192.0.2.1/24"), Make.Net("shared", "172.18.0.0/16"));
        await b.Bench.Apply(Make.Routed("uplink", "192.0.2.2/24"));
        (FlannelService one, Func<Task> endOne) = Join(a, "a");
        (FlannelService two, Func<Task> endTwo) = Join(b, "b");
        await a.Until(n => n.State.Routes.Count == 1);
        await b.Until(n => n.State.Routes.Count == 1);
        await a.Bench.Apply(Make.Memory("web", "flannel"));
        Assert.NotEqual(a.State.Networks["flannel"].Spec.Subnets, b.State.Networks["flannel"].Spec.Subnets);
        Assert.Equal(
            ["/dp/networks/shared", "/dp/nodes/a/ports/uplink", "/dp/nodes/a/ports/web", "/dp/nodes/b/ports/uplink"],
            _etcd.Keys().Where(k => k.StartsWith("/dp/", StringComparison.Ordinal)));

        // A listing anew takes nothing away.
        _etcd.Stop();
        await a.Until(n => !n.Status.Available);
        _etcd.Start();
        await a.Until(n => n.Status.Available);
        _etcd.Put("/dp/networks/more", "{}");
        await a.Until(n => n.State.Networks.ContainsKey("more"));
        Assert.Equal(["flannel", "flannel.1", "more", "shared"], a.State.Networks.Keys);
        Assert.Equal((1, 1, 1), (a.State.Routes.Count, a.State.Peers.Count, a.State.Neighbours.Count));
        Assert.Equal("", a.Status.Reason);
        await endOne();
        await endTwo();
        Assert.Equal((FlannelStatus.Types.State.Leased, FlannelStatus.Types.State.Leased), (one.Status.State, two.Status.State));
    }

    [Fact]
    public async Task WhatTheStoreHasInFlannelsNetworkWaitsForIt()
    {
        _etcd.Put("/dp/nodes/a/ports/uplink", "{\"routed\": {\"addresses\": [\"192.0.2.1/24\"]}, \"memory\": {}}");
        _etcd.Put("/dp/nodes/a/ports/web", "{\"network\": \"flannel\", \"memory\": {}}");
        await using EtcdNode a = Node("a"); // without a copy of its own
        await a.Store.InStep.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal(["uplink"], a.State.Ports.Keys);
        Assert.Equal("port \"web\" waits for network \"flannel\", which this node makes", a.Status.Reason);
        (FlannelService _, Func<Task> end) = Join(a, "a");
        await a.Until(n => n.State.Ports.ContainsKey("web") && n.Status.Reason.Length == 0);
        await end();
    }
}
