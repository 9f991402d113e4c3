using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>What the loops of <see cref="RouteStage"/> know of a packet.</summary>
public unsafe struct BurstPacket
{
    public rte_mbuf* Mbuf;
    public byte* Data;
    public RouteHop* Hop;
    public NeighbourBucket* Bucket;
    /// <summary>The neighbour's key.</summary>
    public ulong Word;
    /// <summary>Bytes of the IP packet.</summary>
    public ushort Length;
    /// <summary>4, 6, or 0 for a packet that goes step by step.</summary>
    public byte Family;
    public HopWay Way;
    public TrackedBy Connection;
}

/// <summary>What the loops know of a packet's connection.</summary>
public enum TrackedBy : byte
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Its way, and that its addresses and ports stay.</summary>
    Way,
    /// <summary>Its way, and what takes the place of its addresses and ports.</summary>
    Whole,
    /// <summary>As <see cref="Whole"/>, and that its sender left the checksum open.</summary>
    Open,
}

/// <summary>The loops of <see cref="RouteStage"/>. They call nothing, so that what they need stays in registers.</summary>
internal static unsafe partial class RouteBurst
{
    private const byte Tcp = Wire.ProtocolTcp;

    /// <summary>
    /// Reads IPv4 headers. Makes the entries of a burst, with family 4 where a packet is plain: to the router's address, without
    /// options, all of it sound. Gives how many are.
    /// </summary>
    public static int Read4(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, out ulong bytes) =>
        itf.Has(InterfaceFlags.SourceCheck)
            ? Read4<NearSources>(w, in itf, mbufs, count, out bytes)
            : Read4<AnySource>(w, in itf, mbufs, count, out bytes);

    // What is wrong with a packet is found by branches, each of them on one test: a packet that fails one leaves the loop anyway.
    private static int Read4<TSources>(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, out ulong bytes)
        where TSources : struct, ISources
    {
        const int Needed = Wire.EthernetHeader + IPv4Header.MinLength;
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries;
        uint* address = state.Addresses4;
        ulong host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        Vector128<byte> mac = Beginning(itf.Mac), alias = Beginning(itf.AliasMac != 0 ? itf.AliasMac : itf.Mac), decides = BeginningMask;
        ReadSubnets(in itf, out SubnetAddresses subnets);
        Vector128<uint> own = subnets.Own, first = subnets.First, last = subnets.Last, masks = subnets.Masks;
        ulong sum = 0;
        int plain = 0;
        for (rte_mbuf** at = mbufs, end = mbufs + count, ahead = end - Worker.PrefetchAhead; at < end; at++, entry++, address++)
        {
            rte_mbuf* mbuf = *at;
            if (at < ahead)
            {
                Prefetch(at[Worker.PrefetchAhead]);
            }
            uint frame = mbuf->pkt_len;
            sum += frame;
            byte* data = Mbuf.Data(mbuf);
            entry->Mbuf = mbuf;
            entry->Data = data;
            entry->Family = 0;
            entry->Way = HopWay.Slow;
            entry->Connection = TrackedBy.None;
            *address = 0;
            if (mbuf->data_len < Needed)
            {
                continue;
            }
            byte* ip = data + Wire.EthernetHeader;
            Vector128<byte> beginning = Vector128.Load(data);
            if (((beginning ^ mac) & decides) != Vector128<byte>.Zero && ((beginning ^ alias) & decides) != Vector128<byte>.Zero)
            {
                continue;
            }
            if (mbuf->refcnt != 1 || (mbuf->ol_flags & (Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL)) != 0)
            {
                continue;
            }
            // Of these only the signs count.
            long length = IPv4Header.TotalLength(ip), padding = frame - Wire.EthernetHeader - length;
            if (((length - IPv4Header.MinLength) | padding | (ip[8] - 2L)) < 0 || !IPv4Header.IsChecksumGood(ip))
            {
                continue;
            }
            uint source = IPv4Header.Source(ip), destination = IPv4Header.Destination(ip);
            if (IPAddresses.IsMartian4(source) || IPAddresses.IsMartian4(destination))
            {
                continue;
            }
            // The source against all subnets of the interface at once: the address of the router, or the first or last one of a
            // subnet, which no host has; and where sources are checked, one of no subnet.
            Vector128<uint> address4 = Vector128.Create(source);
            Vector128<uint> strange = Vector128.Equals(address4, own) | Vector128.Equals(address4, first) | Vector128.Equals(address4, last);
            bool isStrange = strange != Vector128<uint>.Zero;
            if (default(TSources).MustBeNear)
            {
                isStrange |= Vector128.Equals((address4 ^ own) & masks, Vector128<uint>.Zero) == Vector128<uint>.Zero;
            }
            if (isStrange && (Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask) != host)
            {
                continue;
            }
            // What follows the packet in its frame is cut off, which is as simple as this where there is one buffer.
            if (padding != 0)
            {
                if (mbuf->nb_segs != 1)
                {
                    continue;
                }
                Trim(mbuf, (uint)padding);
            }
            entry->Length = (ushort)length;
            entry->Family = 4;
            *address = destination;
            plain++;
        }
        bytes = sum;
        return plain;
    }

