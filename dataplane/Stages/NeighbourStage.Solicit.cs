using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// The frames.
public static unsafe partial class NeighbourStage
{
    /// <summary>Asks for a neighbour: the link, or where its address is known, itself. Without a buffer the next attempt has to do.</summary>
    private static void Solicit(Worker w, in NeighbourKey key, ulong mac)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(key.Port);
        if (!itf.Has(InterfaceFlags.Exists))
        {
            return;
        }
        if (key.IsIPv6)
        {
            var target = new IPv6Number(key.High, key.Low);
            IPv6Number source = InterfaceAddresses.SourceFor6(in itf, target);
            IPv6Number destination = mac != 0 ? target : DiscoveryMessage.SolicitedNode(target);
            rte_mbuf* mbuf = MakeDiscovery(w, mac != 0 ? mac : DiscoveryMessage.GroupMac(destination), itf.Mac,
                Icmp.NeighbourSolicitation6, 0, source, destination, target, itf.Mac);
            Originate(w, key.Port, mbuf);
        }
        else
        {
            uint target = (uint)key.Low;
            rte_mbuf* mbuf = MakeArp(w, mac != 0 ? mac : MacAddress.Mask, itf.Mac,
                ArpPacket.Request, itf.Mac, InterfaceAddresses.SourceFor4(in itf, target), 0, target);
            Originate(w, key.Port, mbuf);
        }
    }

    /// <summary>Sends a frame that the switch made, null for one that it could not make, by an interface.</summary>
    private static bool Originate(Worker w, int port, rte_mbuf* mbuf)
    {
        if (mbuf == null)
        {
            return false;
        }
        if (LinkOutput.TrySend(w, port, port, mbuf, out _))
        {
            w.Counters(port)->Originated++;
            return true;
        }
        w.Free(mbuf);
        return false;
    }

    private static rte_mbuf* MakeArp(Worker w, ulong destination, ulong source, ushort operation, ulong senderMac, uint sender, ulong targetMac, uint target)
    {
        rte_mbuf* mbuf = Make(w, destination, source, Wire.EtherTypeArp, ArpPacket.Length);
        if (mbuf != null)
        {
            ArpPacket.Write(Mbuf.Data(mbuf) + Wire.EthernetHeader, operation, senderMac, sender, targetMac, target);
        }
        return mbuf;
    }

    private static rte_mbuf* MakeDiscovery(Worker w, ulong destinationMac, ulong sourceMac, byte type, byte flags,
        IPv6Number source, IPv6Number destination, IPv6Number target, ulong option)
    {
        rte_mbuf* mbuf = Make(w, destinationMac, sourceMac, Wire.EtherTypeIPv6, IPv6Header.Length + DiscoveryMessage.Length);
        if (mbuf != null)
        {
            DiscoveryMessage.Write(Mbuf.Data(mbuf) + Wire.EthernetHeader, type, flags, source, destination, target, option);
        }
        return mbuf;
    }

    /// <summary>A frame with its Ethernet header, or null.</summary>
    private static rte_mbuf* Make(Worker w, ulong destination, ulong source, ushort type, int payload)
    {
        rte_mbuf* mbuf = w.Small.Allocate();
        byte* data = mbuf == null ? null : Mbuf.Append(mbuf, Wire.EthernetHeader + payload);
        if (data == null)
        {
            return null;
        }
        LinkOutput.WriteEthernet(data, destination, source, type);
        return mbuf;
    }
}
