using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

/// <summary>
/// The numbers that resources are given for their life: of bridges, blocks of filtering identifiers, ports (of devices, of
/// routers and of tunnels, all from one space) and VRFs. They are saved with the resource, so a process that takes over finds
/// the tables as it would have made them. A number that a batch sets free is not given away again in the same batch: packets
/// may still carry it.
/// <para>
/// A VRF is no resource; it exists as long as an interface names it. Each interface has the VRF's number saved with it, the same
/// one for the same name. Next hops and groups have no numbers here: those mean nothing outside the segment, which therefore
/// is their register (see <see cref="Compiler.NextHopTable"/>).
/// </para>
/// </summary>
public static partial class BatchPlanner
{
    private static DesiredState PutNetwork(
        DesiredState before, DesiredState state, Network spec, ProblemCollector problems, Limits limits)
    {
        state.Networks.TryGetValue(spec.Name, out NetworkEntry? existing);
        int index = existing?.Index ?? LowestFree(Networks().Select(n => n.Index), limits.Networks);
        if (index == 0)
        {
            problems.Add(Kind.Network, spec.Name, "", $"there is room for {limits.Networks} networks", "start the daemon with a larger --max-networks");
        }
        int block = 0;
        if (spec.VlanFiltering)
        {
            block = existing is { FidBlock: > 0 } ? existing.FidBlock
                : LowestFree(Networks().Select(n => n.FidBlock), Limits.VlanNetworks);
            if (block == 0)
            {
                problems.Add(Kind.Network, spec.Name, "vlan_filtering", $"only {Limits.VlanNetworks} networks can have VLAN filtering",
                    "use VLANs of one network, or a network without VLAN filtering");
            }
        }
        int router = 0, vrf = 0;
        if (spec.Router is { } wanted)
        {
            router = existing is { RouterPort: > 0 } ? existing.RouterPort : NewPort(before, state, Kind.Network, spec.Name, "router", problems, limits);
            vrf = VrfIndex(before, state, wanted.VrfInForce, Kind.Network, spec.Name, "router.vrf", problems, limits);
        }
        return state with { Networks = state.Networks.SetItem(spec.Name, new NetworkEntry(spec, index, block, router, vrf)) };

        IEnumerable<NetworkEntry> Networks() => state.Networks.Values.Concat(before.Networks.Values);
    }

    private static DesiredState PutPort(
        DesiredState before, DesiredState state, Port spec, ProblemCollector problems, Limits limits)
    {
        state.Ports.TryGetValue(spec.Name, out PortEntry? existing);
        int index = existing?.Index ?? NewPort(before, state, Kind.Port, spec.Name, "", problems, limits);
        int vrf = spec.Routed is { } routed ? VrfIndex(before, state, routed.VrfInForce, Kind.Port, spec.Name, "routed.vrf", problems, limits) : 0;
        return state with { Ports = state.Ports.SetItem(spec.Name, new PortEntry(spec, index, vrf)) };
    }

    private static DesiredState PutPeer(
        DesiredState before, DesiredState state, TunnelPeer spec, ProblemCollector problems, Limits limits)
    {
        state.Peers.TryGetValue(spec.Name, out PeerEntry? existing);
        int index = existing?.Index ?? NewPort(before, state, Kind.TunnelPeer, spec.Name, "", problems, limits);
        return state with { Peers = state.Peers.SetItem(spec.Name, new PeerEntry(spec, index)) };
    }

    private static int NewPort(
        DesiredState before, DesiredState state, Kind kind, string name, string field, ProblemCollector problems, Limits limits)
    {
        int index = LowestFree(Used(state).Concat(Used(before)), limits.Ports);
        if (index == 0)
        {
            problems.Add(kind, name, field, $"there is room for {limits.Ports} ports{(kind == Kind.Port ? "" : ", routers of networks and tunnel peers together")}",
                "start the daemon with a larger --max-ports");
        }
        return index;

        static IEnumerable<int> Used(DesiredState s) =>
            s.Ports.Values.Select(p => p.Index).Concat(s.Networks.Values.Select(n => n.RouterPort)).Concat(s.Peers.Values.Select(p => p.Index));
    }

    private static int VrfIndex(
        DesiredState before, DesiredState state, string vrf, Kind kind, string name, string field, ProblemCollector problems, Limits limits)
    {
        if (vrf == ResourceKeys.MainVrf)
        {
            return Topology.MainVrfIndex;
        }
        List<(string Name, int Index)> known = [.. Vrfs(state), .. Vrfs(before)];
        int index = known.FirstOrDefault(v => v.Name == vrf).Index;
        if (index == 0)
        {
            index = LowestFree(known.Select(v => v.Index).Append(Topology.MainVrfIndex), limits.Vrfs);
        }
        if (index == 0)
        {
            problems.Add(kind, name, field, $"there is room for {limits.Vrfs} VRFs", "start the daemon with a larger --max-vrfs");
        }
        return index;

        static IEnumerable<(string Name, int Index)> Vrfs(DesiredState s) =>
            s.Networks.Values.Where(n => n.Spec.Router is not null).Select(n => (n.Spec.Router.VrfInForce, n.Vrf))
                .Concat(s.Ports.Values.Where(p => p.Spec.Routed is not null).Select(p => (p.Spec.Routed.VrfInForce, p.Vrf)))
                .Where(v => v.Item2 != 0);
    }

    /// <summary>The lowest number from 1 that is not used, 0 when there is none up to <paramref name="last"/>.</summary>
    private static int LowestFree(IEnumerable<int> used, int last)
    {
        HashSet<int> taken = [.. used];
        for (int i = 1; i <= last; i++)
        {
            if (!taken.Contains(i))
            {
                return i;
            }
        }
        return 0;
    }
}
