using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>An IPv6 header as bytes (RFC 8200, 3). Whoever reads has checked that its 40 bytes are there.</summary>
public static unsafe class IPv6Header
{
    public const int Length = 40;

    /// <summary>Every link carries so much, and an ICMPv6 error has no more (RFC 8200, 5; RFC 4443, 2.4(c)).</summary>
    public const int MinMtu = 1280;

    // Extension headers (RFC 8200, 4.1).
    public const byte HopByHop = 0, Routing = 43, FragmentHeader = 44, Authentication = 51, NoNextHeader = 59, DestinationOptions = 60;

    /// <summary>Bytes behind the header.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int PayloadLength(byte* ip) => Wire.Load16(ip + 4);

    /// <summary>Differentiated services and ECN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte TrafficClass(byte* ip) => (byte)(Wire.Load16(ip) >> 4);

    public static byte NextHeader(byte* ip) => ip[6];
    public static byte HopLimit(byte* ip) => ip[7];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static IPv6Number Source(byte* ip) => Load(ip + 8);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static IPv6Number Destination(byte* ip) => Load(ip + 24);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static IPv6Number Load(byte* p) => new(
        BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(p)), BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(p + 8)));

    public static void Store(byte* p, IPv6Number address)
    {
        Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(address.High));
        Unsafe.WriteUnaligned(p + 8, BinaryPrimitives.ReverseEndianness(address.Low));
    }

    /// <summary>Writes a header.</summary>
    /// <param name="ip">40 bytes.</param>
    /// <param name="trafficClass">Differentiated services and ECN.</param>
    /// <param name="flowLabel">20 bits.</param>
    /// <param name="payloadLength">Bytes behind the header.</param>
    /// <param name="nextHeader">What follows.</param>
    /// <param name="hopLimit">Hop limit.</param>
    /// <param name="source">Source address.</param>
    /// <param name="destination">Destination address.</param>
    public static void Write(byte* ip, byte trafficClass, uint flowLabel, int payloadLength, byte nextHeader, byte hopLimit,
        IPv6Number source, IPv6Number destination)
    {
        Wire.Store32(ip, (6u << 28) | ((uint)trafficClass << 20) | (flowLabel & 0xF_FFFF));
        Wire.Store16(ip + 4, (ushort)payloadLength);
        ip[6] = nextHeader;
        ip[7] = hopLimit;
        Store(ip + 8, source);
        Store(ip + 24, destination);
    }

    /// <summary>The sum of the pseudo-header (RFC 8200, 8.1), to go on with.</summary>
    public static ulong PseudoSum(byte* ip, byte protocol, uint length) =>
        Checksum.Add(0, ip + 8, 32) + ((ulong)protocol << 8) + BinaryPrimitives.ReverseEndianness((ushort)length)
        + BinaryPrimitives.ReverseEndianness((ushort)(length >> 16));

    /// <summary>Past the extension headers of a packet, as far as they lie in its first buffer.</summary>
    /// <param name="mbuf">The packet.</param>
    /// <param name="ip">Where the IPv6 header stands in it, in bytes.</param>
    public static IPv6Payload Payload(rte_mbuf* mbuf, int ip)
    {
        byte* data = Mbuf.Data(mbuf);
        var payload = new IPv6Payload { Protocol = data[ip + 6], Offset = ip + Length, Field = 6 };
        // More headers than any honest packet has are none of a router's business (RFC 8504, 5.3).
        for (int headers = 0; headers < 8; headers++)
        {
            int at = payload.Offset;
            if (payload.Protocol is not (HopByHop or Routing or FragmentHeader or Authentication or DestinationOptions))
            {
                return payload;
            }
            if (at + 8 > mbuf->data_len)
            {
                break;
            }
            byte kind = payload.Protocol;
            payload.Protocol = data[at];
            payload.Field = at - ip;
            if (kind == FragmentHeader)
            {
                payload.Fragment = at;
                payload.Offset = at + 8;
                if ((Wire.Load16(data + at + 2) & 0xFFF8) != 0)
                {
                    payload.IsLaterFragment = true;
                    return payload; // what follows is the middle of something
                }
                continue;
            }
            payload.Offset = at + (kind == Authentication ? (data[at + 1] + 2) * 4 : (data[at + 1] + 1) * 8);
        }
        payload.Protocol = NoNextHeader;
        payload.IsUnreadable = true;
        return payload;
    }
}

/// <summary>What follows the IPv6 header and its extension headers.</summary>
public struct IPv6Payload
{
    public byte Protocol;
    /// <summary>Where it stands, in bytes from the start of the packet. It may run past the end.</summary>
    public int Offset;
    /// <summary>Where the number of <see cref="Protocol"/> stands, in bytes from the IPv6 header.</summary>
    public int Field;
    /// <summary>Where the fragment header stands, 0 when there is none.</summary>
    public int Fragment;
    /// <summary>Not the first of several fragments: there is no transport header.</summary>
    public bool IsLaterFragment;
    /// <summary>The headers run past the first buffer, or there are too many of them.</summary>
    public bool IsUnreadable;
}
