using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What is known of a neighbour (RFC 4861, 7.3.2), in an order that makes "at least" a question worth asking.</summary>
public enum NeighbourState : byte
{
    /// <summary>No entry.</summary>
    None,
    /// <summary>Its address is being asked for.</summary>
    Incomplete,
    /// <summary>It was asked for in vain.</summary>
    Failed,
    /// <summary>Its address is known, but not whether it still holds. From here on packets can be sent to it.</summary>
    Stale,
    /// <summary>As <see cref="Stale"/>, and a packet went there a moment ago: it may be that an answer proves it reachable.</summary>
    Delay,
    /// <summary>As <see cref="Stale"/>, and the neighbour itself is being asked.</summary>
    Probe,
    /// <summary>It has answered recently.</summary>
    Reachable,
    /// <summary>Made by the control plane; never aged, never changed by a packet.</summary>
    Permanent,
}

[Flags]
public enum NeighbourFlags : byte
{
    None = 0,
    /// <summary>It says that it is a router (RFC 4861, the R bit of an advertisement).</summary>
    Router = 1,
}

/// <summary>One cache line: four keys, then their four values (<see cref="NeighbourValue"/>).</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public unsafe struct NeighbourBucket
{
    public const int Ways = 4;

    public fixed ulong Keys[Ways];
    public fixed ulong Values[Ways];
}

/// <summary>What of an entry does not lie in its bucket. Written while the slot belongs to one worker, but for the times.</summary>
[StructLayout(LayoutKind.Sequential, Size = SizeInBytes)]
public struct NeighbourDetail
{
    public const int SizeInBytes = 32;

    /// <summary>The address as <see cref="IPv6Number"/> has it; 0 and an IPv4 address.</summary>
    public ulong High;
    public ulong Low;
    /// <summary>When it was last proved to be reachable, in seconds of the workers' clock.</summary>
    public uint Confirmed;
    /// <summary>When it came into its state, in seconds of the workers' clock.</summary>
    public uint Changed;
    /// <summary>The interface.</summary>
    public ushort Port;
}

/// <summary>Whom an entry is about: an address on the link of an interface.</summary>
/// <param name="Word">What stands in the bucket: all of an IPv4 key, a hash of an IPv6 one.</param>
/// <param name="Port">Index of the interface's port.</param>
/// <param name="High">The upper half of an IPv6 address, 0 for IPv4.</param>
/// <param name="Low">The lower half, or an IPv4 address.</param>
public readonly record struct NeighbourKey(ulong Word, int Port, ulong High, ulong Low)
{
    public bool IsIPv6
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Word >> 60 == NeighbourTable.Family6;
    }
}

/// <summary>An entry in the table. A worker may use it until the end of its poll.</summary>
public readonly unsafe struct NeighbourSlot(ulong* key, NeighbourDetail* detail)
{
    public NeighbourDetail* Detail { get; } = detail;

    internal ulong* Key { get; } = key;

    /// <summary>See <see cref="NeighbourValue"/>; 0 when the entry is about to come or to go.</summary>
    public ulong Value
    {
        get
        {
            ulong value = Volatile.Read(ref Key[NeighbourBucket.Ways]);
            return NeighbourValue.IsDead(value) ? 0 : value;
        }
    }
}

/// <summary>One entry, as listings show it.</summary>
/// <param name="Key">Whom it is about.</param>
/// <param name="Mac">Lowest byte first on the wire; 0 when it is not known.</param>
/// <param name="State">What is known.</param>
/// <param name="Flags">What it says of itself.</param>
/// <param name="Confirmed">When it was last proved to be reachable, in seconds of the workers' clock; 0 for never.</param>
/// <param name="Changed">When it came into its state, in seconds of the workers' clock.</param>
public readonly record struct NeighbourEntry(NeighbourKey Key, ulong Mac, NeighbourState State, NeighbourFlags Flags, uint Confirmed, uint Changed);
