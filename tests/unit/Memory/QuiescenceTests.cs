using Dataplane.Interop.Linux;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

public sealed unsafe class QuiescenceTests : IDisposable
{
    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(64 * 1024);
    private readonly ulong* _global;
    private readonly WorkerRecord* _workers;

    public QuiescenceTests()
    {
        _global = (ulong*)_memory.Pointer;
        *_global = 1;
        _workers = (WorkerRecord*)(_memory.Pointer + 4096);
    }

    public void Dispose() => _memory.Dispose();

    [Fact]
    public void A_grace_period_lasts_until_every_online_worker_was_quiescent_once_more()
    {
        var quiescence = new Quiescence(_global, _workers, 3);
        quiescence.Online(0);
        quiescence.Online(2);
        ulong epoch = quiescence.Advance();
        Assert.False(quiescence.HasPassed(epoch));
        quiescence.Quiescent(0);
        Assert.False(quiescence.HasPassed(epoch));
        quiescence.Quiescent(2);
        Assert.True(quiescence.HasPassed(epoch));
    }

    [Fact]
    public void A_later_grace_period_does_not_end_with_an_earlier_one()
    {
        var quiescence = new Quiescence(_global, _workers, 1);
        quiescence.Online(0);
        ulong first = quiescence.Advance();
        quiescence.Quiescent(0);
        ulong second = quiescence.Advance();
        Assert.True(second > first);
        Assert.True(quiescence.HasPassed(first));
        Assert.False(quiescence.HasPassed(second));
    }

    [Fact]
    public void Workers_that_are_offline_are_not_waited_for()
    {
        var quiescence = new Quiescence(_global, _workers, 4);
        ulong epoch = quiescence.Advance();
        Assert.True(quiescence.HasPassed(epoch));
        quiescence.Online(3);
        ulong next = quiescence.Advance();
        Assert.False(quiescence.HasPassed(next));
        quiescence.Offline(3);
        Assert.True(quiescence.HasPassed(next));
    }

    [Fact]
    public void A_worker_that_comes_online_within_a_grace_period_saw_the_unlinking_and_is_not_waited_for()
    {
        var quiescence = new Quiescence(_global, _workers, 1);
        ulong epoch = quiescence.Advance();
        quiescence.Online(0);
        Assert.True(quiescence.HasPassed(epoch));
    }

    [Fact]
    public void Waiting_for_a_worker_that_hangs_ends()
    {
        var quiescence = new Quiescence(_global, _workers, 2);
        quiescence.Online(1);
        Assert.False(quiescence.Wait(quiescence.Advance(), TimeSpan.FromMilliseconds(5)));
        quiescence.Offline(1);
        Assert.True(quiescence.Wait(quiescence.Advance(), TimeSpan.Zero));
    }

    [Fact]
    public void No_schedule_lets_a_reader_see_reclaimed_memory()
    {
        int reclaimed = 0, unlinked = 0, waits = 0, pastOffline = 0;
        for (int seed = 0; seed < 10_000; seed++)
        {
            using var model = new QuiescenceModel(seed);
            Assert.Null(model.Run(steps: 400));
            reclaimed += model.Reclaimed;
            unlinked += model.ReadsOfUnlinked;
            waits += model.Waits;
            pastOffline += model.ReclaimedPastOffline;
        }
        // The schedules did meet what the protocol is for.
        Assert.True(reclaimed > 10_000, $"{reclaimed} cells reclaimed");
        Assert.True(unlinked > 10_000, $"{unlinked} reads of unlinked cells");
        Assert.True(waits > 10_000, $"{waits} waits");
        Assert.True(pastOffline > 1_000, $"{pastOffline} cells reclaimed while a worker was offline");
    }

    [Theory]
    [InlineData(Mistake.NoGracePeriod)]
    [InlineData(Mistake.WaitsForEpochBefore)]
    [InlineData(Mistake.AdvancesBeforeUnlinking)]
    [InlineData(Mistake.OverlooksAWorker)]
    [InlineData(Mistake.QuiescentWithinBurst)]
    [InlineData(Mistake.OfflineWithinBurst)]
    [InlineData(Mistake.ReadsBeforeOnlineIsVisible)]
    public void The_model_finds_a_wrong_protocol(Mistake mistake)
    {
        string? problem = null;
        for (int seed = 0; seed < 10_000 && problem is null; seed++)
        {
            using var model = new QuiescenceModel(seed, mistake);
            problem = model.Run(steps: 400);
        }
        Assert.NotNull(problem);
        Assert.Contains("reader", problem);
    }

