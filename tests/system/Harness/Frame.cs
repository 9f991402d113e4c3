using System.Buffers.Binary;
using Dataplane.Packets;

namespace Dataplane.SystemTests.Harness;

/// <summary>Ethernet frames of a type that no kernel answers.</summary>
public static class Frame
{
    public const string Broadcast = "ff:ff:ff:ff:ff:ff";

    /// <summary>Bridge protocol data units go here (IEEE 802.1D, table 7-10).</summary>
    public const string BridgeGroup = "01:80:c2:00:00:00";

    /// <summary>For local experiments (IEEE 802, 9.2.3).</summary>
    public const ushort Experimental = 0x88B5;

    private const int Header = 14, Smallest = 60;

    /// <summary>A frame with a number in it, by which it is known again.</summary>
    public static byte[] Of(string destination, string source, uint number = 0, ushort type = Experimental)
    {
        byte[] frame = new byte[Smallest];
        MacAddress.Parse(destination).CopyTo(frame);
        MacAddress.Parse(source).CopyTo(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(Header), number);
        return frame;
    }

    /// <summary>The frame with an 802.1Q tag in front of its type and of the tags that it has.</summary>
    public static byte[] Tag(byte[] frame, int vlan, ushort protocol = 0x8100)
    {
        byte[] tag = new byte[4];
        BinaryPrimitives.WriteUInt16BigEndian(tag, protocol);
        BinaryPrimitives.WriteUInt16BigEndian(tag.AsSpan(2), (ushort)vlan);
        return [.. frame[..12], .. tag, .. frame[12..]];
    }

    /// <summary>The type behind all tags, or -1.</summary>
    public static int TypeOf(byte[] frame) => frame.Length < Header ? -1 : BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));

    /// <summary>The VLAN of the outermost tag, 0 without one.</summary>
    public static int VlanOf(byte[] frame) => TypeOf(frame) == 0x8100 ? BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(14)) & 0xFFF : 0;

    /// <summary>Whether it is one of ours, with at most one tag, and which number it has.</summary>
    public static bool IsOurs(byte[] frame, out uint number)
    {
        int tag = TypeOf(frame) == 0x8100 ? 4 : 0;
        bool ours = frame.Length >= Header + tag + 4 && BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12 + tag)) == Experimental;
        number = ours ? BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(Header + tag)) : 0;
        return ours;
    }
}
