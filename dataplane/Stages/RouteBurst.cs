using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>What the loops of <see cref="RouteStage"/> know of a packet.</summary>
[StructLayout(LayoutKind.Explicit, Size = 80)]
public unsafe struct BurstPacket
{
    /// <summary>Of an IPv4 packet with <see cref="TrackedBy.Whole"/> or <see cref="TrackedBy.Open"/>.</summary>
    [FieldOffset(0)] public ConnectionRewrite4 Rewrite;

    /// <summary>Of an IPv4 packet whose connection is looked for: by what, and where that begins.</summary>
    [FieldOffset(16)] public ConnectionKey4 Key;
    [FieldOffset(32)] public ConnectionSlot4* Home;

    /// <summary>When that is done: where the packet goes, and the neighbour's key and bucket.</summary>
    [FieldOffset(16)] public ulong Word;
    [FieldOffset(24)] public NeighbourBucket* Bucket;
    [FieldOffset(32)] public RouteHop* Hop;

    [FieldOffset(40)] public Foreseen Foreseen;

    /// <summary>All of the notes that follow as one number: 0 for a packet that goes step by step.</summary>
    [FieldOffset(48)] public ulong Notes;
    /// <summary>Bytes of the IP packet.</summary>
    [FieldOffset(48)] public ushort Length;
    /// <summary>4, 6, or 0 for a packet that goes step by step.</summary>
    [FieldOffset(50)] public byte Family;
    [FieldOffset(51)] public HopWay Way;
    [FieldOffset(52)] public TrackedBy Connection;
    /// <summary>What becomes of <see cref="Connection"/> where a known one says that addresses and ports are replaced.</summary>
    [FieldOffset(53)] public TrackedBy Translated;
    /// <summary><see cref="Length"/>, <see cref="Family"/> and <see cref="Way"/>.</summary>
    [FieldOffset(48)] public uint Kind;

    [FieldOffset(56)] public rte_mbuf* Mbuf;
    [FieldOffset(64)] public byte* Data;

    /// <summary>Of <see cref="HopWay.Opening"/>.</summary>
    [FieldOffset(72)] public Beginning* Beginning;

    /// <summary><see cref="Kind"/> of an IPv4 packet of no bytes that has no way yet.</summary>
    public const uint Kind4 = 4 << 16;

    /// <summary><see cref="Notes"/> of a packet of no bytes whose way is not known yet.</summary>
    /// <param name="family">4 or 6.</param>
    /// <param name="translated">See <see cref="Translated"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong NotesOf(byte family, TrackedBy translated) => ((ulong)translated << 40) | ((uint)family << 16);
}

/// <summary>What the loops know of a packet that begins a connection with a service, and goes step by step. Index 0 is none: it is not known.</summary>
/// <param name="Frontend">What it is addressed to.</param>
/// <param name="Backend">What it goes to.</param>
public readonly record struct Foreseen(uint Frontend, uint Backend);

/// <summary>What the loops know of a packet's connection.</summary>
public enum TrackedBy : byte
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Its way, and that its addresses and ports stay.</summary>
    Way,
    /// <summary>Its way, and what takes the place of its addresses and ports.</summary>
    Whole,
    /// <summary>As <see cref="Whole"/>, and that its sender left the checksum open.</summary>
    Open,
}

/// <summary>The loops of <see cref="RouteStage"/>. They call nothing, so that what they need stays in registers.</summary>
internal static unsafe partial class RouteBurst
{
    private const byte Tcp = Wire.ProtocolTcp;

    /// <summary>What the interface of a burst asks for at every next hop.</summary>
    /// <param name="Clamps">Lower the maximum segment size of SYNs.</param>
    /// <param name="Masquerades">Replace sources where the next hop's interface has a pool.</param>
    /// <param name="ComesIn">Let nobody in from a pool's side whose connection is not known, to where sources are replaced.</param>
    public readonly record struct Needs(bool Clamps, bool Masquerades, bool ComesIn);

    /// <summary>Begins to send a burst whose routes are found.</summary>
    public static Needs Begin(Worker w, ref readonly InterfaceRecord itf, bool tracks)
    {
        w.Routing.NextBurst();
        // Where the host shares the interface, its own packets may have to be known, too.
        return new Needs(itf.Has(InterfaceFlags.ClampMss), tracks && (itf.Has(InterfaceFlags.Masqueraded) || itf.HostPort != 0), tracks && itf.NatPool != 0);
    }

