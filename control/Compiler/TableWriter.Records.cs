using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    private delegate ref readonly T Reader<T>(int index)
        where T : unmanaged;

    private delegate void Writer<T>(int index, in T record)
        where T : unmanaged;

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
        return records + Write(state.Interfaces, _segment.MaxPorts, _writer.Interface, _writer.SetInterface)
            + Write(state.Tunnels, _segment.MaxPorts, _writer.Tunnel, _writer.SetTunnel);
    }

    private static int Write<T>(IReadOnlyDictionary<int, T> wanted, int end, Reader<T> read, Writer<T> write)
        where T : unmanaged
    {
        int records = 0;
        for (int i = 1; i < end; i++)
        {
            T record = wanted.GetValueOrDefault(i);
            if (!Same(in record, in read(i)))
            {
                write(i, in record);
                records++;
            }
        }
        return records;
    }

    /// <summary>Whether a port's addresses keep their meaning.</summary>
    private static bool SamePlace(ref readonly PortRecord a, ref readonly PortRecord b) =>
        ((a.Flags ^ b.Flags) & PortFlags.Exists) == 0 && a.Bridge == b.Bridge && a.Pvid == b.Pvid && Same(in a.Vlans, in b.Vlans);

    private static bool Same<T>(ref readonly T a, ref readonly T b)
        where T : unmanaged =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in a)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in b)));
}
