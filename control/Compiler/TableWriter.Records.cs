using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    /// <summary>Writes the records that differ from what the segment holds. Gives how many.</summary>
    private int WriteRecords(CompiledState state, Moved moved)
    {
        int records = 0;
        for (int i = 1; i < _segment.MaxPorts; i++)
        {
            PortRecord wanted = state.Ports.TryGetValue(i, out CompiledPort? port) ? port.Record : state.InnerPorts.GetValueOrDefault(i);
            ref readonly PortRecord present = ref _writer.Port(i);
            if (!Same(in wanted, in present))
            {
                if ((present.Flags & PortFlags.Exists) != 0 && !SamePlace(in wanted, in present))
                {
                    moved.Ports.Add(i);
                }
                _writer.SetPort(i, in wanted);
                records++;
            }
        }
        for (int i = 1; i < _segment.MaxBridges; i++)
        {
            BridgeRecord wanted = state.Bridges.GetValueOrDefault(i);
            ref readonly BridgeRecord present = ref _writer.Bridge(i);
            if (!Same(in wanted, in present))
            {
                if ((present.Flags & BridgeFlags.Exists) != 0
                    && ((wanted.Flags & BridgeFlags.Exists) == 0 || wanted.FidBase != present.FidBase))
                {
                    moved.Fids.Add((present.FidBase, present.FidBase + present.FidMask));
                }
                _writer.SetBridge(i, in wanted);
                records++;
            }
        }
        for (int i = 1; i < _segment.MaxPorts; i++)
        {
            InterfaceRecord wanted = state.Interfaces.GetValueOrDefault(i);
            ref readonly InterfaceRecord present = ref _writer.Interface(i);
            if (!Same(in wanted, in present))
            {
                if ((present.Flags & InterfaceFlags.Exists) != 0 && !SameLink(in wanted, in present))
                {
                    moved.Interfaces.Add(i);
                }
                _writer.SetInterface(i, in wanted);
                records++;
            }
            TunnelRecord tunnel = state.Tunnels.GetValueOrDefault(i);
            if (!Same(in tunnel, in _writer.Tunnel(i)))
            {
                _writer.SetTunnel(i, in tunnel);
                records++;
            }
        }
        for (int i = 1; i < _segment.MaxNatPools; i++)
        {
            NatPoolRecord wanted = state.NatPools.GetValueOrDefault(i);
            if (!Same(in wanted, in _writer.NatPool(i)))
            {
                _writer.SetNatPool(i, in wanted);
                records++;
            }
        }
        if (state.NatPools.Count >= _segment.MaxNatPools)
        {
            throw new TableFullException($"{state.NatPools.Count} routed ports have a pool of addresses for NAT, {_segment.MaxNatPools - 1} fit; start the daemon with a larger --max-nat-pools");
        }
        return records;
    }

    /// <summary>Whether an interface's neighbours keep their meaning.</summary>
    private static bool SameLink(ref readonly InterfaceRecord a, ref readonly InterfaceRecord b) =>
        ((a.Flags ^ b.Flags) & InterfaceFlags.Exists) == 0 && a.Vrf == b.Vrf && a.Count4 == b.Count4 && a.Count6 == b.Count6
        && Same(in a.Addresses4, in b.Addresses4) && Same(in a.Addresses6, in b.Addresses6);

    /// <summary>Whether a port's addresses keep their meaning.</summary>
    private static bool SamePlace(ref readonly PortRecord a, ref readonly PortRecord b) =>
        ((a.Flags ^ b.Flags) & PortFlags.Exists) == 0 && a.Bridge == b.Bridge && a.Pvid == b.Pvid && Same(in a.Vlans, in b.Vlans);

    private static bool Same<T>(ref readonly T a, ref readonly T b)
        where T : unmanaged =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in a)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in b)));
}
