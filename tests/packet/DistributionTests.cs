using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Work is shared among workers where a port has one receive queue, and queues go from one worker to another while they carry traffic.
/// </summary>
public sealed unsafe class DistributionTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void PacketsOfOnePortAreSharedByTheirFlows(int workers)
    {
        const int Flows = 64, Rounds = 8;
        using TestSwitch sw = new TestSwitch(workers, distribute: true).Port(1).Port(2);
        sw.SetStatic(B, 2);
        var sent = new List<byte[]>();
        for (int round = 0; round < Rounds; round++)
        {
            sent.AddRange(Enumerable.Range(0, Flows).Select(flow => Of(B, Mac(0x100 + flow), payload: 46 + round)));
        }
        sw.Send(1, [.. sent]);
        List<byte[]> received = sw.Take(2);
        Assert.Equal(sent.Count, received.Count);
        foreach (IGrouping<string, byte[]> flow in received.GroupBy(frame => Convert.ToHexString(frame.AsSpan(6, 6))))
        {
            Assert.Equal(Enumerable.Range(0, Rounds).Select(round => 14 + 46 + round), flow.Select(frame => frame.Length));
        }
        // Each worker had some, and none was counted twice.
        ulong[] shares = [.. Enumerable.Range(0, workers).Select(worker => sw.Segment.Counters(worker)[1].RxPackets)];
        Assert.Equal((ulong)sent.Count, shares.Aggregate((sum, share) => sum + share));
        Assert.All(shares, share => Assert.InRange(share, (ulong)Rounds, (ulong)(sent.Count - Rounds)));
        int poller = 1 % workers;
        Assert.Equal((ulong)sent.Count - shares[poller], sw.Segment.Workers[poller].Distributed);
    }

    [Fact]
    public void WhatAWorkerDoesNotTakeWaitsInTheDeviceInOrder()
    {
        const int Count = 2000;
        using TestSwitch sw = new TestSwitch(workers: 2, distribute: true).Port(1, depth: 4096).Port(2, depth: 4096);
        sw.SetStatic(B, 2);
        // A flow that is the first worker's, at a port that the second one polls.
        byte[] frame = Enumerable.Range(1, 64).Select(i => Of(B, Mac(i))).First(IsOfFirstOfTwoWorkers);
        for (int i = 0; i < Count; i++)
        {
            frame[20] = (byte)i;
            sw.Inject(1, frame);
        }
        while (sw.Engine.Workers[1].PollOnce() != 0)
        {
        }
        Assert.InRange(sw.Segment.Workers[1].Distributed, 1ul, Count - 1ul);
        Assert.Equal(0, sw.Drain(2));
        sw.Poll();
        Assert.Equal(Enumerable.Range(0, Count).Select(i => (byte)i), sw.Take(2).Select(received => received[20]));
        Assert.Equal("", sw.Drops());
    }

    private static bool IsOfFirstOfTwoWorkers(byte[] frame)
    {
        fixed (byte* data = frame)
        {
            return FlowHash.OfFrame(data, frame.Length, out _) < 1u << 31;
        }
    }

    [Fact]
    public void WithoutItTheWorkerThatPollsDoesAll()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1).Port(2);
        sw.SetStatic(B, 2);
        sw.Send(1, [.. Enumerable.Range(0, 64).Select(flow => Of(B, Mac(0x100 + flow)))]);
        Assert.Equal(64, sw.Drain(2));
        Assert.Equal((0ul, 64ul), (sw.Segment.Counters(0)[1].RxPackets, sw.Segment.Counters(1)[1].RxPackets));
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(4, false)]
    [InlineData(2, true)]
    public void ThreadsShareEveryPacketInOrder(int workers, bool busyPoll)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock(), busyPoll: busyPoll, distribute: true);
        sw.Port(1).Port(2).Port(3).Start();
        new Traffic(sw, (1, 2, false), (2, 3, false), (3, 1, false), (1, 3, true)).Run(busyPoll ? 2_000 : 20_000);
        sw.Stop();
        Assert.Equal("", sw.Drops());
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(4, false)]
    [InlineData(3, true)]
    public void QueuesChangeTheirWorkerWhileTrafficFlowsInOrder(int workers, bool distribute)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock(), distribute: distribute);
        sw.Port(1).Port(2).Port(3).Start();
        Traffic traffic = new(sw, (1, 2, false), (2, 3, false), (3, 1, false));
        var random = new Random(6);
        traffic.During(() =>
        {
            for (int move = 0; move < 200; move++)
            {
                int port = random.Next(1, 4), worker = random.Next(workers);
                sw.Engine.Assign(port, queue: 0, worker);
                Assert.Equal([worker], sw.Engine.OwnersOf(port));
            }
        });
        sw.Stop();
        Assert.Equal("", sw.Drops());
        Assert.True(traffic.Sent > 0);
    }

    [Fact]
    public void AnAssignedQueueIsPolledByThatWorkerAlone()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1).Port(2);
        sw.SetStatic(B, 2);
        sw.Engine.Assign(1, queue: 0, worker: 0);
        sw.Send(1, Of(B, A));
        Assert.Equal((1ul, 0ul), (sw.Segment.Counters(0)[1].RxPackets, sw.Segment.Counters(1)[1].RxPackets));
        sw.Engine.Assign(1, queue: 0, worker: 1);
        sw.Send(1, Of(B, A));
        Assert.Equal((1ul, 1ul), (sw.Segment.Counters(0)[1].RxPackets, sw.Segment.Counters(1)[1].RxPackets));
        Assert.Equal(2, sw.Drain(2));
    }

    [Fact]
    public void AnotherPortOfThatNumberIsWhereItWouldHaveBeen()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1).Port(2);
        sw.Engine.Assign(1, queue: 0, worker: 0);
        sw.Detach(1);
        sw.Port(1);
        Assert.Equal([1], sw.Engine.OwnersOf(1));
    }

    [Fact]
    public void WhatCannotBeAssignedIsRefused()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1);
        Assert.Contains("no port 7", Assert.Throws<ArgumentException>(() => sw.Engine.Assign(7, 0, 0)).Message, StringComparison.Ordinal);
        Assert.Contains("no receive queue 1", Assert.Throws<ArgumentException>(() => sw.Engine.Assign(1, 1, 0)).Message, StringComparison.Ordinal);
        Assert.Contains("no worker 2", Assert.Throws<ArgumentException>(() => sw.Engine.Assign(1, 0, 2)).Message, StringComparison.Ordinal);
        Assert.Equal([1], sw.Engine.OwnersOf(1));
    }
}
