namespace Dataplane.Packets;

/// <summary>The common header of SCTP (RFC 9260, 3.1) and what of its chunks tells where an association stands (3.2).</summary>
public static class SctpHeader
{
    /// <summary>Ports, verification tag, checksum.</summary>
    public const int Length = 12;
    /// <summary>Where the <see cref="Crc32C"/> stands.</summary>
    public const int Checksum = 8;
    /// <summary>Type, flags and length of the first chunk.</summary>
    public const int ChunkHeader = 4;

    public const byte Init = 1, InitAck = 2, Abort = 6, Shutdown = 7, ShutdownAck = 8, ShutdownComplete = 14;
}
