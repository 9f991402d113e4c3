using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>A table has no room left, with what the operator can do about it.</summary>
public sealed class TableFullException(string message) : Exception(message);

/// <summary>
/// Brings the segment's tables to a compiled state. It compares with what the segment holds, not with what was written
/// last, so the same call serves a change, a repair, and the adoption of a segment left by another control process.
/// </summary>
public sealed class TableWriter(Segment segment)
{
    private readonly SegmentWriter _writer = new(segment);

    /// <summary>What a commit changed.</summary>
    /// <param name="Records">Port and bridge records.</param>
    /// <param name="StaticMacs">Static MAC entries.</param>
    /// <param name="FlushedMacs">Learned entries that no longer hold.</param>
    public sealed record Outcome(int Records, int StaticMacs, int FlushedMacs);

    /// <summary>
    /// Commits: port and bridge records and static MACs become visible to a burst together. Then addresses are forgotten that
    /// were learned where their port no longer is.
    /// </summary>
    /// <exception cref="TimeoutException">A worker hangs.</exception>
    /// <exception cref="TableFullException">A static MAC did not fit, and nothing of it is visible.</exception>
    public Outcome Commit(CompiledState state) => Commit(new CompiledChange(state, Records: true, Macs: null, Neighbours: null, Routes: null));

    /// <summary>The same for a change, at the cost of what it changes: nothing else is compared.</summary>
    /// <inheritdoc cref="Commit(CompiledState)"/>
    public Outcome Commit(CompiledChange change)
    {
        var movedPorts = new HashSet<int>();
        var goneFids = new List<(int First, int Last)>();
        int records = 0, macs;
        _writer.Begin();
        try
        {
            if (change.Records)
            {
                records = WriteRecords(change.After, movedPorts, goneFids);
            }
            macs = WriteStaticMacs(change.Macs ?? DifferingMacs(change.After));
        }
        catch
        {
            _writer.Abandon();
            throw;
        }
        if (records + macs > 0)
        {
            _writer.Commit();
            _writer.TrySettle();
        }
        else
        {
            _writer.Abandon();
        }
        return new Outcome(records, macs, FlushWhatMoved(movedPorts, goneFids));
    }

    private int WriteRecords(CompiledState state, HashSet<int> movedPorts, List<(int First, int Last)> goneFids)
    {
        int records = 0;
        for (int i = 1; i < segment.MaxPorts; i++)
        {
            PortRecord wanted = state.Ports.TryGetValue(i, out CompiledPort? port) ? port.Record : state.InnerPorts.GetValueOrDefault(i);
            ref readonly PortRecord present = ref _writer.Port(i);
            if (!Same(in wanted, in present))
            {
                if ((present.Flags & PortFlags.Exists) != 0 && !SamePlace(in wanted, in present))
                {
                    movedPorts.Add(i);
                }
                _writer.SetPort(i, in wanted);
                records++;
            }
        }
        for (int i = 1; i < segment.MaxBridges; i++)
        {
            BridgeRecord wanted = state.Bridges.GetValueOrDefault(i);
            ref readonly BridgeRecord present = ref _writer.Bridge(i);
            if (!Same(in wanted, in present))
            {
                if ((present.Flags & BridgeFlags.Exists) != 0
                    && ((wanted.Flags & BridgeFlags.Exists) == 0 || wanted.FidBase != present.FidBase))
                {
                    goneFids.Add((present.FidBase, present.FidBase + present.FidMask));
                }
                _writer.SetBridge(i, in wanted);
                records++;
            }
        }
        return records;
    }

    /// <summary>Waits until no worker uses what the last commit removed.</summary>
    public void Synchronize() => _writer.Synchronize();

    /// <summary>Forgets learned addresses for which a condition holds. Gives how many.</summary>
    public int Flush(Func<MacEntry, bool> condition) =>
        _writer.RemoveMacs((in MacEntry entry, object? _) => (entry.Flags & (MacFlags.Static | MacFlags.Drop)) == 0 && condition(entry));

    /// <summary>Whether a port's addresses keep their meaning.</summary>
    private static bool SamePlace(ref readonly PortRecord a, ref readonly PortRecord b) =>
        ((a.Flags ^ b.Flags) & PortFlags.Exists) == 0 && a.Bridge == b.Bridge && a.Pvid == b.Pvid && Same(in a.Vlans, in b.Vlans);

    private static bool Same<T>(ref readonly T a, ref readonly T b)
        where T : unmanaged =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in a)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in b)));

    /// <summary>All static entries that are wanted, and those in the table that are not.</summary>
    private CompiledMacs DifferingMacs(CompiledState state)
    {
        List<CompiledMac> wanted = [.. state.StaticMacs];
        HashSet<ulong> keys = [.. wanted.Select(m => m.Key)];
        return new CompiledMacs(wanted, [.. segment.Macs.List()
            .Where(e => (e.Flags & MacFlags.Static) != 0)
            .Select(e => MacTable.Key(e.Fid, e.Mac))
            .Where(key => !keys.Contains(key))]);
    }

    private int WriteStaticMacs(CompiledMacs macs)
    {
        int changed = macs.Remove.Count(_writer.RemoveMac);
        foreach (CompiledMac mac in macs.Set)
        {
            ulong present = segment.Macs.Find(mac.Key);
            if (present != 0 && MacValue.Port(present) == mac.Port && MacValue.Flags(present) == mac.Flags)
            {
                continue;
            }
            if (!_writer.SetStaticMac(mac.Key, mac.Port, mac.Flags))
            {
                throw new TableFullException("the MAC table has no room for another static entry; start the daemon with a larger --mac-capacity");
            }
            changed++;
        }
        return changed;
    }

    private int FlushWhatMoved(HashSet<int> ports, List<(int First, int Last)> fids) =>
        ports.Count == 0 && fids.Count == 0
            ? 0
            : Flush(e => ports.Contains(e.Port) || fids.Any(f => e.Fid >= f.First && e.Fid <= f.Last));
}
