using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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

    /// <summary>Whether the IPv4 packets of a port are all looked up among the connections: then <see cref="Read4"/> asks for these.</summary>
    public static bool AsksAll4(Worker w, int port) => (w.Routing.Sieves[port] & SieveUse.Not4) != 0;

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
            plain4 = Look4<Unsifted>(w, in itf, verdicts, count);
        }
        else
        {
            asked4 = Sift4(w, in itf, count);
            if (asked4 != 0)
            {
                Ask4(w, itf.Vrf, asked4);
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

    /// <summary>Makes the keys of the IPv4 packets that were not sifted out, and asks for the lines in which their connections are.</summary>
    private static void Ask4(Worker w, ushort vrf, int count)
    {
        RouteState state = w.Routing;
        ConnectionTable table = w.Connections;
        Vector128<ulong> part = ConnectionKey4.VrfOf(vrf);
        byte* begins = state.Missed;
        for (int n = 0; n < count; n++)
        {
            int i = state.Asked[n];
            BurstPacket* entry = state.Entries + i;
            byte* ip = entry->Data + Wire.EthernetHeader;
            if ((Unsafe.ReadUnaligned<ushort>(ip + 6) & AnyFragment) != 0)
            {
                entry->Family = 0;
                continue;
            }
            if (!IsQuiet4(entry->Mbuf, entry->Data, entry->Length))
            {
                entry->Family = 0;
                *begins++ = (byte)i;
                continue;
            }
            entry->Translated = TrackedBy.Whole;
            if (Offload.IsPending(entry->Mbuf))
            {
                if (!IsLeftOpen4(entry->Mbuf, entry->Data))
                {
                    entry->Family = 0;
                    continue;
                }
                entry->Translated = TrackedBy.Open;
            }
            Ask4(table, entry, ip, part);
        }
        ForeseeSyns(w, vrf, (int)(begins - state.Missed));
    }

    /// <summary>Makes the key of one, and asks for its home.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ask4(ConnectionTable table, BurstPacket* entry, byte* ip, Vector128<ulong> vrf)
    {
        Vector128<ulong> key = ConnectionKey4.Of(ip, vrf);
        ConnectionSlot4* home = table.Home4(key.GetElement(0), key.GetElement(1));
        ConnectionTable.Prefetch(home);
        entry->Home = home;
        key.Store(&entry->Key.Flow);
    }

    /// <summary>Looks at the IPv4 packets among <see cref="RouteState.Missed"/> that begin connections: calls, and therefore behind the loop that lists them, which needs all registers.</summary>
    private static void ForeseeSyns(Worker w, ushort vrf, int count)
    {
        for (int i = 0; i < count; i++)
        {
            ForeseeSyn(w, vrf, w.Routing.Entries + w.Routing.Missed[i], false);
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
        byte* asked = state.Asked, missed = state.Missed;
        uint* results = state.Results4, addresses = state.Addresses4;
        uint now = w.NowSeconds;
        Vector128<ulong> hot = ConnectionTable.HotHead(verdicts);
        for (nint n = 0, end = count; n < end; n++, entry++)
        {
            nint i = n;
            if (default(TSifting).Sifts)
            {
                i = asked[n];
                entry = state.Entries + i;
            }
            if (entry->Family != 4)
            {
                continue;
            }
            if (!ConnectionTable.TryHot4(entry->Home, Vector128.Load(&entry->Key.Flow), hot, now, &entry->Rewrite, out ulong control, out uint route))
            {
                ConnectionTable.PrefetchBeyond4(entry->Home);
                *missed++ = (byte)i;
                continue;
            }
            entry->Connection = By(entry, ConnectionControl.Flags(control));
            results[i] = route;
            addresses[i] = entry->Rewrite.Destination;
        }
        return (int)(missed - state.Missed);
    }

    /// <summary>Looks for a connection behind its home. True for a packet that is routed as it is.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool LookCloser4(Worker w, ref readonly InterfaceRecord itf, uint verdicts, int i)
    {
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries + i;
        ConnectionVerdict4 verdict = default;
        ref readonly ConnectionKey4 key = ref entry->Key;
        HotLook look = ConnectionTable.LookBeyond4(entry->Home, in key, verdicts, w.NowSeconds, ref verdict);
        if (look == HotLook.Hot)
        {
            entry->Rewrite = verdict.Rewrite;
            entry->Connection = By(entry, verdict.Flags);
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
            if (!IsQuiet(entry->Mbuf, protocol, transport, Transport, entry->Length - IPv6Header.Length)
                || !HasOpenChecksum(entry, Transport, protocol == Tcp ? TcpHeader.Checksum : UdpHeader.Checksum))
            {
                entry->Family = 0;
                ForeseeSyn(w, vrf, entry, true);
                continue;
            }
            entry->Translated = Offload.IsPending(entry->Mbuf) ? TrackedBy.Open : TrackedBy.Whole;
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
                entry->Connection = By(entry, verdict.Flags);
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
    /// Whether an IPv4 packet without options is TCP or UDP and changes no state. TCP flags are read only where they are.
    /// </summary>
    /// <param name="mbuf">The packet.</param>
    /// <param name="data">Its frame.</param>
    /// <param name="length">Bytes of the IP packet.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsQuiet4(rte_mbuf* mbuf, byte* data, int length) =>
        IsQuiet(mbuf, data[Wire.EthernetHeader + 9], data + Wire.EthernetHeader + IPv4Header.MinLength, Wire.EthernetHeader + IPv4Header.MinLength, length - IPv4Header.MinLength);

    /// <param name="mbuf">The packet.</param>
    /// <param name="protocol">From its header.</param>
    /// <param name="transport">Where its transport header is, if it is that long.</param>
    /// <param name="at">The same as bytes from the begin of the frame.</param>
    /// <param name="length">Bytes from there on.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsQuiet(rte_mbuf* mbuf, byte protocol, byte* transport, int at, int length) => protocol == Tcp
        ? IsQuietTcp(mbuf, transport, at, length)
        : protocol == Wire.ProtocolUdp && length >= UdpHeader.Length && mbuf->data_len >= at + UdpHeader.Length;

    /// <summary>Whether the checksum of a packet is in its place, or is that which the sender left to be completed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool HasOpenChecksum(BurstPacket* entry, int at, int field) => !Offload.IsPending(entry->Mbuf) || NatRewrite.IsLeftOpen(entry->Mbuf, at, field);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsQuietTcp(rte_mbuf* mbuf, byte* tcp, int at, int length) =>
        length >= TcpHeader.MinLength && mbuf->data_len >= at + TcpHeader.MinLength && (tcp[TcpHeader.Flags] & LoudFlags) == 0;

    /// <summary>Whether of a packet that is TCP or UDP nothing but its checksum was left open.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsLeftOpen4(rte_mbuf* mbuf, byte* data) => NatRewrite.IsLeftOpen(
        mbuf, Wire.EthernetHeader + IPv4Header.MinLength, data[Wire.EthernetHeader + 9] == Tcp ? TcpHeader.Checksum : UdpHeader.Checksum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TrackedBy By(BurstPacket* entry, ConnectionFlags flags) =>
        (flags & (ConnectionFlags.RewritesSource | ConnectionFlags.RewritesDestination)) == 0 ? TrackedBy.Way : entry->Translated;

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
    private static void Translate4(BurstPacket* entry, byte* data)
    {
        byte* ip = data + Wire.EthernetHeader;
        ConnectionRewrite4* to = &entry->Rewrite;
        ushort addresses = to->AddressDelta, all = to->TransportDelta;
        Vector128<byte> sent = ConnectionRewrite4.AsSent(to);
        Unsafe.WriteUnaligned(ip + 12, sent.AsUInt64().GetElement(0));
        Unsafe.WriteUnaligned(ip + IPv4Header.MinLength, sent.AsUInt32().GetElement(2));
        byte protocol = IPv4Header.DecrementTtl(ip, addresses);
        CorrectTransport(entry, ip + IPv4Header.MinLength, protocol, addresses, all);
    }

    /// <summary>As <see cref="Translate4"/>, for IPv6.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Translate6(Worker w, BurstPacket* entry)
    {
        byte* ip = entry->Data + Wire.EthernetHeader;
        ref readonly ConnectionRewrite6 to = ref w.Routing.Verdicts6[entry - w.Routing.Entries].Rewrite;
        IPv6Header.Store(ip + 8, to.Source);
        IPv6Header.Store(ip + 24, to.Destination);
        Wire.Store32(ip + IPv6Header.Length, ((uint)to.SourcePort << 16) | to.DestinationPort);
        ip[7]--;
        CorrectTransport(entry, ip + IPv6Header.Length, ip[6], to.AddressDelta, to.TransportDelta);
    }

    /// <summary>Corrects the checksum of TCP or UDP by what has changed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CorrectTransport(BurstPacket* entry, byte* transport, byte protocol, ushort addresses, ushort all)
    {
        // A bit of the protocol says where it stands: there is no branch on what may be the one in one packet and the other in the next.
        const uint Distance = (TcpHeader.Checksum - UdpHeader.Checksum) / TcpBit;
        byte* field = transport + UdpHeader.Checksum + ((protocol & (uint)TcpBit) * Distance);
        if (entry->Connection == TrackedBy.Open)
        {
            Unsafe.WriteUnaligned(field, Checksum.FoldFew((uint)Unsafe.ReadUnaligned<ushort>(field) + addresses));
        }
        else
        {
            NatRewrite.CorrectBy(field, all, protocol);
        }
    }

    /// <summary>A bit that the number of TCP has, and that of UDP has not.</summary>
    private const int TcpBit = Tcp & ~Wire.ProtocolUdp & 2;
}
