using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

public sealed unsafe class ConnectionScrubTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_was_being_made_or_removed_is_freed_and_the_rest_stays(bool isIPv6)
    {
        using var test = new TestConnections();
        var kept = new List<NewConnection>();
        for (uint i = 0; i < 20; i++)
        {
            kept.Add(TestConnections.ToBackend(TestConnections.Flow(i, isIPv6: isIPv6)));
            _ = i < 10 ? test.Establish(kept[^1]) : test.Insert(kept[^1]);
        }
        test.Table.PutAffinity(ConnectionKey.OfAffinity(1, isIPv6, kept[0].Original.Source, 7), 7, 3, 1);

        // Both slots written to, the original proposed; the reply valid, the original proposed; the original freed, the reply not.
        foreach ((uint client, ConnectionPhase original, ConnectionPhase reply) in (ReadOnlySpan<(uint, ConnectionPhase, ConnectionPhase)>)
            [
                (100, ConnectionPhase.Writing, ConnectionPhase.Writing), (101, ConnectionPhase.Proposed, ConnectionPhase.Writing),
                (102, ConnectionPhase.Proposed, ConnectionPhase.Valid), (103, ConnectionPhase.Free, ConnectionPhase.Valid),
            ])
        {
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow(client, isIPv6: isIPv6));
            ConnectionHead* one = test.Slot(test.Insert(made)), other = test.Slot(test.Table.Find(made.Reply));
            one->Control = original == ConnectionPhase.Free ? ConnectionControl.Free(one->Control) : ConnectionControl.With(one->Control, original);
            other->Control = ConnectionControl.With(other->Control, reply);
        }
        test.Slot(test.Table.Find(kept[3].Original))->Way |= ConnectionWay.Lowering;
        Assert.Equal(7, test.Table.Scrub());
        Assert.Null(test.Problem());
        Assert.Equal((20L, 10L), (test.Table.Statistics().Connections, test.Table.Statistics().HalfOpen));
        Assert.All(kept, made => test.Read(made.Reply));
        Assert.All(kept, made => test.Read(made.Original));
        test.Establish(TestConnections.ToBackend(TestConnections.Flow(101, isIPv6: isIPv6)));
        Assert.Equal(0, test.Table.Scrub());
    }

    [Fact]
    public void Housekeeping_frees_a_reply_without_an_original()
    {
        using var test = new TestConnections();
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1)), whole = TestConnections.ToBackend(TestConnections.Flow(2));
        ConnectionHead* slot = test.Slot(test.Establish(made, now: 1));
        test.Establish(whole, now: 1);
        slot->Control = ConnectionControl.Free(slot->Control);
        test.Pass(2);
        Assert.False(test.Table.Find(made.Reply).IsNone);
        Assert.Equal(TouchResult.Gone, test.Table.Touch(test.Table.Find(made.Reply), TcpHeader.Ack, 1));
        test.Pass(6);
        Assert.True(test.Table.Find(made.Reply).IsNone);
        test.Read(whole.Reply);
    }
}
