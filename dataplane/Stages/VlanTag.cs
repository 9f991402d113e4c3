using System.Runtime.CompilerServices;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// VLAN tags (IEEE 802.1Q, 6.9 and 9.6). A frame keeps the form in which it came until an output port wants the other one.
/// Between classification and output its VLAN is a word: the VID in the low 12 bits, <see cref="Tagged"/> when the frame
/// carries a C-tag, <see cref="Priority"/> when that tag names no VLAN (VID 0). A service tag (802.1ad) is payload here, as
/// for any customer bridge.
/// </summary>
public static unsafe class VlanTag
{
    public const int VidMask = 0xFFF;
    public const ushort Tagged = 0x8000;
    public const ushort Priority = 0x4000;
    private const int MaxVid = 4094; // 4095 is reserved (table 9-2)

    /// <summary>The VLAN of a frame on its input port. False when the port does not take it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Classify(ref readonly PortRecord port, rte_mbuf* mbuf, byte* data, out ushort tag, out DropReason reason)
    {
        reason = DropReason.Count;
        int vid = port.Pvid;
        tag = 0;
        if (Unsafe.ReadUnaligned<ushort>(data + Wire.EtherTypeOffset) != 0x0081) // 0x8100 in network order
        {
            if ((port.Flags & PortFlags.AcceptUntagged) == 0 || vid == 0)
            {
                reason = DropReason.VlanUntagged;
                return false;
            }
        }
        else
        {
            if (mbuf->data_len < Wire.EthernetHeader + Wire.VlanTag)
            {
                reason = DropReason.Truncated;
                return false;
            }
            int named = Wire.Load16(data + Wire.EthernetHeader) & VidMask;
            if (named == 0)
            {
                tag = Tagged | Priority;
                if ((port.Flags & PortFlags.AcceptUntagged) == 0 || vid == 0)
                {
                    reason = DropReason.VlanUntagged;
                    return false;
                }
            }
            else
            {
                if ((port.Flags & PortFlags.Trunk) == 0)
                {
                    reason = DropReason.VlanTagged;
                    return false;
                }
                tag = Tagged;
                vid = named;
            }
        }
        if (vid > MaxVid || !VlanSet.Contains(in port.Vlans, vid))
        {
            reason = DropReason.VlanNotAllowed;
            return false;
        }
        tag |= (ushort)vid;
        return true;
    }

    /// <summary>Whether an output port carries the VLAN of a frame.</summary>
    public static bool IsMember(ref readonly PortRecord port, ushort tag) => VlanSet.Contains(in port.Vlans, tag & VidMask);

    /// <summary>Whether frames of this VLAN leave the port with a tag.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool LeavesTagged(ref readonly PortRecord port, ushort tag) => port.Pvid != (tag & VidMask);

    /// <summary>Whether an output port carries the VLAN of a frame and wants the frame in the form it has.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool LeavesAsItIs(ref readonly PortRecord port, ushort tag) => IsMember(in port, tag) && HasForm(tag, LeavesTagged(in port, tag));

    /// <summary>
    /// The frame in the form that an output port wants. Null when the port does not carry the VLAN, or no buffer is left; it has
    /// been dropped then, and counted on its input port.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static rte_mbuf* ForPort(Worker w, int inPort, int outPort, rte_mbuf* mbuf, ushort tag)
    {
        ref readonly PortRecord port = ref w.Port(outPort);
        if (!IsMember(in port, tag))
        {
            w.Drop(inPort, mbuf, DropReason.VlanNotAllowed);
            return null;
        }
        bool wanted = LeavesTagged(in port, tag);
        if (HasForm(tag, wanted))
        {
            return mbuf;
        }
        rte_mbuf* converted = Convert(w, mbuf, tag, wanted, out DropReason reason);
        if (converted == null)
        {
            w.Drop(inPort, mbuf, reason);
        }
        return converted;
    }

    /// <summary>Whether a frame already is as wanted. A priority tag is neither: it goes, or gets its VID.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool HasForm(ushort tag, bool wantTagged) => (tag & (Tagged | Priority)) == (wantTagged ? Tagged : 0);

    /// <summary>
    /// Changes a frame's tag in place, or in a copy where other holders of the same buffer would see it. Null when no buffer
    /// is left or the frame has no room; the frame is as it was then.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static rte_mbuf* Convert(Worker w, rte_mbuf* mbuf, ushort tag, bool wantTagged, out DropReason reason)
    {
        reason = DropReason.Count;
        rte_mbuf* frame = mbuf;
        if (Shim.dps_mbuf_refcnt(mbuf) != 1)
        {
            frame = w.DeepCopy(mbuf);
            if (frame == null)
            {
                reason = DropReason.NoBuffer;
                return null;
            }
        }
        bool isTagged = (tag & Tagged) != 0;
        if (isTagged && wantTagged)
        {
            byte* tci = Mbuf.Data(frame) + Wire.EthernetHeader;
            Wire.Store16(tci, (ushort)((Wire.Load16(tci) & ~VidMask) | (tag & VidMask)));
        }
        else if (isTagged)
        {
            Pop(frame);
        }
        else if (!Push(frame, tag & VidMask))
        {
            reason = DropReason.Oversized;
            if (frame != mbuf)
            {
                w.Free(frame);
            }
            return null;
        }
        w.Watcher.StepOf(frame, TraceStep.Retagged, 0, wantTagged ? 1u : 0, (ulong)(tag & VidMask));
        if (frame != mbuf)
        {
            w.Free(mbuf);
        }
        return frame;
    }

    /// <summary>Takes the tag out: the addresses move four bytes towards the type.</summary>
    private static void Pop(rte_mbuf* mbuf)
    {
        byte* data = Mbuf.Data(mbuf);
        Buffer.MemoryCopy(data, data + Wire.VlanTag, 12, 12);
        mbuf->data_off += Wire.VlanTag;
        mbuf->data_len -= Wire.VlanTag;
        mbuf->pkt_len -= Wire.VlanTag;
        Offload.Shift(mbuf, -Wire.VlanTag);
    }

    /// <summary>Puts a tag in, in the headroom. Priority 0.</summary>
    private static bool Push(rte_mbuf* mbuf, int vid)
    {
        if (mbuf->data_off < Wire.VlanTag || mbuf->data_len > ushort.MaxValue - Wire.VlanTag)
        {
            return false;
        }
        byte* old = Mbuf.Data(mbuf);
        byte* data = old - Wire.VlanTag;
        Buffer.MemoryCopy(old, data, 12, 12);
        Wire.Store16(data + 12, Wire.EtherTypeVlan);
        Wire.Store16(data + 14, (ushort)vid);
        mbuf->data_off -= Wire.VlanTag;
        mbuf->data_len += Wire.VlanTag;
        mbuf->pkt_len += Wire.VlanTag;
        Offload.Shift(mbuf, Wire.VlanTag);
        return true;
    }
}
