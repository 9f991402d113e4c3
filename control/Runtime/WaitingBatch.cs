using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Runtime;

/// <summary>A batch that waits for its turn, and its caller's result.</summary>
internal sealed class WaitingBatch
{
    private const int Waiting = 0, Taken = 1, Withdrawn = 2;

    private readonly TaskCompletionSource<CommitResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ulong[]? _revisions;
    private int _state;

    public WaitingBatch(Batch batch)
    {
        Batch = batch;
        bool light = true, expects = false;
        foreach (Resource resource in batch.Apply)
        {
            light &= IsLight(resource.Kind);
            expects |= resource.Revision != 0;
        }
        IsEntriesOnly = light && batch.Delete.All(k => IsLight(k.Kind));
        _revisions = expects && batch.Owned ? [.. batch.Apply.Select(r => r.Revision)] : null;
    }

    public Batch Batch { get; }

    /// <summary>Resources that it names.</summary>
    public int Size => Batch.Apply.Count + Batch.Delete.Count;

    /// <summary>Whether it has entries of tables only, and nothing with a device or a record of its own.</summary>
    public bool IsEntriesOnly { get; }

    /// <summary>Whether nobody has begun it.</summary>
    public bool IsWaiting => Volatile.Read(ref _state) == Waiting;

    public Task<CommitResult> Result => _result.Task;

    /// <summary>It has its turn. False when its caller has withdrawn it.</summary>
    public bool TryTake() => Interlocked.CompareExchange(ref _state, Taken, Waiting) == Waiting;

    /// <summary>Its caller does not want it any more. False when it has begun.</summary>
    public bool TryWithdraw() => Interlocked.CompareExchange(ref _state, Withdrawn, Waiting) == Waiting;

    public void Succeed(CommitResult result) => _result.SetResult(result);

    public void Fail(Exception error) => _result.SetException(error);

    /// <summary>Makes it as it came: planning has written the revisions into resources that are the state's to keep.</summary>
    public void Reset()
    {
        if (!Batch.Owned)
        {
            return;
        }
        for (int i = 0; i < Batch.Apply.Count; i++)
        {
            Resource resource = Batch.Apply[i];
            resource.Revision = _revisions?[i] ?? 0;
        }
    }

    private static bool IsLight(Kind kind) => kind is Kind.StaticMac or Kind.Neighbour or Kind.Route or Kind.Service or Kind.Backend or Kind.PublishedPort;
}
