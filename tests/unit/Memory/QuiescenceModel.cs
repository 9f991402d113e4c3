using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

/// <summary>Ways to get the protocol of <see cref="Quiescence"/> wrong. Each must be found out by the model.</summary>
public enum Mistake
{
    None,
    /// <summary>The writer reuses memory at once.</summary>
    NoGracePeriod,
    /// <summary>It waits for an epoch that workers may have announced before the unlinking.</summary>
    WaitsForEpochBefore,
    /// <summary>It begins the grace period before it unlinks.</summary>
    AdvancesBeforeUnlinking,
    /// <summary>It overlooks the last worker.</summary>
    OverlooksAWorker,
    /// <summary>A worker announces a quiescent state in the midst of a burst.</summary>
    QuiescentWithinBurst,
    /// <summary>A worker goes offline in the midst of a burst.</summary>
    OfflineWithinBurst,
    /// <summary>A worker reads before its going online is visible: what a missing barrier does.</summary>
    ReadsBeforeOnlineIsVisible,
}

/// <summary>
/// Readers and writers around one <see cref="Quiescence"/>, one atomic action at a time, in one thread, in an order that a
/// seeded generator chooses. The actions are calls of the real code on real memory.
/// <para>
/// The processor's store buffer is modelled, since the protocol must hold with it: each reader calls the real code on a
/// worker record and a global epoch of its own. Loading the global epoch, the call, and the moment at which the announced
/// epoch becomes visible to others are three separate actions, with those of other threads in between. The last one may
/// come long after: the reader goes on reading meanwhile, except after Online, which ends with a barrier.
/// </para>
/// <para>
/// What is protected: cells of memory that hold a number. A root word names a cell and its number. A writer fills a free
/// cell, stores the root (this unlinks the cell before), and after the grace period poisons the old cell, which is then
/// free. A reader that ever finds another number in a cell than the root told it has seen reclaimed memory.
/// </para>
/// </summary>
internal sealed unsafe class QuiescenceModel : IDisposable
{
    private const ulong Poison = 0xDEAD_DEAD_DEAD_DEAD;
    private const int Writers = 2;
    private const int CellsPerWriter = 3;

    private readonly SharedMemory _memory;
    private readonly ulong* _global;
    private readonly WorkerRecord* _workers;
    private readonly ulong* _cells;
    private readonly ulong* _roots;
    private readonly Reader[] _readers;
    private readonly Writer[] _writers;
    private readonly Random _random;
    private readonly int _seed;
    private readonly Mistake _mistake;
    private ulong _lastNumber;

    public QuiescenceModel(int seed, Mistake mistake = Mistake.None, int readers = 3)
    {
        _seed = seed;
        _mistake = mistake;
        _random = new Random(seed);
        _memory = SharedMemory.CreatePrivate(64 * 1024);
        byte* at = _memory.Pointer;
        _workers = (WorkerRecord*)at;
        at += sizeof(WorkerRecord) * readers;
        var buffered = (WorkerRecord*)at;
        at += sizeof(WorkerRecord) * readers;
        _global = (ulong*)at;
        *_global = 1;
        ulong* latches = _global + 8;
        _roots = latches + readers;
        _cells = _roots + Writers;
        _readers = new Reader[readers];
        for (int i = 0; i < readers; i++)
        {
            _readers[i] = new Reader(this, i, buffered, latches + i);
        }
        _writers = new Writer[Writers];
        for (int i = 0; i < Writers; i++)
        {
            _writers[i] = new Writer(this, i);
        }
    }

    /// <summary>Cells that were reclaimed.</summary>
    public int Reclaimed { get; private set; }

    /// <summary>Reads of cells that had been unlinked already: without them a schedule shows nothing.</summary>
    public int ReadsOfUnlinked { get; private set; }

    /// <summary>Times a writer had to wait.</summary>
    public int Waits { get; private set; }

    /// <summary>Cells reclaimed while a worker was offline.</summary>
    public int ReclaimedPastOffline { get; private set; }

    public void Dispose() => _memory.Dispose();

