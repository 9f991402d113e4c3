using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Frontends by what a packet is addressed to, through commits: a worker finds those of its generation, all of them and no others,
/// whatever the writer does meanwhile.
/// </summary>
public sealed unsafe class ServiceTableTests : IDisposable
{
    private const byte Tcp = 6, Udp = 17;

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2, MaxPorts = 8, MacCapacity = 64, MaxFrontends = 512 });

    public void Dispose() => _segment.Dispose();

    private static readonly IPv6Number s_six = new(0xFD00_0000_0000_0000, 1);

    private static FrontendRecord Frontend(FrontendKey key) => new() { Key = key, Flags = FrontendFlags.Exists, Service = 1 };

    private static void Commit(SegmentWriter writer, params (int Index, FrontendRecord Frontend)[] changes)
    {
        writer.Begin();
        foreach ((int index, FrontendRecord frontend) in changes)
        {
            writer.SetFrontend(index, frontend);
        }
        writer.Commit();
    }

    private int Find(FrontendKey key) => _segment.ServiceTable.Find(key, _segment.Generation);

    [Fact]
    public void A_frontend_is_found_by_all_that_its_key_consists_of_and_by_nothing_else()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Frontend(FrontendKey.Of4(1, Tcp, 0x0A60_0001, 80))), (6, Frontend(FrontendKey.Of6(1, Tcp, s_six, 80))),
            (7, Frontend(FrontendKey.Of4(2, Tcp, 0x0A60_0001, 80))), (8, Frontend(FrontendKey.OfAddress(1, false, new(0, 0x0A60_0001)))));
        Assert.Equal(5, Find(FrontendKey.Of4(1, Tcp, 0x0A60_0001, 80)));
        Assert.Equal(6, Find(FrontendKey.Of6(1, Tcp, s_six, 80)));
        Assert.Equal(7, Find(FrontendKey.Of4(2, Tcp, 0x0A60_0001, 80)));
        Assert.Equal(0, Find(FrontendKey.Of4(1, Udp, 0x0A60_0001, 80)));
        Assert.Equal(0, Find(FrontendKey.Of4(1, Tcp, 0x0A60_0001, 81)));
        Assert.Equal(0, Find(FrontendKey.Of4(1, Tcp, 0x0A60_0002, 80)));
        Assert.Equal(0, Find(FrontendKey.Of4(3, Tcp, 0x0A60_0001, 80)));
        Assert.Equal(0, Find(FrontendKey.Of6(1, Tcp, new IPv6Number(0, 0x0A60_0001), 80)));
        Assert.Equal(0, Find(FrontendKey.Of6(1, Tcp, s_six with { High = 0 }, 80)));
        ServiceTable table = _segment.ServiceTable;
        Assert.Equal(8, table.FindAddress(1, false, new IPv6Number(0, 0x0A60_0001), _segment.Generation));
        Assert.Equal(0, table.FindAddress(2, false, new IPv6Number(0, 0x0A60_0001), _segment.Generation));
        Assert.Equal(0, table.FindAddress(1, true, s_six, _segment.Generation));
    }

    [Fact]
    public void A_key_consists_of_its_parts()
    {
        var key = FrontendKey.Of6(0xFEDC, 132, s_six, 0xBA98);
        Assert.Equal((0xFEDC, 132, true, 0xBA98, s_six), (key.Vrf, key.Protocol, key.IsIPv6, key.Port, key.Address));
        Assert.False(key.IsAddress);
        Assert.True(FrontendKey.OfAddress(1, true, s_six).IsAddress);
        Assert.Equal(FrontendKey.Of4(1, Tcp, 7, 80), FrontendKey.Of(1, Tcp, false, new IPv6Number(0, 7), 80));
    }

    [Fact]
    public void A_worker_in_the_midst_of_a_burst_finds_the_frontends_it_began_with()
    {
        FrontendKey one = FrontendKey.Of4(1, Tcp, 1, 80), two = FrontendKey.Of4(1, Tcp, 2, 80);
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Frontend(one)), (6, Frontend(two)));
        ulong before = _segment.Generation;
        _segment.Quiescence.Online(0); // a worker begins
        Commit(writer, (5, Frontend(two)), (6, default)); // the key of one goes over to another
        ulong after = _segment.Generation;
        ServiceTable table = _segment.ServiceTable;
        Assert.Equal((5, 6), (table.Find(one, before), table.Find(two, before)));
        Assert.Equal((0, 5), (table.Find(one, after), table.Find(two, after)));
        _segment.Quiescence.Offline(0);
        Commit(writer);
        Assert.Equal(1, table.Count());
        Assert.Equal(5, Find(two));
    }

    [Fact]
    public void What_is_taken_back_was_never_there()
    {
        FrontendKey one = FrontendKey.Of4(1, Tcp, 1, 80), two = FrontendKey.Of4(1, Tcp, 2, 80);
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Frontend(one)));
        writer.Begin();
        writer.SetFrontend(5, default);
        writer.SetFrontend(6, Frontend(two));
        writer.Abandon();
        Commit(writer);
        Assert.Equal((5, 0), (Find(one), Find(two)));
        Assert.Equal(1, _segment.ServiceTable.Count());
    }

    [Fact]
    public void A_writer_that_died_leaves_nothing_that_the_next_does_not_sweep()
    {
        FrontendKey one = FrontendKey.Of4(1, Tcp, 1, 80), two = FrontendKey.Of4(1, Tcp, 2, 80);
        var dead = new SegmentWriter(_segment);
        Commit(dead, (5, Frontend(one)), (6, Frontend(two)));
        Commit(dead, (6, default)); // its entry is still there
        dead.Begin();
        dead.SetFrontend(7, Frontend(two));
        _segment.ServiceTable.Add(two, 7); // as far as a commit comes before it is one
        var next = new SegmentWriter(_segment);
        Assert.Equal((5, 0), (Find(one), Find(two)));
        Commit(next);
        Assert.Equal(1, _segment.ServiceTable.Count());
        Commit(next, (9, Frontend(two)));
        Assert.Equal((5, 9), (Find(one), Find(two)));
    }

    [Fact]
    public void An_entry_that_a_writer_lost_is_made_again()
    {
        FrontendKey one = FrontendKey.Of4(1, Tcp, 1, 80);
        Commit(new SegmentWriter(_segment), (5, Frontend(one)));
        _segment.ServiceTable.Remove(one, 5);
        Assert.Equal(0, Find(one));
        _ = new SegmentWriter(_segment);
        Assert.Equal(5, Find(one));
    }

    [Fact]
    public void Keys_of_one_bucket_find_room_behind_it()
    {
        // More than fit into the bucket and the next one.
        ServiceTable table = _segment.ServiceTable;
        List<FrontendKey> keys = [.. Enumerable.Range(1, 1 << 20).Select(i => FrontendKey.Of4(1, Tcp, (uint)i, 80)).Where(k => table.Home(k) == 3).Take(20)];
        Assert.Equal(20, keys.Count);
        var writer = new SegmentWriter(_segment);
        Commit(writer, [.. keys.Select((key, i) => (i + 1, Frontend(key)))]);
        Assert.All(keys, (key, i) => Assert.Equal(i + 1, Find(key)));
        // The first ones go, and those behind are still found; then all others.
        Commit(writer, [.. Enumerable.Range(1, 10).Select(i => (i, default(FrontendRecord)))]);
        Commit(writer);
        Assert.All(keys, (key, i) => Assert.Equal(i < 10 ? 0 : i + 1, Find(key)));
        Commit(writer, [.. Enumerable.Range(11, 10).Select(i => (i, default(FrontendRecord)))]);
        Commit(writer);
        Assert.Equal(0, table.Count());
        // Nothing is left that would make a search go on: the next writer's count of who passed by is this one's.
        Commit(writer, (1, Frontend(keys[0])));
        Assert.Equal(1, Find(keys[0]));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Any_sequence_of_commits_leaves_what_a_dictionary_says(int seed)
    {
        var random = new Random(seed);
        var model = new Dictionary<int, FrontendKey>();
        var writer = new SegmentWriter(_segment);
        for (int round = 0; round < 400; round++)
        {
            bool abandoned = random.Next(8) == 0;
            var next = new Dictionary<int, FrontendKey>(model);
            writer.Begin();
            for (int n = random.Next(1, 20); n > 0; n--)
            {
                int index = random.Next(1, 512);
                var key = FrontendKey.Of4((ushort)random.Next(1, 3), Tcp, (uint)random.Next(200), (ushort)random.Next(3));
                if (random.Next(3) == 0)
                {
                    writer.SetFrontend(index, default);
                    next.Remove(index);
                }
                else if (!next.Any(m => m.Value == key && m.Key != index))
                {
                    writer.SetFrontend(index, Frontend(key));
                    next[index] = key;
                }
            }
            if (abandoned)
            {
                writer.Abandon();
            }
            else
            {
                writer.Commit();
                model = next;
            }
            if (random.Next(50) == 0)
            {
                writer = new SegmentWriter(_segment);
            }
            foreach ((int index, FrontendKey key) in model)
            {
                Assert.Equal(index, Find(key));
                Assert.True(MayServe(key));
            }
            for (int i = 0; i < 50; i++)
            {
                var key = FrontendKey.Of4((ushort)random.Next(1, 3), Tcp, (uint)random.Next(200), (ushort)random.Next(3));
                Assert.Equal(model.Where(m => m.Value == key).Select(m => m.Key).FirstOrDefault(), Find(key));
            }
        }
        writer.Begin();
        writer.Commit();
        Assert.Equal(model.Count, _segment.ServiceTable.Count());
        Commit(writer, [.. model.Keys.Select(index => (index, default(FrontendRecord)))]);
        Commit(writer);
        Assert.DoesNotContain(model.Values, MayServe);
    }

    private bool MayServe(FrontendKey key) => _segment.ServiceTable.MayServe(key.IsIPv6, key.Address);

    /// <summary>Whether there is anything at an address: what there is, is never missed, and hardly anything else is taken for it.</summary>
    [Fact]
    public void Most_addresses_need_no_look_up()
    {
        var writer = new SegmentWriter(_segment);
        FrontendKey[] keys = [.. Enumerable.Range(1, 100).Select(i => i % 2 == 0 ? FrontendKey.Of4(1, Tcp, (uint)i, 80) : FrontendKey.Of6(1, Udp, s_six with { Low = (ulong)i }, 53))];
        Commit(writer, [.. keys.Select((key, i) => (i + 1, Frontend(key)))]);
        Assert.All(keys, key => Assert.True(MayServe(key)));
        int others = Enumerable.Range(1000, 4000).Count(i => MayServe(FrontendKey.Of4(1, Tcp, (uint)i, 80)));
        Assert.InRange(others, 0, 4000 / 20); // 100 of 4,096 places are taken
        // A writer that comes after another one that died counts anew.
        var next = new SegmentWriter(_segment);
        Commit(next, [.. keys.Skip(1).Select((_, i) => (i + 2, default(FrontendRecord)))]);
        Commit(next);
        Assert.True(MayServe(keys[0]));
        Assert.InRange(keys.Count(MayServe), 1, 8); // as far as others have its place
    }

    /// <summary>As many ports at one address as a count can have, and more.</summary>
    [Fact]
    public void An_address_with_many_ports_is_never_missed()
    {
        FrontendKey[] keys = [.. Enumerable.Range(1, 400).Select(port => FrontendKey.Of4(1, Tcp, 7, (ushort)port))];
        var writer = new SegmentWriter(_segment);
        Commit(writer, [.. keys.Select((key, i) => (i + 1, Frontend(key)))]);
        Commit(writer, [.. keys.Skip(1).Select((_, i) => (i + 2, default(FrontendRecord)))]);
        Commit(writer);
        Assert.True(MayServe(keys[0]));
        Assert.Equal(1, Find(keys[0]));
    }
}
