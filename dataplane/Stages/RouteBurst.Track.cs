using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Connections, in a VRF that tracks them. A packet of a known one takes its route from the connection's entry instead of the routes, and
// its addresses and ports when it is sent. What may begin or end a connection, or has no ports, goes step by step; so does a packet that may be
// for a service. All else is routed as it is.
internal static unsafe partial class RouteBurst
{
    /// <summary>SYN, FIN, RST: they change the state of a connection (<see cref="ConnectionTracking.IsQuietTcp"/>).</summary>
    private const byte LoudFlags = TcpHeader.Syn | TcpHeader.Fin | TcpHeader.Rst;

    /// <summary>"More fragments" and the offset, in the order of memory.</summary>
    private const ushort AnyFragment = 0xFF3F;

    /// <summary>
    /// Looks for the connections of all packets. Gives how many IPv4 and IPv6 packets have none, and need a route. Those of connections have
    /// their way already; when others of their family had theirs looked up, <see cref="Direct"/> gives it to them again.
    /// </summary>
    public static void Track(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int count, out int plain4, out int plain6)
    {
        int others = Ask4(w, itf.Vrf, count);
        plain4 = Look4(w, in itf, verdicts, count);
        plain6 = 0;
        if (others != 0)
        {
            Ask6(w, itf.Vrf, count);
            plain6 = Look6(w, in itf, verdicts, count);
        }
    }

    /// <summary>Gives packets of known connections their way again, which the look-up of routes for a whole burst has taken from them.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Direct(Worker w, int count)
    {
        RouteState state = w.Routing;
        for (int i = 0; i < count; i++)
        {
            BurstPacket* entry = state.Entries + i;
            if (entry->Connection == TrackedBy.None)
            {
                continue;
            }
            if (entry->Family == 4)
            {
                state.Results4[i] = state.Verdicts4[i].Route;
            }
            else
            {
                state.Results6[i] = state.Verdicts6[i].Route;
            }
        }
    }

