using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// The learning bridge (IEEE 802.1D clause 7, 802.1Q clause 8).
/// <para>
/// A packet meets: a check of its length; a classification into a VLAN, and with the bridge into a filtering database; a look
/// at its source, which is learned; a look at its destination. A known destination names one output port. An unknown one, and
/// every group address, goes to <see cref="FloodStage"/>; broadcast needs no case of its own, since no entry ever matches it.
/// </para>
/// <para>
/// All packets of a burst come from one port, so what the port and its bridge are is looked up once. The first loop reads the
/// headers, hashes both addresses of every packet and asks for their buckets; the second one finds both in the cache, and sends
/// the packets that tell nothing new and go to one known port. Neither calls anything, so that what they need stays in registers:
/// at a packet that needs more the second loop ends, the packet goes the same way step by step, and the loop begins again
/// behind it. So packets leave in the order in which they came.
/// </para>
/// <para>
/// The decision whether a packet may go from one port to another does not depend on the packet: it is kept as one byte per pair
/// (<see cref="EgressMatrix"/>).
/// </para>
/// <para>
/// What it costs: learning and forwarding of a burst see the table as it is at each packet, so two ports that claim one
/// address in the same burst both succeed for some packets. An address's move is visible from its next packet on.
/// </para>
/// </summary>
public static unsafe class BridgeStage
{
    /// <summary>Bridges a burst of at most <see cref="Worker.BurstSize"/> packets that came from one port. Gives their bytes.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="inPort">Index of the port.</param>
    /// <param name="mbufs">The packets, in an array that goes on for another <see cref="Worker.PrefetchAhead"/> pointers.</param>
    /// <param name="count">How many, at least one.</param>
    public static ulong Run(Worker w, int inPort, rte_mbuf** mbufs, int count)
    {
        ref readonly PortRecord port = ref w.Port(inPort);
        if (!port.Has(PortFlags.Exists | PortFlags.Enabled) || w.IsErrDisabled(inPort))
        {
            return w.DropAll(inPort, mbufs, count, DropReason.PortDisabled);
        }
        if (port.Has(PortFlags.Policed))
        {
            count = PolicerStage.Run(w, inPort, in port, mbufs, count, out ulong dropped);
            return count == 0 ? dropped : dropped + Run(w, inPort, in port, mbufs, count);
        }
        return Run(w, inPort, in port, mbufs, count);
    }

    private static ulong Run(Worker w, int inPort, ref readonly PortRecord port, rte_mbuf** mbufs, int count)
    {
        ref readonly BridgeRecord bridge = ref w.Bridge(port.Bridge);
        if (port.Bridge == 0 || (bridge.Flags & BridgeFlags.Exists) == 0)
        {
            if (port.Has(PortFlags.Routed))
            {
                return RouteStage.Run(w, inPort, mbufs, count);
            }
            return w.DropAll(inPort, mbufs, count, DropReason.NoBridge);
        }
        return (bridge.Flags & BridgeFlags.VlanAware) != 0
            ? Run<VlanAware>(w, inPort, in port, in bridge, mbufs, count)
            : Run<VlanUnaware>(w, inPort, in port, in bridge, mbufs, count);
    }

    private static ulong Run<TVlan>(Worker w, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, rte_mbuf** mbufs, int count)
        where TVlan : struct, IVlanMode
    {
        BridgeEntry* entry = w.Bridged;
        BridgeEntry* end = Classify<TVlan>(w, inPort, in port, bridge.FidBase, mbufs, count, entry, out ulong bytes);
        byte* verdicts = w.EgressVerdicts(inPort);
        uint forwarded = (uint)(end - entry);
        if (w.Watcher.IsTracing)
        {
            forwarded = RunTraced<TVlan>(w, inPort, in port, in bridge, entry, end);
        }
        else
        {
            while ((entry = Forward<TVlan>(w, inPort, verdicts, entry, end)) < end)
            {
                if (!RunOne<TVlan>(w, inPort, in port, in bridge, entry))
                {
                    forwarded--;
                }
                entry++;
            }
        }
        w.Counters(inPort)->Forwarded += forwarded;
        return bytes;
    }

    /// <summary>The first loop. Gives the end of the entries.</summary>
    private static BridgeEntry* Classify<TVlan>(
        Worker w, int inPort, ref readonly PortRecord port, uint fidBase, rte_mbuf** mbufs, int count, BridgeEntry* entry, out ulong bytes)
        where TVlan : struct, IVlanMode
    {
        MacTable macs = w.Macs;
        ulong fidBits = MacTable.Key(fidBase, 0);
        ulong sum = 0;
        for (rte_mbuf** at = mbufs, last = mbufs + count; at < last; at++)
        {
            rte_mbuf* mbuf = *at;
            Prefetch(at[Worker.PrefetchAhead]);
            sum += mbuf->pkt_len;
            entry->Mbuf = mbuf;
            if (mbuf->data_len < Wire.EthernetHeader)
            {
                // No key is 0, so this is never a fresh source.
                entry->Source = 0;
                entry->SourceBucket = macs.Bucket(0);
                entry++;
                continue;
            }
            byte* data = Mbuf.Data(mbuf);
            ulong fid = fidBits;
            if (default(TVlan).IsAware)
            {
                if (!VlanTag.Classify(in port, mbuf, data, out ushort tag, out DropReason reason))
                {
                    w.Drop(inPort, mbuf, reason);
                    continue;
                }
                entry->Tag = tag;
                fid += MacTable.Key((uint)(tag & VlanTag.VidMask), 0);
            }
            ulong destination = fid | (Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask);
            MacBucket* destinationBucket = macs.Bucket(destination);
            MacTable.Prefetch(destinationBucket);
            entry->Destination = destination;
            entry->DestinationBucket = destinationBucket;
            ulong source = fid | (Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask);
            MacBucket* sourceBucket = macs.Bucket(source);
            MacTable.Prefetch(sourceBucket);
            entry->Source = source;
            entry->SourceBucket = sourceBucket;
            entry++;
        }
        bytes = sum;
        return entry;
    }

