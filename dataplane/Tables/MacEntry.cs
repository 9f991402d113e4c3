using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>One cache line: four keys, then their four values.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public unsafe struct MacBucket
{
    public const int Ways = 4;

    public fixed ulong Keys[Ways];
    public fixed ulong Values[Ways];
}

/// <summary>What became of an attempt to learn an address.</summary>
public enum LearnResult
{
    /// <summary>The address is known on this port; its time is fresh.</summary>
    Known,
    Learned,
    /// <summary>It was known on another port and follows the packet now.</summary>
    Moved,
    /// <summary>As <see cref="Moved"/>, and it has moved too often in a short time.</summary>
    Flapping,
    /// <summary>A static entry says that the address lives on another port.</summary>
    StaticElsewhere,
    /// <summary>A drop entry.</summary>
    BlackHole,
    /// <summary>No free slot near the address's bucket.</summary>
    Full,
    /// <summary>Unknown, and the caller did not allow a new entry.</summary>
    Refused,
}

/// <summary>One entry, as listings show it.</summary>
/// <param name="Fid">Filtering identifier: bridge and VLAN.</param>
/// <param name="Mac">Lowest byte first on the wire.</param>
/// <param name="Port">Index of the port, 0 for a drop entry without one.</param>
/// <param name="Flags">Static or drop.</param>
/// <param name="LastSeen">Seconds of the clock that the workers use.</param>
public readonly record struct MacEntry(ushort Fid, ulong Mac, ushort Port, MacFlags Flags, uint LastSeen);

[Flags]
public enum MacFlags : byte
{
    None = 0,
    /// <summary>Made by the control plane; never aged, never moved.</summary>
    Static = 1,
    /// <summary>Packets from and to the address are dropped.</summary>
    Drop = 2,
    /// <summary>Two entries in one, of which the committed generation chooses: see <see cref="StagedMac"/>.</summary>
    Staged = 4,
}
