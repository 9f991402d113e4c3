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

    /// <summary>Whether packets of ports with one receive queue are shared among the workers, by their flows.</summary>
    public bool Distribute { get; init; }

    /// <summary>Whether receive queues go from busy workers to idle ones.</summary>
    public bool Balance { get; init; }

    /// <summary>Packets received at once, 1 to <see cref="Worker.BurstSize"/>.</summary>
    public int Burst { get; init; } = Worker.BurstSize;

    /// <summary>Buffers for ordinary packets.</summary>
    public int SmallBuffers { get; init; } = 16_384;

    /// <summary>Bytes of a packet that one of them holds. A device's frames must fit, where its driver makes no chains.</summary>
    public int BufferBytes { get; init; } = 2048;

    /// <summary>Buffers of 64 KiB.</summary>
    public int LargeBuffers { get; init; } = 512;
}
