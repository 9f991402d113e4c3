using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Control;

/// <summary>Numbers of routers, peers and VRFs, in batches and in the file.</summary>
public sealed class RoutingStoreTests : IDisposable
{
    private static readonly Limits Few = new(Ports: 6, Networks: 20, Vrfs: 3);

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string Path => _directory.File("state.db");

    private static DesiredState Plan(DesiredState before, params Resource[] resources) => BatchPlanner.Plan(before, new Batch { Apply = resources }, Few).After;

    private static DesiredState Delete(DesiredState before, params (Kind Kind, string Name)[] keys) =>
        BatchPlanner.Plan(before, new Batch { Delete = [.. keys.Select(k => new ResourceKey { Kind = k.Kind, Name = k.Name })] }, Few).After;

    private static Resource Routed(string name, int subnet, string vrf = "") => Make.Net(name, $"10.{subnet}.0.0/16", $"10.{subnet}.0.1", n => n.Router = new Router { Vrf = vrf });

    [Fact]
    public void RoutersPeersAndPortsShareOneSpaceOfIndices()
    {
        DesiredState state = Plan(DesiredState.Empty, Routed("n", 1), Make.Memory("a", "n"), Make.Net("far", more: n => n.Vxlan = new Vxlan { Vni = 7 }), Make.Peer("p", "far", "192.0.2.20"));
        Assert.Equal((1, 2, 3), (state.Networks["n"].RouterPort, state.Ports["a"].Index, state.Peers["p"].Index));
        Assert.Equal(("n.router", "a", "p"), (state.PortName(1), state.PortName(2), state.PortName(3)));
        // A router that goes gives its index back, but not in the same batch.
        state = Plan(state, Make.Net("n", "10.1.0.0/16", "10.1.0.1"), Make.Memory("b", "n"));
        Assert.Equal((0, 4), (state.Networks["n"].RouterPort, state.Ports["b"].Index));
        state = Plan(state, Make.Memory("c", "n"));
        Assert.Equal(1, state.Ports["c"].Index);
        state = Plan(state, Make.Memory("d", "n"), Make.Memory("e", "n"));
        Assert.Contains("there is room for 6 ports, routers of networks and tunnel peers together", Assert.Throws<ProblemException>(() => Plan(state, Routed("m", 2))).Message, StringComparison.Ordinal);
        Assert.Contains("there is room for 6 ports", Assert.Throws<ProblemException>(() => Plan(state, Make.Peer("q", "far", "192.0.2.21"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AVrfHasANumberAsLongAsSomethingNamesIt()
    {
        DesiredState state = Plan(DesiredState.Empty, Routed("a", 1, "red"), Routed("b", 2), Routed("c", 3, "blue"), Routed("d", 4, "red"));
        Assert.Equal((2, 1, 3, 2), (state.Networks["a"].Vrf, state.Networks["b"].Vrf, state.Networks["c"].Vrf, state.Networks["d"].Vrf));
        Assert.Contains("there is room for 3 VRFs; start the daemon with a larger --max-vrfs", Assert.Throws<ProblemException>(() => Plan(state, Routed("e", 5, "green"))).Message, StringComparison.Ordinal);
        state = Delete(state, (Kind.Network, "a"));
        Assert.Equal(2, state.Networks["d"].Vrf);
        // One that goes and one that comes in the same batch: packets may still carry the old number.
        Assert.Throws<ProblemException>(() => Plan(state, Routed("d", 4, "green")));
        state = Delete(state, (Kind.Network, "d"));
        Assert.Equal(2, Plan(state, Routed("e", 5, "green")).Networks["e"].Vrf);
    }

    [Fact]
    public void EveryKindIsSavedWithItsNumbers()
    {
        DesiredState state = RoutingValidationTests.Before;
        PlannedBatch more = ValidationTests.Plan(state, Make.Neighbour("blue", "172.18.0.9", "02:00:00:00:00:09"), Make.Route("::/0", "2001:db8::1"));
        using (var store = new SqliteStore(Path))
        {
            store.Load();
            store.Save(new StateChange(DesiredState.Empty, state, [.. state.All]));
            store.Save(more.From(state));
        }
        using var again = new SqliteStore(Path);
        SqliteStoreTests.AssertSame(more.After, again.Load());
    }

    [Fact]
    public void AFileFromBeforeThereWereRoutersIsBroughtUp()
    {
        DesiredState old = ValidationTests.Plan(DesiredState.Empty, Make.Net("n", "10.1.0.0/16"), Make.Memory("a", "n")).After;
        {
            // As a program of that time wrote it.
            using var connection = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={Path};Pooling=False");
            connection.Open();
            Schema.Migrate(connection, Path, [Schema.Migrations[0]]);
            foreach ((Kind kind, string name, Google.Protobuf.IMessage spec) in new[] { (Kind.Network, "n", (Google.Protobuf.IMessage)old.Networks["n"].Spec), (Kind.Port, "a", old.Ports["a"].Spec) })
            {
                using Microsoft.Data.Sqlite.SqliteCommand insert = connection.CreateCommand();
                insert.CommandText = "INSERT INTO resource VALUES ($kind, $name, 1, $spec, 1, 0); UPDATE state SET revision = 1";
                insert.Parameters.AddWithValue("$kind", (int)kind);
                insert.Parameters.AddWithValue("$name", name);
                insert.Parameters.AddWithValue("$spec", Google.Protobuf.MessageExtensions.ToByteArray(spec));
                insert.ExecuteNonQuery();
            }
        }
        using var now = new SqliteStore(Path);
        SqliteStoreTests.AssertSame(old, now.Load());
    }
}
