using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Neighbour discovery (RFC 4861).
public static unsafe partial class NeighbourStage
{
    /// <summary>
    /// Takes a message of neighbour discovery that an interface received, and counts what became of it. It may have other holders.
    /// Router solicitations end here, since the switch announces no prefixes, and so do other routers' messages.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface's port.</param>
    /// <param name="mbuf">The frame, at least an Ethernet header of it, to the router's address or to a group.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Discovery(Worker w, int port, rte_mbuf* mbuf)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        byte* data = Mbuf.Data(mbuf);
        if (!DiscoveryMessage.TryRead(data + Wire.EthernetHeader, mbuf->data_len - Wire.EthernetHeader, out DiscoveryMessage message))
        {
            w.Drop(port, mbuf, DropReason.BadNeighbourDiscovery);
            return;
        }
        ulong destination = Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask, source = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
        switch (message.Type)
        {
            case Icmp.NeighbourAdvertisement6 when source != itf.Mac:
                if (!InterfaceAddresses.Owns6(in itf, message.Target))
                {
                    Advertised(w, w.Neighbours.Key6(port, message.Target.High, message.Target.Low), in message);
                }
                PassOn(w, port, in itf, mbuf, destination, source);
                break;
            case Icmp.NeighbourSolicitation6 when source != itf.Mac:
                Solicited(w, port, in itf, in message, source);
                Consume(w, port, mbuf);
                break;
            default:
                Consume(w, port, mbuf);
                break;
        }
    }

    /// <summary>A neighbour solicitation (RFC 4861, 7.2.3).</summary>
    private static void Solicited(Worker w, int port, ref readonly InterfaceRecord itf, in DiscoveryMessage message, ulong asker)
    {
        bool isOwn = InterfaceAddresses.Owns6(in itf, message.Target);
        LearnSource(w, port, in itf, in message, makesNew: isOwn);
        if (isOwn || IsProxied6(w, port, in itf, in message))
        {
            Originate(w, port, AnswerSolicitation(w, in itf, in message, asker, itf.Mac, port, isOwn ? AnswerKind.Own : AnswerKind.Proxy));
        }
    }

    /// <summary>The source's own pair of addresses, if it gives both and claims none of ours.</summary>
    private static void LearnSource(Worker w, int port, ref readonly InterfaceRecord itf, in DiscoveryMessage message, bool makesNew)
    {
        if (message.Mac == 0 || message.IsProbe || InterfaceAddresses.Owns6(in itf, message.Source))
        {
            return;
        }
        Learn(w, w.Neighbours.Key6(port, message.Source.High, message.Source.Low), message.Mac, proven: false,
            makesNew && InterfaceAddresses.IsOnLink6(in itf, message.Source));
    }
}
