using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Workers, housekeeping and control at one table, on real threads. What an entry says can be told from its key, so that a
/// value that came to the wrong key is seen at once.
/// </summary>
public sealed unsafe class MacTableConcurrencyTests : IDisposable
{
    private static readonly TimeSpan s_hangs = TimeSpan.FromSeconds(60);

    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(64 * 1024);
    private readonly Quiescence _quiescence;
    private volatile string? _problem;
    private volatile bool _stop;

    public MacTableConcurrencyTests()
    {
        var global = (ulong*)_memory.Pointer;
        *global = 1;
        _quiescence = new Quiescence(global, (WorkerRecord*)(_memory.Pointer + 4096), 8);
    }

    public void Dispose() => _memory.Dispose();

    /// <summary>The port that an address has in these tests.</summary>
    private static ushort PortOf(ulong key) => (ushort)(1 + (key * 0x9E37_79B9_7F4A_7C15 >> 54));

    private static ulong KeyOf(int number) => MacTable.Key(1, (ulong)number * 2);

    private void Check(MacTable macs, ulong key)
    {
        ulong value = macs.Find(key);
        if (value != 0 && MacValue.Port(value) != PortOf(key))
        {
            Fail($"{key:x} is on port {MacValue.Port(value)} and not {PortOf(key)}, value {value:x}");
        }
    }

    private void Fail(string problem)
    {
        _problem ??= problem;
        _stop = true;
    }

    /// <summary>Runs code on threads at once, and fails when one of them fails or does not come to an end.</summary>
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

    /// <summary>All threads leave it at the same time, without the system in between.</summary>
    private sealed class StartingLine(int threads)
    {
        private int _arrived;

        public void Await(int round)
        {
            Interlocked.Increment(ref _arrived);
            var spin = new SpinWait();
            while (Volatile.Read(ref _arrived) < threads * (round + 1))
            {
                spin.SpinOnce(sleep1Threshold: -1);
            }
        }
    }

    [Fact]
    public void Workers_that_learn_the_same_addresses_at_once_make_one_entry_of_each()
    {
        const int Rounds = 3_000, PerRound = 64;
        using var table = new TestTable(bits: 17);
        MacTable macs = table.Macs;
        var line = new StartingLine(2);
        int learned = 0;
        void Worker(ushort port)
        {
            int mine = 0;
            for (int round = 0; round < Rounds; round++)
            {
                line.Await(round);
                for (int i = 0; i < PerRound; i++)
                {
                    LearnResult result = macs.Learn(KeyOf(1 + (round * PerRound) + i), port, 1, true, out _);
                    mine += result == LearnResult.Learned ? 1 : 0;
                }
            }
            Interlocked.Add(ref learned, mine);
        }
        Together(() => Worker(1), () => Worker(2));

        List<ulong> keys = table.AllKeys();
        Assert.Equal(Rounds * PerRound, keys.Distinct().Count());
        Assert.Equal(Rounds * PerRound, keys.Count);
        Assert.Equal(Rounds * PerRound, learned); // each was counted by one worker
        Assert.Equal(Rounds * PerRound, macs.List().Count);
    }

    [Fact]
    public void Workers_that_learn_different_addresses_at_once_lose_none()
    {
        const int Workers = 4, Each = 30_000;
        using var table = new TestTable(bits: 16); // half full at the end
        MacTable macs = table.Macs;
        Together([.. Enumerable.Range(0, Workers).Select(worker => (Action)(() =>
        {
            for (int i = 0; i < Each; i++)
            {
                ulong key = KeyOf(1 + (i * Workers) + worker);
                if (macs.Learn(key, PortOf(key), 1, true, out _) != LearnResult.Learned)
                {
                    Fail($"{key:x} was not learned");
                }
                Check(macs, key);
            }
        }))]);
        Assert.Equal(Workers * Each, table.AllKeys().Count);
        for (int i = 1; i <= Workers * Each; i++)
        {
            Assert.Equal(PortOf(KeyOf(i)), MacValue.Port(macs.Find(KeyOf(i))));
        }
    }

