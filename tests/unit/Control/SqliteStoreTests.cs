using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;
using Dataplane.UnitTests.Interop.Linux;
using Grpc.Core;
using Microsoft.Data.Sqlite;
using static Dataplane.UnitTests.Control.StoreFiles;

namespace Dataplane.UnitTests.Control;

/// <summary>Desired state on disk: what is written, what is refused, and what a failure leaves.</summary>
public sealed class SqliteStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string Path => _directory.File("state.db");

    private static PlannedBatch First { get; } = ValidationTests.Plan(
        DesiredState.Empty,
        Make.Net("blue", "172.18.0.0/16", more: n => n.VlanFiltering = true),
        Make.Tap("web", "blue", "172.18.0.2/16", "web", p => p.Learning = false),
        Make.Mac("blue", "02:00:00:00:00:01", "web", 5));

    private static DesiredState Small => First.After;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void NothingSavedIsTheEmptyState() => Assert.Same(DesiredState.Empty, Load());

    [Fact]
    public void WhatIsSavedIsLoaded()
    {
        SaveFirst();
        DesiredState loaded = Load();
        AssertSame(Small, loaded);
        Assert.Equal((1, 1), (loaded.Networks["blue"].Index, loaded.Networks["blue"].FidBlock));
        Assert.Equal(["state.db"], Files());
    }

    [Fact]
    public void OnlyItsOwnerMayReadIt()
    {
        using var store = new SqliteStore(Path);
        store.Load();
        store.Save(First.From(DesiredState.Empty));
        Assert.Equal(["state.db", "state.db-wal"], Files());
        Assert.All(Directory.EnumerateFiles(_directory.Path), f => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(f)));
        Assert.All(Files(), f => Assert.Contains(System.IO.Path.Combine(_directory.Path, f!), SqliteStore.Files(Path)));
    }

    [Fact]
    public void UpdatesAndDeletionsAreSaved()
    {
        using (var store = new SqliteStore(Path))
        {
            DesiredState state = Step(store, store.Load(), Make.Net("blue"), Make.Memory("a", "blue"), Make.Memory("b", "blue"), Make.Mac("blue", "02:00:00:00:00:01", "a"));
            state = Step(store, state, Make.Memory("a", "blue", p => p.Isolated = true));
            PlannedBatch deletion = BatchPlanner.Plan(
                state, new Batch { Delete = [new ResourceKey { Kind = Kind.Port, Name = "b" }, new ResourceKey { Kind = Kind.StaticMac, Name = "blue/02:00:00:00:00:01" }] }, new Limits(10, 10));
            store.Save(deletion.From(state));
        }
        DesiredState loaded = Load();
        Assert.Equal((3ul, 1, 0), (loaded.Revision, loaded.Ports.Count, loaded.StaticMacs.Count));
        Assert.True(loaded.Ports["a"].Spec.Isolated);
        Assert.Equal((1ul, 2ul), (loaded.Networks["blue"].Spec.Revision, loaded.Ports["a"].Spec.Revision));
    }

    /// <summary>One of 20,000 static MACs changes: the log grows by a few pages, whatever the number of the others.</summary>
    [Fact]
    public void OnlyRowsThatChangedAreWritten()
    {
        LogWrittenRows();
        using var store = new SqliteStore(Path);
        PlannedBatch many = ValidationTests.Plan(DesiredState.Empty, [Make.Net("n"), .. Enumerable.Range(0, 20_000).Select(i => Make.Mac("n", $"02:00:00:00:{i >> 8:x2}:{i & 255:x2}"))]);
        store.Load();
        store.Save(many.From(DesiredState.Empty));
        PlannedBatch one = ValidationTests.Plan(many.After, Make.Memory("p", "n"), Make.Mac("n", "02:00:00:00:11:11", "p"));
        long before = new FileInfo(Path + "-wal").Length;
        store.Save(one.From(many.After));
        Assert.InRange(new FileInfo(Path + "-wal").Length - before, 0, 16 * 4096);
        store.Dispose();
        Assert.Equal("2 p, 3 n/02:00:00:00:11:11", Sql(Path, "SELECT group_concat(what, ', ') FROM (SELECT what FROM written ORDER BY rowid LIMIT -1 OFFSET 20001)"));
        AssertSame(one.After, Load());
    }

    [Fact]
    public void AChangeOfAnotherStateIsSavedAsAWhole()
    {
        PlannedBatch second = ValidationTests.Plan(Small, Make.Memory("m", "blue"));
        PlannedBatch third = ValidationTests.Plan(second.After, Make.Memory("o", "blue"));
        using (var store = new SqliteStore(Path))
        {
            store.Load();
            store.Save(First.From(DesiredState.Empty));
            store.Save(third.From(second.After)); // of the second nothing was saved
        }
        AssertSame(third.After, Load());
    }

    public static TheoryData<string, Action<string>> Damages { get; } = new()
    {
        { "text", path => File.WriteAllText(path, "{\"format\": 1, \"revision\": \"1\", \"networks\": []}") },
        { "cut off", path => Resize(path, 4096 * 2 + 100) },
        { "a page overwritten", path => Overwrite(path, 4096 * 2, new byte[4096]) },
        { "the header overwritten", path => Overwrite(path, 16, new byte[50]) },
        { "a spec that is none", path => Sql(path, "UPDATE resource SET spec = x'ffff' WHERE name = 'web'") },
        { "a kind that is none", path => Sql(path, "UPDATE resource SET kind = 77 WHERE name = 'web'") },
        { "a missing row", path => Sql(path, "DELETE FROM state") },
        { "a port without its network", path => Sql(path, "DELETE FROM resource WHERE name = 'blue'") },
        { "a number used twice", path => Sql(path, "INSERT INTO resource SELECT kind, 'other', revision, spec, number, fid_block, router_port, vrf, host_port FROM resource WHERE name = 'web'") },
    };

    [Theory]
    [MemberData(nameof(Damages))]
    public void ADamagedFileIsRefusedWithTheRemedy(string how, Action<string> damage)
    {
        SaveFirst();
        damage(Path);
        byte[] before = File.ReadAllBytes(Path);
        StateStoreException error = Assert.Throws<StateStoreException>(() => Load());
        Assert.NotEmpty(how);
        Assert.StartsWith($"{Path} is damaged: ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("; remove it, and the ports with it, with `dataplane clean`", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Path));
    }

    [Fact]
    public void AFileOfALaterVersionIsRefused()
    {
        SaveFirst();
        Sql(Path, "PRAGMA user_version = 1000");
        StateStoreException error = Assert.Throws<StateStoreException>(() => Load());
        Assert.Equal(
            $"{Path} has schema version 1000, this program knows up to {Schema.Migrations.Count}; "
            + "run the newer program, or remove the file, and the ports with it, with `dataplane clean`", error.Message);
    }

    [Fact]
    public void AnOlderFileIsMigratedStepByStep()
    {
        SaveFirst();
        string[] more = [.. Schema.Migrations, "ALTER TABLE state ADD COLUMN first TEXT", "ALTER TABLE state ADD COLUMN second TEXT"];
        using (var store = new SqliteStore(Path, more))
        {
            AssertSame(Small, store.Load());
        }
        Assert.Equal((long)more.Length, Sql(Path, "PRAGMA user_version"));
        Assert.Equal(1L, Sql(Path, "SELECT count(*) FROM state WHERE first IS NULL AND second IS NULL"));
    }

    [Fact]
    public void AMigrationThatFailsLeavesTheVersionBefore()
    {
        SaveFirst();
        string[] more = [.. Schema.Migrations, "ALTER TABLE state ADD COLUMN first TEXT", "ALTER TABLE state ADD COLUMN second TEXT; DELETE FROM nowhere"];
        StateStoreException error = Assert.Throws<StateStoreException>(() => new SqliteStore(Path, more));
        Assert.Contains("cannot be opened", error.Message, StringComparison.Ordinal);
        Assert.Equal((long)more.Length - 1, Sql(Path, "PRAGMA user_version"));
        Assert.ThrowsAny<SqliteException>(() => Sql(Path, "SELECT second FROM state"));
        AssertSame(Small, new SqliteStore(Path, more[..^1]).Using(s => s.Load()));
    }

    [Fact]
    public void AFileInUseIsRefused()
    {
        using var store = new SqliteStore(Path);
        StateStoreException error = Assert.Throws<StateStoreException>(() => new SqliteStore(Path));
        Assert.Equal($"{Path} is in use by another process; end that process", error.Message);
    }

    [Fact]
    public void ADirectoryThatDoesNotExistIsRefused()
    {
        StateStoreException error = Assert.Throws<StateStoreException>(() => new SqliteStore(_directory.File("nowhere/state.db")));
        Assert.Contains("nowhere/state.db cannot be opened", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Batches until the disk is full, then room is made: all that was acknowledged is there, nothing else, and it goes on.</summary>
    [RootFact]
    public void AFullDiskRefusesABatchAndNoMore()
    {
        using var disk = new SmallDisk(_directory.File("disk"), "512k");
        string path = System.IO.Path.Combine(disk.Path, "state.db"), ballast = System.IO.Path.Combine(disk.Path, "ballast");
        File.WriteAllBytes(ballast, new byte[160 * 1024]);
        DesiredState state;
        using (var store = new SqliteStore(path))
        {
            state = Step(store, store.Load(), Make.Net("n"));
            StateStoreException? full = null;
            for (int i = 0; full is null; i++)
            {
                Assert.True(i < 1000, "the disk never was full");
                PlannedBatch plan = ValidationTests.Plan(state, Ports(i));
                try
                {
                    store.Save(plan.From(state));
                    state = plan.After;
                }
                catch (StateStoreException e)
                {
                    full = e;
                }
            }
            Assert.Equal(StatusCode.ResourceExhausted, full.Code);
            Assert.Equal($"{path}: there is no space left on its file system; make room, then repeat the change", full.Message);
            Assert.Throws<StateStoreException>(() => Step(store, state, Ports(9999)));

            File.Copy(path, _directory.File("copy.db"));
            File.Copy(path + "-wal", _directory.File("copy.db-wal"));
            AssertSame(state, new SqliteStore(_directory.File("copy.db")).Using(s => s.Load())); // as after a kill now

            File.Delete(ballast);
            state = Step(store, state, Ports(9999));
        }
        AssertSame(state, new SqliteStore(path).Using(s => s.Load()));

        static Resource[] Ports(int batch) => [.. Enumerable.Range(0, 4).Select(i => Make.Memory($"p{i}", "n", p => p.LearnLimit = (uint)batch + 1)), Make.Memory($"q{batch}", "n")];
    }

    [RootFact]
    public void AReadOnlyDiskRefusesABatchAndNoMore()
    {
        using var disk = new SmallDisk(_directory.File("disk"), "4m");
        string path = System.IO.Path.Combine(disk.Path, "state.db");
        using (var store = new SqliteStore(path))
        {
            store.Load();
            store.Save(First.From(DesiredState.Empty));
        }
        disk.Remount("ro");
        StateStoreException error = Assert.Throws<StateStoreException>(() => new SqliteStore(path));
        Assert.Contains($"{path} cannot be opened", error.Message, StringComparison.Ordinal);
        disk.Remount("rw");
        AssertSame(Small, new SqliteStore(path).Using(s => s.Load()));
    }

    internal static void AssertSame(DesiredState expected, DesiredState actual)
    {
        Assert.Equal(expected.Revision, actual.Revision);
        Assert.Equal(expected.Networks, actual.Networks);
        Assert.Equal(expected.Ports, actual.Ports);
        Assert.Equal(expected.StaticMacs, actual.StaticMacs);
        Assert.Equal(expected.Peers, actual.Peers);
        Assert.Equal(expected.Neighbours, actual.Neighbours);
        Assert.Equal(expected.Routes, actual.Routes);
        Assert.Equal(expected.Services.Services, actual.Services.Services);
        Assert.Equal(expected.Services.Backends.SelectMany(b => b.Value), actual.Services.Backends.SelectMany(b => b.Value));
        Assert.Equal(expected.Services.Published, actual.Services.Published);
    }

    private static DesiredState Step(SqliteStore store, DesiredState state, params Resource[] resources)
    {
        PlannedBatch plan = ValidationTests.Plan(state, resources);
        store.Save(plan.From(state));
        return plan.After;
    }

    private void SaveFirst() => new SqliteStore(Path).Using(store =>
    {
        store.Load();
        store.Save(First.From(DesiredState.Empty));
        return store;
    });

    /// <summary>From now on the file itself notes which rows are written.</summary>
    private void LogWrittenRows()
    {
        new SqliteStore(Path).Dispose();
        Sql(Path, """
            CREATE TABLE written (what TEXT);
            CREATE TRIGGER on_insert AFTER INSERT ON resource BEGIN INSERT INTO written VALUES (NEW.kind || ' ' || NEW.name); END;
            CREATE TRIGGER on_update AFTER UPDATE ON resource BEGIN INSERT INTO written VALUES (NEW.kind || ' ' || NEW.name); END;
            CREATE TRIGGER on_delete AFTER DELETE ON resource BEGIN INSERT INTO written VALUES (OLD.kind || ' ' || OLD.name); END;
            """);
    }

    private DesiredState Load() => new SqliteStore(Path).Using(s => s.Load());

    private IEnumerable<string?> Files() => Directory.EnumerateFiles(_directory.Path).Select(System.IO.Path.GetFileName).Order();
}
