using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Stages;

/// <summary>
/// The outer headers of a tunnel, made once per burst: a packet gets a copy of them and then what differs, which is the lengths,
/// the ECN field, the UDP source port (and the flow label, RFC 6438), and of the IPv4 checksum the difference that these make.
/// <para>
/// The outer differentiated-services field is 0, whatever the inner one is (the pipe model of RFC 2983, and what kernels do
/// unless told otherwise): a container must not choose the priority of its packets in the underlay. IPv4 packets are not to be
/// fragmented (RFC 7348, 4.3), so their identification says nothing and is 0 (RFC 6864, 4.1).
/// </para>
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct OuterHeaders
{
    private const int IP = Wire.EthernetHeader;
    private const int Udp4 = IP + IPv4Header.MinLength;
    private const int Udp6 = IP + IPv6Header.Length;

    private fixed byte _bytes[96]; // three vectors
    /// <summary>The sum of all that is the same in each packet: of the IPv4 header, or of the IPv6 pseudo-header.</summary>
    private uint _sum;

    /// <summary>Bytes of all headers.</summary>
    public int Length;
    public bool IsIPv6;
    /// <summary>The UDP checksum over IPv6 is to be computed.</summary>
    public bool HasChecksum;

    /// <summary>Makes the headers of a tunnel.</summary>
    /// <param name="tunnel">The tunnel.</param>
    /// <param name="destination">MAC address of the next hop in the underlay.</param>
    /// <param name="source">MAC address of the underlay's interface.</param>
    public void Build(in TunnelRecord tunnel, ulong destination, ulong source)
    {
        IsIPv6 = tunnel.Has(TunnelFlags.IPv6);
        HasChecksum = IsIPv6 && !tunnel.Has(TunnelFlags.ZeroChecksum6);
        Length = IsIPv6 ? VxlanHeader.Overhead6 : VxlanHeader.Overhead4;
        fixed (byte* bytes = _bytes)
        {
            LinkOutput.WriteEthernet(bytes, destination, source, IsIPv6 ? Wire.EtherTypeIPv6 : Wire.EtherTypeIPv4);
            byte* ip = bytes + IP, udp = bytes + (IsIPv6 ? Udp6 : Udp4);
            if (IsIPv6)
            {
                IPv6Header.Write(ip, 0, 0, 0, Wire.ProtocolUdp, tunnel.Ttl, tunnel.Local, tunnel.Remote);
                _sum = Checksum.Fold(IPv6Header.PseudoSum(ip, Wire.ProtocolUdp, 0));
            }
            else
            {
                IPv4Header.Write(ip, 0, 0, 0, IPv4Header.DontFragment, tunnel.Ttl, Wire.ProtocolUdp, (uint)tunnel.Local.Low, (uint)tunnel.Remote.Low);
                _sum = (ushort)~Unsafe.ReadUnaligned<ushort>(ip + 10);
            }
            Unsafe.WriteUnaligned(udp, 0ul);
            Wire.Store16(udp + 2, tunnel.UdpPort);
            VxlanHeader.Write(udp + VxlanHeader.UdpHeader, tunnel.Vni);
        }
    }

    /// <summary>Writes the headers in front of a frame.</summary>
    /// <param name="at"><see cref="Length"/> bytes.</param>
    /// <param name="inner">Bytes of the inner frame.</param>
    /// <param name="hash">Of its flow.</param>
    /// <param name="ecn">Its ECN field.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Write4(byte* at, uint inner, uint hash, byte ecn)
    {
        const int Rest = VxlanHeader.Overhead4 - 32;
        ref byte bytes = ref Unsafe.AsRef(in _bytes[0]);
        Vector256.LoadUnsafe(ref bytes).Store(at);
        Vector256.LoadUnsafe(ref bytes, Rest).Store(at + Rest);
        ushort udpLength = (ushort)(inner + VxlanHeader.Length + VxlanHeader.UdpHeader);
        ushort total = BinaryPrimitives.ReverseEndianness((ushort)(udpLength + IPv4Header.MinLength));
        at[IP + 1] = ecn;
        Unsafe.WriteUnaligned(at + IP + 2, total);
        // In the order of memory the second byte of a word is its upper one here.
        uint sum = _sum + ((uint)ecn << 8) + total;
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        Unsafe.WriteUnaligned(at + IP + 10, (ushort)~sum);
        Wire.Store16(at + Udp4, VxlanHeader.SourcePort(hash));
        Wire.Store16(at + Udp4 + 4, udpLength);
    }

    /// <summary>As <see cref="Write4"/>; the checksum, if there is to be one, is left to <see cref="WriteChecksum6"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Write6(byte* at, uint inner, uint hash, byte ecn)
    {
        const int Rest = VxlanHeader.Overhead6 - 32;
        ref byte bytes = ref Unsafe.AsRef(in _bytes[0]);
        Vector256.LoadUnsafe(ref bytes).Store(at);
        Vector256.LoadUnsafe(ref bytes, 32).Store(at + 32);
        Vector256.LoadUnsafe(ref bytes, Rest).Store(at + Rest);
        ushort udpLength = (ushort)(inner + VxlanHeader.Length + VxlanHeader.UdpHeader);
        Wire.Store32(at + IP, (6u << 28) | ((uint)ecn << 20) | (hash & 0xF_FFFF));
        Wire.Store16(at + IP + 4, udpLength);
        Wire.Store16(at + Udp6, VxlanHeader.SourcePort(hash));
        Wire.Store16(at + Udp6 + 4, udpLength);
    }

    /// <summary>Writes the UDP checksum of a complete outer IPv6 packet.</summary>
    public readonly void WriteChecksum6(rte_mbuf* mbuf)
    {
        byte* udp = Mbuf.Data(mbuf) + Udp6;
        ulong sum = _sum + Unsafe.ReadUnaligned<ushort>(udp + 4);
        ushort checksum = Checksum.Finish(Checksum.AddChain(sum, mbuf, Udp6));
        Unsafe.WriteUnaligned(udp + 6, checksum == 0 ? (ushort)0xFFFF : checksum);
    }
}
