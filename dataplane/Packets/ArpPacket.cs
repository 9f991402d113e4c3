using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>An ARP packet that maps an IPv4 address to an Ethernet address (RFC 826), in host order.</summary>
/// <param name="Operation">Request or reply.</param>
/// <param name="SenderMac">Lowest byte first on the wire; a station's, never a group's.</param>
/// <param name="Sender">0 in a probe (RFC 5227, 2.1.1).</param>
/// <param name="Target">Whom it asks for, or tells.</param>
public readonly record struct ArpPacket(ushort Operation, ulong SenderMac, uint Sender, uint Target)
{
    /// <summary>Bytes behind the Ethernet header.</summary>
    public const int Length = 28;

    public const ushort Request = 1, Reply = 2;

    private const int Operations = 6, SenderMacs = 8, Senders = 14, TargetMacs = 18, Targets = 24;

    /// <summary>Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses, as they stand in the packet.</summary>
    private const ulong Kind = 0x0406_0008_0100;
    private const ulong KindMask = 0xFFFF_FFFF_FFFF;

    public bool IsRequest => Operation == Request;

    /// <summary>Asks whether an address is free, or tells that it is taken: about the sender itself, who needs no answer.</summary>
    public bool IsAboutSender => Sender == 0 || Sender == Target;

    /// <summary>Reads a packet. False when it makes no sense.</summary>
    /// <param name="arp">What follows the Ethernet header.</param>
    /// <param name="length">Bytes that are there.</param>
    /// <param name="packet">The packet.</param>
    public static unsafe bool TryRead(byte* arp, int length, out ArpPacket packet)
    {
        packet = default;
        if (length < Length || (Unsafe.ReadUnaligned<ulong>(arp) & KindMask) != Kind)
        {
            return false;
        }
        packet = new ArpPacket(Wire.Load16(arp + Operations), Unsafe.ReadUnaligned<ulong>(arp + SenderMacs) & MacAddress.Mask,
            Wire.Load32(arp + Senders), Wire.Load32(arp + Targets));
        bool mayBeSender = !IPAddresses.IsMartian4(packet.Sender) || (packet.Sender == 0 && packet.Operation == Request);
        return packet.Operation is Request or Reply && packet.SenderMac != 0 && (packet.SenderMac & 1) == 0 && mayBeSender;
    }

    /// <summary>Writes a packet; the target's MAC address is 0 in a request.</summary>
    public static unsafe void Write(byte* arp, ushort operation, ulong senderMac, uint sender, ulong targetMac, uint target)
    {
        Unsafe.WriteUnaligned(arp, Kind);
        Wire.Store16(arp + Operations, operation);
        WriteMac(arp + SenderMacs, senderMac);
        Wire.Store32(arp + Senders, sender);
        WriteMac(arp + TargetMacs, targetMac);
        Wire.Store32(arp + Targets, target);
    }

    private static unsafe void WriteMac(byte* at, ulong mac)
    {
        Unsafe.WriteUnaligned(at, (uint)mac);
        Unsafe.WriteUnaligned(at + 4, (ushort)(mac >> 32));
    }
}