    /// <summary>
    /// The first 16 bytes of a frame with an IPv4 packet without options for an address. <see cref="BeginningMask"/> says which bits of
    /// them count: of the frame's source that it is no group.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Beginning(ulong mac) => Vector128.Create(mac & MacAddress.Mask, 0x0045_0008_0000_0000).AsByte();

    private static Vector128<byte> BeginningMask => Vector128.Create(MacAddress.Mask | (1ul << 48), 0x00FF_FFFF_0000_0000).AsByte();

    /// <summary>Whether packets must have a source of a subnet of the interface; a type, so that there is code for either.</summary>
    private interface ISources
    {
        bool MustBeNear { get; }
    }

    private readonly struct AnySource : ISources
    {
        public bool MustBeNear => false;
    }

    private readonly struct NearSources : ISources
    {
        public bool MustBeNear => true;
    }

    /// <summary>As <see cref="Read4"/>, for IPv6 and what is left of the entries.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int Read6(Worker w, ref readonly InterfaceRecord itf, int count)
    {
        const int Needed = Wire.EthernetHeader + IPv6Header.Length;
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries, end = entry + count;
        IPv6Number* address = state.Addresses6;
        ulong mac = itf.Mac, alias = itf.AliasMac != 0 ? itf.AliasMac : itf.Mac;
        ulong host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        bool checks = itf.Has(InterfaceFlags.SourceCheck);
        int subnets = itf.Count6;
        int plain = 0;
        for (; entry < end; entry++, address++)
        {
            rte_mbuf* mbuf = entry->Mbuf;
            *address = default;
            if (entry->Family != 0 || mbuf->data_len < Needed)
            {
                continue;
            }
            byte* data = entry->Data, ip = data + Wire.EthernetHeader;
            ulong to = Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask, from = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
            long payload = IPv6Header.PayloadLength(ip), padding = mbuf->pkt_len - Wire.EthernetHeader - IPv6Header.Length - payload;
            ulong other = to ^ mac;
            ulong bits = other == 0 ? 0 : to ^ alias;
            bits |= from & 1;
            bits |= (Unsafe.ReadUnaligned<uint>(data + Wire.EtherTypeOffset) & 0x00F0_FFFF) ^ 0x0060_DD86;
            bits |= (mbuf->refcnt ^ 1u) | (mbuf->ol_flags & (Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL));
            bits |= mbuf->nb_segs == 1 ? 0 : (ulong)padding;
            long sign = (payload - 1) | padding | (ip[7] - 2L);
            (ulong high, ulong low) = IPv6Header.Source(ip);
            (ulong toHigh, ulong toLow) = IPv6Header.Destination(ip);
            bool isOwn = false, isNear = !checks;
            for (int i = 0; i < subnets; i++)
            {
                ref readonly InterfaceAddress6 subnet = ref itf.Addresses6[i];
                isOwn |= ((high ^ subnet.Address.High) | (low ^ subnet.Address.Low)) == 0;
                isNear |= subnet.Contains(high, low);
            }
            bool isBad = (bits != 0) | (sign < 0) | IPAddresses.IsMartian6(high, low) | IPAddresses.IsMartian6(toHigh, toLow)
                | IPAddresses.IsLinkLocal6(high) | IPAddresses.IsLinkLocal6(toHigh) | ((isOwn | !isNear) & (from != host));
            int good = isBad ? 0 : 1;
            long length = payload + IPv6Header.Length;
            // The largest IPv6 packet is larger than any number of 16 bits.
            good = length > ushort.MaxValue ? 0 : good;
            Trim(mbuf, (uint)padding * (uint)good);
            entry->Length = (ushort)length;
            entry->Family = (byte)(good * 6);
            *address = new IPv6Number(toHigh, toLow);
            plain += good;
        }
        return plain;
    }

