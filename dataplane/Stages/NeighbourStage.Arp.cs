using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// ARP (RFC 826).
public static unsafe partial class NeighbourStage
{
    /// <summary>Takes an ARP packet that an interface received, and counts what became of it. It may have other holders.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface's port.</param>
    /// <param name="mbuf">The frame, at least an Ethernet header of it, to the router's address or to a group.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Arp(Worker w, int port, rte_mbuf* mbuf)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        byte* data = Mbuf.Data(mbuf);
        if (!ArpPacket.TryRead(data + Wire.EthernetHeader, mbuf->data_len - Wire.EthernetHeader, out ArpPacket packet))
        {
            w.Drop(port, mbuf, DropReason.BadArp);
            return;
        }
        ulong destination = Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask, source = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
        if (packet.SenderMac == itf.Mac)
        {
            // The host, which has the same address; or an echo of ourselves.
            Consume(w, port, mbuf);
            return;
        }
        bool isOwn = InterfaceAddresses.Owns4(in itf, packet.Target);
        if (!packet.IsRequest)
        {
            LearnSender(w, port, in itf, in packet, proven: isOwn && destination == itf.Mac, makesNew: false);
            PassOn(w, port, in itf, mbuf, destination, source);
            return;
        }
        LearnSender(w, port, in itf, in packet, proven: false, makesNew: isOwn);
        if (isOwn || IsProxied4(w, port, in itf, in packet))
        {
            Originate(w, port, AnswerArp(w, in packet, itf.Mac, port, isOwn ? AnswerKind.Own : AnswerKind.Proxy));
        }
        Consume(w, port, mbuf);
    }

    /// <summary>The sender's own pair of addresses, unless it has none yet or claims one of ours.</summary>
    private static void LearnSender(Worker w, int port, ref readonly InterfaceRecord itf, in ArpPacket packet, bool proven, bool makesNew)
    {
        if (packet.Sender == 0 || InterfaceAddresses.Owns4(in itf, packet.Sender) || IPAddresses.IsSubnetBroadcast(in itf, packet.Sender))
        {
            return;
        }
        Learn(w, NeighbourTable.Key4(port, packet.Sender), packet.SenderMac, proven,
            makesNew && InterfaceAddresses.IsOnLink4(in itf, packet.Sender));
    }
}
