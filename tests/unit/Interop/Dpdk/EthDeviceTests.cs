using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

[Collection(EalFixture.Collection)]
public sealed unsafe class EthDeviceTests : IDisposable
{
    private readonly EalFixture eal;
    private readonly MbufPool pool;

    public EthDeviceTests(EalFixture eal)
    {
        this.eal = eal;
        pool = MbufPool.Create(eal.UniqueName("eth"), 1023, cache: 0);
    }

    public void Dispose()
    {
        var free = pool.Available;
        pool.Dispose();
        Assert.Equal(1023, free);
    }

    [Fact]
    public void TheNullDriverReceivesFramesOfItsSizeAndSwallowsWhatIsSent()
    {
        var name = eal.UniqueName("net_null");
        using var port = EthDevice.Attach($"{name},size=100");
        port.Configure(new EthDeviceConfiguration { RxQueues = 2, TxQueues = 2, Promiscuous = true, RxInterrupts = true }, pool);
        port.Start();
        var burst = stackalloc rte_mbuf*[32];

        Assert.Equal(32, port.Receive(1, burst, 32));
        for (var i = 0; i < 32; i++) Assert.Equal((100u, port.PortId), (burst[i]->pkt_len, burst[i]->port));
        Assert.Equal(32, port.Transmit(1, burst, 32));
        var statistics = port.Statistics;
        Assert.Equal((32UL, 32UL), (statistics.rx_packets, statistics.tx_packets));
        Assert.Equal((1, 1, 10_000u), (port.Link.up, port.Link.full_duplex, port.Link.speed_mbps));

        var info = port.Info;
        Assert.Equal((name, "net_null"), (info.Name, info.Driver));
        Assert.True(info.MaxRxQueues >= 2 && info.DefaultRxDescriptors > 0 && info.DefaultTxDescriptors > 0 && info.MaxMtu >= 1500);
        // Asked for, but the driver has none.
        Assert.False(info.RxInterrupts);
        Assert.Equal(-1, port.ReceiveInterruptDescriptor(0));
        Assert.Contains(name, Assert.Throws<DpdkException>(() => port.ArmReceiveInterrupt(0)).Message);
        port.Stop();
    }

    [Fact]
    public void WhatIsPutOnOneRingIsReceivedAndWhatIsSentIsOnTheOther()
    {
        using var receive = Ring.Create(eal.UniqueName("rx"), 64);
        using var transmit = Ring.Create(eal.UniqueName("tx"), 64);
        using (var port = EthDevice.FromRings(eal.UniqueName("r"), receive, transmit))
        {
            port.Configure(new EthDeviceConfiguration { Promiscuous = true, Mtu = 1500 }, pool);
            port.Start();
            Assert.Equal("net_ring", port.Info.Driver);
            var burst = stackalloc rte_mbuf*[32];
            for (var i = 0; i < 32; i++) burst[i] = pool.Allocate(MbufPoolTests.Bytes(60 + i));

            Assert.Equal(32, receive.Enqueue((void**)burst, 32));
            Assert.Equal(20, port.Receive(0, burst, 20));
            Assert.Equal(12, port.Receive(0, burst + 20, 32));
            Assert.Equal(0, port.Receive(0, burst, 32));
            Assert.Equal(32, port.Transmit(0, burst, 32));
            Assert.Equal(32, transmit.Dequeue((void**)burst, 32));
            for (var i = 0; i < 32; i++) Assert.Equal(MbufPoolTests.Bytes(60 + i), Mbuf.ToArray(burst[i]));
            Shim.dps_mbuf_free_bulk(burst, 32);
        }
        Assert.Equal(0, receive.Count);
    }

    [Fact]
    public void AFullRingLeavesTheRestToTheSender()
    {
        using var receive = Ring.Create(eal.UniqueName("rx"), 16);
        using var transmit = Ring.Create(eal.UniqueName("tx"), 16);
        using var port = EthDevice.FromRings(eal.UniqueName("r"), receive, transmit);
        port.Configure(new EthDeviceConfiguration(), pool);
        port.Start();
        var burst = stackalloc rte_mbuf*[32];
        Assert.True(pool.Allocate(burst, 32));

        var sent = port.Transmit(0, burst, 32);
        Assert.Equal(15, sent);
        Shim.dps_mbuf_free_bulk(burst + sent, (uint)(32 - sent));
        Assert.Equal(15, transmit.Dequeue((void**)burst, 32));
        Shim.dps_mbuf_free_bulk(burst, 15);
    }

    [Fact]
    public void APortCanBeReconfiguredAndAttachedAgain()
    {
        var name = eal.UniqueName("net_null");
        for (var round = 0; round < 3; round++)
        {
            var port = EthDevice.Attach(name);
            for (var queues = 1; queues <= 2; queues++)
            {
                port.Configure(new EthDeviceConfiguration { RxQueues = (ushort)queues, TxQueues = (ushort)queues }, pool);
                port.Start();
                port.Stop();
            }
            // Detached stopped, started and never configured.
            if (round == 1) port.Start();
            port.Detach();
            Assert.Throws<ObjectDisposedException>(port.Start);
            port.Dispose();
        }
        EthDevice.Attach(name).Detach();
    }

    [Fact]
    public void TheMacAddressCanBeSet()
    {
        using var port = EthDevice.Attach(eal.UniqueName("net_null"));
        byte[] mac = [0x02, 0x00, 0x5e, 0x10, 0x20, 0x30], read = new byte[6];
        port.SetMac(mac);
        port.GetMac(read);

        Assert.Equal(mac, read);
        Assert.Contains("MAC address FFFFFFFFFFFF", Assert.Throws<DpdkException>(() => port.SetMac([255, 255, 255, 255, 255, 255])).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => port.SetMac([1, 2, 3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => port.GetMac(new byte[5]));
    }

    [Fact]
    public void AttachingTwiceOrNothingNamesThePort()
    {
        var name = eal.UniqueName("net_null");
        using var port = EthDevice.Attach(name);

        var twice = Assert.Throws<DpdkException>(() => EthDevice.Attach(name));
        Assert.Contains(name, twice.Message);
        Assert.Contains("already", twice.Message);
        var nothing = Assert.Throws<DpdkException>(() => EthDevice.Attach("net_nonsense0"));
        Assert.Contains("net_nonsense0", nothing.Message);
        Assert.Contains("no driver", nothing.Message);
    }

    [Fact]
    public void ConfigurationErrorsNameThePortAndWhatItHas()
    {
        var name = eal.UniqueName("net_null");
        using var port = EthDevice.Attach(name);

        var queues = Assert.Throws<DpdkException>(() => port.Configure(new EthDeviceConfiguration { RxQueues = 60_000 }, pool));
        Assert.Contains(name, queues.Message);
        Assert.Contains($"60000 receive and 1 transmit queues asked for, it has {port.Info.MaxRxQueues}", queues.Message);
        var offloads = Assert.Throws<DpdkException>(() => port.Configure(new EthDeviceConfiguration { RxOffloads = 1UL << 40 }, pool));
        Assert.Contains("0x10000000000", offloads.Message);
        Assert.Contains(name, Assert.Throws<DpdkException>(port.Start).Message);
    }

    [Fact]
    public void ADetachedPortsNumberIsUsedAgain()
    {
        var first = EthDevice.Attach(eal.UniqueName("net_null"));
        var number = first.PortId;
        first.Detach();
        using var second = EthDevice.Attach(eal.UniqueName("net_null"));

        Assert.Equal(number, second.PortId);
    }
}
