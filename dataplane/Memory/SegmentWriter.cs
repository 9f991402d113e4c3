using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>
/// The control plane's pen. One commit at a time: collect changes, then <see cref="Commit"/> makes them visible to every
/// worker at its next burst, as a whole. There is one writer per segment; the type is not thread-safe.
/// </summary>
public sealed unsafe partial class SegmentWriter
{
    private readonly Segment _segment;
    private readonly TimeSpan _timeout;
    private readonly List<ulong> _graves = [];
    private readonly HashSet<ulong> _newStatics = [];
    private readonly List<(ushort First, int Last, int Bridge)> _formerFids = [];
    private ulong _lastMacChange;
    private ulong _previousCommit;
    private ulong _next;
    private bool _tunnelsChanged;
    private bool _tunnelsToSweep;

    /// <param name="segment">The segment to write.</param>
    /// <param name="timeout">How long to wait for a worker before it counts as hung; 5 s when not given.</param>
    public SegmentWriter(Segment segment, TimeSpan? timeout = null)
    {
        _segment = segment;
        _timeout = timeout ?? TimeSpan.FromSeconds(5);
        Scrub();
        _routes = OpenRoutes();
        segment.Macs.KillUnfinished(_graves);
        // One that died may not have made sure of its last static entries.
        foreach (MacEntry entry in segment.Macs.List())
        {
            if (entry.Flags != MacFlags.None)
            {
                _newStatics.Add(MacTable.Key(entry.Fid, entry.Mac));
            }
        }
        TakeOverNeighbours();
        // A writer that died may have committed in the instant before: its grace period is unknown, so this is another one.
        _lastMacChange = _previousCommit = segment.Quiescence.Advance();
        segment.TunnelTable.Publish(segment.Generation);
        _tunnelsToSweep = true;
    }

    /// <summary>
    /// Begins a commit: waits until no worker can still see what the commit before replaced. That is over long before,
    /// unless commits follow each other within microseconds.
    /// </summary>
    /// <exception cref="TimeoutException">A worker has not been quiescent for the time-out.</exception>
    public void Begin()
    {
        if (_next != 0)
        {
            throw new InvalidOperationException("a commit is already begun");
        }
        WaitFor(_previousCommit);
        SettleMacs();
        SettleNeighbours();
        _routes.Reclaim();
        if (_tunnelsToSweep)
        {
            _segment.TunnelTable.Sweep(_segment.Generation);
            _tunnelsToSweep = false;
        }
        _formerFids.Clear();
        _next = _segment.Generation + 1;
    }

    /// <summary>The record of a port as it is after this commit.</summary>
    public ref readonly PortRecord Port(int index) => ref _segment.Port(CheckPort(index), Current);

    /// <summary>The record of a bridge as it is after this commit.</summary>
    public ref readonly BridgeRecord Bridge(int index) => ref _segment.Bridge(CheckBridge(index), Current);

    public void SetPort(int index, in PortRecord record) =>
        Versioned<PortRecord>.Write(ref _segment.Ports[CheckPort(index)], in record, Pending);

    /// <summary>
    /// A bridge that did not exist begins with counts of zero, whatever one before it left under this index. One that gets
    /// other FIDs keeps its counts, from which the addresses of the old ones are taken off when the caller removes them.
    /// </summary>
    public void SetBridge(int index, in BridgeRecord record)
    {
        ulong next = Pending;
        ref readonly BridgeRecord present = ref Bridge(index);
        if ((present.Flags & BridgeFlags.Exists) != 0)
        {
            if (record.FidBase != present.FidBase)
            {
                _formerFids.Add((present.FidBase, present.FidBase + present.FidMask, index));
            }
        }
        else if ((record.Flags & BridgeFlags.Exists) != 0)
        {
            _segment.BridgeRuntime[index] = default;
            _formerFids.RemoveAll(former => former.Bridge == index);
        }
        Versioned<BridgeRecord>.Write(ref _segment.Bridges[CheckBridge(index)], in record, next);
    }

