using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Workers;

/// <summary>Housekeeping's share in neighbours: lets their table grow older, a slice at a time. It allocates nothing while it runs.</summary>
internal sealed class NeighbourAgeing
{
    /// <summary>Buckets looked at per turn: all of them each second, or a million entries each ten.</summary>
    private const int MinSlice = 1024, MaxSlice = 8192;

    private readonly Segment _segment;
    private readonly bool[] _interfaces;
    private readonly List<ulong> _graves = new(MaxSlice * NeighbourBucket.Ways);
    private ulong _grace;
    private int _next;

    internal NeighbourAgeing(Segment segment)
    {
        _segment = segment;
        _interfaces = new bool[segment.MaxPorts];
    }

    /// <summary>One turn.</summary>
    /// <param name="now">Seconds of the workers' clock.</param>
    /// <param name="turns">Turns in a second.</param>
    internal void RunOnce(uint now, int turns)
    {
        NeighbourTable table = _segment.Neighbours;
        if (_graves.Count != 0)
        {
            if (!_segment.Quiescence.HasPassed(_grace))
            {
                return;
            }
            foreach (ulong grave in _graves)
            {
                table.Free(grave);
            }
            _graves.Clear();
        }
        ulong generation = _segment.Generation;
        for (int i = 1; i < _interfaces.Length; i++)
        {
            _interfaces[i] = _segment.Interface(i, generation).Has(InterfaceFlags.Exists);
        }
        int slice = Math.Clamp(table.BucketCount / turns, Math.Min(MinSlice, table.BucketCount), MaxSlice);
        if (table.Age(_next, slice, now, _interfaces, _graves) != 0)
        {
            _grace = _segment.Quiescence.Advance();
        }
        _next = _next + slice >= table.BucketCount ? 0 : _next + slice;
    }
}
