using System.Buffers.Binary;
using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>The two ends of a UDP packet over IPv4, in host order.</summary>
public readonly record struct UdpFlow(uint Source, ushort SourcePort, uint Destination, ushort DestinationPort);

/// <summary>UDP packets of 64 bytes on the wire (60 without the frame check sequence), with right checksums.</summary>
public static unsafe class UdpPackets
{
    private const int Length = 60, Transport = Wire.EthernetHeader + IPv4Header.MinLength;

    /// <summary>Writes a packet of each flow, in an order that says nothing about where a table keeps it, the same each time.</summary>
    /// <param name="path">The capture file.</param>
    /// <param name="destination">MAC address of the router.</param>
    /// <param name="source">MAC address of the station.</param>
    /// <param name="flows">All of them.</param>
    public static void Write(string path, MacAddress destination, MacAddress source, IReadOnlyList<UdpFlow> flows)
    {
        const int Seed = 768;
        int[] order = [.. Enumerable.Range(0, flows.Count)];
        new Random(Seed).Shuffle(order);
        using var file = new PcapWriter(path);
        byte[] packet = new byte[Length];
        destination.CopyTo(packet);
        source.CopyTo(packet.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(Wire.EtherTypeOffset), Wire.EtherTypeIPv4);
        foreach (int i in order)
        {
            Fill(packet, flows[i]);
            file.Write(packet);
        }
    }

    private static void Fill(byte[] packet, UdpFlow flow)
    {
        fixed (byte* data = packet)
        {
            byte* ip = data + Wire.EthernetHeader, udp = data + Transport;
            int length = Length - Transport;
            IPv4Header.Write(ip, tos: 0, Length - Wire.EthernetHeader, identification: 0, IPv4Header.DontFragment, ttl: 64, Wire.ProtocolUdp,
                flow.Source, flow.Destination);
            Wire.Store16(udp, flow.SourcePort);
            Wire.Store16(udp + 2, flow.DestinationPort);
            Wire.Store16(udp + 4, (ushort)length);
            Wire.Store16(udp + UdpHeader.Checksum, 0);
            ulong pseudo = Checksum.Add(0, ip + 12, 8) + BinaryPrimitives.ReverseEndianness((ushort)(Wire.ProtocolUdp + length));
            ushort sum = Checksum.Finish(Checksum.Add(pseudo, udp, (uint)length));
            *(ushort*)(udp + UdpHeader.Checksum) = sum == 0 ? (ushort)0xFFFF : sum;
        }
    }
}