    /// <summary>The layer-3 side of a port as it is after this commit.</summary>
    public ref readonly InterfaceRecord Interface(int port) => ref _segment.Interface(CheckPort(port), Current);

    public void SetInterface(int port, in InterfaceRecord record) =>
        Versioned<InterfaceRecord>.Write(ref _segment.Interfaces[CheckPort(port)], in record, Pending);

    /// <summary>The tunnel behind a port as it is after this commit.</summary>
    public ref readonly TunnelRecord Tunnel(int port) => ref _segment.Tunnel(CheckPort(port), Current);

    /// <summary>What a worker finds of it by a packet's VNI and address (<see cref="TunnelTable"/>) follows with the commit.</summary>
    public void SetTunnel(int port, in TunnelRecord record)
    {
        Versioned<TunnelRecord>.Write(ref _segment.Tunnels[CheckPort(port)], in record, Pending);
        _tunnelsChanged = true;
    }

    /// <summary>A next hop as it is after this commit.</summary>
    public ref readonly NextHopRecord NextHop(int index) => ref _segment.NextHop(Check(index, 1, _segment.MaxNextHops, "next hop"), Current);

    public void SetNextHop(int index, in NextHopRecord record) =>
        Versioned<NextHopRecord>.Write(ref _segment.NextHops[Check(index, 1, _segment.MaxNextHops, "next hop")], in record, Pending);

    /// <summary>A next-hop group as it is after this commit.</summary>
    public ref readonly NextHopGroup NextHopGroup(int index) => ref _segment.NextHopGroup(Check(index, 0, _segment.MaxNextHopGroups, "group"), Current);

    public void SetNextHopGroup(int index, in NextHopGroup record) =>
        Versioned<NextHopGroup>.Write(ref _segment.NextHopGroups[Check(index, 0, _segment.MaxNextHopGroups, "group")], in record, Pending);

    /// <summary>Makes everything since <see cref="Begin"/> visible. Gives the new generation.</summary>
    public ulong Commit()
    {
        ulong next = Pending;
        WriteRoots(next);
        if (_tunnelsChanged)
        {
            _segment.TunnelTable.Publish(next);
            (_tunnelsChanged, _tunnelsToSweep) = (false, true);
        }
        Volatile.Write(ref _segment.Header.Generation, next);
        _previousCommit = _segment.Quiescence.Advance();
        _next = 0;
        return next;
    }

    /// <summary>Takes back everything since <see cref="Begin"/>.</summary>
    public void Abandon()
    {
        _next = 0;
        _tunnelsChanged = false;
        _formerFids.Clear();
        _routes.Abandon();
        Scrub();
    }

    /// <summary>
    /// Waits until every worker sees the last commit, and the static MAC entries and neighbours made since: what was there before
    /// is used by nobody any more.
    /// </summary>
    public void Synchronize()
    {
        WaitFor(_previousCommit);
        SettleMacs();
        SettleNeighbours();
    }

    /// <summary>
    /// Removes MAC entries, in two steps around a grace period, and takes them off the counts of learned addresses. Waits
    /// first until every worker sees the last commit, so that none learns again what that commit made wrong. Gives how many.
    /// </summary>
    /// <exception cref="TimeoutException">A worker hangs. What was removed reads as unknown, and is freed by a later call.</exception>
    public int RemoveMacs(MacTable.Condition condition, object? state = null)
    {
        WaitFor(_previousCommit);
        SettleMacs();
        MacTable table = _segment.Macs;
        int n = table.KillWhere(0, table.BucketCount, condition, state, _graves, Uncount);
        if (n != 0)
        {
            _lastMacChange = _segment.Quiescence.Advance();
            SettleMacs();
        }
        return n;
    }

    /// <summary>
    /// Removes one MAC entry. False when there is none. Does not wait: the slot is freed when the next call does.
    /// </summary>
    public bool RemoveMac(ulong key)
    {
        _newStatics.Remove(key);
        if (!KillMac(key))
        {
            return false;
        }
        _lastMacChange = _segment.Quiescence.Advance();
        return true;
    }

