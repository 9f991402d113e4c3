using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// VXLAN encapsulation (RFC 7348): what the bridge sends to a tunnel port gets the outer headers and leaves by the underlay.
/// <para>
/// The way to the other end point and the outer headers are worked out once per burst (<see cref="UnderlayPath"/>). A packet then
/// needs a hash of its flow and a copy of the headers, into its headroom where the buffer is the packet's alone. A flooded packet
/// is not: it gets a small buffer for its headers, in front of the shared one, since copying 64 KiB for each tunnel costs more
/// than a chain does; a device that takes no chains gets one buffer from <see cref="OutputStage"/>.
/// </para>
/// <para>
/// What senders left to the hardware is done before: nobody completes a checksum or cuts a segment inside a tunnel. TCP
/// segments are cut to what fits, whatever size the sender had in mind, so that a container with an MTU that knows nothing of
/// the tunnel gets its streams through; a datagram that does not fit is dropped. Packets that need none of this go in a loop
/// that calls nothing (<see cref="Wrap"/>); at one that does it ends, and begins again behind it.
/// </para>
/// <para>
/// Accounting: the tunnel port was offered the frames and counts them as sent, with their own length; the outer packets are
/// originated at the underlay's port.
/// </para>
/// </summary>
public static unsafe class EncapsulateStage
{
    private const ulong Unusual = Offload.PendingMask | Offload.EncapsulatedFlag | PacketWatch.TraceFlag;

    /// <summary>Sends a burst into a tunnel.</summary>
    public static void Run(Worker w, int tunnelPort, rte_mbuf** mbufs, int count)
    {
        TunnelState state = w.Tunnels;
        PortCounters* counters = w.Counters(tunnelPort);
        counters->Offered += (uint)count;
        if (state.IsEncapsulating)
        {
            // The underlay is a bridge with a tunnel port that has just become full: a loop, whatever the packets are.
            w.EgressDrop(tunnelPort, mbufs, count, DropReason.EgressTunnelLoop);
            return;
        }
        state.IsEncapsulating = true;
        // In such a loop the port's own buffer, which this is, is filled again meanwhile.
        new ReadOnlySpan<nint>(mbufs, count).CopyTo(new Span<nint>(state.Burst, count));
        ref readonly TunnelRecord tunnel = ref w.Tunnel(tunnelPort);
        Unsafe.SkipInit(out UnderlayPath path);
        DropReason problem = w.IsErrDisabled(tunnelPort) ? DropReason.EgressDisabled : path.Find(w, in tunnel);
        if (problem == DropReason.Count)
        {
            Run(w, tunnelPort, in tunnel, ref path, state.Burst, count);
        }
        else
        {
            w.EgressDrop(tunnelPort, state.Burst, count, problem);
        }
        state.IsEncapsulating = false;
    }

    private static void Run(Worker w, int tunnelPort, ref readonly TunnelRecord tunnel, ref UnderlayPath path, rte_mbuf** mbufs, int count)
    {
        ulong bytes = 0;
        int sent = 0;
        bool isPlain = path.IsLink && !path.IsGroup && !path.Headers.HasChecksum && !w.Watcher.IsActive;
        for (rte_mbuf** at = mbufs, end = mbufs + count; at < end;)
        {
            if (isPlain)
            {
                rte_mbuf** next = path.Headers.IsIPv6 ? Wrap<V6>(in path, at, end, ref bytes) : Wrap<V4>(in path, at, end, ref bytes);
                if (next == at && (path.Headers.IsIPv6 ? TryWrapOther<V6>(in path, *at, ref bytes) : TryWrapOther<V4>(in path, *at, ref bytes)))
                {
                    next++;
                }
                int run = (int)(next - at);
                if (run != 0)
                {
                    w.Counters(path.Port)->Originated += (uint)run;
                    w.Send(path.Port, at, run);
                    sent += run;
                    at = next;
                    continue;
                }
            }
            sent += RunOne(w, tunnelPort, in tunnel, ref path, *at, ref bytes);
            at++;
        }
        w.Counters(tunnelPort)->TxPackets += (uint)sent;
        w.Counters(tunnelPort)->TxBytes += bytes;
    }

    /// <summary>Gives frames their headers until one needs more than that; gives that one, or the end. It calls nothing.</summary>
    private static rte_mbuf** Wrap<TFamily>(ref readonly UnderlayPath path, rte_mbuf** at, rte_mbuf** end, ref ulong bytes)
        where TFamily : struct, IFamily
    {
        uint limit = path.Limit;
        ulong sum = 0;
        for (; at < end; at++)
        {
            rte_mbuf* mbuf = *at;
            Prefetch(at[Worker.PrefetchAhead]);
            if (!NeedsHeadersOnly<TFamily>(mbuf, limit) || !FlowHash.TryOfPlainFrame(Mbuf.Data(mbuf), mbuf->data_len, out uint hash, out byte tos))
            {
                break;
            }
            sum += mbuf->pkt_len;
            Wrap<TFamily>(in path, mbuf, hash, tos);
        }
        bytes += sum;
        return at;
    }

