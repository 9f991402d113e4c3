using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>Whether the packets of a port are sifted before they are looked up among the connections.</summary>
[Flags]
internal enum SieveUse : byte
{
    /// <summary>Those of both families are.</summary>
    None,
    /// <summary>Of IPv4 packets too few went through lately.</summary>
    Not4 = 1 << 0,
    /// <summary>Of IPv6 packets too few went through lately.</summary>
    Not6 = 1 << 1,
}

// Packets of no connection, and for no service and no backend, are told by their addresses alone (ConnectionMarks, ServiceTable.MayServe,
// EndpointSet.MayHave): they go on as in a VRF
// without connections. For a packet that is not let through this costs some clocks more than it would else, so a port most of whose
// packets are of connections is not sifted: then all are looked up, and what is said about them is the same.
internal static unsafe partial class RouteBurst
{
    /// <summary>One of so many packets has to go through a sieve for it to pay.</summary>
    private const int WorthSifting = 4;

    /// <summary>What lets packets through that can be of no connection.</summary>
    private readonly struct Sieve
    {
        private readonly byte* _sources, _destinations, _services, _endpoints;
        private readonly uint _mask, _serviceMask, _endpointMask;
        private readonly ulong _secret, _host;

        public Sieve(Worker w, ref readonly InterfaceRecord itf, bool isIPv6)
        {
            ConnectionMarks marks = w.Connections.Marks;
            AddressPlaces services = w.Services.Places, endpoints = w.Endpoints.Places;
            _sources = marks.Sources(isIPv6);
            _destinations = marks.Destinations(isIPv6);
            _mask = marks.Mask;
            _services = services.Counts;
            _serviceMask = services.Mask;
            _endpoints = endpoints.Counts;
            _endpointMask = endpoints.Mask;
            _secret = services.Secret;
            _host = itf.HostPort != 0 ? itf.Mac : ulong.MaxValue;
        }

        /// <summary>Whether an IPv4 packet is of no connection, be it one that is gone and remembered, for no service and for no backend.</summary>
        /// <param name="data">The frame.</param>
        /// <param name="destination">Its destination address.</param>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public bool Lets4(byte* data, uint destination)
        {
            // Flags and offset of fragments, time to live, protocol.
            byte* ip = data + Wire.EthernetHeader;
            uint word = Unsafe.ReadUnaligned<uint>(ip + 6);
            uint from = KeyHash.OfAddress4(IPv4Header.Source(ip), _secret), to = KeyHash.OfAddress4(destination, _secret);
            return (Marks(from, to) | (word & AnyFragment)) == 0 && IsKnown((byte)(word >> 24)) && !IsOfHost(data);
        }

        /// <summary>As <see cref="Lets4"/>, for IPv6. One with extension headers is none of these.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public bool Lets6(byte* data)
        {
            byte* ip = data + Wire.EthernetHeader;
            uint from = KeyHash.OfAddress6(IPv6Header.Source(ip), _secret), to = KeyHash.OfAddress6(IPv6Header.Destination(ip), _secret);
            return Marks(from, to) == 0 && IsKnown(ip[6]) && !IsOfHost(data);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private uint Marks(uint from, uint to) =>
            (uint)Volatile.Read(ref _sources[from & _mask]) | Volatile.Read(ref _destinations[to & _mask]) | Volatile.Read(ref _services[to & _serviceMask])
            | Volatile.Read(ref _endpoints[to & _endpointMask]);

        /// <summary>A packet of another protocol may speak of another packet: it is looked at as ever.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static bool IsKnown(byte protocol) => protocol is Tcp or Wire.ProtocolUdp;

        /// <summary>So is one of the host (<see cref="IsPlain"/>).</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private bool IsOfHost(byte* data) => (Unsafe.ReadUnaligned<ulong>(data + 6) & MacAddress.Mask) == _host;
    }

    /// <summary>Lists the IPv4 packets of a burst that are to be looked up among the connections. Gives how many.</summary>
    private static int Sift4(Worker w, ref readonly InterfaceRecord itf, int count)
    {
        RouteState state = w.Routing;
        var sieve = new Sieve(w, in itf, false);
        BurstPacket* entry = state.Entries;
        uint* addresses = state.Addresses4;
        byte* asked = state.Asked;
        for (int i = 0; i < count; i++, entry++)
        {
            if (entry->Family == 4 && !sieve.Lets4(entry->Data, addresses[i]))
            {
                *asked++ = (byte)i;
            }
        }
        return (int)(asked - state.Asked);
    }

    /// <summary>As <see cref="Sift4"/>, for IPv6; all of them are listed when they are not to be sifted.</summary>
    private static int Sift6(Worker w, ref readonly InterfaceRecord itf, bool sifts, int count)
    {
        RouteState state = w.Routing;
        var sieve = new Sieve(w, in itf, true);
        byte* asked = state.Asked;
        for (int i = 0; i < count; i++)
        {
            BurstPacket* entry = state.Entries + i;
            if (entry->Family == 6 && !(sifts && sieve.Lets6(entry->Data)))
            {
                *asked++ = (byte)i;
            }
        }
        return (int)(asked - state.Asked);
    }

    /// <summary>Whether packets are sifted; a type, so that there is code for either.</summary>
    private interface ISifting
    {
        bool Sifts { get; }
    }

    private readonly struct Sifted : ISifting
    {
        public bool Sifts => true;
    }

    private readonly struct Unsifted : ISifting
    {
        public bool Sifts => false;
    }

    /// <summary>Notes whether a port is worth sifting.</summary>
    /// <param name="use">The port's.</param>
    /// <param name="not">The family.</param>
    /// <param name="plain">Packets of a burst that were of no connection and for no service.</param>
    /// <param name="all">All that could be.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Learn(SieveUse* use, SieveUse not, int plain, int all)
    {
        bool pays = plain * WorthSifting >= all;
        *use = pays ? *use & ~not : *use | not;
    }
}
