using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>Reading headers: the loops that tell plain packets from those that go step by step.</summary>
internal static unsafe partial class RouteBurst
{
    /// <summary>
    /// Reads IPv4 headers. Makes the entries of a burst, with family 4 where a packet is plain: to the router's address, without
    /// options, all of it sound. Gives how many are.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="itf">The interface of the burst.</param>
    /// <param name="mbufs">The packets.</param>
    /// <param name="count">How many.</param>
    /// <param name="asks">
    /// Does what <see cref="Ask4"/> does in the same loop, for all packets. So it gives fragments and what begins or ends a connection family 0.
    /// </param>
    /// <param name="bytes">Bytes of the frames.</param>
    public static int Read4(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, bool asks, out ulong bytes) =>
        itf.Has(InterfaceFlags.SourceCheck)
            ? asks ? ReadAsking4<NearSources>(w, in itf, mbufs, count, out bytes) : Read4<NearSources, Reading>(w, in itf, mbufs, count, out bytes, out _)
            : asks ? ReadAsking4<AnySource>(w, in itf, mbufs, count, out bytes) : Read4<AnySource, Reading>(w, in itf, mbufs, count, out bytes, out _);

    private static int ReadAsking4<TSources>(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, out ulong bytes)
        where TSources : struct, ISources
    {
        int plain = Read4<TSources, Asking>(w, in itf, mbufs, count, out bytes, out int begun);
        ForeseeSyns(w, itf.Vrf, begun);
        return plain;
    }

    // What is wrong with a packet is found by branches, each of them on one test: a packet that fails one leaves the loop anyway. What is a range of a
    // byte is tested for all such bytes at once.
    private static int Read4<TSources, TAsking>(Worker w, ref readonly InterfaceRecord itf, rte_mbuf** mbufs, int count, out ulong bytes, out int begun)
        where TSources : struct, ISources
        where TAsking : struct, IAsking
    {
        const ulong Shared = Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL;
        // Where connections are asked for, a packet that is too short for UDP is none of them.
        const int Transport = Wire.EthernetHeader + IPv4Header.MinLength;
        int needed = default(TAsking).Asks ? Transport + UdpHeader.Length : Transport;
        RouteState state = w.Routing;
        ConnectionTable table = w.Connections;
        BurstPacket* entry = state.Entries;
        uint* addresses = state.Addresses4;
        byte* begins = state.Missed;
        ulong host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        ReadSubnets(in itf, out SubnetAddresses subnets);
        Vector256<uint> ends = subnets.Ends, own = subnets.Own, masks = subnets.Masks;
        Vector128<byte> mac = Beginning(itf.Mac), alias = Beginning(itf.AliasMac != 0 ? itf.AliasMac : itf.Mac), decides = BeginningMask;
        Vector128<ulong> vrf = ConnectionKey4.VrfOf(itf.Vrf);
        ulong sum = 0;
        int odd = 0;
        nint last = count - Worker.PrefetchAhead, end = count;
        for (nint i = 0; i < end; i++, entry++)
        {
            rte_mbuf* mbuf = mbufs[i];
            if (i < last)
            {
                Prefetch(mbufs[i + Worker.PrefetchAhead]);
            }
            uint frame = mbuf->pkt_len;
            sum += frame;
            byte* data = Mbuf.Data(mbuf);
            entry->Mbuf = mbuf;
            entry->Data = data;
            entry->Foreseen = default;
            if (mbuf->data_len < needed)
            {
                goto Odd;
            }
            Vector128<byte> beginning = Vector128.Load(data);
            if (((beginning ^ mac) & decides) != Vector128<byte>.Zero && ((beginning ^ alias) & decides) != Vector128<byte>.Zero)
            {
                goto Odd;
            }
            if (mbuf->refcnt != 1)
            {
                goto Odd;
            }
            entry->Notes = BurstPacket.NotesOf(4, default(TAsking).Asks ? TrackedBy.Whole : TrackedBy.None);
            if ((mbuf->ol_flags & (default(TAsking).Asks ? Shared | Offload.PendingMask : Shared)) != 0)
            {
                if ((Volatile.Read(ref mbuf->ol_flags) & Shared) != 0 || (default(TAsking).Asks && !IsLeftOpen4(mbuf, data)))
                {
                    goto Odd;
                }
                entry->Translated = TrackedBy.Open;
            }
            // Of these only the signs count.
            long length = IPv4Header.TotalLength(data + Wire.EthernetHeader), padding = frame - Wire.EthernetHeader - length;
            if (((length - (needed - Wire.EthernetHeader)) | padding) < 0 || HasOddBytes<TAsking>(Vector128.Load(data + Middle))
                || !IPv4Header.IsChecksumGood(data + Wire.EthernetHeader))
            {
                goto Odd;
            }
            // The source against all subnets of the interface at once: the address of the router, or the first or last one of a
            // subnet, which no host has; and where sources are checked, one of no subnet.
            Vector256<uint> source = Vector256.Create(Unsafe.ReadUnaligned<uint>(data + Wire.EthernetHeader + 12));
            Vector256<uint> strange = Vector256.Equals(source, ends) | Vector256.Equals(source, own);
            if (default(TSources).MustBeNear && Vector256.Equals((source ^ own) & masks, Vector256<uint>.Zero) == Vector256<uint>.Zero)
            {
                strange = Vector256<uint>.AllBitsSet;
            }
            if (strange != Vector256<uint>.Zero && (Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask) != host)
            {
                goto Odd;
            }
            // What follows the packet in its frame is cut off, which is as simple as this where there is one buffer.
            if (padding != 0)
            {
                if (mbuf->nb_segs != 1)
                {
                    goto Odd;
                }
                Trim(mbuf, (uint)padding);
            }
            if (default(TAsking).Asks)
            {
                byte protocol = data[Wire.EthernetHeader + 9];
                if (protocol != Wire.ProtocolUdp && (protocol != Tcp || !IsQuietTcp(mbuf, data + Transport, Transport, (int)length - IPv4Header.MinLength)))
                {
                    *begins++ = (byte)i;
                    entry->Notes = (ushort)length; // step by step, unless the connection that it begins can be begun at once
                    addresses[i] = 0;
                    continue;
                }
                Ask4(table, entry, data + Wire.EthernetHeader, vrf);
            }
            entry->Length = (ushort)length;
            addresses[i] = IPv4Header.Destination(data + Wire.EthernetHeader);
            continue;

        Odd:
            entry->Notes = 0;
            addresses[i] = 0;
            odd++;
        }
        bytes = sum;
        begun = (int)(begins - state.Missed);
        return count - odd;
    }

