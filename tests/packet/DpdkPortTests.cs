using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.PacketTests.Harness;
using Dataplane.Ports;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Ports over virtual devices of DPDK that need neither files nor a partner: net_null, which swallows and invents packets, and
/// net_ring, which gives back what it is sent. And that devices of every driver come and go under traffic.
/// </summary>
public sealed unsafe class DpdkPortTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private static string Null(string arguments = ",no-rx=1") => $"dpdk:{DpdkPorts.Unique("net_null")}{arguments}";

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void ANullPortTakesWhatItIsSent(int workers)
    {
        using TestSwitch sw = new TestSwitch(workers).Port(1).Port(3);
        sw.Device(2, Null());
        foreach (int i in Enumerable.Range(0, 1000))
        {
            sw.Send(1 + (i % 2 * 2), Of(Broadcast, A, payload: 46 + i));
        }
        PortCounters counters = sw.Counters(2);
        Assert.Equal((1000ul, 1000ul, 0ul), (counters.Offered, counters.TxPackets, counters.RxPackets));
        Assert.Equal((ulong)Enumerable.Range(0, 1000).Sum(i => 60 + i), counters.TxBytes);
        Assert.Equal("", sw.Drops());
        Assert.Equal(PortState.Up, sw.Runtime(2).State);
        sw.Detach(2);
        Assert.Equal(PortState.Detached, sw.Runtime(2).State);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void WhatANullPortInventsIsCountedAndNothingElseIsDisturbed(int workers)
    {
        // Its frames are all zeroes: a source that cannot be. There is no end of them.
        using TestSwitch sw = new(workers, clock: new MonotonicClock());
        sw.Port(1).Port(3).Start();
        Traffic traffic = new(sw, (1, 3, false), (3, 1, false));
        traffic.During(() =>
        {
            sw.Device(2, Null(",size=100"));
            sw.Until(() => sw.Counters(2).RxPackets > 50_000, "packets from nowhere");
            sw.Detach(2);
        });
        sw.Stop();
        PortCounters counters = sw.Counters(2);
        Assert.Equal(counters.RxPackets, counters.Drops[(int)DropReason.SourceZero]);
        Assert.Equal(100 * counters.RxPackets, counters.RxBytes);
        Assert.Equal($"2 {DropReason.SourceZero} {counters.RxPackets}", sw.Drops());
    }

    [Fact]
    public void ADeviceHasAQueueForEachWorkerOrAsManyAsItCan()
    {
        using TestSwitch sw = new(workers: 3);
        using EnginePort many = DpdkPorts.Make(sw, 1, Null()), one = DpdkPorts.Make(sw, 2, $"pcap:tx={_directory["q.pcap"]}");
        Assert.Equal((3, 3), (many.RxQueues, many.TxQueues));
        Assert.Equal((1, 1), (one.RxQueues, one.TxQueues));
        Assert.NotEqual(0ul, many.Mac);
        Assert.False(new MacAddress(many.Mac).IsGroup);
        Assert.Equal((1, "p1", false, false), (many.Index, many.Name, many.CanWake, many.TakesOffloads));
        Assert.Equal(-1, many.RxFd(0));
        Assert.False(many.Arm(0)); // "do not sleep": nothing would wake it
        many.Disarm(0);
    }

    [Fact]
    public void WhatARingIsSentComesBackAndGoesNowhere()
    {
        // The same frame on the port of its destination: a loop of cable, which a bridge must end.
        using TestSwitch sw = new TestSwitch().Port(1);
        sw.SetStatic(B, 2);
        sw.SetStatic(A, 1);
        sw.Device(2, $"dpdk:{DpdkPorts.Unique("net_ring")}");
        byte[][] frames = [.. Enumerable.Range(0, 300).Select(i => Of(B, A, payload: 46 + i))];
        sw.Send(1, frames);
        PortCounters counters = sw.Counters(2);
        Assert.Equal((300ul, 300ul), (counters.TxPackets, counters.RxPackets));
        Assert.Equal(counters.TxBytes, counters.RxBytes);
        Assert.Equal($"2 {DropReason.SourceStatic} 300", sw.Drops());
        Assert.Empty(sw.Take(1));
    }

    [Fact]
    public void WhatIsPutIntoARingIsForwardedAndWhatIsForwardedIsInTheRing()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        string device = DpdkPorts.Unique("net_ring");
        sw.Device(2, $"dpdk:{device}");
        rte_ring* ring = DpdkPorts.RingOf(device);
        sw.SetStatic(A, 1);
        byte[][] frames = [.. Enumerable.Range(0, 200).Select(i => Of(A, B, payload: i))];
        foreach (byte[] frame in frames)
        {
            void* mbuf = MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large);
            Assert.Equal(1u, Shim.dps_ring_enqueue_burst(ring, &mbuf, 1));
        }
        sw.Poll();
        Assert.Equal(frames, sw.Take(1));
        Assert.Equal(2, sw.PortOf(B));

        // One poll, and the test takes the frames out before the worker comes again.
        byte[][] back = [.. Enumerable.Range(0, 32).Select(i => Of(B, A, payload: 2 * i))];
        foreach (byte[] frame in back)
        {
            sw.Inject(1, frame);
        }
        sw.Engine.Workers[0].PollOnce();
        foreach (byte[] frame in back)
        {
            void* mbuf;
            Assert.Equal(1u, Shim.dps_ring_dequeue_burst(ring, &mbuf, 1));
            Assert.Equal(frame, MbufCopy.ToBytes((rte_mbuf*)mbuf));
            Shim.dps_mbuf_free((rte_mbuf*)mbuf);
        }
        Assert.Equal("", sw.Drops());
    }

    [Fact]
    public void AFullDeviceLosesTheRestAndNobodyWaits()
    {
        using TestSwitch sw = new TestSwitch().Port(1, depth: 4096);
        sw.SetStatic(B, 2);
        sw.Device(2, $"dpdk:{DpdkPorts.Unique("net_ring")}");
        for (int i = 0; i < 3000; i++)
        {
            sw.Inject(1, Of(B, A));
        }
        sw.Poll();
        PortCounters counters = sw.Counters(2);
        Assert.Equal(3000ul, counters.Offered);
        Assert.Equal(counters.TxPackets + counters.Drops[(int)DropReason.EgressFull], counters.Offered);
        Assert.Equal(counters.TxPackets, counters.RxPackets);
    }

    public static TheoryData<string, int> Drivers => new()
    {
        { "null", 1 }, { "null", 2 }, { "ring", 1 }, { "ring", 2 }, { "pcap", 1 }, { "pcap", 2 }, { "memif", 1 }, { "memif", 2 },
    };

    [Theory]
    [MemberData(nameof(Drivers))]
    public void DevicesComeAndGoUnderTrafficAndTheOthersLoseNothing(string driver, int workers)
    {
        using TestSwitch sw = new(workers, clock: new MonotonicClock());
        sw.Port(1).Port(2).Start();
        Traffic traffic = new(sw, (1, 2, false), (2, 1, true));
        // Senders who stay where they are: what a ring sends back is dropped and does not go round.
        sw.SetStatic(Mac(0x20001), 1);
        sw.SetStatic(Mac(0x20002), 2);
        DpdkPorts.Holdings first = default;
        traffic.During(() =>
        {
            for (int round = 0; round < 15; round++)
            {
                int port = 3 + (round % 2);
                ulong offered = sw.Counters(port).Offered;
                sw.Device(port, Spec(driver, round));
                // It is part of the flood, now; a memif port without a partner takes nothing, and is counted.
                sw.Until(() => sw.Counters(port).Offered > offered, $"a packet offered to port {port}");
                sw.Detach(port);
                // After the first ones, of what a driver keeps for good.
                if (round == 4)
                {
                    first = DpdkPorts.Holdings.Now();
                }
            }
            DpdkPorts.Holdings last = DpdkPorts.Holdings.Now();
            Assert.Equal(first.FirstFreePort, last.FirstFreePort);
            // The other drivers of DPDK keep some of it themselves, for each device that was: net_null a packet per queue, net_ring
            // the rings of queues that it was not asked for, net_memif its socket.
            if (driver == "pcap")
            {
                Assert.Equal(first, last);
            }
        });
        sw.Stop();
        foreach (int port in (int[])[1, 2])
        {
            PortCounters counters = sw.Counters(port);
            Assert.Equal(0ul, counters.EgressDrops);
            Assert.Equal(counters.RxPackets, counters.Forwarded);
        }
        Assert.True(traffic.Sent > 0);
    }

    private string Spec(string driver, int round) => driver switch
    {
        "null" => Null(),
        "ring" => $"dpdk:{DpdkPorts.Unique("net_ring")}",
        "pcap" => $"pcap:tx={_directory[$"{round}.pcap"]}",
        _ => $"dpdk:{DpdkPorts.Unique("net_memif")},role=server,socket-abstract=no,socket={_directory[$"{round}.sock"]},id={round}",
    };
}
