using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// Conversations between addresses on one side of a switch and as many on the other: address i of side A sends to address i of
/// side B and back. The order is shuffled, so that it says nothing about where a table keeps an address, and with a fixed seed, so that
/// every run of every subject sees the same packets.
/// </summary>
public static class MacPairs
{
    /// <summary>64 bytes on the wire: the frame check sequence is not in memory.</summary>
    public const int PacketLength = 60;

    private const int Seed = 802;

    /// <summary>One packet per address of <paramref name="side"/> (0 or 1).</summary>
    public static void Write(string path, int addresses, int side)
    {
        int[] order = [.. Enumerable.Range(0, addresses)];
        new Random(Seed + side).Shuffle(order);
        using var file = new PcapWriter(path);
        Span<byte> packet = stackalloc byte[PacketLength];
        packet.Clear();
        packet[Wire.EtherTypeOffset] = 0x88; // IEEE 802 local experimental EtherType 1: nobody looks inside
        packet[Wire.EtherTypeOffset + 1] = 0xB5;
        foreach (int i in order)
        {
            Address(1 - side, i).CopyTo(packet);
            Address(side, i).CopyTo(packet[6..]);
            file.Write(packet);
        }
    }

    /// <summary>02:00:0S:NN:NN:NN, locally administered.</summary>
    public static MacAddress Address(int side, int i) =>
        new(0x02 | ((ulong)side << 16) | ((ulong)(byte)(i >> 16) << 24) | ((ulong)(byte)(i >> 8) << 32) | ((ulong)(byte)i << 40));
}
