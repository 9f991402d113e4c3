using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Grpc.Core;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>Desired state of a cluster in a real etcd: what is where, what others change, and etcd's absence.</summary>
public sealed class EtcdStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly EtcdServer _etcd = new();

    public void Dispose()
    {
        _etcd.Dispose();
        _directory.Dispose();
    }

    private EtcdOptions Options(string node) => new() { Servers = [_etcd.Address], Prefix = "/dp", Node = node, Patience = TimeSpan.FromMinutes(1) };

    private Task<EtcdNode> Node(string name) => EtcdNode.InStep(Options(name), _directory.File($"{name}.db"));

    [Fact]
    public async Task NetworksAreSharedAndPortsAreTheNodes()
    {
        await using EtcdNode a = await Node("a"), b = await Node("b");
        await a.Bench.Apply(Make.Net("blue", "172.18.0.0/16"), Make.Memory("web", "blue"), Make.Mac("blue", "02:00:00:00:00:01", "web"), Make.Mac("blue", "02:00:00:00:00:02"));
        Assert.Equal(
            ["/dp/networks/blue", "/dp/nodes/a/ports/web", "/dp/nodes/a/static-macs/blue/02:00:00:00:00:01", "/dp/static-macs/blue/02:00:00:00:00:02"],
            _etcd.Keys());
        await b.Until(n => n.State.StaticMacs.Count == 1);
        Assert.Equal((1, 0, 1), (b.State.Networks.Count, b.State.Ports.Count, b.State.Networks["blue"].Index));
        Assert.Equal("blue/02:00:00:00:00:02", Assert.Single(b.State.StaticMacs.Keys));

        await b.Bench.Apply(Make.Memory("web", "blue"));
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() =>
            b.Bench.Delete((Kind.Port, "web"), (Kind.StaticMac, "blue/02:00:00:00:00:02"), (Kind.Network, "blue")));
        Assert.Equal(
            (StatusCode.FailedPrecondition, "network \"blue\" is in use elsewhere (node a: port web, node a: static MAC blue/02:00:00:00:00:01); delete that first"),
            (error.Code, error.Message));
        Assert.Single(b.State.Ports);
        Assert.Equal(StatusCode.Aborted, await RaceOf(a, b));
    }

    [Fact]
    public async Task PoliciesAreShared()
    {
        await using EtcdNode a = await Node("a"), b = await Node("b");
        await a.Bench.Apply(ResourceKeys.Of(new Policy { Name = "tenant", Isolated = true }), Make.Net("blue"), Make.Memory("web", "blue", p => p.Policy = "tenant"));
        Assert.Equal(["/dp/networks/blue", "/dp/nodes/a/ports/web", "/dp/policies/tenant"], _etcd.Keys());
        await b.Until(n => n.State.Policies.Count == 1);
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => b.Bench.Delete((Kind.Policy, "tenant")));
        Assert.Equal("policy \"tenant\" is in use elsewhere (node a: port web); delete that first", error.Message);
        await a.Bench.Delete((Kind.Port, "web"));
        await b.Until(n => n.Bench.Controller.Nodes.All[0].Ports == 0);
        await b.Bench.Delete((Kind.Policy, "tenant"));
        await a.Until(n => n.State.Policies.Count == 0);
    }

    [Fact]
    public async Task NodesSeeEachOther()
    {
        await using EtcdNode a = await Node("a");
        Assert.Equal(("a", true, true), Describe(Assert.Single(a.Bench.Controller.Nodes.All)));
        await using (EtcdNode b = await Node("b"))
        {
            await b.Bench.Apply(Make.Net("blue"), Make.Memory("web", "blue"), Make.Memory("db", "blue"));
            await a.Until(n => n.Bench.Controller.Nodes.All is [_, { Name: "b", Online: true, Ports: 2 }]);
            Node seen = a.Bench.Controller.Nodes.All[1], self = b.Bench.Controller.Nodes.All[1];
            Assert.Equal((false, self.Version, true), (seen.Self, seen.Version, seen.Started is not null));
            await b.Until(n => n.Bench.Controller.Nodes.All.Select(Describe).SequenceEqual([("a", false, true), ("b", true, true)]));
        }
        // It went in order, and has said so; what it has in the store is there still.
        await a.Until(n => n.Bench.Controller.Nodes.All is [_, { Name: "b", Online: false, Ports: 2, Version: "" }]);
        // What comes and goes with nodes gets in the way of nobody's changes.
        await a.Bench.Apply(Make.Net("red"));
        _etcd.Stop();
        await a.Until(n => n.Bench.Controller.Nodes.All is [{ Name: "a", Online: false }, ..]);
    }

    [Fact]
    public async Task RoutesNeighboursAndPeersAreTheNodes()
    {
        await using EtcdNode a = await Node("a"), b = await Node("b");
        await a.Bench.Apply(
            Make.Net("far", "10.244.0.0/16", "10.244.0.1", n => { n.Router = new Router(); n.Vxlan = new Vxlan { Vni = 7 }; }), Make.Routed("uplink", "192.0.2.10/24"),
            Make.Peer("b", "far", "192.0.2.20", "02:00:00:00:00:0b"), Make.Neighbour("", "192.0.2.1", "02:00:00:00:00:01", n => n.Port = "uplink"),
            Make.Route("10.50.0.0/16", "192.0.2.1"), Make.Route("::/0", more: r => r.Type = Route.Types.Type.Blackhole));
        Assert.Equal(
            ["/dp/networks/far", "/dp/nodes/a/neighbours/uplink/192.0.2.1", "/dp/nodes/a/ports/uplink", "/dp/nodes/a/routes/main/10.50.0.0/16", "/dp/nodes/a/routes/main/::/0", "/dp/nodes/a/tunnel-peers/b"],
            _etcd.Keys());
        await b.Until(n => n.State.Networks.Count == 1);
        Assert.Equal((0, 0, 0), (b.State.Peers.Count, b.State.Neighbours.Count, b.State.Routes.Count));
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => b.Bench.Delete((Kind.Network, "far")));
        Assert.Equal("network \"far\" is in use elsewhere (node a: tunnel peer b); delete that first", error.Message);

        // What another client writes is followed, also a route.
        _etcd.Put("/dp/nodes/b/ports/up", "{\"routed\": {\"addresses\": [\"192.0.2.20/24\"]}, \"memory\": {}}");
        _etcd.Put("/dp/nodes/b/routes/main/10.60.0.0/16", "{\"prefix\": \"10.60.0.0/16\", \"next_hops\": [{\"via\": \"192.0.2.10\"}]}");
        await b.Until(n => n.State.Routes.Count == 1);
        Assert.Equal("192.0.2.10", b.State.Routes["main/10.60.0.0/16"].NextHops[0].Via);
        Assert.Equal("192.0.2.20", b.State.Topology.VtepOf("far")!.Address.ToString());
        _etcd.Delete("/dp/nodes/b/routes/main/10.60.0.0/16");
        await b.Until(n => n.State.Routes.Count == 0);
    }

    [Fact]
    public async Task ServicesAreSharedAndPublishedPortsAreTheNodes()
    {
        await using EtcdNode a = await Node("a"), b = await Node("b");
        await a.Bench.Apply(Make.Routed("uplink", "192.0.2.10/24"), Make.Service("shop", "10.96.0.10"), Make.Backend("shop", "10.244.1.2", x => x.Node = "a"), Make.Published("pub", "10.244.1.2", 80));
        Assert.Equal(["/dp/backends/shop/10.244.1.2", "/dp/nodes/a/ports/uplink", "/dp/nodes/a/published-ports/pub", "/dp/services/shop"], _etcd.Keys());
        await b.Until(n => n.State.Services.FindBackend("shop/10.244.1.2") is not null);
        Assert.Equal((1, 0), (b.State.Services.Services.Count, b.State.Services.Published.Count));
        await b.Bench.Apply(Make.Backend("shop", "10.244.2.2", x => x.Node = "b"));
        await a.Until(n => n.State.Services.BackendsOf("shop").Count == 2);
        // Of two nodes that take the same address at the same moment, one is refused.
        for (int round = 1; round <= 20; round++)
        {
            bool[] won = await Task.WhenAll(new[] { a, b }.Select((node, i) => Task.Run(() => Wins(node, Make.Service($"s{round}-{i}", $"10.97.0.{round}")))));
            Assert.Single(won, w => w);
        }
        await a.Until(n => n.State.Services.Services.Count == 21);
        _etcd.Delete("/dp/backends/shop/10.244.1.2");
        await a.Until(n => n.State.Services.BackendsOf("shop").Count == 1);
    }

    [Fact]
    public async Task ANewProcessFindsItAll()
    {
        DesiredState before;
        await using (EtcdNode a = await Node("a"))
        {
            await a.Bench.Apply(Make.Net("blue", more: n => n.VlanFiltering = true), Make.Memory("one", "blue"), Make.Memory("two", "blue"));
            await a.Bench.Delete((Kind.Port, "one"));
            before = a.State;
        }
        await using (EtcdNode again = await Node("a"))
        {
            SqliteStoreTests.AssertSame(before, again.State); // numbers and revisions too: they are the node's own
        }
        File.Delete(_directory.File("a.db"));
        await using EtcdNode anew = await Node("a");
        Assert.Equal(["two"], anew.State.Ports.Keys);
        Assert.Equal(["two"], anew.Bench.Engine.Ports.Values.Select(p => p.Name));
    }

    [Fact]
    public async Task WhatAnotherClientWritesIsFollowed()
    {
        await using EtcdNode a = await Node("a");
        _etcd.Put("/dp/networks/green", "{\"subnets\": [\"10.1.0.0/16\"]}");
        _etcd.Put("/dp/nodes/a/ports/p", "{\"network\": \"green\", \"memory\": {}}");
        _etcd.Put("/dp/nodes/a/ports/q", "{\"network\": \"green\", \"tap\": {\"netns\": \"nowhere\"}}");
        await a.Until(n => n.State.Ports.Count == 2);
        Assert.Equal(PortStatus.Types.State.Up, a.Bench.StatusOf("p").State);
        // A port that cannot be made is reported, as at a start, and keeps nothing else from being done.
        Assert.Equal((PortStatus.Types.State.Lost, "network namespace \"nowhere\" does not exist"), (a.Bench.StatusOf("q").State, a.Bench.StatusOf("q").Reason));
        _etcd.Delete("/dp/nodes/a/ports/p");
        await a.Until(n => n.State.Ports.Count == 1);
        Assert.Equal("", a.Status.Reason);
    }

    [Fact]
    public async Task WhatContradictsTheRulesIsReportedUntilItIsRepaired()
    {
        await using EtcdNode a = await Node("a");
        await a.Bench.Apply(Make.Net("blue"), Make.Memory("web", "blue"));
        _etcd.Put("/dp/nodes/a/ports/web", "{\"network\": \"nowhere\", \"memory\": {}}");
        await a.Until(n => n.Status.Reason.Length > 0);
        Assert.Contains("what the store says cannot be done here: port \"web\"", a.Status.Reason, StringComparison.Ordinal);
        Assert.Equal("blue", a.State.Ports["web"].Spec.Network);
        await a.Bench.Apply(Make.Memory("web", "blue", p => p.Isolated = true));
        await a.Until(n => n.Status.Reason.Length == 0);
        _etcd.Put("/dp/nodes/a/ports/web", "{\"network");
        await a.Until(n => n.Status.Reason.Contains("the key /dp/nodes/a/ports/web cannot be read", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WhileEtcdIsAwayChangesAreRefusedAndNothingElse()
    {
        await using EtcdNode a = await Node("a"), b = await Node("b");
        await a.Bench.Apply(Make.Net("blue"), Make.Memory("web", "blue"));
        _etcd.Stop();
        await a.Until(n => !n.Status.Available);
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => a.Bench.Apply(Make.Memory("more", "blue")));
        Assert.Equal(StatusCode.Unavailable, error.Code);
        Assert.Contains($"etcd at {_etcd.Address} does not answer", error.Message, StringComparison.Ordinal);
        Assert.Equal(PortStatus.Types.State.Up, a.Bench.StatusOf("web").State);
        Assert.Single(a.Bench.Engine.Ports);

        _etcd.Start();
        await a.Until(n => n.Status.Available);
        await b.Until(n => n.Status.Available);
        await a.Bench.Apply(Make.Net("green"));
        await b.Until(n => n.State.Networks.Count == 2);
    }

    [Fact]
    public async Task AnEtcdThatHangsHoldsUpNobodyButTheCaller()
    {
        using var gap = new EtcdGap(_etcd.Address);
        await using EtcdNode a = await EtcdNode.InStep(Options("a") with { Servers = [gap.Address], Patience = TimeSpan.FromSeconds(5) }, _directory.File("a.db"));
        await a.Bench.Apply(Make.Net("blue"));
        gap.Hold();
        Task<CommitResult> waiting = a.Bench.Apply(Make.Memory("web", "blue"));
        Assert.Equal("a", Assert.Single(a.Bench.Controller.Nodes.All).Name);
        Assert.False(waiting.IsCompleted);
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => waiting);
        Assert.Equal(
            (StatusCode.Unavailable, $"etcd at {gap.Address} did not confirm the batch: no answer within 5 s; should it have taken it, it takes effect when etcd is back; try again in a moment"),
            (error.Code, error.Message));
        Assert.Empty(a.State.Ports);

        // It did not say so, and took it.
        gap.Release();
        await a.Until(n => n.State.Ports.Count == 1 && n.Status is { Available: true, Reason: "" });
        Assert.Equal(["/dp/networks/blue", "/dp/nodes/a/ports/web"], _etcd.Keys());
    }

    [Fact]
    public async Task ANodeThatWasAwayDuringACompactionListsAgain()
    {
        await using (EtcdNode a = await Node("a"))
        {
            await a.Bench.Apply(Make.Net("blue"), Make.Net("old"), Make.Memory("web", "blue"));
        }
        string copy = _directory.File("a.db");
        _etcd.Stop();
        await using var cut = new EtcdNode(Options("a"), copy); // begins with its local copy
        await cut.Until(n => n.Status.Reason.Contains("does not answer", StringComparison.Ordinal));
        Assert.Equal(["blue", "old"], cut.State.Networks.Keys);
        _etcd.Start();
        await cut.Until(n => n.Status.Available);

        using var gap = new EtcdGap(_etcd.Address);
        await using EtcdNode far = await EtcdNode.InStep(Options("far") with { Servers = [gap.Address] }, _directory.File("far.db"));
        gap.Close();
        await far.Until(n => !n.Status.Available);
        _etcd.Delete("/dp/networks/old");
        _etcd.Put("/dp/networks/new", "{}");
        _etcd.Compact();
        gap.Open();
        await far.Until(n => n.State.Networks.Keys.SequenceEqual(["blue", "new"]));
        await cut.Until(n => n.State.Networks.Keys.SequenceEqual(["blue", "new"]));
    }

    [Fact]
    public async Task ABatchThatEtcdDoesNotTakeIsRefused()
    {
        await using EtcdNode a = await Node("a");
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => a.Bench.Apply([Make.Net("n"), .. Enumerable.Range(0, 200).Select(i => Make.Mac("n", $"02:00:00:00:00:{i:x2}"))]));
        Assert.Equal((StatusCode.InvalidArgument, "the batch has more changes than etcd takes in one transaction; split it, or raise etcd's --max-txn-ops"), (error.Code, error.Message));
        Assert.Empty(_etcd.Keys());
        Assert.Empty(a.State.Networks);
    }

    /// <summary>Two nodes change one network at full speed. One wins each time, and both end with what etcd has.</summary>
    private static async Task<bool> Wins(EtcdNode node, Resource resource)
    {
        try
        {
            await node.Bench.Apply(resource);
            return true;
        }
        catch (ProblemException e)
        {
            Assert.Contains(e.Code, new[] { StatusCode.Aborted, StatusCode.InvalidArgument });
            return false;
        }
    }

    private static async Task<StatusCode> RaceOf(EtcdNode a, EtcdNode b)
    {
        var lost = new System.Collections.Concurrent.ConcurrentBag<StatusCode>();
        int won = 0;
        await Task.WhenAll(new[] { a, b }.Select((node, i) => Task.Run(async () =>
        {
            for (int round = 0; round < 100 || lost.IsEmpty && round < 1000; round++)
            {
                try
                {
                    await node.Bench.Apply(Make.Net("blue", "172.18.0.0/16", more: n => n.LearnLimit = (uint)(round * 2 + i + 1)));
                    Interlocked.Increment(ref won);
                }
                catch (ProblemException e)
                {
                    Assert.Equal("another node or client changed the same at the same moment; read it again, then repeat the change", e.Message);
                    lost.Add(e.Code);
                }
            }
        })));
        Assert.True(won > 0);
        await a.Until(_ => a.State.Networks["blue"].Spec.LearnLimit == b.State.Networks["blue"].Spec.LearnLimit);
        return Assert.Single(lost.Distinct());
    }

    private static (string Name, bool Self, bool Online) Describe(Node node) => (node.Name, node.Self, node.Online);
}
