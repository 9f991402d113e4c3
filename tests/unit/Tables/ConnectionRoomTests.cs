using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>Whose entries go when the table is full, with more than one worker.</summary>
public sealed class ConnectionRoomTests
{
    private const int Capacity = 4096;

    private readonly TestConnections _test = new(Capacity, writers: 3, seed: 7);
    private readonly ConnectionTable _first, _second;

    public ConnectionRoomTests()
    {
        _first = _test.Table;
        _second = _test.Of(1);
    }

    private static NewConnection Made(uint client) => TestConnections.ToBackend(TestConnections.Flow(client), 1 + (client % 50));

    private static int Begin(ConnectionTable table, uint first, uint count, uint now = 1)
    {
        int made = 0;
        for (uint i = first; i < first + count; i++)
        {
            made += table.TryInsert(Made(i), now, out _) == InsertResult.Inserted ? 1 : 0;
        }
        return made;
    }

    private int Present(uint first, uint count)
    {
        int n = 0;
        for (uint i = first; i < first + count; i++)
        {
            n += _first.Find(Made(i).Original).IsNone ? 0 : 1;
        }
        return n;
    }

    [Fact]
    public void Each_worker_removes_what_it_has_begun_itself_and_the_oldest_first()
    {
        using TestConnections test = _test;
        // Half of the table each; then one of them floods.
        Begin(_first, 0, Capacity / 2);
        Begin(_second, 1_000_000, Capacity / 2);
        const uint Flood = 20_000, Kept = (Capacity / 2) - 300;
        Assert.Equal((int)Flood, Begin(_first, 2_000_000, Flood));
        Assert.Equal(Capacity / 2, Present(1_000_000, Capacity / 2));
        Assert.Equal(0, Present(0, Capacity / 2));
        Assert.Equal((int)Kept, Present(2_000_000 + Flood - Kept, Kept));
        Assert.Equal(0, Present(2_000_000, Flood - Capacity));
        Assert.InRange(_first.Statistics().Slots4, 2 * (Capacity - 300), (2 * Capacity) + 256); // the other one's credit
        Assert.Null(test.Problem());
    }

    [Fact]
    public void Who_begins_few_connections_takes_the_places_of_others()
    {
        using TestConnections test = _test;
        Begin(_second, 0, 2 * Capacity);
        // One that comes now and then, beside another worker's flood, keeps its own while their handshakes last.
        const uint Mine = 400;
        for (uint i = 0; i < Mine; i++)
        {
            Assert.Equal(1, Begin(_first, 1_000_000 + i, 1));
            Begin(_second, 2_000_000 + (i * 4), 4);
        }
        Assert.InRange(Present(1_000_000, Mine), (int)Mine * 3 / 4, (int)Mine);
        Assert.Equal(0ul, _first.Statistics().Refused);
        Assert.Null(test.Problem());
    }

    [Fact]
    public void Who_has_none_left_takes_the_places_of_others()
    {
        using TestConnections test = _test;
        Begin(_second, 0, Capacity);
        Assert.Equal(3 * Capacity, Begin(_first, 1_000_000, 3 * Capacity));
        // Another worker that comes late finds its share.
        Assert.Equal(3 * Capacity, Begin(_second, 2_000_000, 3 * Capacity));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void Packets_that_still_come_keep_one_that_nobody_answers()
    {
        using TestConnections test = _test;
        NewConnection stream = TestConnections.ToBackend(TestConnections.Flow(1, protocol: Wire.ProtocolUdp), signal: 0);
        test.Insert(stream);
        uint now = 1;
        for (uint round = 0; round < 8; round++)
        {
            // Less than the whole table in a second, and a packet of the stream in each.
            now++;
            test.Table.Touch(test.Table.Find(stream.Original), 0, now);
            Assert.Equal(Capacity * 3 / 4, Begin(_first, 1_000_000 + (round * Capacity), Capacity * 3 / 4, now));
            Assert.False(test.Table.Find(stream.Original).IsNone, $"gone in second {now}");
        }
        // When no more come it goes like any other.
        Begin(_first, 9_000_000, 2 * Capacity, now + 1);
        Assert.True(test.Table.Find(stream.Original).IsNone);
    }

    [Fact]
    public void What_is_over_goes_before_what_may_become_something()
    {
        using TestConnections test = _test;
        Begin(_first, 0, Capacity / 2);
        for (uint i = 0; i < Capacity / 2; i++)
        {
            test.Establish(Made(1_000_000 + i));
            _first.Touch(_first.Find(Made(1_000_000 + i).Original), TcpHeader.Rst, 1);
        }
        Begin(_first, 2_000_000, Capacity / 4);
        Assert.InRange(Present(1_000_000, Capacity / 2), Capacity / 4, (Capacity / 4) + 150); // of a credit the last slots are not taken
        Assert.Equal(Capacity / 2, Present(0, Capacity / 2));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void Single_entries_that_give_way_to_connections_make_room_for_both_directions()
    {
        using TestConnections test = _test;
        for (uint i = 0; i < 2 * Capacity; i++)
        {
            Assert.True(_first.PutAffinity(ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 0x8000_0000 + i), 7), 7, 3, 1));
        }
        Assert.Equal(2 * Capacity, Begin(_first, 0, 2 * Capacity));
        Assert.InRange(_first.Statistics().Slots4, Capacity, 2 * Capacity);
        Assert.Null(test.Problem());
    }
}
