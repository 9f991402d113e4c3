using System.Buffers.Binary;
using System.Net;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// ARP packets for tests (RFC 826), from addresses as people write them, and the same read again. Plain code that shares nothing
/// with the switch.
/// </summary>
/// <param name="Operation">1 for a request, 2 for a reply.</param>
/// <param name="SenderMac">Who sends.</param>
/// <param name="Sender">IPv4.</param>
/// <param name="TargetMac">All zeroes in a request.</param>
/// <param name="Target">IPv4.</param>
public sealed record Arp(int Operation, string SenderMac, string Sender, string TargetMac, string Target)
{
    public const string NoMac = "00:00:00:00:00:00";

    /// <summary>"Who has the target? Tell the sender."</summary>
    public static Arp Request(string senderMac, string sender, string target) => new(1, senderMac, sender, NoMac, target);

    public static Arp Reply(string senderMac, string sender, string targetMac, string target) => new(2, senderMac, sender, targetMac, target);

    public byte[] ToBytes() =>
    [
        0, 1, 8, 0, 6, 4, 0, (byte)Operation, .. MacAddress.Parse(SenderMac).ToBytes(), .. IPAddress.Parse(Sender).GetAddressBytes(),
        .. MacAddress.Parse(TargetMac).ToBytes(), .. IPAddress.Parse(Target).GetAddressBytes(),
    ];

    /// <summary>In a frame to all.</summary>
    public byte[] ToAll() => In(Frame.Broadcast);

    /// <summary>In a frame to one station.</summary>
    public byte[] In(string destination, string? source = null) => Frame.Raw(destination, source ?? SenderMac, Wire.EtherTypeArp, ToBytes());

    /// <summary>Reads the packet of a frame.</summary>
    public static Arp Of(byte[] frame)
    {
        Assert.Equal(Wire.EtherTypeArp, BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12)));
        Assert.Equal([0, 1, 8, 0, 6, 4, 0], frame[14..21]);
        return new Arp(frame[21], Mac(frame, 22), Address(frame, 28), Mac(frame, 32), Address(frame, 38));
    }

    public static string Mac(byte[] frame, int at) => MacAddress.FromBytes(frame.AsSpan(at, 6)).ToString();

    private static string Address(byte[] frame, int at) => new IPAddress(frame.AsSpan(at, 4)).ToString();
}
