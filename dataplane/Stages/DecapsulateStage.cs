using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// VXLAN decapsulation (RFC 7348). What comes for an address of the router and for a UDP port of a tunnel ends here, consumed; the
/// frame in it enters the bridge of its network by the port of the tunnel it came by, which must be one of ours: same network, peer,
/// own address, VRF and UDP port.
/// <para>
/// Packets come by tunnels that others have come by before. So before the router looks at a burst, its packets are compared, as
/// bytes, with the tunnels that the worker knows (<see cref="TakeKnown"/>): where all agrees that the router and the steps would
/// have looked at, the packet only loses its outer headers. All others go through the router, and from there step by step
/// (<see cref="TryTake"/>). A tunnel is known by one interface only: each has its own filters, and one that lets a
/// peer's packets pass says nothing of another.
/// </para>
/// <para>
/// Reserved bits are ignored, as RFC 7348 asks. The Linux driver drops packets that have one set, because an extension may give
/// the packet another meaning; but those that do (GPE) have a UDP port of their own, those that use this one (group policy) carry an ordinary
/// frame, and a peer must be configured before anything of it is taken.
/// A UDP checksum is verified when there is one. Without one an IPv6 packet is taken only from a tunnel that says so (RFC 6935).
/// </para>
/// </summary>
public static unsafe class DecapsulateStage
{
    /// <summary>Outer headers and the inner ones that may have to change lie in the first so many bytes, unless somebody plays with options.</summary>
    private const uint Headers = 160;

    private const int IP = Wire.EthernetHeader;
    private const int Udp4 = IP + IPv4Header.MinLength;
    private const int Udp6 = IP + IPv6Header.Length;
    private const ulong Unusual = Offload.PendingMask | PacketWatch.TraceFlag | Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL;

    /// <summary>
    /// Takes the packets of known tunnels out of a burst that an interface received, before anybody else has looked at them, and
    /// counts what became of them. Gives how many are left, in front in their order.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The router or routed port by which they came.</param>
    /// <param name="mbufs">The packets.</param>
    /// <param name="count">How many.</param>
    /// <param name="bytes">Bytes of the packets taken.</param>
    public static int TakeKnown(Worker w, int port, rte_mbuf** mbufs, int count, out ulong bytes)
    {
        bytes = 0;
        return w.Tunnels.MayKnow(port, w.Generation) && !w.Watcher.IsTracing ? TakeFrom(w, port, mbufs, count, ref bytes) : count;
    }

    private static int TakeFrom(Worker w, int port, rte_mbuf** mbufs, int count, ref ulong bytes)
    {
        int left = 0;
        rte_mbuf** end = mbufs + count;
        for (rte_mbuf** at = mbufs; (at = TakeFrom(w, port, at, end, mbufs, ref left, ref bytes)) < end; at++)
        {
            // In its turn, or it would come behind others of its flow.
            bytes += (*at)->pkt_len;
            RouteStage.One(w, port, *at);
        }
        return left;
    }

    /// <summary>The loop, up to a packet that may be a tunnel's none the less; gives that one, or the end. It calls nothing.</summary>
    private static rte_mbuf** TakeFrom(Worker w, int port, rte_mbuf** at, rte_mbuf** end, rte_mbuf** others, ref int left, ref ulong bytes)
    {
        TunnelState state = w.Tunnels;
        ulong generation = w.Generation, sum = 0;
        rte_mbuf** other = others + left;
        uint consumed = 0;
        for (rte_mbuf** ahead = end - Worker.PrefetchAhead; at < end; at++)
        {
            rte_mbuf* mbuf = *at;
            if (at < ahead)
            {
                BridgeStage.Prefetch(at[Worker.PrefetchAhead]);
            }
            KnownTunnel* known = Recognise(state, mbuf, out int overhead, out bool isNear);
            if (known != null && known->Generation == generation && known->Interface == port && w.TryInject(known->Port, mbuf))
            {
                sum += mbuf->pkt_len;
                mbuf->ol_flags = 0;
                mbuf->data_off += (ushort)overhead;
                mbuf->data_len -= (ushort)overhead;
                mbuf->pkt_len -= (uint)overhead;
                consumed++;
            }
            else if (isNear)
            {
                break;
            }
            else
            {
                *other++ = mbuf;
            }
        }
        w.Counters(port)->Consumed += consumed;
        bytes += sum;
        left = (int)(other - others);
        return at;
    }

