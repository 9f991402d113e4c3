using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Tunnels by what a packet says, through commits: a worker finds the tunnels of its generation, all of them and no others, whatever
/// the writer does meanwhile.
/// </summary>
public sealed unsafe class TunnelTableTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2, MaxPorts = 64, MacCapacity = 64 });

    public void Dispose() => _segment.Dispose();

    private static TunnelRecord Tunnel(uint vni, ulong remote, bool v6 = false, ushort vrf = 1, ushort udpPort = 4789) => new()
    {
        Flags = TunnelFlags.Exists | (v6 ? TunnelFlags.IPv6 : 0),
        Vni = vni,
        Vrf = vrf,
        UdpPort = udpPort,
        Remote = v6 ? new IPv6Number(0xFD00_0000_0000_0000, remote) : new IPv6Number(0, remote),
    };

    private static void Commit(SegmentWriter writer, params (int Port, TunnelRecord Tunnel)[] changes)
    {
        writer.Begin();
        foreach ((int port, TunnelRecord tunnel) in changes)
        {
            writer.SetTunnel(port, tunnel);
        }
        writer.Commit();
    }

    private int Find(TunnelKey key) => _segment.TunnelTable.Find(key, _segment.Generation);

    [Fact]
    public void A_tunnel_is_found_by_all_that_it_consists_of_and_by_nothing_else()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Tunnel(42, 0x0A00_0001)), (6, Tunnel(42, 0x0A00_0002)), (7, Tunnel(42, 1, v6: true)));
        Assert.Equal(5, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 0x0A00_0001))));
        Assert.Equal(6, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 0x0A00_0002))));
        Assert.Equal(7, Find(TunnelKey.Peer(1, 4789, 42, true, new IPv6Number(0xFD00_0000_0000_0000, 1))));
        Assert.Equal(0, Find(TunnelKey.Peer(1, 4789, 42, true, new IPv6Number(0, 0x0A00_0001))));
        Assert.Equal(0, Find(TunnelKey.Peer(1, 4789, 43, false, new IPv6Number(0, 0x0A00_0001))));
        Assert.Equal(0, Find(TunnelKey.Peer(1, 8472, 42, false, new IPv6Number(0, 0x0A00_0001))));
        Assert.Equal(0, Find(TunnelKey.Peer(2, 4789, 42, false, new IPv6Number(0, 0x0A00_0001))));
        Assert.Equal(0, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 0x0A00_0003))));
        Assert.NotEqual(0, Find(TunnelKey.Network(1, 4789, 42)));
        Assert.Equal(0, Find(TunnelKey.Network(1, 4789, 0)));
        Assert.Equal(0, Find(TunnelKey.Network(1, 8472, 42)));
        Assert.Equal(0, Find(TunnelKey.Network(2, 4789, 42)));
        Assert.NotEqual(0, Find(TunnelKey.UdpPort(1, 4789)));
        Assert.Equal(0, Find(TunnelKey.UdpPort(1, 8472)));
        Assert.Equal(0, Find(TunnelKey.UdpPort(2, 4789)));
        // Three peers, and one entry each for their network and their UDP port.
        Assert.Equal(5, _segment.TunnelTable.Count());
    }

    [Fact]
    public void A_network_is_known_until_its_last_tunnel_goes()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Tunnel(42, 1)), (6, Tunnel(42, 2)));
        foreach ((int port, bool known) in new[] { (5, true), (6, false) })
        {
            Commit(writer, (port, default));
            Assert.Equal(known, Find(TunnelKey.Network(1, 4789, 42)) != 0);
            Assert.Equal(known, Find(TunnelKey.UdpPort(1, 4789)) != 0);
        }
        Commit(writer);
        Assert.Equal(0, _segment.TunnelTable.Count());
    }

    [Fact]
    public void A_worker_in_the_midst_of_a_burst_finds_the_tunnels_it_began_with()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Tunnel(42, 1)), (6, Tunnel(43, 2)));
        ulong before = _segment.Generation;
        _segment.Quiescence.Online(0); // a worker begins
        Commit(writer, (5, Tunnel(43, 2)), (6, default));
        ulong after = _segment.Generation;
        TunnelTable table = _segment.TunnelTable;
        var first = TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 1));
        var second = TunnelKey.Peer(1, 4789, 43, false, new IPv6Number(0, 2));
        Assert.Equal((5, 6), (table.Find(first, before), table.Find(second, before)));
        Assert.Equal((0, 5), (table.Find(first, after), table.Find(second, after)));
        Assert.NotEqual(0, table.Find(TunnelKey.Network(1, 4789, 42), before));
        Assert.Equal(0, table.Find(TunnelKey.Network(1, 4789, 42), after));
        _segment.Quiescence.Offline(0);
    }

    [Fact]
    public void What_is_taken_back_was_never_there()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Tunnel(42, 1)));
        writer.Begin();
        writer.SetTunnel(5, default);
        writer.SetTunnel(6, Tunnel(43, 2));
        writer.Abandon();
        Commit(writer);
        Assert.Equal(5, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 1))));
        Assert.Equal(0, Find(TunnelKey.Network(1, 4789, 43)));
        Assert.Equal(3, _segment.TunnelTable.Count());
    }

    [Fact]
    public void A_writer_that_died_before_its_commit_leaves_nothing()
    {
        var dead = new SegmentWriter(_segment);
        Commit(dead, (5, Tunnel(42, 1)));
        dead.Begin();
        dead.SetTunnel(5, Tunnel(44, 4));
        dead.SetTunnel(6, Tunnel(43, 2));
        _segment.TunnelTable.Publish(_segment.Generation + 1); // as far as a commit comes before it is one
        var next = new SegmentWriter(_segment);
        Assert.Equal(5, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 1))));
        Assert.Equal(0, Find(TunnelKey.Network(1, 4789, 43)));
        Commit(next);
        Assert.Equal(3, _segment.TunnelTable.Count());
        Assert.Equal(5, Find(TunnelKey.Peer(1, 4789, 42, false, new IPv6Number(0, 1))));
    }

    [Fact]
    public void Entries_that_find_their_bucket_full_are_found_behind_it()
    {
        TunnelTable table = _segment.TunnelTable;
        uint last = (uint)TunnelTable.BucketsFor(_segment.MaxPorts) - 1; // what does not fit goes on at the first bucket
        var tunnels = new List<TunnelRecord>();
        for (ulong remote = 1; tunnels.Count < 2 * TunnelBucket.Ways + 3; remote++)
        {
            TunnelRecord tunnel = Tunnel(42, remote);
            if (table.Home(TunnelKey.Peer(in tunnel)) == last)
            {
                tunnels.Add(tunnel);
            }
        }
        var writer = new SegmentWriter(_segment);
        Commit(writer, [.. tunnels.Select((tunnel, i) => (i + 1, tunnel))]);
        Assert.All(tunnels, (tunnel, i) => Assert.Equal(i + 1, Find(TunnelKey.Peer(in tunnel))));
        // Those in the home bucket go: the others are found as before, and when these go too, nothing is left to look through.
        Commit(writer, [.. Enumerable.Range(1, TunnelBucket.Ways).Select(port => (port, default(TunnelRecord)))]);
        Commit(writer);
        Assert.All(tunnels, (tunnel, i) => Assert.Equal(i < TunnelBucket.Ways ? 0 : i + 1, Find(TunnelKey.Peer(in tunnel))));
        Commit(writer, [.. Enumerable.Range(1, tunnels.Count).Select(port => (port, default(TunnelRecord)))]);
        Commit(writer);
        Assert.Equal(0, table.Count());
        var buckets = (TunnelBucket*)((byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _segment.Header)
            + _segment.Header.Sections[(int)SectionId.TunnelBuckets].Offset);
        Assert.All(Enumerable.Range(0, (int)last + 1), bucket => Assert.Equal(0u, buckets[bucket].GoesOn));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Any_series_of_commits_gives_what_a_search_through_the_records_gives(int seed)
    {
        var random = new Random(seed);
        var writer = new SegmentWriter(_segment);
        for (int commit = 0; commit < 400; commit++)
        {
            writer.Begin();
            for (int n = random.Next(8); n > 0; n--)
            {
                writer.SetTunnel(random.Next(1, 64), random.Next(4) == 0 ? default : Any(random));
            }
            ulong before = _segment.Generation;
            if (random.Next(8) == 0)
            {
                writer.Abandon();
            }
            else
            {
                writer.Commit();
            }
            // The generation before is still read by those who have not finished their burst.
            Check(random, before);
            Check(random, _segment.Generation);
            if (random.Next(16) == 0)
            {
                writer = new SegmentWriter(_segment);
                Check(random, _segment.Generation);
            }
        }
    }

    [Fact]
    public void Two_workers_look_while_a_writer_commits()
    {
        bool stop = false;
        string? fault = null;
        Thread[] workers = [.. Enumerable.Range(0, 2).Select(index => new Thread(() =>
        {
            var random = new Random(index);
            _segment.Quiescence.Online(index);
            while (!Volatile.Read(ref stop) && fault == null)
            {
                _segment.Quiescence.Quiescent(index);
                ulong generation = _segment.Generation;
                for (int i = 0; i < 8; i++)
                {
                    fault ??= Problem(Any(random), generation);
                }
            }
            _segment.Quiescence.Offline(index);
        }))];
        Array.ForEach(workers, worker => worker.Start());
        var changes = new Random(9);
        var writer = new SegmentWriter(_segment, TimeSpan.FromSeconds(60));
        for (int commit = 0; commit < 2000 && fault == null; commit++)
        {
            writer.Begin();
            for (int n = 0; n < 16; n++)
            {
                writer.SetTunnel(changes.Next(1, 64), changes.Next(4) == 0 ? default : Any(changes));
            }
            writer.Commit();
        }
        Volatile.Write(ref stop, true);
        Array.ForEach(workers, worker => worker.Join());
        Assert.Null(fault);
    }

    private static TunnelRecord Any(Random random) =>
        Tunnel((uint)random.Next(3), (ulong)random.Next(6), random.Next(2) == 0, (ushort)random.Next(1, 3), (ushort)random.Next(4789, 4791));

    private void Check(Random random, ulong generation)
    {
        for (int i = 0; i < 20; i++)
        {
            Assert.Null(Problem(Any(random), generation));
        }
    }

    /// <summary>What the table says of a tunnel's keys against a search through all records.</summary>
    private string? Problem(TunnelRecord wanted, ulong generation)
    {
        foreach (TunnelKey key in (ReadOnlySpan<TunnelKey>)[TunnelKey.Peer(in wanted), TunnelKey.Network(in wanted), TunnelKey.UdpPort(in wanted)])
        {
            int found = _segment.TunnelTable.Find(key, generation);
            bool any = false;
            for (int port = 1; port < _segment.MaxPorts && !any; port++)
            {
                any = key.IsOf(in _segment.Tunnel(port, generation));
            }
            if (any != (found != 0) || (found != 0 && !key.IsOf(in _segment.Tunnel(found, generation))))
            {
                return $"{key} in generation {generation}: found {found}, there is one: {any}";
            }
        }
        return null;
    }
}
