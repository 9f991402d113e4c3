using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>Neighbours that the control plane makes and removes.</summary>
public sealed unsafe class SegmentWriterNeighbourTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(50);
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxPorts = 8, NeighbourCapacity = 64 });

    public void Dispose() => _segment.Dispose();

    private static NeighbourKey Key(int number) => NeighbourTable.Key4(1 + (number % 4), (uint)number);

    private NeighbourState State(int number) => NeighbourValue.State(_segment.Neighbours.Find(Key(number)));

    private void Learn(int number) =>
        Assert.Equal(NeighbourResult.Inserted, _segment.Neighbours.Insert(Key(number), NeighbourValue.Make(NeighbourState.Stale, 2), 100, out _));

    [Fact]
    public void A_permanent_neighbour_takes_the_place_of_a_learned_one()
    {
        var writer = new SegmentWriter(_segment);
        Learn(1);
        Assert.True(writer.SetNeighbour(Key(1), 4, NeighbourFlags.Router));
        Assert.True(writer.SetNeighbour(Key(2), 6));
        writer.Synchronize();
        Assert.Equal(NeighbourValue.Make(NeighbourState.Permanent, 4, NeighbourFlags.Router), _segment.Neighbours.Find(Key(1)));
        Assert.True(writer.SetNeighbour(Key(2), 8));
        Assert.Equal(NeighbourValue.Make(NeighbourState.Permanent, 8), _segment.Neighbours.Find(Key(2)));
        Assert.Equal(2, _segment.Neighbours.List().Count);
    }

    [Fact]
    public void A_removed_neighbour_is_unknown_at_once_and_its_slot_free_after_a_grace_period()
    {
        var writer = new SegmentWriter(_segment, s_short);
        Learn(1);
        _segment.Quiescence.Online(0);
        Assert.True(writer.RemoveNeighbour(Key(1)));
        Assert.False(writer.RemoveNeighbour(Key(1)));
        Assert.Equal(NeighbourState.None, State(1));
        Assert.Throws<TimeoutException>(writer.Synchronize);
        _segment.Quiescence.Quiescent(0);
        writer.Synchronize();
        Learn(1);
    }

    [Fact]
    public void Neighbours_are_removed_by_a_condition()
    {
        var writer = new SegmentWriter(_segment);
        for (int i = 0; i < 20; i++)
        {
            Learn(i);
        }
        Assert.Equal(5, writer.RemoveNeighbours((in NeighbourEntry entry, object? port) => entry.Key.Port == (int)port!, 3));
        Assert.Equal(0, writer.RemoveNeighbours((in NeighbourEntry entry, object? port) => entry.Key.Port == (int)port!, 3));
        Assert.Equal(15, _segment.Neighbours.List().Count);
        Assert.DoesNotContain(_segment.Neighbours.List(), entry => entry.Key.Port == 3);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_permanent_neighbour_rules_over_one_that_a_worker_was_just_making(bool theWriterDies)
    {
        var writer = new SegmentWriter(_segment);
        Assert.True(writer.SetNeighbour(Key(1), 4));
        // The worker took a slot before the permanent one's while the latter was made; here, by hand.
        Assert.True(_segment.Neighbours.TryFind(Key(1), out NeighbourSlot first));
        NeighbourBucket* bucket = _segment.Neighbours.Bucket(Key(1).Word);
        (bucket->Keys[1], bucket->Values[1]) = (bucket->Keys[0], bucket->Values[0]);
        first.Detail[1] = first.Detail[0];
        bucket->Values[0] = NeighbourValue.Make(NeighbourState.Stale, 6);
        Assert.Equal(NeighbourState.Stale, State(1));
        (theWriterDies ? new SegmentWriter(_segment) : writer).Synchronize();
        Assert.Equal(NeighbourState.Permanent, State(1));
        Assert.Single(_segment.Neighbours.List());
    }

    [Fact]
    public void A_permanent_neighbour_that_finds_no_slot_is_told()
    {
        var writer = new SegmentWriter(_segment);
        int set = 0;
        while (set < 10_000 && writer.SetNeighbour(Key(set + 1), 2))
        {
            set++;
        }
        Assert.InRange(set, 64, _segment.Neighbours.BucketCount * NeighbourBucket.Ways);
        writer.Synchronize();
        Assert.Equal(set, _segment.Neighbours.List().Count);
    }

    [Fact]
    public void An_interface_outside_the_tables_is_refused()
    {
        var writer = new SegmentWriter(_segment);
        foreach (int port in (int[])[-1, 0, 8, 1000])
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetNeighbour(NeighbourTable.Key4(port, 1), 2));
        }
        Assert.Empty(_segment.Neighbours.List());
    }

    /// <summary>Nobody asks any more for what a dead engine was asking for, and what was reachable may have gone.</summary>
    [Fact]
    public void An_engine_that_takes_over_believes_what_is_known_and_asks_for_the_rest()
    {
        NeighbourTable table = _segment.Neighbours;
        foreach (NeighbourState state in Enum.GetValues<NeighbourState>().Except([NeighbourState.None]))
        {
            Assert.Equal(NeighbourResult.Inserted, table.Insert(Key((int)state), NeighbourValue.Make(state, 2), 100, out _));
        }
        Assert.True(table.Kill(Key((int)NeighbourState.Stale), out _, out _));
        table.Restart();
        Assert.Equal(
            [(NeighbourState.None, 1), (NeighbourState.None, 2), (NeighbourState.None, 3), (NeighbourState.Stale, 4), (NeighbourState.Stale, 5),
                (NeighbourState.Stale, 6), (NeighbourState.Permanent, 7)],
            Enumerable.Range(1, 7).Select(i => (State(i), i)));
        Learn(3); // its slot is free
    }
}