    /// <summary>
    /// Takes a packet for an address of the router, untagged and with IP headers that have been checked, if it is for a UDP port of a
    /// tunnel. True when it was consumed or dropped, and counted so.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The router or routed port by which it came.</param>
    /// <param name="mbuf">The packet.</param>
    public static bool TryTake(Worker w, int port, rte_mbuf* mbuf)
    {
        TunnelState state = w.Tunnels;
        ushort vrf = w.Interface(port).Vrf;
        int udp = UdpOffset(mbuf);
        if (udp == 0 || !state.IsVxlanPort(w.Generation, vrf, Wire.Load16(Mbuf.Data(mbuf) + udp + 2)))
        {
            return false;
        }
        if ((mbuf->ol_flags & Offload.SegmentFlag) != 0 && Offload.Meta(mbuf)->Vnet.csum_start == udp)
        {
            TakeDatagrams(w, state, port, vrf, mbuf);
            return true;
        }
        TakeOne(w, state, port, vrf, mbuf);
        return true;
    }

    private static void TakeOne(Worker w, TunnelState state, int port, ushort vrf, rte_mbuf* mbuf)
    {
        mbuf = Unwrap(w, state, port, vrf, mbuf, out int tunnel);
        if (mbuf != null)
        {
            w.Counters(port)->Consumed++;
            w.Inject(tunnel, mbuf);
        }
    }

    /// <summary>
    /// Outer packets that a kernel gave as one, because a device's receive offload put them together or a sender on this machine never took them
    /// apart. They count as the packets that they are.
    /// </summary>
    private static void TakeDatagrams(Worker w, TunnelState state, int port, ushort vrf, rte_mbuf* mbuf)
    {
        rte_mbuf** datagrams = state.Segments;
        uint before = mbuf->pkt_len, after = 0;
        OffloadResult result = SoftwareOffload.Segment(mbuf, w.Small, w.Large, datagrams, OutputStage.MaxSegments, out int count, summed: false);
        if (result != OffloadResult.Done)
        {
            w.Drop(port, mbuf, result == OffloadResult.NoBuffer ? DropReason.NoBuffer : DropReason.BadOffload);
            return;
        }
        w.Watcher.StepOf(mbuf, TraceStep.Segmented, port, (ulong)count);
        w.Free(mbuf);
        for (int i = 0; i < count; i++)
        {
            after += datagrams[i]->pkt_len;
            datagrams[i]->ol_flags |= Offload.TrustedFlag;
            TakeOne(w, state, port, vrf, datagrams[i]);
        }
        PortCounters* counters = w.Counters(port);
        counters->RxPackets += (uint)count - 1;
        counters->RxBytes += after - before;
    }

    /// <summary>Where the UDP header of a packet stands, 0 when it has none that can be read: it is not UDP, or a later fragment.</summary>
    private static int UdpOffset(rte_mbuf* mbuf)
    {
        byte* ip = Mbuf.Data(mbuf) + IP;
        int udp;
        if (mbuf->data_len >= Udp6 && ip[0] >> 4 == 6)
        {
            IPv6Payload payload = IPv6Header.Payload(mbuf, IP);
            udp = payload.Protocol == Wire.ProtocolUdp && !payload.IsLaterFragment ? payload.Offset : 0;
        }
        else
        {
            udp = mbuf->data_len >= Udp4 && IPv4Header.Protocol(ip) == Wire.ProtocolUdp
                && (IPv4Header.Fragment(ip) & IPv4Header.OffsetMask) == 0 ? IP + IPv4Header.Length(ip) : 0;
        }
        return udp + 4 <= mbuf->data_len ? udp : 0;
    }

