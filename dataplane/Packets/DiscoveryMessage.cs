using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Packets;

/// <summary>A message of neighbour discovery (RFC 4861, 4).</summary>
public struct DiscoveryMessage
{
    /// <summary>Bytes of a solicitation or advertisement of a neighbour, with one option that holds a link-layer address.</summary>
    public const int Length = 32;

    /// <summary>A message never was forwarded by a router (RFC 4861, 3.1).</summary>
    public const byte HopLimit = 255;

    // Flags of an advertisement, in the first byte behind the checksum.
    public const byte RouterFlag = 0x80, SolicitedFlag = 0x40, OverrideFlag = 0x20;

    private const int MinLength = 24, OptionUnit = 8;
    private const int Flags4 = 4, Targets = 8, Options = 24;
    private const byte SourceOption = 1, TargetOption = 2;

    /// <summary>ff02::1 (RFC 4291, 2.7.1).</summary>
    public static IPv6Number AllNodes => new(0xFF02_0000_0000_0000, 1);

    /// <summary>One of <see cref="Icmp"/>.</summary>
    public byte Type;
    public byte Flags;
    public IPv6Number Source;
    public IPv6Number Destination;
    public IPv6Number Target;
    /// <summary>The link-layer address of the source of a solicitation, or of the target of an advertisement; 0 when it gives none.</summary>
    public ulong Mac;

    /// <summary>Asks whether an address is free (RFC 4862, 5.4.2).</summary>
    public readonly bool IsProbe => IPAddresses.IsUnspecified(Source);

    /// <summary>
    /// Reads a message and validates it (RFC 4861, 6.1, 7.1, 8.1): of a neighbour's the whole of it, of a router's and of a redirect
    /// that it came from this link and is undamaged, since a router does nothing with them. False when it is not valid.
    /// </summary>
    /// <param name="ip">An IPv6 header and what follows it.</param>
    /// <param name="length">Bytes that are there.</param>
    /// <param name="message">The message.</param>
    public static unsafe bool TryRead(byte* ip, int length, out DiscoveryMessage message)
    {
        message = default;
        if (length < IPv6Header.Length + Icmp.Header || ip[0] >> 4 != 6 || IPv6Header.NextHeader(ip) != Icmp.Protocol6
            || IPv6Header.HopLimit(ip) != HopLimit)
        {
            return false;
        }
        int bytes = IPv6Header.PayloadLength(ip);
        byte* icmp = ip + IPv6Header.Length;
        if (bytes < Icmp.Header || bytes > length - IPv6Header.Length || icmp[1] != 0
            || Checksum.Finish(Checksum.Add(IPv6Header.PseudoSum(ip, Icmp.Protocol6, (uint)bytes), icmp, (uint)bytes)) != 0)
        {
            return false;
        }
        message.Type = icmp[0];
        message.Source = IPv6Header.Source(ip);
        message.Destination = IPv6Header.Destination(ip);
        if (message.Type is not (Icmp.NeighbourSolicitation6 or Icmp.NeighbourAdvertisement6))
        {
            return message.Type is Icmp.RouterSolicitation6 or Icmp.RouterAdvertisement6 or Icmp.Redirect6;
        }
        if (bytes < MinLength)
        {
            return false;
        }
        message.Flags = icmp[Flags4];
        message.Target = IPv6Header.Load(icmp + Targets);
        bool isSolicitation = message.Type == Icmp.NeighbourSolicitation6;
        byte wanted = isSolicitation ? SourceOption : TargetOption;
        return TryReadOptions(icmp, bytes, wanted, ref message.Mac)
            && !IPAddresses.IsMartian6(message.Target.High, message.Target.Low)
            && (isSolicitation ? IsSolicitationValid(in message) : IsAdvertisementValid(in message));
    }

    /// <summary>The group that a solicitation for an address goes to (RFC 4291, 2.7.1).</summary>
    public static IPv6Number SolicitedNode(IPv6Number address) =>
        new(0xFF02_0000_0000_0000, 0x0000_0001_FF00_0000 | (address.Low & 0xFF_FFFF));

    /// <summary>The MAC address of an IPv6 group (RFC 2464, 7).</summary>
    public static ulong GroupMac(IPv6Number group) => 0x3333 | ((ulong)System.Buffers.Binary.BinaryPrimitives.ReverseEndianness((uint)group.Low) << 16);

    /// <summary>Writes an IPv6 header and a solicitation or advertisement with the option that its type has.</summary>
    public static unsafe void Write(byte* ip, byte type, byte flags, IPv6Number source, IPv6Number destination, IPv6Number target, ulong mac)
    {
        IPv6Header.Write(ip, trafficClass: 0, flowLabel: 0, Length, Icmp.Protocol6, HopLimit, source, destination);
        byte* icmp = ip + IPv6Header.Length;
        Unsafe.WriteUnaligned(icmp, (ulong)type);
        icmp[Flags4] = flags;
        IPv6Header.Store(icmp + Targets, target);
        // Type and length, then the address.
        byte option = type == Icmp.NeighbourSolicitation6 ? SourceOption : TargetOption;
        Unsafe.WriteUnaligned(icmp + Options, (mac << 16) | (1ul << 8) | option);
        Unsafe.WriteUnaligned(icmp + 2, Checksum.Finish(Checksum.Add(IPv6Header.PseudoSum(ip, Icmp.Protocol6, Length), icmp, Length)));
    }

    private static bool IsSolicitationValid(in DiscoveryMessage message) => message.IsProbe
        ? message.Mac == 0 && message.Destination == SolicitedNode(message.Destination)
        : !IPAddresses.IsMartian6(message.Source.High, message.Source.Low);

    private static bool IsAdvertisementValid(in DiscoveryMessage message) =>
        !IPAddresses.IsMartian6(message.Source.High, message.Source.Low)
        && ((message.Flags & SolicitedFlag) == 0 || !IPAddresses.IsMulticast6(message.Destination.High));

    /// <summary>Every option has a length, and none runs past the end. Those not wanted are skipped (RFC 4861, 4.6).</summary>
    private static unsafe bool TryReadOptions(byte* icmp, int bytes, byte wanted, ref ulong mac)
    {
        for (int at = Options; at < bytes;)
        {
            int length = at + 2 <= bytes ? icmp[at + 1] * OptionUnit : 0;
            if (length == 0 || at + length > bytes)
            {
                return false;
            }
            if (icmp[at] == wanted)
            {
                ulong address = Unsafe.ReadUnaligned<ulong>(icmp + at) >> 16;
                if (length != OptionUnit || address == 0 || (address & 1) != 0)
                {
                    return false; // no Ethernet address of a station
                }
                mac = address;
            }
            at += length;
        }
        return true;
    }
}
