using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Compiler;

/// <summary>Neighbours that are known without being asked for: addresses of TAP devices, and those the operator names.</summary>
internal static class NeighbourCompiler
{
    public static IEnumerable<CompiledNeighbour> All(DesiredState state) => OfDevices(state).Concat(state.Neighbours.Values.Select(n => Compile(state, n)));

    /// <summary>What a change makes of them.</summary>
    public static CompiledNeighbours Changed(StateChange change)
    {
        bool moved = !ReferenceEquals(change.Before.Topology, change.After.Topology);
        if (!moved && !change.Has(Kind.Neighbour))
        {
            return CompiledNeighbours.None;
        }
        var set = new Dictionary<LinkAddress, CompiledNeighbour>();
        var remove = new HashSet<LinkAddress>();
        if (moved)
        {
            foreach (CompiledNeighbour one in OfDevices(change.After))
            {
                set[one.Address] = one;
            }
            remove.UnionWith(OfDevices(change.Before).Select(n => n.Address));
        }
        // Where interfaces are other ones, the same neighbour may be at another index.
        IEnumerable<string> names = moved
            ? change.After.Neighbours.Keys.Union(change.Before.Neighbours.Keys)
            : change.Of(Kind.Neighbour).Select(c => c.Name);
        foreach (string name in names)
        {
            if (change.Before.Neighbours.TryGetValue(name, out Neighbour? before))
            {
                remove.Add(Compile(change.Before, before).Address);
            }
            if (change.After.Neighbours.TryGetValue(name, out Neighbour? after))
            {
                CompiledNeighbour one = Compile(change.After, after);
                set[one.Address] = one;
            }
        }
        remove.ExceptWith(set.Keys);
        return set.Count + remove.Count == 0 ? CompiledNeighbours.None : new CompiledNeighbours([.. set.Values], [.. remove]);
    }

    /// <summary>The host port's addresses are the router's own, and no neighbours.</summary>
    private static IEnumerable<CompiledNeighbour> OfDevices(DesiredState state)
    {
        foreach (PortEntry port in state.Ports.Values.Where(p => p.Spec.Tap is { Host: false }))
        {
            RoutedInterface? link = port.Spec.IsRouted ? state.Topology.OfPort(port.Spec.Name) : state.Topology.OfNetwork(port.Spec.Network);
            if (link is not null)
            {
                Network? network = link.Network?.Spec;
                foreach (Cidr address in port.Spec.AddressesInForce(network))
                {
                    yield return new CompiledNeighbour(Key(link, address.Address), port.Spec.MacInForce(network).Value);
                }
            }
        }
    }

    private static CompiledNeighbour Compile(DesiredState state, Neighbour neighbour)
    {
        RoutedInterface link = (neighbour.Port.Length > 0 ? state.Topology.OfPort(neighbour.Port) : state.Topology.OfNetwork(neighbour.Network))!;
        return new CompiledNeighbour(Key(link, IPAddress.Parse(neighbour.Address)), MacAddress.Parse(neighbour.Mac).Value);
    }

    private static LinkAddress Key(RoutedInterface link, IPAddress address) =>
        new((ushort)link.Port, address.AddressFamily == AddressFamily.InterNetworkV6, Cidr.ToNumber(address));
}
