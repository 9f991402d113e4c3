using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.UnitTests.Tables;

/// <summary>Passes over the table of a segment, in slices.</summary>
public sealed class ConnectionHousekeepingTests : IDisposable
{
    private const int Turns = 10;

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 50_000 });
    private readonly ConnectionTable _table;
    private readonly ConnectionAgeing _ageing;

    public ConnectionHousekeepingTests()
    {
        _table = _segment.ConnectionsOf(0);
        _ageing = new ConnectionAgeing(_segment);
    }

    public void Dispose() => _segment.Dispose();

    [Fact]
    public void Every_slot_of_both_families_has_its_turn_in_about_a_second()
    {
        Fill(1000, now: 100);
        for (int turn = 0; turn < 2 * Turns; turn++)
        {
            _ageing.RunOnce(129, Turns);
        }
        Assert.Equal(1000, _table.Statistics().Connections);
        int turns = 0;
        for (; _table.Statistics().Connections != 0; turns++)
        {
            _ageing.RunOnce(130, Turns);
            Assert.True(turns < 3 * Turns, $"{_table.Statistics().Connections} connections are still there");
        }
        Assert.True(turns > 1, "a turn is a slice");
        Assert.Equal((1000ul, 0L, 0L), (_table.Statistics().Expired, _table.Statistics().Slots4, _table.Statistics().Slots6));
    }

    [Fact]
    public void A_pass_is_done_when_every_entry_was_looked_at_after_it_was_asked_for()
    {
        Fill(1000, now: 100);
        _ageing.RunOnce(100, Turns);
        ConnectionSweep sweep = _segment.ConnectionSweep;
        sweep.Add(3, BackendRemoval.Drain);
        ulong first = sweep.Request();
        sweep.Add(4, BackendRemoval.Drain);
        ulong second = sweep.Request();
        Assert.False(sweep.IsDone(first));
        for (int turn = 0; !sweep.IsDone(second); turn++)
        {
            _ageing.RunOnce(100, Turns);
            Assert.True(turn < 3 * Turns, "the pass does not come to an end");
        }
        Assert.True(sweep.IsDone(first));
        Assert.False(sweep.IsDone(second + 1));
        Assert.DoesNotContain(_table.List(), entry => entry.Backend is 3 or 4);
        Assert.Equal(600, _table.List().Count);
        Assert.Equal(400ul, _table.Statistics().Swept);
    }

    [Fact]
    public void An_empty_table_is_swept_at_once()
    {
        ulong request = _segment.ConnectionSweep.Request();
        _ageing.RunOnce(1, Turns);
        Assert.True(_segment.ConnectionSweep.IsDone(request));
    }

    [Fact]
    public void A_turn_allocates_nothing()
    {
        Fill(1000, now: 100);
        _segment.ConnectionSweep.Add(3, BackendRemoval.Reset);
        _segment.ConnectionSweep.Request();
        _ageing.RunOnce(110, Turns);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int turn = 0; turn < 2 * Turns; turn++)
        {
            _ageing.RunOnce(130, Turns);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>UDP flows without an answer, of both families, to the backends 1 to 5.</summary>
    private void Fill(uint count, uint now)
    {
        for (uint i = 0; i < count; i++)
        {
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow(i, protocol: Wire.ProtocolUdp, isIPv6: i % 3 == 0), 1 + (i % 5), 0);
            Assert.Equal(InsertResult.Inserted, _table.TryInsert(in made, now, out _));
        }
    }
}
