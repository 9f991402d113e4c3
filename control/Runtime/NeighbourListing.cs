using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

/// <summary>The neighbour table with the names of interfaces.</summary>
internal sealed class NeighbourListing
{
    private readonly DesiredState _state;
    private readonly Segment _segment;
    private readonly int _port;
    private readonly IPAddress? _address;

    /// <summary>Entries that a caller asks for.</summary>
    /// <exception cref="ProblemException">The request names something that does not exist, or no address.</exception>
    public NeighbourListing(DesiredState state, Segment segment, ListNeighboursRequest request)
    {
        _state = state;
        _segment = segment;
        var problems = new ProblemCollector();
        if (request.Network.Length > 0)
        {
            _port = PortOf(state.Topology.OfNetwork(request.Network), Kind.Network, request.Network, "has no router", problems);
        }
        if (request.Port.Length > 0)
        {
            _port = PortOf(state.Topology.OfPort(request.Port), Kind.Port, request.Port, "is not a routed port", problems);
        }
        if (request.Address.Length > 0 && !Cidr.TryParseAddress(request.Address, out _address))
        {
            problems.Add(Kind.Unspecified, "", "address", $"\"{request.Address}\" is not an IP address");
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
    }

    public int Buckets => _segment.Neighbours.BucketCount;

    /// <summary>The entries in a range of buckets.</summary>
    public IEnumerable<Api.V1.NeighbourEntry> Read(int firstBucket, int count)
    {
        var entries = new List<Tables.NeighbourEntry>();
        _segment.Neighbours.List(firstBucket, count, entries);
        return entries.Where(e => _port == 0 || e.Key.Port == _port).Select(Describe).Where(n => _address is null || n.Address == _address.ToString());
    }

    /// <summary>What is known of one neighbour; state NONE when nothing is.</summary>
    public static Api.V1.NeighbourEntry Find(DesiredState state, Segment segment, int port, IPAddress address)
    {
        var number = Cidr.ToNumber(address);
        NeighbourKey key = address.AddressFamily == AddressFamily.InterNetworkV6
            ? segment.Neighbours.Key6(port, (ulong)(number >> 64), (ulong)number)
            : NeighbourTable.Key4(port, (uint)number);
        ulong value = segment.Neighbours.Find(in key);
        return Describe(state, new Tables.NeighbourEntry(key, NeighbourValue.Mac(value), NeighbourValue.State(value), value == 0 ? default : NeighbourValue.Flags(value), 0, 0));
    }

    private Api.V1.NeighbourEntry Describe(Tables.NeighbourEntry entry) => Describe(_state, entry);

    private static Api.V1.NeighbourEntry Describe(DesiredState state, Tables.NeighbourEntry entry)
    {
        NamedPort? port = state.Topology.Find(entry.Key.Port);
        // The workers' clock: whole seconds of CLOCK_MONOTONIC.
        uint now = (uint)(Environment.TickCount64 / 1000);
        return new Api.V1.NeighbourEntry
        {
            Interface = port?.Name ?? $"#{entry.Key.Port}",
            Network = port?.Network ?? "",
            Address = RouteCompiler.AddressOf(entry.Key.IsIPv6, new UInt128(entry.Key.High, entry.Key.Low)).ToString(),
            Mac = entry.Mac == 0 ? "" : new MacAddress(entry.Mac).ToString(),
            State = (Api.V1.NeighbourEntry.Types.State)(int)entry.State,
            Router = (entry.Flags & NeighbourFlags.Router) != 0,
            ConfirmedSeconds = entry.State == NeighbourState.Permanent || entry.Confirmed == 0 || entry.Confirmed > now ? 0 : now - entry.Confirmed,
        };
    }

    private static int PortOf(RoutedInterface? one, Kind kind, string name, string lacks, ProblemCollector problems)
    {
        if (one is null)
        {
            problems.Add(kind, name, "", $"does not exist, or {lacks}", code: StatusCode.NotFound);
        }
        return one?.Port ?? 0;
    }
}
