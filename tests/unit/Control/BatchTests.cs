using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;
using Action = Dataplane.Control.Api.V1.Change.Types.Action;

namespace Dataplane.UnitTests.Control;

/// <summary>What a batch makes of the state: revisions, indices, differences.</summary>
public sealed class BatchTests
{
    private static readonly Limits Limits = new(Ports: 4, Networks: 20);

    [Fact]
    public void ARepeatedBatchChangesNothing()
    {
        PlannedBatch first = Plan(DesiredState.Empty, Make.Net("blue", "172.18.0.0/16"), Make.Tap("web", "blue", "172.18.0.2/16"));
        PlannedBatch again = Plan(first.After, Make.Net("blue", "172.18.0.0/16"), Make.Tap("web", "blue", "172.18.0.2/16"));
        Assert.Equal(1ul, first.After.Revision);
        Assert.False(again.HasEffect);
        Assert.Same(first.After, again.After);
        Assert.All(again.Changes, c => Assert.Equal(Action.Unchanged, c.Action));
    }

    [Fact]
    public void WhatIsReadCanBeAppliedAgain()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("blue")).After;
        Resource read = state.Find(Kind.Network, "blue")!.Clone();
        read.Network.Status = new NetworkStatus { Ports = 7 };
        Assert.False(Plan(state, read).HasEffect);
    }

    [Fact]
    public void AnUpdateSaysWhatItChanges()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("blue", "172.18.0.0/16"), Make.Tap("web", "blue", "172.18.0.2/16")).After;
        ResourceChange change = Assert.Single(Plan(state, Make.Tap("web", "blue", "172.18.0.3/16", more: p => { p.Isolated = true; p.Learning = false; })).Changes);
        Assert.Equal(Action.Updated, change.Action);
        Assert.Equal(
            ["tap.addresses: [172.18.0.2/16] -> [172.18.0.3/16]", "learning: (default) -> false", "isolated: false -> true"],
            change.Differences);
        Assert.Equal(2ul, change.Resource.Port.Revision);
    }

    [Fact]
    public void FalseIsNotAbsent()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("n"), Make.Memory("a", "n")).After;
        Assert.Equal(["enabled: (default) -> false"], Plan(state, Make.Memory("a", "n", p => p.Enabled = false)).Changes[0].Differences);
        Assert.Equal(["ageing_seconds: (default) -> 0"], Plan(state, Make.Net("n", more: n => n.AgeingSeconds = 0)).Changes[0].Differences);
    }

    [Fact]
    public void AnExpectedRevisionIsChecked()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("blue")).After;
        state = Plan(state, Make.Net("blue", more: n => n.Mtu = 9000)).After;
        ProblemException error = Assert.Throws<ProblemException>(() => Plan(state, Make.Net("blue", more: n => n.Revision = 1)));
        Assert.Equal(StatusCode.Aborted, error.Code);
        Assert.Equal("network \"blue\": has revision 2, the request expects 1; read it again, then repeat the change", error.Message);
        Assert.True(Plan(state, Make.Net("blue", more: n => n.Revision = 2)).HasEffect);
    }

    [Fact]
    public void CreateOnlyRefusesWhatExists()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("blue")).After;
        var batch = new Batch { Apply = [Make.Net("blue"), Make.Net("red")], CreateOnly = true };
        ProblemException error = Assert.Throws<ProblemException>(() => BatchPlanner.Plan(state, batch, Limits));
        Assert.Equal(StatusCode.AlreadyExists, error.Code);
        Assert.Equal("network \"blue\": exists already", error.Message);
    }

    [Fact]
    public void ANameTwiceInABatchIsRefused() =>
        Assert.Contains("is named twice in the batch", Assert.Throws<ProblemException>(() => Plan(DesiredState.Empty, Make.Net("a"), Make.Net("a"))).Message, StringComparison.Ordinal);

    [Fact]
    public void IndicesStayAndFreeOnesAreUsedAgainLater()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("n"), Make.Memory("a", "n"), Make.Memory("b", "n"), Make.Memory("c", "n")).After;
        Assert.Equal([1, 2, 3], state.Ports.Values.Select(p => p.Index));
        var swap = new Batch { Delete = [new ResourceKey { Kind = Kind.Port, Name = "a" }], Apply = [Make.Memory("d", "n")] };
        state = BatchPlanner.Plan(state, swap, Limits).After;
        Assert.Equal(4, state.Ports["d"].Index); // not 1: packets may still carry it
        Assert.Equal(2, state.Ports["b"].Index);
        state = Plan(state, Make.Memory("e", "n"), Make.Memory("b", "n", p => p.Isolated = true)).After;
        Assert.Equal(1, state.Ports["e"].Index);
        Assert.Equal(2, state.Ports["b"].Index);
    }

    [Fact]
    public void FullTablesAreSaid()
    {
        DesiredState state = Plan(DesiredState.Empty, [Make.Net("n"), .. Enumerable.Range(0, 4).Select(i => Make.Memory($"p{i}", "n"))]).After;
        Assert.Contains("there is room for 4 ports", Assert.Throws<ProblemException>(() => Plan(state, Make.Memory("p4", "n"))).Message, StringComparison.Ordinal);
        Resource[] networks = [.. Enumerable.Range(0, 20).Select(i => Make.Net($"m{i}"))];
        Assert.Contains("there is room for 20 networks", Assert.Throws<ProblemException>(() => Plan(state, networks)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FifteenNetworksCanLookAtVlans()
    {
        static Resource Vlan(int i) => Make.Net($"v{i}", more: n => n.VlanFiltering = true);
        DesiredState state = Plan(DesiredState.Empty, [.. Enumerable.Range(0, 15).Select(Vlan)]).After;
        Assert.Equal(Enumerable.Range(1, 15), state.Networks.Values.Select(n => n.FidBlock).Order());
        ProblemException error = Assert.Throws<ProblemException>(() => Plan(state, Vlan(15)));
        Assert.Equal("network \"v15\": only 15 networks can have VLAN filtering; use VLANs of one network, or a network without VLAN filtering", error.Message);
        Assert.True(Plan(state, Make.Net("plain")).HasEffect);
        int block = state.Networks["v3"].FidBlock;
        state = Plan(state, Make.Net("v3")).After;
        Assert.Equal(0, state.Networks["v3"].FidBlock);
        Assert.Equal(block, Plan(state, Vlan(15)).After.Networks["v15"].FidBlock);
    }

    [Fact]
    public void StaticMacsAreKeyedByWhatTheyAre()
    {
        DesiredState state = Plan(DesiredState.Empty, Make.Net("n"), Make.Mac("n", "02-AA-BB-00-00-01")).After;
        Assert.Equal("02:aa:bb:00:00:01", state.StaticMacs["n/02:aa:bb:00:00:01"].Mac);
        Assert.False(Plan(state, Make.Mac("n", "02:AA:bb:00:00:01")).HasEffect);
    }

    private static PlannedBatch Plan(DesiredState before, params Resource[] resources) =>
        BatchPlanner.Plan(before, new Batch { Apply = resources }, Limits);
}
