using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>Reading headers: the loops that tell plain packets from those that go step by step.</summary>
internal static unsafe partial class RouteBurst
{
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
