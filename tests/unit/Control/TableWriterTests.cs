using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using MacEntry = Dataplane.Tables.MacEntry;

namespace Dataplane.UnitTests.Control;

/// <summary>Compiled state into a segment.</summary>
public sealed class TableWriterTests
{
    private static readonly ulong Host = MacAddress.Parse("02:00:00:00:00:63").Value;

    [Fact]
    public void ACommitIsOneGenerationAndTheSameAgainNone()
    {
        using Segment segment = Segment.CreatePrivate();
        var tables = new TableWriter(segment);
        CompiledState state = Compile(Make.Net("n"), Make.Memory("a", "n"), Make.Memory("b", "n"));
        ulong before = segment.Generation;
        Assert.Equal(3, tables.Commit(state).Records);
        Assert.Equal(before + 1, segment.Generation);
        Assert.Equal(0, tables.Commit(state).Records);
        Assert.Equal(before + 1, segment.Generation);
    }

    [Fact]
    public void AnotherProcessFindsNothingToDo()
    {
        using Segment segment = Segment.CreatePrivate();
        CompiledState state = Compile(Make.Net("n"), Make.Memory("a", "n"), Make.Mac("n", "02:00:00:00:00:01", "a"));
        new TableWriter(segment).Commit(state);
        Assert.Equal(new TableWriter.Outcome(0, 0, 0), new TableWriter(segment).Commit(state));
    }

    [Fact]
    public void AnotherProcessRemovesWhatIsNotWantedAnyMore()
    {
        using Segment segment = Segment.CreatePrivate();
        new TableWriter(segment).Commit(Compile(Make.Net("n"), Make.Memory("a", "n"), Make.Mac("n", "02:00:00:00:00:01", "a")));
        Assert.Equal(new TableWriter.Outcome(2, 1, 0), new TableWriter(segment).Commit(CompiledState.Empty));
        Assert.Empty(segment.Macs.List());
        Assert.Equal(PortFlags.None, segment.Port(1, segment.Generation).Flags);
    }

    [Fact]
    public void StaticMacsComeChangeAndGo()
    {
        using Segment segment = Segment.CreatePrivate();
        var tables = new TableWriter(segment);
        Resource[] ports = [Make.Net("n"), Make.Memory("a", "n"), Make.Memory("b", "n")];
        Learn(segment, fid: 1, port: 1);
        tables.Commit(Compile([.. ports, Make.Mac("n", "02:00:00:00:00:63", "b")]));
        Assert.Equal([new MacEntry(1, Host, 2, MacFlags.Static, 0)], segment.Macs.List());
        tables.Commit(Compile([.. ports, Make.Mac("n", "02:00:00:00:00:63")]));
        Assert.Equal([new MacEntry(1, Host, 0, MacFlags.Static | MacFlags.Drop, 0)], segment.Macs.List());
        Assert.Equal(1, tables.Commit(Compile(ports)).StaticMacs);
        Assert.Empty(segment.Macs.List());
    }

    public static TheoryData<string, Resource[], bool> Moves { get; } = new()
    {
        { "another flag", [Make.Net("n"), Make.Net("m"), Make.Memory("a", "n", p => p.Isolated = true)], true },
        { "another network", [Make.Net("n"), Make.Net("m"), Make.Memory("a", "m")], false },
        { "deleted", [Make.Net("n"), Make.Net("m")], false },
        { "network with VLANs", [Make.Net("n", more: n => n.VlanFiltering = true), Make.Net("m"), Make.Memory("a", "n")], false },
    };

    [Theory]
    [MemberData(nameof(Moves))]
    public void LearnedAddressesGoWhenTheirPortMoves(string what, Resource[] after, bool stays)
    {
        using Segment segment = Segment.CreatePrivate();
        var tables = new TableWriter(segment);
        DesiredState before = ValidationTests.Plan(DesiredState.Empty, Make.Net("n"), Make.Net("m"), Make.Memory("a", "n")).After;
        tables.Commit(StateCompiler.Compile(before));
        Learn(segment, fid: 1, port: 1);
        bool deleted = after.All(r => r.Kind != Kind.Port);
        var batch = new Batch { Apply = after, Delete = deleted ? [new ResourceKey { Kind = Kind.Port, Name = "a" }] : [] };
        tables.Commit(StateCompiler.Compile(BatchPlanner.Plan(before, batch, new Limits(255, 63)).After));
        Assert.NotEmpty(what);
        Assert.Equal(stays ? 1 : 0, segment.Macs.List().Count);
    }

    [Fact]
    public void FlushKeepsStaticEntries()
    {
        using Segment segment = Segment.CreatePrivate();
        var tables = new TableWriter(segment);
        tables.Commit(Compile(Make.Net("n"), Make.Memory("a", "n"), Make.Mac("n", "02:00:00:00:00:01", "a")));
        Learn(segment, fid: 1, port: 1);
        Assert.Equal(0, tables.Flush(e => e.Port == 9));
        Assert.Equal(1, tables.Flush(_ => true));
        Assert.Single(segment.Macs.List());
    }

    private static void Learn(Segment segment, uint fid, ushort port) =>
        Assert.Equal(LearnResult.Learned, segment.Macs.Learn(MacTable.Key(fid, Host), port, 1, allowNew: true, out _));

    private static CompiledState Compile(params Resource[] resources) =>
        StateCompiler.Compile(ValidationTests.Plan(DesiredState.Empty, resources).After);
}
