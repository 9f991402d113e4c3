using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Turns desired state into table entries. A function without side effects: the same state gives the same entries, so a
/// reconciler can compare them with what the segment holds.
/// </summary>
public static class StateCompiler
{
    /// <summary>Least depth of a storm-control bucket: a burst of ARP when a host starts should pass.</summary>
    private const uint MinStormBurst = 32;

    /// <summary>Least depths of a policer's buckets, where none is named: TCP needs some packets at once, and one large segment.</summary>
    private const uint MinPacketBurst = 32, MinByteBurst = 65_536, MaxByteBurst = 2_000_000_000;

    /// <summary>Compiles a state that was validated.</summary>
    /// <param name="state">The state.</param>
    /// <param name="node">This node's name, by which backends are its own.</param>
    public static CompiledState Compile(DesiredState state, string node = "")
    {
        IReadOnlyDictionary<int, (int Number, NatPoolRecord Record)> pools = NatCompiler.Pools(state);
        Topology topology = state.Topology;
        var members = new Dictionary<string, PortSet>(StringComparer.Ordinal);
        foreach (NamedPort port in topology.Ports)
        {
            members.TryGetValue(port.Network, out PortSet set);
            PortSet.Add(ref set, port.Index);
            members[port.Network] = set;
        }
        return InnerTables(state, node, new CompiledState
        {
            Bridges = state.Networks.Values.ToDictionary(n => n.Index, n => Record(state, n, members.GetValueOrDefault(n.Spec.Name))),
            Ports = state.Ports.Values.ToDictionary(p => p.Index, p => Compile(p, state.Networks.GetValueOrDefault(p.Spec.Network), state.Policies.GetValueOrDefault(p.Spec.Policy))),
            InnerPorts = state.Networks.Values.Where(n => n.Spec.Router is not null)
                .Select(n => (Index: n.RouterPort, Record: InterfaceCompiler.RouterPort(n)))
                .Concat(state.Peers.Values.Select(p => (p.Index, Record: InterfaceCompiler.TunnelPort(p, state.Networks[p.Spec.Network], topology.VtepOf(p.Spec.Network)))))
                .ToDictionary(p => p.Index, p => p.Record),
            Interfaces = topology.Interfaces.ToDictionary(i => i.Port, i => InterfaceCompiler.Interface(i, pools.GetValueOrDefault(i.Port).Number)),
            Tunnels = state.Peers.Values.Where(p => topology.VtepOf(p.Spec.Network) is not null)
                .ToDictionary(p => p.Index, p => InterfaceCompiler.Tunnel(p, state.Networks[p.Spec.Network].Spec.Vxlan, topology.VtepOf(p.Spec.Network)!)),
            Adjacencies = InterfaceCompiler.Adjacencies(state),
            NatPools = pools.Values.ToDictionary(p => p.Number, p => p.Record),
            MasqueradingVrfs = NatCompiler.Vrfs(state),
        });
    }

    /// <summary>Compiles a change, at a cost that does not depend on how many static MACs, neighbours, routes and services there are besides those it names.</summary>
    /// <param name="change">A step between two states that were validated.</param>
    /// <param name="before">The first of them, compiled.</param>
    /// <param name="everything">The tables may differ from it anywhere.</param>
    /// <param name="node">This node's name.</param>
    public static CompiledChange Compile(StateChange change, CompiledState before, bool everything, string node = "")
    {
        bool records = everything || change.Has(Kind.Network) || change.Has(Kind.Policy) || change.Has(Kind.Port) || change.Has(Kind.TunnelPeer);
        CompiledState after = records ? Compile(change.After, node) : InnerTables(change.After, node, before);
        return everything
            ? new CompiledChange(after, Records: true, Macs: null, Neighbours: null, Routes: null, Services: null, HostRoutes: null)
            : new CompiledChange(
                after, records, MacCompiler.Changed(change), NeighbourCompiler.Changed(change), RouteCompiler.Changed(change), ServiceCompiler.Changed(change, node),
                HostRouteCompiler.Changed(change));
    }

    private static CompiledState InnerTables(DesiredState state, string node, CompiledState records) => records with
    {
        StaticMacs = MacCompiler.All(state),
        Neighbours = NeighbourCompiler.All(state),
        Routes = RouteCompiler.All(state),
        Services = ServiceCompiler.All(state, node),
        ServiceAddresses = ServiceCompiler.Addresses(state),
        HostRoutes = HostRouteCompiler.All(state),
    };

    /// <summary>The first filtering identifier of a network (IEEE 802.1Q, 8.8.8).</summary>
    public static ushort FidBase(NetworkEntry network) =>
        network.FidBlock > 0 ? Fids.BlockBase(network.FidBlock - 1) : (ushort)network.Index;

    private static CompiledPort Compile(PortEntry port, NetworkEntry? network, Policy? policy)
    {
        PortRecord record = network is null ? RoutedRecord(port.Spec) : Record(port.Spec, network);
        if (policy is not null)
        {
            SetPolicy(ref record, policy);
        }
        return new CompiledPort(port.Index, port.Spec.Name, Device(port.Spec, network?.Spec), record);
    }

    private static void SetPolicy(ref PortRecord record, Policy policy)
    {
        if (policy.Isolated && !record.Has(PortFlags.Routed))
        {
            record.Flags |= PortFlags.Isolated;
        }
        if (policy.RateLimit is { } limit)
        {
            record.Flags |= PortFlags.Policed;
            record.PolicePackets = limit.PacketsPerSecond;
            record.PolicePacketBurst = limit.PacketBurst > 0 ? limit.PacketBurst : Math.Max(MinPacketBurst, limit.PacketsPerSecond / 10);
            record.PoliceBytes = limit.BitsPerSecond / 8;
            record.PoliceByteBurst = limit.ByteBurst > 0 ? limit.ByteBurst : (uint)Math.Min(MaxByteBurst, Math.Max(MinByteBurst, limit.BitsPerSecond / 80));
        }
    }

