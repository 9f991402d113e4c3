using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Ports;

/// <summary>
/// A DPDK Ethernet device: a NIC's virtual function, or a virtual device (net_memif, net_af_xdp, net_ring, net_pcap, …). It has
/// a queue in each direction per worker, or as many as the device can. A memif has one: how many there are is what both ends
/// have, and the other end comes later; what is sent to a queue that it has not is lost.
/// </summary>
public sealed unsafe class DpdkPort : EnginePort
{
    private const int DefaultMtu = 1500;

    /// <summary>Bursts that are taken out of a queue at the end; some devices never run dry.</summary>
    private const int LastBursts = 64;

    private readonly EthDevice _device;
    private readonly ushort _port;
    private readonly bool _canWake;
    private bool _disposed;

    private DpdkPort(int index, string name, EthDevice device, int rxQueues, int txQueues, EthDeviceInfo info)
        : base(index, name)
    {
        _device = device;
        _port = device.PortId;
        _canWake = info.RxInterrupts;
        TakesChains = info.MultiSegment;
        RxQueues = rxQueues;
        TxQueues = txQueues;
        Span<byte> mac = stackalloc byte[6];
        device.GetMac(mac);
        Mac = MacAddress.FromBytes(mac).Value;
    }

    /// <summary>Probes a device, configures it and starts it.</summary>
    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">For messages.</param>
    /// <param name="devargs">PCI address or virtual device, with its arguments.</param>
    /// <param name="pools">Where received packets are put: the pool of the device's NUMA node.</param>
    /// <param name="workers">Queues wanted in each direction.</param>
    /// <param name="mtu">Layer-3 MTU in bytes, 0 to leave the device's.</param>
    public static DpdkPort Open(int index, string name, string devargs, BufferPools pools, int workers, int mtu)
    {
        EthDevice device = EthDevice.Attach(devargs);
        try
        {
            EthDeviceInfo info = device.Info;
            MbufPool pool = pools.Small(info.Socket);
            int queues = info.Driver == "net_memif" ? 1 : workers;
            int rxQueues = Math.Clamp(info.MaxRxQueues, 1, queues), txQueues = Math.Clamp(info.MaxTxQueues, 1, queues);
            var configuration = new EthDeviceConfiguration
            {
                RxQueues = (ushort)rxQueues,
                TxQueues = (ushort)txQueues,
                // Many virtual devices know no MTU; asking for what they have anyway must not fail.
                Mtu = mtu is 0 or DefaultMtu ? (ushort)0 : (ushort)mtu,
                // A switch must see what is not addressed to its port.
                Promiscuous = true,
                RxInterrupts = true,
            };
            try
            {
                device.Configure(configuration, pool);
            }
            catch (DpdkException)
            {
                // A driver without receive interrupts refuses them with an error of its own: poll it. Another cause comes again.
                device.Configure(configuration with { RxInterrupts = false }, pool);
            }
            device.Start();
            info = device.Info; // whether interrupts work is known now
            return new DpdkPort(index, name, device, rxQueues, txQueues, info);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    public override int RxQueues { get; }
    public override int TxQueues { get; }
    public override ulong Mac { get; }
    public override bool TakesChains { get; }
    public override bool CanWake => _canWake;
    public override int RxFd(int queue) => _canWake ? _device.ReceiveInterruptDescriptor((ushort)queue) : -1;

    public override bool Arm(int queue) => _canWake && Shim.dps_eth_rx_intr_enable(_port, (ushort)queue) == 0;

    public override void Disarm(int queue)
    {
        if (_canWake)
        {
            _ = Shim.dps_eth_rx_intr_disable(_port, (ushort)queue);
        }
    }

    public override int Rx(int queue, rte_mbuf** mbufs, int count) =>
        Shim.dps_eth_rx_burst(_port, (ushort)queue, mbufs, (ushort)count);

    public override TxResult Tx(int queue, rte_mbuf** mbufs, int count) =>
        new(Shim.dps_eth_tx_burst(_port, (ushort)queue, mbufs, (ushort)count));

    /// <summary>Takes out what was received and nobody fetched: a driver over rings (net_ring) would keep the buffers for good.</summary>
    public override void Dispose()
    {
        if (_disposed)
        {
            return;
        }
        _disposed = true;
        const int Burst = 64;
        rte_mbuf** mbufs = stackalloc rte_mbuf*[Burst];
        for (int queue = 0; queue < RxQueues; queue++)
        {
            for (int bursts = 0, n; bursts < LastBursts && (n = Rx(queue, mbufs, Burst)) != 0; bursts++)
            {
                Shim.dps_mbuf_free_bulk(mbufs, (uint)n);
            }
        }
        _device.Dispose();
    }
}
