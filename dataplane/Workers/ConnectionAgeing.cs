using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Workers;

/// <summary>
/// Housekeeping's share in connections: removes those whose time is over, and those of removed backends (<see cref="ConnectionSweep"/>), a slice
/// at a time; takes back the marks that no connection has any more (<see cref="ConnectionMarks"/>). It allocates nothing while it runs.
/// </summary>
internal sealed unsafe class ConnectionAgeing
{
    /// <summary>Slots looked at per turn: all of them each second, or those for ten million connections each eight.</summary>
    private const uint MinSlice = 8192, MaxSlice = 1 << 19;

    /// <summary>Slots looked at per turn while somebody waits for the connections of a backend to be gone.</summary>
    private const uint SweepSlice = 1 << 22;

    /// <summary>How long a worker is waited for that is in the midst of a poll: a hundred times as long as one takes.</summary>
    private static readonly TimeSpan PollTime = TimeSpan.FromMilliseconds(10);

    private readonly Segment _segment;
    private readonly ConnectionTable _table;
    /// <summary>Rounds of marks of an empty table, until only those are left that entries need which are gone and remembered.</summary>
    private const int LastRounds = 3;

    private bool _isIPv6;
    private uint _next;
    private ulong _sweeping;
    private uint _reachTurn;
    private ulong _claim;
    private RoundOfMarks _marks4, _marks6;

    /// <summary>Where the marks of a family are.</summary>
    private struct RoundOfMarks
    {
        /// <summary>The round was begun, and its pass is not over.</summary>
        public bool IsOpen;
        /// <summary>The epoch that every worker is to have announced before the next one begins.</summary>
        public ulong Grace;
        /// <summary>Rounds still to come when the family has no connections.</summary>
        public int Last;
    }

    internal ConnectionAgeing(Segment segment)
    {
        _segment = segment;
        _table = segment.ConnectionsOf(segment.MaxWorkers);
    }

    /// <summary>A worker on a thread of its own may believe itself alone with the table (<see cref="ConnectionTable.IsAlone"/>).</summary>
    internal bool AwaitsWorker { get; set; }

    /// <summary>One turn. If the worker does not let it have the table, the next one will do.</summary>
    /// <param name="now">Seconds of the workers' clock.</param>
    /// <param name="turns">Turns in a second.</param>
    internal void RunOnce(uint now, int turns)
    {
        if (!TryClaim())
        {
            return;
        }
        Pass(now, turns);
        if (AwaitsWorker)
        {
            _table.Release();
        }
    }

    private bool TryClaim()
    {
        if (!AwaitsWorker)
        {
            return true;
        }
        if (!_table.IsClaimed)
        {
            _table.Claim();
            _claim = _segment.Quiescence.Advance();
        }
        return _segment.Quiescence.Wait(_claim, PollTime);
    }

    private void Pass(uint now, int turns)
    {
        ConnectionSweep sweep = _segment.ConnectionSweep;
        ulong requested = sweep.Requested;
        bool isAsked = sweep.Done != requested;
        if (isAsked && _sweeping != requested)
        {
            // What is asked for in the midst of a pass begins it anew: every entry is to be looked at after that.
            (_sweeping, _isIPv6, _next) = (requested, false, 0);
        }
        var pass = new ConnectionPass
        {
            Frontends = _segment.Frontends,
            FrontendCount = (uint)_segment.MaxFrontends,
            Generation = _segment.Generation,
            Now = now,
            Sweeps = isAsked,
            Sweep = sweep,
            ReachTurn = _reachTurn,
        };
        uint total = _table.SlotCount(false) + _table.SlotCount(true);
        uint budget = isAsked ? SweepSlice : Math.Clamp(total / (uint)turns, MinSlice, MaxSlice);
        while (budget != 0)
        {
            uint count = _table.SlotCount(_isIPv6);
            ref RoundOfMarks marks = ref _isIPv6 ? ref _marks6 : ref _marks4;
            uint slice = _table.IsEmpty(_isIPv6) && marks.Last == 0 ? 0 : Math.Min(budget, count - _next);
            if (slice != 0)
            {
                if (_next == 0)
                {
                    BeginRound(ref marks);
                }
                _table.Age(_isIPv6, _next, slice, in pass);
                _next += slice;
                budget -= slice;
                if (_next < count)
                {
                    return;
                }
                EndRound(ref marks);
            }
            _next = 0;
            _isIPv6 = !_isIPv6;
            if (_isIPv6)
            {
                continue;
            }
            // Both families are through.
            _reachTurn = (_reachTurn + 1) % ConnectionTable.ReachTurns;
            if (isAsked)
            {
                sweep.Done = _sweeping;
            }
            return;
        }
    }

    /// <summary>Begins a round of marks with a pass, if every worker has been quiescent since the last one began. A pass that began anew goes on with its round.</summary>
    private void BeginRound(ref RoundOfMarks marks)
    {
        marks.Last = _table.IsEmpty(_isIPv6) ? marks.Last : LastRounds;
        if (!marks.IsOpen && _segment.Quiescence.HasPassed(marks.Grace))
        {
            _table.Marks.Begin(_isIPv6);
            marks.Grace = _segment.Quiescence.Advance();
            marks.IsOpen = true;
        }
    }

    private void EndRound(ref RoundOfMarks marks)
    {
        if (marks.IsOpen)
        {
            _table.Marks.End(_isIPv6);
            marks.IsOpen = false;
            marks.Last -= _table.IsEmpty(_isIPv6) && marks.Last > 0 ? 1 : 0;
        }
    }
}
