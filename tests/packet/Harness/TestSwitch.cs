using System.Runtime.ExceptionServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// A whole switch in private memory with memory ports: packets in, packets out, the clock turned by hand, the workers polled by
/// hand (or on their threads, after <see cref="Start"/>). Disposing of it checks the accounting, that the ports saw what the
/// counters say, and that every buffer came back; so every test does.
/// </summary>
public sealed unsafe class TestSwitch : IDisposable
{
    public const int Bridge = 1;
    private const int MaxPorts = 64;

    private readonly SortedDictionary<int, EnginePort> _ports = [];
    private readonly HashSet<int> _everUsed = [];
    private readonly HashSet<int> _replaced = [];
    private readonly int _smallFree;
    private readonly int _largeFree;
    // What the test put into memory ports and took out of them, by port.
    private readonly ulong[] _injected = new ulong[MaxPorts], _injectedBytes = new ulong[MaxPorts];
    private readonly ulong[] _taken = new ulong[MaxPorts], _takenBytes = new ulong[MaxPorts];
    private readonly List<TapWire> _wires = [];
    private readonly long _born = Environment.TickCount64;
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private Exception? _lastThrown;
    private bool _threads;

    /// <param name="workers">Forwarding threads.</param>
    /// <param name="options">Sizes of the segment.</param>
    /// <param name="bridge">Changes the record of bridge 1.</param>
    /// <param name="smallBuffers">Buffers of 2 KiB.</param>
    /// <param name="largeBuffers">Buffers of 64 KiB.</param>
    /// <param name="clock">Time; <see cref="Clock"/>, turned by hand, when not given.</param>
    /// <param name="busyPoll">Whether the threads never sleep.</param>
    /// <param name="distribute">Whether packets of ports with one queue are shared among the workers.</param>
    /// <param name="seed">Makes two switches have everything at the same place of their tables; 0 for a random one.</param>
    public TestSwitch(int workers = 1, SegmentOptions? options = null, Func<BridgeRecord, BridgeRecord>? bridge = null,
        int smallBuffers = 4096, int largeBuffers = 64, EngineClock? clock = null, bool busyPoll = false, bool distribute = false, ulong seed = 0)
    {
        Eal.Require();
        AppDomain.CurrentDomain.FirstChanceException += Remember;
        Segment = Segment.CreatePrivate(options ?? new SegmentOptions { MacCapacity = 1024, MaxPorts = MaxPorts, MaxWorkers = 4 });
        Segment.Header.HashSeed = seed != 0 ? seed : Segment.Header.HashSeed;
        Engine = new Engine(Segment, new EngineOptions
        {
            Workers = workers,
            SmallBuffers = smallBuffers,
            LargeBuffers = largeBuffers,
            BusyPoll = busyPoll,
            Distribute = distribute,
        }, clock ?? Clock);
        Writer = new SegmentWriter(Segment);
        _smallFree = Engine.Small.Available;
        _largeFree = Engine.Large.Available;
        var record = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = Bridge, AgeingSeconds = 300 };
        SetBridge(bridge is null ? record : bridge(record));
    }

    public ManualClock Clock { get; } = new();
    public Segment Segment { get; }
    public Engine Engine { get; }
    public SegmentWriter Writer { get; }
    public MacTable Macs => Segment.Macs;

    /// <summary>A VLAN-aware bridge.</summary>
    public static BridgeRecord VlanAware(BridgeRecord record) =>
        record with { Flags = record.Flags | BridgeFlags.VlanAware, FidBase = Fids.BlockBase(0), FidMask = 0xFFF };

    /// <summary>Adds a memory port to the bridge.</summary>
    public TestSwitch Port(int index, PortFlags flags = PortFlags.Default, Func<PortRecord, PortRecord>? change = null,
        bool takesOffloads = false, int depth = 1024) =>
        Attach(new MemoryPort(index, $"p{index}", Engine.Small, Engine.Large, depth, takesOffloads), flags, change);

    /// <summary>Adds a TAP whose other end the test holds; see <see cref="TapWire"/>.</summary>
    public TestSwitch Tap(int index, out TapWire wire, PortFlags flags = PortFlags.Default, Func<PortRecord, PortRecord>? change = null)
    {
        wire = new TapWire(Engine.Workers.Count);
        _wires.Add(wire);
        return Attach(new TapPort(index, $"tap{index}", wire.SwitchFds, Engine.Small, Engine.Large, 0), flags, change);
    }

    /// <summary>Adds any port to the bridge.</summary>
    public TestSwitch Attach(EnginePort port, PortFlags flags = PortFlags.Default, Func<PortRecord, PortRecord>? change = null)
    {
        Deviceless(port.Index, flags, change);
        _ports.Add(port.Index, port);
        Engine.Attach(port);
        return this;
    }

    /// <summary>Adds a port without device to the bridge: its router, a tunnel, or one whose device comes later.</summary>
    public TestSwitch Deviceless(int index, PortFlags flags, Func<PortRecord, PortRecord>? change = null)
    {
        var record = new PortRecord { Flags = flags, Bridge = Bridge, Mtu = 1500 };
        Writer.Begin();
        Writer.SetPort(index, change is null ? record : change(record));
        BridgeRecord bridge = Writer.Bridge(Bridge);
        PortSet.Add(ref bridge.Members, index);
        Writer.SetBridge(Bridge, bridge);
        Writer.Commit();
        _everUsed.Add(index);
        return this;
    }

    /// <summary>A port that has no device: its counters take part in the accounting.</summary>
    public void AlsoCheck(int index) => _everUsed.Add(index);

    /// <summary>Takes a port's device away, and its buffers with it. Its configuration stays.</summary>
    public void Detach(int index)
    {
        if (!_threads)
        {
            Poll();
            Drain(index);
        }
        Assert.True(Engine.Detach(index));
        _ports.Remove(index);
        _replaced.Add(index);
    }

    /// <summary>An access port of a VLAN.</summary>
    public TestSwitch Access(int index, int vlan, PortFlags flags = PortFlags.Default, bool takesOffloads = false) =>
        Port(index, flags, record => Vlan(record, [vlan], vlan), takesOffloads);

    /// <summary>A trunk of some VLANs, with a native one or none.</summary>
    public TestSwitch Trunk(int index, IEnumerable<int> vlans, int native = 0, bool takesOffloads = false) =>
        Port(index, (PortFlags.Default | PortFlags.Trunk) & ~(native == 0 ? PortFlags.AcceptUntagged : 0),
            record => Vlan(record, vlans, native), takesOffloads);

    /// <summary>A record with these VLANs, the native one among them.</summary>
    public static PortRecord Vlan(PortRecord record, IEnumerable<int> vlans, int native)
    {
        record.Vlans = default;
        foreach (int vlan in vlans)
        {
            VlanSet.Add(ref record.Vlans, vlan);
        }
        if (native != 0)
        {
            VlanSet.Add(ref record.Vlans, native);
        }
        record.Pvid = (ushort)native;
        return record;
    }

    /// <summary>Changes a port's configuration by a commit.</summary>
    public void Change(int index, Func<PortRecord, PortRecord> change)
    {
        Writer.Begin();
        Writer.SetPort(index, change(Writer.Port(index)));
        Writer.Commit();
    }

    /// <summary>Changes flags of a port by a commit.</summary>
    public void Flags(int index, PortFlags set = PortFlags.None, PortFlags clear = PortFlags.None) =>
        Change(index, record => record with { Flags = (record.Flags & ~clear) | set });

    public void SetBridge(BridgeRecord record)
    {
        Writer.Begin();
        Writer.SetBridge(Bridge, record);
        Writer.Commit();
    }

    public MemoryPort this[int index] => (MemoryPort)_ports[index];

    /// <summary>Puts frames into a port and lets the workers run until nothing is left to do.</summary>
    public TestSwitch Send(int port, params byte[][] frames)
    {
        foreach (byte[] frame in frames)
        {
            Inject(port, frame);
        }
        Poll();
        return this;
    }

    /// <summary>Puts a frame into a port, its first bytes in a buffer of their own when asked.</summary>
    public void Inject(int port, ReadOnlySpan<byte> frame, int firstBuffer = int.MaxValue) =>
        Assert.True(TryInject(port, frame, firstBuffer), "the test port is full, or no buffer is left");

    /// <summary>As <see cref="Inject(int, ReadOnlySpan{byte}, int)"/>; false when the port is full or the pools are empty.</summary>
    public bool TryInject(int port, ReadOnlySpan<byte> frame, int firstBuffer = int.MaxValue)
    {
        rte_mbuf* mbuf = MbufCopy.FromBytes(frame, Engine.Small, Engine.Large, firstBuffer);
        return mbuf != null && TryInject(port, mbuf);
    }

    /// <summary>Puts a frame into a port whose sender left work undone, as a TAP's would.</summary>
    public TestSwitch Send(int port, Unfinished packet, int firstBuffer = int.MaxValue)
    {
        rte_mbuf* mbuf = MbufCopy.FromBytes(packet.Frame, Engine.Small, Engine.Large, firstBuffer);
        Assert.True(mbuf != null, "no buffer is left");
        Assert.True(Offload.Accept(mbuf, packet.Vnet), "the offload request makes no sense");
        Assert.True(TryInject(port, mbuf), "the test port is full");
        Poll();
        return this;
    }

    /// <summary>Puts a ready mbuf into a port, which is freed when the port is full.</summary>
    public bool TryInject(int port, rte_mbuf* mbuf) => TryInject(this[port], mbuf);

    /// <summary>As <see cref="TryInject(int, rte_mbuf*)"/>, while another thread attaches and detaches ports.</summary>
    public bool TryInject(MemoryPort port, rte_mbuf* mbuf)
    {
        uint bytes = mbuf->pkt_len;
        if (!port.Inject(mbuf))
        {
            return false;
        }
        _injected[port.Index]++;
        _injectedBytes[port.Index] += bytes;
        return true;
    }

    /// <summary>Runs the workers on their threads from now on.</summary>
    public TestSwitch Start()
    {
        _threads = true;
        Engine.Start();
        return this;
    }

    /// <summary>Ends the threads; the workers are polled by hand from now on.</summary>
    public void Stop()
    {
        Engine.Stop();
        _threads = false;
    }

    /// <summary>Lets the workers run until nothing is left to do.</summary>
    public void Poll()
    {
        for (int idle = 0; idle < 2;)
        {
            int work = 0;
            foreach (Worker worker in Engine.Workers)
            {
                work += worker.PollOnce();
            }
            idle = work == 0 ? idle + 1 : 0;
        }
        Rest();
    }

    /// <summary>
    /// Waits until the threads have brought something about. All of a test may wait for a minute, so that one which waits in
    /// vain fails; how long it takes is no part of any test.
    /// </summary>
    public void Until(Func<bool> condition, string what)
    {
        while (!condition())
        {
            Assert.True(Environment.TickCount64 - _born < 60_000, $"never came: {what}");
            Thread.Yield();
        }
    }

    /// <summary>Between polls by hand nobody waits for a worker.</summary>
    public void Rest()
    {
        foreach (Worker worker in Engine.Workers)
        {
            Segment.Quiescence.Offline(worker.Index);
        }
    }

    /// <summary>What was sent to a port since the last call.</summary>
    public List<byte[]> Take(int port) => [.. TakeUnfinished(port).Select(packet => packet.Frame)];

    /// <summary>What was sent to a port since the last call, with the work left undone.</summary>
    public List<Unfinished> TakeUnfinished(int port)
    {
        var packets = new List<Unfinished>();
        rte_mbuf* mbuf;
        while ((mbuf = TakeMbuf(port)) != null)
        {
            byte* reason;
            Assert.True(Shim.dps_mbuf_check(mbuf, &reason) == 0, $"port {port} was sent an mbuf that is inconsistent");
            packets.Add(new Unfinished(MbufCopy.ToBytes(mbuf), Offload.IsPending(mbuf) ? Offload.Meta(mbuf)->Vnet : default));
            Shim.dps_mbuf_free(mbuf);
        }
        return packets;
    }

    /// <summary>The oldest packet sent to a port, which the caller frees; null when there is none.</summary>
    public rte_mbuf* TakeMbuf(int port) => TakeMbuf(this[port]);

    /// <summary>As <see cref="TakeMbuf(int)"/>, while another thread attaches and detaches ports.</summary>
    public rte_mbuf* TakeMbuf(MemoryPort port)
    {
        rte_mbuf* mbuf = port.TakeMbuf();
        if (mbuf != null)
        {
            _taken[port.Index]++;
            _takenBytes[port.Index] += mbuf->pkt_len;
        }
        return mbuf;
    }

    /// <summary>Frees what was sent to a port. Gives how many packets.</summary>
    public int Drain(int port)
    {
        if (!_ports.TryGetValue(port, out EnginePort? device) || device is not MemoryPort)
        {
            return 0;
        }
        int n = 0;
        rte_mbuf* mbuf;
        while ((mbuf = TakeMbuf(port)) != null)
        {
            Shim.dps_mbuf_free(mbuf);
            n++;
        }
        return n;
    }

    /// <summary>The ports that got something since the last call, a port twice when it got two frames.</summary>
    public string Outputs() => string.Join(' ', _ports.Where(p => p.Value is MemoryPort).SelectMany(p => Enumerable.Repeat(p.Key, Drain(p.Key))));

    /// <summary>Counters of a port, summed over the workers.</summary>
    public PortCounters Counters(int port)
    {
        PortCounters sum = default;
        for (int w = 0; w < Engine.Workers.Count; w++)
        {
            sum.Add(in Segment.Counters(w)[port]);
        }
        return sum;
    }

    public ulong Drops(int port, DropReason reason) => Counters(port).Drops[(int)reason];

    /// <summary>Every drop counter that is not 0, as "port reason count"; empty when there is none.</summary>
    public string Drops() => string.Join(", ",
        from port in _everUsed.Order()
        from reason in DropReasons.All
        let count = Drops(port, reason)
        where count != 0
        select $"{port} {reason} {count}");

    /// <summary>Addresses learned on a port now.</summary>
    public int Learned(int port) => Segment.PortRuntime[port].Learned;

    /// <summary>Run-time state of a port.</summary>
    public ref PortRuntime Runtime(int port) => ref Segment.PortRuntime[port];

    /// <summary>Run-time state of the bridge.</summary>
    public ref BridgeRuntime BridgeRuntime => ref Segment.BridgeRuntime[Bridge];

    /// <summary>What the workers told the control plane since the last call, oldest first for each worker.</summary>
    public List<EventRecord> Events()
    {
        var events = new List<EventRecord>();
        for (int w = 0; w < Engine.Workers.Count; w++)
        {
            while (EventRing.TryRead(ref Segment.Events(w), out EventRecord record))
            {
                events.Add(record);
            }
        }
        return events;
    }

    /// <summary>The port of a learned address, 0 when it is unknown.</summary>
    public int PortOf(string mac, int vlan = 0) => MacValue.Port(Macs.Find(Key(mac, vlan)));

    public void SetStatic(string mac, int port, MacFlags flags = MacFlags.Static, int vlan = 0) =>
        Assert.True(Writer.SetStaticMac(Key(mac, vlan), (ushort)port, flags));

    public bool Remove(string mac, int vlan = 0) => Writer.RemoveMac(Key(mac, vlan));

    public ulong Key(string mac, int vlan = 0)
    {
        ref readonly BridgeRecord bridge = ref Segment.Bridge(Bridge, Segment.Generation);
        return MacTable.Key((uint)(bridge.FidBase + vlan), MacAddress.Parse(mac).Value);
    }

    /// <summary>Turns the clock, and lets housekeeping look at the whole table and free what it killed.</summary>
    public void Age(TimeSpan time)
    {
        Clock.Advance(time);
        for (int i = 0; i < 200; i++)
        {
            Poll();
            Engine.Housekeeping.RunOnce();
        }
    }

    /// <summary>As the accounting check at the end, in the midst of a test. Nothing may be under way.</summary>
    public void CheckAccounting() => Accounting.Check(this, _everUsed);

    public void Dispose()
    {
        AppDomain.CurrentDomain.FirstChanceException -= Remember;
        try
        {
            Check();
        }
        catch (Exception e) when (_lastThrown != null)
        {
            // A test that failed half way need not balance; do not hide why it failed.
            throw new AggregateException(_lastThrown, e);
        }
        finally
        {
            Engine.Dispose();
            Segment.Dispose();
            _wires.ForEach(wire => wire.Dispose());
        }
    }

    private void Check()
    {
        // With that, nothing waits for a neighbour any more.
        Stop();
        Poll();
        foreach (int index in _ports.Keys)
        {
            Drain(index);
        }
        Accounting.Check(this, _everUsed);
        CheckPorts();
        foreach (int index in _ports.Keys)
        {
            Engine.Detach(index);
        }
        Assert.Equal(_smallFree, Engine.Small.Available);
        Assert.Equal(_largeFree, Engine.Large.Available);
    }

    private void Remember(object? sender, FirstChanceExceptionEventArgs e)
    {
        if (Environment.CurrentManagedThreadId == _thread)
        {
            _lastThrown = e.Exception;
        }
    }

    /// <summary>The counters agree with what the test put in and took out.</summary>
    private void CheckPorts()
    {
        foreach ((int index, EnginePort port) in _ports)
        {
            // What was in a device when it was detached, nobody saw.
            if (port is MemoryPort && !_replaced.Contains(index))
            {
                PortCounters c = Counters(index);
                Assert.Equal((index, _injected[index], _injectedBytes[index]), (index, c.RxPackets, c.RxBytes));
                Assert.Equal((index, _taken[index], _takenBytes[index]), (index, c.TxPackets, c.TxBytes));
            }
        }
    }
}

/// <summary>A packet and the work its sender left undone; no work when the header is all zeroes.</summary>
public sealed record Unfinished(byte[] Frame, virtio_net_hdr Vnet);
