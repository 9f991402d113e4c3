using System.Net;
using System.Runtime.InteropServices;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Engine;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Control.Runtime;

/// <summary>Says what became of resources, from the segment and from what the controller knows. Safe on any thread.</summary>
public sealed unsafe partial class StatusReader(Segment segment, IEngineLink engine, Func<IReadOnlyDictionary<int, PortHealth>> health, string node)
{
    /// <summary>A resource with its status, or null when there is none.</summary>
    public Resource? Find(DesiredState state, Kind kind, string name) => kind switch
    {
        Kind.Network when state.Networks.TryGetValue(name, out NetworkEntry? network) => ResourceKeys.Of(With(state, network)),
        Kind.Port when state.Ports.TryGetValue(name, out PortEntry? port) => ResourceKeys.Of(With(state, port)),
        Kind.TunnelPeer when state.Peers.TryGetValue(name, out PeerEntry? peer) => ResourceKeys.Of(With(state, peer)),
        Kind.Route when state.Routes.TryGetValue(name, out Route? route) => ResourceKeys.Of(With(state, route)),
        Kind.Service when state.Services.Services.TryGetValue(name, out ServiceEntry? service) => ResourceKeys.Of(With(state, service)),
        Kind.PublishedPort when state.Services.Published.TryGetValue(name, out PublishedEntry? published) => ResourceKeys.Of(With(state, published)),
        Kind.Policy when state.Policies.TryGetValue(name, out Policy? policy) => ResourceKeys.Of(With(state, policy)),
        _ => state.Find(kind, name),
    };

    /// <summary>The resource of a change; with its status, where it has one and a state has it as the change made it.</summary>
    public Resource Of(DesiredState state, in ResourceChange change) =>
        change.After is null or StaticMac or Neighbour or Backend || !ReferenceEquals(state.Find(change.Kind, change.Name)?.Content, change.After)
            ? change.Resource
            : Find(state, change.Kind, change.Name)!;

    public Network With(DesiredState state, NetworkEntry network)
    {
        Network copy = network.Spec.Clone();
        ref readonly BridgeRuntime runtime = ref segment.BridgeRuntime[network.Index];
        copy.Status = new NetworkStatus
        {
            Ports = (uint)state.PortsOf(copy.Name).Count(),
            LearnedMacs = (uint)Math.Max(0, runtime.Learned),
            Mac = copy.MacInForce.ToString(),
            Index = (uint)network.Index,
            Aged = runtime.Aged,
            LearnLimited = runtime.LearnLimited,
            Mtu = copy.MtuInForce,
            Vtep = state.Topology.VtepOf(copy.Name)?.Address.ToString() ?? "",
            Peers = (uint)state.PeersOf(copy.Name).Count(),
        };
        if (state.Topology.OfNetwork(copy.Name) is { } router)
        {
            copy.Status.RouterPort = router.Name;
            copy.Status.RouterIndex = (uint)router.Port;
            copy.Status.Vrf = router.Vrf;
        }
        return copy;
    }

    public Port With(DesiredState state, PortEntry port)
    {
        Port copy = port.Spec.Clone();
        health().TryGetValue(port.Index, out PortHealth? known);
        (PortStatus.Types.State oper, string reason) = State(port, known);
        var status = new PortStatus
        {
            State = oper,
            Reason = reason,
            Index = (uint)port.Index,
            Ifindex = (uint)(known?.IfIndex ?? 0),
            Device = copy.DeviceInForce,
            LearnedMacs = (uint)Math.Max(0, segment.PortRuntime[port.Index].Learned),
            Recoveries = (uint)(known?.Recoveries ?? 0),
        };
        Network? network = state.Networks.GetValueOrDefault(copy.Network)?.Spec;
        status.Mtu = copy.MtuInForce(network);
        if (copy.Tap is not null)
        {
            status.Mac = copy.MacInForce(network).ToString();
            status.Addresses.AddRange(copy.AddressesInForce(network).Select(a => a.ToString()));
        }
        else if (segment.PortRuntime[port.Index].Mac is > 0 and ulong mac)
        {
            status.Mac = new MacAddress(mac).ToString();
        }
        copy.Status = status;
        return copy;
    }

    public TunnelPeer With(DesiredState state, PeerEntry peer)
    {
        TunnelPeer copy = peer.Spec.Clone();
        var status = new TunnelPeerStatus
        {
            State = TunnelPeerStatus.Types.State.Up,
            Index = (uint)peer.Index,
            LearnedMacs = (uint)Math.Max(0, segment.PortRuntime[peer.Index].Learned),
        };
        if (WhyDown(state, copy, status) is { } reason)
        {
            status.State = TunnelPeerStatus.Types.State.Down;
            status.Reason = reason;
        }
        copy.Status = status;
        return copy;
    }

    public static Policy With(DesiredState state, Policy policy)
    {
        Policy copy = policy.Clone();
        copy.Status = new PolicyStatus { Ports = (uint)state.PortsWith(policy.Name).Count() };
        return copy;
    }

