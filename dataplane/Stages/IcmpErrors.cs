using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Tells a sender why its packet got no further (RFC 792, 1812 4.3 and 5.2.7; RFC 4443).
/// <para>
/// The error goes back to the station that the packet came from, by the interface it came from: no look-up of a route, and no
/// error to anybody else than who sent the packet here, whatever it says its source is. No error tells of an error, of a
/// fragment other than the first, of a packet to many or from nobody in particular. Each worker sends so many errors per
/// interface and second (RFC 1812, 4.3.2.8; RFC 4443, 2.4(f)); the rest goes untold.
/// </para>
/// <para>Whoever calls drops the packet itself, with its reason.</para>
/// </summary>
public static unsafe class IcmpErrors
{
    /// <summary>Errors per second that a worker sends by an interface, and how many of them at once.</summary>
    public const uint PerSecond = 1000, Burst = 100;

    /// <summary>Internetwork control (RFC 1812, 4.3.2.5).</summary>
    private const byte Precedence = 0xC0;
    private const byte Ttl = 64;

    /// <summary>Sends the error, if one may be sent.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which the packet came.</param>
    /// <param name="offending">The packet, an Ethernet header first. It stays the caller's.</param>
    /// <param name="error">What happened to it.</param>
    /// <param name="mtu">With <see cref="IcmpError.TooBig"/>, the MTU of the next hop.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Send(Worker w, int port, rte_mbuf* offending, IcmpError error, uint mtu = 0)
    {
        if (offending->data_len < Wire.EthernetHeader)
        {
            return;
        }
        byte* data = Mbuf.Data(offending);
        ulong source = Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask;
        if (((data[0] | source) & 1) != 0 || source == 0)
        {
            return;
        }
        switch (Wire.Load16(data + Wire.EtherTypeOffset))
        {
            case Wire.EtherTypeIPv4:
                Send4(w, port, offending, source, error, mtu);
                break;
            case Wire.EtherTypeIPv6:
                Send6(w, port, offending, source, error, mtu);
                break;
        }
    }

