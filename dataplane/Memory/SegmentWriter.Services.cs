using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>Services, as part of a commit: their frontends, backends and sets of backends; and pools of addresses for NAT.</summary>
public sealed unsafe partial class SegmentWriter
{
    private readonly BackendSetWriter _sets;
    private readonly HashSet<int> _changedFrontends = [];
    private readonly List<(FrontendKey Key, uint Frontend)> _formerKeys = [];
    private readonly HashSet<int> _changedBackends = [];
    private readonly List<FrontendKey> _formerEndpoints = [];
    private bool _servicesToSweep = true;

    /// <summary>Bytes that sets of backends take, of <see cref="SegmentHeader.BackendSetBytes"/>.</summary>
    public long BackendSetBytesUsed => _sets.UsedBytes;

    /// <summary>A frontend as it is after this commit.</summary>
    public ref readonly FrontendRecord Frontend(int index) => ref _segment.Frontend(CheckFrontend(index), Current);

    /// <summary>
    /// What workers find it by follows with the commit (<see cref="ServiceTable"/>), and so does the end of a set that no frontend
    /// leads to any more.
    /// </summary>
    /// <param name="index">Its index.</param>
    /// <param name="record">No other frontend of this commit has its key. Its set is from <see cref="AddBackendSet"/>, or that of another frontend.</param>
    public void SetFrontend(int index, in FrontendRecord record)
    {
        Versioned<FrontendRecord>.Write(ref _segment.Frontends[CheckFrontend(index)], in record, Pending);
        _changedFrontends.Add(index);
    }

    /// <summary>A backend as it is after this commit.</summary>
    public ref readonly BackendRecord Backend(int index) => ref _segment.Backend(CheckBackend(index), Current);

    /// <summary>One that was removed is another one only after its pass (<see cref="TrySweep"/>).</summary>
    public void SetBackend(int index, in BackendRecord record)
    {
        Versioned<BackendRecord>.Write(ref _segment.Backends[CheckBackend(index)], in record, Pending);
        _changedBackends.Add(index);
        if (record.Has(BackendFlags.Exists))
        {
            _segment.ConnectionSweep.Clear((uint)index);
        }
    }

    /// <summary>Whether an index was a backend's at some time, so that connections may name it.</summary>
    public bool WasBackend(int index) => Versioned<BackendRecord>.WasWritten(in _segment.Backends[CheckBackend(index)]);

    /// <summary>
    /// Has the connections of backends removed that the last commit has removed, as soon as no worker knows them any more. Gives the
    /// number of the pass (<see cref="ConnectionSweep.IsDone"/>), or null as long as one does.
    /// </summary>
    public ulong? TrySweep(IReadOnlyList<(int Index, BackendRemoval Removal)> backends)
    {
        var spin = new SpinWait();
        for (int i = 0; _next == 0 && i < 20 && !_segment.Quiescence.HasPassed(_previousCommit); i++)
        {
            spin.SpinOnce(sleep1Threshold: -1); // a burst takes microseconds
        }
        if (_next != 0 || !_segment.Quiescence.HasPassed(_previousCommit))
        {
            return null;
        }
        ConnectionSweep sweep = _segment.ConnectionSweep;
        foreach ((int index, BackendRemoval removal) in backends)
        {
            sweep.Add((uint)index, removal);
        }
        return sweep.Request();
    }

    /// <summary>Whether a pass is done: the indexes of its backends may be used again.</summary>
    public bool IsSwept(ulong pass) => _segment.ConnectionSweep.IsDone(pass);

    /// <summary>Makes a set of backends. If no frontend leads to it when the commit comes, it is gone.</summary>
    /// <param name="members">Indexes of backends with their weights.</param>
    /// <param name="maglev">With a Maglev table, else chosen at random by weight.</param>
    /// <returns>For <see cref="FrontendRecord.Set"/>.</returns>
    /// <exception cref="ArgumentException">It has no members, too many, or none with a weight.</exception>
    /// <exception cref="BackendMemoryException">No room. The commit has to be abandoned.</exception>
    public uint AddBackendSet(ReadOnlySpan<BackendMember> members, bool maglev)
    {
        _ = Pending;
        return _sets.Add(members, maglev);
    }

    /// <summary>A pool of addresses as it is after this commit.</summary>
    public ref readonly NatPoolRecord NatPool(int index) => ref _segment.NatPool(CheckNatPool(index), Current);

