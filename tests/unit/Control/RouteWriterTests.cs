using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Control;

/// <summary>Routes and next hops into a segment: what look-ups find, and what a change costs there.</summary>
public sealed class RouteWriterTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxNextHops = 64, MaxNextHopGroups = 4 });
    private readonly TableWriter _tables;
    private DesiredState _state = RoutingValidationTests.Before;
    private CompiledState _compiled;

    public RouteWriterTests()
    {
        _tables = new TableWriter(_segment);
        _compiled = StateCompiler.Compile(_state);
        _tables.Commit(_compiled);
    }

    public void Dispose() => _segment.Dispose();

    private NextHopRecord Find(uint address, int vrf = 1)
    {
        ulong generation = _segment.Generation;
        uint index = _segment.Routes.Find4(_segment.Vrf(vrf, generation).Root4, address);
        return index == 0 ? default : _segment.NextHop((int)index, generation);
    }

    private uint IndexOf(uint address) => _segment.Routes.Find4(_segment.Vrf(1, _segment.Generation).Root4, address);

    private int Index(string port) => _state.Topology.Find(port)!.Index;

    private TableWriter.Outcome Apply(params Resource[] resources) => Commit(new Batch { Apply = resources });

    private TableWriter.Outcome Commit(Batch batch, TableWriter? tables = null)
    {
        PlannedBatch plan = BatchPlanner.Plan(_state, batch, new Limits(255, 63));
        CompiledChange change = StateCompiler.Compile(plan.From(_state), _compiled, everything: false);
        TableWriter.Outcome outcome = (tables ?? _tables).Commit(change);
        (_state, _compiled) = (plan.After, change.After);
        return outcome;
    }

    private int NextHops() => Enumerable.Range(1, _segment.MaxNextHops - 1).Count(i => _segment.NextHop(i, _segment.Generation).Kind != NextHopKind.None);

    [Fact]
    public void LookUpsFindWhatWasAskedFor()
    {
        Assert.Equal((NextHopKind.Connected, Index("blue.router")), ((NextHopKind, int))(Find(0xAC12_0909).Kind, Find(0xAC12_0909).Port));
        Assert.Equal((NextHopKind.Local, Index("uplink")), ((NextHopKind, int))(Find(0xC000_020A).Kind, Find(0xC000_020A).Port));
        NextHopRecord gateway = Find(0x0A32_0101), peer = Find(0x0AF4_0203), host = Find(0x0808_0808);
        Assert.Equal((NextHopKind.Gateway4, Index("uplink"), 0xC000_0201ul), (gateway.Kind, (int)gateway.Port, gateway.Gateway.Low));
        Assert.Equal((NextHopKind.Adjacency, Index("node2"), _state.Networks["far"].Spec.MacInForce.Value, (ushort)1450), (peer.Kind, (int)peer.Port, peer.SourceMac, peer.Mtu));
        Assert.Equal((NextHopKind.Adjacency, Index("dp0")), (host.Kind, (int)host.Port));
        Assert.Equal(NextHopKind.None, Find(0x0808_0808, vrf: 2).Kind);
        Assert.Equal(NextHopKind.Connected, Find(0x0A09_0101, vrf: 2).Kind);
    }

    [Fact]
    public void ARouteComesChangesAndGoesAsOneGeneration()
    {
        ulong before = _segment.Generation;
        int hops = NextHops();
        Assert.Equal(1, Apply(Make.Route("10.60.0.0/16", "192.0.2.9")).Routes);
        Assert.Equal((before + 1, hops + 1, 0xC000_0209ul), (_segment.Generation, NextHops(), Find(0x0A3C_0001).Gateway.Low));
        Apply(Make.Route("10.60.0.0/16", "192.0.2.1"));
        Assert.Equal((hops, 0xC000_0201ul), (NextHops(), Find(0x0A3C_0001).Gateway.Low)); // the one that another route has already
        Commit(new Batch { Delete = [new() { Kind = Kind.Route, Name = "main/10.60.0.0/16" }] });
        Assert.Equal((hops, NextHopKind.Adjacency), (NextHops(), Find(0x0A3C_0001).Kind));
        Assert.Equal(before + 3, _segment.Generation);
    }

    [Fact]
    public void AnotherProcessFindsNothingToDo()
    {
        Apply(RoutingValidationTests.To("10.70.0.0/16", new NextHop { Via = "192.0.2.1" }, new NextHop { Via = "192.0.2.2", Weight = 3 }));
        ulong generation = _segment.Generation;
        var again = new TableWriter(_segment);
        Assert.Equal(new TableWriter.Outcome(0, 0, 0), again.Commit(StateCompiler.Compile(_state)));
        Assert.Equal(generation, _segment.Generation);
        // It has counted what uses what: the next hops go with the route.
        int hops = NextHops();
        Commit(new Batch { Delete = [new() { Kind = Kind.Route, Name = "main/10.70.0.0/16" }] }, again);
        Assert.Equal(hops - 2, NextHops()); // the group and .2; .1 has another route
    }

    [Fact]
    public void AnotherMacOfAPeerReachesItsRoutesInPlace()
    {
        uint index = IndexOf(0x0AF4_0203);
        TableWriter.Outcome outcome = Apply(Make.Peer("node2", "far", "192.0.2.20", "02:00:00:00:99:07"));
        Assert.Equal((0, 2), (outcome.Routes, outcome.StaticMacs));
        Assert.Equal((index, 0x0799_0000_0002ul), (IndexOf(0x0AF4_0203), Find(0x0AF4_0203).Mac));
    }

    [Fact]
    public void SeveralNextHopsAreAGroupThatRoutesShare()
    {
        NextHop[] hops = [new() { Via = "192.0.2.1" }, new() { Via = "192.0.2.2" }];
        Apply(RoutingValidationTests.To("10.70.0.0/16", hops));
        Apply(RoutingValidationTests.To("10.71.0.0/16", hops.Reverse().ToArray()));
        Assert.Equal(IndexOf(0x0A46_0001), IndexOf(0x0A47_0001));
        NextHopRecord group = Find(0x0A46_0001);
        Assert.Equal(NextHopKind.Group, group.Kind);
        NextHopGroup buckets = _segment.NextHopGroup(group.Group, _segment.Generation);
        ulong[] gateways = [.. Enumerable.Range(0, NextHopGroup.Buckets).Select(i => _segment.NextHop((int)buckets.Members[i], _segment.Generation).Gateway.Low).Distinct().Order()];
        Assert.Equal([0xC000_0201ul, 0xC000_0202ul], gateways);
    }

    [Fact]
    public void AFullTableIsRefusedAndLeavesNothing()
    {
        Resource[] tooMany = [.. Enumerable.Range(0, 5).Select(i => RoutingValidationTests.To($"10.{100 + i}.0.0/16", new NextHop { Via = "192.0.2.1" }, new NextHop { Via = $"192.0.2.{100 + i}" }))];
        ulong generation = _segment.Generation;
        int hops = NextHops();
        TableFullException error = Assert.Throws<TableFullException>(() => Apply(tooMany));
        Assert.Contains("--max-next-hop-groups", error.Message, StringComparison.Ordinal);
        Assert.Equal((generation, hops), (_segment.Generation, NextHops()));
        // The next commit is none the worse for it.
        Assert.Equal(4, Apply(tooMany[..4]).Routes);
        Assert.Equal(NextHopKind.Group, Find(0x0A64_0001).Kind);
        Commit(new Batch { Delete = [.. tooMany[..4].Select(r => new ResourceKey { Kind = Kind.Route, Name = r.KeyName })] });
        Assert.Equal(hops, NextHops());
    }

    [Fact]
    public void ANumberThatACommitSetsFreeIsNotGivenAwayInIt()
    {
        Apply(Make.Route("10.60.0.0/16", "192.0.2.9"));
        uint old = IndexOf(0x0A3C_0001);
        Apply(Make.Route("10.60.0.0/16", "192.0.2.8"));
        Assert.NotEqual(old, IndexOf(0x0A3C_0001));
        Apply(Make.Route("10.61.0.0/16", "192.0.2.7"));
        Assert.Equal(old, IndexOf(0x0A3D_0001));
    }

    [Fact]
    public void MovedSubnetsTakeTheirRoutesAlong()
    {
        Apply(Make.Routed("uplink", "198.51.100.10/24 2001:db8::10/64"), Make.Route("10.50.0.0/16", "198.51.100.1"),
            Make.Peer("node2", "far", "198.51.100.20", "02:00:00:00:99:01"), Make.Peer("node3", "far", "198.51.100.30"));
        Assert.Equal(NextHopKind.Local, Find(0xC633_640A).Kind);
        Assert.Equal((NextHopKind.Adjacency, Index("dp0")), (Find(0xC000_020A).Kind, (int)Find(0xC000_020A).Port));
        Assert.Equal(0xC633_6401ul, Find(0x0A32_0001).Gateway.Low);
        Assert.Equal(new IPv6Number(0, 0xC633_640A), _segment.Tunnel(Index("node2"), _segment.Generation).Local);
    }
}
