using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// The switch as a host (RFC 1122): what it answers itself at the addresses of an interface that no host's port stands behind. That
/// is little: echo requests, and to all else that nobody is here. Answers go back to the station that asked, by the
/// interface it asked at.
/// </summary>
public static unsafe class Responder
{
    private const byte Ttl = 64;

    /// <summary>Takes an IPv4 packet for an own address, whose header has been checked. It is the caller's alone.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which it came.</param>
    /// <param name="mbuf">The packet.</param>
    public static void Take4(Worker w, int port, rte_mbuf* mbuf)
    {
        byte* ip = Mbuf.Data(mbuf) + Wire.EthernetHeader;
        if (IPv4Header.IsFragment(ip))
        {
            // There is no reassembly here: whoever talks to a router has little to say.
            w.Drop(port, mbuf, DropReason.NotServed);
            return;
        }
        int header = IPv4Header.Length(ip);
        switch (IPv4Header.Protocol(ip))
        {
            case Icmp.Protocol4:
                uint length = (uint)(IPv4Header.TotalLength(ip) - header);
                if (!IsIcmpGood(mbuf, Wire.EthernetHeader + header, length, 0))
                {
                    w.Drop(port, mbuf, DropReason.BadIcmp);
                }
                else if (ip[header] != Icmp.Echo4)
                {
                    w.Drop(port, mbuf, DropReason.NotServed);
                }
                else
                {
                    Turn(ip + header, Icmp.Echo4, Icmp.EchoReply4);
                    uint from = IPv4Header.Destination(ip), to = IPv4Header.Source(ip);
                    Wire.Store32(ip + 12, from);
                    Wire.Store32(ip + 16, to);
                    ip[8] = Ttl;
                    IPv4Header.WriteChecksum(ip);
                    Echo(w, port, mbuf);
                }
                break;
            case Wire.ProtocolTcp or Wire.ProtocolUdp:
                Refuse(w, port, mbuf, IcmpError.PortUnreachable);
                break;
            default:
                Refuse(w, port, mbuf, IcmpError.ProtocolUnreachable);
                break;
        }
    }

    /// <summary>As <see cref="Take4"/>, for IPv6.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which it came.</param>
    /// <param name="mbuf">The packet.</param>
    /// <param name="from">The address that answers: the one that was asked, but for a group's.</param>
    public static void Take6(Worker w, int port, rte_mbuf* mbuf, IPv6Number from)
    {
        byte* ip = Mbuf.Data(mbuf) + Wire.EthernetHeader;
        IPv6Payload payload = IPv6Header.Payload(mbuf, Wire.EthernetHeader);
        if (payload.Fragment != 0 || payload.IsUnreadable)
        {
            w.Drop(port, mbuf, DropReason.NotServed);
            return;
        }
        switch (payload.Protocol)
        {
            case Icmp.Protocol6:
                int length = Wire.EthernetHeader + IPv6Header.Length + IPv6Header.PayloadLength(ip) - payload.Offset;
                if (length < 0 || !IsIcmpGood(mbuf, payload.Offset, (uint)length, IPv6Header.PseudoSum(ip, Icmp.Protocol6, (uint)length)))
                {
                    w.Drop(port, mbuf, DropReason.BadIcmp);
                }
                else if (Mbuf.Data(mbuf)[payload.Offset] != Icmp.Echo6)
                {
                    w.Drop(port, mbuf, DropReason.NotServed);
                }
                else
                {
                    Answer6(w, port, mbuf, payload.Offset, length, from);
                }
                break;
            case Wire.ProtocolTcp or Wire.ProtocolUdp:
                Refuse(w, port, mbuf, IcmpError.PortUnreachable);
                break;
            case IPv6Header.NoNextHeader:
                w.Drop(port, mbuf, DropReason.NotServed); // which asks for no answer (RFC 8200, 4.7)
                break;
            default:
                Refuse(w, port, mbuf, IcmpError.ProtocolUnreachable);
                break;
        }
    }

