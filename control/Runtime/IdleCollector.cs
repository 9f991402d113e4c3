namespace Dataplane.Control.Runtime;

/// <summary>
/// Collects what is young while nothing is asked for. A collection stops every thread, for a millisecond or two per MiB of what lives on,
/// and what changes desired state lives on. Left to itself the runtime collects after some 16 MiB, which is in the midst of a batch as
/// often as not, and batches behind that one wait, too. A batch that comes a few milliseconds behind the last one finds it done.
/// <para>
/// Under a load without a pause there is no such moment, and the runtime collects when it has to.
/// </para>
/// </summary>
internal sealed class IdleCollector : IDisposable
{
    /// <summary>Bytes that are young: fewer are not worth stopping for, more of them would take too long.</summary>
    private const long Enough = 1 << 20;

    /// <summary>
    /// Collections in one moment: what lives on in one is moved once more by the next, and then has its place. Instead of the first the
    /// runtime may begin to mark all of the heap.
    /// </summary>
    private const int Most = 3;

    /// <summary>Calls that come one behind the other come sooner than that.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(1);

    private readonly Controller _controller;
    private readonly Action _collect;
    private readonly Thread _thread;
    private readonly object _lock = new();
    private bool _wanted, _stop;
    private long _allocated, _left, _last;
    private int _collections = -1;

    /// <param name="controller">What it waits for.</param>
    /// <param name="collect">Collects what is young.</param>
    public IdleCollector(Controller controller, Action? collect = null)
    {
        _controller = controller;
        // Not blocking: should the runtime find that all of the heap is due, it is marked while calls go on.
        _collect = collect ?? (() => GC.Collect(1, GCCollectionMode.Forced, blocking: false));
        // A thread of its own: a timer of the runtime has the kernel's tick, which is 4 ms as often as not.
        _thread = new Thread(Run) { Name = "collector", IsBackground = true };
        _thread.Start();
        controller.Idle += OnIdle;
    }

    public void Dispose()
    {
        _controller.Idle -= OnIdle;
        lock (_lock)
        {
            _stop = true;
            Monitor.Pulse(_lock);
        }
        _thread.Join();
    }

    private void OnIdle()
    {
        lock (_lock)
        {
            _wanted |= IsDue();
            if (_wanted)
            {
                Monitor.Pulse(_lock);
            }
        }
    }

    /// <summary>False at the end.</summary>
    private bool WaitUntilWanted()
    {
        lock (_lock)
        {
            while (!_wanted && !_stop)
            {
                Monitor.Wait(_lock);
            }
            _wanted = false;
            return !_stop;
        }
    }

    private void Run()
    {
        while (WaitUntilWanted())
        {
            for (int i = 0; i < Most && IsDue(); i++)
            {
                // Behind each of them, too, there is a moment for a batch to come.
                long begun = _controller.Begun;
                Thread.Sleep(Quiet);
                if (!_controller.IsIdle || _controller.Begun != begun)
                {
                    break;
                }
                _collect();
            }
        }
    }

    /// <summary>Whether enough is young: what the last collection left so, whoever asked for that, and what was allocated since.</summary>
    private bool IsDue()
    {
        lock (_lock)
        {
            long allocated = GC.GetTotalAllocatedBytes();
            int collections = GC.CollectionCount(0);
            if (collections != _collections)
            {
                _collections = collections;
                // To mark all of the heap counts, too, and leaves what is young as it is.
                GCMemoryInfo last = GC.GetGCMemoryInfo(GCKind.Ephemeral);
                if (last.Index != _last)
                {
                    _left = last.GenerationInfo[0].SizeAfterBytes + last.GenerationInfo[1].SizeAfterBytes;
                    (_allocated, _last) = (allocated, last.Index);
                }
            }
            return allocated - _allocated + _left >= Enough;
        }
    }
}
