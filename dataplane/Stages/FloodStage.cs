using System.Numerics;
using System.Runtime.CompilerServices;
using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Group addresses and unknown destinations: to every other port of the bridge that takes them (IEEE 802.1D, 7.7).
/// <para>
/// A flooded packet exists at most twice, with a VLAN tag and without, whatever the number of ports: the ports of each form
/// share one mbuf by reference count. That is safe because nobody writes into a packet after this point, except who first
/// makes sure that he is its only holder (<see cref="OutputStage"/>, <see cref="VlanTag.Convert"/>).
/// </para>
/// <para>
/// The destinations 01:80:C2:00:00:00 to 0F are never forwarded: they speak to the bridge itself. Of these, a bridge protocol
/// data unit on a guarded port disables the port. Storm control is a token bucket per input port and worker, filled by the
/// worker's clock; a port with several queues has its rate divided among them.
/// </para>
/// </summary>
public static unsafe class FloodStage
{
    /// <summary>
    /// Floods one packet. False when it ended here instead: it was dropped, with its reason counted, or the bridge's router answered it.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool Run(
        Worker w, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, rte_mbuf* mbuf, ulong destination, ushort tag)
    {
        if (bridge.RouterPort != 0 && (destination & 1) != 0 && NeighbourStage.Intercept(w, inPort, in bridge, mbuf, destination, tag))
        {
            return false;
        }
        if (!TryRun(w, inPort, inPort, in port, in bridge, mbuf, destination, tag, out DropReason reason))
        {
            w.Drop(inPort, mbuf, reason);
            return false;
        }
        return true;
    }

    /// <summary>Floods one packet. False when it may not be, with the reason; the packet is still the caller's then.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="account">The port that counts the copies.</param>
    /// <param name="inPort">The port by which the packet entered the bridge; its router port for what the router sends.</param>
    /// <param name="port">That port.</param>
    /// <param name="bridge">Its bridge.</param>
    /// <param name="mbuf">The packet.</param>
    /// <param name="destination">Its destination address.</param>
    /// <param name="tag">Its VLAN and form; see <see cref="VlanTag"/>.</param>
    /// <param name="reason">Why not.</param>
    public static bool TryRun(Worker w, int account, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, rte_mbuf* mbuf,
        ulong destination, ushort tag, out DropReason reason)
    {
        reason = DropReason.Count;
        PortFlags takes = PortFlags.FloodUnicast;
        if ((destination & 1) != 0)
        {
            w.Counters(account)->RxMulticast++;
            if (MacAddress.IsLinkLocal(destination))
            {
                reason = LinkLocal(w, inPort, in port, destination);
                return false;
            }
            takes = destination == MacAddress.Mask ? PortFlags.FloodBroadcast : PortFlags.FloodMulticast;
        }
        if (port.StormRate != 0 && !w.Storm.TryTake(inPort, port.StormRate, port.StormBurst, w.PollersOf(inPort)))
        {
            reason = DropReason.StormControl;
            return false;
        }

        if (w.FloodDepth == FloodTargets.MaxDepth)
        {
            reason = DropReason.RouterLoop;
            return false;
        }

        w.Watcher.Step(TraceStep.Flooded, inPort, destination);
        bool vlanAware = (bridge.Flags & BridgeFlags.VlanAware) != 0;
        FloodTargets* targets = w.FloodTargets + w.FloodDepth;
        targets->Untagged = 0;
        targets->Tagged = 0;
        byte* verdicts = w.EgressVerdicts(inPort);
        for (int word = 0; word < w.PortWords; word++)
        {
            for (ulong bits = bridge.Members[word]; bits != 0; bits &= bits - 1)
            {
                int outPort = (word << 6) + BitOperations.TrailingZeroCount(bits);
                DropReason refusal = DropReason.Count;
                if (verdicts[outPort] != EgressMatrix.Forward && (refusal = w.Egress.Refusal(inPort, outPort, verdicts[outPort])) != DropReason.Count)
                {
                    w.Watcher.Step(TraceStep.FloodSkipped, outPort, (ulong)refusal);
                    continue;
                }
                ref readonly PortRecord output = ref w.Port(outPort);
                if ((output.Flags & takes) == 0 || (vlanAware && !VlanTag.IsMember(in output, tag)))
                {
                    w.Watcher.Step(TraceStep.FloodSkipped, outPort, (ulong)((output.Flags & takes) == 0 ? FloodSkip.NotWanted : FloodSkip.OtherVlan));
                    continue;
                }
                // A bridge that does not look at VLANs has one form only, the packet's own.
                if (vlanAware && VlanTag.LeavesTagged(in output, tag))
                {
                    targets->TaggedPorts[targets->Tagged++] = (ushort)outPort;
                }
                else
                {
                    targets->UntaggedPorts[targets->Untagged++] = (ushort)outPort;
                }
            }
        }
        if (targets->Untagged + targets->Tagged == 0)
        {
            reason = DropReason.NoFloodTarget;
            return false;
        }
        w.FloodDepth++;
        Deliver(w, account, mbuf, tag, vlanAware, targets);
        w.FloodDepth--;
        return true;
    }

    private static void Deliver(Worker w, int account, rte_mbuf* mbuf, ushort tag, bool vlanAware, FloodTargets* targets)
    {
        // Make the second form first: after that the first one may be changed or given away.
        rte_mbuf* tagged = targets->Tagged != 0 ? mbuf : null;
        rte_mbuf* untagged = targets->Tagged == 0 ? mbuf : targets->Untagged != 0 ? w.DeepCopy(mbuf) : null;
        if (tagged != null && !VlanTag.HasForm(tag, wantTagged: true))
        {
            tagged = ConvertOrFree(w, tagged, tag, wantTagged: true);
        }
        if (vlanAware && untagged != null && !VlanTag.HasForm(tag, wantTagged: false))
        {
            untagged = ConvertOrFree(w, untagged, tag, wantTagged: false);
        }
        SendAll(w, untagged, targets->UntaggedPorts, targets->Untagged);
        SendAll(w, tagged, targets->TaggedPorts, targets->Tagged);

        ref PortCounters counters = ref *w.Counters(account);
        counters.Flooded++;
        counters.Copies += (uint)(targets->Untagged + targets->Tagged) - 1;
    }

    /// <summary>Null when it cannot be converted; the ports that wanted this form count that.</summary>
    private static rte_mbuf* ConvertOrFree(Worker w, rte_mbuf* mbuf, ushort tag, bool wantTagged)
    {
        rte_mbuf* converted = VlanTag.Convert(w, mbuf, tag, wantTagged, out _);
        if (converted == null)
        {
            w.Free(mbuf);
        }
        return converted;
    }

    /// <summary>Sends one mbuf to several ports. Null stands for a copy that could not be made: each port counts it.</summary>
    private static void SendAll(Worker w, rte_mbuf* mbuf, ushort* ports, int count)
    {
        if (mbuf == null)
        {
            for (int i = 0; i < count; i++)
            {
                w.Counters(ports[i])->Offered++;
                w.CountDrops(ports[i], DropReason.EgressNoBuffer, 1);
            }
            return;
        }
        if (count > 1)
        {
            Shim.dps_mbuf_ref(mbuf, (short)(count - 1));
        }
        for (int i = 0; i < count; i++)
        {
            w.Send(ports[i], mbuf);
        }
    }

    private static DropReason LinkLocal(Worker w, int inPort, ref readonly PortRecord port, ulong destination)
    {
        if (destination != MacAddress.BridgeGroup || (port.Flags & PortFlags.BpduGuard) == 0)
        {
            return DropReason.LinkLocal;
        }
        w.ErrDisable(inPort, port.Bridge);
        return DropReason.BpduGuard;
    }
}

/// <summary>
/// The ports that a flooded packet goes to, by the form they want it in. A worker has some of these: where a port is a stage of the
/// switch and its buffer overflows in the midst of a flood, what that stage sends may be flooded in turn, in another bridge.
/// </summary>
public unsafe struct FloodTargets
{
    /// <summary>Floods within floods, more than a configuration that is no loop has.</summary>
    public const int MaxDepth = 4;

    public int Untagged;
    public int Tagged;
    public fixed ushort UntaggedPorts[SegmentOptions.PortLimit];
    public fixed ushort TaggedPorts[SegmentOptions.PortLimit];
}
