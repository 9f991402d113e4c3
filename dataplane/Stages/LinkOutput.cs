using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// From the router to a neighbour on one of its links. A routed port is the link itself; behind a router port is a bridge, which
/// knows by its MAC table on which of its ports the neighbour is, and floods what it does not know.
/// </summary>
public static unsafe class LinkOutput
{
    /// <summary>Writes destination, source and type of an Ethernet header.</summary>
    /// <param name="data">14 bytes.</param>
    /// <param name="destination">Lowest byte first on the wire.</param>
    /// <param name="source">Lowest byte first on the wire.</param>
    /// <param name="etherType">In host order.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WriteEthernet(byte* data, ulong destination, ulong source, ushort etherType)
    {
        WriteAddresses(data, destination, source);
        Wire.Store16(data + Wire.EtherTypeOffset, etherType);
    }

    /// <summary>Writes destination and source of an Ethernet header.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WriteAddresses(byte* data, ulong destination, ulong source)
    {
        Unsafe.WriteUnaligned(data, (destination & MacAddress.Mask) | (source << 48));
        Unsafe.WriteUnaligned(data + 8, (uint)(source >> 16));
    }

    /// <summary>
    /// Sends a complete frame, untagged, by an interface. False when that cannot be, with the reason; the packet is still the
    /// caller's then. Whoever calls counts the packet as forwarded or originated.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="account">The port that counts copies, when the frame is flooded.</param>
    /// <param name="interfacePort">A router port or a routed port.</param>
    /// <param name="mbuf">The frame. Nobody else holds it.</param>
    /// <param name="reason">Why not.</param>
    public static bool TrySend(Worker w, int account, int interfacePort, rte_mbuf* mbuf, out DropReason reason)
    {
        ref readonly PortRecord port = ref w.Port(interfacePort);
        if ((port.Flags & PortFlags.Router) == 0)
        {
            reason = DropReason.Count;
            w.Send(interfacePort, mbuf);
            return true;
        }
        return ByBridge(w, account, interfacePort, in port, mbuf, out reason);
    }

    private static bool ByBridge(Worker w, int account, int interfacePort, ref readonly PortRecord port, rte_mbuf* mbuf, out DropReason reason)
    {
        ref readonly BridgeRecord bridge = ref w.Bridge(port.Bridge);
        bool vlanAware = (bridge.Flags & BridgeFlags.VlanAware) != 0;
        ushort tag = vlanAware ? port.Pvid : (ushort)0;
        ulong mac = Unsafe.ReadUnaligned<ulong>(Mbuf.Data(mbuf)) & MacAddress.Mask;
        ulong value = (mac & 1) == 0 ? w.Macs.Find(MacTable.Key((uint)bridge.FidBase + tag, mac)) : 0;
        if (value == 0)
        {
            return FloodStage.TryRun(w, account, interfacePort, in port, in bridge, mbuf, mac, tag, out reason);
        }
        if (MacValue.IsDrop(value))
        {
            reason = DropReason.BlackHole;
            return false;
        }
        return TrySendTo(w, interfacePort, MacValue.Port(value), mbuf, out reason);
    }

    /// <summary>
    /// Sends a complete frame, untagged, to a given port of the bridge behind a router port. False when that may not be, with the
    /// reason; the packet is still the caller's then. Whoever calls counts the packet as forwarded or originated.
    /// </summary>
    public static bool TrySendTo(Worker w, int interfacePort, int outPort, rte_mbuf* mbuf, out DropReason reason)
    {
        if (outPort == interfacePort)
        {
            reason = DropReason.RouterLoop;
            return false;
        }
        reason = w.Egress.Refusal(interfacePort, outPort, w.EgressVerdicts(interfacePort)[outPort]);
        if (reason != DropReason.Count)
        {
            return false;
        }
        ref readonly PortRecord port = ref w.Port(interfacePort);
        if ((w.Bridge(port.Bridge).Flags & BridgeFlags.VlanAware) != 0)
        {
            ref readonly PortRecord output = ref w.Port(outPort);
            if (!VlanTag.IsMember(in output, port.Pvid))
            {
                reason = DropReason.VlanNotAllowed;
                return false;
            }
            if (VlanTag.LeavesTagged(in output, port.Pvid))
            {
                mbuf = VlanTag.Convert(w, mbuf, port.Pvid, wantTagged: true, out reason);
                if (mbuf == null)
                {
                    return false;
                }
            }
        }
        w.Send(outPort, mbuf);
        return true;
    }
}