    private static void Send4(Worker w, int port, rte_mbuf* offending, ulong peer, IcmpError error, uint mtu)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        byte* ip = Mbuf.Data(offending) + Wire.EthernetHeader;
        if (!MayTell4(in itf, offending, ip))
        {
            return;
        }
        uint from = IsLocal(error) ? IPv4Header.Destination(ip) : SourceFor4(w, in itf, IPv4Header.Source(ip));
        if (from == 0 || !TryTake(w, port))
        {
            return;
        }
        int quoted = Math.Min(IPv4Header.TotalLength(ip), IPv4Header.MinReassembly - IPv4Header.MinLength - Icmp.Header);
        rte_mbuf* mbuf = Prepare(w, offending, IPv4Header.MinLength, quoted, Wire.EtherTypeIPv4, out byte* made);
        if (mbuf == null)
        {
            return;
        }
        byte* icmp = made + IPv4Header.MinLength;
        (icmp[0], icmp[1]) = IcmpErrorCodes.Of4(error);
        // The MTU stands in the lower half, and the upper is unused (RFC 1191, 4).
        Wire.Store32(icmp + 4, Math.Min(mtu, ushort.MaxValue));
        Unsafe.WriteUnaligned(icmp + 2, (ushort)0);
        Unsafe.WriteUnaligned(icmp + 2, Checksum.Finish(Checksum.Add(0, icmp, (uint)(Icmp.Header + quoted))));
        IPv4Header.Write(made, (byte)(Precedence | (ip[1] & 0x1C)), IPv4Header.MinLength + Icmp.Header + quoted,
            w.Routing.NextIdentification(), fragment: 0, Ttl, Icmp.Protocol4, from, IPv4Header.Source(ip));
        Tell(w, port, offending, mbuf, peer, icmp);
    }

    private static void Send6(Worker w, int port, rte_mbuf* offending, ulong peer, IcmpError error, uint mtu)
    {
        ref readonly InterfaceRecord itf = ref w.Interface(port);
        byte* ip = Mbuf.Data(offending) + Wire.EthernetHeader;
        if (!MayTell6(offending, ip, out int field))
        {
            return;
        }
        IPv6Number to = IPv6Header.Source(ip);
        IPv6Number from = IsLocal(error) ? IPv6Header.Destination(ip) : SourceFor6(w, in itf, to);
        if (IPAddresses.IsUnspecified(from) || !TryTake(w, port))
        {
            return;
        }
        int quoted = Math.Min(IPv6Header.Length + IPv6Header.PayloadLength(ip), IPv6Header.MinMtu - IPv6Header.Length - Icmp.Header);
        rte_mbuf* mbuf = Prepare(w, offending, IPv6Header.Length, quoted, Wire.EtherTypeIPv6, out byte* made);
        if (mbuf == null)
        {
            return;
        }
        byte* icmp = made + IPv6Header.Length;
        (icmp[0], icmp[1]) = IcmpErrorCodes.Of6(error);
        // The MTU of "packet too big"; of "unrecognized next header", where its number stands (RFC 4443, 3.4).
        Wire.Store32(icmp + 4, error == IcmpError.ProtocolUnreachable ? (uint)field : mtu);
        uint length = (uint)(Icmp.Header + quoted);
        IPv6Header.Write(made, trafficClass: 0, flowLabel: 0, (int)length, Icmp.Protocol6, Ttl, from, to);
        Unsafe.WriteUnaligned(icmp + 2, (ushort)0);
        Unsafe.WriteUnaligned(icmp + 2, Checksum.Finish(Checksum.Add(IPv6Header.PseudoSum(made, Icmp.Protocol6, length), icmp, length)));
        Tell(w, port, offending, mbuf, peer, icmp);
    }

    /// <summary>RFC 1122, 3.2.2; RFC 1812, 4.3.2.7.</summary>
    private static bool MayTell4(ref readonly InterfaceRecord itf, rte_mbuf* offending, byte* ip)
    {
        int readable = offending->data_len - Wire.EthernetHeader;
        if (readable < IPv4Header.MinLength || IPv4Header.TotalLength(ip) > offending->pkt_len - Wire.EthernetHeader)
        {
            return false;
        }
        uint source = IPv4Header.Source(ip), destination = IPv4Header.Destination(ip);
        if (IPAddresses.IsMartian4(source) || IPAddresses.IsSubnetBroadcast(in itf, source)
            || IPAddresses.IsMartian4(destination) || IPAddresses.IsSubnetBroadcast(in itf, destination)
            || (IPv4Header.Fragment(ip) & IPv4Header.OffsetMask) != 0)
        {
            return false;
        }
        int header = IPv4Header.Length(ip);
        return IPv4Header.Protocol(ip) != Icmp.Protocol4 || (readable > header && !Icmp.IsError4(ip[header]));
    }

    /// <summary>RFC 4443, 2.4(e).</summary>
    private static bool MayTell6(rte_mbuf* offending, byte* ip, out int field)
    {
        field = 0;
        if (offending->data_len < Wire.EthernetHeader + IPv6Header.Length
            || IPv6Header.Length + IPv6Header.PayloadLength(ip) > offending->pkt_len - Wire.EthernetHeader)
        {
            return false;
        }
        IPv6Number source = IPv6Header.Source(ip), destination = IPv6Header.Destination(ip);
        if (IPAddresses.IsMartian6(source.High, source.Low) || IPAddresses.IsMartian6(destination.High, destination.Low))
        {
            return false;
        }
        IPv6Payload payload = IPv6Header.Payload(offending, Wire.EthernetHeader);
        field = payload.Field;
        if (payload.IsUnreadable || payload.Protocol != Icmp.Protocol6)
        {
            return !payload.IsUnreadable;
        }
        return !payload.IsLaterFragment && payload.Offset < offending->data_len && !Icmp.IsError6(Mbuf.Data(offending)[payload.Offset]);
    }

    /// <summary>Told by the address that the packet was for (RFC 1122, 3.2.1.3; RFC 4443, 2.2(a)).</summary>
    private static bool IsLocal(IcmpError error) => error is IcmpError.PortUnreachable or IcmpError.ProtocolUnreachable;

    /// <summary>An address of the interface, or if it has none, of another one (RFC 1812, 2.2.7); 0 when nobody has one.</summary>
    private static uint SourceFor4(Worker w, ref readonly InterfaceRecord itf, uint peer)
    {
        ref readonly InterfaceRecord speaker = ref itf;
        if (itf.Count4 == 0)
        {
            speaker = ref w.Interface(w.Routing.Numbered.First4(w, itf.Vrf));
        }
        return InterfaceAddresses.SourceFor4(in speaker, peer);
    }

    /// <summary>
    /// An address of the interface that the peer can know, or if it has none, of another one. Where nobody has one, a link-local
    /// address is better than silence: an error is not answered.
    /// </summary>
    private static IPv6Number SourceFor6(Worker w, ref readonly InterfaceRecord itf, IPv6Number peer)
    {
        IPv6Number own = SourceFor6(in itf, peer);
        if (!IPAddresses.IsUnspecified(own) && (IPAddresses.IsLinkLocal6(peer.High) || !IPAddresses.IsLinkLocal6(own.High)))
        {
            return own;
        }
        IPv6Number other = SourceFor6(in w.Interface(w.Routing.Numbered.First6(w, itf.Vrf)), peer);
        return IPAddresses.IsUnspecified(other) ? own : other;
    }

    /// <summary>
    /// The interface's address on the subnet of the peer, else its first one of the same scope, else its first one (a short form of
    /// RFC 6724, 5); unspecified when it has none.
    /// </summary>
    internal static IPv6Number SourceFor6(ref readonly InterfaceRecord itf, IPv6Number peer)
    {
        IPv6Number best = itf.Count6 != 0 ? itf.Addresses6[0].Address : default;
        bool found = false;
        for (int i = 0; i < itf.Count6; i++)
        {
            InterfaceAddress6 own = itf.Addresses6[i];
            if (own.Contains(peer.High, peer.Low))
            {
                return own.Address;
            }
            if (!found && IPAddresses.IsLinkLocal6(own.Address.High) == IPAddresses.IsLinkLocal6(peer.High))
            {
                (best, found) = (own.Address, true);
            }
        }
        return best;
    }

    private static bool TryTake(Worker w, int port) =>
        w.Routing.Errors.TryTake(port, w.Storm.Now, PerSecond, Burst, shares: 1);

    /// <summary>A packet with room for the headers, and behind it the first bytes of the offending one. Null when no buffer is left.</summary>
    private static rte_mbuf* Prepare(Worker w, rte_mbuf* offending, int header, int quoted, ushort etherType, out byte* ip)
    {
        ip = null;
        rte_mbuf* mbuf = Shim.dps_mbuf_alloc(w.Small.Pointer);
        if (mbuf == null)
        {
            return null;
        }
        byte* data = Mbuf.Data(mbuf);
        int front = Wire.EthernetHeader + header + Icmp.Header;
        // The quotation fits a small buffer: 1,280 bytes at most.
        if (!Mbuf.Read(offending, Wire.EthernetHeader, new Span<byte>(data + front, quoted)))
        {
            w.Free(mbuf);
            return null;
        }
        Wire.Store16(data + Wire.EtherTypeOffset, etherType);
        mbuf->data_len = (ushort)(front + quoted);
        mbuf->pkt_len = mbuf->data_len;
        ip = data + Wire.EthernetHeader;
        return mbuf;
    }

    private static void Tell(Worker w, int port, rte_mbuf* offending, rte_mbuf* mbuf, ulong peer, byte* icmp)
    {
        w.Watcher.StepOf(offending, TraceStep.ErrorSent, port, icmp[0], icmp[1]);
        Responder.Answer(w, port, mbuf, peer);
    }
}
