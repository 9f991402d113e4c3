using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Connections, in a VRF that tracks them. What can be of none is sifted out (RouteBurst.Sift.cs). A packet of a known one takes its route from the
// connection's entry instead of the routes, and its addresses and ports when it is sent. What may begin or end a connection, or has no ports, goes
// step by step; so does a packet that may be for a service. All else is routed as it is.
internal static unsafe partial class RouteBurst
{
    /// <summary>SYN, FIN, RST: they change the state of a connection (<see cref="ConnectionTracking.IsQuietTcp"/>).</summary>
    private const byte LoudFlags = TcpHeader.Syn | TcpHeader.Fin | TcpHeader.Rst;

    /// <summary>"More fragments" and the offset, in the order of memory.</summary>
    private const ushort AnyFragment = 0xFF3F;

    /// <summary>
    /// Looks for the connections of all packets. Gives how many IPv4 and IPv6 packets have none, and need a route (<see cref="Find4"/>,
    /// <see cref="Find6"/>). Those of connections have their way already. False when nothing is known of any packet: all were sifted out,
    /// but for those that went step by step anyway.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="itf">The interface of the burst.</param>
    /// <param name="port">Its port.</param>
    /// <param name="needs">What the interface asks for.</param>
    /// <param name="verdicts">See <see cref="VrfRecord.Verdicts"/>.</param>
    /// <param name="count">Packets of the burst.</param>
    /// <param name="plain4">IPv4 packets among them that do not go step by step; then those that need a route.</param>
    /// <param name="plain6">As <paramref name="plain4"/>, of IPv6.</param>
    public static bool Track(Worker w, ref readonly InterfaceRecord itf, int port, in Needs needs, uint verdicts, int count, ref int plain4, ref int plain6)
    {
        w.Routing.BeginningCount = 0;
        bool knows = Look(w, in itf, port, verdicts, count, ref plain4, ref plain6);
        if (w.Routing.BeginningCount != 0)
        {
            Prepare(w, in itf, port, in needs);
        }
        return knows;
    }

    private static bool Look(Worker w, ref readonly InterfaceRecord itf, int port, uint verdicts, int count, ref int plain4, ref int plain6)
    {
        SieveUse* use = w.Routing.Sieves + port;
        int all4 = plain4, all6 = plain6, asked4 = all4;
        if ((*use & SieveUse.Not4) != 0)
        {
            Ask4<Unsifted>(w, itf.Vrf, count);
            plain4 = Look4<Unsifted>(w, in itf, verdicts, count);
        }
        else
        {
            asked4 = Sift4(w, in itf, count);
            if ((asked4 | all6) != 0)
            {
                ForeseeNothing(w, count);
            }
            if (asked4 != 0)
            {
                Ask4<Sifted>(w, itf.Vrf, asked4);
                plain4 = all4 - asked4 + Look4<Sifted>(w, in itf, verdicts, asked4);
            }
        }
        Learn(use, SieveUse.Not4, plain4, all4);
        return all6 == 0 ? asked4 != 0 : Track6(w, in itf, use, verdicts, count, ref plain6) | asked4 != 0;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Track6(Worker w, ref readonly InterfaceRecord itf, SieveUse* use, uint verdicts, int count, ref int plain6)
    {
        int all6 = plain6, asked = Sift6(w, in itf, (*use & SieveUse.Not6) == 0, count);
        Ask6(w, itf.Vrf, asked);
        plain6 = all6 - asked + Look6(w, in itf, verdicts, asked);
        Learn(use, SieveUse.Not6, plain6, all6);
        return asked != 0;
    }

    /// <summary>Looks up the routes of the IPv4 packets of a burst that are of no known connection: those of connections have theirs.</summary>
    [SkipLocalsInit]
    public static void Find4(Worker w, uint root, int count)
    {
        uint* addresses = stackalloc uint[RouteState.BurstSize], results = stackalloc uint[RouteState.BurstSize];
        RouteState state = w.Routing;
        byte* place = state.Asked;
        BurstPacket* entry = state.Entries;
        int n = 0;
        for (int i = 0; i < count; i++, entry++)
        {
            place[n] = (byte)i;
            addresses[n] = state.Addresses4[i];
            n += entry->Family == 4 && entry->Connection == TrackedBy.None ? 1 : 0;
        }
        w.Routes.Find4(root, addresses, results, n);
        for (int k = 0; k < n; k++)
        {
            state.Results4[place[k]] = results[k];
        }
    }

    /// <summary>As <see cref="Find4"/>, for IPv6.</summary>
    [SkipLocalsInit]
    public static void Find6(Worker w, uint root, int count)
    {
        IPv6Number* addresses = stackalloc IPv6Number[RouteState.BurstSize];
        uint* results = stackalloc uint[RouteState.BurstSize];
        RouteState state = w.Routing;
        byte* place = state.Asked;
        BurstPacket* entry = state.Entries;
        int n = 0;
        for (int i = 0; i < count; i++, entry++)
        {
            place[n] = (byte)i;
            addresses[n] = state.Addresses6[i];
            n += entry->Family == 6 && entry->Connection == TrackedBy.None ? 1 : 0;
        }
        w.Routes.Find6(root, (ulong*)addresses, results, n);
        for (int k = 0; k < n; k++)
        {
            state.Results6[place[k]] = results[k];
        }
    }

    /// <summary>Makes the keys of IPv4 packets, and asks for the lines in which their connections are.</summary>
    private static void Ask4<TSifting>(Worker w, ushort vrf, int count)
        where TSifting : struct, ISifting
    {
        RouteState state = w.Routing;
        ConnectionTable table = w.Connections;
        BurstPacket* entry = state.Entries;
        ConnectionKey4* key = state.Keys4;
        ConnectionSlot4** home = state.Homes4;
        byte* begins = state.Missed;
        for (int n = 0; n < count; n++, entry++, key++, home++)
        {
            int i = n;
            if (default(TSifting).Sifts)
            {
                i = state.Asked[n];
                entry = state.Entries + i;
                key = state.Keys4 + i;
                home = state.Homes4 + i;
            }
            else
            {
                entry->Foreseen = default;
                if (entry->Family != 4)
                {
                    continue;
                }
            }
            const int Transport = Wire.EthernetHeader + IPv4Header.MinLength;
            byte* ip = entry->Data + Wire.EthernetHeader, transport = entry->Data + Transport;
            byte protocol = ip[9];
            if ((Unsafe.ReadUnaligned<ushort>(ip + 6) & AnyFragment) != 0)
            {
                entry->Family = 0;
                continue;
            }
            if (!CanBeRewritten(entry, protocol, transport, Transport))
            {
                entry->Family = 0;
                *begins++ = (byte)i;
                continue;
            }
            ulong flow = ConnectionKey.FlowOf(vrf, protocol, Wire.Load32(transport));
            ulong addresses = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(ip + 12));
            ConnectionSlot4* slot = table.Home4(flow, addresses);
            ConnectionTable.Prefetch(slot);
            *home = slot;
            key->Flow = flow;
            key->Addresses = addresses;
        }
        // Calls behind the loop, which needs all registers.
        for (byte* at = state.Missed; at < begins; at++)
        {
            ForeseeSyn(w, vrf, state.Entries + *at, false);
        }
    }

