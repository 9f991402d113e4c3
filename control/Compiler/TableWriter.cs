using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>A table has no room left, with what the operator can do about it.</summary>
public sealed class TableFullException(string message) : Exception(message);

/// <summary>
/// Brings the segment's tables to a compiled state. It compares with what the segment holds, not with what was written
/// last, so the same call serves a change, a repair, and the adoption of a segment left by another control process.
/// </summary>
public sealed partial class TableWriter
{
    private readonly Segment _segment;
    private readonly SegmentWriter _writer;
    private readonly NextHopTable _nextHops;
    private readonly ServiceRegister _services;

    public TableWriter(Segment segment)
    {
        _segment = segment;
        _writer = new SegmentWriter(segment);
        _nextHops = new NextHopTable(segment, _writer);
        _services = new ServiceRegister(segment, _writer);
    }

    /// <summary>What a commit changed.</summary>
    /// <param name="Records">Records of ports, bridges, interfaces and tunnels.</param>
    /// <param name="StaticMacs">Static MAC entries.</param>
    /// <param name="FlushedMacs">Learned entries that no longer hold.</param>
    /// <param name="Routes">Routes.</param>
    /// <param name="Neighbours">Neighbours, those included that were learned where they cannot be any more.</param>
    /// <param name="Services">Frontends and backends of services.</param>
    public sealed record Outcome(int Records, int StaticMacs, int FlushedMacs, int Routes = 0, int Neighbours = 0, int Services = 0);

    /// <summary>
    /// Commits: all records, static MACs, routes and services become visible to a burst together. Then neighbours follow, and what was
    /// learned is forgotten where its port no longer is.
    /// </summary>
    /// <exception cref="TimeoutException">A worker hangs.</exception>
    /// <exception cref="TableFullException">Something did not fit. The caller commits the state before again.</exception>
    public Outcome Commit(CompiledState state) =>
        Commit(new CompiledChange(state, Records: true, Macs: null, Neighbours: null, Routes: null, Services: null, HostRoutes: null));

    /// <summary>The same for a change, at the cost of what it changes: nothing else is compared.</summary>
    /// <inheritdoc cref="Commit(CompiledState)"/>
    public Outcome Commit(CompiledChange change)
    {
        var moved = new Moved();
        int records, macs, routes, nextHops, services;
        _writer.Begin();
        try
        {
            records = change.Records ? WriteRecords(change.After, moved) : 0;
            macs = WriteStaticMacs(change.Macs ?? DifferingMacs(change.After));
            (routes, nextHops) = WriteRoutes(change);
            services = WriteServices(change);
            records += WriteTracking(change);
        }
        catch
        {
            _routesKnown = _trackingKnown = false;
            _writer.Abandon();
            _services.Abandon();
            throw;
        }
        if (records + macs + routes + nextHops + services > 0)
        {
            _writer.Commit();
            _nextHops.Committed();
            _services.Committed();
            _writer.TrySettle();
        }
        else
        {
            _writer.Abandon();
            _services.Abandon();
        }
        int neighbours = WriteNeighbours(change.Neighbours ?? DifferingNeighbours(change.After)) + FlushNeighbours(moved.Interfaces);
        return new Outcome(records, macs, FlushWhatMoved(moved), routes, neighbours, services);
    }

    /// <summary>Waits until no worker uses what the last commit removed.</summary>
    public void Synchronize()
    {
        _writer.Synchronize();
        _services.Sweep();
    }

    /// <summary>Forgets learned addresses for which a condition holds. Gives how many.</summary>
    public int Flush(Func<MacEntry, bool> condition) =>
        _writer.RemoveMacs((in MacEntry entry, object? _) => (entry.Flags & (MacFlags.Static | MacFlags.Drop)) == 0 && condition(entry));

    /// <summary>Where learned addresses are not any more.</summary>
    private sealed class Moved
    {
        public HashSet<int> Ports { get; } = [];
        public List<(int First, int Last)> Fids { get; } = [];

        /// <summary>Interfaces that are gone, or have other addresses.</summary>
        public HashSet<int> Interfaces { get; } = [];
    }

    private int FlushWhatMoved(Moved moved) =>
        moved.Ports.Count == 0 && moved.Fids.Count == 0
            ? 0
            : Flush(e => moved.Ports.Contains(e.Port) || moved.Fids.Any(f => e.Fid >= f.First && e.Fid <= f.Last));
}
