using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Writes services into the segment, and gives frontends and backends their numbers there. As with next hops, the segment is the
/// register (<see cref="NextHopTable"/>): a record holds what tells it from others, so a process that takes over finds each under the
/// number it has, and connections go on. A change costs what it names: what is as it was is not written, and a set of backends
/// that has the same members is the same set.
/// <para>
/// Numbers that become free are given away as late as possible, and not in the same commit; those of backends only when their
/// connections are gone (<see cref="ConnectionSweep"/>), for these name them.
/// </para>
/// </summary>
internal sealed unsafe class ServiceRegister
{
    private readonly Segment _segment;
    private readonly SegmentWriter _writer;
    private readonly Dictionary<FrontendKey, int> _frontends = [];
    private readonly Dictionary<BackendKey, int> _backends = [];
    private readonly Numbers _frontendNumbers, _backendNumbers;

    /// <summary>What this commit has added and removed.</summary>
    private readonly List<(FrontendKey Key, int Index, bool Added)> _frontendSteps = [];
    private readonly List<(BackendKey Key, int Index, bool Added, BackendRemoval Removal)> _backendSteps = [];

    /// <summary>Backends whose connections are to be removed, and those for which that was asked for.</summary>
    private readonly List<(int Index, BackendRemoval Removal)> _unswept = [];
    private readonly Queue<(ulong Pass, List<int> Indexes)> _sweeping = new();
    private readonly int[] _perVrf;

    public ServiceRegister(Segment segment, SegmentWriter writer)
    {
        _segment = segment;
        _writer = writer;
        _perVrf = new int[segment.MaxVrfs];
        _frontendNumbers = new Numbers(segment.MaxFrontends);
        _backendNumbers = new Numbers(segment.MaxBackends);
        Find();
    }

    /// <summary>Whether a frontend exists in a VRF, as it is after the commit.</summary>
    public bool Serves(int vrf) => _perVrf[vrf] > 0;

    /// <summary>Whether the last write made the first frontend of a VRF, or removed the last one.</summary>
    public bool VrfsChanged { get; private set; }

    /// <summary>What the segment holds.</summary>
    private void Find()
    {
        for (int i = 1; i < _segment.MaxFrontends; i++)
        {
            ref readonly FrontendRecord record = ref _writer.Frontend(i);
            if (record.Has(FrontendFlags.Exists))
            {
                _frontends.Add(record.Key, i);
                _perVrf[record.Key.Vrf]++;
                _frontendNumbers.Take(i, freeBefore: true);
            }
        }
        for (int i = 1; i < _segment.MaxBackends; i++)
        {
            ref readonly BackendRecord record = ref _writer.Backend(i);
            if (record.Has(BackendFlags.Exists))
            {
                _backends.Add(BackendKey.Of(in record), i);
                _backendNumbers.Take(i, freeBefore: false);
            }
            else if (_writer.WasBackend(i))
            {
                // Removed by a process before, and perhaps not swept.
                _backendNumbers.Take(i, freeBefore: false);
                _unswept.Add((i, BackendRemoval.Drain));
            }
        }
    }

    /// <summary>Writes a change. Within a commit. Gives how many records changed.</summary>
    /// <exception cref="TableFullException">Something did not fit. The commit has to be abandoned, here too.</exception>
    public int Write(CompiledServices change)
    {
        VrfsChanged = false;
        int changed = change.RemovedFrontends.Count(RemoveFrontend) + change.RemovedBackends.Count(b => RemoveBackend(b.Key, b.Reset ? BackendRemoval.Reset : BackendRemoval.Drain));
        foreach (CompiledService service in change.Set)
        {
            changed += Write(service);
        }
        foreach (FrontendRecord address in change.Addresses)
        {
            changed += Write(address);
        }
        return changed;
    }

