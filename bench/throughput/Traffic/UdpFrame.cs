using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Ethernet frames with a UDP packet in them; the smallest have 64 bytes on the wire with IPv4, 66 with IPv6.</summary>
public static unsafe class UdpFrame
{
    /// <summary>Of the smallest frame, without the frame check sequence.</summary>
    public const int Length4 = 60;

    /// <inheritdoc cref="Length4"/>
    public const int Length6 = Wire.EthernetHeader + IPv6Header.Length + UdpHeader;

    private const int UdpHeader = 8;
    private const byte Ttl = 64;
    private const int PortOffset4 = Wire.EthernetHeader + IPv4Header.MinLength, PortOffset6 = Wire.EthernetHeader + IPv6Header.Length;

    /// <summary>With IPv4, of so many bytes and without UDP checksum (RFC 768).</summary>
    public static byte[] Of4(MacAddress destination, MacAddress source, uint from, uint to, ushort sourcePort, ushort destinationPort, int length = Length4)
    {
        byte[] frame = Ethernet(destination, source, Wire.EtherTypeIPv4, length);
        fixed (byte* ip = &frame[Wire.EthernetHeader])
        {
            IPv4Header.Write(ip, 0, length - Wire.EthernetHeader, 0, IPv4Header.DontFragment, Ttl, Wire.ProtocolUdp, from, to);
        }
        return WithPorts(frame, PortOffset4, sourcePort, destinationPort);
    }

    /// <summary>With IPv6, of so many bytes, <see cref="Length6"/> at least.</summary>
    public static byte[] Of6(MacAddress destination, MacAddress source, IPv6Number from, IPv6Number to, ushort sourcePort, ushort destinationPort, int length = Length6)
    {
        length = Math.Max(length, Length6);
        byte[] frame = Ethernet(destination, source, Wire.EtherTypeIPv6, length);
        fixed (byte* ip = &frame[Wire.EthernetHeader])
        {
            IPv6Header.Write(ip, 0, 0, length - PortOffset6, Wire.ProtocolUdp, Ttl, from, to);
        }
        return WithPorts(frame, PortOffset6, sourcePort, destinationPort);
    }

    /// <summary>The same frame, of <see cref="Of4"/>, with its UDP checksum.</summary>
    public static byte[] Summed4(byte[] frame)
    {
        fixed (byte* data = frame)
        {
            byte* udp = data + PortOffset4;
            uint length = (uint)(frame.Length - PortOffset4);
            Wire.Store16(udp + Dataplane.Packets.UdpHeader.Checksum, 0);
            ulong pseudo = Checksum.Add(0, data + Wire.EthernetHeader + 12, 8) + BinaryPrimitives.ReverseEndianness((ushort)(Wire.ProtocolUdp + length));
            ushort sum = Checksum.Finish(Checksum.Add(pseudo, udp, length));
            Unsafe.WriteUnaligned(udp + Dataplane.Packets.UdpHeader.Checksum, sum == 0 ? (ushort)0xFFFF : sum);
        }
        return frame;
    }

    /// <summary>A frame in an outer one of a VXLAN network over IPv4, without UDP checksum (RFC 7348, 5).</summary>
    public static byte[] InVxlan(byte[] inner, MacAddress destination, MacAddress source, uint from, uint to, ushort sourcePort, ushort vxlanPort, uint vni)
    {
        byte[] frame = Ethernet(destination, source, Wire.EtherTypeIPv4, VxlanHeader.Overhead4 + inner.Length);
        fixed (byte* data = frame)
        {
            IPv4Header.Write(data + Wire.EthernetHeader, 0, frame.Length - Wire.EthernetHeader, 0, IPv4Header.DontFragment, Ttl, Wire.ProtocolUdp, from, to);
            VxlanHeader.Write(data + PortOffset4 + UdpHeader, vni);
        }
        inner.CopyTo(frame.AsSpan(VxlanHeader.Overhead4));
        return WithPorts(frame, PortOffset4, sourcePort, vxlanPort);
    }

    private static byte[] Ethernet(MacAddress destination, MacAddress source, ushort type, int length)
    {
        byte[] frame = new byte[length];
        destination.CopyTo(frame);
        source.CopyTo(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(Wire.EtherTypeOffset), type);
        return frame;
    }

    private static byte[] WithPorts(byte[] frame, int at, ushort source, ushort destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at), source);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at + 2), destination);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at + 4), (ushort)(frame.Length - at));
        return frame;
    }
}
