using System.Buffers.Binary;
using System.Net;
using System.Net.NetworkInformation;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>
/// Just enough of a host at the other end of a TAP: answers ARP (RFC 826) and ICMP echo (RFC 792). Frames are without the
/// vnet header.
/// </summary>
internal static class Frames
{
    public const int EtherArp = 0x0806;
    public const int EtherIPv4 = 0x0800;

    public static int EtherType(ReadOnlySpan<byte> frame) => BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);

    public static bool IsArpRequest(ReadOnlySpan<byte> frame) => frame.Length >= 42 && EtherType(frame) == EtherArp && frame[21] == 1;

    public static bool IsIcmp(ReadOnlySpan<byte> frame, byte type) =>
        frame.Length >= 42 && EtherType(frame) == EtherIPv4 && frame[14] == 0x45 && frame[23] == 1 && frame[34] == type;

    public static IPAddress Source(ReadOnlySpan<byte> ipv4Frame) => new(ipv4Frame[26..30]);

    public static IPAddress Target(ReadOnlySpan<byte> arpFrame) => new(arpFrame[38..42]);

    /// <summary>The reply of a host with that hardware address, whatever address was asked for.</summary>
    public static byte[] ArpReply(ReadOnlySpan<byte> request, PhysicalAddress mac)
    {
        byte[] reply = request[..42].ToArray();
        reply[21] = 2;
        request[6..12].CopyTo(reply);
        mac.GetAddressBytes().CopyTo(reply, 6);
        mac.GetAddressBytes().CopyTo(reply, 22);
        request[38..42].CopyTo(reply.AsSpan(28));
        request[22..32].CopyTo(reply.AsSpan(32));
        return reply;
    }

    public static byte[] EchoReply(ReadOnlySpan<byte> request)
    {
        byte[] reply = request.ToArray();
        request[..6].CopyTo(reply.AsSpan(6));
        request[6..12].CopyTo(reply);
        request[26..30].CopyTo(reply.AsSpan(30));
        request[30..34].CopyTo(reply.AsSpan(26));
        reply[34] = 0;
        int end = 14 + BinaryPrimitives.ReadUInt16BigEndian(request[16..]);
        Store(reply, 36, reply.AsSpan(34..end));
        return reply;
    }

    public static byte[] EchoRequest(PhysicalAddress destination, PhysicalAddress source, IPAddress to, IPAddress from)
    {
        byte[] frame = new byte[42];
        destination.GetAddressBytes().CopyTo(frame, 0);
        source.GetAddressBytes().CopyTo(frame, 6);
        frame[12] = 0x08;
        frame[14] = 0x45;
        frame[17] = 28;
        frame[22] = 64;
        frame[23] = 1;
        from.GetAddressBytes().CopyTo(frame, 26);
        to.GetAddressBytes().CopyTo(frame, 30);
        frame[34] = 8;
        Store(frame, 24, frame.AsSpan(14, 20));
        Store(frame, 36, frame.AsSpan(34, 8));
        return frame;
    }

    /// <summary>The internet checksum (RFC 1071) of bytes in which the field itself counts as zero.</summary>
    private static void Store(byte[] frame, int field, ReadOnlySpan<byte> covered)
    {
        frame[field] = frame[field + 1] = 0;
        uint sum = 0;
        for (int i = 0; i < covered.Length; i++)
            sum += (uint)covered[i] << (i % 2 == 0 ? 8 : 0);
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(field), (ushort)~sum);
    }
}