    /// <summary>
    /// Sends a complete IP packet that the switch has made to a station on the link of an interface, and counts it as originated; the
    /// Ethernet type stands in it already. Where that cannot be, the packet ends here: it was received from nobody.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface.</param>
    /// <param name="mbuf">The packet.</param>
    /// <param name="peer">The station.</param>
    public static void Answer(Worker w, int port, rte_mbuf* mbuf, ulong peer)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        bool sent;
        if (peer == itf.Mac && itf.HostPort != 0)
        {
            // The host has the interface's own address, and its bridge is not asked where it is.
            LinkOutput.WriteAddresses(Mbuf.Data(mbuf), peer, itf.AliasMac != 0 ? itf.AliasMac : itf.Mac);
            sent = LinkOutput.TrySendTo(w, port, itf.HostPort, mbuf, out _);
        }
        else
        {
            LinkOutput.WriteAddresses(Mbuf.Data(mbuf), peer, itf.Mac);
            sent = LinkOutput.TrySend(w, port, port, mbuf, out _);
        }
        if (sent)
        {
            w.Counters(port)->Originated++;
        }
        else
        {
            w.Free(mbuf);
        }
    }

    private static void Answer6(Worker w, int port, rte_mbuf* mbuf, int icmp, int length, IPv6Number from)
    {
        byte* ip = Mbuf.Data(mbuf) + Wire.EthernetHeader;
        byte* message = Mbuf.Data(mbuf) + icmp;
        if (IPv6Header.PayloadLength(ip) != length)
        {
            // Extension headers were for the way here: the answer has none.
            w.Drop(port, mbuf, DropReason.NotServed);
            return;
        }
        IPv6Number asked = IPv6Header.Destination(ip), to = IPv6Header.Source(ip);
        Turn(message, Icmp.Echo6, Icmp.EchoReply6);
        if (asked != from)
        {
            // The pseudo-header's sum changes with the address; exchanging two does not change it.
            IPv6Header.Store(ip + 24, from);
            Unsafe.WriteUnaligned(message + 2, (ushort)0);
            Unsafe.WriteUnaligned(message + 2, Checksum.Finish(
                Checksum.AddChain(IPv6Header.PseudoSum(ip, Icmp.Protocol6, (uint)length), mbuf, (uint)icmp)));
        }
        IPv6Header.Store(ip + 8, from);
        IPv6Header.Store(ip + 24, to);
        ip[7] = Ttl;
        Echo(w, port, mbuf);
    }

    /// <summary>An echo request that has become the reply goes back.</summary>
    private static void Echo(Worker w, int port, rte_mbuf* mbuf)
    {
        ulong peer = Unsafe.ReadUnaligned<ulong>(Mbuf.Data(mbuf) + 6) & MacAddress.Mask;
        w.Watcher.StepOf(mbuf, TraceStep.Answered, port);
        w.Counters(port)->Consumed++;
        Answer(w, port, mbuf, peer);
    }

    private static void Refuse(Worker w, int port, rte_mbuf* mbuf, IcmpError error)
    {
        IcmpErrors.Send(w, port, mbuf, error);
        w.Drop(port, mbuf, DropReason.NotServed);
    }

    /// <summary>Whether an ICMP message is complete, and the sum of all its bytes is right.</summary>
    private static bool IsIcmpGood(rte_mbuf* mbuf, int offset, uint length, ulong pseudo) =>
        length >= Icmp.Header && offset + Icmp.Header <= mbuf->data_len && offset + length == mbuf->pkt_len
        && Checksum.Finish(Checksum.AddChain(pseudo, mbuf, (uint)offset)) == 0;

    /// <summary>Makes an echo request a reply.</summary>
    private static void Turn(byte* icmp, byte was, byte now)
    {
        icmp[0] = now;
        // The type is the first byte of a word in network order, the low byte as this machine reads it.
        Unsafe.WriteUnaligned(icmp + 2, Checksum.Update(Unsafe.ReadUnaligned<ushort>(icmp + 2), was, now));
    }
}
