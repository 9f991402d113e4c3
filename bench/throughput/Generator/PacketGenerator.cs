using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Generator;

/// <summary>
/// Sends packets into a switch by two ports and receives what comes out, on one CPU, at a constant rate. How they are connected with those
/// of the switch is <see cref="GeneratorLink"/>. Each packet carries the time of its sending and the number of its trial, so that late ones of an
/// earlier trial are not counted.
/// <para>
/// The machine takes the generator's CPU away now and then, and gives it to another thread. That is no property of the switch, and a generator of
/// hardware would go on. So its schedule stands still meanwhile, rather than that everything due is sent in a rush behind it, and times of packets
/// that were under way then are not counted: nobody was there to receive them. Interrupts are shorter, and are made up for.
/// </para>
/// </summary>
public sealed unsafe class PacketGenerator : IDisposable
{
    /// <summary>Memory for its packet buffers and what DPDK needs besides, in MiB.</summary>
    public const int MemoryMegabytes = 192;

    private const int Ports = GeneratorLink.Ports, Burst = 32, Buffers = 32_768;

    /// <summary>Behind the Ethernet header: the number of the trial, then the time.</summary>
    private const int TrialOffset = Wire.EthernetHeader, TimeOffset = TrialOffset + 4;

    /// <summary>After the last packet that comes, so long is waited for another one.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(20);

    /// <summary>So long between two looks at the clock, and another thread had the generator's CPU.</summary>
    private static readonly TimeSpan Absence = TimeSpan.FromMicroseconds(100);

    private static readonly TimeSpan LinkTime = TimeSpan.FromSeconds(20);

    private static int s_serial;

    private readonly MbufPool _pool;
    private readonly EthDevice[] _devices = new EthDevice[Ports];
    private readonly byte[][][] _headers;
    private readonly ulong _tscHz;
    private readonly ulong _absence;
    private readonly int _length, _rxQueues;
    private uint _trial;
    private ulong _lastLook, _backSince, _away;
    private long _received;

