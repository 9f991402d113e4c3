using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Workers, housekeeping and control at one neighbour table, on real threads. The MAC of an entry can be told from its key, so
/// that one that came to the wrong neighbour is seen at once.
/// </summary>
public sealed unsafe class NeighbourTableConcurrencyTests : IDisposable
{
    private static readonly TimeSpan s_hangs = TimeSpan.FromSeconds(60);

    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(64 * 1024);
    private readonly Quiescence _quiescence;
    private volatile string? _problem;
    private volatile bool _stop;

    public NeighbourTableConcurrencyTests()
    {
        var global = (ulong*)_memory.Pointer;
        *global = 1;
        _quiescence = new Quiescence(global, (WorkerRecord*)(_memory.Pointer + 4096), 8);
    }

    public void Dispose() => _memory.Dispose();

    /// <summary>Half of them IPv6 ones, some of which differ in the upper half only.</summary>
    private static NeighbourKey KeyOf(NeighbourTable table, int number) => number % 2 == 0
        ? NeighbourTable.Key4(1 + (number % 5), (uint)number)
        : table.Key6(1 + (number % 5), 0xFD00_0000_0000_0000 + (ulong)(number % 3), (ulong)(number / 3));

    private static ulong MacOf(in NeighbourKey key) => (((key.Low + 1) * 0x9E37_79B9_7F4A_7C15) ^ (key.High * 31) ^ (ulong)key.Port) & 0xFFFF_FFFF_FFFE;

    private void Check(in NeighbourKey key, ulong value)
    {
        if (NeighbourValue.IsUsable(value) && NeighbourValue.Mac(value) != MacOf(in key))
        {
            Fail($"{key} has {value:x}");
        }
    }

    private void Fail(string problem)
    {
        _problem ??= problem;
        _stop = true;
    }

