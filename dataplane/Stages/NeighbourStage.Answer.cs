using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>In whose name a question for an address is answered.</summary>
public enum AnswerKind
{
    /// <summary>For an address of the interface.</summary>
    Own,
    /// <summary>For one behind another interface, as if it were the router's.</summary>
    Proxy,
    /// <summary>For a neighbour on the same link, with that one's address.</summary>
    Neighbour,
}

// For whom the router answers.
public static unsafe partial class NeighbourStage
{
    /// <summary>Whether to answer for an address that is routed elsewhere (RFC 1027). Not to who asks about itself.</summary>
    private static bool IsProxied4(Worker w, int port, ref readonly InterfaceRecord itf, in ArpPacket packet) =>
        itf.Has(InterfaceFlags.Proxy) && !packet.IsAboutSender
        && !IPAddresses.IsMartian4(packet.Target) && !IPAddresses.IsSubnetBroadcast(in itf, packet.Target)
        && LeadsElsewhere(w, port, w.Routes.Find4(w.Vrf(itf.Vrf).Root4, packet.Target));

    /// <summary>As <see cref="IsProxied4"/> (RFC 4861, 7.2.8).</summary>
    private static bool IsProxied6(Worker w, int port, ref readonly InterfaceRecord itf, in DiscoveryMessage message) =>
        itf.Has(InterfaceFlags.Proxy) && !message.IsProbe && message.Source != message.Target && !IPAddresses.IsLinkLocal6(message.Target.High)
        && LeadsElsewhere(w, port, w.Routes.Find6(w.Vrf(itf.Vrf).Root6, message.Target.High, message.Target.Low));

    /// <summary>Whether a route leads to a station that is not on the link of an interface.</summary>
    private static bool LeadsElsewhere(Worker w, int port, uint route)
    {
        ref readonly NextHopRecord hop = ref w.NextHop((int)route);
        if (hop.Kind == NextHopKind.Group)
        {
            // Its members lead to the same destinations: one stands for all.
            hop = ref w.NextHop((int)w.NextHopGroup(hop.Group).Members[0]);
        }
        return hop.Kind switch
        {
            NextHopKind.Connected or NextHopKind.Gateway4 or NextHopKind.Gateway6 or NextHopKind.Local => hop.Port != port,
            NextHopKind.Adjacency => true,
            _ => false,
        };
    }

    /// <summary>The reply to an ARP request, or null.</summary>
    private static rte_mbuf* AnswerArp(Worker w, in ArpPacket packet, ulong mac, int port, AnswerKind kind)
    {
        w.Watcher.Step(TraceStep.NeighbourAnswered, port, mac, (ulong)kind);
        return MakeArp(w, packet.SenderMac, mac, ArpPacket.Reply, mac, packet.Target, packet.SenderMac, packet.Sender);
    }

    /// <summary>The advertisement that answers a solicitation (RFC 4861, 7.2.4), or null.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="itf">The interface.</param>
    /// <param name="message">The solicitation.</param>
    /// <param name="asker">The address that it came from.</param>
    /// <param name="mac">What the answer says.</param>
    /// <param name="port">The interface's port.</param>
    /// <param name="kind">In whose name.</param>
    /// <param name="isRouter">Whether that one is a router.</param>
    private static rte_mbuf* AnswerSolicitation(Worker w, ref readonly InterfaceRecord itf, in DiscoveryMessage message, ulong asker,
        ulong mac, int port, AnswerKind kind, bool isRouter = true)
    {
        w.Watcher.Step(TraceStep.NeighbourAnswered, port, mac, (ulong)kind);
        // A proxy leaves it to others to say something better (7.2.8); who probes has no address yet to be answered at.
        byte flags = kind == AnswerKind.Proxy ? (byte)0 : DiscoveryMessage.OverrideFlag;
        flags |= isRouter ? DiscoveryMessage.RouterFlag : (byte)0;
        flags |= message.IsProbe ? (byte)0 : DiscoveryMessage.SolicitedFlag;
        IPv6Number source = kind == AnswerKind.Proxy ? InterfaceAddresses.LinkLocalOf(itf.Mac) : message.Target;
        IPv6Number destination = message.IsProbe ? DiscoveryMessage.AllNodes : message.Source;
        ulong destinationMac = message.IsProbe ? DiscoveryMessage.GroupMac(destination) : message.Mac != 0 ? message.Mac : asker;
        return MakeDiscovery(w, destinationMac, mac, Icmp.NeighbourAdvertisement6, flags, source, destination, message.Target, mac);
    }
}
