using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Google.Protobuf;
using Microsoft.Data.Sqlite;

namespace Dataplane.Control.State.Sqlite;

/// <summary>Resources as rows of the table <c>resource</c>, one each.</summary>
internal static class Rows
{
    /// <summary>All of them, as the state at a revision.</summary>
    /// <exception cref="InvalidProtocolBufferException">A spec cannot be read.</exception>
    public static DesiredState Read(SqliteConnection connection)
    {
        var networks = ImmutableSortedDictionary.CreateBuilder<string, NetworkEntry>(StringComparer.Ordinal);
        var ports = ImmutableSortedDictionary.CreateBuilder<string, PortEntry>(StringComparer.Ordinal);
        var macs = ImmutableSortedDictionary.CreateBuilder<string, StaticMac>(StringComparer.Ordinal);
        ulong revision = (ulong)(long)(Schema.Query(connection, "SELECT revision FROM state") ?? throw new InvalidDataException("its revision is missing"));
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = "SELECT kind, name, spec, number, fid_block FROM resource";
        using SqliteDataReader rows = command.ExecuteReader();
        while (rows.Read())
        {
            string name = rows.GetString(1);
            var spec = (byte[])rows.GetValue(2);
            switch ((Kind)rows.GetInt32(0))
            {
                case Kind.Network:
                    networks.Add(name, new NetworkEntry(Network.Parser.ParseFrom(spec), rows.GetInt32(3), rows.GetInt32(4)));
                    break;
                case Kind.Port:
                    ports.Add(name, new PortEntry(Port.Parser.ParseFrom(spec), rows.GetInt32(3)));
                    break;
                case Kind.StaticMac:
                    macs.Add(name, StaticMac.Parser.ParseFrom(spec));
                    break;
                default:
                    throw new InvalidDataException($"\"{name}\" is of kind {rows.GetInt32(0)}, which does not exist");
            }
        }
        CheckSense(networks, ports, macs);
        return revision == 0 && networks.Count == 0 && ports.Count == 0 && macs.Count == 0
            ? DesiredState.Empty
            : new DesiredState(revision, networks.ToImmutable(), ports.ToImmutable(), macs.ToImmutable());
    }

    /// <summary>What every reader takes for granted, and what a file that somebody edited may lack.</summary>
    private static void CheckSense(
        IReadOnlyDictionary<string, NetworkEntry> networks, IReadOnlyDictionary<string, PortEntry> ports, IReadOnlyDictionary<string, StaticMac> macs)
    {
        string? flaw = networks.Where(n => n.Value.Spec.Name != n.Key).Select(n => $"the row \"{n.Key}\" holds network \"{n.Value.Spec.Name}\"")
            .Concat(ports.Where(p => p.Value.Spec.Name != p.Key).Select(p => $"the row \"{p.Key}\" holds port \"{p.Value.Spec.Name}\""))
            .Concat(macs.Where(m => m.Value.Name != m.Key).Select(m => $"the row \"{m.Key}\" holds static MAC \"{m.Value.Name}\""))
            .Concat(ports.Where(p => !networks.ContainsKey(p.Value.Spec.Network)).Select(p => $"the network of port \"{p.Key}\" is missing"))
            .Concat(macs.Where(m => !networks.ContainsKey(m.Value.Network)).Select(m => $"the network of static MAC \"{m.Key}\" is missing"))
            .Concat(macs.Where(m => m.Value.Port.Length > 0 && !ports.ContainsKey(m.Value.Port)).Select(m => $"the port of static MAC \"{m.Key}\" is missing"))
            .Concat(GivenTwice(networks.Values.Select(n => n.Index)).Select(i => $"two networks have index {i}"))
            .Concat(GivenTwice(ports.Values.Select(p => p.Index)).Select(i => $"two ports have index {i}"))
            .FirstOrDefault();
        if (flaw is not null)
        {
            throw new InvalidDataException(flaw);
        }

        static IEnumerable<int> GivenTwice(IEnumerable<int> numbers) => numbers.GroupBy(n => n).Where(g => g.Count() > 1).Select(g => g.Key);
    }

    /// <summary>The keys of all resources of a state.</summary>
    public static IEnumerable<ResourceKey> Keys(DesiredState state) =>
        new[] { Kind.Network, Kind.Port, Kind.StaticMac }.SelectMany(kind => state.Names(kind).Select(name => new ResourceKey { Kind = kind, Name = name }));

    /// <summary>Writes what lies under the keys.</summary>
    public sealed class Writer : IDisposable
    {
        private readonly SqliteCommand _put, _delete, _revision;

        public Writer(SqliteConnection connection)
        {
            _put = Prepare(connection, "INSERT OR REPLACE INTO resource VALUES ($kind, $name, $revision, $spec, $number, $fid_block)",
                ("$kind", SqliteType.Integer), ("$name", SqliteType.Text), ("$revision", SqliteType.Integer), ("$spec", SqliteType.Blob),
                ("$number", SqliteType.Integer), ("$fid_block", SqliteType.Integer));
            _delete = Prepare(connection, "DELETE FROM resource WHERE kind = $kind AND name = $name", ("$kind", SqliteType.Integer), ("$name", SqliteType.Text));
            _revision = Prepare(connection, "UPDATE state SET revision = $revision", ("$revision", SqliteType.Integer));
        }

        public void Write(DesiredState state, IEnumerable<ResourceKey> keys, SqliteTransaction transaction)
        {
            foreach (ResourceKey key in keys)
            {
                (IMessage Spec, ulong Revision, int Number, int FidBlock)? row = key.Kind switch
                {
                    Kind.Network when state.Networks.TryGetValue(key.Name, out NetworkEntry? n) => (n.Spec, n.Spec.Revision, n.Index, n.FidBlock),
                    Kind.Port when state.Ports.TryGetValue(key.Name, out PortEntry? p) => (p.Spec, p.Spec.Revision, p.Index, 0),
                    Kind.StaticMac when state.StaticMacs.TryGetValue(key.Name, out StaticMac? m) => (m, m.Revision, 0, 0),
                    _ => null,
                };
                if (row is { } r)
                {
                    Run(_put, transaction, (int)key.Kind, key.Name, (long)r.Revision, r.Spec.ToByteArray(), r.Number, r.FidBlock);
                }
                else
                {
                    Run(_delete, transaction, (int)key.Kind, key.Name);
                }
            }
            Run(_revision, transaction, (long)state.Revision);
        }

        public void Dispose()
        {
            _put.Dispose();
            _delete.Dispose();
            _revision.Dispose();
        }

        private static SqliteCommand Prepare(SqliteConnection connection, string sql, params (string Name, SqliteType Type)[] parameters)
        {
            SqliteCommand command = connection.CreateCommand();
            command.CommandText = sql;
            foreach ((string name, SqliteType type) in parameters)
            {
                command.Parameters.Add(name, type);
            }
            return command;
        }

        private static void Run(SqliteCommand command, SqliteTransaction transaction, params ReadOnlySpan<object> values)
        {
            command.Transaction = transaction;
            for (int i = 0; i < values.Length; i++)
            {
                command.Parameters[i].Value = values[i];
            }
            command.ExecuteNonQuery();
        }
    }
}
