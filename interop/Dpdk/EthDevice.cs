using Dataplane.Interop.Linux;

namespace Dataplane.Interop.Dpdk;

/// <summary>What a port can do. Sizes in bytes; offloads are DPDK's RTE_ETH_RX_OFFLOAD_* and RTE_ETH_TX_OFFLOAD_* bits.</summary>
/// <param name="Name">DPDK's name of the device.</param>
/// <param name="Driver">DPDK's name of its driver.</param>
/// <param name="InterfaceIndex">The kernel interface behind the port, 0 for none.</param>
/// <param name="Socket">Its NUMA node, -1 for any.</param>
/// <param name="DefaultRxDescriptors">The driver's preference for a receive queue.</param>
/// <param name="DefaultTxDescriptors">The driver's preference for a transmit queue.</param>
/// <param name="RxInterrupts">Receive queues can wake a sleeping worker; known once started with <see cref="EthDeviceConfiguration.RxInterrupts"/>.</param>
/// <param name="MultiSegment">Chains can be sent.</param>
/// <param name="Promiscuous">Frames for any destination are received.</param>
public sealed record EthDeviceInfo(
    string Name,
    string Driver,
    uint InterfaceIndex,
    int Socket,
    int MaxRxQueues,
    int MaxTxQueues,
    int DefaultRxDescriptors,
    int DefaultTxDescriptors,
    int MinMtu,
    int MaxMtu,
    bool RxInterrupts,
    bool MultiSegment,
    bool Promiscuous,
    ulong RxOffloads,
    ulong TxOffloads);

/// <summary>How a port is to be set up.</summary>
public sealed record EthDeviceConfiguration
{
    /// <summary>Receive queues, one per worker. Several share the load by RSS where the port has it.</summary>
    public ushort RxQueues { get; init; } = 1;

    /// <summary>Transmit queues, one per worker.</summary>
    public ushort TxQueues { get; init; } = 1;

    /// <summary>Descriptors per receive queue; 0 for the driver's preference.</summary>
    public ushort RxDescriptors { get; init; }

    /// <summary>Descriptors per transmit queue; 0 for the driver's preference.</summary>
    public ushort TxDescriptors { get; init; }

    /// <summary>MTU in bytes, without Ethernet header; 0 for 1,500. Software ports carry any.</summary>
    public ushort Mtu { get; init; }

    /// <summary>Receive frames for any destination, as a bridge must. A port may refuse (<see cref="EthDeviceInfo.Promiscuous"/> tells).</summary>
    public bool Promiscuous { get; init; }

    /// <summary>Prepare receive queues to wake a sleeping worker.</summary>
    public bool RxInterrupts { get; init; }

    /// <summary>Receive offloads, of those in <see cref="EthDeviceInfo.RxOffloads"/>.</summary>
    public ulong RxOffloads { get; init; }

    /// <summary>Transmit offloads, of those in <see cref="EthDeviceInfo.TxOffloads"/>.</summary>
    public ulong TxOffloads { get; init; }
}

/// <summary>
/// A DPDK port, from attach to detach: attach, configure, start, bursts, stop, detach. Control calls are for one thread at
/// a time; each queue is for one thread at a time. Failures throw a <see cref="DpdkException"/> that names the port.
/// </summary>
public sealed unsafe class EthDevice : IDisposable
{
    /// <summary>Bytes of a MAC address.</summary>
    private const int MacLength = 6;

    private readonly ushort port;
    private bool detached;

    private EthDevice(string name, ushort port) => (Name, this.port) = (name, port);

    /// <summary>The name the port was attached by, its parameters not included.</summary>
    public string Name { get; }

    /// <summary>DPDK's number of the port, for calls into <see cref="Shim"/>; given to other ports after a detach.</summary>
    public ushort PortId
    {
        get
        {
            ObjectDisposedException.ThrowIf(detached, this);
            return port;
        }
    }

