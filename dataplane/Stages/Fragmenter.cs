using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Cuts IPv4 packets that are larger than the next hop's MTU (RFC 791, 3.2; RFC 1812, 5.2.6). The fragments are new packets: their
/// payload is copied, for a chain of references costs the receiver more than the copy costs here.
/// </summary>
public static unsafe class Fragmenter
{
    /// <summary>Fragments of the largest packet at the smallest MTU.</summary>
    public const int MaxFragments = (65535 / 8) + 1;

    private const byte EndOfOptions = 0, NoOperation = 1, CopyFlag = 0x80;

    /// <summary>
    /// Cuts a packet whose header has been checked, and which has no work left undone. The packet itself stays as it is.
    /// <see cref="DropReason.Count"/>, or why that cannot be.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="packet">An Ethernet header, and behind it the IPv4 packet to its end.</param>
    /// <param name="mtu">Bytes of IPv4 that fit.</param>
    /// <param name="fragments">Receives the fragments; room for <see cref="MaxFragments"/>.</param>
    /// <param name="count">How many.</param>
    public static DropReason Cut(Worker w, rte_mbuf* packet, int mtu, rte_mbuf** fragments, out int count)
    {
        count = 0;
        byte* ip = Mbuf.Data(packet) + Wire.EthernetHeader;
        int header = IPv4Header.Length(ip), payload = IPv4Header.TotalLength(ip) - header;
        ushort fragment = IPv4Header.Fragment(ip);
        int offset = fragment & IPv4Header.OffsetMask;
        // All fragments but the last hold a multiple of eight bytes.
        int size = (mtu - header) & ~7;
        if (size <= 0 || (offset * 8) + payload > ushort.MaxValue)
        {
            return DropReason.BadIpHeader;
        }
        int n = (payload + size - 1) / size;
        int frame = Wire.EthernetHeader + header + size;
        MbufPool pool = frame <= Offload.Room(w.Small) ? w.Small : w.Large;
        if (n > MaxFragments || frame > Offload.Room(pool) || Shim.dps_mbuf_alloc_bulk(pool.Pointer, fragments, (uint)n) != 0)
        {
            return DropReason.NoBuffer;
        }

        byte* later = stackalloc byte[IPv4Header.MaxLength];
        int laterHeader = LaterHeader(ip, header, later);
        for (int i = 0; i < n; i++)
        {
            int length = Math.Min(size, payload - (i * size));
            bool last = i == n - 1 && (fragment & IPv4Header.MoreFragments) == 0;
            byte* data = Mbuf.Data(fragments[i]);
            byte* own = data + Wire.EthernetHeader;
            int ownHeader = i == 0 ? header : laterHeader;
            Buffer.MemoryCopy(Mbuf.Data(packet), data, Wire.EthernetHeader, Wire.EthernetHeader);
            Buffer.MemoryCopy(i == 0 ? ip : later, own, ownHeader, ownHeader);
            Mbuf.Read(packet, Wire.EthernetHeader + header + (i * size), new Span<byte>(own + ownHeader, length));
            Wire.Store16(own + 2, (ushort)(ownHeader + length));
            Wire.Store16(own + 6, (ushort)((offset + (i * size / 8)) | (last ? 0 : IPv4Header.MoreFragments)));
            IPv4Header.WriteChecksum(own);
            fragments[i]->data_len = (ushort)(Wire.EthernetHeader + ownHeader + length);
            fragments[i]->pkt_len = fragments[i]->data_len;
            fragments[i]->port = packet->port;
        }
        count = n;
        return DropReason.Count;
    }

    /// <summary>The header of all fragments but the first: of the options, those that say so are copied. Gives its length.</summary>
    private static int LaterHeader(byte* ip, int header, byte* later)
    {
        Buffer.MemoryCopy(ip, later, IPv4Header.MaxLength, IPv4Header.MinLength);
        int length = IPv4Header.MinLength;
        for (int at = IPv4Header.MinLength; at < header && ip[at] != EndOfOptions;)
        {
            if (ip[at] == NoOperation)
            {
                at++;
                continue;
            }
            int option = at + 1 < header ? ip[at + 1] : 0;
            if (option < 2 || at + option > header)
            {
                break; // what makes no sense is not copied
            }
            if ((ip[at] & CopyFlag) != 0)
            {
                Buffer.MemoryCopy(ip + at, later + length, IPv4Header.MaxLength - length, option);
                length += option;
            }
            at += option;
        }
        for (; length % 4 != 0; length++)
        {
            later[length] = EndOfOptions;
        }
        later[0] = (byte)(0x40 | (length / 4));
        return length;
    }
}
