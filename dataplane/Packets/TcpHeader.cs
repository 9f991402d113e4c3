namespace Dataplane.Packets;

/// <summary>Offsets, lengths and flags of the TCP header (RFC 9293, 3.1).</summary>
public static class TcpHeader
{
    public const int MinLength = 20;
    public const int Sequence = 4, Acknowledgement = 8, DataOffset = 12, Flags = 13, Checksum = 16;

    public const byte Fin = 0x01, Syn = 0x02, Rst = 0x04, Ack = 0x10;
}
