using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Observation;

[InlineArray(CaptureRing.DataSize)]
public struct CaptureBytes
{
    private byte _first;
}

[InlineArray(CaptureSession.Limit)]
public struct CaptureCounts
{
    private ulong _first;
}

/// <summary>
/// A bounded ring of records of different length from one worker to the control process (one producer, one consumer). The
/// worker never waits: a record that finds no room is lost, and counted for each session that wanted it.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 192 + DataSize)]
public unsafe struct CaptureRing
{
    /// <summary>Bytes, a power of two.</summary>
    public const int DataSize = 512 * 1024;

    [FieldOffset(0)] private ulong _head;           // next to write, in bytes since the start; the worker's line
    [FieldOffset(64)] private ulong _tail;          // next to read; the consumer's line
    [FieldOffset(128)] private CaptureCounts _lost; // the worker's line
    [FieldOffset(192)] private CaptureBytes _data;

    /// <summary>Records that a session lost since the segment was made.</summary>
    public static ulong Lost(CaptureRing* ring, int session) => Volatile.Read(ref ring->_lost[session]);

    /// <summary>Called by the worker: writes a record with the first bytes of a packet. False when it was lost.</summary>
    /// <param name="ring">Its ring.</param>
    /// <param name="record">All but <see cref="CaptureRecord.Length"/>, which is worked out here.</param>
    /// <param name="mbuf">The packet, of which <see cref="CaptureRecord.Captured"/> bytes are kept; null when that is 0.</param>
    public static bool TryWrite(CaptureRing* ring, in CaptureRecord record, rte_mbuf* mbuf)
    {
        uint length = (CaptureRecord.SizeInBytes + record.Captured + 7) & ~7u;
        ulong head = ring->_head;
        uint at = (uint)(head % DataSize);
        // A record lies in one piece: what is left at the end is skipped when it is too short.
        uint skipped = DataSize - at < length ? DataSize - at : 0;
        if (head + skipped + length - Volatile.Read(ref ring->_tail) > DataSize)
        {
            CountLost(ring, record.Sessions);
            return false;
        }
        byte* data = (byte*)&ring->_data;
        if (skipped != 0)
        {
            // Too short for a head, perhaps: a reader knows that such a rest is padding.
            if (skipped >= CaptureRecord.SizeInBytes)
            {
                *(CaptureRecord*)(data + at) = new CaptureRecord { Length = skipped, Kind = CaptureRecordKind.Padding };
            }
            at = 0;
        }
        var target = (CaptureRecord*)(data + at);
        *target = record;
        target->Length = length;
        byte* to = (byte*)(target + 1);
        uint left = record.Captured;
        for (rte_mbuf* part = mbuf; part != null && left != 0; part = part->next)
        {
            uint n = Math.Min(left, part->data_len);
            Unsafe.CopyBlockUnaligned(to, Mbuf.Data(part), n);
            to += n;
            left -= n;
        }
        Volatile.Write(ref ring->_head, head + skipped + length);
        return true;
    }

    /// <summary>
    /// Called by the one consumer: the next record, which stays in the ring until <see cref="Release"/>; null when there is none.
    /// </summary>
    /// <exception cref="InvalidDataException">The ring is damaged. <see cref="Reset"/> empties it.</exception>
    public static CaptureRecord* Peek(CaptureRing* ring)
    {
        byte* data = (byte*)&ring->_data;
        while (true)
        {
            ulong tail = ring->_tail, head = Volatile.Read(ref ring->_head);
            if (tail == head)
            {
                return null;
            }
            uint at = (uint)(tail % DataSize);
            uint toEnd = DataSize - at;
            if (toEnd < CaptureRecord.SizeInBytes)
            {
                Volatile.Write(ref ring->_tail, tail + toEnd);
                continue;
            }
            var record = (CaptureRecord*)(data + at);
            if (head - tail > DataSize || record->Length < CaptureRecord.SizeInBytes || record->Length > Math.Min(toEnd, head - tail)
                || record->Length % 8 != 0 || record->Captured > record->Length - CaptureRecord.SizeInBytes)
            {
                throw new InvalidDataException("a capture ring holds what is no record");
            }
            if (record->Kind != CaptureRecordKind.Padding)
            {
                return record;
            }
            Volatile.Write(ref ring->_tail, tail + toEnd);
        }
    }

    /// <summary>Called by the consumer when it is done with the record that <see cref="Peek"/> gave.</summary>
    public static void Release(CaptureRing* ring, CaptureRecord* record) => Volatile.Write(ref ring->_tail, ring->_tail + record->Length);

    /// <summary>Called by the consumer: forgets all records.</summary>
    public static void Reset(CaptureRing* ring) => Volatile.Write(ref ring->_tail, Volatile.Read(ref ring->_head));

    private static void CountLost(CaptureRing* ring, uint sessions)
    {
        for (int i = 0; i < CaptureSession.Limit; i++)
        {
            ring->_lost[i] += (sessions >> i) & 1;
        }
    }
}