    /// <summary>Compares all services with what the segment holds. Within a commit. Gives how many records changed.</summary>
    /// <inheritdoc cref="Write(CompiledServices)"/>
    public int WriteAll(IEnumerable<CompiledService> services, IEnumerable<FrontendRecord> addresses)
    {
        VrfsChanged = true;
        HashSet<FrontendKey> frontends = [.. _frontends.Keys];
        HashSet<BackendKey> backends = [.. _backends.Keys];
        int changed = 0;
        foreach (CompiledService service in services)
        {
            changed += Write(service);
            frontends.ExceptWith(service.Frontends.Select(f => f.Record.Key));
            backends.ExceptWith(service.Backends.Select(b => b.Key));
        }
        foreach (FrontendRecord address in addresses)
        {
            changed += Write(address);
            frontends.Remove(address.Key);
        }
        return changed + frontends.Count(RemoveFrontend) + backends.Count(b => RemoveBackend(b, BackendRemoval.Drain));
    }

    /// <summary>The commit is done: what it set free may be given away.</summary>
    public void Committed()
    {
        foreach ((FrontendKey _, int index, bool added) in _frontendSteps)
        {
            if (!added)
            {
                _frontendNumbers.Return(index);
            }
        }
        _unswept.AddRange(_backendSteps.Where(s => !s.Added).Select(s => (s.Index, s.Removal)));
        Clear();
        Sweep();
    }

    /// <summary>The commit is taken back: everything is as it was before.</summary>
    public void Abandon()
    {
        foreach ((FrontendKey key, int index, bool added) in Enumerable.Reverse(_frontendSteps))
        {
            _perVrf[key.Vrf] += added ? -1 : 1;
            if (!added)
            {
                _frontends.Add(key, index);
            }
            else if (_frontends.Remove(key))
            {
                _frontendNumbers.Return(index);
            }
        }
        foreach ((BackendKey key, int index, bool added, BackendRemoval _) in Enumerable.Reverse(_backendSteps))
        {
            if (!added)
            {
                _backends.Add(key, index);
            }
            else if (_backends.Remove(key))
            {
                _backendNumbers.Return(index);
            }
        }
        Clear();
    }

    /// <summary>The room of a very large commit is not kept for the small ones that follow.</summary>
    private void Clear()
    {
        _frontendSteps.Clear();
        _backendSteps.Clear();
        if (_backendSteps.Capacity > 1 << 16)
        {
            _backendSteps.Capacity = _frontendSteps.Capacity = 0;
        }
    }

    /// <summary>Goes on with the removal of connections whose backends are gone. Does not wait for it.</summary>
    public void Sweep()
    {
        while (_sweeping.TryPeek(out (ulong Pass, List<int> Indexes) pass) && _writer.IsSwept(pass.Pass))
        {
            _sweeping.Dequeue().Indexes.ForEach(_backendNumbers.Return);
        }
        if (_unswept.Count > 0 && _writer.TrySweep(_unswept) is { } asked)
        {
            _sweeping.Enqueue((asked, [.. _unswept.Select(b => b.Index)]));
            _unswept.Clear();
        }
    }

    private int Write(CompiledService service)
    {
        int changed = 0;
        foreach (CompiledBackend backend in service.Backends)
        {
            changed += Write(in backend);
        }
        Span<uint> sets = service.Sets.Count <= 64 ? stackalloc uint[service.Sets.Count] : new uint[service.Sets.Count];
        foreach (CompiledFrontend frontend in service.Frontends)
        {
            FrontendRecord record = frontend.Record;
            uint present = _frontends.TryGetValue(record.Key, out int index) ? _writer.Frontend(index).Set : 0;
            if (frontend.Set >= 0)
            {
                ref uint set = ref sets[frontend.Set];
                set = set != 0 ? set : FindOrAdd(service.Sets[frontend.Set], present);
                record.Set = set;
            }
            changed += Write(record);
        }
        return changed;
    }