    /// <summary>
    /// The second loop: sends what tells nothing new and goes to one known port. Gives the first entry that needs more, or the end.
    /// </summary>
    private static BridgeEntry* Forward<TVlan>(Worker w, int inPort, byte* verdicts, BridgeEntry* entry, BridgeEntry* end)
        where TVlan : struct, IVlanMode
    {
        ulong fresh = MacValue.Fresh((ushort)inPort, w.NowSeconds);
        for (; entry < end; entry++)
        {
            if (!MacTable.IsFresh(&entry->Source, entry->SourceBucket, &fresh))
            {
                break;
            }
            // An unknown destination, as group addresses are, reads as port 0, to which nothing may go. An entry that a commit
            // is changing reads as one to drop for.
            ulong value = MacTable.FindFirst(&entry->Destination, entry->DestinationBucket);
            int outPort = MacValue.Port(value);
            if (MacValue.IsDrop(value) || verdicts[outPort] != EgressMatrix.Forward)
            {
                break;
            }
            if (default(TVlan).IsAware && !VlanTag.LeavesAsItIs(in w.Port(outPort), entry->Tag))
            {
                break;
            }
            w.SendRoomy(outPort, entry->Mbuf);
        }
        return entry;
    }

    /// <summary>The second loop while packets are traced: each of them goes step by step. Gives how many were not dropped.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint RunTraced<TVlan>(
        Worker w, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, BridgeEntry* entry, BridgeEntry* end)
        where TVlan : struct, IVlanMode
    {
        uint forwarded = 0;
        for (; entry < end; entry++)
        {
            w.Watcher.Begin(entry->Mbuf);
            if (default(TVlan).IsAware && entry->Source != 0)
            {
                w.Watcher.Step(TraceStep.Classified, inPort, entry->Tag);
            }
            forwarded += RunOne<TVlan>(w, inPort, in port, in bridge, entry) ? 1u : 0;
            w.Watcher.End();
        }
        return forwarded;
    }

    /// <summary>What the second loop does, for any packet, step by step. False when it was dropped.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool RunOne<TVlan>(Worker w, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, BridgeEntry* entry)
        where TVlan : struct, IVlanMode
    {
        rte_mbuf* mbuf = entry->Mbuf;
        if (entry->Source == 0)
        {
            w.Drop(inPort, mbuf, DropReason.Truncated);
            return false;
        }
        ushort tag = default(TVlan).IsAware ? entry->Tag : (ushort)0;
        if (!LearnStage.Source(w, inPort, in port, in bridge, entry->Source, entry->SourceBucket, out DropReason reason))
        {
            w.Drop(inPort, mbuf, reason);
            return false;
        }
        ulong value = (entry->Destination & 1) == 0 ? w.Macs.FindIn(w.Generation, entry->Destination, entry->DestinationBucket) : 0;
        if (value == 0)
        {
            return FloodStage.Run(w, inPort, in port, in bridge, mbuf, entry->Destination & MacAddress.Mask, tag);
        }
        int outPort = MacValue.Port(value);
        w.Watcher.Step(TraceStep.DestinationKnown, outPort, entry->Destination, MacValue.IsStatic(value) ? 1u : 0);
        DropReason refusal = MacValue.IsDrop(value) ? DropReason.BlackHole : w.Egress.Refusal(inPort, outPort, w.EgressVerdicts(inPort)[outPort]);
        if (refusal != DropReason.Count)
        {
            w.Drop(inPort, mbuf, refusal);
            return false;
        }
        if (default(TVlan).IsAware)
        {
            mbuf = VlanTag.ForPort(w, inPort, outPort, mbuf, tag);
            if (mbuf == null)
            {
                return false;
            }
        }
        w.Send(outPort, mbuf);
        return true;
    }

    /// <summary>
    /// Asks for a packet's first bytes where drivers put them: behind the mbuf, its private area and the headroom. Without a look at
    /// the mbuf, which may not be in the cache itself.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Prefetch(rte_mbuf* mbuf)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0((byte*)(mbuf + 1) + PacketMeta.SizeInBytes + Mbuf.DefaultHeadroom);
        }
    }

    private interface IVlanMode
    {
        bool IsAware { get; }
    }

    private readonly struct VlanAware : IVlanMode
    {
        public bool IsAware => true;
    }

    private readonly struct VlanUnaware : IVlanMode
    {
        public bool IsAware => false;
    }
}

/// <summary>What the first loop of <see cref="BridgeStage"/> leaves of a packet for the second.</summary>
public unsafe struct BridgeEntry
{
    public rte_mbuf* Mbuf;
    /// <summary>See <see cref="MacTable.Key"/>.</summary>
    public ulong Source;
    public MacBucket* SourceBucket;
    public ulong Destination;
    public MacBucket* DestinationBucket;
    /// <summary>See <see cref="VlanTag"/>.</summary>
    public ushort Tag;
}