    /// <summary>
    /// A small table in which slots change hands all the time: workers learn and look up, housekeeping ages, control makes
    /// and removes static entries and flushes.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void No_key_ever_has_the_value_of_another(bool withControl)
    {
        const int Addresses = 600, Steps = 2_000_000;
        using var table = new TestTable(bits: 7); // 512 slots
        MacTable macs = table.Macs;
        int freed = 0, statics = 0, running = 2;
        // Until enough has happened, however the system divides its processors.
        bool IsEnough() => Volatile.Read(ref freed) >= 1000 && (!withControl || Volatile.Read(ref statics) >= 100);
        void Worker(int index)
        {
            var random = new Random(index);
            _quiescence.Online(index);
            for (int step = 0; (step < Steps || !IsEnough()) && !_stop; step++)
            {
                if (step % 16 == 0)
                {
                    _quiescence.Quiescent(index);
                }
                ulong key = KeyOf(random.Next(1, Addresses));
                if (random.Next(2) == 0)
                {
                    macs.Learn(key, PortOf(key), (uint)step / 1000, random.Next(4) != 0, out ushort old);
                    if (old != 0)
                    {
                        Fail($"{key:x} moved from port {old}, where it never was");
                    }
                }
                Check(macs, key);
            }
            _quiescence.Offline(index);
            Interlocked.Decrement(ref running);
        }
        void Deleter(int seed)
        {
            var random = new Random(seed);
            var graves = new List<ulong>();
            while (Volatile.Read(ref running) > 0)
            {
                int residue = random.Next(4);
                macs.KillWhere(random.Next(macs.BucketCount), 40, (in MacEntry e, object? _) => (e.Flags & MacFlags.Static) == 0 && e.Mac / 2 % 4 == (ulong)residue, null, graves);
                Interlocked.Add(ref freed, graves.Count);
                Free(graves);
            }
        }
        void Control()
        {
            var random = new Random(99);
            var made = new List<ulong>();
            while (Volatile.Read(ref running) > 0)
            {
                ulong key = KeyOf(random.Next(1, Addresses));
                if (!made.Contains(key) && macs.SetStatic(key, PortOf(key), MacFlags.Static, out MacEntry? replaced))
                {
                    if (replaced is { } entry && entry.Port != PortOf(key))
                    {
                        Fail($"a static entry replaced {entry}");
                    }
                    made.Add(key);
                    statics++;
                    // A worker that was learning it may have put an entry before it: see SetStatic.
                    Free([]);
                    if (!MacValue.IsStatic(macs.Find(key)) && macs.Kill(key, out _, out ulong overtaker))
                    {
                        Free([overtaker]);
                    }
                }
                foreach (ulong k in made)
                {
                    ulong value = macs.Find(k);
                    if (!MacValue.IsStatic(value))
                    {
                        Fail($"the static entry of {k:x} is gone: {value:x}");
                    }
                }
                if (made.Count > 20)
                {
                    RemoveAll(made);
                }
                foreach (MacEntry entry in macs.List())
                {
                    ulong k = MacTable.Key(entry.Fid, entry.Mac);
                    if (entry.Port != PortOf(k))
                    {
                        Fail($"the list has {entry}");
                    }
                }
            }
            RemoveAll(made);
        }
        void RemoveAll(List<ulong> statics)
        {
            var graves = new List<ulong>();
            foreach (ulong key in statics)
            {
                if (!macs.Kill(key, out MacEntry entry, out ulong grave) || entry.Port != PortOf(key))
                {
                    Fail($"could not remove the static entry of {key:x}: {entry}");
                }
                graves.Add(grave);
            }
            statics.Clear();
            Free(graves);
        }
        void Free(List<ulong> graves)
        {
            if (!_quiescence.Wait(_quiescence.Advance(), s_hangs))
            {
                Fail("a worker hangs");
            }
            graves.ForEach(macs.Free);
            graves.Clear();
        }
        Together([() => Worker(0), () => Worker(1), () => Deleter(50), withControl ? Control : () => Deleter(51)]);

        Assert.True(IsEnough());
        // Nothing is left half done, every address can be learned, and nothing is in the way.
        Assert.True(table.FreeSlotsAreClean());
        Assert.Equal(table.AllKeys().Order(), macs.List().Select(e => MacTable.Key(e.Fid, e.Mac)).Order());
        var all = new List<ulong>();
        macs.KillWhere(0, macs.BucketCount, (in MacEntry _, object? _) => true, null, all);
        all.ForEach(macs.Free);
        Assert.Equal(0, table.TakenSlots());
        Assert.Equal(0, Enumerable.Range(1, 200).Count(i => macs.Learn(KeyOf(i), 1, 1, true, out _) != LearnResult.Learned));
    }

    /// <summary>Control fixes addresses that talk at that very moment: the static entry rules afterwards.</summary>
    [Fact]
    public void A_static_entry_wins_over_workers_that_learn_the_address_at_once()
    {
        const int Rounds = 20_000;
        using var table = new TestTable(bits: 15);
        MacTable macs = table.Macs;
        var line = new StartingLine(2);
        int replaced = 0, counted = 0;
        Together(
            () =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    line.Await(round);
                    LearnResult result = macs.Learn(KeyOf(round + 1), 1, 1, true, out _);
                    counted += result == LearnResult.Learned ? 1 : 0;
                }
            },
            () =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    line.Await(round);
                    for (int delay = round % 32; delay > 0; delay--)
                    {
                        Volatile.Read(ref replaced);
                    }
                    if (!macs.SetStatic(KeyOf(round + 1), 2, MacFlags.Static, out MacEntry? entry))
                    {
                        Fail($"round {round}: no room");
                    }
                    replaced += entry is null ? 0 : 1;
                }
            });
        Assert.Equal(Rounds, table.AllKeys().Count);
        Assert.Equal(Rounds, Enumerable.Range(1, Rounds).Count(i => MacValue.IsStatic(macs.Find(KeyOf(i)))));
        // What the worker counted as learned is what control knows it must take off the count.
        Assert.Equal(counted, replaced);
    }
}
