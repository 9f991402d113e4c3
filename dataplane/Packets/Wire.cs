using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>Lengths, offsets and numbers of the headers the switch reads, with the standard each comes from.</summary>
public static class Wire
{
    /// <summary>Destination, source, type (IEEE 802.3, 3.1.1).</summary>
    public const int EthernetHeader = 14;
    /// <summary>Where the type, or the tag protocol identifier of a tag, stands.</summary>
    public const int EtherTypeOffset = 12;
    /// <summary>TPID and TCI (IEEE 802.1Q, 9.3).</summary>
    public const int VlanTag = 4;

    public const ushort EtherTypeIPv4 = 0x0800;
    public const ushort EtherTypeArp = 0x0806;
    public const ushort EtherTypeIPv6 = 0x86DD;
    /// <summary>Customer VLAN tag (IEEE 802.1Q, table 9-1).</summary>
    public const ushort EtherTypeVlan = 0x8100;
    /// <summary>Service VLAN tag (IEEE 802.1ad).</summary>
    public const ushort EtherTypeServiceVlan = 0x88A8;

    public const byte ProtocolTcp = 6;
    public const byte ProtocolUdp = 17;
    public const byte ProtocolSctp = 132;

    /// <summary>A 16-bit number in network byte order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ushort Load16(byte* p) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ushort>(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe uint Load32(byte* p) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<uint>(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Store16(byte* p, ushort value) => Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Store32(byte* p, uint value) => Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(value));
}
