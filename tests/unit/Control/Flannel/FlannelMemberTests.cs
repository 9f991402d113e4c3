using Dataplane.Control.Flannel;
using Dataplane.UnitTests.Control.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Etcdserverpb;
using Google.Protobuf;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>A membership through everything that happens to it: renewals, lost leases, etcd's absence, compaction.</summary>
public sealed class FlannelMemberTests : IDisposable
{
    private readonly EtcdServer _etcd = new();
    private readonly TempDirectory _directory = new();
    private readonly Lease.LeaseClient _leases;

    public FlannelMemberTests()
    {
        _leases = new Lease.LeaseClient(_etcd.Channel);
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""");
    }

    public void Dispose()
    {
        _etcd.Dispose();
        _directory.Dispose();
    }

    private Task<FlannelNode> Joined(int number, TempDirectory? directory = null) => FlannelNode.Joined(_etcd.Address, number, directory);

    private Mvccpb.KeyValue? Find(string key) => _etcd.Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8(FlannelNode.Subnets + key) }).Kvs.SingleOrDefault();

    private long TimeToLive(string key) => _leases.LeaseTimeToLive(new LeaseTimeToLiveRequest { ID = Find(key)!.Lease }).TTL;

    [Fact]
    public async Task MembersSeeOneAnotherComeAndGo()
    {
        await using FlannelNode a = await Joined(1), b = await Joined(2);
        await a.Until(n => n.Others.SequenceEqual([b.Subnet!]));
        await b.Until(n => n.Others.SequenceEqual([a.Subnet!]));
        SubnetLease peer = Assert.Single(a.View.Leases, l => l.Key == b.Subnet);
        Assert.Equal(("192.0.2.2", "vxlan", b.View.Node!.Vtep), (peer.Attributes!.PublicIP?.ToString(), peer.Attributes.BackendType, peer.Attributes.Vtep));
        // A flanneld of another host, as etcdctl shows its key.
        _etcd.Put($"{FlannelNode.Subnets}10.5.200.0-24", """{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}""");
        _etcd.Put($"{FlannelNode.Subnets}rubbish", "{}");
        await a.Until(n => n.View.Leases.Count == 3 && n.View.Strangers.Count == 1);
        Assert.Equal("c6:d2:32:6f:8f:44", a.View.Leases.Single(l => l.Key == "10.5.200.0-24").Attributes!.Vtep!.Value.Mac.ToString());
        // A lease that ends is a peer that goes.
        _leases.LeaseRevoke(new LeaseRevokeRequest { ID = b.View.Lease!.EtcdLease });
        _etcd.Delete($"{FlannelNode.Subnets}10.5.200.0-24");
        _etcd.Delete($"{FlannelNode.Subnets}rubbish");
        await a.Until(n => n.View.Leases.All(l => l.Key != "10.5.200.0-24") && n.View.Strangers.Count == 0);
    }

    [Fact]
    public async Task ADayPassesInAMillisecond()
    {
        await using FlannelNode a = await Joined(1);
        HeldLease first = a.View.Lease!;
        long revision = Find(first.Subnets.Key)!.ModRevision;
        for (int day = 0; day < 10; day++)
        {
            long since = a.View.Lease!.Since;
            a.Clock.Advance(TimeSpan.FromHours(23));
            await a.Until(n => n.View.Lease!.Since > since);
        }
        Assert.Equal((LeaseState.Held, first.Subnets, first.EtcdLease), (a.View.State, a.View.Lease!.Subnets, a.View.Lease.EtcdLease));
        Assert.Equal(revision, Find(first.Subnets.Key)!.ModRevision);
        Assert.InRange(TimeToLive(first.Subnets.Key), 86000, 86400);
        Assert.Single(a.States);
    }

    [Fact]
    public async Task ADeletedLeaseIsReportedAndTakenAgain()
    {
        await using FlannelNode a = await Joined(1);
        string subnet = a.Subnet!;
        _etcd.Delete(FlannelNode.Subnets + subnet);
        await a.Until(n => n.States.Count == 3 && n.View.Lease!.Subnets.Key == subnet);
        Assert.Equal([LeaseState.Held, LeaseState.Lost, LeaseState.Held], a.States.Select(v => v.State));
        Assert.Equal($"the lease of {a.View.Lease!.Subnets} is lost: its key was deleted", a.States.ElementAt(1).Reason);
        Assert.Equal("", a.View.Reason);
        Assert.Equal(a.View.Lease.EtcdLease, Find(subnet)!.Lease);
    }

    [Fact]
    public async Task ASubnetThatSomebodyTookIsNotTakenBack()
    {
        await using FlannelNode a = await Joined(1);
        string subnet = a.Subnet!;
        _etcd.Put(FlannelNode.Subnets + subnet, """{"PublicIP":"192.0.2.99","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}""");
        await a.Until(n => n.States.Count == 3 && n.Subnet is not null);
        Assert.NotEqual(subnet, a.Subnet);
        Assert.StartsWith($"the lease of {LeaseText(subnet)} is lost: it is another node's now: {{\"PublicIP\":\"192.0.2.99\"", a.States.ElementAt(1).Reason, StringComparison.Ordinal);
        await a.Until(n => n.Others.SequenceEqual([subnet]));
    }

