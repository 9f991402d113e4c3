using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;
using Dataplane.UnitTests.Interop.Linux;
using Microsoft.Data.Sqlite;

namespace Dataplane.UnitTests.Control;

/// <summary>Services in the file: their numbers, and the ports that were chosen.</summary>
public sealed class ServiceStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string Path => _directory.File("state.db");

    [Fact]
    public void EveryKindIsSavedWithItsNumbers()
    {
        DesiredState state = ServiceValidationTests.Before;
        PlannedBatch more = ValidationTests.Plan(
            state, Make.Published("chosen", "172.18.0.2", 80), Make.Backend("shop", "172.18.0.3", b => b.Weight = 0), Make.Service("shop", "10.96.0.10", "81"));
        using (var store = new SqliteStore(Path))
        {
            store.Load();
            store.Save(new StateChange(DesiredState.Empty, state, [.. state.All]));
            store.Save(more.From(state));
        }
        using var again = new SqliteStore(Path);
        DesiredState loaded = again.Load();
        SqliteStoreTests.AssertSame(more.After, loaded);
        Assert.Equal(49_152, loaded.Services.Published["chosen"].HostPort);
        // The indexes are there, and numbers go on.
        Assert.Equal(more.After.Services.Vips.Keys.ToHashSet(), loaded.Services.Vips.Keys.ToHashSet());
        Assert.Equal(more.After.Services.HostPorts.Keys.ToHashSet(), loaded.Services.HostPorts.Keys.ToHashSet());
        Assert.Equal(more.After.Services.NextNumber, loaded.Services.NextNumber);
        Assert.Contains("is that of service \"shop\"", Assert.Throws<ProblemException>(() => ValidationTests.Plan(loaded, Make.Service("s", "10.96.0.10", "81"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFileWithoutServicesIsMigrated()
    {
        DesiredState state = RoutingValidationTests.Before;
        using (var store = new SqliteStore(Path))
        {
            store.Load();
            store.Save(new StateChange(DesiredState.Empty, state, [.. state.All]));
        }
        Sql("ALTER TABLE resource DROP COLUMN host_port; PRAGMA user_version = 2"); // as the version before left it
        using var newer = new SqliteStore(Path);
        DesiredState loaded = newer.Load();
        SqliteStoreTests.AssertSame(state, loaded);
        PlannedBatch plan = ValidationTests.Plan(loaded, Make.Service("s", "10.96.0.1"), Make.Published("p", "172.18.0.2", 80));
        newer.Save(plan.From(loaded));
        SqliteStoreTests.AssertSame(plan.After, newer.Load());
    }

    private void Sql(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={Path};Pooling=False");
        connection.Open();
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
