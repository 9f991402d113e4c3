namespace Dataplane.ThroughputBench.Harness;

/// <summary>The benchmark cannot go on; the message says why, and what to do about it.</summary>
public sealed class BenchException(string message) : Exception(message);
