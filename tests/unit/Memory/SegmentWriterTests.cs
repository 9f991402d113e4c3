using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>
/// Commits as the control plane makes them: all of one or none, whatever becomes of the writer. The tests play the workers by
/// announcing their epochs.
/// </summary>
public sealed unsafe class SegmentWriterTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(30);

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2, MaxPorts = 8, MaxBridges = 8, MacCapacity = 64 });

    public void Dispose() => _segment.Dispose();

    private static PortRecord Port(int n) => new() { Flags = PortFlags.Default, Bridge = 1, Mtu = (ushort)n };

    private static BridgeRecord Bridge(ushort fidBase = 1, uint ageing = 300) =>
        new() { Flags = BridgeFlags.Exists, FidBase = fidBase, AgeingSeconds = ageing };

    private static ulong Key(ulong mac) => MacTable.Key(1, mac);

    /// <summary>What a worker sees in its next burst.</summary>
    private (ulong Generation, int Mtu1, int Mtu2, uint Ageing) Seen => (_segment.Generation, _segment.Port(1, _segment.Generation).Mtu,
        _segment.Port(2, _segment.Generation).Mtu, _segment.Bridge(1, _segment.Generation).AgeingSeconds);

    [Fact]
    public void A_commit_becomes_visible_as_a_whole_and_not_before()
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        writer.SetPort(1, Port(1001));
        writer.SetPort(2, Port(1002));
        writer.SetBridge(1, Bridge());
        Assert.Equal((1ul, 0, 0, 0u), Seen);
        Assert.Equal((1001, 1002, 300u), (writer.Port(1).Mtu, writer.Port(2).Mtu, writer.Bridge(1).AgeingSeconds));
        Assert.Equal(2ul, writer.Commit());
        Assert.Equal((2ul, 1001, 1002, 300u), Seen);
    }

    [Fact]
    public void What_a_commit_does_not_name_stays()
    {
        var writer = new SegmentWriter(_segment);
        for (int round = 0; round < 10; round++)
        {
            writer.Begin();
            writer.SetPort(1 + (round % 2), Port(1000 + round));
            Assert.Equal((ulong)round + 2, writer.Commit());
        }
        Assert.Equal((11ul, 1008, 1009, 0u), Seen);
    }

    [Fact]
    public void A_worker_in_the_midst_of_a_burst_sees_the_generation_it_began_with()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, Port(1001));
        _segment.Quiescence.Online(0);
        ulong burst = _segment.Generation;
        writer.Begin();
        writer.SetPort(1, Port(1002));
        Assert.Equal(1001, _segment.Port(1, burst).Mtu);
        writer.Commit();
        Assert.Equal(1001, _segment.Port(1, burst).Mtu);
        Assert.Equal(1002, _segment.Port(1, _segment.Generation).Mtu);
    }

    [Fact]
    public void The_next_commit_waits_for_a_worker_that_may_see_what_the_last_one_replaced()
    {
        var writer = new SegmentWriter(_segment, s_short);
        _segment.Quiescence.Online(0);
        _segment.Quiescence.Online(1);
        Commit(writer, Port(1001));
        _segment.Quiescence.Quiescent(0);
        _segment.Header.EnginePid = 4242;
        string text = Assert.Throws<TimeoutException>(writer.Begin).Message;
        Assert.Contains("4242", text);
        // It was not begun: the same writer goes on when the worker does.
        Assert.Throws<InvalidOperationException>(() => writer.SetPort(1, Port(7)));
        _segment.Quiescence.Quiescent(1);
        Commit(writer, Port(1002));
        Assert.Equal(1002, Seen.Mtu1);
    }

    [Fact]
    public void A_sleeping_worker_is_not_waited_for()
    {
        var writer = new SegmentWriter(_segment, s_short);
        _segment.Quiescence.Online(0);
        _segment.Quiescence.Offline(0);
        Commit(writer, Port(1001));
        Commit(writer, Port(1002));
        writer.Synchronize();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void What_is_abandoned_leaves_no_trace(int commitsBefore)
    {
        var writer = new SegmentWriter(_segment);
        for (int i = 1; i <= commitsBefore; i++)
        {
            Commit(writer, Port(1000 + i));
        }
        (ulong, int, int, uint) before = Seen;
        writer.Begin();
        writer.SetPort(1, Port(9001));
        writer.SetPort(2, Port(9002));
        writer.SetBridge(1, Bridge());
        writer.Abandon();
        Assert.Equal(before, Seen);
        Assert.Equal(before.Item2, writer.Port(1).Mtu);

        // Its generation number is used again, and nothing of it comes along.
        writer.Begin();
        writer.SetPort(2, Port(1500));
        writer.Commit();
        Assert.Equal((before.Item1 + 1, before.Item2, 1500, 0u), Seen);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void What_a_dead_writer_left_is_taken_back_by_the_next(int commitsBefore)
    {
        var dead = new SegmentWriter(_segment);
        for (int i = 1; i <= commitsBefore; i++)
        {
            Commit(dead, Port(1000 + i));
        }
        (ulong, int, int, uint) before = Seen;
        dead.Begin();
        dead.SetPort(1, Port(9001));
        dead.SetBridge(1, Bridge());
        // In the midst of a record: one slot is open and half filled.
        Versioned<PortRecord>.BeginWrite(ref _segment.Ports[2], _segment.Generation + 1).Mtu = 9002;
        Assert.Equal(before, Seen);

        var next = new SegmentWriter(_segment);
        Assert.Equal(before, Seen);
        next.Begin();
        next.SetPort(3, Port(1003));
        next.Commit();
        Assert.Equal((before.Item1 + 1, before.Item2, before.Item3, before.Item4), Seen);
        Assert.Equal(1003, _segment.Port(3, _segment.Generation).Mtu);
    }

    [Fact]
    public void A_new_writer_waits_for_what_its_dead_predecessor_replaced()
    {
        _segment.Quiescence.Online(0);
        var dead = new SegmentWriter(_segment);
        _segment.Quiescence.Quiescent(0);
        ulong burst = _segment.Generation;
        Commit(dead, Port(1001));

        var next = new SegmentWriter(_segment, s_short);
        Assert.Throws<TimeoutException>(next.Begin);
        Assert.Equal(0, _segment.Port(1, burst).Mtu);
        _segment.Quiescence.Quiescent(0);
        next.Begin();
    }

    [Fact]
    public void Commits_do_not_nest_and_are_not_made_of_nothing()
    {
        var writer = new SegmentWriter(_segment);
        Assert.Throws<InvalidOperationException>(() => writer.Commit());
        Assert.Throws<InvalidOperationException>(() => writer.SetPort(1, Port(1)));
        Assert.Throws<InvalidOperationException>(() => writer.SetBridge(1, Bridge()));
        writer.Begin();
        Assert.Throws<InvalidOperationException>(writer.Begin);
        writer.Commit();
        Assert.Throws<InvalidOperationException>(() => writer.Commit());
        writer.Abandon(); // of nothing: nothing happens
        Assert.Equal(2ul, _segment.Generation);
    }

    [Theory]
    [InlineData(int.MinValue)]
    [InlineData(-1)]
    [InlineData(0)] // means "none"
    [InlineData(8)]
    [InlineData(int.MaxValue)]
    public void An_index_outside_the_tables_is_refused(int index)
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        Exception[] refused =
        [
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetPort(index, Port(1))),
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetBridge(index, Bridge())),
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.Port(index)),
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.Bridge(index)),
        ];
        Assert.All(refused, e => Assert.Contains("must be from 1 to 7", e.Message));
        writer.SetPort(7, Port(1));
        writer.SetBridge(7, Bridge());
    }

    [Fact]
    public void A_bridge_made_anew_begins_with_counts_of_zero_and_one_that_is_changed_keeps_them()
    {
        var writer = new SegmentWriter(_segment);
        SetBridge(Bridge());
        _segment.BridgeRuntime[1] = new BridgeRuntime { Learned = 3, Aged = 4 };
        SetBridge(Bridge(ageing: 10));
        Assert.Equal((3, 4ul), (_segment.BridgeRuntime[1].Learned, _segment.BridgeRuntime[1].Aged));
        SetBridge(default);
        SetBridge(Bridge());
        Assert.Equal((0, 0ul), (_segment.BridgeRuntime[1].Learned, _segment.BridgeRuntime[1].Aged));

        void SetBridge(BridgeRecord record)
        {
            writer.Begin();
            writer.SetBridge(1, record);
            writer.Commit();
        }
    }

    [Fact]
    public void A_removed_address_is_unknown_at_once_and_its_slot_free_after_a_grace_period()
    {
        var writer = new SegmentWriter(_segment, s_short);
        _segment.Macs.Learn(Key(2), 3, 100, allowNew: true, out _);
        _segment.Quiescence.Online(0);
        Assert.True(writer.RemoveMac(Key(2)));
        Assert.False(writer.RemoveMac(Key(2)));
        Assert.Equal(0ul, _segment.Macs.Find(Key(2)));
        Assert.Throws<TimeoutException>(writer.Synchronize);
        _segment.Quiescence.Quiescent(0);
        writer.Synchronize();
        Assert.Equal(LearnResult.Learned, _segment.Macs.Learn(Key(2), 4, 100, allowNew: true, out _));
    }

    [Fact]
    public void Addresses_are_removed_by_a_condition()
    {
        var writer = new SegmentWriter(_segment);
        for (ulong mac = 2; mac < 42; mac += 2)
        {
            _segment.Macs.Learn(Key(mac), (ushort)(1 + (mac % 4)), 100, allowNew: true, out _);
        }
        Assert.Equal(10, writer.RemoveMacs((in MacEntry entry, object? port) => entry.Port == (int)port!, 3));
        Assert.Equal(0, writer.RemoveMacs((in MacEntry entry, object? port) => entry.Port == (int)port!, 3));
        Assert.All(_segment.Macs.List(), entry => Assert.Equal(1, entry.Port));
        Assert.Equal(10, _segment.Macs.List().Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_static_address_rules_over_one_that_a_worker_was_just_learning(bool theWriterDies)
    {
        var writer = new SegmentWriter(_segment);
        Assert.True(writer.SetStaticMac(Key(2), 5, MacFlags.Static));
        // The worker took a slot before the static one's while the latter was made; here, by hand.
        MacBucket* bucket = _segment.Macs.Bucket(Key(2));
        int at = bucket->Keys[0] == Key(2) ? 0 : -1;
        Assert.Equal(0, at);
        (bucket->Keys[1], bucket->Values[1]) = (bucket->Keys[0], bucket->Values[0]);
        bucket->Values[0] = MacValue.Dynamic(6, 100);
        Assert.Equal(6, MacValue.Port(_segment.Macs.Find(Key(2))));
        (theWriterDies ? new SegmentWriter(_segment) : writer).Synchronize();
        Assert.Equal(5, MacValue.Port(_segment.Macs.Find(Key(2))));
        Assert.Single(_segment.Macs.List());
    }

    [Fact]
    public void A_static_address_that_finds_no_slot_is_told()
    {
        var writer = new SegmentWriter(_segment);
        int set = 0;
        while (set < 10_000 && writer.SetStaticMac(Key((ulong)(set + 1) * 2), 1, MacFlags.Static))
        {
            set++;
        }
        Assert.InRange(set, 64, _segment.Macs.BucketCount * MacBucket.Ways);
        writer.Synchronize();
        Assert.Equal(set, _segment.Macs.List().Count);
    }

    [Fact]
    public void Slots_that_a_dead_writer_had_not_freed_yet_are_freed_by_the_next()
    {
        int slots = _segment.Macs.BucketCount * MacBucket.Ways;
        for (int round = 0; round < slots * 2; round++)
        {
            // Without that the table would be full of killed entries soon.
            Assert.NotEqual(LearnResult.Full, _segment.Macs.Learn(Key(2), 1, 100, allowNew: true, out _));
            Assert.True(new SegmentWriter(_segment).RemoveMac(Key(2)));
            var next = new SegmentWriter(_segment);
            next.Begin();
            next.Commit();
        }
    }

    private static void Commit(SegmentWriter writer, PortRecord record)
    {
        writer.Begin();
        writer.SetPort(1, record);
        writer.Commit();
    }
}
