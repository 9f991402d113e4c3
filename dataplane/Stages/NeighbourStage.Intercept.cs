using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Questions on their way through a bridge that has a router.
public static unsafe partial class NeighbourStage
{
    /// <summary>
    /// Looks at a packet to a group before it is flooded. True when it was a question that the router answers, to the port it came
    /// from; it is consumed then. Anything else, be it valid or not, is flooded as ever, and comes to the router that way.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="inPort">The port by which it entered the bridge.</param>
    /// <param name="bridge">A bridge with a router port.</param>
    /// <param name="mbuf">The frame; it may have other holders.</param>
    /// <param name="destination">Its destination, a group.</param>
    /// <param name="tag">Its VLAN and form; see <see cref="VlanTag"/>.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool Intercept(Worker w, int inPort, ref readonly BridgeRecord bridge, rte_mbuf* mbuf, ulong destination, ushort tag)
    {
        int port = bridge.RouterPort;
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        ref readonly PortRecord router = ref w.Port(port);
        if (inPort == port || !itf.Has(InterfaceFlags.Exists) || !router.Has(PortFlags.Exists | PortFlags.Enabled)
            || ((bridge.Flags & BridgeFlags.VlanAware) != 0 && router.Pvid != (tag & VlanTag.VidMask)))
        {
            return false;
        }
        int at = Wire.EthernetHeader + ((tag & VlanTag.Tagged) != 0 ? Wire.VlanTag : 0);
        if (mbuf->data_len < at)
        {
            return false;
        }
        byte* data = Mbuf.Data(mbuf);
        ushort type = Wire.Load16(data + at - 2);
        ulong source = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
        rte_mbuf* answer = null;
        if (type == Wire.EtherTypeArp && destination == MacAddress.Mask)
        {
            if (ArpPacket.TryRead(data + at, mbuf->data_len - at, out ArpPacket packet) && packet.IsRequest)
            {
                answer = InterceptArp(w, inPort, port, in itf, in bridge, in packet, tag);
            }
        }
        else if (type == Wire.EtherTypeIPv6 && (destination & 0xFFFF) == 0x3333)
        {
            if (IsSolicitation(data + at, mbuf->data_len - at)
                && DiscoveryMessage.TryRead(data + at, mbuf->data_len - at, out DiscoveryMessage message))
            {
                answer = InterceptSolicitation(w, inPort, port, in itf, in bridge, in message, source, tag);
            }
        }
        if (answer == null)
        {
            return false;
        }
        PortCounters* counters = w.Counters(inPort);
        counters->RxMulticast++;
        counters->Consumed++;
        w.Free(mbuf);
        if (LinkOutput.TrySendTo(w, port, inPort, answer, out _))
        {
            w.Counters(port)->Originated++;
        }
        else
        {
            w.Free(answer);
        }
        return true;
    }

    /// <summary>The answer to an ARP request, null when it is not the router's to answer, or no buffer is left.</summary>
    private static rte_mbuf* InterceptArp(Worker w, int inPort, int port, ref readonly InterfaceRecord itf, ref readonly BridgeRecord bridge,
        in ArpPacket packet, ushort tag)
    {
        ulong mac = itf.Mac;
        AnswerKind kind = AnswerKind.Own;
        if (packet.SenderMac == itf.Mac)
        {
            // The host: the answer would be about itself. For others it is a station like any other.
            kind = AnswerKind.Neighbour;
        }
        else if (!InterfaceAddresses.Owns4(in itf, packet.Target))
        {
            kind = IsProxied4(w, port, in itf, in packet) ? AnswerKind.Proxy : AnswerKind.Neighbour;
        }
        if (kind == AnswerKind.Neighbour)
        {
            ulong value = packet.IsAboutSender ? 0 : w.Neighbours.Find4(port, packet.Target);
            if (!MayAnswerFor(w, inPort, in itf, in bridge, value, packet.SenderMac, tag))
            {
                return null;
            }
            mac = NeighbourValue.Mac(value);
        }
        rte_mbuf* answer = AnswerArp(w, in packet, mac, port, kind);
        if (answer != null && packet.SenderMac != itf.Mac)
        {
            LearnSender(w, port, in itf, in packet, proven: false, makesNew: kind == AnswerKind.Own);
        }
        return answer;
    }

    /// <summary>As <see cref="InterceptArp"/>, for a neighbour solicitation.</summary>
    private static rte_mbuf* InterceptSolicitation(Worker w, int inPort, int port, ref readonly InterfaceRecord itf,
        ref readonly BridgeRecord bridge, in DiscoveryMessage message, ulong source, ushort tag)
    {
        ulong value = 0, mac = itf.Mac;
        AnswerKind kind = AnswerKind.Own;
        if (source == itf.Mac)
        {
            kind = AnswerKind.Neighbour;
        }
        else if (!InterfaceAddresses.Owns6(in itf, message.Target))
        {
            kind = IsProxied6(w, port, in itf, in message) ? AnswerKind.Proxy : AnswerKind.Neighbour;
        }
        if (kind == AnswerKind.Neighbour)
        {
            bool isAboutSender = message.IsProbe || message.Source == message.Target;
            value = isAboutSender ? 0 : w.Neighbours.Find6(port, message.Target.High, message.Target.Low);
            if (!MayAnswerFor(w, inPort, in itf, in bridge, value, source, tag))
            {
                return null;
            }
            mac = NeighbourValue.Mac(value);
        }
        bool isRouter = kind != AnswerKind.Neighbour || (NeighbourValue.Flags(value) & NeighbourFlags.Router) != 0;
        rte_mbuf* answer = AnswerSolicitation(w, in itf, in message, source, mac, port, kind, isRouter);
        if (answer != null && source != itf.Mac)
        {
            LearnSource(w, port, in itf, in message, makesNew: kind == AnswerKind.Own);
        }
        return answer;
    }

    /// <summary>
    /// Whether a neighbour is known that need not hear the question itself. It must if it is behind the port that asks, for then it
    /// answers there; and it must not be told of where packets to it would not go.
    /// </summary>
    private static bool MayAnswerFor(Worker w, int inPort, ref readonly InterfaceRecord itf, ref readonly BridgeRecord bridge,
        ulong value, ulong asker, ushort tag)
    {
        ulong mac = NeighbourValue.Mac(value);
        if (!itf.Has(InterfaceFlags.Suppress) || !NeighbourValue.IsUsable(value) || mac == asker)
        {
            return false;
        }
        uint vlan = (bridge.Flags & BridgeFlags.VlanAware) != 0 ? (uint)(tag & VlanTag.VidMask) : 0;
        int behind = MacValue.Port(w.Macs.Find(MacTable.Key(bridge.FidBase + vlan, mac)));
        return behind != 0 && behind != inPort && w.Egress.Refusal(inPort, behind, w.EgressVerdicts(inPort)[behind]) == DropReason.Count;
    }

    /// <summary>The quick look: most IPv6 packets to groups are something else.</summary>
    private static bool IsSolicitation(byte* ip, int length) => length >= IPv6Header.Length + Icmp.Header
        && IPv6Header.NextHeader(ip) == Icmp.Protocol6 && ip[IPv6Header.Length] == Icmp.NeighbourSolicitation6;
}