    /// <summary>
    /// The barrier of Online on real processors: "store buffering" of the litmus tests. Of two threads, one goes online and
    /// then reads; the other one writes and then looks who is online. At least one must see the other.
    /// </summary>
    [Fact]
    public void A_worker_that_went_online_unseen_reads_what_was_unlinked_before()
    {
        const int Places = 1_000, Rounds = 100;
        using SharedMemory memory = SharedMemory.CreatePrivate((Places + 1) * 512);
        byte* places = memory.Pointer; // each: 0 epoch, 64 the word that is read, 256 a worker
        var atWriter = (int*)(places + (Places * 512));
        var atWorker = atWriter + 64;
        var seen = new ulong[Places];
        int unseen = 0;
        var worker = new Thread(() =>
        {
            for (int step = 1; step <= Rounds * (Places + 1); step++)
            {
                Meet(atWorker, atWriter, step);
                int i = step % (Places + 1);
                if (i == 0)
                {
                    continue;
                }
                byte* at = places + ((i - 1) * 512);
                new Quiescence((ulong*)at, (WorkerRecord*)(at + 256), 1).Online(0);
                seen[i - 1] = *(ulong*)(at + 64);
            }
        }) { IsBackground = true };
        worker.Start();
        var passed = new bool[Places];
        Prepare();
        for (int step = 1; step <= Rounds * (Places + 1); step++)
        {
            Meet(atWriter, atWorker, step);
            int i = step % (Places + 1);
            if (i == 0)
            {
                unseen += Enumerable.Range(0, Places).Count(place => passed[place] && seen[place] == 0);
                Prepare();
                continue;
            }
            for (int delay = i % 50; delay > 0; delay--)
            {
                Volatile.Read(ref unseen);
            }
            byte* at = places + ((i - 1) * 512);
            var quiescence = new Quiescence((ulong*)at, (WorkerRecord*)(at + 256), 1);
            *(ulong*)(at + 64) = 1;
            passed[i - 1] = quiescence.HasPassed(quiescence.Advance());
        }
        worker.Join();
        Assert.Equal(0, unseen);

        // The worker is at the next step only after this one: it has left its last place when we count.
        void Prepare()
        {
            for (int i = 0; i < Places; i++)
            {
                byte* at = places + (i * 512);
                *(ulong*)at = 1;
                *(ulong*)(at + 64) = 0;
                *(ulong*)(at + 256) = Quiescence.OfflineEpoch;
            }
        }

        static void Meet(int* mine, int* other, int step)
        {
            Volatile.Write(ref *mine, step);
            var spin = new SpinWait();
            for (int i = 0; Volatile.Read(ref *other) < step; i++)
            {
                if (i > 1000)
                {
                    spin.SpinOnce(sleep1Threshold: -1);
                }
            }
        }
    }

    /// <summary>Readers that never sleep, readers that do, and a writer that unlinks, waits and poisons, on real threads.</summary>
    [Fact]
    public void Readers_on_threads_never_see_reclaimed_memory()
    {
        const int Readers = 4, Cells = 8, CellWords = 8;
        const ulong Poison = ulong.MaxValue;
        var quiescence = new Quiescence(_global, _workers, Readers);
        var cells = (ulong*)(_memory.Pointer + 16 * 1024);
        var root = (ulong*)(_memory.Pointer + 2048);
        new Span<ulong>(cells, Cells * CellWords).Fill(Poison);
        new Span<ulong>(cells, CellWords).Fill(1);
        *root = 1 << 8;
        string? problem = null;
        bool stop = false;
        var bursts = new int[Readers];

        Thread[] threads = [.. Enumerable.Range(0, Readers).Select(i => new Thread(() => Read(i)) { IsBackground = true })];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }
        long end = Environment.TickCount64 + 1000;
        int reclaimed = 0;
        for (ulong number = 2; Environment.TickCount64 < end && Volatile.Read(ref problem) is null; number++)
        {
            ulong cell = number % Cells;
            new Span<ulong>(cells + (cell * CellWords), CellWords).Fill(number);
            ulong old = *root & 0xFF;
            Volatile.Write(ref *root, (number << 8) | cell);
            Assert.True(quiescence.Wait(quiescence.Advance(), TimeSpan.FromSeconds(30)), "a reader hangs");
            new Span<ulong>(cells + (old * CellWords), CellWords).Fill(Poison);
            reclaimed++;
        }
        Volatile.Write(ref stop, true);
        foreach (Thread thread in threads)
        {
            thread.Join();
        }
        Assert.Null(problem);
        Assert.All(bursts, n => Assert.True(n > 0));
        Assert.True(reclaimed > 0);

        void Read(int index)
        {
            bool sleeps = index % 2 == 1;
            quiescence.Online(index);
            for (uint burst = 0; !Volatile.Read(ref stop); burst++)
            {
                quiescence.Quiescent(index);
                ulong reference = Volatile.Read(ref *root);
                ulong* cell = cells + ((reference & 0xFF) * CellWords);
                for (int i = 0; i < 32; i++)
                {
                    ulong found = Volatile.Read(ref cell[i % CellWords]);
                    if (found != reference >> 8)
                    {
                        Interlocked.CompareExchange(ref problem, $"reader {index}, burst {burst}: {found:x} instead of {reference >> 8:x}", null);
                        Volatile.Write(ref stop, true);
                    }
                }
                bursts[index]++;
                if (sleeps && burst % 16 == 0)
                {
                    quiescence.Offline(index);
                    Thread.Sleep(burst % 64 == 0 ? 1 : 0);
                    quiescence.Online(index);
                }
            }
            quiescence.Offline(index);
        }
    }
}