    /// <summary>
    /// Makes a static or drop entry. False when its buckets are full. <see cref="Synchronize"/> after the last one: only then
    /// it is certain that it rules, if the address was just being learned.
    /// </summary>
    public bool SetStaticMac(ulong key, ushort port, MacFlags flags)
    {
        if (!_segment.Macs.SetStatic(key, port, flags, out MacEntry? replaced))
        {
            return false;
        }
        if (replaced is { } entry)
        {
            Uncount(entry);
        }
        _newStatics.Add(key);
        _lastMacChange = _segment.Quiescence.Advance();
        return true;
    }

    private ulong Pending => _next != 0 ? _next : throw new InvalidOperationException("no commit is begun");
    private ulong Current => _next != 0 ? _next : _segment.Generation;

    private int CheckPort(int index) => Check(index, 1, _segment.MaxPorts, "port");

    private int CheckBridge(int index) => Check(index, 1, _segment.MaxBridges, "bridge");

    private static int Check(int index, int first, int count, string what) => index >= first && index < count
        ? index : throw new ArgumentOutOfRangeException(nameof(index), index, $"{what} index must be from {first} to {count - 1}");

    /// <summary>Removes what a writer left that died between Begin and Commit.</summary>
    private void Scrub()
    {
        ulong committed = _segment.Generation;
        Scrub(_segment.Ports, _segment.MaxPorts, committed);
        Scrub(_segment.Bridges, _segment.MaxBridges, committed);
        Scrub(_segment.Interfaces, _segment.MaxPorts, committed);
        Scrub(_segment.Tunnels, _segment.MaxPorts, committed);
        Scrub(_segment.NextHops, _segment.MaxNextHops, committed);
        Scrub(_segment.NextHopGroups, _segment.MaxNextHopGroups, committed);
        Scrub(_segment.Vrfs, _segment.MaxVrfs, committed);
    }

    private static void Scrub<T>(Versioned<T>* records, int count, ulong committed)
        where T : unmanaged
    {
        for (int i = 0; i < count; i++)
        {
            Versioned<T>.Scrub(ref records[i], committed);
        }
    }

    /// <summary>
    /// What is left to do of changes of MAC entries, after their grace period: free the slots of those removed, and make sure
    /// of those made. A worker that was just learning the address may have put an entry of its own before the static one.
    /// </summary>
    private void SettleMacs()
    {
        while (_graves.Count + _newStatics.Count != 0)
        {
            WaitFor(_lastMacChange);
            _graves.ForEach(_segment.Macs.Free);
            _graves.Clear();
            foreach (ulong key in _newStatics)
            {
                ulong value = _segment.Macs.Find(key);
                if (value != 0 && !MacValue.IsStatic(value) && KillMac(key))
                {
                    _lastMacChange = _segment.Quiescence.Advance();
                }
            }
            _newStatics.Clear();
        }
    }

    private bool KillMac(ulong key)
    {
        if (!_segment.Macs.Kill(key, out MacEntry entry, out ulong grave))
        {
            return false;
        }
        Uncount(entry);
        _graves.Add(grave);
        return true;
    }

    /// <summary>Takes an entry off the counts, of the bridge that had its FID before the last commit where that changed it.</summary>
    private void Uncount(MacEntry entry)
    {
        foreach ((ushort first, int last, int bridge) in _formerFids)
        {
            if (entry.Fid >= first && entry.Fid <= last)
            {
                LearnedCounts.Remove(_segment, entry, bridge);
                return;
            }
        }
        LearnedCounts.Remove(_segment, entry);
    }

    private void WaitFor(ulong epoch)
    {
        if (!_segment.Quiescence.Wait(epoch, _timeout))
        {
            throw new TimeoutException($"a worker of the engine (pid {_segment.Header.EnginePid}) has not finished a burst for {_timeout.TotalSeconds:0} s");
        }
    }
}
