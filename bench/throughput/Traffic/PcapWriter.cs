using System.Buffers.Binary;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// Writes the classic capture format (draft-ietf-opsawg-pcap: magic 0xA1B2C3D4, little-endian, microseconds, link type 1 for
/// Ethernet). Time stamps are zero: nobody replays by them.
/// </summary>
public sealed class PcapWriter : IDisposable
{
    private const int FileHeader = 24;
    private const int PacketHeader = 16;
    private const uint SnapLength = 65_535;
    private const uint LinkTypeEthernet = 1;

    private readonly FileStream _file;

    public PcapWriter(string path)
    {
        _file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 1 << 16);
        Span<byte> header = stackalloc byte[FileHeader];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0xA1B2_C3D4);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], 4);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], SnapLength);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], LinkTypeEthernet);
        _file.Write(header);
    }

    /// <summary>Adds a packet, from the destination address to the end of the payload.</summary>
    public void Write(ReadOnlySpan<byte> packet)
    {
        Span<byte> header = stackalloc byte[PacketHeader];
        header.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], packet.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], packet.Length);
        _file.Write(header);
        _file.Write(packet);
    }

    public void Dispose() => _file.Dispose();
}
