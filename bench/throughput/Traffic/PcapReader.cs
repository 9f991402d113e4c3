using System.Buffers.Binary;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Reads what <see cref="PcapWriter"/> wrote.</summary>
public static class PcapReader
{
    private const int FileHeader = 24, PacketHeader = 16;

    /// <summary>All packets of a file.</summary>
    public static List<byte[]> Read(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        var packets = new List<byte[]>();
        for (int at = FileHeader; at + PacketHeader <= file.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + 8));
            packets.Add(file[(at + PacketHeader)..(at + PacketHeader + length)]);
            at += PacketHeader + length;
        }
        return packets;
    }
}
