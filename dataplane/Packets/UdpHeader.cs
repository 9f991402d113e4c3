namespace Dataplane.Packets;

/// <summary>Offsets and length of the UDP header (RFC 768).</summary>
public static class UdpHeader
{
    public const int Length = 8;
    public const int Checksum = 6;
}
