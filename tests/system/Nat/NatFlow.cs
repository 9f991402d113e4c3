using System.Buffers.Binary;
using Dataplane.PacketTests.Harness;

namespace Dataplane.SystemTests.Nat;

/// <summary>An address with a port, or with the identifier of an echo.</summary>
public readonly record struct End(string Address, int Port)
{
    public override string ToString() => NatNet.At(Address, Port);
}

/// <summary>Where a TCP connection is, as its ends see it.</summary>
public enum TcpPhase
{
    Closed, SynSent, SynReceived, Established, FinSent, LastAck, TimeWait,
}

/// <summary>A flow between a client and a server: what each of them sends, with the sequence numbers that belong there.</summary>
/// <param name="protocol">ICMP for echoes.</param>
/// <param name="client">As it knows itself.</param>
/// <param name="to">Whom the client speaks to.</param>
/// <param name="server">Who that is.</param>
public sealed class NatFlow(byte protocol, End client, End to, End server)
{
    private const byte Rst = 4;

    private uint _clientNext = 1000, _serverNext = 500_000;

    public byte Protocol { get; } = protocol;
    public End Client { get; } = client;
    public End To { get; } = to;
    public End Server { get; } = server;
    public TcpPhase Phase { get; private set; }

    /// <summary>Whether the server has something to answer.</summary>
    public bool HasBegun { get; private set; }

    public bool IsEcho => Protocol is Ip.Icmp4 or Ip.Icmp6;

    public override string ToString() => $"protocol {Protocol}, {Client} to {To}, which is {Server}, {Phase}";

    /// <summary>What the client sends next, as it sends it.</summary>
    public Ip FromClient(Random random)
    {
        HasBegun = true;
        if (Protocol != Ip.Tcp)
        {
            return Datagram(Client, To, isReply: false, random.Next(0, 400));
        }
        switch (Phase)
        {
            case TcpPhase.Closed or TcpPhase.TimeWait:
                Phase = TcpPhase.SynSent;
                _clientNext += 100_000;
                _serverNext += 100_000;
                return Segment(Client, To, Inet.Syn, _clientNext++, 0, 0);
            case TcpPhase.SynSent:
                return Segment(Client, To, Inet.Syn, _clientNext - 1, 0, 0);
            case TcpPhase.SynReceived:
                Phase = TcpPhase.Established;
                return Segment(Client, To, Inet.Ack, _clientNext, _serverNext, 0);
            case TcpPhase.Established when random.Next(8) == 0:
                Phase = TcpPhase.FinSent;
                return Segment(Client, To, Inet.Fin | Inet.Ack, _clientNext++, _serverNext, 0);
            case TcpPhase.Established when random.Next(16) == 0:
                return Reset(Client, To, _clientNext, _serverNext);
            case TcpPhase.Established:
                int payload = random.Next(0, 400);
                Ip data = Segment(Client, To, Inet.Ack | Inet.Psh, _clientNext, _serverNext, payload);
                _clientNext += (uint)payload;
                return data;
            case TcpPhase.LastAck:
                Phase = TcpPhase.TimeWait;
                return Segment(Client, To, Inet.Ack, _clientNext, _serverNext, 0);
            default:
                return Segment(Client, To, Inet.Ack, _clientNext, _serverNext, 0);
        }
    }

    /// <summary>What the server answers next. Null when it has nothing to say.</summary>
    /// <returns>The packet for any of the ends that a router may have made of the client.</returns>
    public Func<End, Ip>? FromServer(Random random)
    {
        if (Protocol != Ip.Tcp)
        {
            int length = random.Next(0, 400);
            return client => Datagram(Server, client, isReply: true, length);
        }
        uint sequence = _serverNext, next = _clientNext;
        switch (Phase)
        {
            case TcpPhase.SynSent:
                Phase = TcpPhase.SynReceived;
                _serverNext++;
                return client => Segment(Server, client, Inet.Syn | Inet.Ack, sequence, next, 0);
            case TcpPhase.SynReceived:
                return client => Segment(Server, client, Inet.Syn | Inet.Ack, sequence - 1, next, 0);
            case TcpPhase.Established when random.Next(16) == 0:
                Phase = TcpPhase.Closed;
                return client => Segment(Server, client, Rst | Inet.Ack, sequence, next, 0);
            case TcpPhase.Established:
                int payload = random.Next(0, 400);
                _serverNext += (uint)payload;
                return client => Segment(Server, client, Inet.Ack | Inet.Psh, sequence, next, payload);
            case TcpPhase.FinSent:
                Phase = TcpPhase.LastAck;
                _serverNext++;
                return client => Segment(Server, client, Inet.Fin | Inet.Ack, sequence, next, 0);
            default:
                return null;
        }
    }

    /// <summary>A datagram or segment between two ends, as an error about the flow quotes it.</summary>
    public Ip Quoted(End from, End to, bool isReply) =>
        (Protocol == Ip.Tcp ? Segment(from, to, Inet.Ack, 1, 1, 0) : Datagram(from, to, isReply, 16)) with { Ttl = 63 };

    /// <summary>The ends of one of the flow's packets, and the packet without what they make of it: ports, identifier and checksum.</summary>
    public (End From, End To, Ip Others) Read(Ip packet, bool isReply)
    {
        Assert.Equal(Protocol, packet.Protocol);
        Assert.True(packet.IsPayloadGood, $"a wrong checksum in {packet}");
        byte[] rest = [.. packet.Payload];
        int checksum = Protocol switch { Ip.Tcp => 16, Ip.Udp => 6, _ => 2 };
        rest.AsSpan(checksum, 2).Clear();
        int from = packet.Word(0), to = packet.Word(2);
        if (IsEcho)
        {
            (from, to) = isReply ? (To.Port, (int)packet.Word(4)) : (packet.Word(4), To.Port);
            rest.AsSpan(4, 2).Clear();
        }
        else
        {
            rest.AsSpan(0, 4).Clear();
        }
        return (new End(packet.Source, from), new End(packet.Destination, to), packet with { Payload = rest });
    }

    private Ip Reset(End from, End to, uint sequence, uint acknowledged)
    {
        Phase = TcpPhase.Closed;
        return Segment(from, to, Rst | Inet.Ack, sequence, acknowledged, 0);
    }

    private Ip Datagram(End from, End to, bool isReply, int payload)
    {
        if (!IsEcho)
        {
            return Ip.OfUdp(from.Address, to.Address, from.Port, to.Port, payload);
        }
        byte type = Protocol == Ip.Icmp4 ? (byte)(isReply ? 0 : 8) : (byte)(isReply ? 129 : 128);
        return Ip.OfIcmp(from.Address, to.Address, type, 0, [.. Ip.Big16(isReply ? to.Port : from.Port), 0, 1, .. new byte[payload]]);
    }

    private static Ip Segment(End from, End to, int flags, uint sequence, uint acknowledged, int payload)
    {
        byte[] tcp = [.. Ip.Big16(from.Port), .. Ip.Big16(to.Port), .. new byte[8], 0x50, (byte)flags, .. Ip.Big16(1000), 0, 0, 0, 0, .. new byte[payload]];
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(8), acknowledged);
        Ip.Big16(Ip.PseudoChecksum(from.Address, to.Address, Ip.Tcp, tcp)).CopyTo(tcp, 16);
        return new Ip(from.Address, to.Address, Ip.Tcp, tcp);
    }
}
