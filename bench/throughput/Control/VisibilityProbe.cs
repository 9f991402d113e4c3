using System.Diagnostics;

namespace Dataplane.ThroughputBench.Control;

/// <summary>
/// Looks at the segment, as a worker would, until addresses are there, and notes when. A thread of its own that sleeps between two
/// looks: one that spins would take the CPU from the daemon it measures.
/// </summary>
public sealed class VisibilityProbe : IDisposable
{
    private readonly Func<ulong, bool> _isVisible;
    private readonly Queue<(ulong Mac, TaskCompletionSource<long> Seen)> _waiting = new();
    private readonly ManualResetEventSlim _work = new(initialState: false, spinCount: 0);
    private readonly Thread _thread;
    private volatile bool _stop;
    private volatile uint _pause = Closely;

    /// <summary>
    /// Microseconds between two looks, to which the kernel adds its timer slack of 50: for times of milliseconds, and for those of a
    /// stream at full speed, where a look more often would take its share of the CPU from what it measures.
    /// </summary>
    public const uint Closely = 20, Loosely = 1_000;

    public uint Pause
    {
        get => _pause;
        set => _pause = value;
    }

    /// <param name="isVisible">Whether a worker that looks up an address now finds it.</param>
    public VisibilityProbe(Func<ulong, bool> isVisible)
    {
        _isVisible = isVisible;
        _thread = new Thread(Run) { Name = "probe", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Gives the time stamp (<see cref="Stopwatch.GetTimestamp"/>) at which an address was there. Those asked for before come first.</summary>
    public Task<long> When(ulong mac)
    {
        var seen = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_waiting)
        {
            _waiting.Enqueue((mac, seen));
            _work.Set();
        }
        return seen.Task;
    }

    public void Dispose()
    {
        _stop = true;
        _work.Set();
        _thread.Join();
        _work.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            _work.Wait();
            (ulong Mac, TaskCompletionSource<long> Seen) next;
            lock (_waiting)
            {
                if (_waiting.Count == 0)
                {
                    if (_stop)
                    {
                        return;
                    }
                    _work.Reset();
                    continue;
                }
                next = _waiting.Dequeue();
            }
            while (!_isVisible(next.Mac))
            {
                if (_stop)
                {
                    next.Seen.TrySetCanceled();
                    return;
                }
                Microseconds.Sleep(_pause);
            }
            next.Seen.SetResult(Stopwatch.GetTimestamp());
        }
    }
}
