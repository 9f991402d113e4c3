using System.Collections.Concurrent;
using System.Threading.RateLimiting;

namespace Dataplane.Control.Api.Access;

/// <summary>How much of this process one caller may take, whatever its role.</summary>
public sealed record CallLimits
{
    /// <summary>Largest message: some ten thousand resources.</summary>
    public const int LargestMessage = 16 * 1024 * 1024;

    /// <summary>Changing calls, and batches of Push, per second and caller: more than a disk can make durable.</summary>
    public int ChangesPerSecond { get; init; } = 5_000;

    /// <summary>Changing calls that a caller may have saved up.</summary>
    public int ChangesAtOnce { get; init; } = 10_000;

    /// <summary>Open streams per caller.</summary>
    public int Streams { get; init; } = 64;

    /// <summary>Connections over TCP, of all callers.</summary>
    public int TcpConnections { get; init; } = 256;
}

/// <summary>
/// What the limits leave to each caller at the moment. Nothing of this runs by the clock, for most of the time nobody calls: a caller's tokens are counted up
/// when he takes some, and who has long been gone is forgotten when somebody new comes.
/// </summary>
/// <param name="limits">For each caller.</param>
/// <param name="memory">So long after he has saved up all he may a caller is forgotten: he is as good as a new one. Null for ten seconds.</param>
public sealed class CallBudgets(CallLimits limits, TimeSpan? memory = null)
{
    private readonly TimeSpan _memory = memory ?? TimeSpan.FromSeconds(10);
    private readonly ConcurrentDictionary<string, Share> _shares = new();

    public CallLimits Limits => limits;

    /// <summary>Callers that are remembered.</summary>
    internal int Callers => _shares.Count;

    /// <summary>Takes one change. Not acquired when there is none left; the lease then tells when to try again.</summary>
    public RateLimitLease TakeChange(Caller caller)
    {
        TokenBucketRateLimiter changes = Of(caller).Changes;
        changes.TryReplenish();
        return changes.AttemptAcquire();
    }

    /// <summary>Takes one change, and waits until there is one.</summary>
    public async Task WaitForChangeAsync(Caller caller, CancellationToken cancel)
    {
        while (true)
        {
            using RateLimitLease lease = TakeChange(caller);
            if (lease.IsAcquired)
            {
                return;
            }
            await Task.Delay(RetryAfter(lease), cancel);
        }
    }

    /// <summary>When to try again, of a change that was not acquired.</summary>
    public static TimeSpan RetryAfter(RateLimitLease change) => change.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan time) ? time : TimeSpan.FromSeconds(1);

    /// <summary>Takes one of the caller's streams, until disposed.</summary>
    public RateLimitLease TakeStream(Caller caller) => Of(caller).Streams.AttemptAcquire();

    private Share Of(Caller caller)
    {
        if (_shares.TryGetValue(caller.Name, out Share? share))
        {
            return share;
        }
        foreach ((string name, Share other) in _shares)
        {
            if (other.IdleTime > _memory)
            {
                _shares.TryRemove(name, out _);
            }
        }
        return _shares.GetOrAdd(caller.Name, _ => new Share(limits));
    }

    /// <summary>What one caller has left.</summary>
    private sealed class Share(CallLimits limits)
    {
        public TokenBucketRateLimiter Changes { get; } = new(new TokenBucketRateLimiterOptions
        {
            TokenLimit = limits.ChangesAtOnce,
            TokensPerPeriod = Math.Max(1, limits.ChangesPerSecond / 10),
            ReplenishmentPeriod = TimeSpan.FromMilliseconds(100),
            AutoReplenishment = false,
        });

        public ConcurrencyLimiter Streams { get; } = new(new ConcurrencyLimiterOptions { PermitLimit = limits.Streams });

        /// <summary>How long he has had all that one may have; null when he has not.</summary>
        public TimeSpan? IdleTime
        {
            get
            {
                Changes.TryReplenish();
                return Changes.IdleDuration is { } changes && Streams.IdleDuration is { } streams ? (changes < streams ? changes : streams) : null;
            }
        }
    }
}
