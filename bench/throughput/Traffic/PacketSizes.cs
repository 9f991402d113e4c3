using System.Globalization;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// Lengths of the packets of a workload, in turn. What is named by a number is "64", the smallest Ethernet frame with its frame
/// check sequence, or the size of the layer-3 packet ("1500", "9000"). "imix" is the simple Internet mix: 7 frames of 64 bytes, 4 of
/// 594 and 1 of 1,518, frame check sequence included.
/// </summary>
/// <param name="Name">As the user writes it.</param>
/// <param name="Lengths">Bytes from the destination address to the end of the payload, without frame check sequence.</param>
public sealed record PacketSizes(string Name, IReadOnlyList<int> Lengths)
{
    private const int Header = 14, CheckSequence = 4, SmallestFrame = 64, LargestPacket = 9000, OrdinaryMtu = 1500;

    /// <summary>64-byte frames.</summary>
    public static PacketSizes Smallest { get; } = new("64", [SmallestFrame - CheckSequence]);

    private static readonly PacketSizes s_mix = new("imix", [.. new[] { 64, 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594 }.Select(frame => frame - CheckSequence)]);

    /// <summary>The mean, in bytes.</summary>
    public double Mean => Lengths.Average();

    /// <summary>MTU of ports that carry them.</summary>
    public ushort Mtu => (ushort)Math.Max(OrdinaryMtu, Lengths.Max() - Header);

    /// <summary>Bytes of a packet buffer that holds the longest.</summary>
    public int BufferBytes => Lengths.Max() <= OrdinaryMtu + Header ? 2048 : LargestPacket + 216;

    /// <summary>As the user writes it.</summary>
    public override string ToString() => Name;

    /// <summary>Length of packet number <paramref name="i"/>.</summary>
    public int Length(int i) => Lengths[i % Lengths.Count];

    /// <summary>Reads "64", "imix", or the size of a layer-3 packet. Null when it is none.</summary>
    public static PacketSizes? Parse(string text)
    {
        if (text == "imix")
        {
            return s_mix;
        }
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int size) || size is < SmallestFrame or > LargestPacket)
        {
            return null;
        }
        return size == SmallestFrame ? Smallest : new PacketSizes(text, [size + Header]);
    }
}
