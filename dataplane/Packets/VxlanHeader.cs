using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>
/// The VXLAN header (RFC 7348, 5): flags, 24 reserved bits, the network identifier (VNI), 8 reserved bits; and what stands around
/// it. Whoever reads has checked that its bytes are there.
/// </summary>
public static unsafe class VxlanHeader
{
    public const int Length = 8;

    /// <summary>"The VNI is valid."</summary>
    public const byte HasVni = 0x08;

    /// <summary>Source and destination port, length, checksum (RFC 768).</summary>
    public const int UdpHeader = 8;

    /// <summary>Ethernet, IP, UDP and VXLAN header: what an outer packet has in front of the inner frame.</summary>
    public const int Overhead4 = Wire.EthernetHeader + IPv4Header.MinLength + UdpHeader + Length;
    public const int Overhead6 = Wire.EthernetHeader + IPv6Header.Length + UdpHeader + Length;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Vni(byte* header) => Wire.Load32(header + 4) >> 8;

    public static void Write(byte* header, uint vni)
    {
        Wire.Store32(header, (uint)HasVni << 24);
        Wire.Store32(header + 4, vni << 8);
    }

    /// <summary>
    /// The source port of a flow: one of the dynamic ports (RFC 7348, 5; RFC 6335, 6), so that routers on the way spread the
    /// flows of two nodes over their links.
    /// </summary>
    /// <param name="flowHash">See <see cref="FlowHash"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort SourcePort(uint flowHash) => (ushort)(0xC000 | (flowHash >> 18));
}