    /// <summary>What the port can do.</summary>
    public EthDeviceInfo Info
    {
        get
        {
            dps_eth_info info;
            Check(Shim.dps_eth_get_info(PortId, &info), "does not tell its properties");
            return new EthDeviceInfo(
                NativeText.From(info.name), NativeText.From(info.driver), info.if_index, info.socket,
                info.max_rx_queues, info.max_tx_queues, info.default_rx_desc, info.default_tx_desc, info.min_mtu, info.max_mtu,
                (info.flags & Shim.DPS_ETH_RX_INTERRUPT) != 0,
                (info.flags & Shim.DPS_ETH_TX_MULTI_SEGMENT) != 0,
                (info.flags & Shim.DPS_ETH_PROMISCUOUS) != 0,
                info.rx_offload_capa, info.tx_offload_capa);
        }
    }

    /// <summary>The link's state, as last reported; does not wait for negotiation.</summary>
    public dps_eth_link Link
    {
        get
        {
            dps_eth_link link;
            Check(Shim.dps_eth_get_link(PortId, &link), "does not tell its link state");
            return link;
        }
    }

    /// <summary>The driver's counters since the start.</summary>
    public dps_eth_stats Statistics
    {
        get
        {
            dps_eth_stats stats;
            Check(Shim.dps_eth_get_stats(PortId, &stats), "does not tell its counters");
            return stats;
        }
    }

    /// <summary>Finds a device, or makes a virtual one, and gives it to DPDK.</summary>
    /// <param name="devargs">A PCI address or a virtual device, with parameters: "0000:03:00.1", "net_memif0,role=server".</param>
    /// <exception cref="DpdkException">No such device or driver, it is attached already, or its driver refuses it.</exception>
    public static EthDevice Attach(string devargs)
    {
        var name = devargs.Split(',')[0];
        ushort port;
        int result;
        fixed (byte* text = NativeText.Terminated(devargs)) result = Shim.dps_eth_attach(text, &port);
        if (result == 0) return new EthDevice(name, port);
        throw new DpdkException($"port '{name}' cannot be attached as '{devargs}'", result, -result switch
        {
            Errno.EEXIST => "it is attached already",
            Errno.ENODEV or Errno.EINVAL => "the name is of no device and no driver here, or the driver does not take a parameter",
            // Many drivers answer any mistake with a plain -1, which reads "not permitted".
            Errno.EPERM => "its driver refuses it, a parameter may be wrong; the driver's messages on standard error say more",
            _ => "the driver's messages on standard error say more",
        });
    }

    /// <summary>
    /// A port over two rings, for tests and benchmarks: what is put on <paramref name="receive"/> is received, what is sent
    /// appears on <paramref name="transmit"/>. The rings must outlive it.
    /// </summary>
    public static EthDevice FromRings(string name, Ring receive, Ring transmit)
    {
        ushort port;
        int result;
        fixed (byte* text = NativeText.Terminated(name))
            result = Shim.dps_eth_from_rings(text, receive.Pointer, transmit.Pointer, &port);
        if (result != 0) throw new DpdkException($"port '{name}' cannot be made from rings", result);
        return new EthDevice(name, port);
    }