    /// <summary>Runs a schedule. Gives what went wrong, or null.</summary>
    public string? Run(int steps)
    {
        string? problem = null;
        for (int i = 0; i < steps && problem is null; i++)
        {
            // Long runs of one thread between short ones: what preemption looks like.
            int who = _random.Next(_readers.Length + Writers);
            int run = _random.Next(4) == 0 ? _random.Next(1, 12) : 1;
            for (; run > 0 && problem is null; run--, i++)
            {
                problem = who < _readers.Length ? _readers[who].Step() : _writers[who - _readers.Length].Step();
            }
        }
        return (problem ?? End()) is { } p ? string.Create(CultureInfo.InvariantCulture, $"seed {_seed}, {_mistake}: {p}") : null;
    }

    /// <summary>All workers go offline, and nobody may be waited for any more.</summary>
    private string? End()
    {
        foreach (Reader reader in _readers)
        {
            if (reader.GoOffline() is { } problem)
            {
                return problem;
            }
        }
        var quiescence = new Quiescence(_global, _workers, _readers.Length);
        return quiescence.HasPassed(quiescence.Advance()) ? null : "workers that are offline are waited for";
    }

    /// <summary>A worker: online or offline, then bursts of reads, between two of which it is quiescent.</summary>
    private sealed class Reader
    {
        private readonly QuiescenceModel _model;
        private readonly int _index;
        private readonly Quiescence _own;
        private readonly ulong* _latch;
        private readonly ulong* _buffered;
        private readonly ulong* _visible;
        private readonly List<ulong> _held = [];
        private State _state = State.Offline;
        private bool _isBuffered;
        private bool _goingOnline;
        private int _readsLeft;

        public Reader(QuiescenceModel model, int index, WorkerRecord* buffered, ulong* latch)
        {
            _model = model;
            _index = index;
            _own = new Quiescence(latch, buffered, index + 1);
            _latch = latch;
            _buffered = &buffered[index].Epoch;
            _visible = &model._workers[index].Epoch;
        }

        private enum State
        {
            Offline, AboutToAnnounce, Announced, Burst,
        }

        public bool IsOffline => *_visible == Quiescence.OfflineEpoch;

        public string? Step()
        {
            // A store leaves the buffer at any time; here once in three steps.
            if (_isBuffered && _model._random.Next(3) == 0)
            {
                Drain();
                return null;
            }
            switch (_state)
            {
                case State.Offline:
                    if (_model._random.Next(4) == 0)
                    {
                        LoadEpoch();
                        _goingOnline = true;
                    }
                    return null;

                case State.AboutToAnnounce:
                    Drain(); // stores leave the buffer in order: make room for the next
                    if (_goingOnline)
                    {
                        _own.Online(_index);
                    }
                    else
                    {
                        _own.Quiescent(_index);
                    }
                    _isBuffered = true;
                    _readsLeft = _model._random.Next(1, 8);
                    _state = State.Announced;
                    return null;

                case State.Announced:
                    if (_goingOnline && _isBuffered && _model._mistake != Mistake.ReadsBeforeOnlineIsVisible)
                    {
                        Drain(); // the barrier at the end of Online
                        return null;
                    }
                    _goingOnline = false;
                    _state = State.Burst;
                    return null;

                default:
                    if (_readsLeft-- > 0)
                    {
                        return Read();
                    }
                    if (_model._mistake == Mistake.QuiescentWithinBurst && _model._random.Next(4) == 0)
                    {
                        LoadEpoch(); // and keeps what it holds
                        return null;
                    }
                    if (_model._random.Next(4) == 0)
                    {
                        return GoOffline();
                    }
                    _held.Clear();
                    LoadEpoch();
                    return null;
            }
        }

        public string? GoOffline()
        {
            if (_state == State.Offline)
            {
                Drain();
                return null;
            }
            Drain();
            _own.Offline(_index);
            _isBuffered = true;
            if (_model._mistake == Mistake.OfflineWithinBurst && _held.Count > 0)
            {
                Drain();
                _state = State.Burst;
                _readsLeft = 3;
                return null;
            }
            Drain();
            _held.Clear();
            _state = State.Offline;
            return null;
        }

        private void LoadEpoch()
        {
            *_latch = Volatile.Read(ref *_model._global);
            _state = State.AboutToAnnounce;
        }

        private void Drain()
        {
            if (_isBuffered)
            {
                Volatile.Write(ref *_visible, *_buffered);
                _isBuffered = false;
            }
        }

