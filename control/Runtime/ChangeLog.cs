using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Runtime;

/// <summary>
/// Hands changes to watchers. Nobody waits for a watcher: each has a bounded buffer, and one that lets it run full is cut
/// off and told to list again. The most recent changes are kept, so that a watcher that lost its connection can go on.
/// <para>
/// Buffers hold only what their watcher wants to see, and share its objects. A batch is taken as a whole or not at all: one
/// that is larger than a buffer reaches those who have nothing left to read.
/// </para>
/// </summary>
public sealed class ChangeLog(ulong firstRevision, int remembered = 16_384, int buffered = 16_384)
{
    private readonly Lock _lock = new();
    private readonly Queue<Remembered> _recent = new();
    private readonly List<Watcher> _watchers = [];
    private ulong _first = firstRevision;

    /// <summary>One watcher's view.</summary>
    public sealed class Watcher : IDisposable
    {
        private readonly ChangeLog _log;
        private readonly Func<WatchEvent, bool> _wants;
        private readonly Channel<WatchEvent> _channel = Channel.CreateUnbounded<WatchEvent>(new UnboundedChannelOptions { SingleReader = true });
        private int _waiting;

        internal Watcher(ChangeLog log, Func<WatchEvent, bool> wants, IReadOnlyList<WatchEvent> missed)
        {
            _log = log;
            _wants = wants;
            Missed = missed;
        }

        /// <summary>Changes since the revision that was asked for, up to the beginning of <see cref="Changes"/>.</summary>
        public IReadOnlyList<WatchEvent> Missed { get; }

        /// <summary>Changes as they happen. Ends with <see cref="SlowWatcherException"/> when the reader was too slow.</summary>
        public async IAsyncEnumerable<WatchEvent> Changes([EnumeratorCancellation] CancellationToken cancel)
        {
            await foreach (WatchEvent change in _channel.Reader.ReadAllAsync(cancel))
            {
                Interlocked.Decrement(ref _waiting);
                yield return change;
            }
        }

        public void Dispose()
        {
            lock (_log._lock)
            {
                _log._watchers.Remove(this);
            }
            _channel.Writer.TryComplete();
        }

        /// <summary>False when the watcher is cut off.</summary>
        internal bool Offer(IReadOnlyCollection<WatchEvent> changes)
        {
            int count = changes.Count(_wants), waiting = Volatile.Read(ref _waiting);
            if (waiting > 0 && waiting + count > _log._buffered)
            {
                _channel.Writer.TryComplete(new SlowWatcherException(_log._buffered));
                return false;
            }
            Interlocked.Add(ref _waiting, count);
            return changes.Where(_wants).All(_channel.Writer.TryWrite);
        }
    }

    private readonly int _buffered = buffered;

    /// <summary>A change as it is remembered: as watchers got it, or as one may want it later.</summary>
    private readonly record struct Remembered(ulong Revision, WatchEvent? Event, ResourceChange Change)
    {
        public WatchEvent ToEvent() => Event ?? EventOf(Change, Change.Resource, Revision);
    }

    /// <summary>Appends events and hands them to every watcher.</summary>
    public void Publish(IReadOnlyCollection<WatchEvent> events)
    {
        lock (_lock)
        {
            foreach (WatchEvent one in events)
            {
                Remember(new Remembered(one.Revision, one, default));
            }
            _watchers.RemoveAll(w => !w.Offer(events));
        }
    }

    /// <summary>
    /// Appends the changes of a batch and hands them to every watcher. While nobody watches, nothing is made of those whose resources
    /// have no status: a stream of batches has thousands of them.
    /// </summary>
    /// <param name="changes">Those without effect are passed over.</param>
    /// <param name="revision">Revision of the state after them.</param>
    /// <param name="statusOf">Gives the resource of a change with its status.</param>
    public void Publish(IReadOnlyList<ResourceChange> changes, ulong revision, Func<ResourceChange, Resource> statusOf)
    {
        lock (_lock)
        {
            if (_watchers.Count > 0)
            {
                Publish([.. changes.Where(c => c.HasEffect).Select(c => EventOf(c, statusOf(c), revision))]);
                return;
            }
            foreach (ResourceChange change in changes)
            {
                if (change.HasEffect)
                {
                    bool plain = change.Kind is Kind.StaticMac or Kind.Neighbour or Kind.Backend;
                    Remember(new Remembered(revision, plain ? null : EventOf(change, statusOf(change), revision), change));
                }
            }
        }
    }

    /// <summary>A watcher of what happens from now on.</summary>
    /// <param name="wants">Which changes it is to see.</param>
    public Watcher Watch(Func<WatchEvent, bool> wants)
    {
        lock (_lock)
        {
            return Add(wants, []);
        }
    }

    /// <summary>A watcher of what happened since a revision (with it), or null when that is not remembered.</summary>
    /// <param name="revision">Last revision the watcher has seen.</param>
    /// <param name="current">The revision now; a watcher cannot have seen a later one.</param>
    /// <param name="wants">Which changes it is to see.</param>
    public Watcher? WatchFrom(ulong revision, ulong current, Func<WatchEvent, bool> wants)
    {
        lock (_lock)
        {
            // A batch has one revision: who was cut off in its midst gets all of it again, which is harmless.
            return revision < _first || revision > current ? null : Add(wants, [.. _recent.Where(c => c.Revision >= revision).Select(c => c.ToEvent()).Where(wants)]);
        }
    }

    private void Remember(in Remembered change)
    {
        _recent.Enqueue(change);
        if (_recent.Count > remembered)
        {
            // Of this revision something is forgotten now: only from a later one can a watcher go on.
            _first = _recent.Dequeue().Revision + 1;
        }
    }

    private static WatchEvent EventOf(in ResourceChange change, Resource resource, ulong revision) => new()
    {
        Type = change.Action switch
        {
            Change.Types.Action.Created => WatchEvent.Types.Type.Created,
            Change.Types.Action.Updated => WatchEvent.Types.Type.Updated,
            _ => WatchEvent.Types.Type.Deleted,
        },
        Resource = resource,
        Revision = revision,
    };

    private Watcher Add(Func<WatchEvent, bool> wants, IReadOnlyList<WatchEvent> missed)
    {
        var watcher = new Watcher(this, wants, missed);
        _watchers.Add(watcher);
        return watcher;
    }
}

/// <summary>A watcher did not read fast enough.</summary>
public sealed class SlowWatcherException(int buffered)
    : Exception($"the watcher is more than {buffered} changes behind; list again, then watch from the revision of the list");