    private void Together(params Action[] actions)
    {
        Thread[] threads = [.. actions.Select(action => new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                Fail(e.ToString());
            }
        }) { IsBackground = true })];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }
        foreach (Thread thread in threads)
        {
            Assert.True(thread.Join(s_hangs), "a thread hangs");
        }
        Assert.Null(_problem);
    }

    [Fact]
    public void Of_workers_that_begin_with_a_neighbour_at_once_one_begins()
    {
        const int Rounds = 40_000, Workers = 3;
        using var test = new TestNeighbours(bits: 15);
        NeighbourTable table = test.Table;
        int[] inserted = new int[Rounds];
        using var barrier = new Barrier(Workers);
        Together([.. Enumerable.Range(0, Workers).Select(worker => (Action)(() =>
        {
            for (int round = 0; round < Rounds; round++)
            {
                if (round % 64 == 0)
                {
                    barrier.SignalAndWait();
                }
                NeighbourKey key = KeyOf(table, round);
                if (table.Insert(in key, NeighbourValue.Make(NeighbourState.Incomplete), 1, out _) == NeighbourResult.Inserted)
                {
                    Interlocked.Increment(ref inserted[round]);
                }
            }
        }))]);
        Assert.DoesNotContain(inserted, n => n != 1);
        Assert.Equal(Rounds, table.List().Count);
    }

    [Fact]
    public void Of_workers_that_find_a_neighbour_stale_at_once_one_probes()
    {
        const int Rounds = 100_000, Workers = 3;
        using var test = new TestNeighbours(bits: 4);
        NeighbourTable table = test.Table;
        NeighbourKey key = KeyOf(table, 1);
        ulong stale = NeighbourValue.Make(NeighbourState.Stale, MacOf(in key)), delay = NeighbourValue.With(stale, NeighbourState.Delay);
        Assert.Equal(NeighbourResult.Inserted, table.Insert(in key, stale, 1, out _));
        int winners = 0;
        using var barrier = new Barrier(Workers, _ =>
        {
            if (Interlocked.Exchange(ref winners, 0) != 1)
            {
                Fail("not one winner");
            }
            table.TryFind(in key, out NeighbourSlot slot);
            NeighbourTable.TryChange(slot, delay, stale, 1);
        });
        Together([.. Enumerable.Range(0, Workers).Select(worker => (Action)(() =>
        {
            for (int round = 0; round < Rounds / 10 && !_stop; round++)
            {
                if (table.TryFind(in key, out NeighbourSlot slot) && slot.Value == stale && NeighbourTable.TryChange(slot, stale, delay, 1))
                {
                    Interlocked.Increment(ref winners);
                }
                barrier.SignalAndWait();
            }
        }))]);
    }

    /// <summary>A small table in which slots change hands all the time.</summary>
    [Fact]
    public void No_neighbour_ever_has_the_address_of_another()
    {
        const int Neighbours = 600, Steps = 1_000_000;
        using var test = new TestNeighbours(bits: 7); // 512 slots
        NeighbourTable table = test.Table;
        NeighbourKey[] keys = [.. Enumerable.Range(0, Neighbours).Select(i => KeyOf(table, i))];
        bool[] interfaces = Enumerable.Repeat(true, 8).ToArray();
        int freed = 0, permanents = 0, spared = 0, running = 2;
        bool IsEnough() => Volatile.Read(ref freed) >= 1000 && Volatile.Read(ref permanents) >= 100 && Volatile.Read(ref spared) >= 100;
        void Worker(int index)
        {
            var random = new Random(index);
            var graves = new List<ulong>();
            ulong grace = 0;
            _quiescence.Online(index);
            for (int step = 0; (step < Steps || !IsEnough()) && !_stop; step++)
            {
                if (step % 16 == 0)
                {
                    _quiescence.Quiescent(index);
                    if (graves.Count != 0 && _quiescence.HasPassed(grace))
                    {
                        graves.ForEach(table.Free);
                        graves.Clear();
                    }
                }
                NeighbourKey key = keys[random.Next(Neighbours)];
                uint now = (uint)step / 1000;
                ulong made = NeighbourValue.Make(NeighbourState.Stale, MacOf(in key));
                switch (table.Insert(in key, made, now, out NeighbourSlot slot))
                {
                    case NeighbourResult.Present:
                        ulong value = slot.Value;
                        Check(in key, value);
                        if (value != 0 && NeighbourValue.State(value) != NeighbourState.Permanent)
                        {
                            NeighbourTable.TryChange(slot, value, NeighbourValue.Make((NeighbourState)random.Next(3, 7), MacOf(in key)), now);
                        }
                        break;
                    case NeighbourResult.Full when graves.Count < 8 && table.Spare(in key, now, out ulong grave):
                        graves.Add(grave);
                        grace = _quiescence.Advance();
                        Interlocked.Increment(ref spared);
                        break;
                }
                key = keys[random.Next(Neighbours)];
                Check(in key, key.IsIPv6 ? table.Find6(key.Port, key.High, key.Low) : table.Find4(key.Port, (uint)key.Low));
            }
            _quiescence.Offline(index);
            Free(graves);
            Interlocked.Decrement(ref running);
        }
        void Housekeeping()
        {
            var random = new Random(50);
            var graves = new List<ulong>();
            uint now = 0;
            while (Volatile.Read(ref running) > 0)
            {
                interfaces[random.Next(1, 6)] ^= true;
                table.Age(random.Next(table.BucketCount), 40, now += 5, interfaces, graves);
                Interlocked.Add(ref freed, graves.Count);
                Free(graves);
            }
        }
        void Control()
        {
            var random = new Random(99);
            var made = new List<NeighbourKey>();
            var graves = new List<ulong>();
            while (Volatile.Read(ref running) > 0)
            {
                NeighbourKey key = keys[random.Next(Neighbours)];
                if (!made.Contains(key) && table.SetPermanent(in key, MacOf(in key)))
                {
                    made.Add(key);
                    permanents++;
                    Free(graves);
                    // A worker that was making it may have put an entry before it: see SetPermanent.
                    if (NeighbourValue.State(table.Find(in key)) != NeighbourState.Permanent && table.Kill(in key, out _, out ulong overtaker))
                    {
                        graves.Add(overtaker);
                        Free(graves);
                    }
                }
                foreach (NeighbourKey k in made)
                {
                    if (table.Find(in k) != NeighbourValue.Make(NeighbourState.Permanent, MacOf(in k)))
                    {
                        Fail($"the permanent entry of {k} is gone: {table.Find(in k):x}");
                    }
                }
                foreach (NeighbourEntry entry in table.List())
                {
                    NeighbourKey k = entry.Key;
                    Check(in k, NeighbourValue.Make(entry.State, entry.Mac));
                }
                if (made.Count > 20)
                {
                    foreach (NeighbourKey k in made)
                    {
                        if (!table.Kill(in k, out _, out ulong grave))
                        {
                            Fail($"could not remove {k}");
                        }
                        graves.Add(grave);
                    }
                    made.Clear();
                    Free(graves);
                }
            }
        }
        void Free(List<ulong> graves)
        {
            if (!_quiescence.Wait(_quiescence.Advance(), s_hangs))
            {
                Fail("a worker hangs");
            }
            graves.ForEach(table.Free);
            graves.Clear();
        }
        Together(() => Worker(0), () => Worker(1), Housekeeping, Control);

        Assert.True(IsEnough());
        // Nothing is left half done, and nothing is in the way.
        Assert.True(test.FreeSlotsAreClean());
        var all = new List<ulong>();
        Assert.Equal(test.AllWords().Count, table.KillWhere(0, table.BucketCount, (in NeighbourEntry _, object? _) => true, null, all));
        all.ForEach(table.Free);
        Assert.Equal(0, test.TakenSlots());
    }
}
