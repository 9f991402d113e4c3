using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Turns desired state into table entries. A function without side effects: the same state gives the same entries, so a
/// reconciler can compare them with what the segment holds.
/// </summary>
public static class StateCompiler
{
    /// <summary>Least depth of a storm-control bucket: a burst of ARP when a host starts should pass.</summary>
    private const uint MinStormBurst = 32;

    /// <summary>Compiles a state that was validated.</summary>
    public static CompiledState Compile(DesiredState state)
    {
        var members = new Dictionary<string, PortSet>(StringComparer.Ordinal);
        var ports = new Dictionary<int, CompiledPort>();
        foreach (PortEntry port in state.Ports.Values)
        {
            NetworkEntry network = state.Networks[port.Spec.Network];
            ports.Add(port.Index, new CompiledPort(port.Index, port.Spec.Name, Device(port.Spec, network.Spec), Record(port.Spec, network)));
            members.TryGetValue(port.Spec.Network, out PortSet set);
            PortSet.Add(ref set, port.Index);
            members[port.Spec.Network] = set;
        }
        var bridges = state.Networks.Values.ToDictionary(n => n.Index, n => Record(n, members.GetValueOrDefault(n.Spec.Name)));
        return new CompiledState(bridges, ports, StaticMacs(state));
    }

    /// <summary>Compiles a change, at a cost that does not depend on how many static MACs there are besides those it names.</summary>
    /// <param name="change">A step between two states that were validated.</param>
    /// <param name="before">The first of them, compiled.</param>
    /// <param name="everything">The tables may differ from it anywhere.</param>
    public static CompiledChange Compile(StateChange change, CompiledState before, bool everything)
    {
        bool records = everything || change.Changes.Any(c => c.Kind != Kind.StaticMac);
        CompiledState after = records ? Compile(change.After) : before with { StaticMacs = StaticMacs(change.After) };
        return new CompiledChange(after, records, everything || MovesFids(change) ? null : ChangedMacs(change));
    }

    /// <summary>Whether a network that stays gets other filtering identifiers, which moves all of its entries.</summary>
    private static bool MovesFids(StateChange change) => change.Changes.Any(c => c.Kind == Kind.Network
        && change.Before.Networks.TryGetValue(c.Name, out NetworkEntry? before)
        && change.After.Networks.TryGetValue(c.Name, out NetworkEntry? after)
        && (FidBase(before) != FidBase(after) || before.Spec.VlanFiltering != after.Spec.VlanFiltering));

    private static CompiledMacs ChangedMacs(StateChange change)
    {
        var set = new List<CompiledMac>();
        var remove = new HashSet<ulong>();
        foreach (ResourceChange resource in change.Changes.Where(c => c.Kind == Kind.StaticMac))
        {
            if (resource.After is StaticMac wanted)
            {
                set.Add(Compile(change.After, wanted));
            }
            else if (resource.Before is StaticMac gone)
            {
                remove.Add(Compile(change.Before, gone).Key);
            }
        }
        remove.ExceptWith(set.Select(m => m.Key));
        return new CompiledMacs(set, [.. remove]);
    }

    private static IEnumerable<CompiledMac> StaticMacs(DesiredState state) => state.StaticMacs.Values.Select(m => Compile(state, m));

    /// <summary>The first filtering identifier of a network (IEEE 802.1Q, 8.8.8).</summary>
    public static ushort FidBase(NetworkEntry network) =>
        network.FidBlock > 0 ? Fids.BlockBase(network.FidBlock - 1) : (ushort)network.Index;

    private static BridgeRecord Record(NetworkEntry network, PortSet members) => new()
    {
        Flags = BridgeFlags.Exists | (network.Spec.VlanFiltering ? BridgeFlags.VlanAware : 0),
        FidBase = FidBase(network),
        FidMask = network.Spec.VlanFiltering ? (ushort)(Fids.BlockSize - 1) : (ushort)0,
        AgeingSeconds = network.Spec.AgeingInForce,
        LearnLimit = network.Spec.LearnLimit,
        Mac = network.Mac.Value,
        Members = members,
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

    private static DeviceSpec Device(Port port, Network network)
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
            },
            Port.AttachmentOneofCase.Dpdk => spec with { Kind = DeviceKind.Dpdk, EngineSpec = $"dpdk:{port.Dpdk.Devargs}" },
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

    private static CompiledMac Compile(DesiredState state, StaticMac mac)
    {
        NetworkEntry network = state.Networks[mac.Network];
        ulong key = MacTable.Key((uint)FidBase(network) + (network.Spec.VlanFiltering ? mac.Vlan : 0), MacAddress.Parse(mac.Mac).Value);
        return mac.TargetCase == StaticMac.TargetOneofCase.Port
            ? new CompiledMac(key, (ushort)state.Ports[mac.Port].Index, MacFlags.Static)
            : new CompiledMac(key, 0, MacFlags.Static | MacFlags.Drop);
    }
}
