using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// A worker that locks nothing as long as it is alone with the table, and housekeeping, which claims it, on real threads. If they changed it at once,
/// counts or entries would not match in the end.
/// </summary>
public sealed unsafe class ConnectionTableClaimTests
{
    private const int Clients = 3000, Steps = 3_000_000;

    [Fact]
    public void Housekeeping_and_a_worker_take_turns()
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 1024, MaxWorkers = 1 });
        var ageing = new ConnectionAgeing(segment) { AwaitsWorker = true };
        uint now = 100;
        int done = 0, passes = 0;
        var housekeeping = new Thread(() =>
        {
            while (Volatile.Read(ref done) == 0)
            {
                // Everything is idle for long enough in every other pass.
                ageing.RunOnce(Volatile.Read(ref now) + ((uint)passes++ % 2 * 1000), turns: 1);
                Thread.Sleep(1);
            }
        });
        housekeeping.Start();
        ConnectionTable table = segment.ConnectionsOf(0);
        segment.Quiescence.Online(0);
        var random = new Random(1);
        int alone = 0, among = 0;
        for (int step = 0; step < Steps; step++)
        {
            if (step % 8 == 0)
            {
                segment.Quiescence.Quiescent(0);
                table.IsAlone = !table.IsClaimed;
                _ = table.IsAlone ? alone++ : among++;
                Volatile.Write(ref now, 100 + ((uint)step / 100_000));
            }
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow((uint)random.Next(Clients), isIPv6: random.Next(4) == 0));
            switch (random.Next(4))
            {
                case 0:
                    table.Remove(table.Find(made.Original), now);
                    break;
                case 1:
                    table.Touch(table.Find(made.Reply), TcpHeader.Syn | TcpHeader.Ack, now);
                    break;
                default:
                    table.TryInsert(in made, now, out _);
                    break;
            }
        }
        segment.Quiescence.Offline(0);
        Volatile.Write(ref done, 1);
        housekeeping.Join();
        Assert.Null(ConnectionAudit.Problem(segment));
        Assert.True(alone > 1000 && among > 1000, $"{alone} polls alone, {among} among others");
        Assert.True(table.Statistics().Expired > 1000, $"{table.Statistics()}");
    }

    [Fact]
    public void Housekeeping_waits_for_a_worker_in_the_midst_of_a_poll()
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 1024, MaxWorkers = 1 });
        var ageing = new ConnectionAgeing(segment) { AwaitsWorker = true };
        ConnectionTable table = segment.ConnectionsOf(0);
        segment.Quiescence.Online(0);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        table.IsAlone = true;
        Assert.Equal(InsertResult.Inserted, table.TryInsert(in made, 100, out _));
        for (int turn = 0; turn < 3; turn++)
        {
            ageing.RunOnce(10_000, turns: 1);
            Assert.True(table.IsClaimed);
            Assert.Equal(1, table.Statistics().Connections);
        }
        segment.Quiescence.Quiescent(0);
        ageing.RunOnce(10_000, turns: 1);
        Assert.False(table.IsClaimed);
        Assert.Equal(0, table.Statistics().Connections);

        // It sleeps: nobody has to be waited for.
        Assert.Equal(InsertResult.Inserted, table.TryInsert(in made, 100, out _));
        segment.Quiescence.Offline(0);
        ageing.RunOnce(10_000, turns: 1);
        Assert.Equal(0, table.Statistics().Connections);
    }

    [Fact]
    public void A_claim_of_one_that_died_is_forgotten()
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions { ConnectionCapacity = 1024 });
        segment.Connections.Claim();
        Assert.True(segment.ConnectionsOf(0).IsClaimed);
        segment.Connections.Scrub();
        Assert.False(segment.ConnectionsOf(0).IsClaimed);
    }
}