    /// <summary>Makes the keys of IPv4 packets, and asks for the lines in which their connections are. Gives how many IPv6 packets there are.</summary>
    private static int Ask4(Worker w, ushort vrf, int count)
    {
        RouteState state = w.Routing;
        ConnectionTable table = w.Connections;
        BurstPacket* entry = state.Entries, end = entry + count;
        ConnectionKey4* key = state.Keys4;
        ConnectionSlot4** home = state.Homes4;
        int others = 0;
        for (; entry < end; entry++, key++, home++)
        {
            entry->Connection = TrackedBy.None;
            entry->Foreseen = default;
            if (entry->Family != 4)
            {
                others += entry->Family;
                continue;
            }
            const int Transport = Wire.EthernetHeader + IPv4Header.MinLength;
            byte* ip = entry->Data + Wire.EthernetHeader, transport = entry->Data + Transport;
            byte protocol = ip[9];
            bool isFragment = (Unsafe.ReadUnaligned<ushort>(ip + 6) & AnyFragment) != 0;
            if (isFragment || !CanBeRewritten(entry, protocol, transport, Transport))
            {
                entry->Family = 0;
                if (!isFragment)
                {
                    ForeseeSyn(w, vrf, entry, false);
                }
                continue;
            }
            key->Flow = ConnectionKey.FlowOf(vrf, protocol, Wire.Load32(transport));
            key->Addresses = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(ip + 12));
            ConnectionSlot4* slot = table.Home4(in *key);
            ConnectionTable.Prefetch(slot);
            *home = slot;
        }
        return others;
    }

    private static int Look4(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int count)
    {
        int missed = Look4(w, verdicts, count), plain = 0;
        for (int i = 0; i < missed; i++)
        {
            plain += LookCloser4(w, in itf, verdicts, w.Routing.Missed[i]) ? 1 : 0;
        }
        return plain;
    }

    /// <summary>
    /// Takes the verdicts that are in their homes. Notes the other packets, and asks for the slots behind their homes. Gives how many
    /// these are. It calls nothing.
    /// </summary>
    private static int Look4(Worker w, uint verdicts, int count)
    {
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries;
        ConnectionVerdict4* verdict = state.Verdicts4;
        ConnectionSlot4** home = state.Homes4;
        ConnectionKey4* key = state.Keys4;
        byte* missed = state.Missed;
        uint* results = state.Results4, addresses = state.Addresses4;
        uint now = w.NowSeconds;
        for (int i = 0; i < count; i++, entry++, verdict++, home++, key++)
        {
            if (entry->Family != 4)
            {
                continue;
            }
            if (!ConnectionTable.TryHot4(*home, in *key, verdicts, now, ref *verdict))
            {
                ConnectionTable.Prefetch(*home + 1);
                *missed++ = (byte)i;
                continue;
            }
            entry->Connection = By(entry->Mbuf, verdict->Flags);
            results[i] = verdict->Route;
            addresses[i] = verdict->Rewrite.Destination;
        }
        return (int)(missed - state.Missed);
    }

    /// <summary>Looks for a connection behind its home. True for a packet that is routed as it is.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool LookCloser4(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int i)
    {
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries + i;
        ref ConnectionVerdict4 verdict = ref state.Verdicts4[i];
        ref readonly ConnectionKey4 key = ref state.Keys4[i];
        HotLook look = ConnectionTable.LookBeyond4(state.Homes4[i], in key, verdicts, w.NowSeconds, ref verdict);
        if (look == HotLook.Hot)
        {
            entry->Connection = By(entry->Mbuf, verdict.Flags);
            state.Results4[i] = verdict.Route;
            state.Addresses4[i] = verdict.Rewrite.Destination;
            return false;
        }
        uint source = (uint)(key.Addresses >> 32), destination = (uint)key.Addresses;
        var whole = new ConnectionKey(key.Flow, new IPv6Number(0, source), new IPv6Number(0, destination), false);
        bool isPlain = look == HotLook.None && IsPlain(w, in itf, entry, in whole);
        entry->Family = isPlain ? (byte)4 : (byte)0;
        return isPlain;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Ask6(Worker w, ushort vrf, int count)
    {
        RouteState state = w.Routing;
        ConnectionTable table = w.Connections;
        for (int i = 0; i < count; i++)
        {
            const int Transport = Wire.EthernetHeader + IPv6Header.Length;
            BurstPacket* entry = state.Entries + i;
            if (entry->Family != 6)
            {
                continue;
            }
            byte* ip = entry->Data + Wire.EthernetHeader, transport = entry->Data + Transport;
            byte protocol = ip[6];
            if (!CanBeRewritten(entry, protocol, transport, Transport))
            {
                entry->Family = 0;
                ForeseeSyn(w, vrf, entry, true);
                continue;
            }
            ref ConnectionKey6 key = ref state.Keys6[i];
            key.Flow = ConnectionKey.FlowOf(vrf, protocol, Wire.Load32(transport));
            key.Source = IPv6Header.Source(ip);
            key.Destination = IPv6Header.Destination(ip);
            ConnectionSlot6* slot = table.Home6(in key);
            ConnectionTable.Prefetch(slot);
            ConnectionTable.Prefetch((byte*)slot + SegmentLayout.CacheLine);
            state.Homes6[i] = slot;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Look6(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int count)
    {
        RouteState state = w.Routing;
        uint now = w.NowSeconds;
        int plain = 0;
        for (int i = 0; i < count; i++)
        {
            BurstPacket* entry = state.Entries + i;
            if (entry->Family != 6)
            {
                continue;
            }
            ref ConnectionVerdict6 verdict = ref state.Verdicts6[i];
            ConnectionSlot6* home = state.Homes6[i];
            ref readonly ConnectionKey6 key = ref state.Keys6[i];
            HotLook look = ConnectionTable.TryHot6(home, in key, verdicts, now, ref verdict)
                ? HotLook.Hot : ConnectionTable.LookBeyond6(home, in key, verdicts, now, ref verdict);
            if (look == HotLook.Hot)
            {
                entry->Connection = By(entry->Mbuf, verdict.Flags);
                state.Results6[i] = verdict.Route;
                state.Addresses6[i] = verdict.Rewrite.Destination;
                continue;
            }
            var whole = new ConnectionKey(key.Flow, key.Source, key.Destination, true);
            bool isPlain = look == HotLook.None && IsPlain(w, in itf, entry, in whole);
            entry->Family = isPlain ? (byte)6 : (byte)0;
            plain += isPlain ? 1 : 0;
        }
        return plain;
    }

    /// <summary>
    /// Whether a packet without options is TCP or UDP, changes no state, and has its checksum where it can be corrected. TCP flags are
    /// read only where they are.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool CanBeRewritten(BurstPacket* entry, byte protocol, byte* transport, int at)
    {
        int length = Math.Min(entry->Mbuf->data_len, entry->Length + Wire.EthernetHeader) - at;
        if (protocol == Tcp)
        {
            if (length < TcpHeader.MinLength || (transport[TcpHeader.Flags] & LoudFlags) != 0)
            {
                return false;
            }
        }
        else if (protocol != Wire.ProtocolUdp || length < UdpHeader.Length)
        {
            return false;
        }
        return !Offload.IsPending(entry->Mbuf) || NatRewrite.IsLeftOpen(entry->Mbuf, at, protocol == Tcp ? TcpHeader.Checksum : UdpHeader.Checksum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TrackedBy By(rte_mbuf* mbuf, ConnectionFlags flags) =>
        (flags & (ConnectionFlags.RewritesSource | ConnectionFlags.RewritesDestination)) == 0 ? TrackedBy.Way
            : Offload.IsPending(mbuf) ? TrackedBy.Open : TrackedBy.Whole;

    /// <summary>Whether a packet of no connection is for no service and no backend either; what is known of one that is for a service is noted. A connection of its host may have to be known (<see cref="RouteStage"/>).</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool IsPlain(Worker w, ref readonly InterfaceRecord itf, BurstPacket* entry, in ConnectionKey key)
    {
        if (itf.HostPort != 0 && key.SourcePort >= RouteStage.FirstRouterPort
            && (Unsafe.ReadUnaligned<ulong>(entry->Data + 6) & MacAddress.Mask) == itf.Mac)
        {
            return false;
        }
        if (w.Services.MayServe(itf.Vrf, key.IsIPv6, key.Destination)
            && (Foresee(w, entry, in key) || w.Services.FindAddress(itf.Vrf, key.IsIPv6, key.Destination, w.Generation) != 0))
        {
            return false;
        }
        return !w.Endpoints.MayHave(key.IsIPv6, key.Destination)
            || !w.Endpoints.Contains(EndpointSet.Key(key.Protocol, key.IsIPv6, key.Destination, key.DestinationPort));
    }

    /// <summary>Writes the addresses and ports of its connection into an IPv4 packet that is sent, and takes one off its time to live.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Translate4(BurstPacket* entry, ConnectionVerdict4* verdict)
    {
        byte* ip = entry->Data + Wire.EthernetHeader;
        ref readonly ConnectionRewrite4 to = ref verdict->Rewrite;
        Unsafe.WriteUnaligned(ip + 12, BinaryPrimitives.ReverseEndianness(((ulong)to.Source << 32) | to.Destination));
        IPv4Header.DecrementTtl(ip, to.AddressDelta);
        Translate(entry, ip + IPv4Header.MinLength, ip[9], to.SourcePort, to.DestinationPort, to.AddressDelta, to.PortDelta);
    }

    /// <summary>As <see cref="Translate4"/>, for IPv6.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Translate6(Worker w, BurstPacket* entry)
    {
        byte* ip = entry->Data + Wire.EthernetHeader;
        ref readonly ConnectionRewrite6 to = ref w.Routing.Verdicts6[entry - w.Routing.Entries].Rewrite;
        IPv6Header.Store(ip + 8, to.Source);
        IPv6Header.Store(ip + 24, to.Destination);
        ip[7]--;
        Translate(entry, ip + IPv6Header.Length, ip[6], to.SourcePort, to.DestinationPort, to.AddressDelta, to.PortDelta);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Translate(BurstPacket* entry, byte* transport, byte protocol, ushort source, ushort destination, ushort addresses, ushort ports)
    {
        Wire.Store32(transport, ((uint)source << 16) | destination);
        byte* field = transport + (protocol == Tcp ? TcpHeader.Checksum : UdpHeader.Checksum);
        if (entry->Connection == TrackedBy.Open)
        {
            Unsafe.WriteUnaligned(field, Checksum.FoldFew((uint)Unsafe.ReadUnaligned<ushort>(field) + addresses));
        }
        else
        {
            NatRewrite.CorrectBy(field, (uint)addresses + ports, isUdp: protocol == Wire.ProtocolUdp);
        }
    }
}
