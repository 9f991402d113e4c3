using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Observation;

/// <summary>
/// A worker's share of capturing and tracing: it looks which sessions want a packet, and writes a record into the worker's ring.
/// <para>
/// While nobody looks, this costs one load per poll (of a line that the worker reads anyway) and one comparison per burst.
/// A traced packet carries a mark in its flags, which also sends it through the stages one by one instead of with its burst.
/// </para>
/// </summary>
public sealed unsafe class PacketWatch
{
    /// <summary>
    /// The mark of a traced packet: the highest of the flags that DPDK leaves to applications (RTE_MBUF_LAST_FREE), which it hands
    /// out to its own libraries from the other end.
    /// </summary>
    public const ulong TraceFlag = 1ul << 40;

    /// <summary>Bytes of a traced packet that its first record holds: the headers.</summary>
    private const int TraceSnapLength = 128;

    private readonly CaptureSession* _sessions;
    private readonly CaptureRing* _ring;
    private readonly EngineClock _clock;
    private readonly int _worker;
    private uint _active, _in, _out, _drops, _traces;
    private uint _lastTrace;
    private ulong _word;

    internal PacketWatch(Segment segment, int worker, EngineClock clock)
    {
        _sessions = segment.CaptureSessions;
        _ring = segment.CaptureRing(worker);
        _clock = clock;
        _worker = worker;
    }

