using Microsoft.Data.Sqlite;

namespace Dataplane.Control.State.Sqlite;

/// <summary>
/// The shape of the file. Its version (<c>PRAGMA user_version</c>) is the number of migrations that it went through; each
/// one has a transaction of its own, so an interrupted upgrade goes on where it stopped. A migration that was released is
/// never edited: what comes later is appended.
/// </summary>
internal static class Schema
{
    /// <summary>Every migration since the beginning, in order.</summary>
    public static IReadOnlyList<string> Migrations { get; } =
    [
        // Specs are protobuf, in which a later version finds and keeps the fields it does not know. Numbers that were
        // given away are columns: bridge index and FID block of a network, port index of a port.
        """
        CREATE TABLE state (
          only INTEGER PRIMARY KEY CHECK (only = 1),
          revision INTEGER NOT NULL
        ) STRICT;
        INSERT INTO state VALUES (1, 0);
        CREATE TABLE resource (
          kind INTEGER NOT NULL,
          name TEXT NOT NULL,
          revision INTEGER NOT NULL,
          spec BLOB NOT NULL,
          number INTEGER NOT NULL,
          fid_block INTEGER NOT NULL,
          PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
        """,
        // Of a network with a router: the index of its port, and of its VRF; that of a routed port too. The number of a tunnel
        // peer is its port index.
        """
        ALTER TABLE resource ADD COLUMN router_port INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE resource ADD COLUMN vrf INTEGER NOT NULL DEFAULT 0;
        """,
        // Of a published port: the port of the node. The number of a service or a published port is its own.
        """
        ALTER TABLE resource ADD COLUMN host_port INTEGER NOT NULL DEFAULT 0;
        """,
    ];

    /// <summary>Brings a file to the newest version.</summary>
    /// <exception cref="StateStoreException">It is newer than this program.</exception>
    public static void Migrate(SqliteConnection connection, string path, IReadOnlyList<string> migrations)
    {
        long version = (long)Query(connection, "PRAGMA user_version")!;
        if (version > migrations.Count)
        {
            throw new StateStoreException(
                $"{path} has schema version {version}, this program knows up to {migrations.Count}",
                fix: "run the newer program, or remove the file, and the ports with it, with `dataplane clean`");
        }
        for (int next = (int)version; next < migrations.Count; next++)
        {
            using SqliteTransaction transaction = connection.BeginTransaction();
            Execute(connection, migrations[next], transaction);
            Execute(connection, string.Create(null, $"PRAGMA user_version = {next + 1}"), transaction);
            transaction.Commit();
        }
    }

    public static void Execute(SqliteConnection connection, string sql, SqliteTransaction? transaction = null)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        command.Transaction = transaction;
        // ExecuteNonQuery stops at the first statement that gives a row, ALTER TABLE among them, and hides the errors behind it.
        using SqliteDataReader results = command.ExecuteReader();
        while (results.NextResult())
        {
        }
    }

    public static object? Query(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
