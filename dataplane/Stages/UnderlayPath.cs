using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// The way of one burst to a remote tunnel end point: the route in the underlay's VRF, its next hop and that one's MAC address, looked
/// up once, and the outer headers that follow from them.
/// <para>
/// Where the route has several next hops each packet goes by that of its flow, as any router does it (RFC 2992); what follows
/// from the next hop is worked out again when it is another one than that of the packet before.
/// </para>
/// </summary>
internal unsafe struct UnderlayPath
{
    private int _nextHop;
    private int _group;
    private DropReason _problem;

    /// <summary>The underlay's port: a routed port, the output port of an adjacency, or a router port.</summary>
    public int Port;
    /// <summary>Packets are sent to the port itself. Else it is a router port, and they go by its bridge.</summary>
    public bool IsLink;
    public bool IsGroup;
    /// <summary>Bytes of the largest inner frame.</summary>
    public uint Limit;
    public OuterHeaders Headers;

    /// <summary>Finds the way. Why there is none, or <see cref="DropReason.Count"/>.</summary>
    public DropReason Find(Worker w, ref readonly TunnelRecord tunnel)
    {
        IsGroup = false;
        if (!tunnel.Has(TunnelFlags.Exists))
        {
            return DropReason.EgressNoTunnelRoute;
        }
        ref readonly VrfRecord vrf = ref w.Vrf(tunnel.Vrf);
        int nextHop = (int)(tunnel.Has(TunnelFlags.IPv6)
            ? w.Routes.Find6(vrf.Root6, tunnel.Remote.High, tunnel.Remote.Low)
            : w.Routes.Find4(vrf.Root4, (uint)tunnel.Remote.Low));
        ref readonly NextHopRecord record = ref w.NextHop(nextHop);
        if (record.Kind != NextHopKind.Group)
        {
            return Take(w, in tunnel, nextHop);
        }
        // No packet before, so none has this next hop; the limit is each next hop's own.
        (IsGroup, _group, _nextHop, Limit) = (true, record.Group, -1, ushort.MaxValue);
        return DropReason.Count;
    }

    /// <summary>The next hop of a flow, where there are several.</summary>
    public DropReason Choose(Worker w, ref readonly TunnelRecord tunnel, uint hash)
    {
        int nextHop = (int)w.NextHopGroup(_group).Members[(int)(hash % NextHopGroup.Buckets)];
        if (nextHop != _nextHop)
        {
            _problem = Take(w, in tunnel, nextHop);
            _nextHop = nextHop;
        }
        return _problem;
    }

    /// <summary>Works out what follows from a next hop.</summary>
    private DropReason Take(Worker w, ref readonly TunnelRecord tunnel, int nextHop)
    {
        ref readonly NextHopRecord record = ref w.NextHop(nextHop);
        if (record.Kind == NextHopKind.Local)
        {
            return DropReason.EgressTunnelLoop;
        }
        if (record.Kind is not (NextHopKind.Connected or NextHopKind.Gateway4 or NextHopKind.Gateway6 or NextHopKind.Adjacency))
        {
            return DropReason.EgressNoTunnelRoute;
        }
        ref readonly PortRecord port = ref w.Port(record.Port);
        bool isRouter = port.Has(PortFlags.Router);
        if (port.Has(PortFlags.Tunnel) || (isRouter && record.Kind == NextHopKind.Adjacency))
        {
            return DropReason.EgressTunnelLoop;
        }
        if (!port.Has(PortFlags.Exists | PortFlags.Enabled))
        {
            return DropReason.EgressNoTunnelRoute;
        }
        ulong mac = record.Mac, source = record.SourceMac;
        int mtu = record.Mtu != 0 ? record.Mtu : port.Mtu;
        if (record.Kind != NextHopKind.Adjacency)
        {
            ref readonly InterfaceRecord itf = ref w.Interface(record.Port);
            source = itf.Mac;
            mtu = record.Mtu != 0 ? record.Mtu : itf.Mtu;
            bool isIPv6 = record.Kind == NextHopKind.Gateway6 || (record.Kind == NextHopKind.Connected && tunnel.Has(TunnelFlags.IPv6));
            mac = Neighbour(w, record.Port, isIPv6, record.Kind == NextHopKind.Connected ? tunnel.Remote : record.Gateway);
            if (mac == 0)
            {
                return DropReason.EgressNoTunnelRoute;
            }
        }
        Port = record.Port;
        IsLink = !isRouter;
        Headers.Build(in tunnel, mac, source);
        Limit = (uint)Math.Max(0, mtu + Wire.EthernetHeader - Headers.Length);
        return DropReason.Count;
    }

    /// <summary>
    /// The MAC address of a neighbour, 0 when it is not known yet. Frames do not wait for it: an outer packet that was held would
    /// have to be received again to be sent. It is asked for, once while a tunnel begins to be used, and what is lost until the
    /// answer comes is a question of a host that it repeats. Traffic keeps the address from then on.
    /// </summary>
    private static ulong Neighbour(Worker w, int port, bool isIPv6, IPv6Number address)
    {
        NeighbourKey key = isIPv6 ? w.Neighbours.Key6(port, address.High, address.Low) : NeighbourTable.Key4(port, (uint)address.Low);
        ulong value = w.Neighbours.Find(in key);
        if (!NeighbourValue.IsFresh(value))
        {
            value = NeighbourStage.Want(w, in key);
        }
        return NeighbourValue.IsUsable(value) ? NeighbourValue.Mac(value) : 0;
    }
}
