using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Control.State.Etcd;
using Dataplane.UnitTests.Control.Etcd;
using Etcdserverpb;
using Google.Protobuf;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>Taking a lease: flannel's rules, on a real etcd.</summary>
public sealed class SubnetManagerTests : IDisposable
{
    private const string Config = """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""";
    private const string Dual = """{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}""";

    private readonly EtcdServer _etcd = new();
    private readonly EtcdConnection _connection;
    private readonly LeaseRegistry _registry;
    private readonly ManualTime _clock = new();
    private readonly Lease.LeaseClient _leases;

    public SubnetManagerTests()
    {
        _connection = new EtcdConnection(FlannelNode.Etcd(_etcd.Address), _etcd.Address);
        _registry = new LeaseRegistry(_connection, FlannelNode.Prefix);
        _leases = new Lease.LeaseClient(_etcd.Channel);
    }

    public void Dispose()
    {
        _connection.Dispose();
        _etcd.Dispose();
    }

    private static LeaseAttributes Node(FlannelConfig config, int n) =>
        FlannelPlanner.Describe(config, FlannelNode.Prefix, IPAddress.Parse($"192.0.2.{n}"), IPAddress.Parse($"2001:db8::{n:x}"));

    private Task<HeldLease> Acquire(int node, string config = Config, string? previous = null, int seed = 1, TimeSpan? term = null)
    {
        FlannelConfig read = FlannelConfigReader.Read(config);
        LeaseSubnets? before = previous is not null && LeaseSubnets.TryParse(previous, out LeaseSubnets? subnets) ? subnets : null;
        return new SubnetManager(_clock, new Random((seed * 1000) + node), term ?? SubnetManager.DefaultTerm).AcquireAsync(_registry, read, Node(read, node), before, CancellationToken.None);
    }

