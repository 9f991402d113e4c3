using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// From a worker's transmit buffer for a port to the device.
/// <para>
/// Most packets need nothing. One look at the flags and the length finds those that do: a packet with work left undone that the
/// device cannot do is completed or segmented in software here, one that exceeds the port's MTU is dropped. What the device
/// does not take is dropped as "egress-full": a worker never waits for a slow port.
/// </para>
/// <para>
/// A transmit queue belongs to one worker. Where a device has fewer queues than there are workers, the packets are handed to
/// the worker that owns the queue, through a ring of their own (<see cref="Handover"/>).
/// </para>
/// </summary>
public static unsafe class OutputStage
{
    /// <summary>Segments that one packet can become: 64 KiB at 68 bytes of payload each, and then some.</summary>
    public const int MaxSegments = 1024;

    /// <summary>Sends what waits for a port.</summary>
    public static void Flush(Worker w, int outPort, rte_mbuf** mbufs, int count)
    {
        PortCounters* counters = w.Counters(outPort);
        EnginePort? port = w.PortObject(outPort);
        if (port == null)
        {
            PortFlags role = w.Port(outPort).Flags;
            if ((role & (PortFlags.Router | PortFlags.Tunnel)) != 0)
            {
                PassOn(w, outPort, role, mbufs, count);
                return;
            }
            counters->Offered += (uint)count;
            w.EgressDrop(outPort, mbufs, count, DropReason.EgressDetached);
            return;
        }
        if (w.IsErrDisabled(outPort))
        {
            counters->Offered += (uint)count;
            w.EgressDrop(outPort, mbufs, count, DropReason.EgressDisabled);
            return;
        }
        int queues = port.TxQueues;
        if (w.Index >= queues)
        {
            int owner = w.Index % queues;
            for (int i = 0; w.Watcher.IsTracing && i < count; i++)
            {
                w.Watcher.StepOf(mbufs[i], TraceStep.HandedOver, outPort, (ulong)owner);
            }
            int taken = w.HandOver(owner, outPort, mbufs, count);
            if (taken < count)
            {
                counters->Offered += (uint)(count - taken);
                w.EgressDrop(outPort, mbufs + taken, count - taken, DropReason.EgressFull);
            }
            return;
        }

        uint limit = (uint)w.Port(outPort).Mtu + Wire.EthernetHeader + Wire.VlanTag;
        // A sum, the largest and an or only: what one packet needs shows in one of them, and the loop has no branch. All that counts is in half a
        // cache line of each.
        Vector256<uint> sums = default, largest = default, ors = default;
        for (rte_mbuf** at = mbufs, end = mbufs + count; at < end; at++)
        {
            Vector256<uint> fields = Vector256.Load((uint*)&(*at)->data_off);
            sums += fields;
            largest = Vector256.Max(largest, fields);
            ors |= fields;
        }
        (Vector256<uint> sum, Vector256<uint> most, Vector256<uint> any) = (sums, largest, ors); // the loop's own stay in registers
        nint half = (nint)((byte*)&(*mbufs)->data_off - (byte*)*mbufs);
        rte_mbuf* sumOf = (rte_mbuf*)((byte*)&sum - half), largestOf = (rte_mbuf*)((byte*)&most - half), orOf = (rte_mbuf*)((byte*)&any - half);
        if ((orOf->ol_flags & (Offload.PendingMask | PacketWatch.TraceFlag)) != 0 || largestOf->pkt_len > limit
            || (orOf->nb_segs != 1 && !port.TakesChains)) // 1 for all, unless there is a chain
        {
            FlushUnusual(w, port, outPort, mbufs, count, limit);
            return;
        }
        Transmit(w, port, counters, mbufs, count, sumOf->pkt_len);
    }

    /// <summary>What was sent to a port that has no device because it is a stage of the switch.</summary>
    private static void PassOn(Worker w, int port, PortFlags flags, rte_mbuf** mbufs, int count)
    {
        if ((flags & PortFlags.Tunnel) != 0)
        {
            EncapsulateStage.Run(w, port, mbufs, count);
            return;
        }
        PortCounters* counters = w.Counters(port);
        if (w.Watcher.IsActive)
        {
            w.Watcher.Sent(port, mbufs, count);
            w.Watcher.Received(port, mbufs, count);
        }
        counters->Offered += (uint)count;
        counters->TxPackets += (uint)count;
        counters->RxPackets += (uint)count;
        counters->RxBursts++;
        ulong bytes = RouteStage.Run(w, port, mbufs, count);
        counters->TxBytes += bytes;
        counters->RxBytes += bytes;
    }

