using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Tells a client at once that a service does not take its connection, in the service's name: TCP by a reset (RFC 9293, 3.10.7.1), SCTP
/// by an abort (RFC 9260, 8.4), all else by ICMP. The answer goes back to the station that the packet came from. It is no larger than
/// what it answers, and none is answered by another.
/// <para>Whoever calls drops the packet itself, with its reason.</para>
/// </summary>
public static unsafe class Refusal
{
    private const byte Ttl = 64;

    /// <summary>The T bit: the verification tag is the receiver's own, reflected (RFC 9260, 3.3.7).</summary>
    private const byte Reflected = 1;

    /// <summary>Where the initiate tag stands in an INIT (RFC 9260, 3.3.2), from the beginning of the packet.</summary>
    private const int InitiateTag = SctpHeader.Length + SctpHeader.ChunkHeader;

    /// <summary>Answers a packet.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which it came.</param>
    /// <param name="mbuf">The packet. It stays the caller's.</param>
    /// <param name="flow">As it was read from the packet.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Send(Worker w, int port, rte_mbuf* mbuf, in PacketFlow flow)
    {
        if (flow.Kind != FlowKind.Ports)
        {
            IcmpErrors.Send(w, port, mbuf, flow.Kind == FlowKind.Addresses ? IcmpError.ProtocolUnreachable : IcmpError.HostUnreachable);
            return;
        }
        switch (flow.Protocol)
        {
            case Wire.ProtocolTcp:
                Reset(w, port, mbuf, in flow);
                break;
            case Wire.ProtocolSctp:
                Abort(w, port, mbuf, in flow);
                break;
            default:
                IcmpErrors.Send(w, port, mbuf, IcmpError.PortUnreachable);
                break;
        }
    }

    private static void Reset(Worker w, int port, rte_mbuf* mbuf, in PacketFlow flow)
    {
        byte* tcp = Mbuf.Data(mbuf) + flow.Transport;
        int header = (tcp[TcpHeader.DataOffset] >> 4) * 4, length = (int)mbuf->pkt_len - flow.Transport;
        if ((flow.TcpFlags & TcpHeader.Rst) != 0 || flow.IsFirstFragment || header < TcpHeader.MinLength || header > length || !IsSumGood(mbuf, in flow))
        {
            return;
        }
        rte_mbuf* answer = Prepare(w, mbuf, in flow, TcpHeader.MinLength, out byte* made);
        if (answer == null)
        {
            return;
        }
        uint sequence = 0, acknowledged = 0;
        byte flags = TcpHeader.Rst;
        if ((flow.TcpFlags & TcpHeader.Ack) != 0)
        {
            sequence = Wire.Load32(tcp + TcpHeader.Acknowledgement);
        }
        else
        {
            // SYN and FIN take a sequence number each.
            int spoken = length - header + ((flow.TcpFlags & TcpHeader.Syn) != 0 ? 1 : 0) + ((flow.TcpFlags & TcpHeader.Fin) != 0 ? 1 : 0);
            acknowledged = Wire.Load32(tcp + TcpHeader.Sequence) + (uint)spoken;
            flags |= TcpHeader.Ack;
        }
        new Span<byte>(made, TcpHeader.MinLength).Clear();
        Wire.Store16(made, flow.DestinationPort);
        Wire.Store16(made + 2, flow.SourcePort);
        Wire.Store32(made + TcpHeader.Sequence, sequence);
        Wire.Store32(made + TcpHeader.Acknowledgement, acknowledged);
        made[TcpHeader.DataOffset] = TcpHeader.MinLength / 4 << 4;
        made[TcpHeader.Flags] = flags;
        ulong sum = PseudoSum(Mbuf.Data(answer) + Wire.EthernetHeader, in flow, TcpHeader.MinLength);
        Unsafe.WriteUnaligned(made + TcpHeader.Checksum, Checksum.Finish(Checksum.Add(sum, made, TcpHeader.MinLength)));
        Answer(w, port, mbuf, answer, Wire.ProtocolTcp);
    }