    private Mvccpb.KeyValue? Find(string key) => _etcd.Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8(FlannelNode.Subnets + key) }).Kvs.SingleOrDefault();

    private string[] Keys() => [.. _etcd.Keys().Select(k => k[FlannelNode.Subnets.Length..])];

    private long[] EtcdLeases() => [.. _leases.LeaseLeases(new LeaseLeasesRequest()).Leases.Select(l => l.ID)];

    [Fact]
    public async Task ANewNodeTakesOneOfTheFreeSubnetsByChance()
    {
        HeldLease[] held = [await Acquire(1), await Acquire(2), await Acquire(3)];
        Assert.Equal(held.Select(h => h.Subnets.Key).Order(StringComparer.Ordinal), Keys());
        Assert.NotEqual([1, 2, 3], held.Select(h => (int)h.Subnets.IPv4!.Value.Address.GetAddressBytes()[2]));
        Mvccpb.KeyValue pair = Find(held[0].Subnets.Key)!;
        string mac = Node(FlannelConfigReader.Read(Config), 1).Vtep!.Value.Mac.ToString();
        Assert.Equal($$$"""{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"{{{mac}}}"}}""", pair.Value.ToStringUtf8());
        LeaseTimeToLiveResponse lease = _leases.LeaseTimeToLive(new LeaseTimeToLiveRequest { ID = pair.Lease });
        Assert.Equal((86400, held[0].EtcdLease, TimeSpan.FromHours(24)), (lease.GrantedTTL, pair.Lease, held[0].Term));
    }

    [Fact]
    public async Task ANodeThatComesBackFindsItsLease()
    {
        HeldLease first = await Acquire(1);
        await Acquire(2);
        Mvccpb.KeyValue before = Find(first.Subnets.Key)!;
        HeldLease again = await Acquire(1, seed: 2);
        Assert.Equal((first.Subnets, first.EtcdLease), (again.Subnets, again.EtcdLease));
        Assert.Equal(before, Find(first.Subnets.Key)); // nobody else is woken
        Assert.Equal(2, EtcdLeases().Length);

        // With other settings the value changes, the subnet does not. Another's value at our address is ours too.
        HeldLease other = await Acquire(1, Config.Replace("\"vxlan\"", "\"vxlan\", \"VNI\": 9", StringComparison.Ordinal), seed: 3);
        Assert.Equal((first.Subnets, first.EtcdLease), (other.Subnets, other.EtcdLease));
        Assert.Contains("\"VNI\":9", Find(first.Subnets.Key)!.Value.ToStringUtf8(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ALeaseOfAnotherLengthIsTakenAnew()
    {
        long id = (await _leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 })).ID;
        _etcd.Kv.Put(new PutRequest { Key = ByteString.CopyFromUtf8($"{FlannelNode.Subnets}10.5.52.0-24"), Value = ByteString.CopyFromUtf8("""{"PublicIP":"192.0.2.1","BackendType":"host-gw"}"""), Lease = id });
        HeldLease held = await Acquire(1);
        Assert.Equal("10.5.52.0-24", held.Subnets.Key);
        Assert.NotEqual(id, held.EtcdLease);
        Assert.Equal(held.EtcdLease, Find("10.5.52.0-24")!.Lease);
    }

    [Fact]
    public async Task AReservationIsHonouredAndStaysOne()
    {
        _etcd.Put($"{FlannelNode.Subnets}10.5.77.0-24", """{"PublicIP":"192.0.2.1"}""");
        HeldLease held = await Acquire(1, previous: "10.5.5.0-24");
        Assert.Equal(("10.5.77.0-24", true, null), (held.Subnets.Key, held.IsReservation, held.Ends(_clock)));
        Mvccpb.KeyValue pair = Find("10.5.77.0-24")!;
        Assert.Equal((0, Node(FlannelConfigReader.Read(Config), 1).ToJson()), (pair.Lease, pair.Value.ToStringUtf8()));
        _clock.Advance(TimeSpan.FromDays(400));
        Assert.False(held.IsDue(_clock));
        Assert.Same(held, await new SubnetManager(_clock, Random.Shared, SubnetManager.DefaultTerm).RenewAsync(_registry, held, CancellationToken.None));
        Assert.Empty(EtcdLeases());

        // One that no more fits the network stays too: it is the operator's.
        HeldLease other = await Acquire(1, """{"Network": "10.6.0.0/16", "Backend": {"Type": "vxlan"}}""");
        Assert.Equal(["10.5.77.0-24", other.Subnets.Key], Keys());
    }

    [Fact]
    public async Task TheSubnetItHadBeforeIsTakenIfItIsFreeAndAllowed()
    {
        Assert.Equal("10.5.52.0-24", (await Acquire(1, previous: "10.5.52.0-24")).Subnets.Key);
        Assert.NotEqual("10.5.52.0-24", (await Acquire(2, previous: "10.5.52.0-24")).Subnets.Key);
        Assert.NotEqual("10.9.1.0-24", (await Acquire(3, previous: "10.9.1.0-24")).Subnets.Key);
        Assert.Equal(24, (await Acquire(4, previous: "10.5.60.0-25")).Subnets.IPv4!.Value.Length);
        // With a second family the first one's subnet stays.
        HeldLease dual = await Acquire(5, Dual, previous: "10.5.99.0-24");
        Assert.Equal(("10.5.99.0/24", 64), (dual.Subnets.IPv4.ToString(), dual.Subnets.IPv6!.Value.Length));
        Assert.Equal("10.5.101.0-24&fd00:5:0:7::-64", (await Acquire(6, Dual, previous: "10.5.101.0-24&fd00:5:0:7::-64")).Subnets.Key);
        Assert.NotEqual("fd00:5:0:7::/64", (await Acquire(7, Dual, previous: "10.5.102.0-24&fd00:5:0:7::-64")).Subnets.IPv6.ToString());
    }

    [Fact]
    public async Task ALeaseThatTheNetworkHasOutgrownIsGivenBack()
    {
        HeldLease old = await Acquire(1);
        HeldLease now = await Acquire(1, """{"Network": "10.6.0.0/16", "SubnetLen": 26, "Backend": {"Type": "host-gw"}}""");
        Assert.Equal([now.Subnets.Key], Keys());
        Assert.NotEqual(old.Subnets, now.Subnets);
        Assert.True(now.Subnets.IPv4 is { Length: 26 } subnet && subnet.ToString().StartsWith("10.6.", StringComparison.Ordinal));
        Assert.Equal("""{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"host-gw"}""", Find(now.Subnets.Key)!.Value.ToStringUtf8());
    }

    [Fact]
    public async Task WithIPv6AloneANodeIsKnownByThatAddress()
    {
        const string Config6 = """{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}""";
        HeldLease one = await Acquire(1, Config6), two = await Acquire(2, Config6), again = await Acquire(1, Config6, seed: 2);
        Assert.Equal(one.Subnets, again.Subnets);
        Assert.NotEqual(one.Subnets, two.Subnets);
        Assert.All(Keys(), k => Assert.StartsWith("0.0.0.0-0&fd00:5:", k, StringComparison.Ordinal));
        Assert.Contains("\"PublicIP\":\"0.0.0.0\",\"PublicIPv6\":\"2001:db8::1\"", Find(one.Subnets.Key)!.Value.ToStringUtf8(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OfManyThatRaceForTheLastSubnetOneWins()
    {
        const string Small = """{"Network": "10.5.0.0/28", "Backend": {"Type": "vxlan"}}"""; // three subnets
        await Acquire(100, Small);
        await Acquire(101, Small);
        Task<HeldLease>[] race = [.. Enumerable.Range(1, 12).Select(n => Task.Run(() => Acquire(n, Small)))];
        await Task.WhenAll(race).ContinueWith(_ => { }, TaskScheduler.Default);
        _ = Assert.Single(race, r => r.IsCompletedSuccessfully);
        Assert.All(race.Where(r => !r.IsCompletedSuccessfully), r => Assert.Equal("all 3 subnets of 10.5.0.0/28 are leased", Assert.IsType<NoLeaseException>(r.Exception!.InnerException).Message));
        Assert.Equal(3, Keys().Length);
        Assert.Equal(3, EtcdLeases().Length); // the losers leave none behind
    }

    [Fact]
    public async Task OfManyThatStartAtOnceEachGetsItsOwn()
    {
        HeldLease[] held = await Task.WhenAll(Enumerable.Range(1, 40).Select(n => Task.Run(() => Acquire(n, Dual))));
        Assert.Equal(40, held.Select(h => h.Subnets.IPv4).Distinct().Count());
        Assert.Equal(40, held.Select(h => h.Subnets.IPv6).Distinct().Count()); // although every pair has a key of its own
        Assert.Equal(40, EtcdLeases().Length);
    }

    [Fact]
    public async Task WhatCannotBeReadIsTakenAllTheSame()
    {
        _etcd.Put($"{FlannelNode.Subnets}10.5.0.4-30", "garbage");
        _etcd.Put($"{FlannelNode.Subnets}10.5.0.8-29", """{"PublicIP":"192.0.2.9"}""");
        _etcd.Put($"{FlannelNode.Subnets}not-a-subnet", "{}");
        await Assert.ThrowsAsync<NoLeaseException>(() => Acquire(1, """{"Network": "10.5.0.0/28", "Backend": {"Type": "vxlan"}}"""));
    }

    [Fact]
    public async Task ARenewalBeginsTheTermAnewAndWakesNobody()
    {
        HeldLease held = await Acquire(1);
        Mvccpb.KeyValue before = Find(held.Subnets.Key)!;
        var manager = new SubnetManager(_clock, Random.Shared, SubnetManager.DefaultTerm);
        _clock.Advance(TimeSpan.FromHours(22.9));
        Assert.False(held.IsDue(_clock));
        _clock.Advance(TimeSpan.FromHours(0.1));
        Assert.True(held.IsDue(_clock)); // one hour before it ends
        Assert.Equal(_clock.GetUtcNow() + TimeSpan.FromHours(1), held.Ends(_clock));
        HeldLease renewed = (await manager.RenewAsync(_registry, held, CancellationToken.None))!;
        Assert.Equal((false, _clock.GetUtcNow() + TimeSpan.FromHours(24)), (renewed.IsDue(_clock), renewed.Ends(_clock)));
        Assert.Equal(before, Find(held.Subnets.Key));
        _clock.Advance(TimeSpan.FromHours(24));
        Assert.True(renewed.IsOver(_clock));
        _leases.LeaseRevoke(new LeaseRevokeRequest { ID = held.EtcdLease });
        Assert.Null(await manager.RenewAsync(_registry, held, CancellationToken.None));
    }
}
