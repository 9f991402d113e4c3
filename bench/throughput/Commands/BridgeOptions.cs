namespace Dataplane.ThroughputBench.Commands;

/// <summary>What the user asked for; see <see cref="BridgeCommand"/>.</summary>
public sealed record BridgeOptions
{
    public required IReadOnlyList<int> Macs { get; init; }
    public required int Runs { get; init; }
    public required int Seconds { get; init; }
    public required int WindowMilliseconds { get; init; }
    public required int? Core { get; init; }
    public required IReadOnlyList<string> Engines { get; init; }
    public required bool Peers { get; init; }
    public required bool Hugepages { get; init; }
    public required bool ReserveHugepages { get; init; }
    public required string? Output { get; init; }
}
