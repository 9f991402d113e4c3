using System.Buffers.Binary;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>
/// What replacing a pair of addresses or ports does to the sum that an Internet checksum is the complement of (RFC 1624): the complements
/// of the old words and the new words, added up. The sum of swapped words is the swapped sum (RFC 1071, 2(B)), so that it can be worked
/// out from numbers in host order.
/// </summary>
internal static class ConnectionDelta
{
    public static ushort Of4(uint source, uint destination, uint newSource, uint newDestination) =>
        Native((ulong)~source + ~destination + newSource + newDestination);

    public static ushort Of6(IPv6Number source, IPv6Number destination, IPv6Number newSource, IPv6Number newDestination) =>
        Native(Words(~source.High) + Words(~source.Low) + Words(~destination.High) + Words(~destination.Low)
            + Words(newSource.High) + Words(newSource.Low) + Words(newDestination.High) + Words(newDestination.Low));

    public static ushort Of(ushort source, ushort destination, ushort newSource, ushort newDestination) =>
        Native((ulong)(ushort)~source + (ushort)~destination + newSource + newDestination);

    /// <summary>What takes back what a replacement does.</summary>
    public static ushort Reversed(ushort delta) => delta == ushort.MaxValue ? delta : (ushort)~delta;

    private static ulong Words(ulong number) => (number >> 48) + ((number >> 32) & 0xFFFF) + ((number >> 16) & 0xFFFF) + (number & 0xFFFF);

    private static ushort Native(ulong sum) => BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(Checksum.Fold(sum)) : Checksum.Fold(sum);
}
