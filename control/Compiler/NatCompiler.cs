using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

/// <summary>
/// What takes the place of masqueraded sources: a pool for each routed port of a VRF in which a network masquerades, with the addresses
/// that the port names, or its own. Numbers of pools mean nothing outside the segment, and go by the index of the port.
/// </summary>
internal static class NatCompiler
{
    /// <summary>Indices of the VRFs in which a network masquerades.</summary>
    public static IReadOnlySet<int> Vrfs(DesiredState state) =>
        state.Topology.Interfaces.Where(i => i.Network?.Spec.Masquerade == true).Select(i => i.VrfIndex).ToHashSet();

    /// <summary>Pools and their numbers, by port index.</summary>
    public static IReadOnlyDictionary<int, (int Number, NatPoolRecord Record)> Pools(DesiredState state)
    {
        IReadOnlySet<int> vrfs = Vrfs(state);
        return state.Topology.Interfaces
            .Where(i => i.Network is null && vrfs.Contains(i.VrfIndex))
            .Select(i => (i.Port, Record: Pool(i, state.Ports[i.Name].Spec.Routed.Nat ?? new Nat())))
            .Where(p => p.Record.Count4 + p.Record.Count6 > 0)
            .OrderBy(p => p.Port)
            .Select((p, n) => (p.Port, Pool: (n + 1, p.Record)))
            .ToDictionary(p => p.Port, p => p.Pool);
    }

    private static NatPoolRecord Pool(RoutedInterface port, Nat nat)
    {
        var record = new NatPoolRecord
        {
            Flags = NatPoolFlags.Exists | (nat.EndpointIndependent ? NatPoolFlags.EndpointIndependent : 0),
            FirstPort = nat.FirstPortInForce,
            LastPort = nat.LastPortInForce,
        };
        IEnumerable<IPAddress> addresses = nat.Addresses.Count > 0 ? nat.Addresses.Select(IPAddress.Parse) : port.Addresses.Select(a => a.Address).Where(a => !a.IsIPv6LinkLocal);
        foreach (IPAddress address in addresses)
        {
            if (address.AddressFamily == AddressFamily.InterNetworkV6)
            {
                record.Addresses6[record.Count6++] = InterfaceCompiler.Number(address);
            }
            else
            {
                record.Addresses4[record.Count4++] = (uint)Cidr.ToNumber(address);
            }
        }
        return record;
    }
}
