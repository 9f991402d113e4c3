using Dataplane.Control.Api.V1;
using Google.Protobuf;
using Microsoft.Data.Sqlite;

namespace Dataplane.Control.State.Sqlite;

/// <summary>
/// Desired state in one SQLite file, a row per resource. A change is one transaction, which writes the rows that changed
/// and no others, so its cost does not depend on how much there is.
/// <para>
/// The write-ahead log is synchronised with the disk before a transaction counts (<c>synchronous=FULL</c>): whenever the
/// power goes or the process is killed, the next one finds a transaction whole or not at all, and none that was
/// acknowledged is missing. The file is locked as long as it is open; that spares the shared-memory index of the log too,
/// whose mapping would be one more thing to fail on a full disk.
/// </para>
/// </summary>
public sealed class SqliteStore : IStateStore
{
    private readonly string _path;
    private readonly SqliteConnection _connection;
    private readonly RowWriter _writer;
    private DesiredState? _saved;

    /// <summary>Opens a file, or makes it, readable by its owner only.</summary>
    /// <param name="path">The file; its log is beside it, as <c>path-wal</c>.</param>
    /// <exception cref="StateStoreException">It is damaged, of a later version, in use, or cannot be made.</exception>
    public SqliteStore(string path)
        : this(path, Schema.Migrations)
    {
    }

    internal SqliteStore(string path, IReadOnlyList<string> migrations)
    {
        _path = path;
        try
        {
            _connection = Open(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException)
        {
            throw SqliteErrors.OnOpening(path, e);
        }
        try
        {
            CheckIntegrity();
            Schema.Migrate(_connection, path, migrations);
            _writer = new RowWriter(_connection);
        }
        catch (Exception e)
        {
            _connection.Dispose();
            throw SqliteErrors.OnOpening(path, e);
        }
    }

    /// <summary>The files of a store: its own, the write-ahead log, the log's index.</summary>
    public static IReadOnlyList<string> Files(string path) => [path, $"{path}-wal", $"{path}-shm", $"{path}-journal"];

    public string Location => _path;

    public DesiredState Load()
    {
        try
        {
            return _saved ??= Rows.Read(_connection);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidDataException or InvalidCastException)
        {
            throw SqliteErrors.Damaged(_path, e.Message, e);
        }
        catch (SqliteException e)
        {
            throw SqliteErrors.OnOpening(_path, e);
        }
    }

    /// <inheritdoc/>
    /// <remarks>
    /// The change of another state than the one saved last is saved as a whole. That happens when taking back a change
    /// failed, and makes good for it.
    /// </remarks>
    public void Save(StateChange change) => Save([change]);

    public bool SavesTogether => true;

    /// <inheritdoc/>
    public void Save(IReadOnlyList<StateChange> changes)
    {
        bool follows = ReferenceEquals(changes[0].Before, _saved);
        try
        {
            _writer.Transact(() =>
            {
                if (follows)
                {
                    foreach (StateChange change in changes)
                    {
                        _writer.Write(change.Changes, change.After);
                    }
                }
                else
                {
                    Schema.Execute(_connection, "DELETE FROM resource");
                    _writer.Write(changes[^1].After.All, changes[^1].After);
                }
            });
            _saved = changes[^1].After;
        }
        catch (SqliteException e)
        {
            throw SqliteErrors.OnSaving(_path, e);
        }
    }

    public void Dispose()
    {
        _writer.Dispose();
        _connection.Dispose();
    }

    private static SqliteConnection Open(string path)
    {
        // SQLite gives the log the permissions of the file, so it is enough to make that with the right ones.
        using (File.Open(path, new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.ReadWrite,
            Share = FileShare.ReadWrite,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
        }
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = path,
            Mode = SqliteOpenMode.ReadWrite,
            Pooling = false,
            DefaultTimeout = 1,
        }.ConnectionString);
        try
        {
            connection.Open();
            Schema.Execute(connection, "PRAGMA locking_mode = EXCLUSIVE");
            if (Schema.Query(connection, "PRAGMA journal_mode = WAL") is not "wal")
            {
                throw new StateStoreException($"{path}: its file system cannot hold a write-ahead log");
            }
            Schema.Execute(connection, "PRAGMA synchronous = FULL");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private void CheckIntegrity()
    {
        if (Schema.Query(_connection, "PRAGMA integrity_check(1)") is var found and not "ok")
        {
            throw SqliteErrors.Damaged(_path, $"{found}");
        }
    }
}