    [Fact]
    public async Task AnOperatorMayMakeItAReservation()
    {
        await using FlannelNode a = await Joined(1);
        Mvccpb.KeyValue pair = Find(a.Subnet!)!;
        _etcd.Put(pair.Key.ToStringUtf8(), pair.Value.ToStringUtf8()); // as flannel's documentation says
        await a.Until(n => n.View.Lease!.IsReservation);
        _leases.LeaseRevoke(new LeaseRevokeRequest { ID = pair.Lease });
        a.Clock.Advance(TimeSpan.FromDays(30));
        await Task.Delay(100);
        Assert.Equal((LeaseState.Held, 0L), (a.View.State, Find(a.Subnet!)!.Lease));
        // And give it an end again.
        long id = _leases.LeaseGrant(new LeaseGrantRequest { TTL = 3600 }).ID;
        _etcd.Kv.Put(new PutRequest { Key = pair.Key, Value = pair.Value, Lease = id });
        await a.Until(n => n.View.Lease!.EtcdLease == id && n.View.Lease.Term == TimeSpan.FromHours(1));
        Assert.Single(a.States);
    }

    [Fact]
    public async Task WithoutEtcdItIsHeldUntilItHasRunOut()
    {
        await using FlannelNode a = await Joined(1), b = await Joined(2);
        await a.Until(n => n.Others.Any());
        string subnet = a.Subnet!;
        _etcd.Stop();
        await a.Until(n => !n.View.Connected);
        Assert.Equal((LeaseState.Held, 2), (a.View.State, a.View.Leases.Count)); // forwarding goes on
        Assert.StartsWith($"etcd at {_etcd.Address} does not answer", a.View.Reason, StringComparison.Ordinal);
        a.Clock.Advance(TimeSpan.FromHours(23.9));
        await Task.Delay(100);
        Assert.Equal(LeaseState.Held, a.View.State);
        a.Clock.Advance(TimeSpan.FromHours(0.1));
        await a.Until(n => n.View.State == LeaseState.Lost);
        Assert.StartsWith($"the lease of {LeaseText(subnet)} is lost: it has ended while etcd was away (etcd at {_etcd.Address} does not answer", a.View.Reason, StringComparison.Ordinal);
        Assert.Equal(2, a.View.Leases.Count);

        _etcd.Start(); // for whom no time has passed
        await a.Until(n => n.View.State == LeaseState.Held && n.View.Connected);
        Assert.Equal(subnet, a.Subnet);
        await b.Until(n => n.View.Connected && n.View.Reason.Length == 0);
        Assert.Equal([LeaseState.Held], b.States.Select(v => v.State));
    }

    [Fact]
    public async Task WhatHappenedBehindACompactionIsListed()
    {
        using var gap = new EtcdGap(_etcd.Address);
        await using FlannelNode far = await FlannelNode.Joined(gap.Address, 1);
        await using FlannelNode b = await Joined(2), c = await Joined(3);
        await far.Until(n => n.Others.Count() == 2);
        string gone = b.Subnet!, subnet = far.Subnet!;
        gap.Close();
        await far.Until(n => !n.View.Connected);
        await b.DisposeAsync();
        _etcd.Delete(FlannelNode.Subnets + gone);
        await using FlannelNode d = await Joined(4);
        _etcd.Compact();
        gap.Open();
        await far.Until(n => n.View.Connected && n.Others.SequenceEqual(new[] { c.Subnet!, d.Subnet! }.Order(StringComparer.Ordinal)));
        Assert.Equal(subnet, far.Subnet);

        // The own lease too.
        gap.Close();
        await far.Until(n => !n.View.Connected);
        _etcd.Put(FlannelNode.Subnets + subnet, """{"PublicIP":"192.0.2.99","BackendType":"host-gw"}""");
        _etcd.Compact();
        gap.Open();
        await far.Until(n => n.Subnet is not null && n.Subnet != subnet);
        Assert.Equal([LeaseState.Held, LeaseState.Lost, LeaseState.Held], far.States.Select(v => v.State));
    }

    [Fact]
    public async Task TheSubnetOfTheFileIsTakenAgain()
    {
        File.WriteAllText(_directory.File("subnet.env"), "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n");
        await using FlannelNode a = await Joined(1, _directory);
        Assert.Equal("10.5.52.0-24", a.Subnet);
    }

    [Fact]
    public async Task WithoutAConfigurationItWaitsAndSaysWhy()
    {
        _etcd.Delete(FlannelNode.ConfigKey);
        await using var a = new FlannelNode(_etcd.Address, 1);
        await a.Until(n => n.View.Reason == $"no lease can be taken: there is no key {FlannelNode.ConfigKey}: write the network's configuration into it");
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "SubnetLen": 31, "Backend": {"Type": "ipsec"}}""");
        await a.Until(n => n.View.Reason.Contains("SubnetLen is 31", StringComparison.Ordinal) && n.View.Reason.Contains("\"ipsec\"", StringComparison.Ordinal));
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/28", "Backend": {"Type": "vxlan"}}""");
        _etcd.Put($"{FlannelNode.Subnets}10.5.0.0-28", "{}");
        await a.Until(n => n.View.Reason == "no lease can be taken: all 3 subnets of 10.5.0.0/28 are leased");
        _etcd.Delete($"{FlannelNode.Subnets}10.5.0.0-28");
        await a.Until(n => n.Subnet is not null);
        Assert.Equal("", a.View.Reason);
    }

    [Fact]
    public async Task AnEtcdLeaseThatEndsByItselfIsALostOne()
    {
        // The shortest that etcd grants, and this node's clock stands still: so it is never renewed.
        await using FlannelNode a = await FlannelNode.Joined(_etcd.Address, 1, term: TimeSpan.FromSeconds(1));
        await a.Until(n => n.States.Count >= 3);
        Assert.Equal([LeaseState.Held, LeaseState.Lost, LeaseState.Held], a.States.Take(3).Select(v => v.State));
        Assert.Contains("its key was deleted", a.States.ElementAt(1).Reason, StringComparison.Ordinal);
    }

    private static string LeaseText(string key) => LeaseSubnets.TryParse(key, out LeaseSubnets? subnets) ? subnets.Value.ToString() : "";
}