    /// <summary>Sets queues, MTU and offloads of a stopped port. Received packets are placed in buffers of the pool.</summary>
    public void Configure(EthDeviceConfiguration configuration, MbufPool pool)
    {
        var conf = new dps_eth_conf
        {
            rx_queues = configuration.RxQueues,
            tx_queues = configuration.TxQueues,
            rx_desc = configuration.RxDescriptors,
            tx_desc = configuration.TxDescriptors,
            mtu = configuration.Mtu,
            promiscuous = configuration.Promiscuous ? (byte)1 : (byte)0,
            rx_interrupts = configuration.RxInterrupts ? (byte)1 : (byte)0,
            rx_offloads = configuration.RxOffloads,
            tx_offloads = configuration.TxOffloads,
        };
        var result = Shim.dps_eth_configure(PortId, &conf, pool.Pointer);
        if (result == 0) return;
        var info = Info;
        throw new DpdkException($"port '{Name}' ({info.Driver}) cannot be configured", result, -result switch
        {
            Errno.ERANGE => $"{conf.rx_queues} receive and {conf.tx_queues} transmit queues asked for, it has {info.MaxRxQueues} and {info.MaxTxQueues}",
            Errno.EOPNOTSUPP => "of the offloads asked for, it has not: " +
                $"receive 0x{conf.rx_offloads & ~info.RxOffloads:x}, transmit 0x{conf.tx_offloads & ~info.TxOffloads:x}",
            Errno.EINVAL => $"MTU {conf.mtu} asked for, it takes {info.MinMtu} to {info.MaxMtu}; buffers hold {pool.DataRoom - Mbuf.DefaultHeadroom}",
            _ => null,
        });
    }

    public void Start()
    {
        var result = Shim.dps_eth_start(PortId);
        if (result == 0) return;
        var driver = Info.Driver;
        throw new DpdkException($"port '{Name}' ({driver}) cannot be started", result,
            driver == "net_memif" ? "a client needs its server to be there first" : null);
    }

    public void Stop() => Check(Shim.dps_eth_stop(PortId), "cannot be stopped");

    /// <summary>Stops and closes the port and gives the device back. No thread may be in a burst.</summary>
    public void Detach()
    {
        Check(Shim.dps_eth_detach(PortId), "cannot be detached");
        detached = true;
    }

    /// <summary>The port's MAC address, six bytes as on the wire.</summary>
    public void GetMac(Span<byte> mac)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(mac.Length, MacLength);
        fixed (byte* bytes = mac) Check(Shim.dps_eth_get_mac(PortId, bytes), "does not tell its MAC address");
    }

    /// <summary>Gives the port a MAC address, six bytes as on the wire.</summary>
    public void SetMac(ReadOnlySpan<byte> mac)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(mac.Length, MacLength);
        fixed (byte* bytes = mac) Check(Shim.dps_eth_set_mac(PortId, bytes), $"does not take the MAC address {Convert.ToHexString(mac)}");
    }

    /// <summary>Packets received, at most a count; the caller owns them.</summary>
    public int Receive(ushort queue, rte_mbuf** mbufs, int count) => Shim.dps_eth_rx_burst(port, queue, mbufs, (ushort)count);

    /// <summary>Sends packets in order and returns how many were taken; the caller still owns the rest.</summary>
    public int Transmit(ushort queue, rte_mbuf** mbufs, int count) => Shim.dps_eth_tx_burst(port, queue, mbufs, (ushort)count);

    /// <summary>
    /// The descriptor that becomes readable when an armed receive queue has packets, or -1 where the driver has none. To be
    /// watched edge-triggered, and not to be read.
    /// </summary>
    public int ReceiveInterruptDescriptor(ushort queue) => Math.Max(-1, Shim.dps_eth_rx_intr_fd(PortId, queue));

    /// <summary>Arms a receive queue: its descriptor wakes at the next packet. Poll once more after arming, before sleeping.</summary>
    public void ArmReceiveInterrupt(ushort queue) =>
        Check(Shim.dps_eth_rx_intr_enable(PortId, queue), "cannot arm its receive interrupt");

    public void DisarmReceiveInterrupt(ushort queue) =>
        Check(Shim.dps_eth_rx_intr_disable(PortId, queue), "cannot disarm its receive interrupt");

    /// <summary>Detaches if need be; a failure is not reported. See <see cref="Detach"/>.</summary>
    public void Dispose()
    {
        if (detached) return;
        detached = true;
        _ = Shim.dps_eth_detach(port);
    }

    private void Check(int result, string what)
    {
        if (result < 0) throw new DpdkException($"port '{Name}' {what}", result);
    }
}
