using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// Conversations between addresses on one side of a switch and as many on the other: address i of side A sends to address i of
/// side B and back. The order is shuffled, so that it says nothing about where a table keeps an address, and with a fixed seed, so that
/// every run of every subject sees the same packets.
/// </summary>
public static class MacPairs
{
    private const int Seed = 802;

    /// <summary>So many packets at least: one address takes part with packets of every length of a mix.</summary>
    public static int Packets(int addresses, PacketSizes sizes) => Math.Max(addresses, sizes.Lengths.Count);

    /// <summary>A packet per address of <paramref name="side"/> (0 or 1), or as many as the lengths need.</summary>
    public static void Write(string path, int addresses, int side, PacketSizes sizes) => Write(path, addresses, side, sizes, Packets(addresses, sizes));

    /// <summary>So many packets, the addresses in turn.</summary>
    public static void Write(string path, int addresses, int side, PacketSizes sizes, int count)
    {
        int[] order = [.. Enumerable.Range(0, addresses)];
        new Random(Seed + side).Shuffle(order);
        using var file = new PcapWriter(path);
        byte[] packet = new byte[sizes.Lengths.Max()];
        packet[Wire.EtherTypeOffset] = 0x88; // IEEE 802 local experimental EtherType 1: nobody looks inside
        packet[Wire.EtherTypeOffset + 1] = 0xB5;
        for (int n = 0; n < count; n++)
        {
            int i = order[n % addresses];
            Address(1 - side, i).CopyTo(packet);
            Address(side, i).CopyTo(packet.AsSpan(6));
            file.Write(packet.AsSpan(0, sizes.Length(n)));
        }
    }

    /// <summary>02:00:0S:NN:NN:NN, locally administered.</summary>
    public static MacAddress Address(int side, int i) =>
        new(0x02 | ((ulong)side << 16) | ((ulong)(byte)(i >> 16) << 24) | ((ulong)(byte)(i >> 8) << 32) | ((ulong)(byte)i << 40));
}
