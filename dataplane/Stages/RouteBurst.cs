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
    public static int Read4(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, out ulong bytes)
    {
        const int Needed = Wire.EthernetHeader + IPv4Header.MinLength;
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries;
        uint* address = state.Addresses4;
        ulong mac = itf.Mac, alias = itf.AliasMac != 0 ? itf.AliasMac : itf.Mac;
        ulong host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        ReadSubnets(in itf, out Vector128<uint> own, out Vector128<uint> masks);
        bool checksNot = !itf.Has(InterfaceFlags.SourceCheck);
        ulong sum = 0;
        int plain = 0;
        for (rte_mbuf** at = mbufs, last = mbufs + count; at < last; at++, entry++, address++)
        {
            rte_mbuf* mbuf = *at;
            if (last - at > Worker.PrefetchAhead)
            {
                Prefetch(at[Worker.PrefetchAhead]);
            }
            sum += mbuf->pkt_len;
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
            ulong to = Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask, from = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
            uint source = IPv4Header.Source(ip), destination = IPv4Header.Destination(ip);
            long length = IPv4Header.TotalLength(ip), padding = mbuf->pkt_len - Wire.EthernetHeader - length;

            // Each term is 0 where all is well; of signed ones only the sign counts.
            ulong other = to ^ mac;
            ulong bits = other == 0 ? 0 : to ^ alias;
            bits |= from & 1;
            bits |= (Unsafe.ReadUnaligned<uint>(data + Wire.EtherTypeOffset) & 0x00FF_FFFF) ^ 0x0045_0008;
            bits |= (mbuf->refcnt ^ 1u) | (mbuf->ol_flags & (Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL));
            // What follows the packet in its frame is cut off, which is as simple as this where there is one buffer.
            bits |= mbuf->nb_segs == 1 ? 0 : (ulong)padding;
            long sign = (length - IPv4Header.MinLength) | padding | (ip[8] - 2L);
            // The source against all subnets of the interface at once: the address of the router, that of a host, or the first or last
            // one of a subnet, which no host has.
            Vector128<uint> address4 = Vector128.Create(source);
            Vector128<uint> near = Vector128.Equals((address4 ^ own) & masks, Vector128<uint>.Zero);
            Vector128<uint> edge = Vector128.Equals(address4 | masks, Vector128<uint>.AllBitsSet)
                | Vector128.Equals(Vector128.AndNot(address4, masks), Vector128<uint>.Zero) | Vector128.Equals(address4, own);
            bool isStrange = ((near & edge).ExtractMostSignificantBits() != 0) | !(checksNot | (near.ExtractMostSignificantBits() != 0));
            bool isBad = (bits != 0) | (sign < 0) | IPAddresses.IsMartian4(source) | IPAddresses.IsMartian4(destination)
                | (isStrange & (from != host)) | !IPv4Header.IsChecksumGood(ip);
            int good = isBad ? 0 : 1;
            Trim(mbuf, (uint)padding * (uint)good);
            entry->Length = (ushort)length;
            entry->Family = (byte)(good << 2);
            *address = destination;
            plain += good;
        }
        bytes = sum;
        return plain;
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

    /// <summary>Finds the next hop of each packet, and asks for the bucket of the neighbour.</summary>
    public static void Aim(Worker w, ref readonly InterfaceRecord itf, bool tracks, int count)
    {
        RouteState state = w.Routing;
        bool clamps = itf.Has(InterfaceFlags.ClampMss);
        // Where the host shares the interface, its own packets may have to be known, too.
        bool masquerades = tracks && (itf.Has(InterfaceFlags.Masqueraded) || itf.HostPort != 0), comesIn = tracks && itf.NatPool != 0;
        for (int i = 0; (i = Aim(w, clamps, masquerades, comesIn, i, count)) < count;)
        {
            // A next hop that has not been worked out in this generation, or a choice between several.
            BurstPacket* entry = state.Entries + i;
            uint* result = (entry->Family == 4 ? state.Results4 : state.Results6) + i;
            RouteHop* hop = state.Hops + (*result % RouteHop.CacheSize);
            if (hop->Index != *result || hop->Generation != w.Generation)
            {
                RouteHop.Fill(w, hop, *result);
            }
            else
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

    /// <summary>The loop of <see cref="Aim(Worker, ref readonly InterfaceRecord, bool, int)"/>. Gives the first packet that needs more, or the count.</summary>
    private static int Aim(Worker w, bool clamps, bool masquerades, bool comesIn, int i, int count)
    {
        RouteState state = w.Routing;
        NeighbourTable neighbours = w.Neighbours;
        BurstPacket* entries = state.Entries;
        RouteHop* hops = state.Hops;
        uint* addresses4 = state.Addresses4, results4 = state.Results4;
        ulong generation = w.Generation;
        for (; i < count; i++)
        {
            BurstPacket* entry = entries + i;
            HopWay way;
            RouteHop* hop;
            ulong word;
            int tcp;
            bool masqueraded;
            if (entry->Family == 4)
            {
                uint index = results4[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (hop->Index != index || hop->Generation != generation || hop->Way4 == HopWay.Group)
                {
                    break;
                }
                way = hop->Way4;
                masqueraded = (masquerades & hop->Masquerades4) | (comesIn & hop->LeadsInside);
                word = hop->Word4 | (addresses4[i] & hop->Mask4) | hop->Gateway4;
                tcp = entry->Data[Wire.EthernetHeader + 9] == Tcp ? Wire.EthernetHeader + IPv4Header.MinLength : 0;
            }
            else if (entry->Family == 6)
            {
                uint index = state.Results6[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (hop->Index != index || hop->Generation != generation || hop->Way6 == HopWay.Group)
                {
                    break;
                }
                way = hop->Way6;
                masqueraded = (masquerades & hop->Masquerades6) | (comesIn & hop->LeadsInside);
                IPv6Number* address = state.Addresses6 + i;
                // The slot's own address is compared when the word is found; it is the neighbour's, so it replaces the destination.
                address->High = (address->High & hop->Mask6) | hop->GatewayHigh;
                address->Low = (address->Low & hop->Mask6) | hop->GatewayLow;
                word = neighbours.Word6(hop->OutPort, address->High, address->Low);
                tcp = entry->Data[Wire.EthernetHeader + 6] == Tcp ? Wire.EthernetHeader + IPv6Header.Length : 0;
            }
            else
            {
                continue;
            }
            if ((clamps | hop->Clamps) && tcp != 0 && MayBeSyn(entry, tcp))
            {
                way = HopWay.Slow;
            }
            if (masqueraded && entry->Connection == TrackedBy.None)
            {
                way = HopWay.Slow;
            }
            NeighbourBucket* bucket = neighbours.Bucket(word);
            NeighbourTable.Prefetch(bucket);
            entry->Hop = hop;
            entry->Word = word;
            entry->Bucket = bucket;
            entry->Way = entry->Length > hop->Mtu ? HopWay.Slow : way;
        }
        return i;
    }

    /// <summary>Sends what goes by a port as it is. Gives the first packet that needs more, or the end.</summary>
    public static BurstPacket* Forward(Worker w, BurstPacket* entry, BurstPacket* end)
    {
        for (; entry < end; entry++)
        {
            RouteHop* hop = entry->Hop;
            ulong mac;
            if (entry->Way == HopWay.Link)
            {
                ulong neighbour = FindNeighbour(w, entry);
                if (!NeighbourValue.IsFresh(neighbour))
                {
                    break;
                }
                mac = neighbour;
            }
            else if (entry->Way == HopWay.Fixed)
            {
                mac = hop->Mac;
            }
            else
            {
                break;
            }
            int outPort = hop->OutPort;
            if (!w.HasRoom(outPort))
            {
                break;
            }
            Rewrite(w, entry, mac, hop->SourceMac);
            w.SendRoomy(outPort, entry->Mbuf);
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
        for (; entry < end; entry++)
        {
            RouteHop* hop = entry->Hop;
            if (entry->Way != HopWay.Bridge || hop->OutPort != router)
            {
                break;
            }
            ulong neighbour = FindNeighbour(w, entry);
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
            Rewrite(w, entry, neighbour, hop->SourceMac);
            w.SendRoomy(outPort, entry->Mbuf);
        }
        return entry;
    }

    /// <summary>The neighbour's value, where its first bucket has it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong FindNeighbour(Worker w, BurstPacket* entry)
    {
        if (entry->Family == 4)
        {
            return NeighbourTable.FindFirst4(&entry->Word, entry->Bucket);
        }
        IPv6Number* address = w.Routing.Addresses6 + (entry - w.Routing.Entries);
        return w.Neighbours.FindFirst6(&entry->Word, entry->Hop->OutPort, address->High, address->Low, entry->Bucket);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rewrite(Worker w, BurstPacket* entry, ulong destination, ulong source)
    {
        if (entry->Connection >= TrackedBy.Whole)
        {
            Translate(w, entry);
        }
        byte* data = entry->Data;
        LinkOutput.WriteAddresses(data, destination, source);
        if (entry->Family == 4)
        {
            IPv4Header.DecrementTtl(data + Wire.EthernetHeader);
        }
        else
        {
            data[Wire.EthernetHeader + 7]--;
        }
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

    /// <summary>The interface's addresses and masks. The unused ones are near to no source but the one that is everybody's.</summary>
    private static void ReadSubnets(ref readonly InterfaceRecord itf, out Vector128<uint> own, out Vector128<uint> masks)
    {
        own = masks = Vector128<uint>.AllBitsSet;
        for (int i = 0; i < itf.Count4; i++)
        {
            own = own.WithElement(i, itf.Addresses4[i].Address);
            masks = masks.WithElement(i, itf.Addresses4[i].Mask);
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
