using System.Runtime.CompilerServices;

namespace Dataplane.Packets;

/// <summary>
/// Explicit congestion notification through a tunnel (RFC 6040). On the way in the outer header gets the inner one's field ("normal
/// mode", 4.1); on the way out the two are combined (4.2), so that a router under the tunnel can mark what it carries.
/// </summary>
public static unsafe class Ecn
{
    public const byte NotCapable = 0, Capable1 = 1, Capable0 = 2, Congestion = 3;

    /// <summary>The lower two bits of the type of service, or of the traffic class.</summary>
    public const byte Mask = 3;

    /// <summary>
    /// The inner field after decapsulation (RFC 6040, figure 4). False when the packet must be dropped: its sender does not know
    /// ECN and would take the mark for nothing.
    /// </summary>
    public static bool TryCombine(int inner, int outer, out byte combined)
    {
        combined = (byte)inner;
        switch (outer)
        {
            case Congestion when inner == NotCapable:
                return false;
            case Congestion:
                combined = Congestion;
                return true;
            case Capable1 when inner == Capable0:
                combined = Capable1;
                return true;
            default:
                return true;
        }
    }

    /// <summary>Whether an outer field can change an inner one at all. Most packets bear one that cannot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Matters(int outer) => (outer & 1) != 0;

    /// <summary>Reads the field of an IP header.</summary>
    public static byte Get(byte* ip, bool isIPv6) => (byte)((isIPv6 ? ip[1] >> 4 : ip[1]) & Mask);

    /// <summary>Writes the field of an IP header, and corrects the checksum of an IPv4 one (RFC 1624).</summary>
    public static void Set(byte* ip, bool isIPv6, byte field)
    {
        if (isIPv6)
        {
            ip[1] = (byte)((ip[1] & ~(Mask << 4)) | (field << 4));
            return;
        }
        ushort before = Unsafe.ReadUnaligned<ushort>(ip);
        ip[1] = (byte)((ip[1] & ~Mask) | field);
        ulong sum = (ulong)(ushort)~Unsafe.ReadUnaligned<ushort>(ip + 10) + (ushort)~before + Unsafe.ReadUnaligned<ushort>(ip);
        Unsafe.WriteUnaligned(ip + 10, Checksum.Finish(sum));
    }
}