    /// <summary>As the loop, for one frame of any kind. False when it needs more.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryWrapOther<TFamily>(ref readonly UnderlayPath path, rte_mbuf* mbuf, ref ulong bytes)
        where TFamily : struct, IFamily
    {
        if (!NeedsHeadersOnly<TFamily>(mbuf, path.Limit))
        {
            return false;
        }
        bytes += mbuf->pkt_len;
        uint hash = FlowHash.OfFrame(Mbuf.Data(mbuf), mbuf->data_len, out byte tos);
        Wrap<TFamily>(in path, mbuf, hash, tos);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool NeedsHeadersOnly<TFamily>(rte_mbuf* mbuf, uint limit)
        where TFamily : struct, IFamily
    {
        int overhead = default(TFamily).Overhead, first = mbuf->data_len;
        return (mbuf->ol_flags & (Unusual | Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL)) == 0 && mbuf->refcnt == 1
            && mbuf->pkt_len <= limit && first >= Wire.EthernetHeader && first <= ushort.MaxValue - overhead && mbuf->data_off >= overhead;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Wrap<TFamily>(ref readonly UnderlayPath path, rte_mbuf* mbuf, uint hash, byte tos)
        where TFamily : struct, IFamily
    {
        int overhead = default(TFamily).Overhead;
        uint length = mbuf->pkt_len;
        default(TFamily).Write(in path.Headers, Mbuf.Data(mbuf) - overhead, length, hash, (byte)(tos & Ecn.Mask));
        mbuf->data_off = (ushort)(mbuf->data_off - overhead);
        mbuf->data_len = (ushort)(mbuf->data_len + overhead);
        mbuf->pkt_len = length + (uint)overhead;
        mbuf->ol_flags |= Offload.EncapsulatedFlag;
    }

    private interface IFamily
    {
        int Overhead { get; }
        void Write(ref readonly OuterHeaders headers, byte* at, uint inner, uint hash, byte ecn);
    }

    private readonly struct V4 : IFamily
    {
        public int Overhead => VxlanHeader.Overhead4;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Write(ref readonly OuterHeaders headers, byte* at, uint inner, uint hash, byte ecn) => headers.Write4(at, inner, hash, ecn);
    }

    private readonly struct V6 : IFamily
    {
        public int Overhead => VxlanHeader.Overhead6;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Write(ref readonly OuterHeaders headers, byte* at, uint inner, uint hash, byte ecn) => headers.Write6(at, inner, hash, ecn);
    }

    /// <summary>Any frame, step by step. Gives how many outer packets it became.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int RunOne(Worker w, int tunnelPort, ref readonly TunnelRecord tunnel, ref UnderlayPath path, rte_mbuf* mbuf, ref ulong bytes)
    {
        PortCounters* counters = w.Counters(tunnelPort);
        ulong pending = mbuf->ol_flags & Offload.PendingMask;
        if ((mbuf->ol_flags & Offload.EncapsulatedFlag) != 0)
        {
            w.Drop(tunnelPort, mbuf, DropReason.EgressTunnelLoop);
            return 0;
        }
        if (path.IsGroup)
        {
            // The limit is that of its next hop, and of its segments': they are of one flow.
            DropReason problem = path.Choose(w, in tunnel, FlowHash.OfFrame(Mbuf.Data(mbuf), mbuf->data_len, out _));
            if (problem != DropReason.Count)
            {
                w.Drop(tunnelPort, mbuf, problem);
                return 0;
            }
        }
        if ((pending & Offload.SegmentFlag) != 0)
        {
            return Cut(w, tunnelPort, in tunnel, ref path, mbuf, ref bytes);
        }
        if (mbuf->pkt_len > path.Limit)
        {
            w.Drop(tunnelPort, mbuf, DropReason.EgressTunnelMtu);
            return 0;
        }
        if (pending != 0)
        {
            DropReason problem = OutputStage.CompleteChecksum(w, ref mbuf);
            if (problem != DropReason.Count)
            {
                w.Drop(tunnelPort, mbuf, problem);
                return 0;
            }
            counters->SoftwareChecksums++;
        }
        uint length = mbuf->pkt_len;
        if (w.Watcher.IsActive)
        {
            w.Watcher.Sent(tunnelPort, &mbuf, 1);
        }
        if (!Put(w, tunnelPort, in tunnel, ref path, mbuf))
        {
            return 0;
        }
        bytes += length;
        return 1;
    }

    /// <summary>A large packet: its segments.</summary>
    private static int Cut(Worker w, int tunnelPort, ref readonly TunnelRecord tunnel, ref UnderlayPath path, rte_mbuf* mbuf, ref ulong bytes)
    {
        PortCounters* counters = w.Counters(tunnelPort);
        rte_mbuf** segments = w.Tunnels.Segments;
        OffloadResult result = SoftwareOffload.Segment(mbuf, w.Small, w.Large, segments, OutputStage.MaxSegments, out int made, path.Limit);
        if (result != OffloadResult.Done)
        {
            w.Drop(tunnelPort, mbuf, result switch
            {
                OffloadResult.NoBuffer => DropReason.EgressNoBuffer,
                OffloadResult.TooLarge => DropReason.EgressTunnelMtu,
                _ => DropReason.EgressBadOffload,
            });
            return 0;
        }
        // The packet became several: the first takes its place, the others are copies.
        w.Watcher.StepOf(mbuf, TraceStep.Segmented, tunnelPort, (ulong)made);
        counters->SoftwareSegmented++;
        counters->Copies += (uint)made - 1;
        counters->Offered += (uint)made - 1;
        w.Free(mbuf);
        if (w.Watcher.IsActive)
        {
            w.Watcher.Sent(tunnelPort, segments, made);
        }
        int sent = 0;
        for (int i = 0; i < made; i++)
        {
            uint length = segments[i]->pkt_len;
            if (Put(w, tunnelPort, in tunnel, ref path, segments[i]))
            {
                bytes += length;
                sent++;
            }
        }
        return sent;
    }

    /// <summary>Puts the headers in front of a frame that fits and has nothing pending, and sends it. False when it was dropped.</summary>
    private static bool Put(Worker w, int tunnelPort, ref readonly TunnelRecord tunnel, ref UnderlayPath path, rte_mbuf* mbuf)
    {
        uint length = mbuf->pkt_len;
        uint hash = FlowHash.OfFrame(Mbuf.Data(mbuf), mbuf->data_len, out byte tos);
        if (path.IsGroup)
        {
            DropReason problem = path.Choose(w, in tunnel, hash);
            if (problem != DropReason.Count || length > path.Limit)
            {
                w.Drop(tunnelPort, mbuf, problem != DropReason.Count ? problem : DropReason.EgressTunnelMtu);
                return false;
            }
        }
        byte* headers = Mbuf.IsWritable(mbuf) ? Mbuf.Prepend(mbuf, path.Headers.Length) : null;
        if (headers == null)
        {
            rte_mbuf* first = InFront(w, mbuf, path.Headers.Length);
            if (first == null)
            {
                w.Drop(tunnelPort, mbuf, DropReason.EgressNoBuffer);
                return false;
            }
            mbuf = first;
            headers = Mbuf.Data(mbuf);
        }
        mbuf->ol_flags |= Offload.EncapsulatedFlag;
        if (!path.Headers.IsIPv6)
        {
            path.Headers.Write4(headers, length, hash, (byte)(tos & Ecn.Mask));
        }
        else
        {
            path.Headers.Write6(headers, length, hash, (byte)(tos & Ecn.Mask));
            if (path.Headers.HasChecksum)
            {
                path.Headers.WriteChecksum6(mbuf);
            }
        }
        if ((mbuf->ol_flags & PacketWatch.TraceFlag) != 0)
        {
            w.Watcher.StepOf(mbuf, TraceStep.Encapsulated, tunnelPort, tunnel.Vni, VxlanHeader.SourcePort(hash));
        }
        if (path.IsLink)
        {
            w.Counters(path.Port)->Originated++;
            w.Send(path.Port, mbuf);
            return true;
        }
        return PutOnBridge(w, tunnelPort, path.Port, mbuf);
    }

    /// <summary>Sends a complete outer packet by the bridge behind a router port.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool PutOnBridge(Worker w, int tunnelPort, int routerPort, rte_mbuf* mbuf)
    {
        if (!LinkOutput.TrySend(w, routerPort, routerPort, mbuf, out DropReason reason))
        {
            w.Drop(tunnelPort, mbuf, reason == DropReason.RouterLoop ? DropReason.EgressTunnelLoop : DropReason.EgressNoTunnelRoute);
            return false;
        }
        w.Counters(routerPort)->Originated++;
        return true;
    }

    /// <summary>A buffer of its own for the headers, in front of a packet that others hold or that has no room. Null without buffers.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static rte_mbuf* InFront(Worker w, rte_mbuf* mbuf, int length)
    {
        rte_mbuf* first = w.Small.Allocate();
        if (first == null)
        {
            return null;
        }
        first->data_len = (ushort)length;
        first->pkt_len = mbuf->pkt_len + (uint)length;
        first->port = mbuf->port;
        first->next = mbuf;
        first->nb_segs = (ushort)(mbuf->nb_segs + 1);
        Offload.Copy(mbuf, first);
        return first;
    }

    /// <summary>Asks for the room in front of a packet where drivers put it; see <see cref="BridgeStage.Prefetch"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(rte_mbuf* mbuf)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0((byte*)(mbuf + 1) + PacketMeta.SizeInBytes + Mbuf.DefaultHeadroom - VxlanHeader.Overhead4);
        }
    }
}
