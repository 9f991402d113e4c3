using System.Diagnostics;

namespace Dataplane.Workers;

/// <summary>
/// Time as a parameter: CLOCK_MONOTONIC in a running engine, turned by hand in tests, so that five minutes of ageing pass in a
/// microsecond.
/// </summary>
public abstract class EngineClock
{
    /// <summary>Nanoseconds since some fixed point in the past, the same for all processes of a machine.</summary>
    public abstract ulong Nanoseconds { get; }

    /// <summary>Whole seconds: the resolution of a MAC entry's age.</summary>
    public uint Seconds => (uint)(Nanoseconds / 1_000_000_000);

    /// <summary>How long a worker may go on with the time it read last, in nanoseconds.</summary>
    public virtual ulong Resolution => 100_000;
}

/// <summary>CLOCK_MONOTONIC.</summary>
public sealed class MonotonicClock : EngineClock
{
    // On Linux, Stopwatch reads CLOCK_MONOTONIC and counts nanoseconds.
    public override ulong Nanoseconds => (ulong)Stopwatch.GetTimestamp() * (ulong)(1_000_000_000 / Stopwatch.Frequency);
}

/// <summary>Stands still until it is told to go on.</summary>
public sealed class ManualClock : EngineClock
{
    private ulong _now = 1_000_000_000_000;

    public override ulong Nanoseconds => Volatile.Read(ref _now);
    public override ulong Resolution => 0;

    public void Advance(TimeSpan time) => Interlocked.Add(ref _now, (ulong)time.Ticks * 100);
}
