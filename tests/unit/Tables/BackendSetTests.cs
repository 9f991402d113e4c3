using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>The choice of a backend: the shares, and who moves when one goes. And the lives of sets through commits.</summary>
public sealed unsafe class BackendSetTests : IDisposable
{
    private const int Flows = 1_000_000;

    private readonly Segment _segment = Segment.CreatePrivate(
        new SegmentOptions { MaxWorkers = 2, MaxPorts = 8, MacCapacity = 64, MaxFrontends = 64, MaxBackends = 1024, BackendSetBytes = 1 << 20 });

    public void Dispose() => _segment.Dispose();

    private static BackendMember[] Members(params ushort[] weights) =>
        [.. weights.Select((weight, i) => new BackendMember((uint)i + 1, weight, Identity((uint)i + 1)))];

    private static ulong Identity(uint backend) => backend * 0x1234_5678_9ABC_DEF1ul;

    /// <summary>Hashes of flows as good as any.</summary>
    private static IEnumerable<uint> Hashes(int count)
    {
        var random = new Random(5);
        for (int i = 0; i < count; i++)
        {
            yield return (uint)random.NextInt64(1L << 32);
        }
    }

    private uint Make(SegmentWriter writer, int frontend, BackendMember[] members, bool maglev)
    {
        writer.Begin();
        uint set = writer.AddBackendSet(members, maglev);
        writer.SetFrontend(frontend, new FrontendRecord { Flags = FrontendFlags.Exists, Key = FrontendKey.Of4(1, 6, (uint)frontend, 80), Set = set });
        writer.Commit();
        return set;
    }

    private uint Choose(uint set, uint hash) => BackendSet.Choose(_segment.BackendSets, set, hash);

    private static void Remove(SegmentWriter writer, int frontend)
    {
        writer.Begin();
        writer.SetFrontend(frontend, default);
        writer.Commit();
    }

    /// <summary>Within a commit, as many frontends as there are.</summary>
    private static void Fill(SegmentWriter writer)
    {
        for (int i = 1; i < 64; i++)
        {
            uint set = writer.AddBackendSet(Members(1), maglev: true);
            writer.SetFrontend(i, new FrontendRecord { Flags = FrontendFlags.Exists, Key = FrontendKey.Of4(1, 6, (uint)i, 80), Set = set });
        }
    }

    [Theory]
    [InlineData(false, new ushort[] { 1 })]
    [InlineData(false, new ushort[] { 10, 10, 10, 10, 10, 10, 10, 10, 10, 10 })]
    [InlineData(false, new ushort[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0 })]
    [InlineData(false, new ushort[] { 0, 65_535, 0, 1, 30_000 })]
    [InlineData(true, new ushort[] { 1 })]
    [InlineData(true, new ushort[] { 10, 10, 10, 10, 10, 10, 10, 10, 10, 10 })]
    [InlineData(true, new ushort[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0 })]
    [InlineData(true, new ushort[] { 0, 65_535, 0, 1, 30_000 })]
    public void A_million_flows_are_shared_by_the_weights(bool maglev, ushort[] weights)
    {
        uint set = Make(new SegmentWriter(_segment), 1, Members(weights), maglev);
        var counts = new int[weights.Length + 1];
        foreach (uint hash in Hashes(Flows))
        {
            counts[Choose(set, hash)]++;
        }
        Assert.Equal(0, counts[0]);
        for (int i = 0; i < weights.Length; i++)
        {
            double share = (double)weights[i] / weights.Sum(w => w);
            Assert.InRange((double)counts[i + 1] / Flows, share - 0.01, share + 0.01);
            Assert.True(weights[i] != 0 || counts[i + 1] == 0, "one without weight was chosen");
        }
    }

