using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

public sealed unsafe class MacTableTests : IDisposable
{
    private const ulong K1 = 0x0001_0000_0000_0002;
    private const ulong K2 = 0x0001_0000_0000_0004;

    private readonly TestTable _table = new(bits: 6);
    private readonly MacTable _macs;

    public MacTableTests() => _macs = _table.Macs;

    public void Dispose() => _table.Dispose();

    private LearnResult Learn(ulong key, ushort port, uint now = 100) => _macs.Learn(key, port, now, allowNew: true, out _);

    [Fact]
    public void A_key_is_bridge_and_address()
    {
        Assert.Equal(0xABCD_0102_0304_0506ul, MacTable.Key(0xABCD, 0x0102_0304_0506));
        Assert.Equal(0x0001_0102_0304_0506ul, MacTable.Key(1, 0xFFFF_0102_0304_0506)); // what follows an address in a header
    }

    [Fact]
    public void An_unknown_address_is_learned_and_found()
    {
        Assert.Equal(0ul, _macs.Find(K1));
        Assert.Equal(LearnResult.Learned, Learn(K1, 7));
        ulong value = _macs.Find(K1);
        Assert.Equal(7, MacValue.Port(value));
        Assert.Equal(100u, MacValue.LastSeen(value));
        Assert.Equal(MacFlags.None, MacValue.Flags(value));
        Assert.Equal(0ul, _macs.Find(K2));
        Assert.Equal([new MacEntry(1, 2, 7, MacFlags.None, 100)], _macs.List());
    }

    [Fact]
    public void The_same_address_in_two_bridges_is_two_entries()
    {
        Learn(MacTable.Key(1, 2), 7);
        Learn(MacTable.Key(2, 2), 8);
        Assert.Equal(7, MacValue.Port(_macs.Find(MacTable.Key(1, 2))));
        Assert.Equal(8, MacValue.Port(_macs.Find(MacTable.Key(2, 2))));
    }

    [Fact]
    public void A_new_entry_may_be_forbidden_but_not_the_refresh_or_move_of_an_old_one()
    {
        Assert.Equal(LearnResult.Refused, _macs.Learn(K1, 7, 100, allowNew: false, out _));
        Assert.Equal(0ul, _macs.Find(K1));
        Learn(K1, 7);
        Assert.Equal(LearnResult.Known, _macs.Learn(K1, 7, 101, allowNew: false, out _));
        Assert.Equal(LearnResult.Moved, _macs.Learn(K1, 8, 102, allowNew: false, out ushort old));
        Assert.Equal(7, old);
    }

    [Fact]
    public void A_move_tells_the_port_before()
    {
        Learn(K1, 7);
        Assert.Equal(LearnResult.Moved, _macs.Learn(K1, 8, 101, allowNew: true, out ushort old));
        Assert.Equal(7, old);
        Assert.Equal(LearnResult.Known, _macs.Learn(K1, 8, 101, allowNew: true, out old));
        Assert.Equal(0, old);
        Assert.Equal((8, 101u), (MacValue.Port(_macs.Find(K1)), MacValue.LastSeen(_macs.Find(K1))));
    }

