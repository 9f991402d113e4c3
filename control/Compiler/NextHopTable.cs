using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Gives next hops and groups their numbers in the segment, counts the routes that use them, and frees those that nobody does.
/// <para>
/// A number means nothing outside the segment, so it is saved nowhere: the segment itself is the register. A process that takes
/// over reads it from there and finds every next hop under the number it has, because a record holds what tells it from others
/// (<see cref="HopKey"/>; of a group, its buckets). So a million routes are not written again for it.
/// </para>
/// <para>
/// A number that a commit sets free is not given away in the same commit. Which next hops a failed commit has counted is not known:
/// <see cref="Forget"/> then, and count all routes anew.
/// </para>
/// </summary>
public sealed class NextHopTable
{
    private readonly Segment _segment;
    private readonly SegmentWriter _writer;
    private readonly Dictionary<HopKey, Entry> _hops = [];
    private readonly Dictionary<RouteTarget, Entry> _groups = [];

    /// <summary>Groups in the segment that no route has asked for yet, by their buckets.</summary>
    private readonly Dictionary<string, Entry> _found = new(StringComparer.Ordinal);

    /// <summary>What lost its last use in this commit, perhaps to gain another one.</summary>
    private readonly HashSet<Entry> _unused = [];
    private readonly Numbers _hopNumbers = new(), _groupNumbers = new();

    public NextHopTable(Segment segment, SegmentWriter writer)
    {
        _segment = segment;
        _writer = writer;
        Forget();
    }

    /// <summary>A next hop or group in the segment.</summary>
    private sealed class Entry(int index, HopKey key, int group = -1)
    {
        /// <summary>What a group is made of; null before a route asks for it, and of a single next hop.</summary>
        public RouteTarget? Target { get; set; }

        /// <summary>The next hop's number.</summary>
        public int Index { get; } = index;
        public HopKey Key { get; } = key;

        /// <summary>The group's number, -1 of a next hop that is none.</summary>
        public int Group { get; } = group;

        /// <summary>Routes that lead here, and groups that have it as member.</summary>
        public int Uses { get; set; }

        /// <summary>Next hops of the group.</summary>
        public List<Entry> Members { get; } = [];
    }

    /// <summary>Next hops and groups made since the beginning.</summary>
    public int Made { get; private set; }

    /// <summary>Begins anew with what the segment holds, and that nobody uses any of it.</summary>
    public void Forget()
    {
        _hops.Clear();
        _groups.Clear();
        _found.Clear();
        _unused.Clear();
        _hopNumbers.Reset(1, _segment.MaxNextHops);
        _groupNumbers.Reset(0, _segment.MaxNextHopGroups);
        for (int i = 1; i < _segment.MaxNextHops; i++)
        {
            ref readonly NextHopRecord record = ref _writer.NextHop(i);
            if (record.Kind == NextHopKind.Group)
            {
                string buckets = Text(in _writer.NextHopGroup(record.Group));
                var group = new Entry(i, default, record.Group);
                if (_found.TryAdd(buckets, group))
                {
                    _unused.Add(group);
                    _hopNumbers.Take(i);
                    _groupNumbers.Take(record.Group);
                }
            }
            else if (record.Kind != NextHopKind.None)
            {
                var key = new HopKey(record.Kind, record.Port, record.Gateway);
                var hop = new Entry(i, key);
                if (_hops.TryAdd(key, hop))
                {
                    _unused.Add(hop);
                    _hopNumbers.Take(i);
                }
            }
        }
    }

    /// <summary>The number of what a route leads to, which one route more uses. Within a commit.</summary>
    /// <exception cref="TableFullException">There is no number left.</exception>
    public uint Acquire(RouteTarget target, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        Entry entry = target.IsSingle ? Hop(target.Members[0].Key, adjacencies) : Group(target, adjacencies);
        entry.Uses++;
        return (uint)entry.Index;
    }

    /// <summary>One route less uses it.</summary>
    public void Release(RouteTarget target)
    {
        if ((target.IsSingle ? _hops.GetValueOrDefault(target.Members[0].Key) : _groups.GetValueOrDefault(target)) is { } entry)
        {
            Release(entry);
        }
    }

    private void Release(Entry entry)
    {
        if (--entry.Uses == 0)
        {
            _unused.Add(entry);
        }
    }

    /// <summary>Brings the addresses and MTUs of adjacencies to what they are to be. Within a commit. Gives how many changed.</summary>
    public int Refresh(IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        int changed = 0;
        foreach (Entry entry in _hops.Values.Where(e => e.Key.Kind == NextHopKind.Adjacency && adjacencies.ContainsKey(e.Key.Port)))
        {
            NextHopRecord wanted = Record(entry.Key, adjacencies);
            ref readonly NextHopRecord present = ref _writer.NextHop(entry.Index);
            if (wanted.Mac != present.Mac || wanted.SourceMac != present.SourceMac || wanted.Mtu != present.Mtu)
            {
                _writer.SetNextHop(entry.Index, in wanted);
                changed++;
            }
        }
        return changed;
    }

