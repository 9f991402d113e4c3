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
    public static int Read6(Worker w, ref readonly InterfaceRecord itf, int count) =>
        itf.Has(InterfaceFlags.SourceCheck) ? Read6<NearSources>(w, in itf, count) : Read6<AnySource>(w, in itf, count);

    private static int Read6<TSources>(Worker w, ref readonly InterfaceRecord itf, int count)
        where TSources : struct, ISources
    {
        const int Needed = Wire.EthernetHeader + IPv6Header.Length;
        // A longer one is longer than a number of 16 bits says.
        const long MaxPayload = ushort.MaxValue - IPv6Header.Length;
        RouteState state = w.Routing;
        BurstPacket* entry = state.Entries, end = entry + count;
        IPv6Number* address = state.Addresses6;
        ulong host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        Vector128<byte> mac = Beginning6(itf.Mac), alias = Beginning6(itf.AliasMac != 0 ? itf.AliasMac : itf.Mac), decides = BeginningMask6;
        ReadSubnets6(in itf, out SubnetAddresses6 subnets);
        Vector256<ulong> ownHigh = subnets.OwnHigh, ownLow = subnets.OwnLow;
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
            long payload = IPv6Header.PayloadLength(ip), padding = mbuf->pkt_len - Wire.EthernetHeader - IPv6Header.Length - payload;
            if (((payload - 1) | padding | (ip[7] - 2L) | (MaxPayload - payload)) < 0)
            {
                continue;
            }
            (ulong high, ulong low) = IPv6Header.Source(ip);
            (ulong toHigh, ulong toLow) = IPv6Header.Destination(ip);
            if (MayBeStrange6(high) || MayBeStrange6(toHigh))
            {
                if (IPAddresses.IsMartian6(high, low) || IPAddresses.IsMartian6(toHigh, toLow) || IPAddresses.IsLinkLocal6(high) || IPAddresses.IsLinkLocal6(toHigh))
                {
                    continue;
                }
            }
            // As in Read4: the address of the router, and where sources are checked, one of no subnet.
            Vector256<ulong> high4 = Vector256.Create(high), low4 = Vector256.Create(low);
            bool isStrange = (Vector256.Equals(high4, ownHigh) & Vector256.Equals(low4, ownLow)) != Vector256<ulong>.Zero;
            if (default(TSources).MustBeNear)
            {
                Vector256<ulong> distance = ((high4 ^ ownHigh) & subnets.MaskHigh) | ((low4 ^ ownLow) & subnets.MaskLow);
                isStrange |= Vector256.Equals(distance, Vector256<ulong>.Zero) == Vector256<ulong>.Zero;
            }
            if (isStrange && (Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask) != host)
            {
                continue;
            }
            if (padding != 0)
            {
                if (mbuf->nb_segs != 1)
                {
                    continue;
                }
                Trim(mbuf, (uint)padding);
            }
            entry->Length = (ushort)(payload + IPv6Header.Length);
            entry->Family = 6;
            *address = new IPv6Number(toHigh, toLow);
            plain++;
        }
        return plain;
    }

    /// <summary>As <see cref="Beginning"/>, of IPv6.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Beginning6(ulong mac) => Vector128.Create(mac & MacAddress.Mask, 0x0060_DD86_0000_0000).AsByte();

    private static Vector128<byte> BeginningMask6 => Vector128.Create(MacAddress.Mask | (1ul << 48), 0x00F0_FFFF_0000_0000).AsByte();

    /// <summary>False for the upper half of an address that is neither a martian nor link-local, whatever the lower one is: nearly all are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool MayBeStrange6(ulong high) => high - 1 >= 0xFE80_0000_0000_0000 - 1;

    /// <summary>As <see cref="SubnetAddresses"/>, of IPv6: addresses and masks.</summary>
    private struct SubnetAddresses6
    {
        public Vector256<ulong> OwnHigh, OwnLow, MaskHigh, MaskLow;
    }

    /// <summary>Unused ones are near to no source but a multicast address.</summary>
    private static void ReadSubnets6(ref readonly InterfaceRecord itf, out SubnetAddresses6 subnets)
    {
        Vector256<ulong> none = Vector256<ulong>.AllBitsSet;
        subnets = new SubnetAddresses6 { OwnHigh = none, OwnLow = none, MaskHigh = none, MaskLow = none };
        for (int i = 0; i < itf.Count6; i++)
        {
            ref readonly InterfaceAddress6 subnet = ref itf.Addresses6[i];
            subnets.OwnHigh = subnets.OwnHigh.WithElement(i, subnet.Address.High);
            subnets.OwnLow = subnets.OwnLow.WithElement(i, subnet.Address.Low);
            subnets.MaskHigh = subnets.MaskHigh.WithElement(i, subnet.Mask.High);
            subnets.MaskLow = subnets.MaskLow.WithElement(i, subnet.Mask.Low);
        }
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
