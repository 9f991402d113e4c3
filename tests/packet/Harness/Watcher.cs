using Dataplane.Observation;

namespace Dataplane.PacketTests.Harness;

/// <summary>One packet or step that a session saw.</summary>
/// <param name="Record">Its head.</param>
/// <param name="Bytes">The bytes that were kept of the packet.</param>
public sealed record Seen(CaptureRecord Record, byte[] Bytes)
{
    public CaptureRecordKind Kind => Record.Kind;
    public int Port => Record.Port;
    public TraceStep Step => (TraceStep)Record.Code;
}

/// <summary>A capture session on a switch of a test.</summary>
public sealed class Watcher : IDisposable
{
    private readonly CaptureDesk _desk;

    public Watcher(TestSwitch lan, CaptureWish wish) : this(new CaptureDesk(lan.Segment), wish)
    {
    }

    public Watcher(CaptureDesk desk, CaptureWish wish)
    {
        _desk = desk;
        Session = desk.Open(wish);
    }

    public int Session { get; }

    /// <summary>What came since the last call.</summary>
    public List<Seen> Take()
    {
        var seen = new List<Seen>();
        _desk.Read((in CaptureRecord record, ReadOnlySpan<byte> bytes) =>
        {
            if ((record.Sessions >> Session & 1) != 0)
            {
                seen.Add(new Seen(record, bytes.ToArray()));
            }
        }, int.MaxValue);
        return seen;
    }

    public void Dispose() => _desk.Close(Session);
}
