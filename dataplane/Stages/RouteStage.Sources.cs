using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// Which source a packet has where it leaves: the client's, the router's, or one of a pool.
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
        /// <summary>Somebody calls a backend by its own address: if the connection cannot be known, its packets are routed all the same.</summary>
        public bool IsDirect;
        /// <summary>Somebody outside calls a host that is masqueraded.</summary>
        public bool IsCall;
    }

    private enum SourceChoice
    {
        /// <summary>The packet is of no connection that has to be known.</summary>
        Untracked,
        /// <summary>It was dropped.</summary>
        Refused,
        Chosen,
    }

    /// <summary>Which sources a new connection may have.</summary>
    private static SourceChoice ChooseSources(ref Routed packet, ref readonly NextHopRecord hop, bool masqueraded, ref Sources sources)
    {
        Worker w = packet.Worker;
        ref Tracked tracked = ref packet.Tracked;
        ref readonly InterfaceRecord output = ref w.Interface(hop.Port);
        ref readonly NatPoolRecord pool = ref w.NatPool(output.NatPool);
        bool leaves = hop.Kind != NextHopKind.Local;
        if (masqueraded && !tracked.IsDsr)
        {
            if (!IsFirstOfMasqueraded(ref packet))
            {
                return SourceChoice.Refused;
            }
            ReadAddresses(in pool, in tracked.Flow, ref sources);
            (sources.FirstPort, sources.LastPort) = (pool.FirstPort, pool.LastPort);
            sources.KeepsPort = tracked.To.SourcePort >= pool.FirstPort && tracked.To.SourcePort <= pool.LastPort;
            if (pool.Has(NatPoolFlags.EndpointIndependent) && HasPort(ref packet) && !TryMap(ref packet, ref sources))
            {
                packet.Reject(DropReason.NatPoolExhausted, IcmpError.Prohibited);
                return SourceChoice.Refused;
            }
        }
        else if (tracked.Frontend != 0 && leaves && !tracked.IsDsr && AnswersElsewhere(ref packet, in hop)
            && RouterAddress(ref packet, in hop) is var router && router != default)
        {
            (sources.Addresses[0], sources.Count) = (router, 1);
            (sources.FirstPort, sources.LastPort) = (output.HostPort == 0 ? FirstUserPort : FirstRouterPort, LastRouterPort);
            sources.KeepsPort = output.HostPort == 0;
        }
        else if (tracked.Frontend == 0 && leaves && output.Has(InterfaceFlags.Masqueraded) && IsCallFromOutside(ref packet))
        {
            TakeOwn(ref packet, IsForEndpoint(ref packet), ref sources);
            sources.IsCall = true;
        }
        else if (tracked.Frontend != 0 || (packet.IsFromHost && MayCollide(ref packet, in pool)))
        {
            (sources.Addresses[0], sources.Count) = (tracked.To.Source, 1);
            // The client's address stays, and its port unless another of its connections to the backend has it.
            (sources.FirstPort, sources.LastPort) = tracked.IsDsr ? (tracked.To.SourcePort, tracked.To.SourcePort) : (FirstUserPort, ushort.MaxValue);
        }
        else if (leaves && IsForEndpoint(ref packet))
        {
            TakeOwn(ref packet, true, ref sources);
            sources.IsDirect = true;
        }
        else
        {
            return SourceChoice.Untracked;
        }
        return SourceChoice.Chosen;
    }

    /// <summary>
    /// Whether a packet came by an interface on which answers to it would be masqueraded: its connection is noted, for who was called by
    /// its own address is to answer by it. Nothing of it is replaced.
    /// </summary>
    private static bool IsCallFromOutside(ref Routed packet)
    {
        ref readonly NatPoolRecord pool = ref packet.Worker.NatPool(packet.Interface.NatPool);
        ref PacketFlow flow = ref packet.Tracked.Flow;
        return pool.Serves(packet.IsIPv6) && (flow.TcpFlags & TcpHeader.Rst) == 0
            && (flow.Kind != FlowKind.Echo || IsEchoRequest(ref packet));
    }

    /// <summary>Its own address, and its own port; another one only where that may be another connection's, and only for one that begins.</summary>
    private static void TakeOwn(ref Routed packet, bool mayCollide, ref Sources sources)
    {
        ushort port = packet.Tracked.To.SourcePort;
        (sources.Addresses[0], sources.Count) = (packet.Tracked.To.Source, 1);
        (sources.FirstPort, sources.LastPort) = mayCollide && IsFirst(ref packet) ? (FirstUserPort, ushort.MaxValue) : (port, port);
    }

    /// <summary>
    /// Whether a packet is to a backend's port, and not to a service: its connection is noted, for answers to it could be taken for those to a
    /// connection of a service, between the same client's port and the same backend.
    /// </summary>
    private static bool IsForEndpoint(ref Routed packet)
    {
        EndpointSet endpoints = packet.Worker.Endpoints;
        ref PacketFlow flow = ref packet.Tracked.Flow;
        return flow.Kind == FlowKind.Ports && (flow.TcpFlags & TcpHeader.Rst) == 0 && endpoints.MayHave(flow.IsIPv6, flow.Destination)
            && endpoints.Contains(EndpointSet.Key(flow.Protocol, flow.IsIPv6, flow.Destination, flow.DestinationPort));
    }

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
        // What one turn makes the next one finds, be it another worker's.
        for (int i = sources.KeepsPort ? -1 : 0; i <= Math.Min(range, PortTries); i++)
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
                    break;
                }
            }
        }
        return false;
    }

    /// <summary>The addresses of a pool, the one first that a source always has as long as it has ports left (RFC 4787, 4.1).</summary>
    private static void ReadAddresses(ref readonly NatPoolRecord pool, in PacketFlow flow, ref Sources sources)
    {
        int count = pool.Count(flow.IsIPv6);
        int first = (int)(KeyHash.Mix(flow.Source.High ^ KeyHash.Golden, flow.Source.Low | 1) % (uint)count);
        for (int i = 0; i < count; i++)
        {
            int at = (first + i) % count;
            sources.Addresses[i] = pool.Address(at, flow.IsIPv6);
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
        int count = pool.Count(flow.IsIPv6);
        for (int i = 0; i < count; i++)
        {
            if (flow.Source == pool.Address(i, flow.IsIPv6))
            {
                return true;
            }
        }
        return false;
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
}