    private static int Look4<TSifting>(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int count)
        where TSifting : struct, ISifting
    {
        int missed = Look4<TSifting>(w, verdicts, count), plain = 0;
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
    private static int Look4<TSifting>(Worker w, uint verdicts, int count)
        where TSifting : struct, ISifting
    {
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries;
        ConnectionVerdict4* verdict = state.Verdicts4;
        ConnectionSlot4** home = state.Homes4;
        ConnectionKey4* key = state.Keys4;
        byte* missed = state.Missed;
        uint* results = state.Results4, addresses = state.Addresses4;
        uint now = w.NowSeconds;
        for (int n = 0; n < count; n++, entry++, verdict++, home++, key++)
        {
            int i = n;
            if (default(TSifting).Sifts)
            {
                i = state.Asked[n];
                entry = state.Entries + i;
                verdict = state.Verdicts4 + i;
                home = state.Homes4 + i;
                key = state.Keys4 + i;
            }
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
        for (int n = 0; n < count; n++)
        {
            const int Transport = Wire.EthernetHeader + IPv6Header.Length;
            int i = state.Asked[n];
            BurstPacket* entry = state.Entries + i;
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
        for (int n = 0; n < count; n++)
        {
            int i = state.Asked[n];
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
        return HasOpenChecksum(entry, at, protocol == Tcp ? TcpHeader.Checksum : UdpHeader.Checksum);
    }

    /// <summary>Whether the checksum of a packet is in its place, or is that which the sender left to be completed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool HasOpenChecksum(BurstPacket* entry, int at, int field) => !Offload.IsPending(entry->Mbuf) || NatRewrite.IsLeftOpen(entry->Mbuf, at, field);

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
        if (w.Services.MayServe(key.IsIPv6, key.Destination)
            && (Foresee(w, entry, in key, 0, isFirst: key.Protocol == Wire.ProtocolUdp) || w.Services.FindAddress(itf.Vrf, key.IsIPv6, key.Destination, w.Generation) != 0))
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
        byte protocol = ip[9];
        ref readonly ConnectionRewrite4 to = ref verdict->Rewrite;
        Unsafe.WriteUnaligned(ip + 12, BinaryPrimitives.ReverseEndianness(((ulong)to.Source << 32) | to.Destination));
        IPv4Header.DecrementTtl(ip, to.AddressDelta);
        Translate(entry, ip + IPv4Header.MinLength, protocol, to.SourcePort, to.DestinationPort, to.AddressDelta, to.PortDelta);
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
