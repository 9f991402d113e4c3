using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Packets;
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
    /// <summary>To a port, with addresses that are the same for all packets of a burst.</summary>
    Fixed,
    /// <summary>One of several next hops, by the packet's flow.</summary>
    Group,
    /// <summary>A packet whose connection is to be begun first (<see cref="RouteBurst.Open"/>). No next hop has this.</summary>
    Opening,
}

/// <summary>What has to be looked at in a packet of a next hop.</summary>
[Flags]
public enum HopLook : byte
{
    None,
    /// <summary>Whether it is a SYN, whose maximum segment size is lowered.</summary>
    Syn = 1 << 0,
    /// <summary>Whether its connection is known: one that is not is masqueraded.</summary>
    Connection = 1 << 1,
}

/// <summary>
/// A next hop as a worker has worked it out from the records of the next hop, its interface and its port, so that forwarding reads
/// one cache line instead of six. Good for one generation; kept in a table of the worker's own, by the lowest bits of the
/// next hop's index. What depends on the packets' interface, or may change at any time, is worked out for each burst (<see cref="Prepare"/>).
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
public unsafe struct RouteHop
{
    public const int CacheSize = 256;

    /// <summary>The burst (<see cref="RouteState.Burst"/>) for which the hop is prepared, 0 for none.</summary>
    [FieldOffset(0)] public uint Burst;
    [FieldOffset(4)] public uint Index;
    [FieldOffset(8)] public ushort OutPort;
    /// <summary>Largest layer-3 packet in bytes.</summary>
    [FieldOffset(10)] public ushort Mtu;
    /// <summary>In this burst, for IPv4 packets, and for IPv6 packets.</summary>
    [FieldOffset(12)] public HopWay Way4;
    [FieldOffset(13)] public HopWay Way6;
    /// <summary>In this burst, for IPv4 packets, and for IPv6 packets.</summary>
    [FieldOffset(14)] public HopLook Look4;
    [FieldOffset(15)] public HopLook Look6;
    /// <summary>The first 12 bytes of frames, of <see cref="HopWay.Fixed"/>.</summary>
    [FieldOffset(16)] public ulong Addresses;
    [FieldOffset(24)] public uint AddressesEnd;
    /// <summary>The bits of a destination that are the neighbour's address: all of them, or none where there is a gateway.</summary>
    [FieldOffset(28)] public uint Mask4;
    /// <summary>The worker's buffer for the port.</summary>
    [FieldOffset(32)] public TxBuffer* Output;
    /// <summary>The interface's part of <see cref="NeighbourTable.Word4"/>, and the gateway.</summary>
    [FieldOffset(40)] public ulong Word4;
    /// <summary>Source of frames.</summary>
    [FieldOffset(48)] public ulong SourceMac;
    /// <summary>
    /// <see cref="StraightOf"/> where in this burst IPv4 packets need nothing but their addresses (<see cref="HopWay.Fixed"/>, and nothing is looked at), or
    /// something else: so one comparison says all of that.
    /// </summary>
    [FieldOffset(56)] public ulong Straight4;

    [FieldOffset(64)] public ulong Generation;
    [FieldOffset(72)] public ulong Mask6;
    [FieldOffset(80)] public ulong GatewayHigh;
    [FieldOffset(88)] public ulong GatewayLow;
    /// <summary>In this generation.</summary>
    [FieldOffset(96)] public HopWay Usual4;
    [FieldOffset(97)] public HopWay Usual6;
    /// <summary>Whether the maximum segment size in SYNs is lowered.</summary>
    [FieldOffset(98)] public bool Clamps;
    /// <summary>Whether IPv4 packets get other sources there (<see cref="InterfaceRecord.NatPool"/>).</summary>
    [FieldOffset(99)] public bool Masquerades4;
    /// <summary>As <see cref="Masquerades4"/>, for IPv6.</summary>
    [FieldOffset(100)] public bool Masquerades6;
    /// <summary>Whether what comes back from there is masqueraded elsewhere, unless its connection is known.</summary>
    [FieldOffset(101)] public bool LeadsInside;
    /// <summary>As <see cref="Straight4"/>, for IPv6: whether they do, with <see cref="Burst"/> and <see cref="Index"/>.</summary>
    [FieldOffset(102)] public bool IsStraight6;
    /// <summary>Where packets come back from there, 0 where the port has none.</summary>
    [FieldOffset(104)] public ushort Vrf;

    /// <summary>What says that IPv4 packets of a burst go straight on by a next hop. Never 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong StraightOf(uint burst, uint index) => ((ulong)index << 32) | burst;

