namespace Dataplane.Workers;

/// <summary>How an engine runs.</summary>
public sealed record EngineOptions
{
    /// <summary>Forwarding threads, 1 to the segment's limit.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>CPU of each worker in turn; empty: not pinned.</summary>
    public IReadOnlyList<int> Cores { get; init; } = [];

    /// <summary>Never sleep: lowest latency, a whole core per worker.</summary>
    public bool BusyPoll { get; init; }

    /// <summary>Buffers of 2 KiB.</summary>
    public int SmallBuffers { get; init; } = 16_384;

    /// <summary>Buffers of 64 KiB.</summary>
    public int LargeBuffers { get; init; } = 512;
}
