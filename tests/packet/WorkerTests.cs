using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Several workers, by hand and on their threads: ports with one queue are shared by handing packets over, ports come and go
/// while others carry traffic, and nobody oversleeps.
/// </summary>
public sealed unsafe class WorkerTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void PortsOfAllWorkersReachEachOther(int workers)
    {
        const int Count = 8;
        using TestSwitch sw = new(workers);
        for (int port = 1; port <= Count; port++)
        {
            sw.Port(port);
        }
        for (int port = 1; port <= Count; port++)
        {
            sw.Send(port, Of(Broadcast, Mac(port)));
            Assert.Equal(string.Join(' ', Enumerable.Range(1, Count).Where(p => p != port)), sw.Outputs());
        }
        foreach (int from in Enumerable.Range(1, Count))
        {
            foreach (int to in Enumerable.Range(1, Count).Where(p => p != from))
            {
                sw.Send(from, Of(Mac(to), Mac(from)));
                Assert.Equal($"{to}", sw.Outputs());
            }
        }
        // Memory ports have one transmit queue, which is the first worker's.
        for (int worker = 0; worker < workers; worker++)
        {
            Assert.Equal(worker != 0, sw.Segment.Workers[worker].HandedOver != 0);
            Assert.NotEqual(0ul, sw.Segment.Workers[worker].Packets);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void FloodedPacketsAreSharedBetweenWorkers(int workers)
    {
        // Both forms, both kinds of offload, buffers with several holders on several workers.
        using TestSwitch sw = new(workers, bridge: TestSwitch.VlanAware);
        sw.Access(1, 10, takesOffloads: true).Trunk(2, [10], takesOffloads: true).Access(3, 10).Trunk(4, [10]);
        sw.Tap(5, out TapWire tap, change: record => TestSwitch.Vlan(record, [10], 10));
        Unfinished packet = Inet.Tcp(3000, 1000, destination: Broadcast);
        foreach (int _ in Enumerable.Range(0, 100))
        {
            sw.Send(1, packet);
            Assert.Equal(packet.Frame.Length + 4, Assert.Single(sw.TakeUnfinished(2)).Frame.Length);
            Assert.Equal(3, sw.Take(3).Count);
            Assert.Equal(3, sw.Take(4).Count);
            Assert.Equal(packet.Vnet, Enumerable.Range(0, workers).SelectMany(tap.Take).Single().Vnet);
        }
    }

    [Fact]
    public void HandedOverPacketsKeepTheirOrder()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1).Port(2).Port(3);
        sw.SetStatic(B, 2);
        byte[][] frames = [.. Enumerable.Range(0, 500).Select(i => Of(B, A, payload: 46 + i))];
        sw.Send(1, frames);
        Assert.Equal(frames, sw.Take(2));
        Assert.Equal(500ul, sw.Segment.Workers[1].HandedOver);
    }

    [Fact]
    public void AWorkerThatDoesNotTakeWhatItIsHandedLosesItCounted()
    {
        using TestSwitch sw = new TestSwitch(workers: 2).Port(1, depth: 4096).Port(2, depth: 4096);
        sw.SetStatic(B, 2);
        for (int i = 0; i < 2000; i++)
        {
            sw.Inject(1, Of(B, A));
        }
        while (sw.Engine.Workers[1].PollOnce() != 0)
        {
        }
        ulong handed = sw.Segment.Workers[1].HandedOver;
        Assert.InRange(handed, 1ul, 1999ul);
        Assert.Equal(2000 - handed, sw.Drops(2, DropReason.EgressFull));
        sw.Poll();
        Assert.Equal((int)handed, sw.Drain(2));
    }

    [Theory]
    [InlineData(1, true, 4_000)] // few: a machine with few cores has to share them
    [InlineData(2, false, 40_000)]
    [InlineData(4, false, 40_000)]
    public void ThreadsForwardEveryPacketInOrder(int workers, bool busyPoll, int packets)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock(), busyPoll: busyPoll);
        sw.Port(1).Port(2).Port(3).Port(4).Start();
        new Traffic(sw, (1, 2, false), (2, 3, false), (3, 4, false), (4, 1, false), (1, 3, true)).Run(packets);
        sw.Stop();
        Assert.Equal(5 * (ulong)packets, Sum(sw, port => sw.Counters(port).RxPackets));
        Assert.Equal("", sw.Drops());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void PortsComeAndGoWhileOthersCarryTraffic(int workers)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock());
        sw.Port(1).Port(2).Port(3).Start();
        Traffic traffic = new(sw, (1, 2, false), (2, 3, false), (3, 1, true), (2, 1, false));
        traffic.During(() =>
        {
            for (int round = 0; round < 100; round++)
            {
                int port = 4 + (round % 7);
                sw.Port(port);
                // It is part of the flood, now; and then not any more.
                sw.Until(() => sw.Counters(port).TxPackets >= (ulong)(round / 7) + 1, $"a packet at port {port}");
                sw.Detach(port);
            }
        });
        sw.Stop();
        Assert.Equal((ulong)traffic.Sent, Sum(sw, port => sw.Counters(port).RxPackets));
        foreach (int port in (int[])[1, 2, 3])
        {
            Assert.Equal((0ul, 0ul), (sw.Counters(port).IngressDrops, sw.Counters(port).EgressDrops));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void APortIsDetachedWithPacketsUnderWayToIt(int workers)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock());
        sw.Port(1).Port(2).Start();
        sw.SetStatic(B, 5);
        Traffic others = new(sw, (2, 1, false));
        MemoryPort source = sw[1];
        byte[] frame = Of(B, A);
        others.During(() =>
        {
            for (int round = 0; round < 50; round++)
            {
                // A device of another kind each time: the number of its queues changes, too.
                if (round % 2 == 0)
                {
                    sw.Port(5);
                }
                else
                {
                    sw.Tap(5, out _);
                }
                ulong sent = sw.Counters(5).TxPackets, lost = sw.Drops(5, DropReason.EgressDetached);
                sw.Until(() => Push() && sw.Counters(5).TxPackets > sent, "a packet sent");
                sw.Detach(5);
                sw.Until(() => Push() && sw.Drops(5, DropReason.EgressDetached) > lost, "a packet for a port that is gone");
            }
        });

        bool Push()
        {
            rte_mbuf* mbuf = MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large);
            // Another thread drains this port and sends by others: this one only puts in.
            return mbuf == null || sw.TryInject(source, mbuf) || true;
        }
    }

    [Fact]
    public void StoppedInTheMidstTheCountersBalance()
    {
        for (int round = 0; round < 20; round++)
        {
            using TestSwitch sw = new(workers: 3, clock: new MonotonicClock(), busyPoll: true);
            sw.Port(1).Port(2).Port(3).Port(4);
            sw.SetStatic(B, 3);
            for (int i = 0; i < 900; i++)
            {
                sw.Inject(1, Of(B, A));
                sw.Inject(2, Of(Broadcast, C));
                sw.Inject(4, Of(B, D));
            }
            sw.Start();
            sw.Until(() => sw.Counters(1).RxPackets + sw.Counters(2).RxPackets > 100, "some packets");
            sw.Stop();
            sw.CheckAccounting();
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void ASleepingWorkerWakesForAPacket(int workers)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock());
        sw.Tap(1, out TapWire a).Tap(2, out TapWire b).Start();
        byte[] there = Of(B, A), back = Of(A, B);
        // Without a wake-up each round would take as long as the longest sleep, and all of them longer than a test may.
        for (int round = 0; round < 200; round++)
        {
            AllAsleep(sw);
            int queue = round % workers;
            Assert.True(a.Send(there, queue: queue));
            sw.Until(() => b.Take(queue).Count == 1, "the packet");
            AllAsleep(sw);
            Assert.True(b.Send(back, queue: queue));
            sw.Until(() => a.Take(queue).Count == 1, "the answer");
        }
    }

    [Fact]
    public void ASleepingWorkerWakesForWhatItIsHanded()
    {
        using TestSwitch sw = new(workers: 2, clock: new MonotonicClock());
        // Port 3 is polled by worker 1, and sent to by worker 0, which has nothing else to wake it.
        sw.Tap(1, out TapWire tap).Port(3).Start();
        sw.SetStatic(B, 3);
        for (int round = 0; round < 200; round++)
        {
            AllAsleep(sw);
            Assert.True(tap.Send(Of(B, A), queue: 1));
            sw.Until(() => sw.Drain(3) == 1, "the packet");
        }
        Assert.Equal(200ul, sw.Segment.Workers[1].HandedOver);
    }

    [Fact]
    public void ASleepingWorkerWakesForANewPort()
    {
        using TestSwitch sw = new(clock: new MonotonicClock());
        sw.Tap(1, out TapWire a).Start();
        for (int round = 0; round < 100; round++)
        {
            AllAsleep(sw);
            sw.Tap(2, out TapWire b);
            Assert.True(a.Send(Of(Broadcast, A)));
            sw.Until(() => b.Take().Count == 1, "the packet at the new port");
            Assert.True(b.Send(Of(A, B)));
            sw.Until(() => a.Take().Count == 1, "the packet from the new port");
            AllAsleep(sw);
            sw.Detach(2);
        }
    }

    [Fact]
    public void ADeviceIsClosedOnlyWhenNoWorkerIsInIt()
    {
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1);
        var slow = new SlowPort(2);
        sw.Attach(slow).Start();
        sw.Inject(1, Of(Broadcast, A));
        sw.Until(() => slow.IsSending, "the worker in the device");
        var detacher = new Thread(() => sw.Detach(2));
        detacher.Start();
        sw.Until(() => sw.Runtime(2).State == PortState.Detached, "the detach");
        bool waited = !detacher.Join(20); // a moment in which it would go on if it did not wait
        slow.Release.Set();
        detacher.Join();
        Assert.True(waited);
        Assert.True(slow.IsClosed);
        Assert.False(slow.WasClosedInUse);
    }

    /// <summary>Holds its worker in the transmit call until it is released.</summary>
    private sealed class SlowPort(int index) : EnginePort(index, "slow")
    {
        private volatile bool _sending;

        public ManualResetEventSlim Release { get; } = new();
        public bool IsSending => _sending;
        public bool IsClosed { get; private set; }
        public bool WasClosedInUse { get; private set; }

        public override int RxQueues => 1;
        public override int TxQueues => 1;
        public override int Rx(int queue, rte_mbuf** mbufs, int count) => 0;

        public override TxResult Tx(int queue, rte_mbuf** mbufs, int count)
        {
            _sending = true;
            Release.Wait();
            Shim.dps_mbuf_free_bulk(mbufs, (uint)count);
            _sending = false;
            return new TxResult(count);
        }

        public override void Dispose()
        {
            IsClosed = true;
            WasClosedInUse |= _sending;
        }
    }

    [Fact]
    public void AnIndexIsGivenOnce()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        using MemoryPort second = new(1, "second", sw.Engine.Small, sw.Engine.Large), none = new(0, "none", sw.Engine.Small, sw.Engine.Large),
            beyond = new(64, "beyond", sw.Engine.Small, sw.Engine.Large);
        Assert.Contains("\"p1\"", Assert.Throws<InvalidOperationException>(() => sw.Engine.Attach(second)).Message, StringComparison.Ordinal);
        Assert.Contains("index 0", Assert.Throws<ArgumentException>(() => sw.Engine.Attach(none)).Message, StringComparison.Ordinal);
        Assert.Contains("index 64", Assert.Throws<ArgumentException>(() => sw.Engine.Attach(beyond)).Message, StringComparison.Ordinal);
        Assert.False(sw.Engine.Detach(2));
        sw.Send(1, Of(B, A));
    }

    [Fact]
    public void APortThatCannotBeWatchedIsNotAttached()
    {
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1).Start();
        int[] closed = [1 << 20];
        var port = new TapPort(2, "gone", closed, sw.Engine.Small, sw.Engine.Large, 0);
        Assert.Throws<Interop.Linux.LinuxException>(() => sw.Engine.Attach(port));
        Assert.Equal(1, Assert.Single(sw.Engine.Ports).Index);
        Assert.Equal(PortState.Detached, sw.Runtime(2).State);
        port.Dispose();
        sw.Port(2);
        new Traffic(sw, (1, 2, false)).Run(100);
    }

    private static void AllAsleep(TestSwitch sw)
    {
        foreach (Worker worker in sw.Engine.Workers)
        {
            WorkerRecord* record = sw.Segment.Workers + worker.Index;
            ulong before = Volatile.Read(ref record->Sleeps);
            sw.Until(() => Volatile.Read(ref record->Epoch) == Quiescence.OfflineEpoch || Volatile.Read(ref record->Sleeps) > before, "sleep");
        }
    }

    private static ulong Sum(TestSwitch sw, Func<int, ulong> count) =>
        Enumerable.Range(1, 60).Aggregate(0ul, (sum, port) => sum + count(port));
}
