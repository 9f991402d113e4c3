using System.Buffers.Binary;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>Frames for tests, from addresses as people write them.</summary>
public static class Frame
{
    public const string Broadcast = "ff:ff:ff:ff:ff:ff";
    public const string A = "02:00:00:00:00:0a";
    public const string B = "02:00:00:00:00:0b";
    public const string C = "02:00:00:00:00:0c";
    public const string D = "02:00:00:00:00:0d";

    /// <summary>Bridge protocol data units go to this address (IEEE 802.1D, table 7-10).</summary>
    public const string BridgeGroup = "01:80:c2:00:00:00";

    /// <summary>For experiments (IEEE 802, 9.2.3).</summary>
    public const ushort Experimental = 0x88B5;

    /// <summary>An Ethernet frame with a payload that depends on its length only.</summary>
    public static byte[] Of(string destination, string source, ushort type = Experimental, int payload = 46) =>
        Raw(destination, source, type, [.. Enumerable.Range(0, payload).Select(i => (byte)i)]);

    /// <summary>As <see cref="Of"/> with 802.1Q tags, the outer one first.</summary>
    public static byte[] Tagged(string destination, string source, params int[] tags) => WithTags(Of(destination, source), tags);

    /// <summary>
    /// The frame with tags in front of its type, the outer one first: a tag control word (priority in the upper bits), and
    /// where it is larger than 16 bits, the tag protocol identifier above it.
    /// </summary>
    public static byte[] WithTags(byte[] frame, params int[] tags)
    {
        IEnumerable<byte> bytes = tags.SelectMany(tag =>
        {
            int tpid = tag >>> 16 == 0 ? Wire.EtherTypeVlan : tag >>> 16;
            return new byte[] { (byte)(tpid >> 8), (byte)tpid, (byte)(tag >> 8), (byte)tag };
        });
        return [.. frame[..12], .. bytes, .. frame[12..]];
    }

    /// <summary>A service tag (IEEE 802.1ad) for <see cref="WithTags"/>.</summary>
    public static int ServiceTag(int vlan) => (Wire.EtherTypeServiceVlan << 16) | vlan;

    public static byte[] Raw(string destination, string source, ushort type, byte[] payload)
    {
        byte[] frame = new byte[14 + payload.Length];
        MacAddress.Parse(destination).CopyTo(frame);
        MacAddress.Parse(source).CopyTo(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
        payload.CopyTo(frame, 14);
        return frame;
    }

    /// <summary>A unicast address of its own for each number.</summary>
    public static string Mac(int number) => new MacAddress(0x0102ul | ((ulong)(uint)BinaryPrimitives.ReverseEndianness(number) << 16)).ToString();
}
