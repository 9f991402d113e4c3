using BenchmarkDotNet.Attributes;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>
/// Look-ups of established connections, in a table that is as full as it may be, in random order and in both directions. Times are per
/// look-up, with the copy of the verdict. <c>Single</c> takes one after the other and pays for a cache miss each time; <c>Batch</c> hashes and
/// prefetches a burst of 64 first, as the packet loops do; <c>Slow</c> is what the first packets of a connection pay. <c>Open</c> is a whole
/// life: both entries made, a handshake, and both removed. <c>Scrub</c> and <c>Pass</c> are of all slots.
/// </summary>
[MemoryDiagnoser]
public unsafe class ConnectionTableBenchmarks
{
    private const int Burst = 64;
    private const int LookUps = 1 << 20; // per invocation
    private const int Lives = 1 << 14;
    private const uint Generation = 5, Now = 1000;

    private SharedMemory? _memory;
    private ConnectionKey4[] _keys = [];
    private ConnectionKey[] _slowKeys = [];
    private NewConnection[] _new = [];
    private ConnectionTable? _table;

    /// <summary>Connections in the table.</summary>
    [Params(1, 1_000, 100_000, 1_000_000, 10_000_000)]
    public int Connections { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var random = new Random(1);
        int capacity = Math.Max(1024, Connections + (Connections / 64));
        nuint slots4 = (nuint)ConnectionTable.SlotsFor(capacity) * ConnectionSlot4.SizeInBytes, slots6 = (nuint)ConnectionTable.SlotsFor(1024) * ConnectionSlot6.SizeInBytes;
        nuint marks = (nuint)ConnectionMarks.SizeInBytes(capacity);
        _memory = SharedMemory.CreatePrivate(slots4 + slots6 + marks + ConnectionCounters.SizeInBytes);
        _table = new ConnectionTable((ConnectionSlot4*)_memory.Pointer, (ConnectionSlot6*)(_memory.Pointer + slots4), capacity, 1024,
            _memory.Pointer + slots4 + slots6, (ConnectionCounters*)(_memory.Pointer + slots4 + slots6 + marks), 1, 0, seed: 1);
        var present = new ConnectionKey[2 * Connections];
        for (int i = 0; i < Connections; i++)
        {
            NewConnection made = Make((uint)i);
            if (_table.TryInsert(in made, Now, out ConnectionHandle handle) != InsertResult.Inserted)
            {
                throw new InvalidOperationException("the table is too small for the connections");
            }
            ConnectionHandle reply = _table.Find(in made.Reply);
            Shake(handle, reply);
            _table.Refresh(handle, 3, Generation);
            _table.Refresh(reply, 4, Generation);
            (present[2 * i], present[(2 * i) + 1]) = (made.Original, made.Reply);
        }
        _slowKeys = [.. Enumerable.Range(0, LookUps).Select(_ => present[random.Next(present.Length)])];
        _keys = [.. _slowKeys.Select(key => new ConnectionKey4 { Flow = key.Flow, Addresses = (key.Source.Low << 32) | (uint)key.Destination.Low })];
        _new = [.. Enumerable.Range(0, Lives).Select(i => Make((uint)(Connections + i)))];
    }

    [GlobalCleanup]
    public void Cleanup() => _memory?.Dispose();

    /// <summary>One packet after the other.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = LookUps)]
    public ulong Single()
    {
        ulong sum = 0;
        ConnectionTable table = _table!;
        ConnectionVerdict4 verdict = default;
        fixed (ConnectionKey4* keys = _keys)
        {
            for (int i = 0; i < LookUps; i++)
            {
                ConnectionSlot4* home = table.Home4(in keys[i]);
                sum += Look(home, in keys[i], ref verdict);
            }
        }
        return sum;
    }

    /// <summary>A burst: hash and prefetch all of it, then look up.</summary>
    [Benchmark(OperationsPerInvoke = LookUps)]
    public ulong Batch()
    {
        ulong sum = 0;
        ConnectionTable table = _table!;
        var homes = stackalloc ConnectionSlot4*[Burst];
        ConnectionVerdict4* verdicts = stackalloc ConnectionVerdict4[Burst];
        fixed (ConnectionKey4* keys = _keys)
        {
            for (int first = 0; first < LookUps; first += Burst)
            {
                for (int i = 0; i < Burst; i++)
                {
                    homes[i] = table.Home4(in keys[first + i]);
                    ConnectionTable.Prefetch(homes[i]);
                }
                for (int i = 0; i < Burst; i++)
                {
                    sum += Look(homes[i], in keys[first + i], ref verdicts[i]);
                }
            }
        }
        return sum;
    }

    /// <summary>The look-up of the slow path: find, and copy the whole entry.</summary>
    [Benchmark(OperationsPerInvoke = LookUps)]
    public ulong Slow()
    {
        ulong sum = 0;
        ConnectionTable table = _table!;
        foreach (ref readonly ConnectionKey key in _slowKeys.AsSpan())
        {
            sum += table.TryFind(in key, table.Hash(in key), out _, out ConnectionEntry entry) ? entry.Route : 0;
        }
        return sum;
    }

    /// <summary>Connections that come, are established and go.</summary>
    [Benchmark(OperationsPerInvoke = Lives)]
    public int Open()
    {
        int made = 0;
        ConnectionTable table = _table!;
        foreach (ref readonly NewConnection connection in _new.AsSpan())
        {
            made += table.TryInsert(in connection, Now, out ConnectionHandle handle) == InsertResult.Inserted ? 1 : 0;
            Shake(handle, table.Find(in connection.Reply));
            table.Remove(handle, Now);
        }
        return made;
    }

    /// <summary>What an engine does with the table of one that died, before its workers run. Time for the whole table.</summary>
    [Benchmark]
    public int Scrub() => _table!.Scrub();

    /// <summary>A pass of housekeeping that finds nothing to remove: what the time is until connections of a removed backend are gone. Time for the whole table.</summary>
    [Benchmark]
    public void Pass()
    {
        var pass = new ConnectionPass { Now = Now };
        _table!.Age(false, 0, _table.SlotCount(false), in pass);
    }

    private static ulong Look(ConnectionSlot4* home, in ConnectionKey4 key, ref ConnectionVerdict4 verdict) =>
        ConnectionTable.TryHot4(home, in key, Generation, Now, ref verdict) || ConnectionTable.LookBeyond4(home, in key, Generation, Now, ref verdict) == HotLook.Hot
            ? verdict.Route : throw new InvalidOperationException("an established connection is not found");

    private void Shake(ConnectionHandle handle, ConnectionHandle reply)
    {
        _table!.Touch(reply, TcpHeader.Syn | TcpHeader.Ack, Now);
        _table.Touch(handle, TcpHeader.Ack, Now);
    }

    /// <summary>Client i to a VIP, translated to one of 1,000 backends.</summary>
    private static NewConnection Make(uint i)
    {
        ConnectionKey flow = ConnectionKey.Of4(1, Wire.ProtocolTcp, 0x0A00_0000 + (i >> 4), 0xAC10_0001, (ushort)(1024 + ((i & 15) * 64) + (i % 61)), 80);
        return new NewConnection
        {
            Original = flow,
            Reply = ConnectionKey.Of4(1, Wire.ProtocolTcp, 0x0B00_0000 + (i % 1000), (uint)flow.Source.Low, 8080, flow.SourcePort),
            Frontend = 1,
            Backend = i % 1000,
            Signal = TcpHeader.Syn,
        };
    }
}