    public Route With(DesiredState state, Route route)
    {
        Route copy = route.Clone();
        copy.Status = new RouteStatus { State = RouteStatus.Types.State.Active };
        foreach (NextHop hop in route.NextHops)
        {
            if (NextHops.Resolve(state, route, hop) is { } to && state.Topology.Find(to.Port) is { } port)
            {
                copy.Status.NextHops.Add(new ResolvedNextHop
                {
                    Via = to.Via?.ToString() ?? "",
                    Port = port.Name,
                    Network = port.Network,
                    Weight = hop.WeightInForce,
                    Up = IsUp(state, port),
                });
            }
        }
        if (route.NextHops.Count > 0 && copy.Status.NextHops.All(h => !h.Up))
        {
            copy.Status.State = RouteStatus.Types.State.Inactive;
        }
        return copy;
    }

    /// <summary>Whether a port forwards. A router always does.</summary>
    public bool IsUp(DesiredState state, NamedPort port) => port.Role switch
    {
        PortRole.Device => State(state.Ports[port.Name], health().GetValueOrDefault(port.Index)).State == PortStatus.Types.State.Up,
        PortRole.Tunnel => WhyDown(state, state.Peers[port.Name].Spec, new TunnelPeerStatus()) is null,
        _ => engine.WhyUnavailable is null,
    };

    /// <summary>Why packets do not go to a peer, null when they do. Fills in by which way they go.</summary>
    private string? WhyDown(DesiredState state, TunnelPeer peer, TunnelPeerStatus status)
    {
        if (engine.WhyUnavailable is { } reason)
        {
            return reason;
        }
        if (state.Topology.VtepOf(peer.Network) is not { } vtep)
        {
            return $"this node has no tunnel end point for network \"{peer.Network}\": no routed port has an address of its family";
        }
        status.Local = vtep.Address.ToString();
        IPAddress address = IPAddress.Parse(peer.Address);
        Route? route = NextHops.RouteTo(state, vtep.Interface.Vrf, address);
        List<NamedPort> ways = route is null
            ? [.. new[] { state.Topology.OnLink(vtep.Interface.Vrf, address) }.OfType<RoutedInterface>().Select(i => state.Topology.Find(i.Port)!)]
            : [.. route.NextHops.Select(h => NextHops.Resolve(state, route, h)).OfType<ResolvedHop>().Select(h => state.Topology.Find(h.Port)!)];
        if (route is null && ways.Count == 0 && state.Topology.Interfaces.FirstOrDefault(i => i.Vrf == vtep.Interface.Vrf && i.Host is not null) is { } byHost)
        {
            ways.Add(state.Topology.Find(byHost.Port)!);
        }
        status.Interface = ways.Count > 0 ? ways[0].Name : "";
        return ways.Count == 0 ? $"there is no route to {address} in VRF \"{vtep.Interface.Vrf}\""
            : ways.Any(w => w.Role != PortRole.Tunnel && IsUp(state, w)) ? null
            : $"port \"{ways[0].Name}\", by which {address} is reached, is not up";
    }

    /// <summary>Why packets do not flow at all, null when they do.</summary>
    public string? WhyUnhealthy => engine.WhyUnavailable;

    /// <summary>What the engine found out about a port.</summary>
    public PortState EngineState(int index) => (PortState)Volatile.Read(ref *(uint*)&segment.PortRuntime[index].State);

    /// <summary>Why the engine lost a port's device.</summary>
    public string EngineError(int index) => Marshal.GetPInvokeErrorMessage(segment.PortRuntime[index].Error);

    /// <summary>Lifts the switch's own block of a port. False when there is none.</summary>
    /// <param name="index">Index of the port.</param>
    /// <param name="state">What the port is without it: up, or detached.</param>
    public bool ClearErrDisabled(int index, PortState state) =>
        Interlocked.CompareExchange(ref *(uint*)&segment.PortRuntime[index].State, (uint)state, (uint)PortState.ErrDisabled) == (uint)PortState.ErrDisabled;

    private (PortStatus.Types.State State, string Reason) State(PortEntry port, PortHealth? known)
    {
        if (known?.Problem is { } problem)
        {
            return (known.DeviceGone ? PortStatus.Types.State.Lost : PortStatus.Types.State.Down, problem);
        }
        if (engine.WhyUnavailable is { } reason)
        {
            return (PortStatus.Types.State.Down, reason);
        }
        PortState engineState = EngineState(port.Index);
        if (engineState == PortState.ErrDisabled)
        {
            return (PortStatus.Types.State.ErrDisabled, "a bridge protocol data unit arrived on the guarded port");
        }
        if (!port.Spec.EnabledInForce)
        {
            return (PortStatus.Types.State.Down, "disabled by the operator");
        }
        return engineState switch
        {
            PortState.Up => (PortStatus.Types.State.Up, ""),
            PortState.Lost => (PortStatus.Types.State.Lost, $"the device is gone ({EngineError(port.Index)})"),
            _ => (PortStatus.Types.State.Down, "no device is attached"),
        };
    }
}