    private int Write(in CompiledBackend backend)
    {
        BackendKey key = backend.Key;
        if (!_backends.TryGetValue(key, out int index))
        {
            index = NextBackend() ?? throw new TableFullException("there is no room for another port of a backend; start the daemon with a larger --max-backends");
            _backends.Add(key, index);
            _backendSteps.Add((key, index, true, default));
        }
        var record = new BackendRecord
        {
            Address = key.Address,
            Service = key.Service,
            Port = key.Port,
            Protocol = key.Protocol,
            Flags = BackendFlags.Exists | (key.IsIPv6 ? BackendFlags.IPv6 : 0) | (backend.IsDraining ? BackendFlags.Draining : 0),
        };
        if (Same(in record, in _writer.Backend(index)))
        {
            return 0;
        }
        _writer.SetBackend(index, in record);
        return 1;
    }

    private int? NextBackend()
    {
        if (_backendNumbers.Next() is { } number)
        {
            return number;
        }
        Sweep(); // what is swept by now
        return _backendNumbers.Next();
    }

    private int Write(FrontendRecord record)
    {
        if (!_frontends.TryGetValue(record.Key, out int index))
        {
            index = _frontendNumbers.Next() ?? throw new TableFullException("there is no room for another port or address of a service; start the daemon with a larger --max-frontends");
            _frontends.Add(record.Key, index);
            _frontendSteps.Add((record.Key, index, true));
            VrfsChanged |= _perVrf[record.Key.Vrf]++ == 0;
        }
        if (Same(in record, in _writer.Frontend(index)))
        {
            return 0;
        }
        _writer.SetFrontend(index, in record);
        return 1;
    }

    private bool RemoveFrontend(FrontendKey key)
    {
        if (!_frontends.Remove(key, out int index))
        {
            return false;
        }
        _writer.SetFrontend(index, default);
        _frontendSteps.Add((key, index, false));
        VrfsChanged |= --_perVrf[key.Vrf] == 0;
        return true;
    }

    private bool RemoveBackend(BackendKey key, BackendRemoval removal)
    {
        if (!_backends.Remove(key, out int index))
        {
            return false;
        }
        // Where it is stays: with direct server return that is all that shows its connections the way until they end.
        BackendRecord gone = _writer.Backend(index);
        gone.Flags &= ~BackendFlags.Exists;
        _writer.SetBackend(index, in gone);
        _backendSteps.Add((key, index, false, removal));
        return true;
    }

    /// <summary>The set that the frontend has, if its members are these, else another one.</summary>
    private uint FindOrAdd(CompiledSet wanted, uint present)
    {
        if (present != 0 && IsSame(wanted, BackendSet.At(_segment.BackendSets, present)))
        {
            return present;
        }
        BackendMember[] members = [.. wanted.Members.Select(b => new BackendMember((uint)_backends[b.Key], b.Weight, b.Key.Identity))];
        try
        {
            return _writer.AddBackendSet(members, wanted.Maglev);
        }
        catch (BackendMemoryException e)
        {
            throw new TableFullException($"{e.Message}; start the daemon with a larger --service-memory");
        }
    }

    private bool IsSame(CompiledSet wanted, BackendSet* present) =>
        present->Count == wanted.Members.Count && wanted.Maglev == (present->Table != 0)
        && BackendSet.List(present).SequenceEqual(wanted.Members.Select(b => ((uint)_backends[b.Key], (uint)b.Weight)));

    private static bool Same<T>(ref readonly T a, ref readonly T b)
        where T : unmanaged =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in a)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in b)));

    /// <summary>Numbers from 1: the free ones that were never used, then those that have been free for the longest time.</summary>
    private sealed class Numbers(int end)
    {
        private readonly Queue<int> _free = new();
        private int _next = 1;

        /// <summary>At first, in ascending order: one that is in use.</summary>
        /// <param name="number">The number.</param>
        /// <param name="freeBefore">Whether those are free that were left out since the last one.</param>
        public void Take(int number, bool freeBefore)
        {
            for (; freeBefore && _next < number; _next++)
            {
                _free.Enqueue(_next);
            }
            _next = number + 1;
        }

        public int? Next() => _next < end ? _next++ : _free.TryDequeue(out int free) ? free : null;

        public void Return(int number) => _free.Enqueue(number);
    }
}
