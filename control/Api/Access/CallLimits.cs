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

/// <summary>What the limits leave to each caller at the moment.</summary>
public sealed class CallBudgets(CallLimits limits) : IDisposable
{
    private readonly PartitionedRateLimiter<Caller> _changes = PartitionedRateLimiter.Create<Caller, string>(caller =>
        RateLimitPartition.GetTokenBucketLimiter(caller.Name, _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = limits.ChangesAtOnce,
            TokensPerPeriod = Math.Max(1, limits.ChangesPerSecond / 10),
            ReplenishmentPeriod = TimeSpan.FromMilliseconds(100),
            QueueLimit = limits.Streams,
        }));

    private readonly PartitionedRateLimiter<Caller> _streams = PartitionedRateLimiter.Create<Caller, string>(caller =>
        RateLimitPartition.GetConcurrencyLimiter(caller.Name, _ => new ConcurrencyLimiterOptions { PermitLimit = limits.Streams }));

    public CallLimits Limits => limits;

    /// <summary>Takes one change. Not acquired when there is none left; the lease then tells when to try again.</summary>
    public RateLimitLease TakeChange(Caller caller) => _changes.AttemptAcquire(caller);

    /// <summary>Takes one change, and waits until there is one.</summary>
    public ValueTask<RateLimitLease> WaitForChangeAsync(Caller caller, CancellationToken cancel) => _changes.AcquireAsync(caller, 1, cancel);

    /// <summary>Takes one of the caller's streams, until disposed.</summary>
    public RateLimitLease TakeStream(Caller caller) => _streams.AttemptAcquire(caller);

    public void Dispose()
    {
        _changes.Dispose();
        _streams.Dispose();
    }
}