    [Fact]
    public void An_entry_is_fresh_for_the_rest_of_its_second_on_its_port()
    {
        Assert.False(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 100));
        Learn(K1, 7, 100);
        Assert.True(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 100));
        Assert.False(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 101));
        Assert.False(MacTable.IsFresh(K1, _macs.Bucket(K1), 8, 100));
        Assert.Equal(LearnResult.Known, Learn(K1, 7, 101));
        Assert.True(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 101));
    }

    [Fact]
    public void Moves_do_not_make_an_entry_stale()
    {
        Learn(K1, 7, 100);
        Learn(K1, 8, 100);
        Assert.True(MacTable.IsFresh(K1, _macs.Bucket(K1), 8, 100));
    }

    /// <summary>What a worker does per packet writes the entry once a second.</summary>
    [Fact]
    public void An_entry_in_use_is_written_once_a_second()
    {
        Learn(K1, 7, 100);
        int calls = 0;
        for (int packet = 0; packet < 10_000; packet++)
        {
            uint now = 100 + ((uint)packet / 1000);
            if (!MacTable.IsFresh(K1, _macs.Bucket(K1), 7, now))
            {
                calls++;
                Learn(K1, 7, now);
            }
        }
        Assert.Equal(9, calls);
    }

    [Fact]
    public void A_static_entry_is_never_fresh_learned_moved_or_refreshed()
    {
        Assert.True(_macs.SetStatic(K1, 7, MacFlags.Static, out MacEntry? replaced));
        Assert.Null(replaced);
        ulong value = _macs.Find(K1);
        Assert.Equal((7, MacFlags.Static, 0u), (MacValue.Port(value), MacValue.Flags(value), MacValue.LastSeen(value)));
        Assert.False(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 0));
        Assert.Equal(LearnResult.Known, Learn(K1, 7));
        Assert.Equal(LearnResult.StaticElsewhere, Learn(K1, 8));
        Assert.Equal(value, _macs.Find(K1));
    }

    [Fact]
    public void A_drop_entry_is_a_black_hole_on_every_port()
    {
        Assert.True(_macs.SetStatic(K1, 0, MacFlags.Drop, out _));
        Assert.True(MacValue.IsDrop(_macs.Find(K1)));
        Assert.Equal(LearnResult.BlackHole, Learn(K1, 0));
        Assert.Equal(LearnResult.BlackHole, Learn(K1, 7));
        Assert.True(_macs.SetStatic(K1, 7, MacFlags.Static | MacFlags.Drop, out _));
        Assert.Equal(LearnResult.BlackHole, Learn(K1, 7));
    }

    [Fact]
    public void A_static_entry_needs_a_flag() =>
        Assert.Throws<ArgumentException>(() => _macs.SetStatic(K1, 7, MacFlags.None, out _));

    [Fact]
    public void A_static_entry_takes_the_place_of_a_learned_one_and_gives_it_back()
    {
        Learn(K1, 7, 100);
        Assert.True(_macs.SetStatic(K1, 8, MacFlags.Static, out MacEntry? replaced));
        Assert.Equal(new MacEntry(1, 2, 7, MacFlags.None, 100), replaced);
        Assert.True(_macs.SetStatic(K1, 9, MacFlags.Drop, out replaced));
        Assert.Null(replaced); // it was no learned one
        Assert.Single(_macs.List());

        Assert.True(_macs.Kill(K1, out MacEntry killed, out ulong grave));
        Assert.Equal(new MacEntry(1, 2, 9, MacFlags.Static | MacFlags.Drop, 0), killed);
        _macs.Free(grave);
        Assert.Equal(LearnResult.Learned, Learn(K1, 7));
        Assert.True(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 100));
    }

    [Fact]
    public void A_killed_entry_is_unknown_at_once_and_its_slot_is_taken_until_it_is_freed()
    {
        Learn(K1, 7);
        Assert.True(_macs.Kill(K1, out MacEntry entry, out ulong grave));
        Assert.Equal(new MacEntry(1, 2, 7, MacFlags.None, 100), entry);
        Assert.Equal(0ul, _macs.Find(K1));
        Assert.Empty(_macs.List());
        Assert.False(MacTable.IsFresh(K1, _macs.Bucket(K1), 7, 100));
        Assert.False(_macs.Kill(K1, out _, out _));
        Assert.Equal(0, _macs.KillWhere(0, _macs.BucketCount, (in MacEntry _, object? _) => true, null, new List<ulong>()));

        // Learned anew it lives elsewhere: a worker may still look at the old slot.
        Assert.Equal(LearnResult.Learned, Learn(K1, 8));
        Assert.Equal(2, _table.TakenSlots());
        _macs.Free(grave);
        Assert.Equal(1, _table.TakenSlots());
        Assert.True(_table.FreeSlotsAreClean());
        Assert.Equal(8, MacValue.Port(_macs.Find(K1)));
    }

    [Fact]
    public void A_killing_is_freed_once_and_by_its_own_number()
    {
        Learn(K1, 7);
        Assert.True(_macs.Kill(K1, out _, out ulong first));
        _macs.Free(first);
        Learn(K1, 8);
        _macs.Free(first);
        Assert.Equal(8, MacValue.Port(_macs.Find(K1)));
        Assert.True(_macs.Kill(K1, out _, out ulong second));
        Assert.NotEqual(first, second);
        _macs.Free(first);
        Assert.Equal(1, _table.TakenSlots()); // who killed it the second time still waits
        _macs.Free(second);
        Assert.Equal(0, _table.TakenSlots());
    }

    /// <summary>Why the key goes before the grace period and not after it.</summary>
    [Fact]
    public void A_worker_cannot_find_a_slot_that_is_about_to_be_freed()
    {
        Learn(K1, 7);
        MacBucket* bucket = _macs.Bucket(K1);
        Assert.Equal(0, MacTable.MatchScalar(bucket, K1));
        Assert.True(_macs.Kill(K1, out _, out _));
        Assert.Equal(-1, MacTable.MatchScalar(bucket, K1));
    }

    [Fact]
    public void A_static_entry_does_not_wait_for_a_killed_one()
    {
        Learn(K1, 7);
        Assert.True(_macs.Kill(K1, out _, out ulong grave));
        Assert.True(_macs.SetStatic(K1, 8, MacFlags.Static, out MacEntry? replaced));
        Assert.Null(replaced); // who killed it has counted it already
        _macs.Free(grave);
        Assert.Equal(8, MacValue.Port(_macs.Find(K1)));
        Assert.Equal([K1], _table.AllKeys());
    }

    [Fact]
    public void Ageing_kills_what_the_condition_says_in_the_slice_it_was_given()
    {
        for (uint i = 1; i <= 40; i++)
        {
            Learn(MacTable.Key(1, i * 2), 7, i);
        }
        _macs.SetStatic(MacTable.Key(1, 1000), 7, MacFlags.Static, out _);
        var graves = new List<ulong>();
        var reported = new List<MacEntry>();
        int total = 0;
        for (int bucket = 0; bucket < _macs.BucketCount; bucket += 10)
        {
            total += _macs.KillWhere(bucket, 10, (in MacEntry e, object? limit) => e.Flags == MacFlags.None && e.LastSeen <= (uint)limit!, 30u, graves, reported.Add);
        }
        Assert.Equal(30, total);
        Assert.Equal(30, graves.Distinct().Count());
        Assert.All(reported, e => Assert.True(e.LastSeen <= 30 && e.Port == 7));
        Assert.Equal(11, _macs.List().Count);
        graves.ForEach(_macs.Free);
        Assert.Equal(11, _table.TakenSlots());
    }

    [Fact]
    public void An_entry_that_a_worker_refreshes_while_it_is_killed_is_judged_anew()
    {
        Learn(K1, 7, 100);
        int asked = 0;
        bool Refreshing(in MacEntry e, object? _)
        {
            if (asked++ == 0)
            {
                Learn(K1, 7, 500);
            }
            return e.LastSeen < 300;
        }
        Assert.Equal(0, _macs.KillWhere(0, _macs.BucketCount, Refreshing, null, new List<ulong>()));
        Assert.Equal(2, asked);
        Assert.Equal(500u, MacValue.LastSeen(_macs.Find(K1)));

        // A flush does not care how fresh it is.
        asked = 0;
        Assert.Equal(1, _macs.KillWhere(0, _macs.BucketCount, (in MacEntry _, object? _) => asked++ > 0 || Learn(K1, 7, 600) == LearnResult.Known, null, new List<ulong>()));
        Assert.Equal(0ul, _macs.Find(K1));
    }

    /// <summary>Control and housekeeping both delete: one may free a slot, and a worker reuse it, while the other one looks at it.</summary>
    [Fact]
    public void A_slot_that_changes_hands_while_it_is_judged_is_left_alone()
    {
        List<ulong> keys = _table.Colliding(2);
        Learn(keys[0], 7, 100);
        bool Interrupting(in MacEntry e, object? _)
        {
            Assert.True(_macs.Kill(keys[0], out MacEntry _, out ulong grave));
            _macs.Free(grave);
            Assert.Equal(LearnResult.Learned, Learn(keys[1], 7, 100)); // into the same slot, with the same value
            return true;
        }
        var graves = new List<ulong>();
        Assert.Equal(0, _macs.KillWhere(_table.Home(keys[0]), 1, Interrupting, null, graves));
        Assert.Empty(graves);
        Assert.Equal(7, MacValue.Port(_macs.Find(keys[1])));
    }

    [Fact]
    public void Full_buckets_overflow_into_the_next_ones_and_then_learning_fails()
    {
        const int Room = MacTable.Window * MacBucket.Ways;
        List<ulong> keys = _table.Colliding(Room + 2, home: 60); // the last of 64 buckets: wraps around
        for (int i = 0; i < Room; i++)
        {
            Assert.Equal(LearnResult.Learned, Learn(keys[i], (ushort)(i + 1)));
        }
        Assert.Equal(LearnResult.Full, Learn(keys[Room], 99));
        Assert.False(_macs.SetStatic(keys[Room], 99, MacFlags.Static, out _));
        Assert.Equal(0ul, _macs.Find(keys[Room]));
        for (int i = 0; i < Room; i++)
        {
            Assert.Equal(i + 1, MacValue.Port(_macs.Find(keys[i])));
            Assert.Equal(LearnResult.Known, Learn(keys[i], (ushort)(i + 1), 101));
        }

        // Any slot that becomes free will do, and what lies behind a gap is still found.
        Assert.True(_macs.Kill(keys[3], out _, out ulong grave));
        Assert.Equal(LearnResult.Full, Learn(keys[Room], 99)); // dead, not free
        _macs.Free(grave);
        Assert.Equal(Room, MacValue.Port(_macs.Find(keys[Room - 1])));
        Assert.Equal(LearnResult.Learned, Learn(keys[Room], 99));
        Assert.Equal(LearnResult.Full, Learn(keys[Room + 1], 98));
        Assert.Equal(99, MacValue.Port(_macs.Find(keys[Room])));
    }

    [Fact]
    public void An_overflowed_entry_is_not_fresh_at_a_glance_but_known()
    {
        List<ulong> keys = _table.Colliding(MacBucket.Ways + 1);
        keys.ForEach(k => Learn(k, 7, 100));
        ulong last = keys[^1];
        // IsFresh looks at the first bucket only; Learn finds it, and writes nothing.
        Assert.False(MacTable.IsFresh(last, _macs.Bucket(last), 7, 100));
        Assert.Equal(LearnResult.Known, Learn(last, 7, 100));
        Assert.Equal(7, MacValue.Port(_macs.Find(last)));
    }

    [Theory]
    [InlineData("random", 1ul)]
    [InlineData("random", 0xDEAD_BEEF_0BAD_F00D)]
    [InlineData("one vendor", 1ul)]
    [InlineData("docker", 1ul)]
    [InlineData("one address in every VLAN of many bridges", 1ul)]
    public void A_million_entries_fit_a_table_made_for_them(string kind, ulong seed)
    {
        const int Capacity = 1_000_000;
        using var table = new TestTable(new SegmentOptions { MacCapacity = Capacity }.MacBucketBits, seed);
        var random = new Random(42);
        var macs = new HashSet<ulong>();
        int full = 0;
        for (uint i = 0; macs.Count < Capacity; i++)
        {
            // Lowest byte first on the wire: what an administrator counts up is the highest byte.
            ulong key = kind switch
            {
                "random" => MacTable.Key(1, (ulong)random.NextInt64() & ~1ul),
                "one vendor" => MacTable.Key(1, 0x3C_5A_52 | ((ulong)Reverse24(i) << 24)),
                "docker" => MacTable.Key(1, 0x4202 | ((ulong)System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(0xAC11_0000 + i) << 16)),
                _ => MacTable.Key(4096 + (i % 60_000), 2 + (2 * (i / 60_000))),
            };
            if (macs.Add(key) && table.Macs.Learn(key, (ushort)(1 + (i % 1000)), 1, true, out _) != LearnResult.Learned)
            {
                full++;
            }
        }
        Assert.Equal(0, full);
        Assert.Equal(Capacity, macs.Count(key => table.Macs.Find(key) != 0));
        Assert.Equal(Capacity, table.Macs.List().Count);

        static uint Reverse24(uint i) => System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(i) >> 8;
    }

    [Fact]
    public void Moving_often_in_a_short_time_is_flapping()
    {
        uint start = 100 * MacTable.FlapWindowSeconds;
        Learn(K1, 1, start);
        for (int move = 1; move < MacTable.FlapThreshold; move++)
        {
            Assert.Equal(LearnResult.Moved, Learn(K1, (ushort)(1 + (move % 2)), start));
        }
        for (int move = MacTable.FlapThreshold; move < 40; move++)
        {
            Assert.Equal(LearnResult.Flapping, _macs.Learn(K1, (ushort)(1 + (move % 2)), start + MacTable.FlapWindowSeconds - 1, true, out ushort old));
            Assert.Equal(2 - (move % 2), old);
        }
        // The next window begins anew.
        Assert.Equal(LearnResult.Moved, Learn(K1, 1, start + MacTable.FlapWindowSeconds));
        Assert.Equal(LearnResult.Moved, Learn(K1, 2, start + MacTable.FlapWindowSeconds));
    }

    [Fact]
    public void Moving_now_and_then_is_not_flapping()
    {
        Learn(K1, 1, 0);
        for (uint move = 1; move < 100; move++)
        {
            Assert.Equal(LearnResult.Moved, Learn(K1, (ushort)(1 + (move % 2)), move * MacTable.FlapWindowSeconds));
        }
    }

    [Theory]
    [InlineData(16 * MacTable.FlapWindowSeconds)] // the number of a window comes back
    [InlineData((16 * MacTable.FlapWindowSeconds) + 1)]
    [InlineData(160 * MacTable.FlapWindowSeconds)]
    public void Moves_of_a_window_long_ago_do_not_count(uint later)
    {
        uint start = 100 * MacTable.FlapWindowSeconds;
        Learn(K1, 1, start);
        for (int move = 1; move < MacTable.FlapThreshold; move++)
        {
            Learn(K1, (ushort)(1 + (move % 2)), start);
        }
        ulong quiet = _macs.Find(K1);
        Assert.Equal(LearnResult.Moved, Learn(K1, (ushort)(3 - MacValue.Port(quiet)), start + later));

        // Nor when it was seen all the time between.
        Learn(K2, 1, start);
        for (int move = 1; move < MacTable.FlapThreshold; move++)
        {
            Learn(K2, (ushort)(1 + (move % 2)), start);
        }
        ushort port = MacValue.Port(_macs.Find(K2));
        for (uint now = start; now <= start + later; now++)
        {
            Learn(K2, port, now);
        }
        Assert.Equal(LearnResult.Moved, Learn(K2, (ushort)(3 - port), start + later));
    }

    [Fact]
    public void A_refresh_does_not_forget_the_moves()
    {
        uint now = 100 * MacTable.FlapWindowSeconds;
        Learn(K1, 1, now);
        LearnResult last = LearnResult.Known;
        for (int move = 1; move <= MacTable.FlapThreshold; move++)
        {
            last = Learn(K1, (ushort)(1 + (move % 2)), now);
            Assert.Equal(LearnResult.Known, Learn(K1, (ushort)(1 + (move % 2)), now + 1));
        }
        Assert.Equal(LearnResult.Flapping, last);
    }

    [Fact]
    public void What_a_process_left_that_died_is_cleared()
    {
        Learn(K1, 7);
        Learn(K2, 8);
        Assert.True(_macs.Kill(K1, out _, out ulong grave));
        _macs.SetStatic(MacTable.Key(1, 6), 3, MacFlags.Static, out _);
        // Somebody died between the two swaps of a deletion.
        ulong doomed = MacTable.Key(1, 10);
        Learn(doomed, 4);
        _macs.Bucket(doomed)->Values[0] = 0xFFFF_FFFF_0000_0001;
        Assert.Equal(0ul, _macs.Find(doomed));
        Assert.Equal(LearnResult.Refused, Learn(doomed, 5));
        Assert.False(_macs.SetStatic(doomed, 5, MacFlags.Static, out _));
        // A worker died between the two swaps of an insertion.
        ulong half = MacTable.Key(1, 8);
        _macs.Bucket(half)->Keys[3] = half;
        Assert.Equal(0ul, _macs.Find(half));
        Assert.Equal(LearnResult.Known, Learn(half, 5)); // taken for an insertion that is going on
        Assert.Equal(0ul, _macs.Find(half));
        Assert.False(_macs.SetStatic(half, 5, MacFlags.Static, out _));

        var graves = new List<ulong>();
        _macs.KillUnfinished(graves);
        Assert.Equal(3, graves.Count);
        Assert.Contains(grave, graves);
        Assert.Equal(2, _macs.List().Count);
        Assert.Equal(5, _table.TakenSlots());

        Assert.Equal(3, _macs.FreeAllDead());
        Assert.Equal(0, _macs.FreeAllDead());
        Assert.Equal(2, _table.TakenSlots());
        Assert.True(_table.FreeSlotsAreClean());
        Assert.Equal(LearnResult.Learned, Learn(half, 5));
        Assert.Equal(LearnResult.Learned, Learn(K1, 5));
    }

    [Fact]
    public void The_vector_and_the_scalar_comparison_agree()
    {
        var random = new Random(1);
        MacBucket* bucket = _table.Buckets;
        for (int round = 0; round < 100_000; round++)
        {
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                // Keys that differ in any one byte or half, equal ones, and free slots.
                bucket->Keys[way] = random.Next(4) switch { 0 => 0, 1 => K1, 2 => K1 ^ (1ul << random.Next(64)), _ => (ulong)random.NextInt64() };
            }
            Assert.Equal(MacTable.MatchScalar(bucket, K1), MacTable.MatchVector(bucket, K1));
        }
        foreach (int way in Enumerable.Range(0, MacBucket.Ways))
        {
            *bucket = default;
            bucket->Keys[way] = K1;
            Assert.Equal(way, MacTable.MatchVector(bucket, K1));
            Assert.Equal(-1, MacTable.MatchVector(bucket, K2));
        }
    }

    [Fact]
    public void The_packet_path_allocates_nothing()
    {
        List<ulong> keys = _table.Colliding(MacBucket.Ways + 2);
        ulong sum = 0;
        long allocated = 0;
        for (int round = 0; round < 2; round++) // the first one lets the compiler do its work
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (uint now = 1; now < 1000; now++)
            {
                foreach (ulong key in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(keys))
                {
                    ushort port = (ushort)(1 + (now % 3));
                    sum += MacTable.IsFresh(key, _macs.Bucket(key), port, now) ? 1ul : 0;
                    sum += (ulong)_macs.Learn(key, port, now, true, out _);
                    sum += _macs.Find(key, _macs.Bucket(key)) + _macs.Find(key + 2);
                }
            }
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }
        Assert.Equal(0, allocated);
        Assert.NotEqual(0ul, sum);
    }
}
