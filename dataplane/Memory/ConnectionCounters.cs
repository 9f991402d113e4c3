using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>
/// What one writer has done to the connection table: a worker, or housekeeping (the last record). Each writes its own; the sums over all
/// are what is in the table.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
public struct ConnectionCounters
{
    public const int SizeInBytes = 128;

    /// <summary>Slots taken less slots freed.</summary>
    [FieldOffset(0)] public long Slots4;
    [FieldOffset(8)] public long Slots6;
    /// <summary>Connections made less connections removed.</summary>
    [FieldOffset(16)] public long Connections;
    /// <summary>Of these, half-open ones.</summary>
    [FieldOffset(24)] public long HalfOpen;
    /// <summary>Connections made.</summary>
    [FieldOffset(32)] public ulong Inserted;
    /// <summary>Half-open entries, and connections that were over, that made room for others.</summary>
    [FieldOffset(40)] public ulong Evicted;
    /// <summary>Entries removed because their time was over.</summary>
    [FieldOffset(48)] public ulong Expired;
    /// <summary>Connections refused because the table was full.</summary>
    [FieldOffset(56)] public ulong Refused;
    /// <summary>Entries removed because their backend is gone.</summary>
    [FieldOffset(64)] public ulong Swept;
    /// <summary>Of the connections, those that are over (<see cref="Tables.ConnectionTracking.IsOver"/>).</summary>
    [FieldOffset(72)] public long Over;
    /// <summary>Of housekeeping: not 0 while it changes the table, or is about to.</summary>
    [FieldOffset(80)] public uint Claimed;
}

/// <summary>What is in the connection table, and what has happened to it.</summary>
/// <param name="Capacity4">IPv4 connections that fit.</param>
/// <param name="Capacity6">IPv6 connections that fit.</param>
/// <param name="Slots4">IPv4 slots in use: two for a connection, one for an affinity or a fragment.</param>
/// <param name="Slots6">IPv6 slots in use.</param>
/// <param name="Connections">Connections now.</param>
/// <param name="HalfOpen">Of these, half-open ones.</param>
/// <param name="Over">Of these, closed ones that are kept for stragglers.</param>
/// <param name="Inserted">Connections made.</param>
/// <param name="Evicted">Half-open entries, and connections that were over, that made room for others.</param>
/// <param name="Expired">Entries removed because their time was over.</param>
/// <param name="Refused">Connections refused because the table was full.</param>
/// <param name="Swept">Entries removed because their backend is gone.</param>
public readonly record struct ConnectionStatistics(
    long Capacity4, long Capacity6, long Slots4, long Slots6, long Connections, long HalfOpen, long Over, ulong Inserted, ulong Evicted, ulong Expired, ulong Refused, ulong Swept);
