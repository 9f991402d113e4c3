using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>How the packets of a next hop leave.</summary>
public enum HopWay : byte
{
    /// <summary>They need a closer look, each of them.</summary>
    Slow,
    /// <summary>To a neighbour on the link of a routed port.</summary>
    Link,
    /// <summary>To a neighbour behind a router port: the bridge's MAC table says by which of its ports.</summary>
    Bridge,
    /// <summary>To a port, with addresses that are known beforehand.</summary>
    Fixed,
    /// <summary>One of several next hops, by the packet's flow.</summary>
    Group,
}

/// <summary>
/// A next hop as a worker has worked it out from the records of the next hop, its interface and its port, so that forwarding reads
/// one or two cache lines instead of six. Good for one generation; kept in a table of the worker's own, by the lowest bits of the
/// next hop's index.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
public unsafe struct RouteHop
{
    public const int CacheSize = 256;

    [FieldOffset(0)] public ulong Generation;
    [FieldOffset(8)] public uint Index;
    [FieldOffset(12)] public ushort OutPort;
    /// <summary>Largest layer-3 packet in bytes.</summary>
    [FieldOffset(14)] public ushort Mtu;
    /// <summary>For IPv4 packets, and for IPv6 packets.</summary>
    [FieldOffset(16)] public HopWay Way4;
    [FieldOffset(17)] public HopWay Way6;
    /// <summary>Whether the maximum segment size in SYNs is lowered.</summary>
    [FieldOffset(18)] public bool Clamps;
    /// <summary>Whether IPv4 packets get other sources there (<see cref="InterfaceRecord.NatPool"/>).</summary>
    [FieldOffset(19)] public bool Masquerades4;
    /// <summary>The bits of a destination that are the neighbour's address: all of them, or none where there is a gateway.</summary>
    [FieldOffset(20)] public uint Mask4;
    [FieldOffset(24)] public uint Gateway4;
    /// <summary>As <see cref="Masquerades4"/>, for IPv6.</summary>
    [FieldOffset(28)] public bool Masquerades6;
    /// <summary>Whether what comes back from there is masqueraded elsewhere, unless its connection is known.</summary>
    [FieldOffset(29)] public bool LeadsInside;
    /// <summary>The interface's part of <see cref="NeighbourTable.Word4"/>.</summary>
    [FieldOffset(32)] public ulong Word4;
    /// <summary>Source and destination of frames; the latter only where it is fixed.</summary>
    [FieldOffset(40)] public ulong SourceMac;
    [FieldOffset(48)] public ulong Mac;

    [FieldOffset(64)] public ulong Mask6;
    [FieldOffset(72)] public ulong GatewayHigh;
    [FieldOffset(80)] public ulong GatewayLow;

    /// <summary>Works out a next hop.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Fill(Worker w, RouteHop* hop, uint index)
    {
        ref readonly NextHopRecord record = ref w.NextHop((int)index);
        *hop = new RouteHop { Generation = w.Generation, Index = index, OutPort = record.Port };
        if (record.Kind == NextHopKind.Group)
        {
            hop->Way4 = hop->Way6 = HopWay.Group;
            return;
        }
        if (record.Kind is not (NextHopKind.Connected or NextHopKind.Gateway4 or NextHopKind.Gateway6 or NextHopKind.Adjacency)
            || !w.Port(record.Port).Has(PortFlags.Exists | PortFlags.Enabled))
        {
            return;
        }
        ref readonly PortRecord port = ref w.Port(record.Port);
        ref readonly InterfaceRecord itf = ref w.Interface(record.Port);
        hop->Mtu = RouteStage.Mtu(w, in record);
        hop->Clamps = itf.Has(InterfaceFlags.ClampMss);
        ref readonly NatPoolRecord pool = ref w.NatPool(itf.NatPool);
        (hop->Masquerades4, hop->Masquerades6) = (pool.Count4 != 0, pool.Count6 != 0);
        hop->LeadsInside = itf.Has(InterfaceFlags.Masqueraded);
        if (record.Kind == NextHopKind.Adjacency)
        {
            hop->SourceMac = record.SourceMac;
            hop->Mac = record.Mac;
            hop->Way4 = hop->Way6 = (port.Flags & PortFlags.Router) != 0 ? HopWay.Slow : HopWay.Fixed;
            return;
        }
        hop->SourceMac = itf.Mac;
        hop->Word4 = NeighbourTable.Word4(record.Port, 0);
        HopWay way = WayOf(w, in port);
        if (record.Kind == NextHopKind.Connected)
        {
            hop->Mask4 = uint.MaxValue;
            hop->Mask6 = ulong.MaxValue;
            hop->Way4 = hop->Way6 = way;
        }
        else if (record.Kind == NextHopKind.Gateway4)
        {
            hop->Gateway4 = (uint)record.Gateway.Low;
            hop->Way4 = way;
        }
        else
        {
            (hop->GatewayHigh, hop->GatewayLow) = record.Gateway;
            hop->Way6 = way;
        }
    }

    private static HopWay WayOf(Worker w, ref readonly PortRecord port)
    {
        if ((port.Flags & PortFlags.Routed) != 0)
        {
            return HopWay.Link;
        }
        // A bridge that looks at VLANs may have to put a tag into the frame.
        return (port.Flags & PortFlags.Router) != 0
            && (w.Bridge(port.Bridge).Flags & (BridgeFlags.Exists | BridgeFlags.VlanAware)) == BridgeFlags.Exists ? HopWay.Bridge : HopWay.Slow;
    }
}
