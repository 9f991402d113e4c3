using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>Ports of backends, through commits: those are in the set that some backend has, and no others.</summary>
public sealed class EndpointSetTests : IDisposable
{
    private const byte Tcp = 6, Udp = 17;
    private const int Backends = 300;

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxWorkers = 2, MaxPorts = 8, MacCapacity = 64, MaxBackends = Backends });

    public void Dispose() => _segment.Dispose();

    private static BackendRecord Backend(uint address, ushort port, uint service = 1, byte protocol = Tcp, bool isIPv6 = false) => new()
    {
        Address = new IPv6Number(0, address), Port = port, Protocol = protocol, Service = service, Flags = BackendFlags.Exists | (isIPv6 ? BackendFlags.IPv6 : 0),
    };

    private static void Commit(SegmentWriter writer, params (int Index, BackendRecord Backend)[] changes)
    {
        writer.Begin();
        foreach ((int index, BackendRecord backend) in changes)
        {
            writer.SetBackend(index, backend);
        }
        writer.Commit();
    }

    private bool Has(in BackendRecord backend) => _segment.Endpoints.Contains(EndpointSet.Key(in backend));

    private bool MayHave(in BackendRecord backend) => _segment.Endpoints.MayHave(backend.Has(BackendFlags.IPv6), backend.Address);

    [Fact]
    public void A_port_is_found_by_all_that_it_consists_of_and_by_nothing_else()
    {
        Commit(new SegmentWriter(_segment), (5, Backend(0x0A00_0001, 80)));
        Assert.True(Has(Backend(0x0A00_0001, 80)));
        Assert.False(Has(Backend(0x0A00_0001, 81)));
        Assert.False(Has(Backend(0x0A00_0002, 80)));
        Assert.False(Has(Backend(0x0A00_0001, 80, protocol: Udp)));
        Assert.False(Has(Backend(0x0A00_0001, 80, isIPv6: true)));
        Assert.True(MayHave(Backend(0x0A00_0001, 81)));
    }

    [Fact]
    public void One_that_several_services_have_stays_until_the_last_one_has_it_no_more()
    {
        BackendRecord[] same = [.. Enumerable.Range(1, 200).Select(i => Backend(7, 80, (uint)i))];
        var writer = new SegmentWriter(_segment);
        Commit(writer, [.. same.Select((b, i) => (i + 1, b))]);
        Assert.Equal(1, _segment.Endpoints.Count());
        Commit(writer, [.. same.Skip(1).Select((_, i) => (i + 2, default(BackendRecord)))]);
        Commit(writer);
        Assert.True(Has(same[0]));
        Commit(writer, (1, default));
        Assert.True(Has(same[0])); // a worker may still read what was
        Commit(writer);
        Assert.False(Has(same[0]));
        Assert.False(MayHave(same[0]));
    }

    [Fact]
    public void What_is_taken_back_was_never_there()
    {
        var writer = new SegmentWriter(_segment);
        Commit(writer, (5, Backend(1, 80)));
        writer.Begin();
        writer.SetBackend(5, default);
        writer.SetBackend(6, Backend(2, 80));
        writer.Abandon();
        Commit(writer);
        Commit(writer);
        Assert.Equal((true, false), (Has(Backend(1, 80)), Has(Backend(2, 80))));
    }

    [Fact]
    public void A_writer_that_died_leaves_nothing_that_the_next_does_not_count_again()
    {
        BackendRecord one = Backend(1, 80), two = Backend(2, 80), three = Backend(3, 80);
        var dead = new SegmentWriter(_segment);
        Commit(dead, (5, one), (6, two));
        Commit(dead, (6, default)); // it is still in the set
        EndpointSet set = _segment.Endpoints;
        set.Add(EndpointSet.Key(in three)); // as far as a commit comes before it is one
        set.Add(EndpointSet.Key(in one));
        var next = new SegmentWriter(_segment);
        Commit(next);
        Assert.Equal((true, false, false), (Has(one), Has(two), Has(three)));
        Commit(next, (5, default));
        Commit(next);
        Assert.Equal((0, false), (set.Count(), MayHave(one)));
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void Any_sequence_of_commits_leaves_what_a_dictionary_says(int seed)
    {
        var random = new Random(seed);
        var model = new Dictionary<int, BackendRecord>();
        var writer = new SegmentWriter(_segment);
        BackendRecord Any() => Backend((uint)random.Next(60), (ushort)random.Next(3), (uint)random.Next(100), random.Next(2) == 0 ? Tcp : Udp, random.Next(2) == 0);
        for (int round = 0; round < 400; round++)
        {
            bool abandoned = random.Next(8) == 0;
            var next = new Dictionary<int, BackendRecord>(model);
            writer.Begin();
            for (int n = random.Next(1, 30); n > 0; n--)
            {
                int index = random.Next(1, Backends);
                next[index] = random.Next(3) == 0 ? default : Any();
                writer.SetBackend(index, next[index]);
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
            Assert.All(model.Values.Where(b => b.Has(BackendFlags.Exists)), b => Assert.True(Has(in b) && MayHave(in b)));
        }
        Commit(writer);
        HashSet<FrontendKey> present = [.. model.Values.Where(b => b.Has(BackendFlags.Exists)).Select(b => EndpointSet.Key(in b))];
        Assert.Equal(present.Count, _segment.Endpoints.Count());
        for (int i = 0; i < 2000; i++)
        {
            BackendRecord any = Any();
            Assert.Equal(present.Contains(EndpointSet.Key(in any)), Has(in any));
        }
        Commit(writer, [.. model.Keys.Select(index => (index, default(BackendRecord)))]);
        Commit(writer);
        Assert.Equal(0, _segment.Endpoints.Count());
        Assert.DoesNotContain(model.Values, b => b.Has(BackendFlags.Exists) && MayHave(in b));
    }
}