    /// <summary>
    /// The known tunnel of a packet of which nothing is to be seen to but headers that are as they must be: for this interface, of
    /// that peer, for the address it has to send to, not fragmented, without options, and not marked; of lengths that agree; with a
    /// right IPv4 header checksum, and no UDP checksum. Null for all others.
    /// </summary>
    /// <param name="state">What the worker knows.</param>
    /// <param name="mbuf">The packet.</param>
    /// <param name="overhead">Bytes of its outer headers.</param>
    /// <param name="isNear">It may be a tunnel's none the less.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static KnownTunnel* Recognise(TunnelState state, rte_mbuf* mbuf, out int overhead, out bool isNear)
    {
        byte* data = Mbuf.Data(mbuf), ip = data + IP;
        int length = mbuf->data_len;
        overhead = VxlanHeader.Overhead4;
        isNear = false;
        bool isIPv4 = length >= Udp4 + 4 && Wire.Load16(data + Wire.EtherTypeOffset) == Wire.EtherTypeIPv4;
        int udpOffset = isIPv4 ? Udp4 : Udp6;
        if (length < udpOffset + 4 || !state.IsVxlanPort(data + udpOffset + 2))
        {
            return null;
        }
        isNear = true;
        overhead = udpOffset + VxlanHeader.UdpHeader + VxlanHeader.Length;
        if (length < overhead + Wire.EthernetHeader || (mbuf->ol_flags & Unusual) != 0 || !Mbuf.IsWritable(mbuf))
        {
            return null;
        }
        byte* udp = data + udpOffset;
        KnownTunnel* known = state.Known(ip, isIPv4, udp);
        Vector256<byte> first = Vector256.Load(data) ^ known->First;
        if (isIPv4)
        {
            int total = IPv4Header.TotalLength(ip);
            Vector256<byte> second = Vector256.Load(data + VxlanHeader.Overhead4 - 32) ^ known->Second;
            return ((first & First4) | (second & Second4)) == Vector256<byte>.Zero
                & mbuf->pkt_len == (uint)(IP + total) & Wire.Load16(udp + 4) == total - IPv4Header.MinLength & IPv4Header.IsChecksumGood(ip)
                ? known : null;
        }
        int payload = IPv6Header.PayloadLength(ip);
        Vector256<byte> middle = Vector256.Load(data + 32) ^ known->Second, third = Vector256.Load(data + VxlanHeader.Overhead6 - 32) ^ known->Third;
        return ((first & First6) | (middle & Second6) | (third & Third6)) == Vector256<byte>.Zero
            & known->TakesZeroChecksum6 & mbuf->pkt_len == (uint)(Udp6 + payload) & Wire.Load16(udp + 4) == payload ? known : null;
    }