    /// <summary>Makes the hop ready for a burst. Not a group: each of its packets is looked at.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="hop">Where the hop belongs, whatever is there.</param>
    /// <param name="index">Of the next hop.</param>
    /// <param name="burst">What the burst's interface asks for.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void Prepare(Worker w, RouteHop* hop, uint index, in RouteBurst.Needs burst)
    {
        if (hop->Index != index || hop->Generation != w.Generation)
        {
            Fill(w, hop, index);
        }
        if (hop->Usual4 == HopWay.Group)
        {
            return;
        }
        HopLook clamps = burst.Clamps | hop->Clamps ? HopLook.Syn : HopLook.None;
        bool leadsInside = burst.ComesIn & hop->LeadsInside;
        hop->Look4 = clamps | ((burst.Masquerades & hop->Masquerades4) | leadsInside ? HopLook.Connection : HopLook.None);
        hop->Look6 = clamps | ((burst.Masquerades & hop->Masquerades6) | leadsInside ? HopLook.Connection : HopLook.None);
        (hop->Way4, hop->Way6) = (hop->Usual4, hop->Usual6);
        if (hop->Usual4 is HopWay.Link or HopWay.Fixed || hop->Usual6 is HopWay.Link)
        {
            hop->Output = w.Output(hop->OutPort);
        }
        // One look at the gateway is enough for all packets of the burst.
        if (hop->Usual4 == HopWay.Link && hop->Mask4 == 0)
        {
            ulong word = hop->Word4;
            Settle(hop, NeighbourTable.FindFirst4(&word, w.Neighbours.Bucket(word)), ref hop->Way4);
        }
        else if (hop->Usual6 == HopWay.Link && hop->Mask6 == 0)
        {
            ulong word = w.Neighbours.Word6(hop->OutPort, hop->GatewayHigh, hop->GatewayLow);
            Settle(hop, w.Neighbours.FindFirst6(&word, hop->OutPort, hop->GatewayHigh, hop->GatewayLow, w.Neighbours.Bucket(word)), ref hop->Way6);
        }
        hop->Burst = w.Routing.Burst;
        hop->Straight4 = hop->Way4 == HopWay.Fixed && hop->Look4 == HopLook.None ? StraightOf(hop->Burst, index) : 0;
        hop->IsStraight6 = hop->Way6 == HopWay.Fixed && hop->Look6 == HopLook.None;
    }

    private static void Settle(RouteHop* hop, ulong neighbour, ref HopWay way)
    {
        if (NeighbourValue.IsFresh(neighbour))
        {
            WriteAddresses(hop, NeighbourValue.Mac(neighbour));
            way = HopWay.Fixed;
        }
    }

    /// <summary>The first 8 bytes of a frame to an address, in the lower 48 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal readonly ulong AddressesTo(ulong destination) => (destination & MacAddress.Mask) | (SourceMac << 48);

    /// <summary>The 4 bytes behind them.</summary>
    internal readonly uint EndOfAddresses
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => (uint)(SourceMac >> 16);
    }

    private static void WriteAddresses(RouteHop* hop, ulong destination)
    {
        hop->Addresses = hop->AddressesTo(destination);
        hop->AddressesEnd = hop->EndOfAddresses;
    }

    /// <summary>Works out a next hop.</summary>
    private static void Fill(Worker w, RouteHop* hop, uint index)
    {
        ref readonly NextHopRecord record = ref w.NextHop((int)index);
        *hop = new RouteHop { Generation = w.Generation, Index = index, OutPort = record.Port };
        if (record.Kind == NextHopKind.Group)
        {
            hop->Usual4 = hop->Usual6 = HopWay.Group;
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
        hop->Vrf = itf.Vrf;
        hop->LeadsInside = itf.Has(InterfaceFlags.Masqueraded);
        if (record.Kind == NextHopKind.Adjacency)
        {
            hop->SourceMac = record.SourceMac;
            WriteAddresses(hop, record.Mac);
            hop->Usual4 = hop->Usual6 = (port.Flags & PortFlags.Router) != 0 ? HopWay.Slow : HopWay.Fixed;
            return;
        }
        hop->SourceMac = itf.Mac;
        hop->Word4 = NeighbourTable.Word4(record.Port, 0);
        HopWay way = WayOf(w, in port);
        if (record.Kind == NextHopKind.Connected)
        {
            hop->Mask4 = uint.MaxValue;
            hop->Mask6 = ulong.MaxValue;
            hop->Usual4 = hop->Usual6 = way;
        }
        else if (record.Kind == NextHopKind.Gateway4)
        {
            hop->Word4 |= (uint)record.Gateway.Low;
            hop->Usual4 = way;
        }
        else
        {
            (hop->GatewayHigh, hop->GatewayLow) = record.Gateway;
            hop->Usual6 = way;
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
