using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Packets;

/// <summary>
/// One number per flow: protocol, addresses and ports (RFC 2992; for VXLAN's source port RFC 7348, 5). The same in every process and
/// on every node, so that a flow keeps its way when the switch is started again. Fragments are hashed by their addresses
/// alone, for only the first of them has ports, and all must go one way.
/// </summary>
public static unsafe class FlowHash
{
    private const byte Tcp = Wire.ProtocolTcp, Udp = Wire.ProtocolUdp, Sctp = Wire.ProtocolSctp;

    /// <summary>Of an IPv4 packet.</summary>
    /// <param name="ip">Its header, which has been checked.</param>
    /// <param name="length">Bytes that can be read there.</param>
    public static uint Of4(byte* ip, int length)
    {
        ulong addresses = Unsafe.ReadUnaligned<ulong>(ip + 12);
        byte protocol = IPv4Header.Protocol(ip);
        int transport = IPv4Header.Length(ip);
        return IPv4Header.IsFragment(ip) ? Mix(addresses, 0) : Mix(addresses, Ports(ip + transport, protocol, length - transport));
    }

    /// <summary>Of an IPv6 packet. One with extension headers is hashed by its addresses alone.</summary>
    /// <param name="ip">Its header, which has been checked.</param>
    /// <param name="length">Bytes that can be read there.</param>
    public static uint Of6(byte* ip, int length)
    {
        ulong addresses = 0;
        for (int i = 8; i < IPv6Header.Length; i += 8)
        {
            addresses = Fold(addresses ^ Unsafe.ReadUnaligned<ulong>(ip + i));
        }
        return Mix(addresses, Ports(ip + IPv6Header.Length, IPv6Header.NextHeader(ip), length - IPv6Header.Length));
    }

    /// <summary>Of what an Ethernet frame carries: of its IP packet, else of its addresses and type.</summary>
    /// <param name="data">The frame.</param>
    /// <param name="length">Bytes that can be read there, at least 14.</param>
    /// <param name="tos">Differentiated services and ECN of its IP packet, 0 without one.</param>
    public static uint OfFrame(byte* data, int length, out byte tos) =>
        TryOfPlainFrame(data, length, out uint hash, out tos) ? hash : OfOtherFrame(data, length, out tos);

    /// <summary>
    /// As <see cref="OfFrame"/>, of most frames: of an IPv4 packet, untagged, without options. False for another one. It calls nothing,
    /// so that a loop keeps its registers.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryOfPlainFrame(byte* data, int length, out uint hash, out byte tos)
    {
        const int IP = Wire.EthernetHeader, Transport = IP + IPv4Header.MinLength;
        if (length < Transport + sizeof(uint) || (Unsafe.ReadUnaligned<uint>(data + Wire.EtherTypeOffset) & 0x00FF_FFFF) != 0x0045_0008)
        {
            (hash, tos) = (0, 0);
            return false;
        }
        tos = data[IP + 1];
        uint protocol = IPv4Header.Protocol(data + IP);
        ulong ports = 0;
        if ((protocol == Udp || protocol == Tcp || protocol == Sctp) && !IPv4Header.IsFragment(data + IP))
        {
            ports = ((ulong)protocol << 32) | Unsafe.ReadUnaligned<uint>(data + Transport);
        }
        hash = Mix(Unsafe.ReadUnaligned<ulong>(data + IP + 12), ports);
        return true;
    }

    /// <summary>As <see cref="OfFrame"/>, of any frame.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint OfOtherFrame(byte* data, int length, out byte tos)
    {
        int ip = EthernetFrame.IPOffset(data, length, out bool isIPv6);
        if (ip == 0)
        {
            tos = 0;
            return Mix(Unsafe.ReadUnaligned<ulong>(data), Unsafe.ReadUnaligned<ulong>(data + 6));
        }
        tos = isIPv6 ? IPv6Header.TrafficClass(data + ip) : data[ip + 1];
        return isIPv6 ? Of6(data + ip, length - ip) : Of4(data + ip, length - ip);
    }

    /// <summary>Protocol and ports; of other protocols nothing, as an IPv6 fragment header is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Ports(byte* transport, byte protocol, int length) => protocol is Tcp or Udp or Sctp && length >= 4
        ? ((ulong)protocol << 32) | Unsafe.ReadUnaligned<uint>(transport) : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Mix(ulong addresses, ulong ports) => (uint)(Fold(Fold(addresses) ^ ports) >> 32);

    /// <summary>The product with a number without pattern, both halves folded (wyhash's mixer).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Fold(ulong x)
    {
        const ulong Multiplier = 0x9E37_79B9_7F4A_7C15, Offset = 0xD6E8_FEB8_6659_FD93;
        x ^= Offset;
        ulong high = Bmi2.X64.IsSupported ? Bmi2.X64.MultiplyNoFlags(x, Multiplier) : Math.BigMul(x, Multiplier, out _);
        return high ^ (x * Multiplier);
    }
}
