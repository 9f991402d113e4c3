using System.Buffers.Binary;

namespace Dataplane.PacketTests.Harness;

/// <summary>Files of the classic pcap format (draft-ietf-opsawg-pcap): Ethernet frames, this machine's byte order.</summary>
public static class Pcap
{
    private const uint Magic = 0xA1B2_C3D4, NanosecondMagic = 0xA1B2_3C4D;
    private const int FileHeader = 24, PacketHeader = 16, SnapLength = 262_144;

    public static void Write(string file, IEnumerable<byte[]> frames)
    {
        using FileStream stream = File.Create(file);
        using var writer = new BinaryWriter(stream);
        writer.Write(Magic);
        writer.Write((ushort)2);
        writer.Write((ushort)4);
        writer.Write(0L);
        writer.Write(SnapLength);
        writer.Write(1); // LINKTYPE_ETHERNET
        int microsecond = 0;
        foreach (byte[] frame in frames)
        {
            writer.Write(0);
            writer.Write(microsecond++);
            writer.Write(frame.Length);
            writer.Write(frame.Length);
            writer.Write(frame);
        }
    }

    public static List<byte[]> Read(string file)
    {
        ReadOnlySpan<byte> bytes = File.ReadAllBytes(file);
        Assert.Contains(BinaryPrimitives.ReadUInt32LittleEndian(bytes), (uint[])[Magic, NanosecondMagic]);
        var frames = new List<byte[]>();
        for (bytes = bytes[FileHeader..]; bytes.Length != 0;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]);
            Assert.Equal(length, BinaryPrimitives.ReadInt32LittleEndian(bytes[12..])); // all of the frame was kept
            frames.Add(bytes.Slice(PacketHeader, length).ToArray());
            bytes = bytes[(PacketHeader + length)..];
        }
        return frames;
    }
}
