using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Workers;

/// <summary>
/// The engine's slow clockwork, on a thread of its own: ages MAC entries, neighbours and connections (a slice of the tables at a time), gives a sign of life,
/// and publishes figures that no worker should spend time on. It allocates nothing while it runs.
/// </summary>
public sealed unsafe class Housekeeping
{
    private const int PeriodMilliseconds = 100;

    /// <summary>Buckets looked at per turn: a laptop's table each second, a million addresses each ten.</summary>
    private const int MaxSlice = 8192;

    /// <summary>
    /// Addresses of a network that is gone are the control process's to remove. When it died before it did, they age: this long
    /// after they were last seen and after the last commit, when nobody is about to do it any more.
    /// </summary>
    private const uint OrphanSeconds = 10;

    private readonly Engine _engine;
    private readonly Segment _segment;
    private readonly List<ulong> _killed = new(MaxSlice * MacBucket.Ways);
    // Not the slim one, which spins and yields before it waits: five turns on a CPU that may have better things to do.
    private readonly ManualResetEvent _stop = new(false);
    private readonly MacTable.Condition _isExpired;
    private readonly Action<MacEntry> _report;
    private readonly uint[] _ageingOfBridge;
    private readonly bool[] _isPlain;
    private readonly int[] _bridgeOfBlock = new int[Fids.Blocks + 1];
    private readonly int _collectionsAtStart;
    private readonly NeighbourAgeing _neighbours;
    private readonly ConnectionAgeing _connections;
    private Thread? _thread;
    private int _nextBucket;
    private ulong _grace;
    private ulong _generation;
    private uint _now, _settledAt;

    internal Housekeeping(Engine engine)
    {
        _engine = engine;
        _segment = engine.Segment;
        _ageingOfBridge = new uint[_segment.MaxBridges];
        _isPlain = new bool[_segment.MaxBridges];
        _neighbours = new NeighbourAgeing(_segment);
        _connections = new ConnectionAgeing(_segment);
        _isExpired = IsExpired;
        _report = Report;
        _collectionsAtStart = GC.CollectionCount(0);
    }

    internal void Start()
    {
        _connections.AwaitsWorker = _engine.Workers.Count == 1;
        _thread = new Thread(Run) { Name = "housekeeping", IsBackground = true };
        _thread.Start();
    }

    internal void Stop()
    {
        _stop.Set();
        _thread?.Join();
    }

    /// <summary>One turn; tests call it with a clock they turn.</summary>
    public void RunOnce()
    {
        ref SegmentHeader header = ref _segment.Header;
        Volatile.Write(ref header.EngineHeartbeat, _engine.Clock.Nanoseconds);
        header.EngineCollections = (ulong)(GC.CollectionCount(0) - _collectionsAtStart);
        header.BuffersTotal = (uint)_engine.Pools.Size;
        header.BuffersFree = (uint)_engine.Pools.Available;
        FreeKilled();
        if (_killed.Count == 0)
        {
            AgeSlice();
        }
        _neighbours.RunOnce(_engine.Clock.Seconds, 1000 / PeriodMilliseconds);
        _connections.RunOnce(_engine.Clock.Seconds, 1000 / PeriodMilliseconds);
    }

    private void Run()
    {
        while (!_stop.WaitOne(PeriodMilliseconds))
        {
            RunOnce();
        }
    }

    /// <summary>The keys killed in an earlier turn, once every worker has been quiescent since.</summary>
    private void FreeKilled()
    {
        if (_killed.Count == 0 || !_segment.Quiescence.HasPassed(_grace))
        {
            return;
        }
        foreach (ulong key in _killed)
        {
            _segment.Macs.Free(key);
        }
        _killed.Clear();
    }

    private void AgeSlice()
    {
        _now = _engine.Clock.Seconds;
        ReadAgeing();
        MacTable table = _segment.Macs;
        int slice = Math.Clamp(table.BucketCount / (1000 / PeriodMilliseconds), Math.Min(1024, table.BucketCount), MaxSlice);
        int n = table.KillWhere(_nextBucket, slice, _isExpired, null, _killed, _report);
        _nextBucket = _nextBucket + slice >= table.BucketCount ? 0 : _nextBucket + slice;
        if (n != 0)
        {
            _grace = _segment.Quiescence.Advance();
        }
    }

    private void ReadAgeing()
    {
        ulong generation = _segment.Generation;
        if (generation != _generation)
        {
            _generation = generation;
            _settledAt = _now + OrphanSeconds;
        }
        Array.Clear(_bridgeOfBlock);
        for (int i = 1; i < _ageingOfBridge.Length; i++)
        {
            ref readonly BridgeRecord bridge = ref _segment.Bridge(i, generation);
            bool exists = (bridge.Flags & BridgeFlags.Exists) != 0;
            _ageingOfBridge[i] = bridge.AgeingSeconds;
            _isPlain[i] = exists && bridge.FidMask == 0;
            if (exists && bridge.FidMask != 0)
            {
                _bridgeOfBlock[bridge.FidBase / Fids.BlockSize] = i;
            }
        }
    }

    private bool IsExpired(in MacEntry entry, object? state)
    {
        if (entry.Flags != MacFlags.None)
        {
            return false;
        }
        int bridge = BridgeOf(entry.Fid);
        if (bridge == 0 && (int)(_now - _settledAt) < 0)
        {
            return false;
        }
        uint ageing = bridge == 0 ? OrphanSeconds : _ageingOfBridge[bridge];
        // Time is a difference of unsigned numbers; an entry from "the future" was refreshed while we looked.
        return ageing != 0 && (int)(_now - entry.LastSeen) > 0 && _now - entry.LastSeen >= ageing;
    }

    /// <summary>As <see cref="Fids.BridgeOf"/>, for every entry of the table.</summary>
    private int BridgeOf(ushort fid) => fid >= Fids.BlockSize ? _bridgeOfBlock[fid / Fids.BlockSize]
        : fid < _isPlain.Length && _isPlain[fid] ? fid : 0;

    private void Report(MacEntry entry)
    {
        LearnedCounts.Remove(_segment, entry);
        if (BridgeOf(entry.Fid) is not 0 and var bridge)
        {
            Interlocked.Increment(ref _segment.BridgeRuntime[bridge].Aged);
        }
    }
}
