using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Observation;

/// <summary>What a capture session wants to see.</summary>
[Flags]
public enum CaptureKinds : uint
{
    None = 0,
    /// <summary>Packets as they are received.</summary>
    In = 1,
    /// <summary>Packets as they are handed to the device of an output port.</summary>
    Out = 2,
    /// <summary>Packets that are dropped, on the way in or out.</summary>
    Drops = 4,
    /// <summary>Each stage's decision about the packets that are received.</summary>
    Trace = 8,
}

[InlineArray(BpfFilter.MaxLength)]
public struct BpfProgram
{
    private BpfInstruction _first;
}

/// <summary>Drop reasons, one bit each.</summary>
[InlineArray(((int)DropReason.Limit + 63) / 64)]
public struct ReasonSet
{
    private ulong _first;

    public static bool Contains(ref readonly ReasonSet set, DropReason reason) => ((set[(int)reason >> 6] >> ((int)reason & 63)) & 1) != 0;

    /// <summary>A set of reasons.</summary>
    public static ReasonSet Of(IEnumerable<DropReason> reasons)
    {
        var set = new ReasonSet();
        foreach (DropReason reason in reasons)
        {
            set[(int)reason >> 6] |= 1ul << ((int)reason & 63);
        }
        return set;
    }
}

/// <summary>
/// What one watcher wants. The control process writes it while the session's bit in <see cref="SegmentHeader.ActiveCaptures"/>
/// is not set; workers read it while the bit is set.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct CaptureSession
{
    /// <summary>Sessions at a time; one bit each.</summary>
    public const int Limit = 8;

    public CaptureKinds Kinds;
    /// <summary>Bytes to keep of each packet.</summary>
    public uint SnapLength;
    /// <summary>With <see cref="CaptureKinds.Trace"/>: packets still to be traced. Workers count it down, atomically.</summary>
    public int TraceCredit;
    /// <summary>Instructions of <see cref="Filter"/>; 0 lets every packet pass.</summary>
    public uint FilterLength;
    /// <summary>With <see cref="CaptureKinds.Drops"/>: why.</summary>
    public ReasonSet Reasons;
    public PortSet Ports;
    public BpfProgram Filter;
}

/// <summary>What a record in a <see cref="CaptureRing"/> is.</summary>
public enum CaptureRecordKind : byte
{
    /// <summary>Room that was left over at the ring's end.</summary>
    Padding,
    In,
    Out,
    Drop,
    /// <summary>One step of a traced packet.</summary>
    Step,
}

/// <summary>The head of a record; the packet's bytes follow, or a step's.</summary>
[StructLayout(LayoutKind.Sequential, Size = SizeInBytes)]
public struct CaptureRecord
{
    public const int SizeInBytes = 48;

    /// <summary>CLOCK_MONOTONIC nanoseconds.</summary>
    public ulong Time;
    /// <summary>Bytes of the record with this head, a multiple of 8.</summary>
    public uint Length;
    /// <summary>Bytes of the packet that follow.</summary>
    public uint Captured;
    /// <summary>Bytes of the whole packet. 0 for a drop whose packet is not there any more.</summary>
    public uint Original;
    /// <summary>The port it was received from, is sent to, or was counted on.</summary>
    public ushort Port;
    public CaptureRecordKind Kind;
    /// <summary>A drop's reason, or a step.</summary>
    public byte Code;
    /// <summary>Which sessions it is for.</summary>
    public uint Sessions;
    /// <summary>The packet that a step belongs to: the worker in the upper 8 bits, then a running number.</summary>
    public uint Trace;
    /// <summary>Details of a step; see <see cref="TraceStep"/>.</summary>
    public ulong A, B;
}