    public void SetNatPool(int index, in NatPoolRecord record) =>
        Versioned<NatPoolRecord>.Write(ref _segment.NatPools[CheckNatPool(index)], in record, Pending);

    private int CheckFrontend(int index) => Check(index, 1, _segment.MaxFrontends, "frontend");

    private int CheckBackend(int index) => Check(index, 1, _segment.MaxBackends, "backend");

    private int CheckNatPool(int index) => Check(index, 1, _segment.MaxNatPools, "NAT pool");

    private BackendSetWriter OpenSets()
    {
        _segment.ServiceTable.Publish(_segment.Generation);
        var sets = new List<uint>();
        for (int i = 1; i < _segment.MaxFrontends; i++)
        {
            ref readonly FrontendRecord frontend = ref _segment.Frontend(i, _segment.Generation);
            if (frontend.Has(FrontendFlags.Exists))
            {
                sets.Add(frontend.Set);
            }
        }
        try
        {
            return new BackendSetWriter(_segment.BackendSets, _segment.Header.BackendSetBytes, sets);
        }
        catch (InvalidDataException e)
        {
            throw new SegmentException($"{e.Message}; {Segment.Remedy}");
        }
    }

    /// <summary>No worker reads what the commit before replaced.</summary>
    private void ReclaimServices()
    {
        ServiceTable table = _segment.ServiceTable;
        if (_servicesToSweep)
        {
            table.Sweep(_segment.Generation); // once, after whatever writer was before
            _segment.Endpoints.Recount(PresentEndpoints());
            _servicesToSweep = false;
        }
        foreach ((FrontendKey key, uint frontend) in _formerKeys)
        {
            table.Remove(in key, frontend);
        }
        _formerKeys.Clear();
        EndpointSet endpoints = _segment.Endpoints;
        foreach (FrontendKey key in _formerEndpoints)
        {
            endpoints.Remove(in key);
        }
        _formerEndpoints.Clear();
        _sets.Reclaim();
    }

    /// <summary>Just before the commit becomes visible: its frontends can be found.</summary>
    private void PublishServices(ulong next)
    {
        ServiceTable table = _segment.ServiceTable;
        foreach (int index in _changedFrontends)
        {
            FrontendRecord before = Present(index, next - 1), after = Present(index, next);
            if (before.Key != after.Key || before.Has(FrontendFlags.Exists) != after.Has(FrontendFlags.Exists))
            {
                if (before.Has(FrontendFlags.Exists))
                {
                    _formerKeys.Add((before.Key, (uint)index));
                }
                if (after.Has(FrontendFlags.Exists))
                {
                    table.Add(in after.Key, (uint)index);
                }
            }
            _sets.Change(before.Set, after.Set);
        }
        _changedFrontends.Clear();
        PublishEndpoints(next);
        _sets.Commit();
    }

    private void PublishEndpoints(ulong next)
    {
        EndpointSet endpoints = _segment.Endpoints;
        foreach (int index in _changedBackends)
        {
            FrontendKey? before = Endpoint(index, next - 1), after = Endpoint(index, next);
            if (before == after)
            {
                continue;
            }
            if (before is { } former)
            {
                _formerEndpoints.Add(former);
            }
            if (after is { } key)
            {
                endpoints.Add(in key);
            }
        }
        _changedBackends.Clear();
    }

    private void AbandonServices()
    {
        _changedFrontends.Clear();
        _changedBackends.Clear();
        _sets.Abandon();
    }

    /// <summary>The port of a backend as readers of a generation see it; none when it does not exist.</summary>
    private FrontendKey? Endpoint(int index, ulong generation)
    {
        ref readonly BackendRecord record = ref _segment.Backend(index, generation);
        return record.Has(BackendFlags.Exists) ? EndpointSet.Key(in record) : null;
    }

    private IEnumerable<FrontendKey> PresentEndpoints()
    {
        for (int i = 1; i < _segment.MaxBackends; i++)
        {
            if (Endpoint(i, _segment.Generation) is { } key)
            {
                yield return key;
            }
        }
    }

    /// <summary>A frontend as readers of a generation see it, all zero when it does not exist.</summary>
    private FrontendRecord Present(int index, ulong generation)
    {
        ref readonly FrontendRecord record = ref _segment.Frontend(index, generation);
        return record.Has(FrontendFlags.Exists) ? record : default;
    }
}
