using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

// One packet, step by step.
public static unsafe partial class RouteStage
{
    /// <summary>So many bytes of a packet lie in its first buffer, where a packet has them: more than all headers take.</summary>
    private const int Headers = 192;

    /// <summary>What the steps know of a packet. It is the packet of its worker alone, but for one to a group.</summary>
    private ref struct Routed
    {
        public Worker Worker;
        /// <summary>The interface by which it came, which accounts for it.</summary>
        public int Port;
        public ref readonly InterfaceRecord Interface;
        public rte_mbuf* Frame;
        public bool IsIPv6;
        /// <summary>From the host, which shares its addresses with the interface.</summary>
        public bool IsFromHost;
        /// <summary>To a group of stations, or all.</summary>
        public bool IsToGroup;
        public Foreseen Foreseen;
        /// <summary>Where it goes: its destination, or what takes the place of that; IPv4 in the lower half.</summary>
        public IPv6Number Destination;
        /// <summary>The next hop's index.</summary>
        public uint Route;
        public Tracked Tracked;

        public readonly byte* Data => Mbuf.Data(Frame);
        public readonly byte* Ip => Mbuf.Data(Frame) + Wire.EthernetHeader;
        public readonly int Readable => Frame->data_len - Wire.EthernetHeader;

        public readonly void Drop(DropReason reason) => Worker.Drop(Port, Frame, reason);

        /// <summary>Tells the sender, and drops.</summary>
        public readonly void Reject(DropReason reason, IcmpError error, uint mtu = 0)
        {
            IcmpErrors.Send(Worker, Port, Frame, error, mtu);
            Drop(reason);
        }
    }

    /// <summary>Routes one packet, and counts what became of it.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void One(Worker w, int port, rte_mbuf* mbuf, Foreseen foreseen = default)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        if (mbuf->pkt_len < Wire.EthernetHeader)
        {
            w.Drop(port, mbuf, DropReason.Truncated);
            return;
        }
        if (mbuf->data_len < Math.Min(mbuf->pkt_len, Headers) && (mbuf = Own(w, port, mbuf)) == null)
        {
            return;
        }
        byte* data = Mbuf.Data(mbuf);
        ulong destination = Unsafe.ReadUnaligned<ulong>(data) & MacAddress.Mask, source = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
        bool isToGroup = (destination & 1) != 0;
        if (!isToGroup && destination != itf.Mac && (itf.AliasMac == 0 || destination != itf.AliasMac))
        {
            w.Drop(port, mbuf, DropReason.NotForRouter);
            return;
        }
        if ((source & 1) != 0)
        {
            w.Drop(port, mbuf, DropReason.SourceMulticast);
            return;
        }
        ushort type = Wire.Load16(data + Wire.EtherTypeOffset);
        if (type == Wire.EtherTypeArp)
        {
            NeighbourStage.Arp(w, port, mbuf);
            return;
        }
        if (type is not (Wire.EtherTypeIPv4 or Wire.EtherTypeIPv6))
        {
            w.Drop(port, mbuf, DropReason.NotIp);
            return;
        }
        if (!isToGroup && !IsOwn(mbuf) && (mbuf = Own(w, port, mbuf)) == null)
        {
            return;
        }
        // An initialiser would fill in another one first, and copy it.
        Routed packet = default;
        packet.Worker = w;
        packet.Port = port;
        packet.Interface = ref itf;
        packet.Frame = mbuf;
        packet.IsIPv6 = type == Wire.EtherTypeIPv6;
        packet.IsFromHost = source == itf.Mac && itf.HostPort != 0;
        packet.IsToGroup = isToGroup;
        packet.Foreseen = foreseen;
        if (packet.IsIPv6)
        {
            Route6(ref packet);
        }
        else
        {
            Route4(ref packet);
        }
    }

    /// <summary>Whether a packet may be changed: all its buffers belong to the worker alone.</summary>
    private static bool IsOwn(rte_mbuf* mbuf)
    {
        // Who adds a reference to a packet adds it to every buffer.
        return Shim.dps_mbuf_refcnt(mbuf) == 1 && (mbuf->ol_flags & (Rte.RTE_MBUF_F_INDIRECT | Rte.RTE_MBUF_F_EXTERNAL)) == 0;
    }

    /// <summary>A copy that is the worker's alone, with its headers in one buffer. Null, and dropped, when no buffer is left.</summary>
    private static rte_mbuf* Own(Worker w, int port, rte_mbuf* mbuf)
    {
        rte_mbuf* copy = w.DeepCopy(mbuf);
        if (copy == null)
        {
            w.Drop(port, mbuf, DropReason.NoBuffer);
            return null;
        }
        w.Free(mbuf);
        return copy;
    }

    /// <summary>Cuts off what follows the IP packet in its frame. False when that would be more than its last buffer.</summary>
    private static bool TrimTo(rte_mbuf* mbuf, uint length)
    {
        uint surplus = mbuf->pkt_len - Wire.EthernetHeader - length;
        return surplus == 0 || Mbuf.Trim(mbuf, (int)surplus);
    }

    /// <summary>A packet for an address of the router itself.</summary>
    /// <param name="packet">The packet.</param>
    /// <param name="local">The interface that has the address.</param>
    private static void Deliver(ref Routed packet, int local)
    {
        Worker w = packet.Worker;
        ref readonly InterfaceRecord itf = ref w.Interface(local);
        if (packet.IsIPv6 && IsDiscovery(ref packet))
        {
            NeighbourStage.Discovery(w, packet.Port, packet.Frame);
            return;
        }
        if (DecapsulateStage.TryTake(w, packet.Port, packet.Frame))
        {
            return;
        }
        w.Watcher.Step(Observation.TraceStep.Delivered, local, itf.HostPort);
        if (itf.HostPort == 0)
        {
            if (packet.Tracked.Rewriting != Rewriting.None)
            {
                Refuse(ref packet, DropReason.NotServed);
                return;
            }
            if (packet.IsIPv6)
            {
                Responder.Take6(w, packet.Port, packet.Frame, packet.Destination);
            }
            else
            {
                Responder.Take4(w, packet.Port, packet.Frame);
            }
            return;
        }
        if (!TryRewrite(ref packet))
        {
            return;
        }
        ulong source = Unsafe.ReadUnaligned<ulong>(packet.Data + 6) & MacAddress.Mask;
        LinkOutput.WriteAddresses(packet.Data, itf.Mac, source);
        if (LinkOutput.TrySendTo(w, local, itf.HostPort, packet.Frame, out DropReason reason))
        {
            w.Counters(packet.Port)->Forwarded++;
        }
        else
        {
            packet.Drop(reason);
        }
    }

    /// <summary>Neighbour discovery has no extension headers that matter, and never leaves its link (RFC 4861, 6.1, 7.1).</summary>
    private static bool IsDiscovery(ref Routed packet) => IPv6Header.NextHeader(packet.Ip) == Icmp.Protocol6
        && packet.Readable > IPv6Header.Length
        && packet.Ip[IPv6Header.Length] is >= Icmp.RouterSolicitation6 and <= Icmp.Redirect6;
}