        /// <summary>Takes a reference from a root, or follows one that was taken in this burst.</summary>
        private string? Read()
        {
            if (_held.Count == 0 || _model._random.Next(3) == 0)
            {
                ulong root = Volatile.Read(ref _model._roots[_model._random.Next(Writers)]);
                if (root != 0)
                {
                    _held.Add(root);
                }
                return null;
            }
            ulong held = _held[_model._random.Next(_held.Count)];
            ulong found = Volatile.Read(ref *_model.CellOf(held));
            if (Volatile.Read(ref _model._roots[Writer.OfCell(held)]) != held)
            {
                _model.ReadsOfUnlinked++;
            }
            return found == Number(held)
                ? null
                : $"reader {_index} holds cell {held & 0xFF} with number {Number(held)} and finds {(found == Poison ? "poison" : $"number {found}")}";
        }
    }

    /// <summary>Replaces the cell of its root again and again.</summary>
    private sealed class Writer
    {
        private readonly QuiescenceModel _model;
        private readonly int _index;
        private readonly Queue<ulong> _free = new();
        private readonly List<ulong> _waiting = [];
        private ulong _next;
        private ulong _epoch;
        private int _asked;
        private State _state;

        public Writer(QuiescenceModel model, int index)
        {
            _model = model;
            _index = index;
            for (int i = 0; i < CellsPerWriter; i++)
            {
                _free.Enqueue((ulong)((index * CellsPerWriter) + i));
            }
        }

        private enum State
        {
            Fill, AdvanceTooSoon, Unlink, Advance, Wait, Reclaim,
        }

        /// <summary>The writer that a reference belongs to.</summary>
        public static int OfCell(ulong reference) => (int)(reference & 0xFF) / CellsPerWriter;

        public string? Step()
        {
            switch (_state)
            {
                case State.Fill:
                    ulong cell = _free.Dequeue();
                    _next = (++_model._lastNumber << 8) | cell;
                    *_model.CellOf(_next) = Number(_next);
                    _state = _model._mistake == Mistake.AdvancesBeforeUnlinking ? State.AdvanceTooSoon : State.Unlink;
                    return null;

                case State.AdvanceTooSoon:
                    _epoch = All().Advance();
                    _state = State.Unlink;
                    return null;

                case State.Unlink:
                    ulong old = _model._roots[_index];
                    Volatile.Write(ref _model._roots[_index], _next);
                    if (old != 0)
                    {
                        _waiting.Add(old);
                    }
                    _asked = 0;
                    _state = _model._mistake == Mistake.AdvancesBeforeUnlinking ? State.Wait : State.Advance;
                    return null;

                case State.Advance:
                    _epoch = All().Advance();
                    if (_model._mistake == Mistake.WaitsForEpochBefore)
                    {
                        _epoch--;
                    }
                    _state = _model._mistake == Mistake.NoGracePeriod ? State.Reclaim : State.Wait;
                    return null;

                case State.Wait:
                    return Wait();

                default:
                    foreach (ulong reference in _waiting)
                    {
                        *_model.CellOf(reference) = Poison;
                        _free.Enqueue(reference & 0xFF);
                        _model.Reclaimed++;
                        _model.ReclaimedPastOffline += _model._readers.Any(r => r.IsOffline) ? 1 : 0;
                    }
                    _waiting.Clear();
                    _state = State.Fill;
                    return null;
            }
        }

        /// <summary>HasPassed looks at one worker after the other: here with steps of others in between.</summary>
        private string? Wait()
        {
            int count = _model._readers.Length - (_model._mistake == Mistake.OverlooksAWorker ? 1 : 0);
            if (!new Quiescence(_model._global, _model._workers + _asked, 1).HasPassed(_epoch))
            {
                _model.Waits++;
                _asked = 0;
                return null;
            }
            if (++_asked < count)
            {
                return null;
            }
            _asked = 0;
            _state = State.Reclaim;
            return null;
        }

        private Quiescence All() => new(_model._global, _model._workers, _model._readers.Length);
    }

    private static ulong Number(ulong reference) => reference >> 8;

    private ulong* CellOf(ulong reference) => _cells + (reference & 0xFF);
}