    private static BridgeRecord Record(DesiredState state, NetworkEntry network, PortSet members) => new()
    {
        Flags = BridgeFlags.Exists | (network.Spec.VlanFiltering ? BridgeFlags.VlanAware : 0),
        FidBase = FidBase(network),
        FidMask = network.Spec.VlanFiltering ? (ushort)(Fids.BlockSize - 1) : (ushort)0,
        AgeingSeconds = network.Spec.AgeingInForce,
        LearnLimit = network.Spec.LearnLimit,
        Mac = network.Mac.Value,
        RouterPort = (ushort)network.RouterPort,
        HostPort = (ushort)(state.PortsOf(network.Spec.Name).FirstOrDefault(p => p.Spec.IsHost)?.Index ?? 0),
        Members = members,
    };

    private static PortRecord RoutedRecord(Port port) => new()
    {
        Flags = PortFlags.Exists | PortFlags.Routed | PortFlags.AcceptUntagged | (port.EnabledInForce ? PortFlags.Enabled : 0),
        Mtu = (ushort)port.MtuInForce(null),
    };

    private static PortRecord Record(Port port, NetworkEntry network)
    {
        var record = new PortRecord
        {
            Flags = PortFlags.Exists | Flags(port),
            Bridge = (ushort)network.Index,
            Mtu = (ushort)port.MtuInForce(network.Spec),
            LearnLimit = port.LearnLimit,
        };
        if (port.StormControl is { } storm)
        {
            record.StormRate = storm.PacketsPerSecond;
            record.StormBurst = storm.Burst > 0 ? storm.Burst : Math.Max(MinStormBurst, storm.PacketsPerSecond / 10);
        }
        SetVlans(ref record, port, network.Spec.VlanFiltering);
        return record;
    }

    private static PortFlags Flags(Port port)
    {
        PortFlags flags = PortFlags.None;
        Add(PortFlags.Enabled, port.EnabledInForce);
        Add(PortFlags.Learning, port.LearningInForce);
        Add(PortFlags.Isolated, port.Isolated);
        Add(PortFlags.Hairpin, port.Hairpin);
        Add(PortFlags.FloodUnicast, port.FloodUnknownUnicastInForce);
        Add(PortFlags.FloodMulticast, port.FloodMulticastInForce);
        Add(PortFlags.FloodBroadcast, port.FloodBroadcastInForce);
        Add(PortFlags.BpduGuard, port.BpduGuard);
        Add(PortFlags.Host, port.IsHost);
        return flags;

        void Add(PortFlags flag, bool on) => flags |= on ? flag : 0;
    }

    private static void SetVlans(ref PortRecord record, Port port, bool vlanFiltering)
    {
        if (!vlanFiltering)
        {
            record.Flags |= PortFlags.AcceptUntagged;
        }
        else if (port.Trunk is { } trunk)
        {
            record.Flags |= PortFlags.Trunk;
            record.Vlans = VlanRanges.ToSet(trunk.Vlans);
            if (trunk.Native != 0)
            {
                record.Flags |= PortFlags.AcceptUntagged;
                record.Pvid = (ushort)trunk.Native;
                VlanSet.Add(ref record.Vlans, (int)trunk.Native);
            }
        }
        else
        {
            uint vlan = port.VlanCase == Port.VlanOneofCase.AccessVlan ? port.AccessVlan : Effective.DefaultVlan;
            record.Flags |= PortFlags.AcceptUntagged;
            record.Pvid = (ushort)vlan;
            VlanSet.Add(ref record.Vlans, (int)vlan);
        }
    }

    private static DeviceSpec Device(Port port, Network? network)
    {
        string device = port.DeviceInForce;
        var spec = new DeviceSpec
        {
            Kind = DeviceKind.Memory,
            Device = device,
            EngineSpec = $"memory:{port.Name}",
            Mtu = (int)port.MtuInForce(network),
        };
        return port.AttachmentCase switch
        {
            Port.AttachmentOneofCase.Tap => spec with
            {
                Kind = DeviceKind.Tap,
                EngineSpec = $"tap:{device}",
                Netns = port.Tap.Netns,
                Mac = port.MacInForce(network),
                Addresses = [.. port.AddressesInForce(network)],
                DefaultRoutes = [.. port.DefaultRoutesInForce(network)],
                RouterMac = port.IsHost && network?.Router is not null ? network.SecondMac : null,
            },
            Port.AttachmentOneofCase.Netdev => spec with { Kind = DeviceKind.Netdev, EngineSpec = $"netdev:{device}" },
            Port.AttachmentOneofCase.Dpdk => spec with { Kind = DeviceKind.Dpdk, EngineSpec = $"dpdk:{port.Dpdk.Devargs}", Bind = port.Dpdk.Bind },
            Port.AttachmentOneofCase.Pcap => spec with { Kind = DeviceKind.Pcap, EngineSpec = PcapSpec(port.Pcap) },
            _ => spec,
        };
    }

    private static string PcapSpec(Pcap pcap)
    {
        List<string> parts = [];
        if (pcap.RxFile.Length > 0)
        {
            parts.Add($"rx={pcap.RxFile}");
        }
        if (pcap.TxFile.Length > 0)
        {
            parts.Add($"tx={pcap.TxFile}");
        }
        if (pcap.Loop)
        {
            parts.Add("loop");
        }
        return "pcap:" + string.Join(',', parts);
    }
}
