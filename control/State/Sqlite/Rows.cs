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
        NameMap<StaticMac>.Editor macs = NameMap<StaticMac>.Empty.Edit();
        var peers = ImmutableSortedDictionary.CreateBuilder<string, PeerEntry>(StringComparer.Ordinal);
        NameMap<Neighbour>.Editor neighbours = NameMap<Neighbour>.Empty.Edit();
        NameMap<Route>.Editor routes = NameMap<Route>.Empty.Edit();
        var policies = ImmutableSortedDictionary.CreateBuilder<string, Policy>(StringComparer.Ordinal);
        var services = new ServiceStateEditor(ServiceState.Empty);
        ulong revision = (ulong)(long)(Schema.Query(connection, "SELECT revision FROM state") ?? throw new InvalidDataException("its revision is missing"));
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = "SELECT kind, name, spec, number, fid_block, router_port, vrf, host_port FROM resource";
        using SqliteDataReader rows = command.ExecuteReader();
        while (rows.Read())
        {
            string name = rows.GetString(1);
            var spec = (byte[])rows.GetValue(2);
            switch ((Kind)rows.GetInt32(0))
            {
                case Kind.Network:
                    networks.Add(name, new NetworkEntry(Network.Parser.ParseFrom(spec), rows.GetInt32(3), rows.GetInt32(4), rows.GetInt32(5), rows.GetInt32(6)));
                    break;
                case Kind.Port:
                    ports.Add(name, new PortEntry(Port.Parser.ParseFrom(spec), rows.GetInt32(3), rows.GetInt32(6)));
                    break;
                case Kind.StaticMac:
                    macs.Set(name, StaticMac.Parser.ParseFrom(spec));
                    break;
                case Kind.TunnelPeer:
                    peers.Add(name, new PeerEntry(TunnelPeer.Parser.ParseFrom(spec), rows.GetInt32(3)));
                    break;
                case Kind.Neighbour:
                    neighbours.Set(name, Neighbour.Parser.ParseFrom(spec));
                    break;
                case Kind.Route:
                    routes.Set(name, Route.Parser.ParseFrom(spec));
                    break;
                case Kind.Service:
                    services.Set(new ServiceEntry(Named(Service.Parser.ParseFrom(spec), s => s.Name, name), (uint)rows.GetInt64(3)));
                    break;
                case Kind.Backend:
                    services.Set(Named(Backend.Parser.ParseFrom(spec), b => b.Name, name));
                    break;
                case Kind.PublishedPort:
                    services.Set(new PublishedEntry(Named(PublishedPort.Parser.ParseFrom(spec), p => p.Name, name), (uint)rows.GetInt64(3), (ushort)rows.GetInt32(7)));
                    break;
                case Kind.Policy:
                    policies.Add(name, Policy.Parser.ParseFrom(spec));
                    break;
                default:
                    throw new InvalidDataException($"\"{name}\" is of kind {rows.GetInt32(0)}, which does not exist");
            }
        }
        var state = new DesiredState(
            revision, networks.ToImmutable(), ports.ToImmutable(), macs.ToMap(), peers.ToImmutable(), neighbours.ToMap(), routes.ToMap(), policies.ToImmutable());
        state = state with { Services = services.ToState(state) };
        CheckSense(state);
        return revision == 0 && !state.All.Any() ? DesiredState.Empty : state;
    }

    private static T Named<T>(T spec, Func<T, string> nameOf, string name) =>
        nameOf(spec) == name ? spec : throw new InvalidDataException($"the row \"{name}\" holds \"{nameOf(spec)}\"");

    /// <summary>What every reader takes for granted, and what a file that somebody edited may lack.</summary>
    private static void CheckSense(DesiredState state)
    {
        Topology topology = state.Topology;
        string? flaw = state.Networks.Select(n => (n.Key, Kind.Network, n.Value.Spec.Name))
            .Concat(state.Ports.Select(p => (p.Key, Kind.Port, p.Value.Spec.Name)))
            .Concat(state.StaticMacs.Select(m => (m.Key, Kind.StaticMac, m.Value.Name)))
            .Concat(state.Peers.Select(p => (p.Key, Kind.TunnelPeer, p.Value.Spec.Name)))
            .Concat(state.Neighbours.Select(n => (n.Key, Kind.Neighbour, n.Value.Name)))
            .Concat(state.Routes.Select(r => (r.Key, Kind.Route, r.Value.Name)))
            .Concat(state.Policies.Select(p => (p.Key, Kind.Policy, p.Value.Name)))
            .Where(row => row.Key != row.Name).Select(row => $"the row \"{row.Key}\" holds {row.Item2.Text} \"{row.Name}\"")
            .Concat(state.Ports.Where(p => !p.Value.Spec.IsRouted && !state.Networks.ContainsKey(p.Value.Spec.Network)).Select(p => $"the network of port \"{p.Key}\" is missing"))
            .Concat(state.Ports.Where(p => p.Value.Spec.Policy.Length > 0 && !state.Policies.ContainsKey(p.Value.Spec.Policy)).Select(p => $"the policy of port \"{p.Key}\" is missing"))
            .Concat(state.StaticMacs.Where(m => !state.Networks.ContainsKey(m.Value.Network)).Select(m => $"the network of static MAC \"{m.Key}\" is missing"))
            .Concat(state.StaticMacs.Where(m => m.Value.Port.Length > 0 && !state.Ports.ContainsKey(m.Value.Port)).Select(m => $"the port of static MAC \"{m.Key}\" is missing"))
            .Concat(state.Peers.Where(p => state.Networks.GetValueOrDefault(p.Value.Spec.Network)?.Spec.Vxlan is null).Select(p => $"the VXLAN network of tunnel peer \"{p.Key}\" is missing"))
            .Concat(state.Neighbours.Where(n => (n.Value.Port.Length > 0 ? topology.OfPort(n.Value.Port) : topology.OfNetwork(n.Value.Network)) is null)
                .Select(n => $"the interface of neighbour \"{n.Key}\" is missing"))
            .Concat(state.Routes.Where(r => !topology.Vrfs.ContainsKey(r.Value.VrfInForce)).Select(r => $"the VRF of route \"{r.Key}\" is missing"))
            .Concat(state.Services.Backends.Keys.Where(s => !state.Services.Services.ContainsKey(s)).Select(s => $"the service \"{s}\" of a backend is missing"))
            .Concat(GivenTwice(state.Services.Services.Values.Select(s => s.Number).Concat(state.Services.Published.Values.Select(p => p.Number)).Select(n => (int)n))
                .Select(i => $"two services have number {i}"))
            .Concat(GivenTwice(state.Networks.Values.Select(n => n.Index)).Select(i => $"two networks have index {i}"))
            .Concat(GivenTwice(topology.Ports.Select(p => p.Index)).Select(i => $"two ports have index {i}"))
            .Concat(topology.Interfaces.Where(i => i.Port == 0 || i.VrfIndex == 0 || topology.Vrfs[i.Vrf] != i.VrfIndex).Select(i => $"interface \"{i.Name}\" has index {i.Port} in VRF {i.VrfIndex}"))
            .Concat(GivenTwice(topology.Vrfs.Values).Select(i => $"two VRFs have index {i}"))
            .FirstOrDefault();
        if (flaw is not null)
        {
            throw new InvalidDataException(flaw);
        }

        static IEnumerable<int> GivenTwice(IEnumerable<int> numbers) => numbers.GroupBy(n => n).Where(g => g.Count() > 1).Select(g => g.Key);
    }
}
