using System.Runtime.InteropServices;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Engine;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Control.Runtime;

/// <summary>Says what became of resources, from the segment and from what the controller knows. Safe on any thread.</summary>
public sealed unsafe class StatusReader(Segment segment, IEngineLink engine, Func<IReadOnlyDictionary<int, PortHealth>> health)
{
    /// <summary>A resource with its status, or null when there is none.</summary>
    public Resource? Find(DesiredState state, Kind kind, string name) => kind switch
    {
        Kind.Network when state.Networks.TryGetValue(name, out NetworkEntry? network) => ResourceKeys.Of(With(state, network)),
        Kind.Port when state.Ports.TryGetValue(name, out PortEntry? port) => ResourceKeys.Of(With(state, port)),
        _ => state.Find(kind, name),
    };

    /// <summary>The resource of a change; with its status, where a state has it as the change made it.</summary>
    public Resource Of(DesiredState state, in ResourceChange change) => change.After switch
    {
        Network spec when state.Networks.TryGetValue(spec.Name, out NetworkEntry? network) && ReferenceEquals(network.Spec, spec) => ResourceKeys.Of(With(state, network)),
        Port spec when state.Ports.TryGetValue(spec.Name, out PortEntry? port) && ReferenceEquals(port.Spec, spec) => ResourceKeys.Of(With(state, port)),
        _ => change.Resource,
    };

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
        };
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
        Network network = state.Networks[copy.Network].Spec;
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
