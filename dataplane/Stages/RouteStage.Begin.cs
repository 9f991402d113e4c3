using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// A connection begins, when it is known where its packets leave: which source they have there, and that both directions can be told
// from all others.
public static unsafe partial class RouteStage
{
    /// <summary>
    /// Ports that are given out where no pool says which: above those from which hosts choose their own (Linux: 32,768 to 60,999), so that
    /// a router that shares its addresses with a host does not meddle with the host's connections.
    /// </summary>
    internal const ushort FirstRouterPort = 61_000;
    private const ushort LastRouterPort = ushort.MaxValue;

    /// <summary>The first port that is not reserved for the system (RFC 6335, 6).</summary>
    private const ushort FirstUserPort = 1024;

    /// <summary>How many ports are tried for a connection. The chance that none of so many is free in a pool that is half full is nil.</summary>
    private const int PortTries = 128;

    /// <summary>Which sources there are for a connection.</summary>
    private struct Sources
    {
        /// <summary>The first <see cref="Count"/> are in use.</summary>
        public NatAddresses6 Addresses;
        public int Count;
        public ushort FirstPort;
        public ushort LastPort;
        /// <summary>The connection's own port is the first one that is tried.</summary>
        public bool KeepsPort;
        /// <summary>They are those of an endpoint mapping (RFC 4787, 4.1).</summary>
        public bool IsMapping;
    }