    /// <summary>Where the middle of a frame's IPv4 header begins, of which <see cref="HasOddBytes"/> looks at 16 bytes.</summary>
    private const int Middle = 16;

    /// <summary>
    /// Whether the time to live is below 2, or one of the addresses a martian (<see cref="IPAddresses.IsMartian4"/>): each of that is a range of one byte,
    /// but for 127. Where connections are asked for, a fragment, too.
    /// </summary>
    /// <param name="middle">Bytes 16 to 31 of the frame: from the total length to the second byte of the destination.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool HasOddBytes<TAsking>(Vector128<byte> middle)
        where TAsking : struct, IAsking
    {
        Vector128<byte> least = Vector128.Create((byte)0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0);
        Vector128<byte> most = Vector128.Create((byte)255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 223, 255, 255, 255, 223, 255);
        Vector128<byte> firsts = Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 255, 0);
        Vector128<byte> odd = (Vector128.Min(Vector128.Max(middle, least), most) ^ middle) | (Vector128.Equals(middle, Vector128.Create((byte)127)) & firsts);
        if (default(TAsking).Asks)
        {
            odd |= middle & Vector128.Create((ushort)0, 0, AnyFragment, 0, 0, 0, 0, 0).AsByte();
        }
        return odd != Vector128<byte>.Zero;
    }

    /// <summary>Whether the loop asks for connections, too; a type, so that there is code for either.</summary>
    private interface IAsking
    {
        bool Asks { get; }
    }

    private readonly struct Reading : IAsking
    {
        public bool Asks => false;
    }

    private readonly struct Asking : IAsking
    {
        public bool Asks => true;
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

    /// <summary>Of the subnets of an interface: the first and last addresses, its own ones and the masks, twice, as they stand in a packet.</summary>
    private struct SubnetAddresses
    {
        public Vector256<uint> Ends, Own, Masks;
    }

    /// <summary>Unused ones are near to no source but the one that is everybody's. Where a subnet has two addresses both are hosts' (RFC 3021).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ReadSubnets(ref readonly InterfaceRecord itf, out SubnetAddresses subnets)
    {
        ref ulong pairs = ref Unsafe.As<InterfaceAddresses4, ulong>(ref Unsafe.AsRef(in itf.Addresses4));
        Vector128<ulong> two = Vector128.LoadUnsafe(ref pairs), others = Vector128.LoadUnsafe(ref pairs, 2);
        Vector128<uint> unused = Vector128.LessThanOrEqual(Vector128.Create((uint)itf.Count4), Vector128.Create(0u, 1, 2, 3));
        Vector128<uint> own = Vector128.Narrow(two, others) | unused, masks = Vector128.Narrow(two >>> 32, others >>> 32) | unused;
        Vector128<uint> hasEnds = Vector128.GreaterThan(~masks, Vector128<uint>.One);
        subnets.Ends = Vector256.Create(AsSent(own & (masks | ~hasEnds)), AsSent(own | (~masks & hasEnds)));
        subnets.Own = Vector256.Create(AsSent(own));
        subnets.Masks = Vector256.Create(AsSent(masks));
    }

    /// <summary>Numbers as they stand in a packet.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> AsSent(Vector128<uint> numbers) =>
        Vector128.Shuffle(numbers.AsByte(), Vector128.Create((byte)3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(rte_mbuf* mbuf)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0((byte*)(mbuf + 1) + PacketMeta.SizeInBytes + Mbuf.DefaultHeadroom);
        }
    }
}