    // What of the headers is the same in each packet of a tunnel, by the offsets of KnownTunnel. Of the addresses of the frame the
    // destination, and that the source is no group; of the flags the one that must be set; the VNI; and that there is no UDP checksum.
    private static Vector256<byte> First4
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, // Ethernet; version and header length
            1, 0, 0, 0, 0, 0x3F, 0xFF, 0, 0xFF, 0, 0, // the half of ECN that matters; fragment; protocol
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF);
    }

    private static Vector256<byte> Second4
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(
            0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // from byte 18; IPv4 addresses
            0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, VxlanHeader.HasVni, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0); // UDP; VXLAN
    }

    private static Vector256<byte> First6
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xF0, 0x10, // version, ECN
            0, 0, 0, 0, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF); // next header, source
    }

    private static Vector256<byte> Second6
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // from byte 32; rest of the source, destination
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, VxlanHeader.HasVni, 0);
    }

    private static Vector256<byte> Third6
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // from byte 38; destination
            0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, VxlanHeader.HasVni, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0);
    }

    /// <summary>
    /// Notes what packets of a tunnel look like, from one that has been looked at step by step: what of it may be otherwise in
    /// another one that is as good is set to what it must be.
    /// </summary>
    private static void Note(Worker w, TunnelState state, int interfacePort, int port, ref readonly TunnelRecord tunnel, byte* data, ref readonly Outer outer)
    {
        if (outer.Udp != (outer.IsIPv6 ? Udp6 : Udp4))
        {
            return; // with options, or extension headers
        }
        byte* headers = stackalloc byte[VxlanHeader.Overhead6];
        Buffer.MemoryCopy(data, headers, VxlanHeader.Overhead6, outer.Length);
        byte* ip = headers + IP, udp = headers + outer.Udp;
        LinkOutput.WriteAddresses(headers, w.Interface(interfacePort).Mac, 0);
        if (outer.IsIPv6)
        {
            Ecn.Set(ip, true, Ecn.NotCapable);
        }
        else
        {
            ip[1] = Ecn.NotCapable;
        }
        Unsafe.WriteUnaligned(udp + 6, (ushort)0);
        KnownTunnel* known = state.Note(interfacePort, w.Generation, ip, !outer.IsIPv6, udp);
        known->First = Vector256.Load(headers);
        known->Second = Vector256.Load(headers + (outer.IsIPv6 ? 32 : VxlanHeader.Overhead4 - 32));
        known->Third = outer.IsIPv6 ? Vector256.Load(headers + VxlanHeader.Overhead6 - 32) : default;
        known->Generation = w.Generation;
        (known->Port, known->Interface) = ((ushort)port, (ushort)interfacePort);
        known->TakesZeroChecksum6 = tunnel.Has(TunnelFlags.ZeroChecksum6);
    }

    /// <summary>Any packet, step by step. The frame in it, and the port of its tunnel; or null when it was dropped.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static rte_mbuf* Unwrap(Worker w, TunnelState state, int interfacePort, ushort vrf, rte_mbuf* mbuf, out int port)
    {
        port = 0;
        DropReason reason = DropReason.Count;
        if (!Mbuf.IsWritable(mbuf) || mbuf->data_len < Math.Min(mbuf->pkt_len, Headers))
        {
            rte_mbuf* copy = w.DeepCopy(mbuf);
            reason = copy == null ? DropReason.NoBuffer : DropReason.Count;
            Replace(w, ref mbuf, copy);
        }
        Outer outer = default;
        if (reason == DropReason.Count && (reason = Read(mbuf, out outer)) == DropReason.Count
            && (reason = FindTunnel(w, state, interfacePort, vrf, mbuf, in outer, out port)) == DropReason.Count
            && (reason = Trim(w, ref mbuf, outer.End)) == DropReason.Count
            && (reason = SettleOffload(mbuf, in outer)) == DropReason.Count
            && (reason = CheckSum(mbuf, in outer, w.Tunnel(port).Has(TunnelFlags.ZeroChecksum6))) == DropReason.Count)
        {
            reason = CombineEcn(mbuf, in outer);
        }
        if (reason != DropReason.Count)
        {
            w.Drop(interfacePort, mbuf, reason);
            return null;
        }
        w.Watcher.StepOf(mbuf, TraceStep.Decapsulated, port, outer.Vni, (ulong)outer.Length);
        Mbuf.Adjust(mbuf, outer.Length);
        Offload.Shift(mbuf, -outer.Length);
        mbuf->ol_flags &= Offload.PendingMask | PacketWatch.TraceFlag;
        return mbuf;
    }

    /// <summary>What the outer headers say.</summary>
    private struct Outer
    {
        public bool IsIPv6;
        public int Udp;
        /// <summary>Bytes in front of the inner frame.</summary>
        public int Length;
        /// <summary>Bytes up to the end of the inner frame.</summary>
        public uint End;
        public uint Vni;
    }

    /// <summary>Finds the headers, with every length checked.</summary>
    private static DropReason Read(rte_mbuf* mbuf, out Outer outer)
    {
        outer = default;
        if (mbuf->data_len < VxlanHeader.Overhead4 + Wire.EthernetHeader)
        {
            return DropReason.VxlanTruncated;
        }
        byte* data = Mbuf.Data(mbuf), ip = data + IP;
        uint end;
        if (ip[0] >> 4 == 6)
        {
            IPv6Payload payload = IPv6Header.Payload(mbuf, IP);
            if (payload.Fragment != 0)
            {
                return DropReason.VxlanFragment;
            }
            if (payload.Protocol != Wire.ProtocolUdp)
            {
                return DropReason.VxlanTruncated; // headers that run past its end
            }
            (outer.IsIPv6, outer.Udp, end) = (true, payload.Offset, (uint)(IP + IPv6Header.Length + IPv6Header.PayloadLength(ip)));
        }
        else
        {
            if (IPv4Header.IsFragment(ip))
            {
                return DropReason.VxlanFragment;
            }
            (outer.Udp, end) = (IP + IPv4Header.Length(ip), (uint)(IP + IPv4Header.TotalLength(ip)));
        }
        outer.Length = outer.Udp + VxlanHeader.UdpHeader + VxlanHeader.Length;
        if (outer.Length + Wire.EthernetHeader > mbuf->data_len)
        {
            return DropReason.VxlanTruncated;
        }
        byte* udp = data + outer.Udp;
        outer.End = (uint)outer.Udp + Wire.Load16(udp + 4);
        if (end > mbuf->pkt_len || outer.End > end || outer.End < (uint)outer.Length + Wire.EthernetHeader)
        {
            return DropReason.VxlanTruncated;
        }
        if ((udp[VxlanHeader.UdpHeader] & VxlanHeader.HasVni) == 0)
        {
            return DropReason.VxlanFlags;
        }
        outer.Vni = VxlanHeader.Vni(udp + VxlanHeader.UdpHeader);
        return DropReason.Count;
    }

    /// <summary>Finds the tunnel, and notes what its packets look like.</summary>
    private static DropReason FindTunnel(Worker w, TunnelState state, int interfacePort, ushort vrf, rte_mbuf* mbuf, ref readonly Outer outer, out int port)
    {
        byte* ip = Mbuf.Data(mbuf) + IP, udp = Mbuf.Data(mbuf) + outer.Udp;
        IPv6Number remote = outer.IsIPv6 ? IPv6Header.Source(ip) : new IPv6Number(0, IPv4Header.Source(ip));
        IPv6Number local = outer.IsIPv6 ? IPv6Header.Destination(ip) : new IPv6Number(0, IPv4Header.Destination(ip));
        port = state.Find(w.Generation, vrf, Wire.Load16(udp + 2), outer.Vni, outer.IsIPv6, remote, out DropReason reason);
        if (port == 0)
        {
            return reason;
        }
        ref readonly TunnelRecord tunnel = ref w.Tunnel(port);
        if (tunnel.Local != local)
        {
            return DropReason.VxlanVtep;
        }
        Note(w, state, interfacePort, port, in tunnel, Mbuf.Data(mbuf), in outer);
        return DropReason.Count;
    }

    /// <summary>Cuts off what lies behind the UDP datagram, padding most often.</summary>
    private static DropReason Trim(Worker w, ref rte_mbuf* mbuf, uint length)
    {
        if (mbuf->pkt_len == length)
        {
            return DropReason.Count;
        }
        if (mbuf->nb_segs == 1)
        {
            mbuf->data_len = (ushort)length;
            mbuf->pkt_len = length;
            return DropReason.Count;
        }
        // The buffers behind the first one may be others' too.
        MbufPool pool = length <= Offload.Room(w.Small) ? w.Small : w.Large;
        rte_mbuf* copy = Shim.dps_mbuf_copy(mbuf, pool.Pointer, 0, length);
        if (copy == null)
        {
            return DropReason.NoBuffer;
        }
        copy->port = mbuf->port;
        Offload.Copy(mbuf, copy);
        Replace(w, ref mbuf, copy);
        return DropReason.Count;
    }

    /// <summary>
    /// Work that the sender left undone, a kernel on this machine. A pending outer checksum is none: the packet never left the
    /// memory of the machine. An inner one stays pending, unless it is part of an outer one.
    /// </summary>
    private static DropReason SettleOffload(rte_mbuf* mbuf, ref readonly Outer outer)
    {
        if (!Offload.IsPending(mbuf))
        {
            return DropReason.Count;
        }
        ref readonly virtio_net_hdr vnet = ref Offload.Meta(mbuf)->Vnet;
        bool isLarge = (mbuf->ol_flags & Offload.SegmentFlag) != 0;
        if (vnet.csum_start == outer.Udp && vnet.csum_offset == 6 && !isLarge)
        {
            Unsafe.WriteUnaligned(Mbuf.Data(mbuf) + outer.Udp + 6, (ushort)0);
            mbuf->ol_flags = (mbuf->ol_flags & ~Offload.PendingMask) | Offload.TrustedFlag;
            return DropReason.Count;
        }
        // What may be in front of the inner frame's payload is the frame's own.
        if (vnet.csum_start < outer.Length + Wire.EthernetHeader || (uint)vnet.csum_start + vnet.csum_offset + 2 > mbuf->pkt_len)
        {
            return DropReason.BadOffload;
        }
        if (Unsafe.ReadUnaligned<ushort>(Mbuf.Data(mbuf) + outer.Udp + 6) == 0)
        {
            return DropReason.Count;
        }
        return !isLarge && SoftwareOffload.CompleteChecksum(mbuf) == OffloadResult.Done ? DropReason.Count : DropReason.BadOffload;
    }

    private static DropReason CheckSum(rte_mbuf* mbuf, ref readonly Outer outer, bool takesZero6)
    {
        byte* ip = Mbuf.Data(mbuf) + IP, udp = Mbuf.Data(mbuf) + outer.Udp;
        if (Unsafe.ReadUnaligned<ushort>(udp + 6) == 0)
        {
            return !outer.IsIPv6 || takesZero6 || (mbuf->ol_flags & Offload.TrustedFlag) != 0 ? DropReason.Count : DropReason.VxlanChecksum;
        }
        ulong sum = outer.IsIPv6
            ? IPv6Header.PseudoSum(ip, Wire.ProtocolUdp, Wire.Load16(udp + 4))
            : Checksum.Add(0, ip + 12, 8) + ((ulong)Wire.ProtocolUdp << 8) + Unsafe.ReadUnaligned<ushort>(udp + 4);
        return Checksum.Finish(Checksum.AddChain(sum, mbuf, (uint)outer.Udp)) == 0 ? DropReason.Count : DropReason.VxlanChecksum;
    }

    /// <summary>Tells the inner packet of congestion under the tunnel.</summary>
    private static DropReason CombineEcn(rte_mbuf* mbuf, ref readonly Outer outer)
    {
        byte mark = Ecn.Get(Mbuf.Data(mbuf) + IP, outer.IsIPv6);
        byte* frame = Mbuf.Data(mbuf) + outer.Length;
        int ip;
        if (!Ecn.Matters(mark) || (ip = EthernetFrame.IPOffset(frame, mbuf->data_len - outer.Length, out bool isIPv6)) == 0)
        {
            return DropReason.Count; // what is no IP has no field for it
        }
        byte inner = Ecn.Get(frame + ip, isIPv6);
        if (!Ecn.TryCombine(inner, mark, out byte combined))
        {
            return DropReason.VxlanCongestion;
        }
        if (combined != inner)
        {
            Ecn.Set(frame + ip, isIPv6, combined);
        }
        return DropReason.Count;
    }

    private static void Replace(Worker w, ref rte_mbuf* mbuf, rte_mbuf* copy)
    {
        if (copy != null)
        {
            w.Free(mbuf);
            mbuf = copy;
        }
    }
}