    /// <summary>Removes what no route uses, also what another process left. Within a commit. Gives how many.</summary>
    public int Sweep()
    {
        if (_unused.Count == 0)
        {
            _found.Clear();
            return 0;
        }
        // Groups first: with them their members may lose their last use.
        List<Entry> gone = [.. _unused.Where(e => e is { Group: >= 0, Uses: 0 })];
        foreach (Entry group in gone)
        {
            group.Members.ForEach(Release);
            if (group.Target is { } target)
            {
                _groups.Remove(target);
            }
        }
        foreach (Entry hop in _unused.Where(e => e is { Group: < 0, Uses: 0 }))
        {
            _hops.Remove(hop.Key);
            gone.Add(hop);
        }
        gone.ForEach(Remove);
        _found.Clear();
        _unused.Clear();
        return gone.Count;
    }

    /// <summary>The commit is done: what it set free may be given away.</summary>
    public void Committed()
    {
        _hopNumbers.GiveBack();
        _groupNumbers.GiveBack();
    }

    private Entry Hop(HopKey key, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        if (!_hops.TryGetValue(key, out Entry? entry))
        {
            entry = new Entry(NewHop(), key);
            NextHopRecord record = Record(key, adjacencies);
            _writer.SetNextHop(entry.Index, in record);
            _hops.Add(key, entry);
        }
        return entry;
    }

    private Entry Group(RouteTarget target, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        if (_groups.TryGetValue(target, out Entry? entry))
        {
            return entry;
        }
        List<Entry> members = [.. target.Members.Select(m => Hop(m.Key, adjacencies))];
        Dictionary<HopKey, int> indices = members.ToDictionary(m => m.Key, m => m.Index);
        var record = new NextHopGroup();
        HopKey[] buckets = Rendezvous.Fill(target);
        for (int i = 0; i < buckets.Length; i++)
        {
            record.Members[i] = (uint)indices[buckets[i]];
        }
        if (!_found.Remove(Text(in record), out entry))
        {
            int group = _groupNumbers.Next() ?? throw new TableFullException("there is no room for another group of next hops; start the daemon with a larger --max-next-hop-groups");
            entry = new Entry(NewHop(), default, group);
            _writer.SetNextHopGroup(group, in record);
            _writer.SetNextHop(entry.Index, new NextHopRecord { Kind = NextHopKind.Group, Group = (ushort)group });
        }
        entry.Target = target;
        entry.Members.AddRange(members);
        members.ForEach(m => m.Uses++);
        _groups.Add(target, entry);
        return entry;
    }

    private int NewHop()
    {
        Made++;
        return _hopNumbers.Next() ?? throw new TableFullException("there is no room for another next hop; start the daemon with a larger --max-next-hops");
    }

    private void Remove(Entry entry)
    {
        _writer.SetNextHop(entry.Index, default);
        _hopNumbers.Free(entry.Index);
        if (entry.Group >= 0)
        {
            _writer.SetNextHopGroup(entry.Group, default);
            _groupNumbers.Free(entry.Group);
        }
    }

    private static NextHopRecord Record(HopKey key, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        var record = new NextHopRecord { Kind = key.Kind, Port = key.Port, Gateway = key.Gateway };
        if (key.Kind == NextHopKind.Adjacency)
        {
            Adjacency adjacency = adjacencies[key.Port];
            record.Mtu = adjacency.Mtu;
            record.Mac = adjacency.Mac;
            record.SourceMac = adjacency.SourceMac;
        }
        return record;
    }

    private static string Text(ref readonly NextHopGroup group) => Convert.ToHexString(MemoryMarshal.AsBytes(new ReadOnlySpan<NextHopGroup>(in group)));

    /// <summary>Numbers that are free.</summary>
    private sealed class Numbers
    {
        private readonly HashSet<int> _taken = [], _freed = [];
        private readonly Stack<int> _free = [];
        private int _end, _next;

        public void Reset(int first, int end)
        {
            _taken.Clear();
            _freed.Clear();
            _free.Clear();
            (_end, _next) = (end, first);
        }

        public void Take(int number) => _taken.Add(number);

        /// <summary>A free number, null when there is none.</summary>
        public int? Next()
        {
            if (_free.TryPop(out int free))
            {
                _taken.Add(free);
                return free;
            }
            while (_next < _end && _taken.Contains(_next))
            {
                _next++;
            }
            if (_next >= _end)
            {
                return null;
            }
            _taken.Add(_next);
            return _next++;
        }

        public void Free(int number) => _freed.Add(number);

        public void GiveBack()
        {
            foreach (int number in _freed.Where(n => _taken.Remove(n) && n < _next))
            {
                _free.Push(number);
            }
            _freed.Clear();
        }
    }
}