    /// <summary>What the interface of a burst asks for at every next hop.</summary>
    /// <param name="Clamps">Lower the maximum segment size of SYNs.</param>
    /// <param name="Masquerades">Replace sources where the next hop's interface has a pool.</param>
    /// <param name="ComesIn">Let nobody in from a pool's side whose connection is not known, to where sources are replaced.</param>
    public readonly record struct Needs(bool Clamps, bool Masquerades, bool ComesIn);

    /// <summary>Finds the next hop of each packet, and asks for the bucket of the neighbour.</summary>
    public static void Aim(Worker w, ref readonly InterfaceRecord itf, bool tracks, bool has6, int count)
    {
        RouteState state = w.Routing;
        state.NextBurst();
        // Where the host shares the interface, its own packets may have to be known, too.
        var needs = new Needs(itf.Has(InterfaceFlags.ClampMss), tracks && (itf.Has(InterfaceFlags.Masqueraded) || itf.HostPort != 0), tracks && itf.NatPool != 0);
        for (int i = 0; (i = has6 ? Aim<BothFamilies>(w, i, count) : Aim<OnlyIPv4>(w, i, count)) < count;)
        {
            // A next hop that has not been worked out for this burst, or a choice between several.
            BurstPacket* entry = state.Entries + i;
            uint* result = (entry->Family == 4 ? state.Results4 : state.Results6) + i;
            RouteHop* hop = state.Hops + (*result % RouteHop.CacheSize);
            if (hop->Burst == state.Burst)
            {
                i++; // another one has the place, and packets of this burst that go there: this one goes step by step
                continue;
            }
            RouteHop.Prepare(w, hop, *result, in needs);
            if (hop->Usual4 == HopWay.Group)
            {
                *result = Member(w, *result, entry);
            }
        }
    }

    /// <summary>The next hop of a group by which a packet's flow goes.</summary>
    public static uint Member(Worker w, uint group, BurstPacket* entry) => Member(w, group, entry->Data + Wire.EthernetHeader,
        Math.Min(entry->Mbuf->data_len - Wire.EthernetHeader, entry->Length), entry->Family == 6);

    /// <summary>The next hop of a group by which a packet's flow goes. Never a group again.</summary>
    public static uint Member(Worker w, uint group, byte* ip, int length, bool isIPv6)
    {
        uint hash = isIPv6 ? FlowHash.Of6(ip, length) : FlowHash.Of4(ip, length);
        uint member = w.NextHopGroup(w.NextHop((int)group).Group).Members[(int)(hash % NextHopGroup.Buckets)];
        return w.NextHop((int)member).Kind == NextHopKind.Group ? 0 : member;
    }

