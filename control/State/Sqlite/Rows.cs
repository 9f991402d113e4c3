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

    /// <summary>All resources of a state, as what makes it of nothing.</summary>
    public static IEnumerable<ResourceChange> All(DesiredState state) =>
        state.Networks.Values.Select(n => new ResourceChange(Kind.Network, n.Spec.Name, null, n.Spec))
            .Concat(state.Ports.Values.Select(p => new ResourceChange(Kind.Port, p.Spec.Name, null, p.Spec)))
            .Concat(state.StaticMacs.Values.Select(m => new ResourceChange(Kind.StaticMac, m.Name, null, m)));
}
