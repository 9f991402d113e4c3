using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using NeighbourEntry = Dataplane.Tables.NeighbourEntry;

namespace Dataplane.UnitTests.Control;

/// <summary>Neighbours that are known, into a segment.</summary>
public sealed class NeighbourWriterTests : IDisposable
{
    private static readonly ulong Mac = MacAddress.Parse("02:00:00:00:00:77").Value, Other = MacAddress.Parse("02:00:00:00:00:78").Value;

    private readonly Segment _segment = Segment.CreatePrivate();
    private readonly TableWriter _tables;
    private DesiredState _state = DesiredState.Empty;
    private CompiledState _compiled = CompiledState.Empty;

    public NeighbourWriterTests()
    {
        _tables = new TableWriter(_segment);
        Apply(Make.Net("n", "10.7.0.0/16 fd07::/64", "10.7.0.1 fd07::1", n => n.Router = new Router()), Make.Tap("web", "n", "10.7.0.2/16 fd07::2/64", "web"), Make.Routed("uplink", "192.0.2.10/24"));
    }

    public void Dispose() => _segment.Dispose();

    private TableWriter.Outcome Apply(params Resource[] resources) => Commit(new Batch { Apply = resources });

    private TableWriter.Outcome Commit(Batch batch)
    {
        PlannedBatch plan = BatchPlanner.Plan(_state, batch, new Limits(255, 63));
        CompiledChange change = StateCompiler.Compile(plan.From(_state), _compiled, everything: false);
        (_state, _compiled) = (plan.After, change.After);
        return _tables.Commit(change);
    }

    private int Port(string name) => _state.Topology.Find(name)!.Index;

    private NeighbourEntry? Find(NeighbourKey key) => _segment.Neighbours.List().Select(e => (NeighbourEntry?)e).FirstOrDefault(e => e!.Value.Key == key);

    [Fact]
    public void AddressesOfDevicesAreKnown()
    {
        ulong web = _state.Ports["web"].Spec.MacInForce(_state.Networks["n"].Spec).Value;
        NeighbourEntry four = Find(NeighbourTable.Key4(Port("n.router"), 0x0A07_0002))!.Value;
        Assert.Equal((web, NeighbourState.Permanent), (four.Mac, four.State));
        Assert.Equal(web, Find(_segment.Neighbours.Key6(Port("n.router"), 0xFD07_0000_0000_0000, 2))!.Value.Mac);
        Apply(Make.Tap("web", "n", "10.7.0.9/16", "web"));
        Assert.Null(Find(NeighbourTable.Key4(Port("n.router"), 0x0A07_0002)));
        Assert.Equal(web, Find(NeighbourTable.Key4(Port("n.router"), 0x0A07_0009))!.Value.Mac);
        Commit(new Batch { Delete = [new() { Kind = Kind.Port, Name = "web" }] });
        Assert.Empty(_segment.Neighbours.List());
    }

    [Fact]
    public void TheOperatorsComeChangeAndGo()
    {
        NeighbourKey key = NeighbourTable.Key4(Port("uplink"), 0xC000_0201);
        Assert.Equal(1, Apply(Make.Neighbour("", "192.0.2.1", "02:00:00:00:00:77", n => n.Port = "uplink")).Neighbours);
        Assert.Equal(Mac, Find(key)!.Value.Mac);
        ulong generation = _segment.Generation;
        Assert.Equal(1, Apply(Make.Neighbour("", "192.0.2.1", "02:00:00:00:00:78", n => n.Port = "uplink")).Neighbours);
        Assert.Equal((Other, generation), (Find(key)!.Value.Mac, _segment.Generation));
        Assert.Equal(1, Commit(new Batch { Delete = [new() { Kind = Kind.Neighbour, Name = "uplink/192.0.2.1" }] }).Neighbours);
        Assert.Null(Find(key));
    }

    [Fact]
    public void WhatIsKnownOutweighsWhatWasLearned()
    {
        NeighbourKey key = NeighbourTable.Key4(Port("uplink"), 0xC000_0201);
        Learn(key, Other);
        Apply(Make.Neighbour("", "192.0.2.1", "02:00:00:00:00:77", n => n.Port = "uplink"));
        Assert.Equal((Mac, NeighbourState.Permanent), (Find(key)!.Value.Mac, Find(key)!.Value.State));
    }

    [Fact]
    public void LearnedNeighboursGoWithTheSubnet()
    {
        NeighbourKey up = NeighbourTable.Key4(Port("uplink"), 0xC000_0201), inner = NeighbourTable.Key4(Port("n.router"), 0x0A07_0063);
        Learn(up, Mac);
        Learn(inner, Other);
        Apply(Make.Routed("uplink", "192.0.2.10/24", p => p.Mtu = 9000));
        Assert.NotNull(Find(up));
        Apply(Make.Routed("uplink", "198.51.100.10/24"));
        Assert.Null(Find(up));
        Assert.NotNull(Find(inner));
    }

    [Fact]
    public void AnotherProcessRemovesWhatIsNotWantedAnyMore()
    {
        Learn(NeighbourTable.Key4(Port("uplink"), 0xC000_0201), Mac);
        Assert.Equal(new TableWriter.Outcome(0, 0, 0), new TableWriter(_segment).Commit(_compiled));
        DesiredState less = BatchPlanner.Plan(_state, new Batch { Delete = [new() { Kind = Kind.Port, Name = "web" }] }, new Limits(255, 63)).After;
        Assert.Equal(2, new TableWriter(_segment).Commit(StateCompiler.Compile(less)).Neighbours);
        Assert.Equal(Mac, Assert.Single(_segment.Neighbours.List()).Mac);
    }

    private void Learn(NeighbourKey key, ulong mac) =>
        Assert.Equal(NeighbourResult.Inserted, _segment.Neighbours.Insert(in key, NeighbourValue.Make(NeighbourState.Reachable, mac), 1, out _));
}
