using BenchmarkDotNet.Attributes;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>
/// New connections from 100,000 clients, hashed and asked for a burst of 64 at a time, as the packet loops do, by a worker that is alone with the table or
/// one among others. <c>Flood</c>: into a table that is full of half-open ones, so that each takes the place of another; <c>Fill</c>: into an
/// empty one with room for all. Times are per connection.
/// </summary>
public unsafe class ConnectionFloodBenchmarks
{
    private const int Burst = 64, Clients = Burst * 1562;
    private const uint Now = 1000;

    private readonly NewConnection[] _new = new NewConnection[Clients];
    private SharedMemory? _memory;
    private ConnectionTable? _table;

    [Params(true, false)]
    public bool Alone { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        for (uint i = 0; i < Clients; i++)
        {
            ConnectionKey flow = ConnectionKey.Of4(1, Wire.ProtocolUdp, 0x0A00_0000 + i, 0xAC10_0001 + (i % 100), (ushort)(1024 + (i % 60_000)), 80);
            _new[i] = new NewConnection
            {
                Original = flow,
                Reply = ConnectionKey.Of4(1, Wire.ProtocolUdp, 0x0B00_0000 + (i % 300), (uint)flow.Source.Low, 8080, flow.SourcePort),
                Frontend = 1,
                Backend = i % 300,
            };
        }
    }

    [IterationSetup(Target = nameof(Flood))]
    public void BeforeFlood()
    {
        MakeTable(16_384);
        Insert();
    }

    [IterationSetup(Target = nameof(Fill))]
    public void BeforeFill() => MakeTable(2 * Clients);

    [IterationCleanup]
    public void Cleanup() => _memory?.Dispose();

    [Benchmark(OperationsPerInvoke = Clients)]
    public int Flood() => Insert();

    [Benchmark(OperationsPerInvoke = Clients)]
    public int Fill() => Insert();

    private int Insert()
    {
        ConnectionTable table = _table!;
        ulong* hashes = stackalloc ulong[Burst], replyHashes = stackalloc ulong[Burst];
        int made = 0;
        for (int first = 0; first < Clients; first += Burst)
        {
            ReadOnlySpan<NewConnection> burst = _new.AsSpan(first, Burst);
            for (int i = 0; i < Burst; i++)
            {
                hashes[i] = table.Hash(in burst[i].Original);
                replyHashes[i] = table.Hash(in burst[i].Reply);
                table.PrefetchPlace(hashes[i], false);
                table.PrefetchPlace(replyHashes[i], false);
            }
            for (int i = 0; i < Burst; i++)
            {
                made += table.TryInsert(in burst[i], hashes[i], replyHashes[i], 1, 1, Now, out _) == InsertResult.Inserted ? 1 : 0;
            }
        }
        return made == Clients ? made : throw new InvalidOperationException($"{made} of {Clients} connections were made");
    }

    private void MakeTable(int capacity)
    {
        nuint slots4 = (nuint)ConnectionTable.SlotsFor(capacity) * ConnectionSlot4.SizeInBytes, slots6 = (nuint)ConnectionTable.SlotsFor(1024) * ConnectionSlot6.SizeInBytes;
        nuint marks = (nuint)ConnectionMarks.SizeInBytes(capacity);
        _memory = SharedMemory.CreatePrivate(slots4 + slots6 + marks + ConnectionCounters.SizeInBytes);
        // Pages that are there, as in a segment that has been used.
        new Span<byte>(_memory.Pointer, (int)slots4).Clear();
        _table = new ConnectionTable((ConnectionSlot4*)_memory.Pointer, (ConnectionSlot6*)(_memory.Pointer + slots4), capacity, 1024,
            _memory.Pointer + slots4 + slots6, (ConnectionCounters*)(_memory.Pointer + slots4 + slots6 + marks), 1, 0, seed: 1) { IsAlone = Alone };
    }
}
