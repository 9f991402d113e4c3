using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>MAC entries that change with a commit: what a worker finds before it, after it, and whatever becomes of the writer.</summary>
public sealed unsafe class StagedMacTests : IDisposable
{
    private const uint Now = 100;
    private static readonly ulong s_key = MacTable.Key(1, 2);

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 1, MaxPorts = 8, MaxBridges = 8, MacCapacity = 64 });
    private SegmentWriter _writer;

    public StagedMacTests()
    {
        _writer = new SegmentWriter(_segment);
        _writer.Begin();
        _writer.SetBridge(1, new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = 1, AgeingSeconds = 300 });
        _writer.Commit();
    }

    /// <summary>What becomes of a commit.</summary>
    public enum End
    {
        Committed,
        Abandoned,
        WriterDiesBefore,
        WriterDiesAfter,
    }

    public static TheoryData<string, string, End> Changes()
    {
        var all = new TheoryData<string, string, End>();
        foreach (string before in new[] { "unknown", "learned at 3", "static at 4", "drop" })
        {
            foreach (string after in new[] { "unknown", "static at 5", "drop" })
            {
                foreach (End end in Enum.GetValues<End>())
                {
                    all.Add(before, after, end);
                }
            }
        }
        return all;
    }

    public void Dispose() => _segment.Dispose();

    [Theory]
    [MemberData(nameof(Changes))]
    public void An_entry_changes_with_the_commit(string before, string after, End end)
    {
        Become(before);
        ulong old = _segment.Generation;
        _segment.Quiescence.Online(0);
        _writer.Begin();
        Become(after);
        Assert.Equal(before, Seen(old));
        if (end is End.Committed or End.WriterDiesAfter)
        {
            ulong committed = _writer.Commit();
            // A burst that began before goes on with what it began with.
            Assert.Equal((before, after), (Seen(old), Seen(committed)));
        }
        else if (end == End.Abandoned)
        {
            _writer.Abandon();
            Assert.Equal(before, Seen(_segment.Generation));
        }
        if (end is End.WriterDiesBefore or End.WriterDiesAfter)
        {
            _writer = new SegmentWriter(_segment);
            Assert.Equal(before, Seen(old));
        }

        _segment.Quiescence.Quiescent(0);
        _segment.Quiescence.Offline(0);
        _writer.Synchronize();
        // Whoever takes back the work of a dead one does not know when a learned address was seen last.
        string holds = end is End.Committed or End.WriterDiesAfter ? after : end == End.WriterDiesBefore && before == "learned at 3" ? "unknown" : before;
        Assert.Equal(holds, Seen(_segment.Generation));
        Assert.False(StagedMac.IsStaged(_segment.Macs.Find(s_key)));
        Assert.Equal(holds == "learned at 3" ? 1 : 0, _segment.PortRuntime[3].Learned);
        Assert.Equal(holds == "learned at 3" ? 1 : 0, _segment.BridgeRuntime[1].Learned);
        if (holds == "learned at 3" && after != "unknown")
        {
            Assert.Equal(Now, MacValue.LastSeen(_segment.Macs.Find(s_key)));
        }
        // Nothing is left of it: the next commit of the same number, and the next entry in the same slot, begin clean.
        _writer.Begin();
        Assert.Equal(holds, Seen(_segment.Generation));
        Become("static at 6");
        _writer.Commit();
        Assert.Equal("static at 6", Seen(_segment.Generation));
        Assert.Single(_segment.Macs.List());
    }

    [Fact]
    public void A_worker_learns_nothing_over_an_entry_that_is_being_changed()
    {
        Become("learned at 3");
        _writer.Begin();
        Become("static at 5");
        Assert.Equal(LearnResult.Known, _segment.Macs.Learn(s_key, 6, Now, allowNew: true, out _));
        Assert.Equal("learned at 3", Seen(_segment.Generation));
        _writer.Commit();
        Assert.Equal(LearnResult.Known, _segment.Macs.Learn(s_key, 6, Now, allowNew: true, out _));
        Assert.Equal("static at 5", Seen(_segment.Generation));
    }

    [Fact]
    public void Changed_twice_in_a_commit_the_last_change_holds()
    {
        Become("static at 4");
        _writer.Begin();
        Become("unknown");
        Become("static at 5");
        Assert.Equal("static at 4", Seen(_segment.Generation));
        _writer.Commit();
        _writer.Synchronize();
        Assert.Equal("static at 5", Seen(_segment.Generation));
        Assert.Single(_segment.Macs.List());
    }

    [Fact]
    public void A_commit_that_does_not_fit_leaves_no_trace()
    {
        Become("learned at 3");
        _writer.Begin();
        Become("static at 5");
        int set = 0;
        while (_writer.SetStaticMac(MacTable.Key(1, (ulong)(set + 2) * 2), 1, MacFlags.Static))
        {
            set++;
        }
        Assert.InRange(set, 32, 10_000);
        _writer.Abandon();
        Assert.Equal("learned at 3", Seen(_segment.Generation));
        Assert.Single(_segment.Macs.List());
        _writer.Synchronize();
        Assert.Equal(LearnResult.Learned, _segment.Macs.Learn(MacTable.Key(1, 4), 3, Now, allowNew: true, out _));
    }

    private void Become(string what)
    {
        switch (what.Split(" at "))
        {
            case ["learned", _]:
                Assert.Equal(LearnResult.Learned, _segment.Macs.Learn(s_key, 3, Now, allowNew: true, out _));
                LearnedCounts.Add(_segment, 3, 1);
                break;
            case ["static", var port]:
                Assert.True(_writer.SetStaticMac(s_key, ushort.Parse(port, System.Globalization.CultureInfo.InvariantCulture), MacFlags.Static));
                break;
            case ["drop"]:
                Assert.True(_writer.SetStaticMac(s_key, 0, MacFlags.Drop));
                break;
            default:
                _writer.RemoveMac(s_key);
                break;
        }
    }

    private string Seen(ulong generation)
    {
        ulong value = _segment.Macs.FindIn(generation, s_key);
        return value == 0 ? "unknown"
            : MacValue.IsDrop(value) ? "drop"
            : $"{(MacValue.IsStatic(value) ? "static" : "learned")} at {MacValue.Port(value)}";
    }
}
