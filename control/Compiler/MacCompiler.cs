using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>Static entries of the MAC table: the operator's, and those that lead to routers and tunnel peers.</summary>
internal static class MacCompiler
{
    public static IEnumerable<CompiledMac> All(DesiredState state) => Own(state).Concat(state.StaticMacs.Values.Select(m => Compile(state, m)));

    /// <summary>What a change makes of them; null when any of them may be another one.</summary>
    public static CompiledMacs? Changed(StateChange change)
    {
        if (MovesFids(change))
        {
            return null;
        }
        var set = new List<CompiledMac>(change.Changes.Count);
        var remove = new HashSet<ulong>();
        foreach (ResourceChange resource in change.Of(Kind.StaticMac))
        {
            if (resource.After is StaticMac wanted)
            {
                set.Add(Compile(change.After, wanted));
            }
            else if (resource.Before is StaticMac gone)
            {
                remove.Add(Compile(change.Before, gone).Key);
            }
        }
        if (!ReferenceEquals(change.Before.Topology, change.After.Topology))
        {
            set.AddRange(Own(change.After));
            remove.UnionWith(Own(change.Before).Select(m => m.Key));
        }
        remove.ExceptWith(set.Select(m => m.Key));
        return new CompiledMacs(set, [.. remove]);
    }

    /// <summary>
    /// A router's addresses (its second one is for the host, see <see cref="Effective"/>), and those of nodes behind tunnels.
    /// </summary>
    private static IEnumerable<CompiledMac> Own(DesiredState state)
    {
        foreach (RoutedInterface one in state.Topology.Interfaces.Where(i => i.Network is not null))
        {
            Network network = one.Network!.Spec;
            uint fid = StateCompiler.FidBase(one.Network) + (network.VlanFiltering ? network.Router.VlanInForce : 0);
            yield return new CompiledMac(MacTable.Key(fid, network.MacInForce.Value), (ushort)one.Port, MacFlags.Static);
            if (one.Host is not null)
            {
                yield return new CompiledMac(MacTable.Key(fid, network.SecondMac.Value), (ushort)one.Port, MacFlags.Static);
            }
        }
        foreach (PeerEntry peer in state.Peers.Values.Where(p => p.Spec.Mac.Length > 0))
        {
            ulong key = MacTable.Key(StateCompiler.FidBase(state.Networks[peer.Spec.Network]), MacAddress.Parse(peer.Spec.Mac).Value);
            yield return new CompiledMac(key, (ushort)peer.Index, MacFlags.Static);
        }
    }

    /// <summary>Whether a network that stays gets other filtering identifiers, which moves all of its entries.</summary>
    private static bool MovesFids(StateChange change) => change.Of(Kind.Network).Any(c =>
        change.Before.Networks.TryGetValue(c.Name, out NetworkEntry? before)
        && change.After.Networks.TryGetValue(c.Name, out NetworkEntry? after)
        && (StateCompiler.FidBase(before) != StateCompiler.FidBase(after) || before.Spec.VlanFiltering != after.Spec.VlanFiltering));

    private static CompiledMac Compile(DesiredState state, StaticMac mac)
    {
        NetworkEntry network = state.Networks[mac.Network];
        ulong key = MacTable.Key((uint)StateCompiler.FidBase(network) + (network.Spec.VlanFiltering ? mac.Vlan : 0), MacAddress.Parse(mac.Mac).Value);
        return mac.TargetCase == StaticMac.TargetOneofCase.Port
            ? new CompiledMac(key, (ushort)state.Ports[mac.Port].Index, MacFlags.Static)
            : new CompiledMac(key, 0, MacFlags.Static | MacFlags.Drop);
    }
}