    /// <param name="link">The generator's own ports.</param>
    /// <param name="hugepages">Take packet buffers from hugepages: network cards need them.</param>
    /// <param name="addresses">Addresses on each side, all in conversation with one on the other; see <see cref="MacPairs"/>.</param>
    /// <param name="length">Bytes of a packet, without frame check sequence.</param>
    /// <param name="tscHz">Frequency of the time-stamp counter.</param>
    public PacketGenerator(GeneratorLink link, bool hugepages, int addresses, int length, ulong tscHz)
    {
        if (!Eal.IsInitialised)
        {
            string prefix = $"dataplane-bench-{Environment.ProcessId}";
            Eal.Init(hugepages ? Eal.HugePageArguments(MemoryMegabytes, prefix) : Eal.LaptopArguments(MemoryMegabytes, prefix));
        }
        _tscHz = tscHz;
        _absence = (ulong)(Absence.TotalSeconds * tscHz);
        (_length, _rxQueues) = (length, link.RxQueues);
        _headers = [.. Enumerable.Range(0, Ports).Select(side => Headers(addresses, side))];
        _pool = MbufPool.Create($"bench{++s_serial}", Buffers, privateSize: PacketMeta.SizeInBytes, dataRoom: 2048 + Mbuf.DefaultHeadroom);
        try
        {
            for (int port = 0; port < Ports; port++)
            {
                _devices[port] = EthDevice.Attach(link.Own[port]);
                _devices[port].Configure(new EthDeviceConfiguration { RxQueues = (ushort)link.RxQueues, TxQueues = 1 }, _pool);
                _devices[port].Start();
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Waits until the switch's ends are there, and lets it learn all addresses.</summary>
    /// <exception cref="BenchException">They do not come, or nothing passes.</exception>
    public void Connect(CancellationToken cancel)
    {
        long end = Environment.TickCount64 + (long)LinkTime.TotalMilliseconds;
        while (_devices.Any(device => device.Link.up == 0))
        {
            Wait("does not open its ports", end, cancel);
        }
        // At a low rate: what is not learned yet is flooded, and some switches make flows meanwhile.
        while (Run(20_000, TimeSpan.FromMilliseconds(300), cancel) is var trial && (trial.Loss > 0 || trial.Received == 0))
        {
            Wait($"lost {trial.Loss:P1} of a few packets", end, cancel);
        }
    }

    /// <summary>One trial.</summary>
    /// <param name="perSecond">Packets per second over both ports; infinity for as many as this CPU can make.</param>
    /// <param name="time">How long to send.</param>
    /// <param name="cancel">The user has enough.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public Trial Run(double perSecond, TimeSpan time, CancellationToken cancel)
    {
        _trial++;
        var latency = new LatencyHistogram();
        rte_mbuf** mbufs = stackalloc rte_mbuf*[Burst];
        int* next = stackalloc int[Ports];
        (next[0], next[1]) = (0, 0);
        double perClock = perSecond / _tscHz;
        ulong start = Shim.dps_rdtsc(), length = (ulong)(time.TotalSeconds * _tscHz), now;
        (_lastLook, _backSince, _away, _received) = (start, start, 0, 0);
        long sent = 0;
        int turn = 0;
        while ((now = Look()) - start < length && !cancel.IsCancellationRequested)
        {
            double due = (now - start - _away) * perClock;
            if (due - sent >= 1)
            {
                int wanted = due - sent >= Burst ? Burst : (int)(due - sent);
                // What the switch's ring has no room for is lost, as at a network card.
                Send(turn, mbufs, wanted, ref next[turn]);
                sent += wanted;
                turn ^= 1;
            }
            Receive(mbufs, latency);
        }
        double clocks = now - start, away = _away;
        // What is under way. Time in which nobody could look for it does not count.
        for (ulong last = Look() - _away, patience = (ulong)(Patience.TotalSeconds * _tscHz); Look() - _away - last < patience;)
        {
            if (Receive(mbufs, latency) != 0)
            {
                last = _lastLook - _away;
            }
        }
        cancel.ThrowIfCancellationRequested();
        return new Trial(sent * (double)_tscHz / (clocks - away), sent, _received, latency, away / clocks);
    }

    public void Dispose()
    {
        foreach (EthDevice? device in _devices)
        {
            device?.Dispose();
        }
        _pool.Dispose();
    }

    /// <summary>The time, in clocks. Notes when the generator was away.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Look()
    {
        ulong now = Shim.dps_rdtsc(), since = now - _lastLook;
        if (since > _absence)
        {
            _away += since;
            _backSince = now;
        }
        _lastLook = now;
        return now;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Send(int port, rte_mbuf** mbufs, int count, ref int next)
    {
        if (Shim.dps_mbuf_alloc_bulk(_pool.Pointer, mbufs, (uint)count) != 0)
        {
            return; // all under way
        }
        byte[][] headers = _headers[port];
        ulong now = Look();
        for (int i = 0; i < count; i++)
        {
            byte* data = Mbuf.Data(mbufs[i]);
            headers[next].CopyTo(new Span<byte>(data, Wire.EthernetHeader));
            next = next + 1 == headers.Length ? 0 : next + 1;
            BinaryPrimitives.WriteUInt32LittleEndian(new Span<byte>(data + TrialOffset, 4), _trial);
            BinaryPrimitives.WriteUInt64LittleEndian(new Span<byte>(data + TimeOffset, 8), now);
            mbufs[i]->data_len = (ushort)_length;
            mbufs[i]->pkt_len = (uint)_length;
        }
        int taken = Shim.dps_eth_tx_burst(_devices[port].PortId, 0, mbufs, (ushort)count);
        if (taken < count)
        {
            Shim.dps_mbuf_free_bulk(mbufs + taken, (uint)(count - taken));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Receive(rte_mbuf** mbufs, LatencyHistogram latency)
    {
        int all = 0;
        for (int i = 0; i < Ports * _rxQueues; i++)
        {
            all += Receive(_devices[i % Ports].PortId, (ushort)(i / Ports), mbufs, latency);
        }
        return all;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Receive(ushort port, ushort queue, rte_mbuf** mbufs, LatencyHistogram latency)
    {
        int n = Shim.dps_eth_rx_burst(port, queue, mbufs, Burst);
        if (n != 0)
        {
            ulong now = Look();
            for (int i = 0; i < n; i++)
            {
                byte* data = Mbuf.Data(mbufs[i]);
                if (mbufs[i]->data_len >= TimeOffset + 8 && BinaryPrimitives.ReadUInt32LittleEndian(new ReadOnlySpan<byte>(data + TrialOffset, 4)) == _trial)
                {
                    _received++;
                    ulong sent = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(data + TimeOffset, 8));
                    if (sent >= _backSince)
                    {
                        latency.Record(now - sent);
                    }
                }
            }
            Shim.dps_mbuf_free_bulk(mbufs, (uint)n);
        }
        return n;
    }

    private static byte[][] Headers(int addresses, int side) =>
    [
        .. Enumerable.Range(0, addresses).Select(i =>
            (byte[])[.. MacPairs.Address(1 - side, i).ToBytes(), .. MacPairs.Address(side, i).ToBytes(), SteadyStream.EtherType >> 8, SteadyStream.EtherType & 0xFF]),
    ];

    private static void Wait(string problem, long end, CancellationToken cancel)
    {
        if (Environment.TickCount64 > end)
        {
            throw new BenchException($"the switch {problem}");
        }
        cancel.WaitHandle.WaitOne(20);
        cancel.ThrowIfCancellationRequested();
    }
}