    /// <summary>
    /// Begins the connection of a packet that is about to leave, if it needs one. False when it needs one and cannot have it; the packet
    /// was dropped then.
    /// </summary>
    private static bool TryBegin(ref Routed packet, ref readonly NextHopRecord hop)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref readonly InterfaceRecord output = ref w.Interface(hop.Port);
        bool leaves = hop.Kind != NextHopKind.Local;
        ref readonly NatPoolRecord pool = ref w.NatPool(output.NatPool);
        // A pool without addresses of a family is none for it.
        bool masqueraded = leaves && packet.Interface.Has(InterfaceFlags.Masqueraded) && pool.Has(NatPoolFlags.Exists)
            && (packet.IsIPv6 ? pool.Count6 : pool.Count4) != 0 && !(packet.IsFromHost && SpeaksForItself(ref packet, in pool));
        if (!tracked.IsNew)
        {
            return !masqueraded || IsToldInside(ref packet);
        }
        var sources = new Sources { KeepsPort = true };
        if (masqueraded && !tracked.IsDsr)
        {
            if (!IsFirstOfMasqueraded(ref packet))
            {
                return false;
            }
            ReadAddresses(in pool, in tracked.Flow, ref sources);
            (sources.FirstPort, sources.LastPort) = (pool.FirstPort, pool.LastPort);
            sources.KeepsPort = tracked.To.SourcePort >= pool.FirstPort && tracked.To.SourcePort <= pool.LastPort;
            if (pool.Has(NatPoolFlags.EndpointIndependent) && HasPort(ref packet) && !TryMap(ref packet, ref sources))
            {
                packet.Reject(DropReason.NatPoolExhausted, IcmpError.Prohibited);
                return false;
            }
        }
        else if (tracked.Frontend != 0 && leaves && !tracked.IsDsr && AnswersElsewhere(ref packet, in hop)
            && RouterAddress(ref packet, in hop) is var router && router != default)
        {
            (sources.Addresses[0], sources.Count) = (router, 1);
            (sources.FirstPort, sources.LastPort) = (FirstRouterPort, LastRouterPort);
            sources.KeepsPort = output.HostPort == 0;
        }
        else if (tracked.Frontend == 0 && leaves && output.Has(InterfaceFlags.Masqueraded) && IsCallFromOutside(ref packet))
        {
            (sources.Addresses[0], sources.Count) = (tracked.To.Source, 1);
            (sources.FirstPort, sources.LastPort) = (tracked.To.SourcePort, tracked.To.SourcePort);
        }
        else if (tracked.Frontend != 0 || (packet.IsFromHost && MayCollide(ref packet, in pool)))
        {
            (sources.Addresses[0], sources.Count) = (tracked.To.Source, 1);
            // The client's address stays, and its port unless another of its connections to the backend has it.
            (sources.FirstPort, sources.LastPort) = tracked.IsDsr ? (tracked.To.SourcePort, tracked.To.SourcePort) : (FirstUserPort, ushort.MaxValue);
        }
        else
        {
            return true;
        }
        return TryInsert(ref packet, in sources, leaves && output.Vrf != 0 ? output.Vrf : packet.Interface.Vrf);
    }

    /// <summary>Makes the entries of a connection, with the first source for which there is none yet.</summary>
    private static bool TryInsert(ref Routed packet, in Sources sources, ushort replyVrf)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref PacketFlow flow = ref tracked.Flow;
        var connection = new NewConnection
        {
            Original = tracked.Key,
            Frontend = (uint)tracked.Frontend,
            Backend = (uint)tracked.Backend,
            Signal = Signal(ref packet),
            Flags = (tracked.IsDsr ? ConnectionFlags.Dsr : 0) | (sources.IsMapping ? ConnectionFlags.EndpointMapped : 0),
        };
        bool hasPort = HasPort(ref packet);
        ushort own = tracked.To.SourcePort;
        int range = sources.LastPort - sources.FirstPort + 1;
        int tries = !hasPort ? 0 : Math.Min(range, PortTries / Math.Max(1, sources.Count));
        for (int n = 0; n < sources.Count; n++)
        {
            IPv6Number address = sources.Addresses[n];
            int at = (int)w.Nat.Next((uint)range);
            for (int i = sources.KeepsPort || !hasPort ? -1 : 0; i < tries; i++)
            {
                ushort port = i < 0 ? own : (ushort)(sources.FirstPort + ((at + i) % range));
                connection.Reply = new ConnectionKey(replyVrf, flow.Protocol, flow.IsIPv6, tracked.To.Destination, address, tracked.To.DestinationPort, port);
                switch (w.Connections.TryInsert(in connection, w.NowSeconds, out ConnectionHandle handle))
                {
                    case InsertResult.Inserted:
                        tracked.Connection = handle;
                        (tracked.To.Source, tracked.To.SourcePort) = (address, port);
                        tracked.Rewriting = tracked.To == Translation.Of(in flow) ? Rewriting.None : Rewriting.Flow;
                        return true;
                    case InsertResult.Exists:
                        return TryJoin(ref packet, handle);
                    case InsertResult.Full:
                        packet.Reject(DropReason.ConnectionTableFull, IcmpError.Prohibited);
                        return false;
                    default:
                        break;
                }
            }
        }
        // RFC 5508, 4.5: a sender for which there is no room is told.
        packet.Reject(DropReason.NatPoolExhausted, IcmpError.Prohibited);
        return false;
    }

    private static bool HasPort(ref Routed packet) => packet.Tracked.Flow.Kind == FlowKind.Ports || IsEchoRequest(ref packet);

    /// <summary>
    /// Narrows the sources down to the one that this inner address and port has towards all destinations; chooses it for the first of
    /// them. False when there is none left.
    /// </summary>
    private static bool TryMap(ref Routed packet, ref Sources sources)
    {
        Worker w = packet.Worker;
        ref PacketFlow flow = ref packet.Tracked.Flow;
        ushort vrf = packet.Interface.Vrf;
        ConnectionKey inner = ConnectionKey.OfEndpoint(vrf, flow.Protocol, flow.IsIPv6, flow.Source, flow.SourcePort);
        int range = sources.LastPort - sources.FirstPort + 1;
        int at = (int)w.Nat.Next((uint)range);
        for (int i = sources.KeepsPort ? -1 : 0; i < Math.Min(range, PortTries); i++)
        {
            if (w.Connections.TryFind(in inner, w.Connections.Hash(in inner), out _, out ConnectionEntry entry))
            {
                sources = new Sources { Count = 1, FirstPort = entry.NewSourcePort, LastPort = entry.NewSourcePort, IsMapping = true };
                sources.Addresses[0] = entry.NewSource;
                return true;
            }
            ushort port = i < 0 ? flow.SourcePort : (ushort)(sources.FirstPort + ((at + i) % range));
            for (int n = 0; n < sources.Count; n++)
            {
                NewConnection mapping = NewConnection.OfEndpoint(vrf, flow.Protocol, flow.IsIPv6, flow.Source, flow.SourcePort, sources.Addresses[n], port);
                if (w.Connections.TryInsert(in mapping, w.NowSeconds, out _) is InsertResult.Inserted or InsertResult.Exists)
                {
                    break; // and found with the next turn
                }
            }
        }
        return false;
    }

    /// <summary>Another worker has made the connection in this instant: it decides.</summary>
    private static bool TryJoin(ref Routed packet, ConnectionHandle handle)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        if (handle.IsNone)
        {
            handle = w.Connections.Find(in tracked.Key);
        }
        // The route that was found is that of another backend, perhaps.
        if (handle.IsNone || !w.Connections.TryRead(handle, out ConnectionEntry entry) || entry.NewDestination != tracked.To.Destination)
        {
            packet.Drop(DropReason.ConnectionTableFull);
            return false;
        }
        tracked.Connection = handle;
        tracked.To = new Translation(entry.NewSource, entry.NewDestination, entry.NewSourcePort, entry.NewDestinationPort);
        tracked.Rewriting = entry.Rewrites ? Rewriting.Flow : Rewriting.None;
        return true;
    }

    /// <summary>The addresses of a pool, the one first that a source always has as long as it has ports left (RFC 4787, 4.1).</summary>
    private static void ReadAddresses(ref readonly NatPoolRecord pool, in PacketFlow flow, ref Sources sources)
    {
        int count = flow.IsIPv6 ? pool.Count6 : pool.Count4;
        int first = (int)(KeyHash.Mix(flow.Source.High ^ KeyHash.Golden, flow.Source.Low | 1) % (uint)count);
        for (int i = 0; i < count; i++)
        {
            int at = (first + i) % count;
            sources.Addresses[i] = flow.IsIPv6 ? pool.Addresses6[at] : new IPv6Number(0, pool.Addresses4[at]);
            // The router's own packets keep their address.
            if (sources.Addresses[i] == flow.Source)
            {
                (sources.Addresses[0], sources.Addresses[i]) = (sources.Addresses[i], sources.Addresses[0]);
            }
        }
        sources.Count = count;
    }

    /// <summary>
    /// Whether the backend would answer the client by another way than this one: because the service says so, because it is the client
    /// itself, or because both are on one link.
    /// </summary>
    private static bool AnswersElsewhere(ref Routed packet, ref readonly NextHopRecord hop)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        if (packet.Worker.Frontend(packet.Tracked.Frontend).Has(FrontendFlags.SourceNat) || packet.Tracked.To.Destination == flow.Source)
        {
            return true;
        }
        return hop.Kind == NextHopKind.Connected && hop.Port == packet.Port && !packet.IsFromHost
            && (flow.IsIPv6 ? InterfaceAddresses.IsOnLink6(in packet.Interface, flow.Source) : InterfaceAddresses.IsOnLink4(in packet.Interface, (uint)flow.Source.Low));
    }

    /// <summary>The router's address towards a next hop; that of another interface where this one has none.</summary>
    private static IPv6Number RouterAddress(ref Routed packet, ref readonly NextHopRecord hop)
    {
        Worker w = packet.Worker;
        ref readonly InterfaceRecord output = ref w.Interface(hop.Port);
        ushort vrf = packet.Interface.Vrf;
        if (packet.IsIPv6)
        {
            ref readonly InterfaceRecord speaker6 = ref output.Count6 != 0 ? ref output : ref w.Interface(w.Routing.Numbered.First6(w, vrf));
            return IcmpErrors.SourceFor6(in speaker6, packet.Destination);
        }
        ref readonly InterfaceRecord speaker = ref output.Count4 != 0 ? ref output : ref w.Interface(w.Routing.Numbered.First4(w, vrf));
        return new IPv6Number(0, InterfaceAddresses.SourceFor4(in speaker, (uint)packet.Destination.Low));
    }

    /// <summary>Whether a connection of the host could be taken for one that the router has given a port to.</summary>
    private static bool MayCollide(ref Routed packet, ref readonly NatPoolRecord pool)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        if (flow.Kind == FlowKind.Ports && flow.SourcePort >= FirstRouterPort)
        {
            return true;
        }
        if (!pool.Has(NatPoolFlags.Exists) || (flow.Kind != FlowKind.Addresses && (flow.SourcePort < pool.FirstPort || flow.SourcePort > pool.LastPort)))
        {
            return false;
        }
        return IsOf(in pool, in flow);
    }

    /// <summary>Whether a packet's source is an address of a pool.</summary>
    private static bool IsOf(ref readonly NatPoolRecord pool, in PacketFlow flow)
    {
        int count = flow.IsIPv6 ? pool.Count6 : pool.Count4;
        for (int i = 0; i < count; i++)
        {
            if (flow.Source == (flow.IsIPv6 ? pool.Addresses6[i] : new IPv6Number(0, pool.Addresses4[i])))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// Whether a packet came by an interface on which answers to it would be masqueraded: its connection is noted, for who was called by
    /// its own address is to answer by it. Nothing of it is replaced.
    /// </summary>
    private static bool IsCallFromOutside(ref Routed packet)
    {
        ref readonly NatPoolRecord pool = ref packet.Worker.NatPool(packet.Interface.NatPool);
        ref PacketFlow flow = ref packet.Tracked.Flow;
        return pool.Has(NatPoolFlags.Exists) && (packet.IsIPv6 ? pool.Count6 : pool.Count4) != 0 && (flow.TcpFlags & TcpHeader.Rst) == 0
            && (flow.Kind != FlowKind.Echo || IsEchoRequest(ref packet));
    }

    /// <summary>
    /// Whether a packet of the host keeps its source: it is one of the pool already, or the packet answers somebody who has asked for the
    /// host by that address, which nobody has tracked.
    /// </summary>
    private static bool SpeaksForItself(ref Routed packet, ref readonly NatPoolRecord pool)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        return IsOf(in pool, in flow) || flow.Kind switch
        {
            FlowKind.Ports => !IsFirst(ref packet),
            FlowKind.Addresses => false,
            _ => !IsEchoRequest(ref packet),
        };
    }

    /// <summary>Whether a packet of no connection may begin one that is masqueraded; drops one that ends something unknown.</summary>
    private static bool IsFirstOfMasqueraded(ref Routed packet)
    {
        ref PacketFlow flow = ref packet.Tracked.Flow;
        bool isAnswer = (flow.TcpFlags & TcpHeader.Rst) != 0 || (flow.Kind == FlowKind.Echo && !IsEchoRequest(ref packet));
        if (!isAnswer)
        {
            return true;
        }
        packet.Drop(DropReason.NoConnection);
        return false;
    }

    /// <summary>
    /// Of what is masqueraded, nothing leaves under its inner address: neither what belongs to no flow, nor an error about nothing that
    /// is known. False when it was dropped.
    /// </summary>
    private static bool IsToldInside(ref Routed packet)
    {
        ref Tracked tracked = ref packet.Tracked;
        if (tracked.Rewriting != Rewriting.None || !tracked.Connection.IsNone || tracked.IsRelated)
        {
            return true;
        }
        packet.Drop(tracked.Flow.Kind == FlowKind.Error ? DropReason.NoConnection : DropReason.NatUnreadable);
        return false;
    }
}
