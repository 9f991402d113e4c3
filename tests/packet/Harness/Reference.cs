using System.Buffers.Binary;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// A second, plain reading of packets, word by word as the standards say it, that shares no code with the switch: it checks
/// lengths and checksums and gives back the fields.
/// </summary>
public static class Reference
{
    /// <summary>A TCP or UDP packet whose lengths and checksums are right.</summary>
    public sealed record Packet(int[] Tags, bool V6, int IpId, byte[] IpOptions, byte Protocol, uint Sequence, byte Flags, byte[] Options, byte[] Payload)
    {
        /// <summary>Everything in front of the payload as it came.</summary>
        public required byte[] Headers { get; init; }
    }

    /// <summary>The Internet checksum (RFC 1071).</summary>
    public static ushort Checksum(ReadOnlySpan<byte> data, uint sum = 0)
    {
        for (int i = 0; i < data.Length; i++)
        {
            sum += i % 2 == 0 ? (uint)data[i] << 8 : data[i];
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        return (ushort)~sum;
    }

    /// <summary>The frame with its checksum completed (virtio specification, 5.1.6.2).</summary>
    public static byte[] Finish(Unfinished packet)
    {
        byte[] frame = [.. packet.Frame];
        int field = packet.Vnet.csum_start + packet.Vnet.csum_offset;
        ushort checksum = Checksum(frame.AsSpan(packet.Vnet.csum_start));
        if (checksum == 0 && packet.Vnet.csum_offset == 6)
        {
            checksum = 0xFFFF;
        }
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(field), checksum);
        return frame;
    }

    /// <summary>As <see cref="Finish"/>, read.</summary>
    public static Packet Finished(Unfinished packet) => Read(Finish(packet));

    /// <summary>
    /// The packets that a large one is to become: made field by field from what was read, and so each the only right answer.
    /// </summary>
    public static List<byte[]> Cut(Unfinished large)
    {
        Packet whole = Finished(large);
        bool isTcp = whole.Protocol == Wire.ProtocolTcp;
        int transport = large.Vnet.csum_start;
        int ip = Wire.EthernetHeader + (whole.Tags.Length * Wire.VlanTag);
        byte[][] payloads = [.. whole.Payload.Chunk(large.Vnet.gso_size)];
        var frames = new List<byte[]>();
        for (int i = 0; i < payloads.Length; i++)
        {
            byte[] frame = [.. whole.Headers, .. payloads[i]];
            if (whole.V6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(ip + 4), (ushort)(frame.Length - ip - 40));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(ip + 2), (ushort)(frame.Length - ip));
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(ip + 4), (ushort)(whole.IpId + i));
                frame.AsSpan(ip + 10, 2).Clear();
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(ip + 10), Checksum(frame.AsSpan(ip, transport - ip)));
            }
            if (isTcp)
            {
                BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(transport + 4), whole.Sequence + (uint)(i * large.Vnet.gso_size));
                int flags = whole.Flags;
                flags &= i == payloads.Length - 1 ? 0xFF : ~(Inet.Fin | Inet.Psh);
                flags &= i == 0 ? 0xFF : ~Inet.Cwr;
                frame[transport + 13] = (byte)flags;
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(transport + 4), (ushort)(frame.Length - transport));
            }
            int field = transport + large.Vnet.csum_offset;
            frame.AsSpan(field, 2).Clear();
            ushort checksum = Checksum(frame.AsSpan(transport), Pseudo(frame, ip, whole.V6, whole.Protocol, transport));
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(field), checksum == 0 && !isTcp ? (ushort)0xFFFF : checksum);
            frames.Add(frame);
        }
        return frames;
    }

    /// <summary>Reads a frame; a test fails when something in it is not right.</summary>
    public static Packet Read(byte[] frame)
    {
        var tags = new List<int>();
        int at = 12;
        int type;
        while ((type = Word(frame, at)) is 0x8100 or 0x88A8)
        {
            tags.Add(Word(frame, at + 2));
            at += 4;
        }
        at += 2;
        bool v6 = type == 0x86DD;
        Assert.True(v6 || type == 0x0800, $"type {type:x4}");
        int ip = at, transport;
        byte protocol;
        if (v6)
        {
            Assert.Equal(6, frame[ip] >> 4);
            Assert.Equal(frame.Length - ip - 40, Word(frame, ip + 4));
            protocol = frame[ip + 6];
            transport = ip + 40;
            if (protocol == 60)
            {
                protocol = frame[transport];
                transport += (frame[transport + 1] + 1) * 8;
            }
        }
        else
        {
            Assert.Equal(4, frame[ip] >> 4);
            Assert.Equal(frame.Length - ip, Word(frame, ip + 2));
            transport = ip + ((frame[ip] & 15) * 4);
            Assert.Equal(0, Checksum(frame.AsSpan(ip, transport - ip)));
            protocol = frame[ip + 9];
        }

        int length = frame.Length - transport;
        Assert.Equal(0, Checksum(frame.AsSpan(transport), Pseudo(frame, ip, v6, protocol, transport)));
        int payload = transport + (protocol == Wire.ProtocolTcp ? (frame[transport + 12] >> 4) * 4 : 8);
        bool isTcp = protocol == Wire.ProtocolTcp;
        if (!isTcp)
        {
            Assert.Equal(17, protocol);
            Assert.Equal(length, Word(frame, transport + 4));
            Assert.NotEqual(0, Word(frame, transport + 6)); // "no checksum" (RFC 768)
        }
        return new Packet(
            [.. tags], v6, v6 ? 0 : Word(frame, ip + 4), frame[(ip + (v6 ? 40 : 20))..transport], protocol,
            isTcp ? BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(transport + 4)) : 0,
            isTcp ? frame[transport + 13] : (byte)0,
            isTcp ? frame[(transport + 20)..payload] : [],
            frame[payload..])
        {
            Headers = frame[..payload],
        };
    }

    /// <summary>The sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).</summary>
    private static uint Pseudo(byte[] frame, int ip, bool v6, byte protocol, int transport)
    {
        uint sum = protocol + (uint)(frame.Length - transport);
        for (int i = v6 ? ip + 8 : ip + 12; i < (v6 ? ip + 40 : ip + 20); i += 2)
        {
            sum += (uint)Word(frame, i);
        }
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (sum & 0xFFFF) + (sum >> 16);
    }

    private static int Word(byte[] frame, int at) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(at));
}
