using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.UnitTests.Tables;

public sealed unsafe class ConnectionMarksTests
{
    private const byte Udp = Wire.ProtocolUdp;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_service_is_told_by_its_address_and_its_backends(bool isIPv6)
    {
        using var test = new TestConnections();
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, isIPv6: isIPv6));
        test.Insert(made with { Flags = ConnectionFlags.ByClient }); // not of a service's
        AssertMarked(test, isIPv6, sources: [made.Reply.Source], destinations: [made.Original.Destination]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_masqueraded_is_told_by_its_inner_and_outer_address(bool isIPv6)
    {
        using var test = new TestConnections();
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, isIPv6: isIPv6)) with { Frontend = 0, Flags = ConnectionFlags.ByClient };
        test.Insert(made);
        AssertMarked(test, isIPv6, sources: [made.Original.Source], destinations: [made.Reply.Destination]);
        test.Pass(2);
        test.Pass(2);
        test.Pass(2);
        AssertMarked(test, isIPv6, sources: [made.Original.Source], destinations: [made.Reply.Destination]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Marks_go_with_the_last_connection_but_that_of_a_backend_that_may_still_answer(bool isIPv6)
    {
        using var test = new TestConnections();
        NewConnection one = TestConnections.ToBackend(TestConnections.Flow(1, isIPv6: isIPv6)), two = TestConnections.ToBackend(TestConnections.Flow(2, isIPv6: isIPv6), 2);
        ConnectionHandle first = test.Insert(one), second = test.Insert(two);
        for (int pass = 0; pass < 10; pass++)
        {
            test.Pass(2);
        }
        AssertMarked(test, isIPv6, [one.Reply.Source, two.Reply.Source], [one.Original.Destination]);
        test.Table.Remove(first, 2);
        test.Pass(2);
        test.Pass(2);
        test.Pass(2);
        AssertMarked(test, isIPv6, [one.Reply.Source, two.Reply.Source], [one.Original.Destination]);
        test.Table.Remove(second, 2);
        test.Pass(2);
        test.Pass(2);
        test.Pass(2);
        AssertMarked(test, isIPv6, [one.Reply.Source, two.Reply.Source], []);
        test.Table.Forget(one.Reply);
        test.Pass(2);
        test.Pass(2);
        test.Pass(2);
        AssertMarked(test, isIPv6, [two.Reply.Source], []);
    }

    [Fact]
    public void What_is_no_connection_marks_nothing()
    {
        using var test = new TestConnections();
        test.Table.PutAffinity(ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 7), 7, 3, 1);
        test.Table.PutFragment(new PacketFlow { Source = new IPv6Number(0, 1), Destination = new IPv6Number(0, 2), Protocol = Udp, IsFirstFragment = true }, 1, 1);
        test.Insert(NewConnection.OfEndpoint(1, Udp, false, new IPv6Number(0, 1), 5, new IPv6Number(0, 2), 6));
        test.Pass(1);
        AssertMarked(test, false, [], []);
    }

    /// <summary>Many rounds, so that their numbers come round, with connections that come in each of them.</summary>
    [Fact]
    public void Rounds_do_not_end()
    {
        using var test = new TestConnections();
        NewConnection stays = TestConnections.ToBackend(TestConnections.Flow(1));
        test.Establish(stays);
        for (uint pass = 0; pass < 1000; pass++)
        {
            NewConnection passing = TestConnections.ToBackend(TestConnections.Flow(2), 2 + (pass % 20)) with { Frontend = 0 };
            ConnectionHandle handle = test.Insert(passing);
            Assert.True(test.Table.Marks.MayHave(passing.Reply) && test.Table.Marks.MayHave(stays.Reply) && test.Table.Marks.MayHave(stays.Original), $"pass {pass}");
            test.Pass(2);
            Assert.Null(test.Problem());
            test.Table.Remove(handle, 2);
        }
        test.Pass(2);
        test.Pass(2);
        test.Pass(2);
        AssertMarked(test, false, [stays.Reply.Source], [stays.Original.Destination]);
    }

    /// <summary>Housekeeping takes no mark away from a connection that a worker is making, however slow it is; and takes away those of connections that are gone.</summary>
    [Fact]
    public void A_round_waits_for_the_workers()
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 1024 });
        ConnectionTable table = segment.ConnectionsOf(0);
        var ageing = new ConnectionAgeing(segment);
        NewConnection other = TestConnections.ToBackend(TestConnections.Flow(1)) with { Frontend = 0 };
        Assert.Equal(InsertResult.Inserted, table.TryInsert(other, 1, out ConnectionHandle handle));
        ConnectionKey slow = TestConnections.ToBackend(TestConnections.Flow(2), 2).Reply;
        segment.Quiescence.Online(0);
        ageing.RunOnce(1, 1);
        segment.Quiescence.Quiescent(0);
        table.Marks.Mark(in slow, isSource: true);
        for (int turn = 0; turn < 20; turn++)
        {
            ageing.RunOnce(1, 1);
            Assert.True(table.Marks.MayHave(in slow), $"turn {turn}");
        }
        // It has made none.
        table.Remove(handle, 1);
        for (int turn = 0; turn < 20; turn++)
        {
            segment.Quiescence.Quiescent(0);
            ageing.RunOnce(1, 1);
        }
        AssertMarked(table, false, [], []);
    }

    /// <summary>Workers make and remove connections while housekeeping goes round as fast as it can.</summary>
    [Fact]
    public void A_connection_is_marked_from_its_first_moment_to_its_last()
    {
        const int Workers = 3;
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 1024, MaxWorkers = Workers });
        int busy = Workers;
        string? problem = null;
        var threads = new Thread[Workers];
        for (int i = 0; i < Workers; i++)
        {
            int worker = i;
            threads[i] = new Thread(() =>
            {
                string? found = Work(segment, worker);
                Interlocked.CompareExchange(ref problem, found, null);
                segment.Quiescence.Offline(worker);
                Interlocked.Decrement(ref busy);
            });
            threads[i].Start();
        }
        var ageing = new ConnectionAgeing(segment);
        int turns = 0;
        for (; Volatile.Read(ref busy) != 0; turns++)
        {
            ageing.RunOnce(1, 1);
        }
        Assert.All(threads, thread => thread.Join());
        Assert.Null(problem);
        Assert.True(turns > 100, $"{turns} turns");
        ConnectionTable table = segment.ConnectionsOf(0);
        for (int turn = 0; turn < 8; turn++)
        {
            ageing.RunOnce(1, 1);
        }
        Assert.Equal(0, table.Statistics().Connections);
        AssertMarked(table, false, [], []);
    }

    private static string? Work(Segment segment, int worker)
    {
        ConnectionTable table = segment.ConnectionsOf(worker);
        var random = new Random(worker);
        var made = new Queue<NewConnection>();
        segment.Quiescence.Online(worker);
        for (uint step = 0; step < 100_000; step++)
        {
            // Backends that several workers have, and such as nobody else has now.
            uint backend = (uint)random.Next(1, random.Next(2) == 0 ? 20 : 60_000);
            NewConnection one = TestConnections.ToBackend(TestConnections.Flow(((uint)worker << 24) + step), backend) with { Frontend = 0 };
            if (table.TryInsert(in one, 1, out _) != InsertResult.Inserted)
            {
                return $"{one.Original} was not made";
            }
            made.Enqueue(one);
            if (!table.Marks.MayHave(in one.Original) || !table.Marks.MayHave(in one.Reply))
            {
                return $"step {step}: {one.Original} has no mark";
            }
            if (made.Count > random.Next(50))
            {
                NewConnection last = made.Dequeue();
                if (!table.Marks.MayHave(in last.Original) || !table.Marks.MayHave(in last.Reply))
                {
                    return $"step {step}: {last.Original} has lost its mark";
                }
                table.Remove(table.Find(in last.Original), 1);
            }
            segment.Quiescence.Quiescent(worker);
        }
        while (made.TryDequeue(out NewConnection rest))
        {
            table.Remove(table.Find(in rest.Original), 1);
        }
        return null;
    }

    private static void AssertMarked(TestConnections test, bool isIPv6, IPv6Number[] sources, IPv6Number[] destinations)
    {
        AssertMarked(test.Table, isIPv6, sources, destinations);
        Assert.Null(test.Problem());
    }

    /// <summary>These addresses in VRF 1, and no others.</summary>
    private static void AssertMarked(ConnectionTable table, bool isIPv6, IPv6Number[] sources, IPv6Number[] destinations)
    {
        ConnectionMarks marks = table.Marks;
        Check(marks.Sources(isIPv6), sources, "sources");
        Check(marks.Destinations(isIPv6), destinations, "destinations");

        void Check(byte* places, IPv6Number[] addresses, string what)
        {
            var expected = new HashSet<uint>(addresses.Select(address => marks.Hash(isIPv6, address) & marks.Mask));
            for (uint place = 0; place <= marks.Mask; place++)
            {
                Assert.True(expected.Contains(place) == (places[place] != 0), $"{what}, place {place}: {places[place]}");
            }
        }
    }
}
