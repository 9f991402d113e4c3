using Dataplane.Observation;
using Dataplane.Memory;

namespace Dataplane.Control.Observation;

/// <summary>Takes the records of one session. Called on the hub's thread, one record at a time; it must not wait.</summary>
public interface ICaptureSink
{
    /// <param name="record">Its head.</param>
    /// <param name="bytes">The packet's, valid during the call.</param>
    /// <param name="lost">Records of the session that were lost in the workers' rings so far.</param>
    void Take(in CaptureRecord record, ReadOnlySpan<byte> bytes, ulong lost);

    /// <summary>Called after a round of records, and at least every few milliseconds.</summary>
    void EndOfRound();
}

/// <summary>
/// Reads the workers' rings and deals records out to whom they are for. While nobody captures it sleeps; while somebody does it
/// looks every two milliseconds, and goes on at once while there is more.
/// </summary>
public sealed class CaptureHub
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(2);
    private const int Round = 2048;

    private readonly CaptureDesk _desk;
    private readonly Lock _lock = new();
    private readonly ICaptureSink?[] _sinks = new ICaptureSink?[CaptureSession.Limit];
    private readonly ulong[] _lostBefore = new ulong[CaptureSession.Limit];
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly CaptureDesk.Reader _deal;

    public CaptureHub(Segment segment)
    {
        _desk = new CaptureDesk(segment);
        _deal = Deal;
    }

    /// <summary>Opens a session for a sink, until the result is disposed of.</summary>
    /// <exception cref="CaptureBusyException">There are too many.</exception>
    /// <exception cref="TimeoutException">A worker hangs.</exception>
    public CaptureLease Open(CaptureWish wish, ICaptureSink sink)
    {
        lock (_lock)
        {
            // A record of whoever had this number before must not reach its successor.
            while (_desk.Read(_deal, Round) != 0)
            {
            }
            int session = _desk.Open(wish, isFree: number => _sinks[number] is null);
            _lostBefore[session] = _desk.Lost(session);
            _sinks[session] = sink;
            if (_wake.CurrentCount == 0)
            {
                _wake.Release();
            }
            return new CaptureLease(this, session);
        }
    }

    /// <summary>Reads until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                await (_desk.Active == 0 ? _wake.WaitAsync(cancel) : Task.Delay(Pause, cancel));
                while (Pump() == Round && !cancel.IsCancellationRequested)
                {
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Told to end.
        }
    }

    private int Pump()
    {
        lock (_lock)
        {
            int read = _desk.Read(_deal, Round);
            foreach (ICaptureSink? sink in _sinks)
            {
                sink?.EndOfRound();
            }
            return read;
        }
    }

    private void Deal(in CaptureRecord record, ReadOnlySpan<byte> bytes)
    {
        for (int session = 0; session < _sinks.Length; session++)
        {
            if ((record.Sessions >> session & 1) != 0)
            {
                _sinks[session]?.Take(in record, bytes, _desk.Lost(session) - _lostBefore[session]);
            }
        }
    }

    internal void Close(int session)
    {
        lock (_lock)
        {
            _desk.Close(session);
        }
    }

    /// <summary>Gives the sink of a closed session what the workers wrote for it to the end, and lets go of it.</summary>
    internal async Task DrainAsync(int session)
    {
        for (int i = 0; i < 100 && !IsQuiet(session); i++)
        {
            await Task.Delay(Pause);
        }
        lock (_lock)
        {
            while (_desk.Read(_deal, Round) != 0)
            {
            }
            Release(session);
        }
    }

    internal void Release(int session)
    {
        lock (_lock)
        {
            _sinks[session]?.EndOfRound();
            _sinks[session] = null;
        }
    }

    private bool IsQuiet(int session)
    {
        lock (_lock)
        {
            return _desk.IsQuiet(session);
        }
    }
}

/// <summary>A session of the hub, until it is disposed of.</summary>
public sealed class CaptureLease : IDisposable
{
    private readonly CaptureHub _hub;
    private readonly int _session;
    private int _closed, _released;

    internal CaptureLease(CaptureHub hub, int session)
    {
        _hub = hub;
        _session = session;
    }

    /// <summary>Ends it, and returns when the sink has everything that was captured until now.</summary>
    public async Task FinishAsync()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _hub.Close(_session);
            await _hub.DrainAsync(_session);
            _released = 1;
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _hub.Close(_session);
        }
        if (Interlocked.Exchange(ref _released, 1) == 0)
        {
            _hub.Release(_session);
        }
    }
}
