using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

/// <summary>Where packets to an address go, as the tables of the segment say.</summary>
internal static class RouteLookups
{
    /// <exception cref="ProblemException">There is no such VRF, or what was given is no address.</exception>
    public static RouteLookup Find(DesiredState state, Segment segment, StatusReader status, LookupRouteRequest request)
    {
        if (!Cidr.TryParseAddress(request.Address, out IPAddress? address))
        {
            throw new ProblemException(StatusCode.InvalidArgument, $"\"{request.Address}\" is not an IP address");
        }
        string vrf = request.Vrf.Length == 0 ? ResourceKeys.MainVrf : request.Vrf;
        if (!state.Topology.Vrfs.TryGetValue(vrf, out int index))
        {
            throw RouteListing.NoVrf(state, vrf);
        }
        var answer = new RouteLookup { Address = address.ToString() };
        ulong generation = segment.Generation;
        int nextHop = Find(segment, generation, index, address);
        if (nextHop == 0)
        {
            return answer;
        }
        // The table knows no prefixes any more, only what they come to.
        answer.Route = new RouteListing(state, status).Find(vrf, address) ?? new TableRoute { Vrf = vrf };
        NextHopRecord record = segment.NextHop(nextHop, generation);
        answer.Route.Type = RouteListing.TypeOf(record.Kind);
        answer.Route.NextHops.Clear();
        foreach ((NextHopRecord member, int weight) in Members(segment, generation, record))
        {
            Add(answer, state, segment, status, address, member, weight);
        }
        return answer;
    }

    private static int Find(Segment segment, ulong generation, int vrf, IPAddress address)
    {
        UInt128 number = Cidr.ToNumber(address);
        ref readonly VrfRecord record = ref segment.Vrf(vrf, generation);
        return (int)(address.AddressFamily == AddressFamily.InterNetworkV6
            ? segment.Routes.Find6(record.Root6, (ulong)(number >> 64), (ulong)number)
            : segment.Routes.Find4(record.Root4, (uint)number));
    }

    /// <summary>The members of a group, and how many buckets each has; of any other next hop that one.</summary>
    private static IEnumerable<(NextHopRecord Hop, int Buckets)> Members(Segment segment, ulong generation, NextHopRecord record)
    {
        if (record.Kind != NextHopKind.Group)
        {
            return [(record, 1)];
        }
        NextHopGroup group = segment.NextHopGroup(record.Group, generation);
        return Enumerable.Range(0, NextHopGroup.Buckets).Select(i => (int)group.Members[i]).GroupBy(i => i)
            .Select(g => (Hop: segment.NextHop(g.Key, generation), Buckets: g.Count()))
            .OrderBy(m => m.Hop.Port).ThenBy(m => m.Hop.Gateway.High).ThenBy(m => m.Hop.Gateway.Low);
    }

    private static void Add(RouteLookup answer, DesiredState state, Segment segment, StatusReader status, IPAddress address, NextHopRecord hop, int weight)
    {
        if (state.Topology.Find(hop.Port) is not { } port)
        {
            return;
        }
        IPAddress? via = hop.Kind is NextHopKind.Gateway4 or NextHopKind.Gateway6
            ? RouteCompiler.AddressOf(hop.Kind == NextHopKind.Gateway6, new UInt128(hop.Gateway.High, hop.Gateway.Low))
            : null;
        answer.Route.NextHops.Add(new ResolvedNextHop { Via = via?.ToString() ?? "", Port = port.Name, Network = port.Network, Weight = (uint)weight, Up = status.IsUp(state, port) });
        if (via is not null || hop.Kind == NextHopKind.Connected)
        {
            answer.Neighbours.Add(NeighbourListing.Find(state, segment, hop.Port, via ?? address));
            RoutedInterface? link = state.Topology.Interfaces.FirstOrDefault(i => i.Port == port.Index);
            answer.Route.Source = link?.Addresses.OrderByDescending(a => a.Contains(via ?? address)).Where(a => a.Address.AddressFamily == address.AddressFamily)
                .Select(a => a.Address.ToString()).FirstOrDefault() ?? "";
        }
    }
}
