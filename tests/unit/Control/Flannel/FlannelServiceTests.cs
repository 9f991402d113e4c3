using Dataplane.Control.Api.V1;
using Dataplane.Control.Flannel;
using Dataplane.Control.State;
using Dataplane.UnitTests.Control.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>From leases in a real etcd to the resources, records and refusals of a switch of cardboard.</summary>
public sealed class FlannelServiceTests : IDisposable
{
    private const string PeerKey = FlannelNode.Subnets + "10.5.200.0-24";

    /// <summary>What a flanneld on another host writes.</summary>
    private const string PeerValue = """{"PublicIP":"192.0.2.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}""";

    private readonly EtcdServer _etcd = new();
    private readonly TempDirectory _directory = new();

    public FlannelServiceTests() => _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""");

    public void Dispose()
    {
        _etcd.Dispose();
        _directory.Dispose();
    }

    private string SubnetFile => _directory.File("subnet.env");

    /// <summary>A switch that takes part, and has an uplink.</summary>
    private async Task<Running> Start(Bench? bench = null, string addresses = "192.0.2.1/24")
    {
        bool fresh = bench is null;
        bench ??= new Bench();
        if (fresh)
        {
            await bench.Apply(Make.Routed("uplink", addresses));
        }
        var running = new Running(bench, _etcd.Address, SubnetFile);
        await running.Service.InStep.WaitAsync(TimeSpan.FromSeconds(20));
        return running;
    }

    private sealed class Running : IAsyncDisposable
    {
        private readonly CancellationTokenSource _end = new();
        private readonly Task _task;

        public Running(Bench bench, string etcd, string file)
        {
            Bench = bench;
            var options = new FlannelOptions { Underlay = "uplink", SubnetFile = file, Interval = TimeSpan.FromMilliseconds(20) };
            Service = new FlannelService(FlannelNode.Etcd(etcd), options, bench.Controller, bench.Clock, NullLogger.Instance);
            _task = Service.RunAsync(_end.Token);
        }

        public Bench Bench { get; }
        public FlannelService Service { get; }
        public DesiredState State => Bench.Controller.State;
        public string Subnet => Service.Status.Subnets[0];
        public IEnumerable<string> Events => Bench.Controller.Events.Recent().Where(e => e.Type is Event.Types.Type.LeaseTaken or Event.Types.Type.LeaseLost).Select(e => $"{e.Type}: {e.Text}");

        public async Task Until(Func<Running, bool> condition)
        {
            for (int i = 0; !condition(this); i++)
            {
                Assert.True(i < 2000, $"not in 20 s; {Service.Status}");
                Assert.False(_task.IsFaulted, _task.Exception?.ToString());
                await Task.Delay(10);
            }
        }

        public async ValueTask DisposeAsync()
        {
            if (!_end.IsCancellationRequested)
            {
                await _end.CancelAsync();
                await _task;
            }
        }
    }

    [Fact]
    public async Task APeerOfFlanneldIsProgrammedAndGoesWithItsLease()
    {
        _etcd.Put(PeerKey, PeerValue);
        await using Running node = await Start();
        Network pods = node.State.Networks["flannel"].Spec, overlay = node.State.Networks["flannel.1"].Spec;
        string start = node.Subnet.Replace(".0/24", "", StringComparison.Ordinal);
        Assert.Equal(("flannel", $"[ \"{start}.0/24\" ]", $"[ \"{start}.1\" ]", 1450u), (pods.Owner, pods.Subnets.ToString(), pods.Gateways.ToString(), pods.Mtu));
        Assert.NotNull(pods.Router);
        Assert.Equal((1u, 8472u, "192.0.2.1", false), (overlay.Vxlan.Vni, overlay.Vxlan.Port, overlay.Vxlan.Local, overlay.Vxlan.Flood));
        Assert.Equal(($"[ \"{start}.0/32\" ]", $"[ \"{start}.0\" ]", 1450u), (overlay.Subnets.ToString(), overlay.Gateways.ToString(), overlay.Mtu));
        Assert.Contains($"\"VtepMAC\":\"{overlay.Mac}\"", Value(node.Subnet.Replace('/', '-')), StringComparison.Ordinal);

        TunnelPeer peer = node.State.Peers["flannel.1-192.0.2.77"].Spec;
        Assert.Equal(("flannel.1", "192.0.2.77", "c6:d2:32:6f:8f:44"), (peer.Network, peer.Address, peer.Mac));
        Assert.Equal("c6:d2:32:6f:8f:44", node.State.Neighbours["flannel.1.router/10.5.200.0"].Mac);
        NextHop hop = Assert.Single(node.State.Routes["main/10.5.200.0/24"].NextHops);
        Assert.Equal(("10.5.200.0", "flannel.1", ""), (hop.Via, hop.Network, hop.Port));
        Assert.Equal($"FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET={start}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n", File.ReadAllText(SubnetFile));

        FlannelStatus status = node.Service.Status;
        Assert.Equal((FlannelStatus.Types.State.Leased, "", "192.0.2.1", "vxlan", 1u, false), (status.State, status.Reason, status.PublicIp, status.Backend, status.Peers, status.Reserved));
        Assert.Equal(node.Bench.Clock.GetUtcNow() + TimeSpan.FromHours(24), status.LeaseEnds.ToDateTimeOffset());
        Assert.Equal([$"LeaseTaken: leased {node.Subnet}"], node.Events);

        // Another value, another MAC address; then the lease ends.
        _etcd.Put(PeerKey, PeerValue.Replace("8f:44", "8f:45", StringComparison.Ordinal));
        await node.Until(n => n.State.Neighbours["flannel.1.router/10.5.200.0"].Mac == "c6:d2:32:6f:8f:45" && n.State.Peers["flannel.1-192.0.2.77"].Spec.Mac == "c6:d2:32:6f:8f:45");
        _etcd.Delete(PeerKey);
        await node.Until(n => n.State.Routes.Count + n.State.Neighbours.Count + n.State.Peers.Count == 0);
        Assert.Equal(2, node.State.Networks.Count);
    }

    [Fact]
    public async Task TwoSwitchesFindEachOtherInBothFamilies()
    {
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan", "VNI": 9}}""");
        await using Running a = await Start(null, "192.0.2.1/24 2001:db8::1/64");
        File.Delete(SubnetFile);
        await using Running b = await Start(null, "192.0.2.2/24 2001:db8::2/64");
        await a.Until(n => n.State.Routes.Count == 2);
        await b.Until(n => n.State.Routes.Count == 2);
        foreach ((Running here, Running there, int other) in new[] { (a, b, 2), (b, a, 1) })
        {
            Assert.Equal(["flannel", "flannel-v6.9", "flannel.9"], here.State.Networks.Keys);
            Assert.Equal([$"flannel-v6.9-2001-db8--{other}", $"flannel.9-192.0.2.{other}"], here.State.Peers.Keys);
            Assert.Equal(there.Service.Status.Subnets.Select(s => $"main/{s}").Order(StringComparer.Ordinal), here.State.Routes.Keys);
            Assert.All(here.State.Peers.Values, p => Assert.Equal(there.State.Networks[p.Spec.Network].Spec.Mac, p.Spec.Mac));
            Assert.Equal((1430u, 1430u, 1450u), (here.State.Networks["flannel"].Spec.Mtu, here.State.Networks["flannel-v6.9"].Spec.Mtu, here.State.Networks["flannel.9"].Spec.Mtu));
            Assert.Equal(("", 0, 1u), (here.Service.Status.Reason, here.Service.Status.Problems.Count, here.Service.Status.Peers));
        }
    }

    [Fact]
    public async Task OnTheSameLinkRoutesGoByTheUnderlay()
    {
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}""");
        _etcd.Put(PeerKey, """{"PublicIP":"192.0.2.77","PublicIPv6":null,"BackendType":"host-gw"}""");
        await using Running node = await Start();
        NextHop hop = Assert.Single(node.State.Routes["main/10.5.200.0/24"].NextHops);
        Assert.Equal(("192.0.2.77", "", "uplink"), (hop.Via, hop.Network, hop.Port));
        Assert.Equal(["flannel"], node.State.Networks.Keys);
        Assert.Contains("FLANNEL_MTU=1500\n", File.ReadAllText(SubnetFile), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutALeaseForwardingGoesOnAndNewContainersAreRefused()
    {
        _etcd.Put(PeerKey, PeerValue);
        await using Running node = await Start();
        string subnet = node.Subnet, address = subnet.Replace(".0/24", ".9/24", StringComparison.Ordinal);
        await node.Bench.Apply(Make.Tap("web", "flannel", address, "web"));
        _etcd.Stop();
        node.Bench.Clock.Advance(TimeSpan.FromHours(24));
        await node.Until(n => n.Service.Status.State == FlannelStatus.Types.State.Lost);

        Assert.Equal(["web"], node.State.PortsOf("flannel").Select(p => p.Spec.Name));
        Assert.Single(node.State.Routes);
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => node.Bench.Apply(Make.Tap("db", "flannel", "", "db")));
        Assert.Equal(StatusCode.FailedPrecondition, error.Code);
        Assert.StartsWith($"port \"db\": network \"flannel\" takes no new ports now: the lease of {subnet} is lost: it has ended while etcd was away (etcd at {_etcd.Address} does not answer", error.Message, StringComparison.Ordinal);
        Assert.Equal("network", Assert.Single(error.Problems).Field);
        await node.Bench.Apply(Make.Net("other"), Make.Memory("elsewhere", "other")); // not a matter of flannel's
        await Assert.ThrowsAsync<ProblemException>(() => node.Bench.Apply(Make.Memory("elsewhere", "flannel"))); // nor a way around
        await node.Bench.Apply(Make.Tap("web", "flannel", address, "web", p => p.Isolated = true)); // what is there can be changed

        _etcd.Start();
        await node.Until(n => n.Service.Status.State == FlannelStatus.Types.State.Leased);
        Assert.Equal(subnet, node.Subnet);
        await node.Bench.Apply(Make.Tap("db", "flannel", "", "db"));
        string[] events = [.. node.Events];
        Assert.Equal((3, $"LeaseTaken: leased {subnet}", $"LeaseTaken: leased {subnet} again"), (events.Length, events[0], events[2]));
        Assert.StartsWith($"LeaseLost: the lease of {subnet} is lost: it has ended while etcd was away", events[1], StringComparison.Ordinal);
        Assert.EndsWith("; forwarding goes on, new containers are refused", events[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhenAnotherTookTheSubnetTheContainersStayUntilTheyAreRemoved()
    {
        await using Running node = await Start();
        string old = node.Subnet;
        await node.Bench.Apply(Make.Tap("web", "flannel", old.Replace(".0/24", ".9/24", StringComparison.Ordinal), "web", p => p.Tap.DefaultRoute = true), Make.Tap("dp0", "flannel", more: p => p.Tap.Host = true));
        _etcd.Put(FlannelNode.Subnets + old.Replace('/', '-'), PeerValue);
        await node.Until(n => n.Service.Status.State == FlannelStatus.Types.State.Leased && n.Subnet != old && n.State.Networks["flannel"].Spec.Subnets.Count == 2);
        Assert.Equal([node.Subnet, old], node.State.Networks["flannel"].Spec.Subnets);
        Assert.Equal([old.Replace(".0/24", ".1", StringComparison.Ordinal)], node.Bench.Devices.Existing["web/eth0"].Spec.DefaultRoutes.Select(g => g.ToString()));
        await node.Until(n => n.Service.Status.Problems.SequenceEqual([$"{old}: another node has leased what containers of this node use ({old}): remove them"]));
        Assert.Empty(node.State.Routes);
        await node.Bench.Delete((Kind.Port, "web"));
        await node.Until(n => n.State.Networks["flannel"].Spec.Subnets.Count == 1 && n.State.Routes.ContainsKey($"main/{old}"));
        Assert.Empty(node.Service.Status.Problems);
    }

    [Fact]
    public async Task NobodyElseChangesWhatFlannelKeeps()
    {
        _etcd.Put(PeerKey, PeerValue);
        await using Running node = await Start();
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => node.Bench.Delete((Kind.Route, "main/10.5.200.0/24"), (Kind.Network, "flannel.1"), (Kind.TunnelPeer, "flannel.1-192.0.2.77"), (Kind.Neighbour, "flannel.1.router/10.5.200.0")));
        Assert.Equal((StatusCode.FailedPrecondition, 4), (error.Code, error.Problems.Count));
        Assert.StartsWith("route \"main/10.5.200.0/24\": is kept by flannel, which would change it back; leave it out", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ProblemException>(() => node.Bench.Apply(Make.Net("flannel", "10.9.0.0/16")));
        // Everything read and applied as it was is no change; a resource of another name with that owner is the operator's.
        DesiredState before = node.State;
        await node.Bench.Apply([.. before.All.Select(c => c.Resource)]);
        Assert.Equal(before.Revision, node.State.Revision);
        await node.Bench.Apply(Make.Net("mine", more: n => n.Owner = "flannel"));
        Assert.Equal("", node.State.Networks["mine"].Spec.Owner);
    }

    [Fact]
    public async Task ANewProcessDeletesWhatNoLeaseAsksForAndTouchesNothingElse()
    {
        _etcd.Put(PeerKey, PeerValue);
        _etcd.Put(FlannelNode.Subnets + "10.5.201.0-24", PeerValue.Replace(".77", ".78", StringComparison.Ordinal).Replace("8f:44", "8f:45", StringComparison.Ordinal));
        Running first = await Start();
        string subnet = first.Subnet;
        await first.Bench.Apply(ResourceKeys.Of(new Route { Prefix = "10.99.0.0/16", Type = Route.Types.Type.Blackhole }));
        ulong route = first.State.Routes["main/10.5.201.0/24"].Revision;
        await first.DisposeAsync();
        _etcd.Delete(PeerKey);

        first.Bench.Controller = first.Bench.NewController();
        await first.Bench.Controller.ResumeAsync(CancellationToken.None);
        Assert.Equal(3, first.State.Routes.Count);
        await using Running second = await Start(first.Bench);
        Assert.Equal(["main/10.5.201.0/24", "main/10.99.0.0/16"], second.State.Routes.Keys);
        Assert.Equal(["flannel.1-192.0.2.78"], second.State.Peers.Keys);
        Assert.Equal((subnet, route), (second.Subnet, second.State.Routes["main/10.5.201.0/24"].Revision));
        await second.DisposeAsync();
        second.Bench.Dispose();
    }

    [Fact]
    public async Task ItWaitsForItsUnderlay()
    {
        using var bench = new Bench();
        await using var node = new Running(bench, _etcd.Address, SubnetFile);
        await node.Until(n => n.Service.Status.Reason == "no lease can be taken: there is no routed port \"uplink\" to be the underlay");
        Assert.Equal(FlannelStatus.Types.State.Seeking, node.Service.Status.State);
        await bench.Apply(Make.Routed("uplink", "192.0.2.1/24"));
        await node.Service.InStep.WaitAsync(TimeSpan.FromSeconds(20));
        // A smaller MTU of the underlay is one of the containers too.
        Resource uplink = Make.Routed("uplink", "192.0.2.1/24");
        uplink.Port.Mtu = 1400;
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(uplink));
        Assert.Contains("MTU 1450 and 50 bytes of outer headers are more than the MTU 1400 of \"uplink\"", error.Message, StringComparison.Ordinal);
        uplink.Port.Mtu = 9000;
        await bench.Apply(uplink);
        await node.Until(n => n.State.Networks["flannel"].Spec.Mtu == 8950 && File.ReadAllText(SubnetFile).Contains("FLANNEL_MTU=8950\n", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WhatTheOperatorHasInItsPlaceIsReported()
    {
        using var bench = new Bench();
        await bench.Apply(Make.Routed("uplink", "192.0.2.1/24"), Make.Net("flannel", "172.18.0.0/16"), Make.Memory("web", "flannel"));
        await using var node = new Running(bench, _etcd.Address, SubnetFile);
        await node.Until(n => n.Service.Status.Reason.Length > 0 && n.Service.Status.State == FlannelStatus.Types.State.Leased);
        Assert.Contains("network \"flannel\": is the operator's; delete it", node.Service.Status.Reason, StringComparison.Ordinal);
        Assert.Equal("172.18.0.0/16", node.State.Networks["flannel"].Spec.Subnets[0]);
        await bench.Delete((Kind.Port, "web"), (Kind.Network, "flannel"));
        await node.Until(n => n.Service.Status.Reason.Length == 0);
        Assert.Equal("flannel", node.State.Networks["flannel"].Spec.Owner);
    }

    private string Value(string key) => _etcd.Kv.Range(new Etcdserverpb.RangeRequest { Key = Google.Protobuf.ByteString.CopyFromUtf8(FlannelNode.Subnets + key) }).Kvs.Single().Value.ToStringUtf8();
}
