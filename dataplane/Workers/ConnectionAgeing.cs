using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Workers;

/// <summary>
/// Housekeeping's share in connections: removes those whose time is over, and those of removed backends (<see cref="ConnectionSweep"/>), a slice
/// at a time. It allocates nothing while it runs.
/// </summary>
internal sealed unsafe class ConnectionAgeing
{
    /// <summary>Slots looked at per turn: all of them each second, or those for ten million connections each eight.</summary>
    private const uint MinSlice = 8192, MaxSlice = 1 << 19;

    /// <summary>Slots looked at per turn while somebody waits for the connections of a backend to be gone.</summary>
    private const uint SweepSlice = 1 << 22;

    private readonly Segment _segment;
    private readonly ConnectionTable _table;
    private bool _isIPv6;
    private uint _next;
    private ulong _sweeping;
    private uint _reachTurn;

    internal ConnectionAgeing(Segment segment)
    {
        _segment = segment;
        _table = segment.ConnectionsOf(segment.MaxWorkers);
    }

    /// <summary>One turn.</summary>
    /// <param name="now">Seconds of the workers' clock.</param>
    /// <param name="turns">Turns in a second.</param>
    internal void RunOnce(uint now, int turns)
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
            uint slice = _table.IsEmpty(_isIPv6) ? 0 : Math.Min(budget, count - _next);
            if (slice != 0)
            {
                _table.Age(_isIPv6, _next, slice, in pass);
                _next += slice;
                budget -= slice;
            }
            if (slice != 0 && _next < count)
            {
                return;
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
}
