using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Random operations on a connection table and on a dictionary that means the same; after each they must agree. The seed of a run
/// that fails is in its message.
/// </summary>
public sealed unsafe class ConnectionTableModelTests
{
    private sealed class Entry
    {
        public required NewConnection Made { get; init; }
        public ConnectionState State { get; set; }
        public ConnectionFlags Flags { get; set; }
        public uint Seen { get; set; }
        public uint ReplySeen { get; set; }
        public (uint Route, uint Generation) Way { get; set; }
        public (uint Route, uint Generation) ReplyWay { get; set; }
        public bool IsHalfOpen => (Flags & ConnectionFlags.HalfOpen) != 0;
    }

    [Theory]
    [InlineData(64, 40, 1000, true)] // room for all
    [InlineData(64, 40, 1000, false)]
    [InlineData(16, 100, 1000, true)] // full most of the time
    [InlineData(16, 100, 1000, false)]
    public void The_table_does_what_a_dictionary_would(int capacity, int clients, int seeds, bool isAlone)
    {
        var met = new HashSet<string>();
        for (int seed = 0; seed < seeds; seed++)
        {
            if (new Run(seed, capacity, clients, isAlone, met).Go() is { } problem)
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"seed {seed}: {problem}"));
            }
        }
        // The operations met everything that can happen.
        string[] expected = ["Exists", "Gone", "Inserted", "Known", "Proven", "ReplyTaken", "Restart", "aged", "refreshed", "removed", "reset", "swept"];
        Assert.Equal(clients > 2 * capacity ? [.. expected, "Full", "evicted"] : expected, met.Order(StringComparer.Ordinal).OrderBy(m => m is "Full" or "evicted"));
    }

    private sealed class Run(int seed, int capacity, int clients, bool isAlone, HashSet<string> met)
    {
        private readonly Random _random = new(seed);
        private readonly Dictionary<ConnectionKey, Entry> _model = [];
        private readonly Dictionary<ConnectionKey, Entry> _replies = [];
        private readonly List<ConnectionHandle> _handles = [];
        private readonly byte[] _section = GC.AllocateArray<byte>((int)ConnectionSweep.SizeInBytes(16), pinned: true);
        private uint _now = 1000;

        public string? Go()
        {
            using var test = new TestConnections(capacity, seed: (ulong)seed * 0x9E37_79B9, isAlone: isAlone);
            for (int step = 0; step < 400; step++)
            {
                string? problem = _random.Next(40) switch
                {
                    < 14 => Insert(test),
                    < 33 => Touch(test),
                    < 34 => Prove(test),
                    < 36 => Remove(test),
                    < 38 => Refresh(test),
                    < 39 => Pass(test),
                    _ => Sweep(test),
                } ?? Compare(test, Key());
                if (problem != null)
                {
                    return $"step {step}: {problem}";
                }
            }
            foreach (ConnectionKey key in _model.Keys)
            {
                if (Compare(test, key) is { } problem)
                {
                    return problem;
                }
            }
            if (test.Table.List().Count != _model.Count)
            {
                return $"{test.Table.List().Count} listed, {_model.Count} expected";
            }
            return test.Problem();
        }

        private ConnectionKey Key() => TestConnections.Flow((uint)_random.Next(clients / 2), (ushort)(40_000 + _random.Next(2)),
            _random.Next(4) switch { 0 => Wire.ProtocolUdp, 1 => Wire.ProtocolSctp, _ => Wire.ProtocolTcp }, isIPv6: _random.Next(4) == 0);

        private byte Signal(byte protocol) => protocol switch
        {
            Wire.ProtocolTcp => _random.Next(8) switch
            {
                0 => TcpHeader.Syn,
                1 or 2 => TcpHeader.Syn | TcpHeader.Ack,
                3 => TcpHeader.Fin | TcpHeader.Ack,
                4 => TcpHeader.Rst,
                _ => TcpHeader.Ack,
            },
            Wire.ProtocolSctp => (byte)_random.Next(15),
            _ => 0,
        };

        private string? Insert(TestConnections test)
        {
            ConnectionKey key = Key();
            // Now and then two sources behind one address and port.
            NewConnection made = TestConnections.ToBackend(key, (uint)_random.Next(1, 5), Signal(key.Protocol));
            if (_random.Next(8) == 0 && _model.Count != 0)
            {
                made.Reply = Any().Made.Reply with { Flow = made.Reply.Flow };
            }
            if (made.Reply.IsIPv6 != key.IsIPv6)
            {
                return null;
            }
            InsertResult result = test.Table.TryInsert(in made, _now, out ConnectionHandle handle);
            met.Add(result.ToString());
            InsertResult expected = _model.ContainsKey(key) ? InsertResult.Exists
                : _replies.ContainsKey(made.Reply) || _model.ContainsKey(made.Reply) || _replies.ContainsKey(key) ? InsertResult.ReplyTaken
                : InsertResult.Inserted;
            int count = _model.Values.Count(entry => entry.Made.Original.IsIPv6 == key.IsIPv6);
            if (expected == InsertResult.Inserted && result == InsertResult.Full)
            {
                return count < capacity ? $"full with {count}" : null;
            }
            if (result != expected)
            {
                return $"{key}: {result}, not {expected}";
            }
            if (result != InsertResult.Inserted)
            {
                return handle == (result == InsertResult.Exists ? test.Table.Find(key) : default) ? null : $"{key}: another handle";
            }
            if (count == capacity && Evicted(test, key.IsIPv6) is { } problem)
            {
                return problem;
            }
            _handles.Add(handle);
            var entry = new Entry { Made = made, Seen = _now, ReplySeen = _now, State = ConnectionTracking.Begin(key.Protocol, made.Signal), Flags = ConnectionFlags.HalfOpen };
            _model.Add(key, entry);
            _replies.Add(made.Reply, entry);
            return null;
        }

        /// <summary>Finds out which one had to go: a half-open one, or one that was over.</summary>
        private string? Evicted(TestConnections test, bool isIPv6)
        {
            List<Entry> gone = [.. _model.Values.Where(entry => entry.Made.Original.IsIPv6 == isIPv6 && test.Table.Find(entry.Made.Original).IsNone)];
            met.Add("evicted");
            if (gone.Count != 1 || !(gone[0].IsHalfOpen || ConnectionTracking.IsOver(gone[0].State, gone[0].Flags)))
            {
                return $"{gone.Count} are gone: {string.Join(' ', gone.Select(entry => (entry.State, entry.Flags)))}";
            }
            Forget(gone[0]);
            return null;
        }

        private string? Touch(TestConnections test)
        {
            if (_handles.Count == 0)
            {
                return null;
            }
            if (_random.Next(8) == 0)
            {
                // One of any life.
                ConnectionHandle old = _handles[_random.Next(_handles.Count)];
                if (!test.Table.TryRead(old, out _))
                {
                    TouchResult gone = test.Table.Touch(old, TcpHeader.Rst, _now);
                    met.Add(gone.ToString());
                    return gone == TouchResult.Gone ? null : $"a handle of another life: {gone}";
                }
            }
            if (_model.Count == 0)
            {
                return null;
            }
            Entry entry = Any();
            return Touch(test, entry, _random.Next(2) == 0, Signal(entry.Made.Original.Protocol));
        }

        /// <summary>Everybody ends his handshake, so that nothing is half-open.</summary>
        private string? Prove(TestConnections test)
        {
            foreach (Entry entry in _model.Values.ToList())
            {
                (bool IsReply, byte Signal)[] signals = entry.Made.Original.Protocol switch
                {
                    Wire.ProtocolTcp => [(true, TcpHeader.Syn | TcpHeader.Ack), (false, TcpHeader.Ack), (true, TcpHeader.Ack)],
                    Wire.ProtocolSctp => [(true, SctpHeader.InitAck), (false, 10), (true, 11)],
                    _ => [(true, 0)],
                };
                foreach ((bool isReply, byte signal) in signals)
                {
                    if (_model.ContainsKey(entry.Made.Original) && Touch(test, entry, isReply, signal) is { } problem)
                    {
                        return problem;
                    }
                }
            }
            return null;
        }

        private string? Touch(TestConnections test, Entry entry, bool isReply, byte signal)
        {
            TouchResult result = test.Table.Touch(test.Table.Find(isReply ? entry.Made.Reply : entry.Made.Original), signal, _now);
            met.Add(result.ToString());
            (ConnectionState state, ConnectionFlags flags) = ConnectionTracking.Next(entry.Made.Original.Protocol, entry.State, entry.Flags, signal, isReply, out bool isNew);
            TouchResult expected = isNew ? TouchResult.Restart : entry.IsHalfOpen && (flags & ConnectionFlags.HalfOpen) == 0 ? TouchResult.Proven : TouchResult.Known;
            if (result != expected)
            {
                return $"{entry.Made.Original}: {result}, not {expected}";
            }
            if (isNew)
            {
                Forget(entry);
                return null;
            }
            (entry.State, entry.Flags) = (state, flags & ~ConnectionFlags.Hot);
            (entry.Seen, entry.ReplySeen) = isReply ? (entry.Seen, _now) : (_now, entry.ReplySeen);
            return null;
        }

        private string? Remove(TestConnections test)
        {
            if (_model.Count == 0)
            {
                return null;
            }
            Entry entry = Any();
            met.Add("removed");
            Forget(entry);
            return test.Table.Remove(test.Table.Find(_random.Next(2) == 0 ? entry.Made.Reply : entry.Made.Original), 1) ? null : "was not there to be removed";
        }

        private string? Refresh(TestConnections test)
        {
            if (_model.Count == 0)
            {
                return null;
            }
            Entry entry = Any();
            (uint Route, uint Generation) way = ((uint)_random.Next(1, 1 << 24), (uint)_random.Next(1, 100));
            bool isReply = _random.Next(2) == 0;
            test.Table.Refresh(test.Table.Find(isReply ? entry.Made.Reply : entry.Made.Original), way.Route, way.Generation);
            (entry.Way, entry.ReplyWay) = isReply ? (entry.Way, way) : (way, entry.ReplyWay);
            met.Add("refreshed");
            return null;
        }

        private string? Pass(TestConnections test)
        {
            _now += (uint)_random.Next(60);
            test.Pass(_now, reachTurn: (uint)_random.Next((int)ConnectionTable.ReachTurns));
            foreach (Entry entry in _model.Values.ToList())
            {
                if (_now - Math.Max(entry.Seen, entry.ReplySeen) >= ConnectionTimes.Of(entry.Made.Original.Protocol, entry.State, entry.Flags, default))
                {
                    met.Add("aged");
                    Forget(entry);
                }
            }
            return null;
        }

        private string? Sweep(TestConnections test)
        {
            Array.Clear(_section);
            fixed (byte* memory = _section)
            {
                uint backend = (uint)_random.Next(1, 5);
                bool isReset = _random.Next(2) == 0;
                var sweep = new ConnectionSweep(memory, 16);
                sweep.Add(backend, isReset ? BackendRemoval.Reset : BackendRemoval.Drain);
                // The clock of the last pass: nothing gets older.
                test.Pass(900, sweep: sweep);
                foreach (Entry entry in _model.Values.Where(entry => entry.Made.Backend == backend).ToList())
                {
                    if (entry.Made.Original.Protocol == Wire.ProtocolUdp)
                    {
                        met.Add("swept");
                        Forget(entry);
                    }
                    else if (isReset)
                    {
                        met.Add("reset");
                        entry.Flags |= ConnectionFlags.Reset;
                    }
                }
            }
            return null;
        }

        private string? Compare(TestConnections test, ConnectionKey key)
        {
            if (!_model.TryGetValue(key, out Entry? entry))
            {
                return _replies.ContainsKey(key) || test.Table.Find(key).IsNone ? null : $"{key} should not be there";
            }
            if (!test.Table.TryRead(test.Table.Find(key), out ConnectionEntry found) || !test.Table.TryRead(test.Table.Find(entry.Made.Reply), out ConnectionEntry reply))
            {
                return $"{key} is missing, or its reply";
            }
            ConnectionFlags checkedFlags = ConnectionFlags.HalfOpen | ConnectionFlags.Reset;
            return found.Key != key || found.OtherKey != reply.Key || reply.OtherKey != key ? $"{key} and its reply do not match"
                : found.State != entry.State || (found.Flags & checkedFlags) != (entry.Flags & checkedFlags) ? $"{key} is {found.State} {found.Flags}, not {entry.State} {entry.Flags}"
                : found.Flags.HasFlag(ConnectionFlags.Hot) != (ConnectionTracking.IsSteady(entry.State) && !entry.Flags.HasFlag(ConnectionFlags.Reset)) ? $"{key} is {found.Flags} in {found.State}"
                : reply.Flags.HasFlag(ConnectionFlags.Hot) && !ConnectionTracking.IsReplyHot(entry.State, entry.Flags) ? $"the reply of {key} is {reply.Flags} in {found.State}"
                : found.LastSeen != entry.Seen || reply.LastSeen != entry.ReplySeen ? $"{key} was seen at {found.LastSeen} and {reply.LastSeen}"
                : (found.Route, found.VerdictGeneration) != entry.Way || (reply.Route, reply.VerdictGeneration) != entry.ReplyWay ? $"{key} has another route"
                : found.Backend != entry.Made.Backend ? $"{key} has backend {found.Backend}"
                : null;
        }

        private Entry Any() => _model.Values.ElementAt(_random.Next(_model.Count));

        private void Forget(Entry entry)
        {
            _model.Remove(entry.Made.Original);
            _replies.Remove(entry.Made.Reply);
        }
    }
}
