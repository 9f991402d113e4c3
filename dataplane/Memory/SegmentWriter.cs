using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>
/// The control plane's pen. One commit at a time: collect changes, then <see cref="Commit"/> makes them visible to every
/// worker at its next burst, as a whole. There is one writer per segment; the type is not thread-safe.
/// </summary>
public sealed unsafe partial class SegmentWriter
{
    /// <summary>Addresses of commits that there is room for all the time.</summary>
    private const int MostRemembered = 16_384;

    private readonly Segment _segment;
    private readonly TimeSpan _timeout;
    private readonly List<ulong> _graves = [];
    private readonly HashSet<ulong> _newStatics = [];
    private readonly List<Staged> _staged = [], _committed = [];
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
        _sets = OpenSets();
        segment.Macs.KillUnfinished(_graves);
        foreach ((ulong key, ulong value) in segment.Macs.ListStaged())
        {
            // Of an address that was learned nobody remembers the time: it is learned anew.
            ulong holds = StagedMac.Resolve(value, segment.Generation);
            _committed.Add(new Staged(key, value, 0, MacValue.IsStatic(holds) ? holds : 0));
        }
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
        SettleMacs(free: false);
        SettleNeighbours();
        _routes.Reclaim();
        ReclaimServices();
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

    public void SetInterface(int port, in InterfaceRecord record)
    {
        Versioned<InterfaceRecord>.Write(ref _segment.Interfaces[CheckPort(port)], in record, Pending);
        _waysChanged = true;
    }

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

    /// <summary>Addresses of a next hop reach connections by themselves; another interface or kind is another way (<see cref="VrfRecord.Verdicts"/>).</summary>
    public void SetNextHop(int index, in NextHopRecord record)
    {
        ulong next = Pending;
        ref readonly NextHopRecord present = ref NextHop(index);
        _waysChanged |= present.Kind != NextHopKind.None
            && (record.Kind, record.Port, record.Group) != (present.Kind, present.Port, present.Group);
        Versioned<NextHopRecord>.Write(ref _segment.NextHops[index], in record, next);
    }

    /// <summary>A next-hop group as it is after this commit.</summary>
    public ref readonly NextHopGroup NextHopGroup(int index) => ref _segment.NextHopGroup(Check(index, 0, _segment.MaxNextHopGroups, "group"), Current);

    public void SetNextHopGroup(int index, in NextHopGroup record)
    {
        Versioned<NextHopGroup>.Write(ref _segment.NextHopGroups[Check(index, 0, _segment.MaxNextHopGroups, "group")], in record, Pending);
        _waysChanged = true;
    }

    /// <summary>Makes everything since <see cref="Begin"/> visible. Gives the new generation.</summary>
    public ulong Commit()
    {
        ulong next = Pending;
        WriteRoots(next);
        PublishServices(next);
        if (_tunnelsChanged)
        {
            _segment.TunnelTable.Publish(next);
            (_tunnelsChanged, _tunnelsToSweep) = (false, true);
        }
        Volatile.Write(ref _segment.Header.Generation, next);
        _previousCommit = _segment.Quiescence.Advance();
        _next = 0;
        if (_staged.Count != 0)
        {
            _committed.AddRange(_staged);
            _staged.Clear();
            _lastMacChange = _previousCommit;
        }
        return next;
    }

    /// <summary>Takes back everything since <see cref="Begin"/>.</summary>
    public void Abandon()
    {
        _next = 0;
        _tunnelsChanged = false;
        _waysChanged = false;
        _formerFids.Clear();
        for (int i = _staged.Count - 1; i >= 0; i--)
        {
            TakeBack(_staged[i]);
        }
        _staged.Clear();
        _newStatics.Clear();
        _routes.Abandon();
        AbandonServices();
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
    /// Removes one MAC entry: between <see cref="Begin"/> and <see cref="Commit"/> with that commit, else at once. False when there
    /// is none. Does not wait: the slot is freed when the next call does.
    /// </summary>
    public bool RemoveMac(ulong key)
    {
        if (_next != 0)
        {
            return Stage(key, 0);
        }
        _newStatics.Remove(key);
        if (!KillMac(key))
        {
            return false;
        }
        _lastMacChange = _segment.Quiescence.Advance();
        return true;
    }

    /// <summary>
    /// Makes a static or drop entry: between <see cref="Begin"/> and <see cref="Commit"/> with that commit, else at once. False when
    /// its buckets are full. <see cref="Synchronize"/> after the last one: only then it is certain that it rules, if the address was
    /// just being learned.
    /// </summary>
    public bool SetStaticMac(ulong key, ushort port, MacFlags flags)
    {
        if (_next != 0)
        {
            _newStatics.Add(key);
            return Stage(key, MacValue.Make(port, flags | MacFlags.Static));
        }
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

    /// <summary>
    /// What <see cref="Synchronize"/> does, if that can be done without much waiting. An entry of the last commit costs workers a
    /// detour until it is done.
    /// </summary>
    public void TrySettle()
    {
        if (_committed.Count == 0)
        {
            return;
        }
        var spin = new SpinWait();
        for (int i = 0; i < 20; i++)
        {
            if (_segment.Quiescence.HasPassed(_lastMacChange))
            {
                SettleMacs(free: false);
                return;
            }
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    /// <summary>A MAC entry that a commit changes.</summary>
    /// <param name="Value">See <see cref="StagedMac"/>.</param>
    /// <param name="Before">Plain value before; with the time of a learned address.</param>
    /// <param name="After">Plain value after.</param>
    private readonly record struct Staged(ulong Key, ulong Value, ulong Before, ulong After);

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
        Scrub(_segment.Frontends, _segment.MaxFrontends, committed);
        Scrub(_segment.Backends, _segment.MaxBackends, committed);
        Scrub(_segment.NatPools, _segment.MaxNatPools, committed);
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
    /// <param name="free">Also waits until the slots are free of what this itself removes, rather than leave them to the next call.</param>
    private void SettleMacs(bool free = true)
    {
        for (bool first = true; (first || free) && _graves.Count + _newStatics.Count + _committed.Count != 0; first = false)
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
            if (_newStatics.Capacity > MostRemembered)
            {
                // To clear it costs what it has room for: of a million addresses at the start no later commit is to pay.
                _newStatics.TrimExcess();
            }
            foreach (Staged staged in _committed)
            {
                if (staged.After != 0)
                {
                    _segment.Macs.Unstage(staged.Key, staged.Value, staged.After);
                }
                else if (_segment.Macs.Find(staged.Key) == staged.Value && KillMac(staged.Key))
                {
                    _lastMacChange = _segment.Quiescence.Advance();
                }
            }
            _committed.Clear();
        }
    }

    private bool Stage(ulong key, ulong after)
    {
        if (!_segment.Macs.Stage(key, after, _next, out ulong before, out ulong value))
        {
            return false;
        }
        if (before != 0)
        {
            Uncount(MacTable.ToEntry(key, before));
        }
        _staged.Add(new Staged(key, value, before, after));
        return true;
    }

    private void TakeBack(Staged staged)
    {
        if (staged.Before == 0)
        {
            if (KillMac(staged.Key))
            {
                _lastMacChange = _segment.Quiescence.Advance();
            }
        }
        else if (_segment.Macs.Unstage(staged.Key, staged.Value, staged.Before))
        {
            MacEntry entry = MacTable.ToEntry(staged.Key, staged.Before);
            if (entry.Flags == MacFlags.None)
            {
                LearnedCounts.Add(_segment, entry.Port, Fids.BridgeOf(_segment, entry.Fid));
            }
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