    private static void Abort(Worker w, int port, rte_mbuf* mbuf, in PacketFlow flow)
    {
        byte* sctp = Mbuf.Data(mbuf) + flow.Transport;
        int length = Math.Min(mbuf->data_len, (int)mbuf->pkt_len) - flow.Transport;
        if (flow.IsFirstFragment || length < SctpHeader.Length + SctpHeader.ChunkHeader)
        {
            return;
        }
        byte chunk = sctp[SctpHeader.Length];
        bool isInit = chunk == SctpHeader.Init;
        if (chunk is SctpHeader.Abort or SctpHeader.ShutdownComplete || (isInit && length < InitiateTag + sizeof(uint)))
        {
            return;
        }
        rte_mbuf* answer = Prepare(w, mbuf, in flow, SctpHeader.Length + SctpHeader.ChunkHeader, out byte* made);
        if (answer == null)
        {
            return;
        }
        Wire.Store16(made, flow.DestinationPort);
        Wire.Store16(made + 2, flow.SourcePort);
        Unsafe.WriteUnaligned(made + 4, Unsafe.ReadUnaligned<uint>(isInit ? sctp + InitiateTag : sctp + 4));
        made[SctpHeader.Length] = SctpHeader.Abort;
        made[SctpHeader.Length + 1] = isInit ? (byte)0 : Reflected;
        Wire.Store16(made + SctpHeader.Length + 2, SctpHeader.ChunkHeader);
        Crc32C.TryWrite(answer, flow.IsIPv6 ? Wire.EthernetHeader + IPv6Header.Length : Wire.EthernetHeader + IPv4Header.MinLength);
        Answer(w, port, mbuf, answer, Wire.ProtocolSctp);
    }

    /// <summary>A packet back to the sender, with room for so many bytes of transport. Null when no buffer is left.</summary>
    private static rte_mbuf* Prepare(Worker w, rte_mbuf* mbuf, in PacketFlow flow, int length, out byte* transport)
    {
        transport = null;
        rte_mbuf* answer = Shim.dps_mbuf_alloc(w.Small.Pointer);
        if (answer == null)
        {
            return null;
        }
        byte* data = Mbuf.Data(answer), ip = data + Wire.EthernetHeader;
        int header = flow.IsIPv6 ? IPv6Header.Length : IPv4Header.MinLength;
        if (flow.IsIPv6)
        {
            IPv6Header.Write(ip, trafficClass: 0, flowLabel: 0, length, flow.Protocol, Ttl, flow.Destination, flow.Source);
        }
        else
        {
            IPv4Header.Write(ip, tos: 0, header + length, identification: 0, IPv4Header.DontFragment, Ttl, flow.Protocol,
                (uint)flow.Destination.Low, (uint)flow.Source.Low);
        }
        Wire.Store16(data + Wire.EtherTypeOffset, flow.IsIPv6 ? Wire.EtherTypeIPv6 : Wire.EtherTypeIPv4);
        answer->data_len = (ushort)(Wire.EthernetHeader + header + length);
        answer->pkt_len = answer->data_len;
        transport = ip + header;
        return answer;
    }

    private static void Answer(Worker w, int port, rte_mbuf* mbuf, rte_mbuf* answer, byte protocol)
    {
        w.Watcher.StepOf(mbuf, TraceStep.Refused, port, protocol);
        Responder.Answer(w, port, answer, Unsafe.ReadUnaligned<ulong>(Mbuf.Data(mbuf) + 6) & MacAddress.Mask);
    }

    /// <summary>Whether the checksum of a TCP packet is right, or its sender's hardware was to make it.</summary>
    private static bool IsSumGood(rte_mbuf* mbuf, in PacketFlow flow)
    {
        ulong pseudo = PseudoSum(Mbuf.Data(mbuf) + Wire.EthernetHeader, in flow, mbuf->pkt_len - (uint)flow.Transport);
        return Offload.IsPending(mbuf) || Checksum.Finish(Checksum.AddChain(pseudo, mbuf, (uint)flow.Transport)) == 0;
    }

    private static ulong PseudoSum(byte* ip, in PacketFlow flow, uint length) => flow.IsIPv6
        ? IPv6Header.PseudoSum(ip, flow.Protocol, length)
        : Checksum.Add(0, ip + 12, 8) + ((ulong)flow.Protocol << 8) + BinaryPrimitives.ReverseEndianness((ushort)length);
}
