using System.Text;
using Dataplane.Control.Api.V1;
using Google.Protobuf;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Dataplane.Control.State.Sqlite;

/// <summary>
/// Writes changed resources into the table <c>resource</c>. A batch may have thousands of rows, so each of them is SQLite's own
/// bind, step and reset: a command object costs several times as much as the row. What is bound stays bound, so of a column in
/// which a row is as the one before nothing is said: of many static MACs that leaves name and spec.
/// </summary>
internal sealed class RowWriter : IDisposable
{
    private readonly sqlite3 _database;
    private readonly sqlite3_stmt _put, _delete, _revision, _begin, _commit, _rollback;
    private readonly long[] _bound = new long[Columns + 1];
    private byte[] _spec = new byte[256], _name = new byte[256];

    /// <summary>Columns of the table.</summary>
    private const int Columns = 9;

    /// <param name="connection">Open, with the newest schema.</param>
    public RowWriter(SqliteConnection connection)
    {
        _database = connection.Handle ?? throw new ArgumentException("the connection is not open", nameof(connection));
        Array.Fill(_bound, long.MinValue);
        _put = Prepare("INSERT OR REPLACE INTO resource (kind, name, revision, spec, number, fid_block, router_port, vrf, host_port) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        _delete = Prepare("DELETE FROM resource WHERE kind = ? AND name = ?");
        _revision = Prepare("UPDATE state SET revision = ?");
        _begin = Prepare("BEGIN IMMEDIATE");
        _commit = Prepare("COMMIT");
        _rollback = Prepare("ROLLBACK");
    }

    /// <summary>Writes what an action writes: all of it or nothing. When it returns it is durable.</summary>
    /// <exception cref="SqliteException">It cannot be written.</exception>
    public void Transact(Action action)
    {
        Step(_begin);
        try
        {
            action();
            Step(_commit);
        }
        catch
        {
            // Of many an error SQLite itself has made an end of the transaction.
            if (raw.sqlite3_get_autocommit(_database) == 0)
            {
                Step(_rollback);
            }
            throw;
        }
    }

    /// <summary>Writes changes, within <see cref="Transact"/>.</summary>
    /// <param name="changes">Which resources, and as what.</param>
    /// <param name="after">The state that has them, with their numbers.</param>
    /// <exception cref="SqliteException">It cannot be written.</exception>
    public void Write(IEnumerable<ResourceChange> changes, DesiredState after)
    {
        foreach (ResourceChange change in changes)
        {
            if (change.After is { } spec)
            {
                Put(change, spec, after);
            }
            else
            {
                raw.sqlite3_bind_int(_delete, 1, (int)change.Kind);
                BindName(_delete, change.Name);
                Step(_delete);
            }
        }
        raw.sqlite3_bind_int64(_revision, 1, (long)after.Revision);
        Step(_revision);
    }

    public void Dispose()
    {
        foreach (sqlite3_stmt statement in (ReadOnlySpan<sqlite3_stmt>)[_put, _delete, _revision, _begin, _commit, _rollback])
        {
            statement.Dispose();
        }
    }

    private void Put(in ResourceChange change, IMessage spec, DesiredState after)
    {
        (ulong revision, long number, int fidBlock, int routerPort, int vrf, int hostPort) = spec switch
        {
            StaticMac m => (m.Revision, 0L, 0, 0, 0, 0),
            Route r => (r.Revision, 0L, 0, 0, 0, 0),
            Neighbour n => (n.Revision, 0L, 0, 0, 0, 0),
            Network n when after.Networks[n.Name] is var entry => (n.Revision, (long)entry.Index, entry.FidBlock, entry.RouterPort, entry.Vrf, 0),
            Port p when after.Ports[p.Name] is var entry => (p.Revision, (long)entry.Index, 0, 0, entry.Vrf, 0),
            TunnelPeer t => (t.Revision, (long)after.Peers[t.Name].Index, 0, 0, 0, 0),
            Service s => (s.Revision, (long)after.Services.Services[s.Name].Number, 0, 0, 0, 0),
            Backend b => (b.Revision, 0L, 0, 0, 0, 0),
            PublishedPort p when after.Services.Published[p.Name] is var entry => (p.Revision, (long)entry.Number, 0, 0, 0, entry.HostPort),
            _ => (change.Resource.Revision, 0L, 0, 0, 0, 0),
        };
        int size = spec.CalculateSize();
        if (size > _spec.Length)
        {
            _spec = new byte[2 * size];
        }
        spec.WriteTo(_spec.AsSpan(0, size));
        Bind(1, (long)change.Kind);
        BindName(_put, change.Name);
        Bind(3, (long)revision);
        raw.sqlite3_bind_blob(_put, 4, _spec.AsSpan(0, size));
        Bind(5, number);
        Bind(6, fidBlock);
        Bind(7, routerPort);
        Bind(8, vrf);
        Bind(9, hostPort);
        Step(_put);
    }

    private void Bind(int column, long value)
    {
        if (_bound[column] != value)
        {
            raw.sqlite3_bind_int64(_put, column, value);
            _bound[column] = value;
        }
    }

    private void BindName(sqlite3_stmt statement, string name)
    {
        int most = Encoding.UTF8.GetMaxByteCount(name.Length);
        if (most > _name.Length)
        {
            _name = new byte[2 * most];
        }
        raw.sqlite3_bind_text(statement, 2, _name.AsSpan(0, Encoding.UTF8.GetBytes(name, _name)));
    }

    private sqlite3_stmt Prepare(string sql)
    {
        Check(raw.sqlite3_prepare_v2(_database, sql, out sqlite3_stmt statement));
        return statement;
    }

    private void Step(sqlite3_stmt statement)
    {
        int result = raw.sqlite3_step(statement);
        // Of a statement that failed the reset gives the error once more.
        raw.sqlite3_reset(statement);
        Check(result == raw.SQLITE_DONE ? raw.SQLITE_OK : result);
    }

    private void Check(int result) => SqliteException.ThrowExceptionForRC(result, _database);
}
