using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Observation;

/// <summary>What a watcher asks for.</summary>
public sealed record CaptureWish
{
    public CaptureKinds Kinds { get; init; } = CaptureKinds.In | CaptureKinds.Out;
    /// <summary>Bytes to keep of each packet.</summary>
    public int SnapLength { get; init; } = 262_144;
    /// <summary>Packets to trace.</summary>
    public int TraceCount { get; init; } = int.MaxValue;
    /// <summary>With <see cref="CaptureKinds.Drops"/>: packets dropped for one of these; for whatever reason when empty.</summary>
    public IReadOnlyCollection<DropReason> Reasons { get; init; } = [];
    /// <summary>Indices of ports; all when empty.</summary>
    public IReadOnlyCollection<int> Ports { get; init; } = [];
    /// <summary>See <see cref="BpfFilter"/>; empty lets every packet pass.</summary>
    public IReadOnlyList<BpfInstruction> Filter { get; init; } = [];
}

/// <summary>All sessions are taken.</summary>
public sealed class CaptureBusyException() : Exception($"{CaptureSession.Limit} captures and traces run already; end one of them");

/// <summary>
/// The control process's side of capturing: opens and closes sessions, and reads the rings. One per segment; not thread-safe.
/// <para>
/// A session is written while no worker reads it: its bit is set after its fields, and a session that was closed is used again
/// only after a grace period (<see cref="Quiescence"/>).
/// </para>
/// </summary>
public sealed unsafe class CaptureDesk
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Segment _segment;
    private readonly ulong[] _closed = new ulong[CaptureSession.Limit];

    /// <summary>Takes the desk over: sessions of a predecessor that died are closed, and what they left is forgotten.</summary>
    public CaptureDesk(Segment segment)
    {
        _segment = segment;
        SetActive(0);
        Array.Fill(_closed, segment.Quiescence.Advance());
        for (int worker = 0; worker < segment.MaxWorkers; worker++)
        {
            CaptureRing.Reset(segment.CaptureRing(worker));
        }
    }

    /// <summary>One bit per open session.</summary>
    public uint Active => (byte)_segment.Header.ActiveCaptures;

    /// <summary>Opens a session. Gives its number.</summary>
    /// <param name="wish">What it wants to see.</param>
    /// <param name="isFree">Whether a number that no session has may be used.</param>
    /// <exception cref="CaptureBusyException">There are too many.</exception>
    /// <exception cref="ArgumentException">The filter is not sound.</exception>
    /// <exception cref="TimeoutException">A worker hangs.</exception>
    public int Open(CaptureWish wish, Func<int, bool>? isFree = null)
    {
        BpfInstruction[] filter = [.. wish.Filter];
        if (filter.Length > 0 && BpfFilter.Problem(filter) is { } problem)
        {
            throw new ArgumentException($"the filter cannot be run: {problem}", nameof(wish));
        }
        int number = Enumerable.Range(0, CaptureSession.Limit).FirstOrDefault(n => (Active >> n & 1) == 0 && isFree?.Invoke(n) != false, -1);
        if (number < 0)
        {
            throw new CaptureBusyException();
        }
        if (!_segment.Quiescence.Wait(_closed[number], Patience))
        {
            throw new TimeoutException("a worker of the engine has not finished a burst for seconds");
        }
        ref CaptureSession session = ref _segment.CaptureSessions[number];
        session = default;
        session.Kinds = wish.Kinds;
        session.SnapLength = (uint)Math.Clamp(wish.SnapLength, 0, CaptureRing.DataSize / 2);
        session.TraceCredit = wish.TraceCount;
        session.Reasons = ReasonSet.Of(wish.Reasons.Count == 0 ? DropReasons.All : wish.Reasons);
        session.FilterLength = (uint)filter.Length;
        filter.CopyTo((Span<BpfInstruction>)session.Filter);
        if (wish.Ports.Count == 0)
        {
            ((Span<ulong>)session.Ports).Fill(ulong.MaxValue);
        }
        foreach (int port in wish.Ports)
        {
            PortSet.Add(ref session.Ports, port);
        }
        SetActive(Active | (1u << number));
        return number;
    }

    /// <summary>Closes a session. Workers may write for it until the end of their poll.</summary>
    public void Close(int number)
    {
        SetActive(Active & ~(1u << number));
        _closed[number] = _segment.Quiescence.Advance();
    }

    /// <summary>Whether no worker writes for a closed session any more.</summary>
    public bool IsQuiet(int number) => _segment.Quiescence.HasPassed(_closed[number]);

    /// <summary>Records that a session lost because nobody read fast enough, since the segment was made.</summary>
    public ulong Lost(int session)
    {
        ulong sum = 0;
        for (int worker = 0; worker < _segment.MaxWorkers; worker++)
        {
            sum += CaptureRing.Lost(_segment.CaptureRing(worker), session);
        }
        return sum;
    }

    /// <summary>What reads a record. The bytes are the packet's, and valid during the call.</summary>
    public delegate void Reader(in CaptureRecord record, ReadOnlySpan<byte> bytes);

    /// <summary>
    /// Reads what is in the rings, at most <paramref name="limit"/> records. Gives how many. Records of one worker come
    /// in order; those of several are merged by time as far as they are there.
    /// </summary>
    public int Read(Reader reader, int limit = 4096)
    {
        int read = 0;
        for (; read < limit; read++)
        {
            CaptureRecord* first = null;
            CaptureRing* its = null;
            for (int worker = 0; worker < _segment.MaxWorkers; worker++)
            {
                CaptureRing* ring = _segment.CaptureRing(worker);
                CaptureRecord* record = PeekOrReset(ring);
                if (record != null && (first == null || record->Time < first->Time))
                {
                    first = record;
                    its = ring;
                }
            }
            if (first == null)
            {
                break;
            }
            reader(in *first, new ReadOnlySpan<byte>(first + 1, (int)first->Captured));
            CaptureRing.Release(its, first);
        }
        return read;
    }

    private void SetActive(uint sessions)
    {
        ref ulong word = ref _segment.Header.ActiveCaptures;
        Volatile.Write(ref word, (((word >> CaptureSession.Limit) + 1) << CaptureSession.Limit) | sessions);
    }

    private static CaptureRecord* PeekOrReset(CaptureRing* ring)
    {
        try
        {
            return CaptureRing.Peek(ring);
        }
        catch (InvalidDataException)
        {
            CaptureRing.Reset(ring);
            return null;
        }
    }
}
