using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>A connection that a packet of a burst is about to begin, as far as that is known before its route is.</summary>
public unsafe struct Beginning
{
    public NewConnection Connection;
    /// <summary>Of the keys of the original direction and of the reply.</summary>
    public ulong Hash, ReplyHash;
    public BurstPacket* Packet;
    /// <summary>Index of the next hop.</summary>
    public uint Route;
}

// What begins a connection goes step by step, one packet after the other, and each would wait for the lines in which its entries are to be. So
// that is worked out beforehand for all packets of a burst; and where no more is to be known than frontend, backend and route, connections are
// begun without going step by step (RouteBurst.Open.cs).
internal static unsafe partial class RouteBurst
{
    /// <summary>
    /// Whether a packet of no connection is for a service. Then notes its frontend, and its backend where that follows from the packet alone, and asks for
    /// the line in which the entry for packets that come back is likely to be: its source may still be replaced. Notes the connection that it may begin
    /// (<see cref="Open"/>).
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="entry">The packet.</param>
    /// <param name="key">Its flow's.</param>
    /// <param name="signal">See <see cref="ConnectionTracking"/>.</param>
    /// <param name="isFirst">The packet can do nothing but begin a connection, and its checksum can be corrected.</param>
    private static bool Foresee(Worker w, BurstPacket* entry, in ConnectionKey key, byte signal, bool isFirst)
    {
        int frontend = w.Services.Find(FrontendKey.Of(key.Vrf, key.Protocol, key.IsIPv6, key.Destination, key.DestinationPort), w.Generation);
        if (frontend == 0)
        {
            return false;
        }
        entry->Foreseen = new Foreseen((uint)frontend, 0);
        ref readonly FrontendRecord service = ref w.Frontend(frontend);
        if (service.Set == 0 || service.Has(FrontendFlags.Affinity))
        {
            return true;
        }
        int chosen = RouteStage.BackendOfFlow(w, in service, entry->Mbuf, key.IsIPv6);
        entry->Foreseen = new Foreseen((uint)frontend, (uint)chosen);
        ref readonly BackendRecord backend = ref w.Backend(chosen);
        RouteState state = w.Routing;
        ref Beginning beginning = ref state.Beginnings[state.BeginningCount];
        ref NewConnection connection = ref beginning.Connection;
        connection.Original = key;
        connection.Reply = new ConnectionKey(key.Vrf, key.Protocol, key.IsIPv6, backend.Address, key.Source, backend.Port, key.SourcePort);
        connection.Frontend = (uint)frontend;
        connection.Backend = (uint)chosen;
        connection.Signal = signal;
        beginning.Hash = w.Connections.Hash(in connection.Original);
        beginning.ReplyHash = w.Connections.Hash(in connection.Reply);
        beginning.Packet = entry;
        w.Connections.PrefetchPlace(beginning.Hash, key.IsIPv6);
        w.Connections.PrefetchPlace(beginning.ReplyHash, key.IsIPv6);
        bool isUsual = isFirst && (service.Flags & (FrontendFlags.Dsr | FrontendFlags.SourceNat)) == 0 && backend.Has(BackendFlags.Exists) && backend.Address != key.Source;
        state.BeginningCount += isUsual ? 1 : 0;
        return true;
    }

    /// <summary>As <see cref="Foresee"/>, for a SYN.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="vrf">VRF in which it is routed.</param>
    /// <param name="entry">A packet that is not a fragment, without options or extension headers.</param>
    /// <param name="isIPv6">Its family.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ForeseeSyn(Worker w, ushort vrf, BurstPacket* entry, bool isIPv6)
    {
        byte* ip = entry->Data + Wire.EthernetHeader;
        int at = Wire.EthernetHeader + (isIPv6 ? IPv6Header.Length : IPv4Header.MinLength);
        byte* tcp = entry->Data + at;
        byte protocol = isIPv6 ? ip[6] : ip[9];
        if (protocol != Tcp || Math.Min(entry->Mbuf->data_len, entry->Length + Wire.EthernetHeader) < at + TcpHeader.MinLength
            || (tcp[TcpHeader.Flags] & (LoudFlags | TcpHeader.Ack)) != TcpHeader.Syn)
        {
            return;
        }
        ulong flow = ConnectionKey.FlowOf(vrf, protocol, Wire.Load32(tcp));
        ConnectionKey key = isIPv6
            ? new ConnectionKey(flow, IPv6Header.Source(ip), IPv6Header.Destination(ip), true)
            : new ConnectionKey(flow, new IPv6Number(0, IPv4Header.Source(ip)), new IPv6Number(0, IPv4Header.Destination(ip)), false);
        Foresee(w, entry, in key, tcp[TcpHeader.Flags], HasOpenChecksum(entry, at, TcpHeader.Checksum));
    }
}
