using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>A connection table in private memory whose hash, and so every collision, is the same in every run.</summary>
internal sealed unsafe class TestConnections : IDisposable
{
    private readonly SharedMemory _memory;
    private readonly ConnectionSlot4* _slots4;
    private readonly ConnectionSlot6* _slots6;
    private readonly byte* _marks;
    private readonly ConnectionCounters* _counters;
    private readonly int _capacity, _writers;
    private readonly ulong _seed;

    public TestConnections(int capacity = 64, int writers = 1, ulong seed = 1, bool isAlone = false)
    {
        _capacity = capacity;
        _writers = writers;
        _seed = seed;
        nuint slots = (nuint)ConnectionTable.SlotsFor(capacity);
        nuint marks = (nuint)ConnectionMarks.SizeInBytes(capacity);
        _memory = SharedMemory.CreatePrivate((slots * (ConnectionSlot4.SizeInBytes + ConnectionSlot6.SizeInBytes)) + marks + (nuint)(writers * sizeof(ConnectionCounters)));
        _slots6 = (ConnectionSlot6*)_memory.Pointer;
        _slots4 = (ConnectionSlot4*)(_slots6 + slots);
        _marks = (byte*)(_slots4 + slots);
        _counters = (ConnectionCounters*)(_marks + marks);
        Table = Of(0);
        Table.IsAlone = isAlone;
    }

    public ConnectionTable Table { get; }

    /// <summary>The same table for another writer.</summary>
    public ConnectionTable Of(int writer) => new(_slots4, _slots6, _capacity, _capacity, _marks, _counters, _writers, writer, _seed);

    public void Dispose() => _memory.Dispose();

    /// <summary>A client's TCP, UDP... flow to the VIP 10.96.0.1 (fd00:96::1), port 80.</summary>
    public static ConnectionKey Flow(uint client, ushort port = 40_000, byte protocol = Wire.ProtocolTcp, bool isIPv6 = false, ushort vrf = 1) => isIPv6
        ? new ConnectionKey(vrf, protocol, true, new IPv6Number(0xFD00_0001ul << 32, client), new IPv6Number(0xFD00_0096ul << 32, 1), port, 80)
        : ConnectionKey.Of4(vrf, protocol, client, 0x0A60_0001, port, 80);

    /// <summary>That flow translated to the backend 10.1.0.n (fd00:1::n), port 8080.</summary>
    public static NewConnection ToBackend(in ConnectionKey flow, uint backend = 1, byte signal = TcpHeader.Syn) => new()
    {
        Original = flow,
        Reply = new ConnectionKey(flow.Vrf, flow.Protocol, flow.IsIPv6,
            flow.IsIPv6 ? new IPv6Number(0xFD00_0002ul << 32, backend) : new IPv6Number(0, 0x0A01_0000 + backend), flow.Source, 8080, flow.SourcePort),
        Frontend = 7,
        Backend = backend,
        Signal = signal,
    };

    public ConnectionHandle Insert(in NewConnection connection, uint now = 1)
    {
        Assert.Equal(InsertResult.Inserted, Table.TryInsert(in connection, now, out ConnectionHandle handle));
        return handle;
    }

    /// <summary>A TCP connection after its handshake.</summary>
    public ConnectionHandle Establish(in NewConnection connection, uint now = 1)
    {
        ConnectionHandle handle = Insert(connection, now);
        Table.Touch(Table.Find(connection.Reply), TcpHeader.Syn | TcpHeader.Ack, now);
        Assert.Equal(TouchResult.Proven, Table.Touch(handle, TcpHeader.Ack, now));
        return handle;
    }

    public ConnectionEntry Read(ConnectionHandle handle)
    {
        Assert.True(Table.TryRead(handle, out ConnectionEntry entry));
        return entry;
    }

    /// <summary>See <see cref="ConnectionAudit.Problem"/>.</summary>
    public string? Problem() => ConnectionAudit.Problem(Table, _slots4, _slots6);

    public ConnectionHead* Slot(ConnectionHandle handle) => handle.IsIPv6 ? &_slots6[handle.Index].Head : &_slots4[handle.Index].Head;

    /// <summary>The reach of all IPv4 homes.</summary>
    public int TotalReach()
    {
        int sum = 0;
        for (uint i = 0; i < Table.SlotCount(false); i++)
        {
            sum += ConnectionWay.Reach(_slots4[i].Head.Way);
        }
        return sum;
    }

    /// <summary>Makes all IPv4 homes reach so far.</summary>
    public void SetReach(uint reach)
    {
        for (uint i = 0; i < Table.SlotCount(false) - (ConnectionTable.Window - 1); i++)
        {
            _slots4[i].Head.Way |= reach;
        }
    }

    /// <summary>A whole pass of housekeeping, with a record for each frontend.</summary>
    public void Pass(uint now, Versioned<FrontendRecord>* frontends = null, uint count = 0, ConnectionSweep? sweep = null, uint reachTurn = 0)
    {
        var pass = new ConnectionPass
        {
            Frontends = frontends,
            FrontendCount = count,
            Generation = 1,
            Now = now,
            Sweeps = sweep != null,
            Sweep = sweep ?? default,
            ReachTurn = reachTurn,
        };
        foreach (bool isIPv6 in (bool[])[false, true])
        {
            Table.Marks.Begin(isIPv6);
            Table.Age(isIPv6, 0, Table.SlotCount(isIPv6), in pass);
            Table.Marks.End(isIPv6);
        }
    }

    public ConnectionEntry Read(in ConnectionKey key) => Read(Table.Find(key));
}
