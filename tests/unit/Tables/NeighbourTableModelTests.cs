using System.Globalization;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Random operations on a neighbour table and on a dictionary that means the same; after each they must agree. The seed of a run
/// that fails is in its message.
/// </summary>
public sealed unsafe class NeighbourTableModelTests
{
    private sealed record Entry(ulong Value, uint Confirmed, uint Changed);

    [Theory]
    [InlineData(4, 200)] // a table that is full most of the time
    [InlineData(5, 60)]
    [InlineData(8, 400)]
    public void The_table_does_what_a_dictionary_would(int bits, int neighbours)
    {
        var met = new HashSet<string>();
        for (int seed = 0; seed < 100; seed++)
        {
            if (new Run(seed, bits, neighbours, met).Go() is { } problem)
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"seed {seed}: {problem}"));
            }
        }
        // The operations met everything that can happen.
        string[] expected = ["aged away", "changed", "freed", "gone stale", "inserted", "killed", "lost", "permanent", "present"];
        Assert.Equal(bits == 4 ? [.. expected, "full", "spared"] : expected, met.Order(StringComparer.Ordinal).Order(new Last()));
    }

    /// <summary>What only a full table knows, last.</summary>
    private sealed class Last : IComparer<string>
    {
        public int Compare(string? x, string? y) => Rank(x).CompareTo(Rank(y));
        private static int Rank(string? s) => s is "full" or "spared" ? 1 : 0;
    }

    private sealed class Run
    {
        private readonly int _bits;
        private readonly HashSet<string> _met;
        private readonly Random _random;
        private readonly ulong _seed;
        private readonly int _neighbours;
        private readonly Dictionary<NeighbourKey, Entry> _model = [];
        private readonly List<ulong> _graves = [];
        private readonly bool[] _interfaces = [false, true, true, true];
        private uint _now = 1000;

        public Run(int seed, int bits, int neighbours, HashSet<string> met)
        {
            (_bits, _neighbours, _met, _random, _seed) = (bits, neighbours, met, new Random(seed), (ulong)seed * 0x9E37_79B9);
        }

        public string? Go()
        {
            using var test = new TestNeighbours(_bits, _seed);
            NeighbourTable table = test.Table;
            NeighbourKey[] keys = [.. Enumerable.Range(0, _neighbours).Select(_ => Key(table)).Distinct()];
            for (int step = 0; step < 2000; step++)
            {
                _now += _random.Next(8) == 0 ? (uint)_random.Next(1, 4) : 0;
                NeighbourKey key = keys[_random.Next(keys.Length)];
                string? problem = _random.Next(100) switch
                {
                    < 45 => Insert(test, key),
                    < 75 => Change(table, key),
                    < 80 => Permanent(test, key),
                    < 88 => Kill(table, key),
                    < 92 => Age(table),
                    _ => Free(table),
                };
                problem ??= Agree(test, key, complete: step % 100 == 0);
                if (problem != null)
                {
                    return string.Create(CultureInfo.InvariantCulture, $"step {step}: {problem}");
                }
            }
            return null;
        }

        private NeighbourKey Key(NeighbourTable table) => _random.Next(2) == 0
            ? NeighbourTable.Key4(_random.Next(1, 4), (uint)_random.Next(16))
            : table.Key6(_random.Next(1, 4), 0xFD00_0000_0000_0000 + (ulong)_random.Next(3), (ulong)_random.Next(20));

        private ulong Value() => NeighbourValue.Make((NeighbourState)_random.Next((int)NeighbourState.Incomplete, (int)NeighbourState.Permanent),
            (ulong)_random.NextInt64() & 0xFFFF_FFFF_FFFE, (NeighbourFlags)_random.Next(2));

        private string? Insert(TestNeighbours test, NeighbourKey key)
        {
            ulong value = Value();
            bool known = _model.ContainsKey(key);
            NeighbourResult result = test.Table.Insert(in key, value, _now, out NeighbourSlot slot);
            switch (result)
            {
                case NeighbourResult.Inserted when !known && slot.Value == value:
                    _model[key] = Stamp(new Entry(0, 0, 0), value);
                    _met.Add("inserted");
                    return null;
                case NeighbourResult.Present when known && slot.Value == _model[key].Value:
                    _met.Add("present");
                    return null;
                case NeighbourResult.Full when !known && !test.HasRoom(in key):
                    _met.Add("full");
                    return Spare(test.Table, key);
                default:
                    return $"insert {key}: {result}";
            }
        }

        private string? Spare(NeighbourTable table, NeighbourKey key)
        {
            if (!table.Spare(in key, _now, out ulong grave))
            {
                return null;
            }
            _met.Add("spared");
            _graves.Add(grave);
            NeighbourKey[] gone = [.. _model.Keys.Where(k => table.Find(in k) == 0)];
            if (gone.Length != 1)
            {
                return $"sparing for {key} killed {gone.Length}";
            }
            NeighbourState state = NeighbourValue.State(_model[gone[0]].Value);
            // In a table of one window, whatever failed longest ago, else whatever is stale longest.
            NeighbourState wanted = _model.Values.Any(e => NeighbourValue.State(e.Value) == NeighbourState.Failed) ? NeighbourState.Failed : NeighbourState.Stale;
            if (state != wanted || _model.Values.Any(e => NeighbourValue.State(e.Value) == wanted && e.Changed < _model[gone[0]].Changed))
            {
                return $"spared {_model[gone[0]]}";
            }
            _model.Remove(gone[0]);
            return null;
        }

        private string? Change(NeighbourTable table, NeighbourKey key)
        {
            if (table.TryFind(in key, out NeighbourSlot slot) != _model.TryGetValue(key, out Entry? e))
            {
                return $"found {key} or not";
            }
            if (e == null || NeighbourValue.State(e.Value) == NeighbourState.Permanent)
            {
                return null;
            }
            ulong to = _random.Next(4) == 0 ? e.Value : Value();
            bool late = _random.Next(4) == 0;
            ulong from = late ? e.Value ^ 0x100 : e.Value;
            if (late)
            {
                // Times may be stamped by an attempt that fails; the model follows.
                if (from == to || NeighbourTable.TryChange(slot, from, to, _now))
                {
                    return from == to ? null : $"changed {key} from a value it did not have";
                }
                _model[key] = Stamp(e with { Value = from }, to) with { Value = e.Value };
                _met.Add("lost");
                return null;
            }
            if (!NeighbourTable.TryChange(slot, from, to, _now))
            {
                return $"could not change {key}";
            }
            _met.Add("changed");
            _model[key] = Stamp(e, to);
            return null;
        }

        private Entry Stamp(Entry e, ulong to) => new(to,
            NeighbourValue.State(to) == NeighbourState.Reachable ? _now : e.Confirmed,
            NeighbourValue.State(to) != NeighbourValue.State(e.Value) ? _now : e.Changed);

        private string? Permanent(TestNeighbours test, NeighbourKey key)
        {
            ulong mac = (ulong)_random.Next() & ~1ul;
            bool known = _model.TryGetValue(key, out Entry? e), room = test.HasRoom(in key);
            if (test.Table.SetPermanent(in key, mac) != (known || room))
            {
                return $"permanent {key}: known {known}, room {room}";
            }
            if (known || room)
            {
                _met.Add("permanent");
                _model[key] = new Entry(NeighbourValue.Make(NeighbourState.Permanent, mac), e?.Confirmed ?? 0, e?.Changed ?? 0);
            }
            return null;
        }

        private string? Kill(NeighbourTable table, NeighbourKey key)
        {
            bool known = _model.Remove(key, out Entry? e);
            if (table.Kill(in key, out NeighbourEntry entry, out ulong grave) != known)
            {
                return $"kill {key}";
            }
            if (known)
            {
                _met.Add("killed");
                _graves.Add(grave);
                return entry == Listed(key, e!) ? null : $"killed {entry} and not {e}";
            }
            return null;
        }

        private string? Age(NeighbourTable table)
        {
            _now += (uint)_random.Next(1, 40);
            _interfaces[3] = _random.Next(4) != 0;
            table.Age(0, table.BucketCount, _now, _interfaces, _graves);
            foreach ((NeighbourKey key, Entry e) in _model.ToArray())
            {
                uint since = _now - e.Changed;
                NeighbourState state = NeighbourValue.State(e.Value);
                if (state != NeighbourState.Permanent && (!_interfaces[key.Port]
                    || (state == NeighbourState.Incomplete && since >= 60) || (state == NeighbourState.Failed && since >= 10)
                    || (state == NeighbourState.Stale && since >= 600)))
                {
                    _model.Remove(key);
                    _met.Add("aged away");
                }
                else if ((state is NeighbourState.Delay or NeighbourState.Probe && since >= 60)
                    || (state == NeighbourState.Reachable && _now - e.Confirmed >= NeighbourTimes.ReachableOf(Listed(key, e))))
                {
                    _model[key] = e with { Value = NeighbourValue.With(e.Value, NeighbourState.Stale), Changed = _now };
                    _met.Add("gone stale");
                }
            }
            return null;
        }

        private string? Free(NeighbourTable table)
        {
            _graves.ForEach(table.Free);
            if (_graves.Count != 0)
            {
                _met.Add("freed");
            }
            _graves.Clear();
            return null;
        }

        private string? Agree(TestNeighbours test, NeighbourKey key, bool complete)
        {
            NeighbourTable table = test.Table;
            ulong value = table.Find(in key), meant = _model.TryGetValue(key, out Entry? e) ? e.Value : 0;
            ulong fast = key.IsIPv6 ? table.Find6(key.Port, key.High, key.Low) : table.Find4(key.Port, (uint)key.Low);
            if (value != meant || fast != meant)
            {
                return $"{key} has {value:x}, or {fast:x}, and not {meant:x}";
            }
            if (!complete)
            {
                return null;
            }
            if (!table.List().OrderBy(l => l.Key.Word).SequenceEqual(_model.Select(p => Listed(p.Key, p.Value)).OrderBy(l => l.Key.Word)))
            {
                return "the list differs";
            }
            if (!test.AllWords().Order().SequenceEqual(_model.Keys.Select(k => k.Word).Order()) || test.TakenSlots() != _model.Count + _graves.Count)
            {
                return "slots are lost or taken twice";
            }
            return test.FreeSlotsAreClean() ? null : "a free slot has a value";
        }

        private static NeighbourEntry Listed(NeighbourKey key, Entry e) => new(key, NeighbourValue.Mac(e.Value),
            NeighbourValue.State(e.Value), NeighbourValue.Flags(e.Value), e.Confirmed, e.Changed);
    }
}
