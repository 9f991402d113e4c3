using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>
/// The control plane's neighbours. As MAC entries they are of no generation: they hold from the moment they are made. What a worker
/// learns of the same address never changes them.
/// </summary>
public sealed unsafe partial class SegmentWriter
{
    private readonly List<ulong> _neighbourGraves = [];
    private readonly HashSet<NeighbourKey> _newNeighbours = [];
    private ulong _lastNeighbourChange;

    /// <summary>The key of an IPv6 neighbour in this segment's table.</summary>
    public NeighbourKey NeighbourKey6(int port, IPv6Number address) => _segment.Neighbours.Key6(port, address.High, address.Low);

    /// <summary>
    /// Makes an entry permanent, or a permanent one. False when its buckets are full. <see cref="Synchronize"/> after the last
    /// one: only then it is certain that it rules, if the neighbour was just being learned.
    /// </summary>
    /// <param name="key">From <see cref="NeighbourTable.Key4"/> or <see cref="NeighbourTable.Key6"/>.</param>
    /// <param name="mac">Lowest byte first on the wire.</param>
    /// <param name="flags">What it is.</param>
    public bool SetNeighbour(in NeighbourKey key, ulong mac, NeighbourFlags flags = NeighbourFlags.None)
    {
        CheckPort(key.Port);
        if (!_segment.Neighbours.SetPermanent(in key, mac, flags))
        {
            return false;
        }
        _newNeighbours.Add(key);
        _lastNeighbourChange = _segment.Quiescence.Advance();
        return true;
    }

    /// <summary>
    /// Removes an entry, permanent or learned. False when there is none. Does not wait: the slot is freed when a later call does.
    /// </summary>
    public bool RemoveNeighbour(in NeighbourKey key)
    {
        _newNeighbours.Remove(key);
        if (!KillNeighbour(in key))
        {
            return false;
        }
        _lastNeighbourChange = _segment.Quiescence.Advance();
        return true;
    }

    /// <summary>
    /// Removes entries, in two steps around a grace period. Waits first until every worker sees the last commit, so that none
    /// learns again what that commit made wrong. Gives how many.
    /// </summary>
    /// <exception cref="TimeoutException">A worker hangs. What was removed reads as unknown, and is freed by a later call.</exception>
    public int RemoveNeighbours(NeighbourTable.Condition condition, object? state = null)
    {
        WaitFor(_previousCommit);
        SettleNeighbours();
        NeighbourTable table = _segment.Neighbours;
        int n = table.KillWhere(0, table.BucketCount, condition, state, _neighbourGraves);
        if (n != 0)
        {
            _lastNeighbourChange = _segment.Quiescence.Advance();
            SettleNeighbours();
        }
        return n;
    }

    /// <summary>What a writer left that died.</summary>
    private void TakeOverNeighbours()
    {
        _segment.Neighbours.KillUnfinished(_neighbourGraves);
        foreach (NeighbourEntry entry in _segment.Neighbours.List())
        {
            if (entry.State == NeighbourState.Permanent)
            {
                _newNeighbours.Add(entry.Key);
            }
        }
        _lastNeighbourChange = _segment.Quiescence.Advance();
    }

    /// <summary>As <see cref="SettleMacs"/>.</summary>
    private void SettleNeighbours()
    {
        while (_neighbourGraves.Count + _newNeighbours.Count != 0)
        {
            WaitFor(_lastNeighbourChange);
            _neighbourGraves.ForEach(_segment.Neighbours.Free);
            _neighbourGraves.Clear();
            foreach (NeighbourKey key in _newNeighbours)
            {
                ulong value = _segment.Neighbours.Find(in key);
                if (value != 0 && NeighbourValue.State(value) != NeighbourState.Permanent && KillNeighbour(in key))
                {
                    _lastNeighbourChange = _segment.Quiescence.Advance();
                }
            }
            _newNeighbours.Clear();
        }
    }

    private bool KillNeighbour(in NeighbourKey key)
    {
        if (!_segment.Neighbours.Kill(in key, out _, out ulong grave))
        {
            return false;
        }
        _neighbourGraves.Add(grave);
        return true;
    }
}