    /// <summary>
    /// Sends packets as long as they go by ports with addresses that are the same for the whole burst: by gateways, to the host, into
    /// tunnels. What <see cref="Aim"/> and <see cref="Forward"/> do in two loops one does for these. Gives how many were sent.
    /// </summary>
    public static int ForwardStraight(Worker w, in Needs needs, int count, bool tracks, bool has6) => has6
        ? tracks ? ForwardStraight<BothFamilies, Tracked>(w, in needs, count) : ForwardStraight<BothFamilies, Untracked>(w, in needs, count)
        : tracks ? ForwardStraight<OnlyIPv4, Tracked>(w, in needs, count) : ForwardStraight<OnlyIPv4, Untracked>(w, in needs, count);

    private static int ForwardStraight<TFamilies, TTracking>(Worker w, in Needs needs, int count)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        RouteState state = w.Routing;
        for (int i = 0; (i = ForwardStraight<TFamilies, TTracking>(w, i, count)) < count;)
        {
            byte family = state.Entries[i].Family;
            uint index = family == 6 ? state.Results6[i] : state.Results4[i];
            RouteHop* hop = state.Hops + (index % RouteHop.CacheSize);
            if (family == 0 || hop->Burst == state.Burst)
            {
                return i;
            }
            RouteHop.Prepare(w, hop, index, in needs);
            if (!(family == 6 ? hop->IsStraight6 : hop->Straight4 == RouteHop.StraightOf(state.Burst, index)))
            {
                return i;
            }
        }
        return count;
    }

    /// <summary>The loop. Gives the first packet for which more is to be done, or the count.</summary>
    private static int ForwardStraight<TFamilies, TTracking>(Worker w, int i, int count)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        RouteState state = w.Routing;
        RouteHop* hops = state.Hops;
        uint* results = state.Results4;
        uint burst = state.Burst;
        ulong straight = RouteHop.StraightOf(burst, 0);
        BurstPacket* entry = state.Entries + i;
        nint at = i;
        for (nint end = count; at < end; at++, entry++)
        {
            bool isIPv6 = default(TFamilies).Has6 && entry->Family == 6;
            uint index = isIPv6 ? state.Results6[at] : results[at];
            RouteHop* hop = hops + (index % RouteHop.CacheSize);
            if (isIPv6)
            {
                if (((hop->Burst ^ burst) | (hop->Index ^ index)) != 0 || !hop->IsStraight6 || entry->Length > hop->Mtu)
                {
                    break;
                }
            }
            else if (hop->Straight4 != (straight | RouteHop.StraightOf(0, index)) || entry->Kind - BurstPacket.Kind4 > hop->Mtu)
            {
                break; // of another family, too: then the difference is larger than any length
            }
            if (!TryQueue(hop->Output, entry->Mbuf))
            {
                break;
            }
            Rewrite<TFamilies, TTracking>(w, entry, hop->Addresses, hop->AddressesEnd);
        }
        return (int)at;
    }

    /// <summary>Finds the next hop of each packet from a given one on, and asks for the bucket of the neighbour.</summary>
    public static void Aim(Worker w, in Needs needs, bool has6, int first, int count)
    {
        RouteState state = w.Routing;
        for (int i = first; (i = has6 ? Aim<BothFamilies>(w, i, count) : Aim<OnlyIPv4>(w, i, count)) < count;)
        {
            // A next hop that has not been worked out for this burst, or a choice between several.
            BurstPacket* entry = state.Entries + i;
            uint* result = (entry->Family == 4 ? state.Results4 : state.Results6) + i;
            RouteHop* hop = state.Hops + (*result % RouteHop.CacheSize);
            if (hop->Burst == state.Burst)
            {
                i++; // another one has the place, and packets of this burst that go there: this one goes step by step
                continue;
            }
            RouteHop.Prepare(w, hop, *result, in needs);
            if (hop->Usual4 == HopWay.Group)
            {
                *result = Member(w, *result, entry);
            }
        }
    }

    /// <summary>The next hop of a group by which a packet's flow goes.</summary>
    public static uint Member(Worker w, uint group, BurstPacket* entry) => Member(w, group, entry->Data + Wire.EthernetHeader,
        Math.Min(entry->Mbuf->data_len - Wire.EthernetHeader, entry->Length), entry->Family == 6);

    /// <summary>The next hop of a group by which a packet's flow goes. Never a group again.</summary>
    public static uint Member(Worker w, uint group, byte* ip, int length, bool isIPv6)
    {
        uint hash = isIPv6 ? FlowHash.Of6(ip, length) : FlowHash.Of4(ip, length);
        uint member = w.NextHopGroup(w.NextHop((int)group).Group).Members[(int)(hash % NextHopGroup.Buckets)];
        return w.NextHop((int)member).Kind == NextHopKind.Group ? 0 : member;
    }

    /// <summary>Gives the first packet whose next hop is not prepared, or the count.</summary>
    private static int Aim<TFamilies>(Worker w, int i, int count)
        where TFamilies : struct, IFamilies
    {
        RouteState state = w.Routing;
        NeighbourTable neighbours = w.Neighbours;
        RouteHop* hops = state.Hops;
        uint* addresses4 = state.Addresses4, results4 = state.Results4;
        uint burst = state.Burst;
        BurstPacket* entry = state.Entries + i;
        for (; i < count; i++, entry++)
        {
            RouteHop* hop;
            HopWay way;
            ulong word;
            if (entry->Family == 4)
            {
                uint index = results4[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (((hop->Burst ^ burst) | (hop->Index ^ index)) != 0)
                {
                    break;
                }
                entry->Hop = hop;
                way = entry->Length > hop->Mtu ? HopWay.Slow : hop->Way4;
                if (hop->Look4 != HopLook.None && IsToBeSeenTo(entry, hop->Look4, entry->Data[Wire.EthernetHeader + 9], Wire.EthernetHeader + IPv4Header.MinLength))
                {
                    way = HopWay.Slow;
                }
                entry->Way = way;
                if (way is HopWay.Fixed or HopWay.Slow)
                {
                    continue;
                }
                word = hop->Word4 | (addresses4[i] & hop->Mask4);
            }
            else if (default(TFamilies).Has6 && entry->Family == 6)
            {
                uint index = state.Results6[i];
                hop = hops + (index % RouteHop.CacheSize);
                if (((hop->Burst ^ burst) | (hop->Index ^ index)) != 0)
                {
                    break;
                }
                entry->Hop = hop;
                way = entry->Length > hop->Mtu ? HopWay.Slow : hop->Way6;
                if (hop->Look6 != HopLook.None && IsToBeSeenTo(entry, hop->Look6, entry->Data[Wire.EthernetHeader + 6], Wire.EthernetHeader + IPv6Header.Length))
                {
                    way = HopWay.Slow;
                }
                entry->Way = way;
                if (way is HopWay.Fixed or HopWay.Slow)
                {
                    continue;
                }
                IPv6Number* address = state.Addresses6 + i;
                // The slot's own address is compared when the word is found; it is the neighbour's, so it replaces the destination.
                address->High = (address->High & hop->Mask6) | hop->GatewayHigh;
                address->Low = (address->Low & hop->Mask6) | hop->GatewayLow;
                word = neighbours.Word6(hop->OutPort, address->High, address->Low);
            }
            else
            {
                continue;
            }
            NeighbourBucket* bucket = neighbours.Bucket(word);
            NeighbourTable.Prefetch(bucket);
            entry->Word = word;
            entry->Bucket = bucket;
        }
        return i;
    }

    /// <summary>Sends what goes by a port as it is. Gives the first packet that needs more, or the end.</summary>
    public static BurstPacket* Forward(Worker w, BurstPacket* entry, BurstPacket* end, bool tracks, bool has6) => has6
        ? tracks ? Forward<BothFamilies, Tracked>(w, entry, end) : Forward<BothFamilies, Untracked>(w, entry, end)
        : tracks ? Forward<OnlyIPv4, Tracked>(w, entry, end) : Forward<OnlyIPv4, Untracked>(w, entry, end);

    private static BurstPacket* Forward<TFamilies, TTracking>(Worker w, BurstPacket* entry, BurstPacket* end)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        for (; entry < end; entry++)
        {
            RouteHop* hop = entry->Hop;
            ulong addresses;
            uint addressesEnd;
            if (entry->Way == HopWay.Fixed)
            {
                addresses = hop->Addresses;
                addressesEnd = hop->AddressesEnd;
            }
            else if (entry->Way == HopWay.Link)
            {
                ulong neighbour = FindNeighbour<TFamilies>(w, entry);
                if (!NeighbourValue.IsFresh(neighbour))
                {
                    break;
                }
                addresses = hop->AddressesTo(neighbour);
                addressesEnd = hop->EndOfAddresses;
            }
            else
            {
                break;
            }
            if (!TryQueue(hop->Output, entry->Mbuf))
            {
                break;
            }
            Rewrite<TFamilies, TTracking>(w, entry, addresses, addressesEnd);
        }
        return entry;
    }

    /// <summary>Sends what goes by one bridge. Gives the first packet that needs more, or goes elsewhere, or the end.</summary>
    public static BurstPacket* ForwardBridged(Worker w, BurstPacket* entry, BurstPacket* end)
    {
        MacTable macs = w.Macs;
        int router = entry->Hop->OutPort;
        byte* verdicts = w.EgressVerdicts(router);
        ulong fid = MacTable.Key(w.Bridge(w.Port(router).Bridge).FidBase, 0);
        for (; entry < end; entry++)
        {
            RouteHop* hop = entry->Hop;
            if (entry->Way != HopWay.Bridge || hop->OutPort != router)
            {
                break;
            }
            ulong neighbour = FindNeighbour<BothFamilies>(w, entry);
            if (!NeighbourValue.IsFresh(neighbour))
            {
                break;
            }
            ulong key = fid | NeighbourValue.Mac(neighbour);
            ulong value = MacTable.FindFirst(&key, macs.Bucket(key));
            int outPort = MacValue.Port(value);
            if (MacValue.IsDrop(value) || verdicts[outPort] != EgressMatrix.Forward || !w.HasRoom(outPort))
            {
                break;
            }
            Rewrite<BothFamilies, Tracked>(w, entry, hop->AddressesTo(neighbour), hop->EndOfAddresses);
            w.SendRoomy(outPort, entry->Mbuf);
        }
        return entry;
    }

    /// <summary>Puts a packet into a buffer that will be flushed. False when there is no room for one more than that (<see cref="Worker.HasRoom"/>).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryQueue(TxBuffer* output, rte_mbuf* mbuf)
    {
        uint waiting = (uint)output->Count;
        if (waiting >= TxBuffer.Capacity - 1)
        {
            return false;
        }
        output->Mbufs[waiting] = (nint)mbuf;
        output->Count = (int)waiting + 1;
        return true;
    }

    /// <summary>The neighbour's value, where its first bucket has it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong FindNeighbour<TFamilies>(Worker w, BurstPacket* entry)
        where TFamilies : struct, IFamilies
    {
        if (!default(TFamilies).Has6 || entry->Family == 4)
        {
            return NeighbourTable.FindFirst4(&entry->Word, entry->Bucket);
        }
        IPv6Number* address = w.Routing.Addresses6 + (entry - w.Routing.Entries);
        return w.Neighbours.FindFirst6(&entry->Word, entry->Hop->OutPort, address->High, address->Low, entry->Bucket);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rewrite<TFamilies, TTracking>(Worker w, BurstPacket* entry, ulong addresses, uint addressesEnd)
        where TFamilies : struct, IFamilies
        where TTracking : struct, ITracking
    {
        byte* data = entry->Data;
        Unsafe.WriteUnaligned(data, addresses);
        Unsafe.WriteUnaligned(data + 8, addressesEnd);
        bool isIPv4 = !default(TFamilies).Has6 || entry->Family == 4;
        if (default(TTracking).Tracks && entry->Connection >= TrackedBy.Whole)
        {
            if (isIPv4)
            {
                Translate4(entry, data);
            }
            else
            {
                Translate6(w, entry);
            }
        }
        else if (isIPv4)
        {
            IPv4Header.DecrementTtl(data + Wire.EthernetHeader);
        }
        else
        {
            data[Wire.EthernetHeader + 7]--;
        }
    }

    /// <summary>Whether a packet has what its next hop has packets looked at for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsToBeSeenTo(BurstPacket* entry, HopLook look, byte protocol, int transport) =>
        ((look & HopLook.Syn) != 0 && protocol == Tcp && MayBeSyn(entry, transport))
        || ((look & HopLook.Connection) != 0 && entry->Connection == TrackedBy.None);

    /// <summary>Whether IPv6 packets are in a burst; a type, so that there is code for either.</summary>
    private interface IFamilies
    {
        bool Has6 { get; }
    }

    private readonly struct OnlyIPv4 : IFamilies
    {
        public bool Has6 => false;
    }

    private readonly struct BothFamilies : IFamilies
    {
        public bool Has6 => true;
    }

    /// <summary>Whether packets may be of known connections; a type, so that there is code for either.</summary>
    private interface ITracking
    {
        bool Tracks { get; }
    }

    private readonly struct Tracked : ITracking
    {
        public bool Tracks => true;
    }

    private readonly struct Untracked : ITracking
    {
        public bool Tracks => false;
    }

    /// <summary>Whether a TCP packet without IP options is a SYN, or too short to tell.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool MayBeSyn(BurstPacket* entry, int tcp) => entry->Mbuf->data_len < tcp + 20 || (entry->Data[tcp + 13] & 2) != 0;
}