    /// <summary>Gives the first packet whose next hop is not prepared, or the count.</summary>
    private static int Aim<TFamilies>(Worker w, int i, int count)
        where TFamilies : struct, IFamilies
    {
        RouteState state = w.Routing;
        NeighbourTable neighbours = w.Neighbours;
        RouteHop* hops = state.Hops;
        uint* addresses4 = state.Addresses4, results4 = state.Results4;
        uint burst = state.Burst;
        BurstPacket* entry = state.Entries + i;
        for (; i < count; i++, entry++)
        {
            RouteHop* hop;
            HopWay way;
            ulong word;
            if (entry->Family == 4)
            {
                uint index = results4[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (((hop->Burst ^ burst) | (hop->Index ^ index)) != 0)
                {
                    break;
                }
                entry->Hop = hop;
                way = entry->Length > hop->Mtu ? HopWay.Slow : hop->Way4;
                if (hop->Look4 != HopLook.None && IsToBeSeenTo(entry, hop->Look4, entry->Data[Wire.EthernetHeader + 9], Wire.EthernetHeader + IPv4Header.MinLength))
                {
                    way = HopWay.Slow;
                }
                entry->Way = way;
                if (way is HopWay.Fixed or HopWay.Slow)
                {
                    continue;
                }
                word = hop->Word4 | (addresses4[i] & hop->Mask4);
            }
            else if (default(TFamilies).Has6 && entry->Family == 6)
            {
                uint index = state.Results6[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (((hop->Burst ^ burst) | (hop->Index ^ index)) != 0)
                {
                    break;
                }
                entry->Hop = hop;
                way = entry->Length > hop->Mtu ? HopWay.Slow : hop->Way6;
                if (hop->Look6 != HopLook.None && IsToBeSeenTo(entry, hop->Look6, entry->Data[Wire.EthernetHeader + 6], Wire.EthernetHeader + IPv6Header.Length))
                {
                    way = HopWay.Slow;
                }
                entry->Way = way;
                if (way is HopWay.Fixed or HopWay.Slow)
                {
                    continue;
                }
                IPv6Number* address = state.Addresses6 + i;
                // The slot's own address is compared when the word is found; it is the neighbour's, so it replaces the destination.
                address->High = (address->High & hop->Mask6) | hop->GatewayHigh;
                address->Low = (address->Low & hop->Mask6) | hop->GatewayLow;
                word = neighbours.Word6(hop->OutPort, address->High, address->Low);
            }
            else
            {
                continue;
            }
            NeighbourBucket* bucket = neighbours.Bucket(word);
            NeighbourTable.Prefetch(bucket);
            entry->Word = word;
            entry->Bucket = bucket;
        }
        return i;
    }

    /// <summary>Sends what goes by a port as it is. Gives the first packet that needs more, or the end.</summary>
    public static BurstPacket* Forward(Worker w, BurstPacket* entry, BurstPacket* end, bool tracks, bool has6) => has6
        ? tracks ? Forward<BothFamilies, Tracked>(w, entry, end) : Forward<BothFamilies, Untracked>(w, entry, end)
        : tracks ? Forward<OnlyIPv4, Tracked>(w, entry, end) : Forward<OnlyIPv4, Untracked>(w, entry, end);

    private static BurstPacket* Forward<TFamilies, TTracking>(Worker w, BurstPacket* entry, BurstPacket* end)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        ConnectionVerdict4* verdict = default(TTracking).Tracks ? w.Routing.Verdicts4 + (entry - w.Routing.Entries) : null;
        for (; entry < end; entry++, verdict++)
        {
            RouteHop* hop = entry->Hop;
            ulong addresses;
            uint addressesEnd;
            if (entry->Way == HopWay.Fixed)
            {
                addresses = hop->Addresses;
                addressesEnd = hop->AddressesEnd;
            }
            else if (entry->Way == HopWay.Link)
            {
                ulong neighbour = FindNeighbour<TFamilies>(w, entry);
                if (!NeighbourValue.IsFresh(neighbour))
                {
                    break;
                }
                addresses = (neighbour & MacAddress.Mask) | (hop->SourceMac << 48);
                addressesEnd = (uint)(hop->SourceMac >> 16);
            }
            else
            {
                break;
            }
            TxBuffer* output = hop->Output;
            int waiting = output->Count;
            if (waiting >= TxBuffer.Capacity - 1)
            {
                break;
            }
            output->Mbufs[waiting] = (nint)entry->Mbuf;
            output->Count = waiting + 1;
            Rewrite<TFamilies, TTracking>(w, entry, verdict, addresses, addressesEnd);
        }
        return entry;
    }

    /// <summary>Sends what goes by one bridge. Gives the first packet that needs more, or goes elsewhere, or the end.</summary>
    public static BurstPacket* ForwardBridged(Worker w, BurstPacket* entry, BurstPacket* end)
    {
        MacTable macs = w.Macs;
        int router = entry->Hop->OutPort;
        byte* verdicts = w.EgressVerdicts(router);
        ulong fid = MacTable.Key(w.Bridge(w.Port(router).Bridge).FidBase, 0);
        ConnectionVerdict4* verdict = w.Routing.Verdicts4 + (entry - w.Routing.Entries);
        for (; entry < end; entry++, verdict++)
        {
            RouteHop* hop = entry->Hop;
            if (entry->Way != HopWay.Bridge || hop->OutPort != router)
            {
                break;
            }
            ulong neighbour = FindNeighbour<BothFamilies>(w, entry);
            if (!NeighbourValue.IsFresh(neighbour))
            {
                break;
            }
            ulong key = fid | NeighbourValue.Mac(neighbour);
            ulong value = MacTable.FindFirst(&key, macs.Bucket(key));
            int outPort = MacValue.Port(value);
            if (MacValue.IsDrop(value) || verdicts[outPort] != EgressMatrix.Forward || !w.HasRoom(outPort))
            {
                break;
            }
            Rewrite<BothFamilies, Tracked>(w, entry, verdict, (neighbour & MacAddress.Mask) | (hop->SourceMac << 48), (uint)(hop->SourceMac >> 16));
            w.SendRoomy(outPort, entry->Mbuf);
        }
        return entry;
    }

    /// <summary>The neighbour's value, where its first bucket has it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong FindNeighbour<TFamilies>(Worker w, BurstPacket* entry)
        where TFamilies : struct, IFamilies
    {
        if (!default(TFamilies).Has6 || entry->Family == 4)
        {
            return NeighbourTable.FindFirst4(&entry->Word, entry->Bucket);
        }
        IPv6Number* address = w.Routing.Addresses6 + (entry - w.Routing.Entries);
        return w.Neighbours.FindFirst6(&entry->Word, entry->Hop->OutPort, address->High, address->Low, entry->Bucket);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rewrite<TFamilies, TTracking>(Worker w, BurstPacket* entry, ConnectionVerdict4* verdict, ulong addresses, uint addressesEnd)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        byte* data = entry->Data;
        Unsafe.WriteUnaligned(data, addresses);
        Unsafe.WriteUnaligned(data + 8, addressesEnd);
        bool isIPv4 = !default(TFamilies).Has6 || entry->Family == 4;
        if (default(TTracking).Tracks && entry->Connection >= TrackedBy.Whole)
        {
            if (isIPv4)
            {
                Translate4(entry, verdict);
            }
            else
            {
                Translate6(w, entry);
            }
        }
        else if (isIPv4)
        {
            IPv4Header.DecrementTtl(data + Wire.EthernetHeader);
        }
        else
        {
            data[Wire.EthernetHeader + 7]--;
        }
    }

    /// <summary>Whether a packet has what its next hop has packets looked at for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsToBeSeenTo(BurstPacket* entry, HopLook look, byte protocol, int transport) =>
        ((look & HopLook.Syn) != 0 && protocol == Tcp && MayBeSyn(entry, transport))
        || ((look & HopLook.Connection) != 0 && entry->Connection == TrackedBy.None);

    /// <summary>Whether IPv6 packets are in a burst; a type, so that there is code for either.</summary>
    private interface IFamilies
    {
        bool Has6 { get; }
    }

    private readonly struct OnlyIPv4 : IFamilies
    {
        public bool Has6 => false;
    }

    private readonly struct BothFamilies : IFamilies
    {
        public bool Has6 => true;
    }

    /// <summary>Whether packets may be of known connections; a type, so that there is code for either.</summary>
    private interface ITracking
    {
        bool Tracks { get; }
    }

    private readonly struct Tracked : ITracking
    {
        public bool Tracks => true;
    }

    private readonly struct Untracked : ITracking
    {
        public bool Tracks => false;
    }

    /// <summary>Whether a TCP packet without IP options is a SYN, or too short to tell.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool MayBeSyn(BurstPacket* entry, int tcp) => entry->Mbuf->data_len < tcp + 20 || (entry->Data[tcp + 13] & 2) != 0;

    /// <summary>Cuts bytes off the end of a packet in one buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Trim(rte_mbuf* mbuf, uint bytes)
    {
        mbuf->pkt_len -= bytes;
        mbuf->data_len -= (ushort)bytes;
    }

    /// <summary>Of the subnets of an interface: its own addresses, the first and last ones, and the masks.</summary>
    private struct SubnetAddresses
    {
        public Vector128<uint> Own, First, Last, Masks;
    }

    /// <summary>Unused ones are near to no source but the one that is everybody's. Where a subnet has two addresses both are hosts' (RFC 3021).</summary>
    private static void ReadSubnets(ref readonly InterfaceRecord itf, out SubnetAddresses subnets)
    {
        Vector128<uint> none = Vector128<uint>.AllBitsSet;
        subnets = new SubnetAddresses { Own = none, First = none, Last = none, Masks = none };
        for (int i = 0; i < itf.Count4; i++)
        {
            (uint own, uint mask) = itf.Addresses4[i];
            bool hasEnds = ~mask > 1;
            subnets.Own = subnets.Own.WithElement(i, own);
            subnets.First = subnets.First.WithElement(i, hasEnds ? own & mask : own);
            subnets.Last = subnets.Last.WithElement(i, hasEnds ? own | ~mask : own);
            subnets.Masks = subnets.Masks.WithElement(i, mask);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(rte_mbuf* mbuf)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0((byte*)(mbuf + 1) + PacketMeta.SizeInBytes + Mbuf.DefaultHeadroom);
        }
    }
}