    /// <summary>
    /// Flows as they come, from neighbouring addresses and ports, by the hash that workers use: each of ten backends has its share within a
    /// hundredth of it.
    /// </summary>
    [Theory]
    [InlineData(false, false, new ushort[] { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(false, true, new ushort[] { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(false, true, new ushort[] { 8, 9, 10, 11, 12, 8, 9, 10, 11, 12 })]
    [InlineData(true, false, new ushort[] { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(true, true, new ushort[] { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(true, true, new ushort[] { 8, 9, 10, 11, 12, 8, 9, 10, 11, 12 })]
    public void A_million_neighbouring_flows_are_shared_by_the_weights(bool maglev, bool v6, ushort[] weights)
    {
        const int Ports = 1000;
        uint set = Make(new SegmentWriter(_segment), 1, Members(weights), maglev);
        var counts = new int[weights.Length + 1];
        byte* ip = stackalloc byte[IPv6Header.Length + sizeof(uint)];
        int header = v6 ? IPv6Header.Length : IPv4Header.MinLength;
        for (int i = 0; i < Flows; i++)
        {
            uint client = 0x0A00_0001 + (uint)(i / Ports);
            if (v6)
            {
                IPv6Header.Write(ip, 0, 0, sizeof(uint), Wire.ProtocolTcp, 64, new IPv6Number(0xFD00_0001ul << 32, client), new IPv6Number(0xFD96ul << 48, 1));
            }
            else
            {
                IPv4Header.Write(ip, 0, header + sizeof(uint), 0, IPv4Header.DontFragment, 64, Wire.ProtocolTcp, client, 0x0A60_0001);
            }
            Wire.Store16(ip + header, (ushort)(32_768 + (i % Ports)));
            Wire.Store16(ip + header + 2, 80);
            counts[Choose(set, v6 ? FlowHash.Of6(ip, header + sizeof(uint)) : FlowHash.Of4(ip, header + sizeof(uint)))]++;
        }
        Assert.Equal(0, counts[0]);
        for (int i = 0; i < weights.Length; i++)
        {
            Assert.InRange(counts[i + 1] / ((double)Flows * weights[i] / weights.Sum(w => w)), 0.99, 1.01);
        }
    }

    [Fact]
    public void Each_hash_has_its_place_in_the_range_of_the_weights()
    {
        uint set = Make(new SegmentWriter(_segment), 1, Members(3, 0, 1), maglev: false);
        Assert.Equal(1u, Choose(set, 0));
        Assert.Equal(1u, Choose(set, 0xBFFF_FFFF));
        Assert.Equal(3u, Choose(set, 0xC000_0000));
        Assert.Equal(3u, Choose(set, 0xFFFF_FFFF));
        Assert.Equal([(1u, 3u), (2u, 0u), (3u, 1u)], BackendSet.List(BackendSet.At(_segment.BackendSets, set)));
    }

    [Fact]
    public void The_search_finds_what_a_walk_along_the_members_finds()
    {
        var random = new Random(3);
        var writer = new SegmentWriter(_segment);
        foreach (int count in (int[])[1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 1000])
        {
            BackendMember[] members = Members([.. Enumerable.Range(0, count).Select(_ => (ushort)random.Next(0, 5)), 1]);
            uint set = Make(writer, 1, members, maglev: false);
            ulong total = (ulong)members.Sum(m => m.Weight);
            foreach (uint hash in Hashes(2000).Concat([0u, uint.MaxValue]))
            {
                ulong at = (hash * total) >> 32;
                int i = 0;
                for (ulong end = members[0].Weight; end <= at; end += members[i].Weight)
                {
                    i++;
                }
                Assert.Equal(members[i].Backend, Choose(set, hash));
            }
        }
    }

    [Fact]
    public void Removing_one_of_a_hundred_backends_moves_few_flows_between_the_others()
    {
        var writer = new SegmentWriter(_segment);
        BackendMember[] all = Members([.. Enumerable.Repeat((ushort)100, 100)]);
        uint before = Make(writer, 1, all, maglev: true);
        for (uint gone = 1; gone <= 100; gone += 33)
        {
            uint after = Make(writer, 2, [.. all.Where(m => m.Backend != gone)], maglev: true);
            int moved = 0, others = 0;
            foreach (uint hash in Hashes(Flows))
            {
                uint was = Choose(before, hash), now = Choose(after, hash);
                Assert.NotEqual(gone, now);
                if (was != gone)
                {
                    others++;
                    moved += was != now ? 1 : 0;
                }
            }
            Assert.InRange((double)moved / others, 0, 0.02);
        }
    }

    [Fact]
    public void A_Maglev_table_depends_on_the_backends_and_not_on_their_order_or_indexes()
    {
        BackendMember[] members = Members(1, 2, 3, 4);
        BackendMember[] elsewhere = [.. members.Reverse().Select(m => m with { Backend = m.Backend + 100 })];
        var writer = new SegmentWriter(_segment);
        uint here = Make(writer, 1, members, maglev: true), there = Make(writer, 2, elsewhere, maglev: true);
        Assert.All(Hashes(10_000), hash => Assert.Equal(Choose(here, hash) + 100, Choose(there, hash)));
    }

    [Fact]
    public void A_set_is_there_while_one_frontend_leads_to_it_and_a_grace_period_longer()
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        uint set = writer.AddBackendSet(Members(1, 1), maglev: false);
        uint unused = writer.AddBackendSet(Members(1), maglev: false);
        Assert.NotEqual(set, unused);
        foreach (int frontend in (int[])[1, 2])
        {
            writer.SetFrontend(frontend, default); // written twice in a commit, counted once
            writer.SetFrontend(frontend, new FrontendRecord { Flags = FrontendFlags.Exists, Key = FrontendKey.Of4(1, 6, (uint)frontend, 80), Set = set });
        }
        writer.Commit();
        Assert.Equal(64, writer.BackendSetBytesUsed); // the unused one is gone
        Remove(writer, 1);
        writer.Begin();
        Assert.Equal(64, writer.BackendSetBytesUsed);
        writer.SetFrontend(2, default);
        writer.Commit();
        Assert.Equal(64, writer.BackendSetBytesUsed); // a worker may be at it
        writer.Begin();
        Assert.Equal(0, writer.BackendSetBytesUsed);
        writer.Commit();
    }

    [Fact]
    public void What_is_taken_back_takes_no_memory()
    {
        var writer = new SegmentWriter(_segment);
        Make(writer, 1, Members(1, 2), maglev: false);
        long before = writer.BackendSetBytesUsed;
        writer.Begin();
        uint set = writer.AddBackendSet(Members(1), maglev: true);
        writer.SetFrontend(1, writer.Frontend(1) with { Set = set });
        writer.Abandon();
        Assert.Equal(before, writer.BackendSetBytesUsed);
        writer.Begin();
        writer.Commit();
        Assert.Equal(before, writer.BackendSetBytesUsed);
    }

    [Fact]
    public void A_commit_without_room_for_its_sets_can_be_abandoned_and_room_comes_back()
    {
        var writer = new SegmentWriter(_segment);
        for (int round = 0; round < 3; round++)
        {
            writer.Begin();
            Assert.Throws<BackendMemoryException>(() => Fill(writer));
            writer.Abandon();
            Assert.Equal(0, writer.BackendSetBytesUsed);
        }
        // Seven tables of 128 KiB fit into 1 MiB, with what leads to them.
        for (int i = 1; i <= 7; i++)
        {
            Make(writer, i, Members(1), maglev: true);
        }
    }

    [Fact]
    public void The_next_writer_finds_the_sets_in_use_and_the_rest_free()
    {
        var dead = new SegmentWriter(_segment);
        uint set = Make(dead, 1, Members(1, 2, 3), maglev: false);
        long used = dead.BackendSetBytesUsed;
        dead.Begin();
        uint lost = dead.AddBackendSet(Members(9), maglev: true);
        dead.SetFrontend(2, new FrontendRecord { Flags = FrontendFlags.Exists, Key = FrontendKey.Of4(1, 6, 2, 80), Set = lost });
        var next = new SegmentWriter(_segment);
        Assert.Equal(used, next.BackendSetBytesUsed);
        Assert.Equal([(1u, 1u), (2u, 2u), (3u, 3u)], BackendSet.List(BackendSet.At(_segment.BackendSets, set)));
        for (int i = 2; i <= 8; i++)
        {
            Make(next, i, Members(1), maglev: true);
        }
        Assert.Equal([(1u, 1u), (2u, 2u), (3u, 3u)], BackendSet.List(BackendSet.At(_segment.BackendSets, set)));
    }

    [Fact]
    public void A_set_outside_of_its_memory_is_told()
    {
        Versioned<FrontendRecord>.Write(ref _segment.Frontends[3], new FrontendRecord { Flags = FrontendFlags.Exists, Set = 0xFFFF_FFFF }, _segment.Generation);
        Assert.Contains("outside of the memory", Assert.Throws<SegmentException>(() => new SegmentWriter(_segment)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_set_has_members_and_one_of_them_a_weight()
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        Assert.Throws<ArgumentException>(() => writer.AddBackendSet([], maglev: false));
        Assert.Throws<ArgumentException>(() => writer.AddBackendSet(Members(0, 0), maglev: false));
        Assert.Throws<ArgumentException>(() => writer.AddBackendSet(new BackendMember[65_536], maglev: false));
        writer.Abandon();
    }
}