    /// <summary>Whether anybody looks.</summary>
    public bool IsActive
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _active != 0;
    }

    /// <summary>Whether packets may be marked, or were marked in this poll.</summary>
    public bool IsTracing => _traces != 0;

    /// <summary>The traced packet that a stage has in hand, or null: steps are written about this one.</summary>
    public rte_mbuf* Current { get; private set; }

    /// <summary>Called once per poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Refresh(ulong active)
    {
        if (active != _word)
        {
            _word = active;
            Sort((byte)active);
        }
    }

    /// <summary>Packets came from a port. Those to be traced are marked.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void Received(int port, rte_mbuf** mbufs, int count)
    {
        if (_in != 0)
        {
            Capture(_in, CaptureRecordKind.In, port, mbufs, count);
        }
        if (_traces == 0)
        {
            return;
        }
        for (int i = 0; i < count; i++)
        {
            // One that comes out of a tunnel may be traced already, and goes on with the number it has.
            uint already = (mbufs[i]->ol_flags & TraceFlag) != 0 ? Offload.Meta(mbufs[i])->TraceSessions : 0;
            uint wanted = Take(Wanted(_traces & ~already, port, mbufs[i]));
            if (already != 0)
            {
                Offload.Meta(mbufs[i])->TraceSessions |= wanted;
                WriteStep(mbufs[i], TraceStep.Received, port, (ulong)_worker, 0, Math.Min(TraceSnapLength, mbufs[i]->pkt_len));
            }
            else if (wanted != 0)
            {
                Mark(port, mbufs[i], wanted);
            }
        }
    }

    /// <summary>Packets are handed to the device of a port. It may still refuse some, which then are drops too.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void Sent(int port, rte_mbuf** mbufs, int count)
    {
        if (_out != 0)
        {
            Capture(_out, CaptureRecordKind.Out, port, mbufs, count);
        }
    }

    /// <summary>A packet is dropped, and its buffer is still there.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void Dropped(int port, rte_mbuf* mbuf, DropReason reason)
    {
        uint wanted = Wanted(OfReason(reason), port, mbuf);
        if (wanted != 0)
        {
            Write(wanted, CaptureRecordKind.Drop, port, mbuf, (byte)reason);
        }
        if ((mbuf->ol_flags & TraceFlag) != 0)
        {
            WriteStep(mbuf, TraceStep.Dropped, port, (ulong)reason, 0, 0);
        }
    }

    /// <summary>Packets are dropped whose buffers are gone, or never were: only that it happened can be told.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void DroppedUnseen(int port, DropReason reason, int count)
    {
        uint wanted = 0;
        for (uint rest = OfReason(reason); rest != 0; rest &= rest - 1)
        {
            int i = System.Numerics.BitOperations.TrailingZeroCount(rest);
            // A filter cannot be asked.
            wanted |= _sessions[i].FilterLength == 0 && PortSet.Contains(in _sessions[i].Ports, port) ? 1u << i : 0;
        }
        for (int i = 0; i < count && wanted != 0; i++)
        {
            CaptureRing.TryWrite(_ring, new CaptureRecord
            {
                Time = _clock.Nanoseconds, Port = (ushort)port, Kind = CaptureRecordKind.Drop, Code = (byte)reason, Sessions = wanted,
            }, null);
        }
    }

    /// <summary>The stages begin with a packet.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Begin(rte_mbuf* mbuf) => Current = _traces != 0 && (mbuf->ol_flags & TraceFlag) != 0 ? mbuf : null;

    /// <summary>They have done with it.</summary>
    public void End() => Current = null;

    /// <summary>Writes a step of the packet in hand, if it is traced.</summary>
    public void Step(TraceStep step, int port, ulong a = 0, ulong b = 0)
    {
        if (Current != null)
        {
            WriteStep(Current, step, port, a, b, 0);
        }
    }

    /// <summary>Writes a step of a packet, if it is traced.</summary>
    public void StepOf(rte_mbuf* mbuf, TraceStep step, int port, ulong a = 0, ulong b = 0)
    {
        if ((mbuf->ol_flags & TraceFlag) != 0)
        {
            WriteStep(mbuf, step, port, a, b, 0);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Sort(uint active)
    {
        (_active, _in, _out, _drops, _traces) = (active, 0, 0, 0, 0);
        for (uint rest = active; rest != 0; rest &= rest - 1)
        {
            int i = System.Numerics.BitOperations.TrailingZeroCount(rest);
            CaptureKinds kinds = i < CaptureSession.Limit ? _sessions[i].Kinds : CaptureKinds.None;
            _in |= (kinds & CaptureKinds.In) != 0 ? 1u << i : 0;
            _out |= (kinds & CaptureKinds.Out) != 0 ? 1u << i : 0;
            _drops |= (kinds & CaptureKinds.Drops) != 0 ? 1u << i : 0;
            _traces |= (kinds & CaptureKinds.Trace) != 0 ? 1u << i : 0;
        }
    }

    private void Capture(uint candidates, CaptureRecordKind kind, int port, rte_mbuf** mbufs, int count)
    {
        for (int i = 0; i < count; i++)
        {
            uint wanted = Wanted(candidates, port, mbufs[i]);
            if (wanted != 0)
            {
                Write(wanted, kind, port, mbufs[i], 0);
            }
        }
    }

    /// <summary>Which of some sessions a packet at a port is for.</summary>
    private uint Wanted(uint candidates, int port, rte_mbuf* mbuf)
    {
        uint wanted = 0;
        for (uint rest = candidates; rest != 0; rest &= rest - 1)
        {
            int i = System.Numerics.BitOperations.TrailingZeroCount(rest);
            CaptureSession* session = _sessions + i;
            if (PortSet.Contains(in session->Ports, port) &&
                BpfFilter.Passes((BpfInstruction*)&session->Filter, Math.Min(session->FilterLength, BpfFilter.MaxLength), mbuf))
            {
                wanted |= 1u << i;
            }
        }
        return wanted;
    }

    private uint OfReason(DropReason reason)
    {
        uint wanted = 0;
        for (uint rest = _drops; rest != 0; rest &= rest - 1)
        {
            int i = System.Numerics.BitOperations.TrailingZeroCount(rest);
            wanted |= ReasonSet.Contains(in _sessions[i].Reasons, reason) ? 1u << i : 0;
        }
        return wanted;
    }

    private void Write(uint sessions, CaptureRecordKind kind, int port, rte_mbuf* mbuf, byte code)
    {
        uint snap = 0;
        for (uint rest = sessions; rest != 0; rest &= rest - 1)
        {
            snap = Math.Max(snap, _sessions[System.Numerics.BitOperations.TrailingZeroCount(rest)].SnapLength);
        }
        CaptureRing.TryWrite(_ring, new CaptureRecord
        {
            Time = _clock.Nanoseconds,
            Captured = Math.Min(snap, mbuf->pkt_len),
            Original = mbuf->pkt_len,
            Port = (ushort)port,
            Kind = kind,
            Code = code,
            Sessions = sessions,
        }, mbuf);
    }

    /// <summary>Takes one packet off the credit of each session; gives those that had any.</summary>
    private uint Take(uint sessions)
    {
        for (uint rest = sessions; rest != 0; rest &= rest - 1)
        {
            int i = System.Numerics.BitOperations.TrailingZeroCount(rest);
            ref int credit = ref _sessions[i].TraceCredit;
            if (Volatile.Read(ref credit) <= 0 || Interlocked.Decrement(ref credit) < 0)
            {
                sessions &= ~(1u << i);
            }
        }
        return sessions;
    }

    private void Mark(int port, rte_mbuf* mbuf, uint sessions)
    {
        mbuf->ol_flags |= TraceFlag;
        PacketMeta* meta = Offload.Meta(mbuf);
        meta->Trace = ((uint)_worker << 24) | (++_lastTrace & 0xFF_FFFF);
        meta->TraceSessions = sessions;
        WriteStep(mbuf, TraceStep.Received, port, (ulong)_worker, 0, Math.Min(TraceSnapLength, mbuf->pkt_len));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void WriteStep(rte_mbuf* mbuf, TraceStep step, int port, ulong a, ulong b, uint captured)
    {
        PacketMeta* meta = Offload.Meta(mbuf);
        CaptureRing.TryWrite(_ring, new CaptureRecord
        {
            Time = _clock.Nanoseconds,
            Captured = captured,
            Original = mbuf->pkt_len,
            Port = (ushort)port,
            Kind = CaptureRecordKind.Step,
            Code = (byte)step,
            Sessions = meta->TraceSessions,
            Trace = meta->Trace,
            A = a,
            B = b,
        }, mbuf);
    }
}
