using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>What a worker tells the control plane of without being asked.</summary>
public enum EventKind : uint
{
    None,
    /// <summary>An address moves to and fro between ports: a loop, or a duplicate address.</summary>
    MacFlap,
    /// <summary>A guarded port received a bridge protocol data unit and was disabled.</summary>
    BpduGuard,
    /// <summary>A port's device went away.</summary>
    PortLost,
    /// <summary>A port or bridge reached its learn limit.</summary>
    LearnLimit,
}

/// <summary>One event, 64 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
public struct EventRecord
{
    /// <summary>CLOCK_MONOTONIC nanoseconds.</summary>
    [FieldOffset(0)] public ulong Time;
    [FieldOffset(8)] public EventKind Kind;
    [FieldOffset(12)] public ushort Port;
    /// <summary>The port an address came from, 0 where that has no meaning.</summary>
    [FieldOffset(14)] public ushort OtherPort;
    [FieldOffset(16)] public ushort Bridge;
    [FieldOffset(18)] public ushort Vlan;
    /// <summary>errno of a lost port.</summary>
    [FieldOffset(20)] public int Error;
    /// <summary>Lowest byte first on the wire.</summary>
    [FieldOffset(24)] public ulong Mac;
}

[InlineArray(EventRing.Capacity)]
public struct EventSlots
{
    private EventRecord _first;
}

/// <summary>
/// A bounded ring from one worker to the control process (one producer, one consumer). The worker never waits: when the
/// ring is full it counts the event as lost.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128 + (64 * Capacity))]
public struct EventRing
{
    public const int Capacity = 256;

    [FieldOffset(0)] private ulong _head;   // next to write; the worker's line
    [FieldOffset(64)] private ulong _tail;  // next to read; the consumer's line
    [FieldOffset(128)] private EventSlots _slots;

    /// <summary>Called by the worker. False when the ring is full.</summary>
    public static bool TryWrite(ref EventRing ring, in EventRecord record)
    {
        ulong head = ring._head;
        if (head - Volatile.Read(ref ring._tail) >= Capacity)
        {
            return false;
        }
        ring._slots[(int)(head % Capacity)] = record;
        Volatile.Write(ref ring._head, head + 1);
        return true;
    }

    /// <summary>Called by the one consumer. False when the ring is empty.</summary>
    public static bool TryRead(ref EventRing ring, out EventRecord record)
    {
        ulong tail = ring._tail;
        if (tail >= Volatile.Read(ref ring._head))
        {
            record = default;
            return false;
        }
        record = ring._slots[(int)(tail % Capacity)];
        Volatile.Write(ref ring._tail, tail + 1);
        return true;
    }
}