    private static void Transmit(Worker w, EnginePort port, PortCounters* counters, rte_mbuf** mbufs, int count, ulong bytes)
    {
        counters->Offered += (uint)count;
        if (w.Watcher.IsActive)
        {
            w.Watcher.Sent(port.Index, mbufs, count);
        }
        TxResult result = w.Transmit(port, mbufs, count);
        if (result.Taken < count)
        {
            for (int i = result.Taken; i < count; i++)
            {
                bytes -= mbufs[i]->pkt_len;
            }
            w.EgressDrop(port.Index, mbufs + result.Taken, count - result.Taken, DropReason.EgressFull);
        }
        if (result.Refused != 0)
        {
            w.CountDrops(port.Index, DropReason.EgressDevice, result.Refused);
            bytes -= result.RefusedBytes;
        }
        counters->TxPackets += (uint)(result.Taken - result.Refused);
        counters->TxBytes += bytes;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void FlushUnusual(Worker w, EnginePort port, int outPort, rte_mbuf** mbufs, int count, uint limit)
    {
        PortCounters* counters = w.Counters(outPort);
        rte_mbuf** ready = w.SegmentScratch;
        int n = 0;
        ulong bytes = 0;
        for (int i = 0; i < count; i++)
        {
            rte_mbuf* mbuf = mbufs[i];
            ulong pending = mbuf->ol_flags & Offload.PendingMask;
            int made;
            if (n + 1 >= MaxSegments)
            {
                Transmit(w, port, counters, ready, n, bytes);
                (n, bytes) = (0, 0);
            }
            if ((pending & Offload.SegmentFlag) == 0 && mbuf->pkt_len > limit)
            {
                w.EgressDropOffered(outPort, mbuf, DropReason.EgressMtu);
                continue;
            }
            if ((pending & Offload.SegmentFlag) != 0 && Offload.SegmentLength(mbuf) > limit)
            {
                w.EgressDropOffered(outPort, mbuf, DropReason.EgressMtu);
                continue;
            }
            if (pending == 0 || port.TakesOffloads)
            {
                if (mbuf->nb_segs > 1 && !port.TakesChains && (mbuf = InOneBuffer(w, outPort, mbuf)) == null)
                {
                    continue;
                }
                w.Watcher.StepOf(mbuf, TraceStep.Output, outPort, mbuf->pkt_len, (ulong)(pending == 0 ? OutputWork.Nothing : OutputWork.ByDevice));
                ready[n++] = mbuf;
                bytes += mbuf->pkt_len;
                continue;
            }
            if ((pending & Offload.SegmentFlag) == 0)
            {
                rte_mbuf* done = mbuf;
                DropReason problem = CompleteChecksum(w, ref done);
                if (problem != DropReason.Count)
                {
                    w.EgressDropOffered(outPort, done, problem);
                    continue;
                }
                if (done->nb_segs > 1 && !port.TakesChains)
                {
                    done = InOneBuffer(w, outPort, done);
                }
                if (done != null)
                {
                    w.Watcher.StepOf(done, TraceStep.Output, outPort, done->pkt_len, (ulong)OutputWork.Checksum);
                    counters->SoftwareChecksums++;
                    ready[n++] = done;
                    bytes += done->pkt_len;
                }
                continue;
            }

            if (n != 0)
            {
                Transmit(w, port, counters, ready, n, bytes);
                (n, bytes) = (0, 0);
            }
            OffloadResult result = SoftwareOffload.Segment(mbuf, w.Small, w.Large, ready, MaxSegments, out made);
            if (result != OffloadResult.Done)
            {
                w.EgressDropOffered(outPort, mbuf, result == OffloadResult.NoBuffer ? DropReason.EgressNoBuffer : DropReason.EgressBadOffload);
                continue;
            }
            // The packet became several: the first takes its place, the others are copies.
            w.Watcher.StepOf(mbuf, TraceStep.Segmented, outPort, (ulong)made);
            counters->SoftwareSegmented++;
            counters->Copies += (uint)made - 1;
            w.Free(mbuf);
            for (n = 0; n < made; n++)
            {
                bytes += ready[n]->pkt_len;
            }
        }
        if (n != 0)
        {
            Transmit(w, port, counters, ready, n, bytes);
        }
    }

    /// <summary>For a device that cannot gather.</summary>
    private static rte_mbuf* InOneBuffer(Worker w, int outPort, rte_mbuf* mbuf)
    {
        rte_mbuf* copy = w.DeepCopy(mbuf);
        if (copy == null || copy->nb_segs > 1)
        {
            if (copy != null)
            {
                w.Free(copy);
            }
            w.EgressDropOffered(outPort, mbuf, DropReason.EgressNoBuffer);
            return null;
        }
        w.Free(mbuf);
        return copy;
    }

    /// <summary>
    /// Completes a pending checksum, in a copy where others hold the packet, too. Why it could not be, or
    /// <see cref="DropReason.Count"/>.
    /// </summary>
    internal static DropReason CompleteChecksum(Worker w, ref rte_mbuf* mbuf)
    {
        if (Shim.dps_mbuf_refcnt(mbuf) != 1)
        {
            rte_mbuf* copy = w.DeepCopy(mbuf);
            if (copy == null)
            {
                return DropReason.EgressNoBuffer;
            }
            w.Free(mbuf);
            mbuf = copy;
        }
        return SoftwareOffload.CompleteChecksum(mbuf) == OffloadResult.Done ? DropReason.Count : DropReason.EgressBadOffload;
    }
}
