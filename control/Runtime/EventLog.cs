using System.Threading.Channels;
using Dataplane.Control.Api.V1;
using Google.Protobuf.WellKnownTypes;

namespace Dataplane.Control.Runtime;

/// <summary>
/// What happened, for people: the most recent events, and new ones for whoever follows. A follower that is too slow loses
/// the oldest and sees it by the gap in the sequence.
/// </summary>
public sealed class EventLog(TimeProvider clock, int remembered = 1024)
{
    private readonly Lock _lock = new();
    private readonly Queue<Event> _recent = new();
    private readonly List<Channel<Event>> _followers = [];
    private ulong _sequence;

    /// <summary>Appends an event; time (unless it has one) and sequence number are filled in.</summary>
    public void Add(Event what)
    {
        what.Time ??= Timestamp.FromDateTimeOffset(clock.GetUtcNow());
        lock (_lock)
        {
            what.Sequence = ++_sequence;
            _recent.Enqueue(what);
            if (_recent.Count > remembered)
            {
                _recent.Dequeue();
            }
            _followers.ForEach(f => f.Writer.TryWrite(what));
        }
    }

    /// <summary>The most recent events, oldest first.</summary>
    public IReadOnlyList<Event> Recent()
    {
        lock (_lock)
        {
            return [.. _recent];
        }
    }

    /// <summary>The most recent events, then new ones until cancelled.</summary>
    public async IAsyncEnumerable<Event> Follow([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        var channel = Channel.CreateBounded<Event>(new BoundedChannelOptions(remembered) { FullMode = BoundedChannelFullMode.DropOldest });
        IReadOnlyList<Event> recent;
        lock (_lock)
        {
            recent = [.. _recent];
            _followers.Add(channel);
        }
        try
        {
            foreach (Event old in recent)
            {
                yield return old;
            }
            await foreach (Event fresh in channel.Reader.ReadAllAsync(cancel))
            {
                yield return fresh;
            }
        }
        finally
        {
            lock (_lock)
            {
                _followers.Remove(channel);
            }
        }
    }
}
