using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Control.Compiler;

/// <summary>The layer-3 sides of ports, the ports of routers and tunnels, and what leads to tunnels and to the host.</summary>
internal static class InterfaceCompiler
{
    /// <summary>The port of a network's router.</summary>
    public static PortRecord RouterPort(NetworkEntry network)
    {
        var record = new PortRecord
        {
            // Nothing is learned from it, its own addresses are static. Unknown unicast is not for it.
            Flags = PortFlags.Exists | PortFlags.Enabled | PortFlags.Router | PortFlags.FloodMulticast | PortFlags.FloodBroadcast | PortFlags.AcceptUntagged,
            Bridge = (ushort)network.Index,
            Mtu = (ushort)network.Spec.MtuInForce,
        };
        if (network.Spec.VlanFiltering)
        {
            record.Pvid = (ushort)network.Spec.Router.VlanInForce;
            VlanSet.Add(ref record.Vlans, record.Pvid);
        }
        return record;
    }

    /// <summary>The port of a tunnel. Without an end point on this node it is there, and off.</summary>
    public static PortRecord TunnelPort(PeerEntry peer, NetworkEntry network, Vtep? vtep)
    {
        PortFlags flags = PortFlags.Exists | PortFlags.Tunnel | PortFlags.AcceptUntagged | (vtep is null ? 0 : PortFlags.Enabled);
        if (peer.Spec.FloodInForce(network.Spec))
        {
            flags |= PortFlags.Learning | PortFlags.FloodUnicast | PortFlags.FloodMulticast | PortFlags.FloodBroadcast;
        }
        return new PortRecord { Flags = flags, Bridge = (ushort)network.Index, Mtu = (ushort)network.Spec.MtuInForce };
    }

    public static TunnelRecord Tunnel(PeerEntry peer, Vxlan vxlan, Vtep vtep)
    {
        TunnelFlags flags = TunnelFlags.Exists;
        flags |= vtep.Address.AddressFamily == AddressFamily.InterNetworkV6 ? TunnelFlags.IPv6 : 0;
        flags |= vxlan.ZeroChecksum6 ? TunnelFlags.ZeroChecksum6 : 0;
        return new TunnelRecord
        {
            Flags = flags,
            Vni = vxlan.Vni,
            Vrf = (ushort)vtep.Interface.VrfIndex,
            UdpPort = (ushort)vxlan.PortInForce,
            Ttl = (byte)vxlan.TtlInForce,
            Local = Number(vtep.Address),
            Remote = Number(IPAddress.Parse(peer.Spec.Address)),
        };
    }

    /// <param name="one">The interface.</param>
    /// <param name="natPool">Number of the pool for masqueraded packets to it, 0 for none.</param>
    public static InterfaceRecord Interface(RoutedInterface one, int natPool)
    {
        var record = new InterfaceRecord
        {
            Mac = one.Mac.Value,
            AliasMac = one is { Host: not null, Network: { } network } ? network.Spec.SecondMac.Value : 0,
            Flags = InterfaceFlags.Exists | Flag(InterfaceFlags.SourceCheck, one.SourceCheck) | Flag(InterfaceFlags.Proxy, one.Proxy)
                | Flag(InterfaceFlags.Suppress, one.Suppress) | Flag(InterfaceFlags.ClampMss, one.ClampMss)
                | Flag(InterfaceFlags.Masqueraded, one.Network?.Spec.Masquerade == true),
            NatPool = (ushort)natPool,
            Vrf = (ushort)one.VrfIndex,
            Mtu = (ushort)one.Mtu,
            HostPort = (ushort)(one.Host?.Index ?? 0),
        };
        foreach (Cidr address in one.Addresses)
        {
            if (address.IsIPv6)
            {
                record.Addresses6[record.Count6++] = new InterfaceAddress6(Number(address.Address), Split(Mask(address)));
            }
            else
            {
                record.Addresses4[record.Count4++] = new InterfaceAddress4((uint)Cidr.ToNumber(address.Address), (uint)Mask(address));
            }
        }
        return record;

        static InterfaceFlags Flag(InterfaceFlags flag, bool on) => on ? flag : 0;
    }

    /// <summary>What leads to tunnels whose far end is known, and to the host's ports of networks with routers.</summary>
    public static Dictionary<int, Adjacency> Adjacencies(DesiredState state)
    {
        var all = new Dictionary<int, Adjacency>();
        foreach (PeerEntry peer in state.Peers.Values.Where(p => p.Spec.Mac.Length > 0))
        {
            Network network = state.Networks[peer.Spec.Network].Spec;
            all.Add(peer.Index, new Adjacency((ushort)network.MtuInForce, MacAddress.Parse(peer.Spec.Mac).Value, network.MacInForce.Value));
        }
        foreach (RoutedInterface one in state.Topology.Interfaces.Where(i => i.Host is not null))
        {
            Network network = one.Network!.Spec;
            all.Add(one.Host!.Index, new Adjacency((ushort)one.Host.Spec.MtuInForce(network), one.Host.Spec.MacInForce(network).Value, network.SecondMac.Value));
        }
        return all;
    }

    /// <summary>An address as records hold it: an IPv4 address in Low.</summary>
    public static IPv6Number Number(IPAddress address) => Split(Cidr.ToNumber(address));

    public static IPv6Number Split(UInt128 number) => new((ulong)(number >> 64), (ulong)number);

    /// <summary>A shift by all 128 bits would be one by none.</summary>
    private static UInt128 Mask(Cidr address) =>
        address.Length == 0 ? 0 : (UInt128.MaxValue << (address.Bits - address.Length)) & (UInt128.MaxValue >> (128 - address.Bits));
}
