using System.Diagnostics;

namespace Dataplane.Control.Observation;

/// <summary>Turns CLOCK_MONOTONIC, which the engine tells time by, into the time of day as it is now.</summary>
public readonly struct MonotonicTime
{
    private readonly ulong _offset;

    private MonotonicTime(ulong offset) => _offset = offset;

    public static MonotonicTime Now()
    {
        ulong monotonic = (ulong)Stopwatch.GetTimestamp() * (ulong)(1_000_000_000 / Stopwatch.Frequency);
        return new MonotonicTime((ulong)(DateTimeOffset.UtcNow - DateTimeOffset.UnixEpoch).Ticks * 100 - monotonic);
    }

    /// <summary>Nanoseconds since 1970.</summary>
    public ulong ToUnixNanoseconds(ulong monotonic) => monotonic + _offset;

    public DateTimeOffset ToTime(ulong monotonic) => DateTimeOffset.UnixEpoch.AddTicks((long)(ToUnixNanoseconds(monotonic) / 100));
}
